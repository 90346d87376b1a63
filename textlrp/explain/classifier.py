"""A model and its tokenizer: what they read at once, and from texts to tensors to logits and relevance."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from textlrp.errors import InputError, LRPError, ModelError, fails, said
from textlrp.explain import memory, tokenizer_fit
from textlrp.guard.model_guard import contained, undisturbed
from textlrp.lrp.propagation import run
from textlrp.lrp.request import Options, Targets, logits_of, precision_of
from textlrp.lrp.result import Propagation
from textlrp.rules import Rules
from textlrp.text.encoding import Batch, Encoding, encode, pad

#: transformers writes a huge number where a tokenizer knows no limit.
_NO_LIMIT = 1_000_000

#: What the random numbers of models that draw (hashing attention) start from, so that they repeat themselves.
SEED = 0
#: The share of the free memory below which a rough guess is good enough.
_SURE = 1 / 16

#: How many ids are explained to measure what a model takes, at first and at most.
_PROBES = (32, 1024)

#: The largest difference of logits that counts as rounding, relative to the largest logit, by the model's dtype.
#: A float64 model is explained in float64 throughout; on its own it may fall back to float32 (in norms, in softmax).
FORWARD_LIMITS = {"float64": 1e-5, "float32": 1e-5, "float16": 1e-2, "bfloat16": 5e-2}


class Classifier:
    """A text classifier with its tokenizer, used where it is and left as it is.

    Attributes:
        model: a sequence classifier.
        tokenizer: the tokenizer that the model was trained with.
        limit: how many ids the model reads at once, special tokens included, or None for no limit.
    """

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        if not isinstance(model, nn.Module):
            raise ModelError(
                f"the model must be a torch module, such as AutoModelForSequenceClassification gives, not "
                f"{type(model).__name__}; to load one by its name, use Explainer.from_pretrained"
            )
        if tokenizer is None or not callable(tokenizer):
            raise ModelError(
                f"an explanation needs the tokenizer that the model was trained with, not {type(tokenizer).__name__}"
            )
        if any(parameter.is_meta for parameter in model.parameters()):
            raise ModelError("the model has no weights: they are on the device 'meta'; load them first")
        self.model = model
        self.tokenizer = tokenizer
        parameters = inspect.signature(model.forward).parameters
        self._accepted = None if any(p.kind is p.VAR_KEYWORD for p in parameters.values()) else frozenset(parameters)
        self.limit = _length_limit(model, tokenizer)
        self._rough = memory.rough(model)
        self._sure: float | None = None
        self._peaks: dict[int, int] = {}
        tokenizer_fit.check_tokenizer(model, tokenizer)

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    def encode(self, text: str, limit: int | None, text_pair: str | None = None) -> Encoding:
        """Return a text or a pair as the model reads it, cut at ``limit`` ids.

        Raises:
            ModelError: the tokenizer fails on the text.
        """
        try:
            return encode(self.tokenizer, text, limit, text_pair)
        except (LRPError, MemoryError):
            raise
        except BaseException as error:  # whatever a tokenizer raises, the other documents are not lost
            if not fails(error):
                raise
            raise ModelError(f"the tokenizer fails on this text: {said(error)}") from error

    def pad(self, encodings: Sequence[Encoding]) -> Batch:
        """Put texts into one batch; :func:`textlrp.text.encoding.pad` raises."""
        return pad(self.tokenizer, encodings)

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the model takes of what the tokenizer gave, as ``[batch, sequence]`` tensors on its device.

        Raises:
            ModelError: the tokenizer gives an id that the model has no row for.
        """
        tokenizer_fit.check_ids(self.model, self.tokenizer, batch.inputs)
        accepted = self._accepted
        inputs = {
            key: torch.tensor(rows, device=self.device)
            for key, rows in batch.inputs.items()
            if key in ("input_ids", "attention_mask") or accepted is None or key in accepted
        }
        if accepted is not None and "attention_mask" not in accepted:
            inputs.pop("attention_mask", None)
        return inputs

    def check_memory(self, encoding: Encoding, count: int) -> None:
        """Refuse a text that takes more memory than there is, before that brings the machine down.

        Args:
            encoding: the text.
            count: how many of its ids are read at once.

        Raises:
            InputError: the text is too long for this machine.
        """
        lacking = self._lacking(encoding, 1, count)
        if lacking is not None:
            needed, free = map(memory.shown, lacking)
            raise InputError(
                f"the text takes {count:,} ids, and to explain them at once takes about {needed} of memory, of which "
                f"{free} are free: read it with long='windows', or give window=, the number of ids to read at once"
            )

    def fits(self, encodings: Sequence[Encoding]) -> bool:
        """Whether texts can be explained in one batch with the memory that there is, as far as can be told."""
        longest = max(encodings, key=lambda encoding: len(encoding.input_ids))
        return self._lacking(longest, len(encodings), len(longest.input_ids)) is None

    def _lacking(self, encoding: Encoding, rows: int, length: int) -> tuple[float, int] | None:
        """Return how many bytes a batch takes and how many there are, or None where it fits or nobody can tell.

        Args:
            encoding: the longest text.
            rows: how many texts there are.
            length: how many ids each of them has, padding included.
        """
        if self._sure is None:
            free = memory.available(self.device)
            self._sure = float("inf") if free is None else free * _SURE
        if self._rough.at(rows, length) <= self._sure:
            return None  # so small that nobody has to look
        needed, free = self._needed(encoding, rows, length), memory.available(self.device)
        if needed is None or free is None or needed <= free:
            return None
        free = memory.made_available(self.device)
        return None if free is None or needed <= free else (needed, free)

    def _needed(self, encoding: Encoding, rows: int, length: int) -> float | None:
        """Return how many bytes a batch takes, or None where that cannot be told.

        Short parts of the text are explained, each twice as long as the one before, until they are long enough.
        """
        special = [i for i, flag in enumerate(encoding.special) if flag]
        own = [i for i, flag in enumerate(encoding.special) if not flag]
        count = max(self._peaks, default=_PROBES[0] // 2) * 2
        while len(special) < count <= min(length, _PROBES[1]) and (len(self._peaks) < 3 or count <= rows * length / 16):
            part = encoding.take(sorted([*special, *own[: count - len(special)]]))
            try:
                run = partial(self.propagate, self.pad([part]), (None,), "attnlrp")
                self._peaks[count] = memory.peak(self.model, run)
            except Exception:  # what is wrong with the text or the model is said where it is explained
                break
            growth, free = memory.Growth.of(self._peaks), memory.available(self.device)
            if growth is not None and free is not None and growth.at(1, 2 * count) > free / 4:
                break
            count *= 2
        growth = memory.Growth.of(self._peaks)
        return None if growth is None else growth.at(rows, length)

    def logits(self, batch: Batch, prepare: Callable[[nn.Module], Any] = lambda model: None) -> Tensor:
        """Return the logits of the plain model, ``[batch, labels]``, detached.

        Args:
            batch: the texts.
            prepare: what is done to a copy of the model before it runs; the model itself stays as it is.
        """
        inputs = self.inputs(batch)

        def passed() -> Tensor:
            with undisturbed(self.model, SEED) as parts, torch.no_grad():
                prepare(parts.model)
                return logits_of(parts.model(**inputs), inputs["input_ids"].shape[0])

        return contained(passed)

    def reads_alike(
        self, encodings: Sequence[Encoding], logits: Tensor, alone: Callable[[int], Tensor] | None = None
    ) -> bool:
        """Whether the model reads the texts of a batch as it reads them alone, as far as one of them tells.

        Args:
            encodings: the texts.
            logits: what the batch gave, ``[texts, outputs]``.
            alone: returns the logits ``[outputs]`` of the text of an index, read alone; default: those of the plain
                model.
        """
        row = min(range(len(encodings)), key=lambda i: len(encodings[i].input_ids))  # it has the most padding
        expected = self.logits(self.pad([encodings[row]]))[0] if alone is None else alone(row)
        # Rounding is as large as the logits of the batch are, however close to zero these are.
        limit = FORWARD_LIMITS[precision_of(self.model.parameters())] * logits.abs().max()
        return bool((expected - logits[row]).abs().max() <= limit)

    def propagate(
        self, batch: Batch, targets: Targets, rules: Rules | str, layers: bool = False
    ) -> tuple[Propagation, ...]:
        """Explain texts; :func:`textlrp.lrp.propagation.propagate_targets` says what comes back and what is raised."""
        special = torch.tensor(batch.special, device=self.device)
        options = Options(rules, special, layers=layers, seed=SEED)
        return run(self.model, targets, options, self.inputs(batch))


def _length_limit(model: nn.Module, tokenizer: Any) -> int | None:
    """Return how many ids the model reads, special tokens included, or None for no limit."""
    config = getattr(model, "config", None)
    config = getattr(config, "get_text_config", lambda: config)()
    limits = []
    known = getattr(tokenizer, "model_max_length", None)
    if isinstance(known, int) and 0 < known < _NO_LIMIT:
        limits.append(known)
    for setting in ("max_position_embeddings", "max_seq_len"):
        try:
            positions = getattr(config, setting, None)
        except NotImplementedError:  # how a config says that it has no limit
            continue
        if isinstance(positions, int) and positions > 0:
            # A position table with a padding row (RoBERTa-type) counts from behind that row.
            limits.append(positions - max(_reserved_rows(model, positions), default=0))
    return min(limits, default=None)


def _reserved_rows(model: nn.Module, positions: int) -> Iterator[int]:
    for name, module in model.named_modules():
        table, padding = getattr(module, "weight", None), getattr(module, "padding_idx", None)
        if "pos" in name and isinstance(table, Tensor) and table.shape[0] == positions and padding is not None:
            yield padding + 1
