"""A text, a label, and passes of the plain model, each of which is counted."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy
import torch
from torch import Tensor, nn

from textlrp.basics.lazy import lazy
from textlrp.errors import InputError, LRPError, ModelError, NonFiniteError, said
from textlrp.evaluate.methods.catalog import REPLACEMENTS
from textlrp.explain.assembly import spans
from textlrp.explain.batching import buckets
from textlrp.explain.classifier import SEED
from textlrp.explain.labels import Choice, Pick
from textlrp.guard.model_guard import undisturbed
from textlrp.lrp.request import logits_of
from textlrp.results.attribution import Attribution
from textlrp.text.encoding import Encoding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textlrp.explain.explainer import Explainer

#: The most texts in a batch, and the most ids in one that is passed back, too.
ROWS, IDS_BACK = 32, 2048

_FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

#: Whether a model reads a text among others as it reads it alone: found out once, and no part of a method's cost.
_reads_batches: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


class Passes:
    """What a method asks of a model about one text and one label.

    Args:
        explainer: whose model it is.
        text: the document.
        text_pair: the second text of a pair, or None.
        target: a label by name or index, or None for the predicted one.
        contrast: the label that it is set against, or None.

    Attributes:
        encoding: the text as the model reads it.
        model: the classifier.
        words: the indices of the ids that stand for something in the text: what is no special token.
        forwards: what was asked for so far, in forward passes of one text.
        aside: the seconds that were spent on what is no part of the method's cost.

    Raises:
        InputError: the text or a label cannot be used as given.
    """

    def __init__(
        self,
        explainer: Explainer,
        text: str,
        text_pair: str | None = None,
        target: str | int | None = None,
        contrast: str | int | None = None,
    ) -> None:
        self.classifier, self.head = explainer.classifier, explainer.head
        self.model = self.classifier.model
        self._texts = (text, text_pair)
        self._choice = Choice(target, contrast)
        self._choice.check(self.head)
        self.encoding: Encoding = explainer.encode(text, text_pair)
        self.classifier.check_memory(self.encoding, len(self.encoding.input_ids))
        self.words = [i for i, special in enumerate(self.encoding.special) if not special]
        self.forwards = self.aside = 0.0
        self._logits: Tensor | None = None

    # -- what is explained ---------------------------------------------------------------------------------------

    @property
    def logits(self) -> Tensor:
        """The logits of the whole text, ``[outputs]``: one pass, where no other pass had them."""
        if self._logits is None:
            self.found(self._run([self.encoding])[0])
        assert self._logits is not None
        return self._logits

    def found(self, logits: Tensor) -> None:
        """Take the logits of the whole text, ``[outputs]``, from a pass that a method made anyway."""
        self._logits = logits.detach().double().cpu()

    @lazy
    def pick(self) -> Pick:
        """The explained label and its contrast, by index."""
        return self._choice.pick(self.head, self.logits)

    def explained(self, logits: Tensor) -> Tensor:
        """Return the explained quantity of each row of logits ``[rows, outputs]``."""
        weights = self.head.weights(self.pick, logits.shape[-1])
        return (logits * torch.tensor(weights, dtype=logits.dtype, device=logits.device)).sum(-1)

    @property
    def logit(self) -> float:
        """The explained logit, or difference of logits, of the whole text."""
        return float(self.explained(self.logits[None]))

    # -- passes --------------------------------------------------------------------------------------------------

    def values(self, encodings: Sequence[Encoding]) -> list[float]:
        """Return the explained logit of each text: plain forward passes, in batches of equal length."""
        return [float(value) for value in self.explained(self._run(encodings))]

    def _run(self, encodings: Sequence[Encoding]) -> Tensor:
        """Return the logits of each text, ``[texts, outputs]``, float64."""
        self.forwards += len(encodings)
        rows: list[Tensor] = [torch.empty(0)] * len(encodings)
        size = ROWS if len(encodings) > 1 and self.reads_batches else 1
        for bucket in buckets([len(encoding.input_ids) for encoding in encodings], size, 0.0):
            batch = self.classifier.pad([encodings[i] for i in bucket])
            for i, row in zip(bucket, self.classifier.logits(batch).double().cpu(), strict=True):
                rows[i] = row
        return torch.stack(rows)

    @property
    def reads_batches(self) -> bool:
        """Whether the model reads a text in a batch as it reads it alone; some share it out among their experts."""
        if self.model not in _reads_batches:
            start = time.perf_counter()
            backward = self.encoding.take(range(len(self.encoding.input_ids)))
            ids = [*self.encoding.input_ids]
            for i, j in zip(self.words, reversed(self.words), strict=True):
                backward.input_ids[i] = ids[j]
            together = self.classifier.logits(self.classifier.pad([self.encoding, backward]))
            _reads_batches[self.model] = self.classifier.reads_alike([self.encoding, backward], together)
            self.aside += time.perf_counter() - start
        return _reads_batches[self.model]

    @contextmanager
    def running(self) -> Iterator[dict[str, Tensor]]:
        """Let :attr:`model` be a frozen copy in evaluation mode, for passes that a method makes itself.

        Yields:
            The model's inputs.

        Raises:
            ModelError: the model fails: some cannot be passed back in evaluation mode, say.
        """
        inputs = self.classifier.inputs(self.classifier.pad([self.encoding]))
        with undisturbed(self.classifier.model, SEED) as parts, torch.enable_grad():
            try:
                self.model = parts.model
                yield inputs
            except LRPError:
                raise
            except _FAILURES as error:  # whatever a model may raise, on its way up or back
                name = type(self.model).__name__
                raise ModelError(f"{name} fails where a method looks into it: {said(error)}") from error
            finally:
                self.model = self.classifier.model

    def ran(self, output: Any, batch: int = 1, *, back: bool = False) -> Tensor:
        """Count a pass that a method made itself, and return its logits, ``[batch, outputs]``."""
        self.forwards += batch * (3 if back else 1)
        return logits_of(output, batch)

    # -- texts without some of their tokens ----------------------------------------------------------------------

    def replacement(self, asked: str | None, choices: Sequence[str] = REPLACEMENTS) -> tuple[str, int | None]:
        """Return what tokens are replaced by, and its id: what was asked for, or the first that can be had.

        Raises:
            InputError: the tokenizer has no such token.
        """
        tokenizer = self.classifier.tokenizer
        for kind in (asked,) if asked else choices:
            if kind not in ("mask", "pad"):
                return kind, None
            known = getattr(tokenizer, f"{kind}_token_id", None)
            if known is not None:
                return kind, int(known)
        raise InputError(
            f"{type(tokenizer).__name__} has no {asked} token to put in the place of others; take one of "
            f"{', '.join(choice for choice in choices if choice != asked)}"
        )

    def without(self, indices: Iterable[int], kind: str, replaced: int | None) -> Encoding:
        """Return the text with some of its tokens replaced by an id, or left out.

        Raises:
            InputError: nothing is left of it.
        """
        gone = set(indices)
        count = len(self.encoding.input_ids)
        if kind == "delete":
            if len(gone) == count:
                raise InputError(
                    "all tokens of the text are left out, and the tokenizer adds none of its own, so the model has "
                    "nothing to read: replace them by 'pad' or 'mask'"
                )
            return self.encoding.take([i for i in range(count) if i not in gone])
        changed = self.encoding.take(range(count))
        for i in gone:
            changed.input_ids[i] = int(replaced or 0)
        return changed

    # -- results -------------------------------------------------------------------------------------------------

    def at_words(self, values: Sequence[float]) -> list[float]:
        """Return the score of each id, given those of the words; special tokens get zero."""
        scores = [0.0] * len(self.encoding.input_ids)
        for i, value in zip(self.words, values, strict=True):
            scores[i] = value
        return scores

    def attribution(self, method: str, scores: Sequence[float], seconds: float) -> Attribution:
        """Return the scores of all ids as an attribution.

        Raises:
            NonFiniteError: a NaN or an infinity is among them.
        """
        logit = self.logit
        if not all(map(math.isfinite, (logit, *scores))):
            raise NonFiniteError(f"{method} gives a score that is not finite; try dtype=torch.float32")
        text, text_pair = self._texts
        encoding, labels = self.encoding, self.head.labels(self.logits.shape[0])
        truncated = (*encoding.truncated, None)
        return Attribution(
            text=text,
            target=labels[self.pick.target],
            contrast=None if self.pick.contrast is None else labels[self.pick.contrast],
            method=method,
            tokens=spans((text, text_pair or ""), encoding, scores),
            logit=logit,
            forwards=self.forwards,
            seconds=seconds - self.aside,
            text_pair=text_pair,
            truncated=truncated[0],
            truncated_pair=truncated[1],
        )

    def seed(self, seed: int) -> int:
        """Return a seed for this text: another one for each text, the same for the same text and seed."""
        said = repr((seed, *self._texts)).encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.sha256(said).digest()[:8], "big") >> 1


def random(passes: Passes, seed: int) -> list[float]:
    """Return scores between -1 and 1 that mean nothing; special tokens get zero."""
    generator = numpy.random.default_rng(passes.seed(seed))
    return passes.at_words(generator.uniform(-1, 1, len(passes.words)).tolist())
