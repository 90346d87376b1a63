"""Counted passes of the plain model for a text and a label."""

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
from textlrp.errors import InputError, LRPError, ModelError, NonFiniteError, error_summary
from textlrp.evaluate.methods.catalog import REPLACEMENTS
from textlrp.evaluate.perturbation import Perturbed
from textlrp.evaluate.scorers import Task
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

#: The most texts in a batch, and the most ids in a batch with a backward pass.
ROWS, IDS_BACK = 32, 2048

_FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

#: Whether a model gives a text the same logits in a batch: measured once, and not counted as cost.
_reads_batches: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


class Passes:
    """The passes of a model that a method needs for one text and one label.

    Args:
        task: the explainer, the text and the label.

    Attributes:
        encoding: the text as the model reads it.
        model: the classifier.
        words: the indices of the ids that are not special tokens.
        forwards: the passes so far, in forward passes of one text.
        aside: seconds that do not count as the method's cost.

    Raises:
        InputError: the text or a label cannot be used as given.
    """

    def __init__(self, task: Task) -> None:
        self.classifier, self.head = task.explainer.classifier, task.explainer.head
        self.model = self.classifier.model
        self._task = task
        self._texts = (task.text, task.text_pair)
        self._choice = Choice(task.target, task.contrast)
        self._choice.check(self.head)
        if self.classifier.reader.runs > 1:
            raise InputError(
                f"this method looks into one run of a model, and this one reads its input in "
                f"{self.classifier.reader.runs} runs: compare rules of textlrp with each other"
            )
        self.encoding: Encoding = task.explainer.encode(task.text, task.text_pair)
        self.classifier.check_memory(self.encoding, len(self.encoding.input_ids))
        self.words = [i for i, special in enumerate(self.encoding.special) if not special]
        self.forwards = self.aside = 0.0
        self._logits: Tensor | None = None

    # -- the explained logit -------------------------------------------------------------------------------------

    @property
    def logits(self) -> Tensor:
        """The logits of the whole text, ``[outputs]``: one pass, unless another pass returned them."""
        if self._logits is None:
            self.keep_logits(self._run([self.encoding])[0])
        assert self._logits is not None
        return self._logits

    def keep_logits(self, logits: Tensor) -> None:
        """Keep the logits of the whole text, ``[outputs]``, from a pass of a method."""
        self._logits = logits.detach().double().cpu()

    @lazy
    def pick(self) -> Pick:
        """The explained label and its contrast, by index."""
        return self._choice.pick(self.head, self.logits)

    def explained(self, logits: Tensor) -> Tensor:
        """Return the explained logit or difference for each row of logits ``[rows, outputs]``."""
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
        """Whether the model gives a text the same logits in a batch; mixtures of experts may not."""
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
        """Make :attr:`model` a frozen copy in evaluation mode, for passes of the method itself.

        Yields:
            The model's inputs.

        Raises:
            ModelError: the model fails; some cannot run backward in evaluation mode.
        """
        inputs = self.classifier.inputs(self.classifier.pad([self.encoding]))
        with undisturbed(self.classifier.model, SEED) as parts, torch.enable_grad():
            try:
                self.model = parts.model
                yield inputs
            except LRPError:
                raise
            except _FAILURES as error:  # a model may raise any of these, forward or backward
                name = type(self.model).__name__
                raise ModelError(f"{name} fails where a method looks into it: {error_summary(error)}") from error
            finally:
                self.model = self.classifier.model

    def ran(self, output: Any, batch: int = 1, *, back: bool = False) -> Tensor:
        """Count a pass of the method itself, and return its logits, ``[batch, outputs]``."""
        self.forwards += batch * (3 if back else 1)
        return logits_of(output, batch)

    # -- texts without some of their tokens ----------------------------------------------------------------------

    def replacement(self, requested: str | None, choices: Sequence[str] = REPLACEMENTS) -> tuple[str, int | None]:
        """Return the replacement of tokens and its id: the requested one, or the first that the tokenizer has.

        Raises:
            InputError: the tokenizer has no such token.
        """
        tokenizer = self.classifier.tokenizer
        for kind in (requested,) if requested else choices:
            if kind not in ("mask", "pad"):
                return kind, None
            token_id = getattr(tokenizer, f"{kind}_token_id", None)
            if token_id is not None:
                return kind, int(token_id)
        raise InputError(
            f"{type(tokenizer).__name__} has no {requested} token to put in the place of others; take one of "
            f"{', '.join(choice for choice in choices if choice != requested)}"
        )

    def without(self, indices: Iterable[int], kind: str, replaced: int | None) -> Encoding:
        """Return the text with some of its tokens replaced by an id, or left out.

        Raises:
            InputError: no id is left.
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

    def perturbed(self, perturb: str) -> Perturbed:
        """Return the text, ready to be perturbed as measures do it, which counts its passes itself.

        Raises:
            InputError: the tokenizer has no token to put in the place of others.
        """
        text, text_pair = self._texts
        target, contrast = self._task.target, self._task.contrast
        return Perturbed(
            self._task.explainer, text, target=target, contrast=contrast, text_pair=text_pair, perturb=perturb
        )

    # -- results -------------------------------------------------------------------------------------------------

    def at_words(self, values: Sequence[float]) -> list[float]:
        """Return the scores of all ids, given those of :attr:`words`; special tokens get zero."""
        scores = [0.0] * len(self.encoding.input_ids)
        for i, value in zip(self.words, values, strict=True):
            scores[i] = value
        return scores

    def attribution(self, method: str, scores: Sequence[float], seconds: float) -> Attribution:
        """Return the scores of all ids as an attribution.

        Raises:
            NonFiniteError: a score is NaN or infinite.
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
        """Return a seed for this text: different for each text, the same for the same text and seed."""
        key = repr((seed, *self._texts)).encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 1


def random(passes: Passes, seed: int) -> list[float]:
    """Return random scores between -1 and 1; special tokens get zero."""
    generator = numpy.random.default_rng(passes.seed(seed))
    return passes.at_words(generator.uniform(-1, 1, len(passes.words)).tolist())
