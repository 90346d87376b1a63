"""A model and its tokenizer: their limit of length, and from texts to tensors to logits and relevance."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from textlrp.basics import options
from textlrp.errors import InputError, LRPError, ModelError, error_summary, fails
from textlrp.explain import memory, tokenizer_fit
from textlrp.explain.embedding_tables import word_table
from textlrp.guard.model_guard import contained, undisturbed
from textlrp.lrp.propagation import run
from textlrp.lrp.request import Options, Targets, logits_of, precision_of
from textlrp.lrp.result import Propagation
from textlrp.rules import Rules, as_rules
from textlrp.text.batch import Batch
from textlrp.text.encoding import Encoding
from textlrp.text.readers import Reader, TokenizerReader

#: transformers writes a huge number for a tokenizer without a limit.
_NO_LIMIT = 1_000_000

#: The seed of models that draw random numbers (hashing attention), so that they repeat themselves.
SEED = 0
#: The share of the free memory below which a rough guess is good enough.
_SURE = 1 / 16

#: The first and the largest number of ids that are explained to measure the memory of a model.
_PROBES = (32, 1024)

#: The largest difference of logits that counts as rounding, relative to the largest logit, by the model's dtype.
#: A float64 model is explained in float64 throughout; the plain model may use float32 in norms and softmax.
FORWARD_LIMITS = {"float64": 1e-5, "float32": 1e-5, "float16": 1e-2, "bfloat16": 5e-2}


@dataclass(frozen=True)
class Task:
    """What a model is asked about a text.

    Attributes:
        name: the name of the task.
        beside: what the model reads beside the text: the hypothesis of each label, or the prompt and the words for each
            label.
        pairs: whether it takes two texts, and not one.
    """

    name: str = "text classification"
    beside: tuple[str, ...] = ()
    pairs: bool = False


class Classifier:
    """A text classifier with its tokenizer, used where it is and left as it is.

    Attributes:
        model: a sequence classifier.
        tokenizer: the tokenizer that the model was trained with, or None if a function reads texts.
        reader: turns texts into what the model reads.
        task: what the model is asked about them.
        limit: the number of ids that the model reads at once, special tokens included, or None for no limit.
    """

    def __init__(
        self, model: nn.Module, tokenizer: Any, reader: Reader | None = None, task: Task | None = None
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ModelError(
                f"the model must be a torch module, such as AutoModelForSequenceClassification gives, not "
                f"{type(model).__name__}; to load one by its name, use Explainer.from_pretrained"
            )
        if isinstance(model, torch.jit.ScriptModule):
            raise ModelError("a traced or scripted model hides its operations: explain the module it was made from")
        if isinstance(model, torch.fx.GraphModule) and _is_exported(model):
            raise ModelError(
                "an exported program hides the functions of its model: explain the module it was made from"
            )
        if reader is None and (tokenizer is None or not callable(tokenizer)):
            raise ModelError(
                f"an explanation needs the tokenizer that the model was trained with, not {type(tokenizer).__name__}; "
                f"if it has none, give a function as encode="
            )
        if any(parameter.is_meta for parameter in model.parameters()):
            raise ModelError("the model has no weights: they are on the device 'meta'; load them first")
        self.model = model
        self.tokenizer = tokenizer
        self.reader = TokenizerReader(tokenizer) if reader is None else reader
        self.task = Task() if task is None else task
        parameters = inspect.signature(model.forward).parameters
        self._accepted = None if any(p.kind is p.VAR_KEYWORD for p in parameters.values()) else frozenset(parameters)
        self.limit = _length_limit(model, tokenizer)
        self._rough = memory.rough(model)
        self._sure: float | None = None
        # Difference rules keep activations of two runs, so they are measured apart.
        self._peaks: dict[int, int] = {}
        self._peaks_of_two: dict[int, int] = {}
        if tokenizer is not None:
            tokenizer_fit.check_tokenizer(model, tokenizer)

    def reading(self, model: nn.Module, reader: Reader, task: Task) -> Classifier:
        """Return a classifier that reads texts in another way, by a model that runs this one.

        Args:
            model: computes the logits of labels from the outputs of this classifier's model.
            reader: turns texts into its inputs.
            task: what it is asked about them.
        """
        classifier = Classifier(model, self.tokenizer, reader, task)
        classifier.limit = self.limit
        return classifier

    @property
    def device(self) -> torch.device:
        """The device of the model's weights."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    def special_id(self, name: str) -> int | None:
        """Return the id of the tokenizer's ``"mask"`` or ``"pad"`` token, or None if it or its row is missing."""
        number = getattr(self.tokenizer, f"{name}_token_id", None)
        size = getattr(word_table(self.model), "num_embeddings", None)
        missing = not isinstance(number, int) or number < 0 or (isinstance(size, int) and number >= size)
        return None if missing else number

    @property
    def mask_id(self) -> int | None:
        """The id of the mask token, or None."""
        return self.special_id("mask")

    @property
    def default_reference(self) -> int | str:
        """What stands for a word in the reference of difference rules: the mask token, or else ``"mean"``."""
        return "mean" if self.mask_id is None else self.mask_id

    def encode(self, text: str, limit: int | None, text_pair: str | None = None) -> Encoding:
        """Return a text or a pair as the model reads it, cut at ``limit`` ids.

        Raises:
            ModelError: the tokenizer fails on the text.
        """
        try:
            return self.reader.encode(text, limit, text_pair)
        except (LRPError, MemoryError):
            raise
        except BaseException as error:  # the tokenizer fails on one document, and the others are explained all the same
            if not fails(error):
                raise
            what = "encode" if self.tokenizer is None else "the tokenizer"
            raise ModelError(f"{what} fails on this text: {error_summary(error)}") from error

    def pad(self, encodings: Sequence[Encoding]) -> Batch:
        """Put texts into one batch; :func:`textlrp.text.encoding.pad` raises."""
        return self.reader.pad(encodings)

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the tokenizer's outputs that the model accepts, as ``[batch, sequence]`` tensors on its device.

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

    def layers(self, asked: Any) -> bool:
        """Return whether to explain the hidden states, given the option ``layers``.

        Raises:
            InputError: it is neither true nor false, or the model reads a text in several runs, whose hidden states do
                not belong together.
        """
        layers = options.flag(asked, "layers")
        if layers and self.reader.runs > 1:
            raise InputError(
                f"layers shows the hidden states of one run, and this model reads its input in {self.reader.runs} "
                f"runs: leave layers out"
            )
        return layers

    def check_memory(self, encoding: Encoding, count: int, difference: bool = False) -> None:
        """Refuse a text that needs more memory than there is, before the machine runs out of it.

        Args:
            encoding: the text.
            count: the number of ids that are read at once.
            difference: whether difference rules explain it.

        Raises:
            InputError: the text is too long for this machine.
        """
        lacking = self._lacking(encoding, 1, count, difference)
        if lacking is not None:
            needed, free = map(memory.shown, lacking)
            raise InputError(
                f"the text takes {count:,} ids, and to explain them at once takes about {needed} of memory, of which "
                f"{free} are free: read it with long='windows', or give window=, the number of ids to read at once"
            )

    def fits(self, encodings: Sequence[Encoding], difference: bool = False) -> bool:
        """Return whether one batch of texts fits into memory, as far as can be told."""
        longest = max(encodings, key=lambda encoding: len(encoding.input_ids))
        return self._lacking(longest, len(encodings), len(longest.input_ids), difference) is None

    def _lacking(self, encoding: Encoding, rows: int, length: int, difference: bool) -> tuple[float, int] | None:
        """Return the bytes that a batch needs and those that are free, or None if it fits or that is unknown.

        Args:
            encoding: the longest text.
            rows: the number of texts.
            length: the number of ids of each, padding included.
            difference: whether difference rules explain it.
        """
        if self._sure is None:
            free = memory.available(self.device)
            self._sure = float("inf") if free is None else free * _SURE
        if self._rough.at(rows, length) * (2 if difference else 1) <= self._sure:
            return None  # too small to be worth a measurement
        needed, free = self._needed(encoding, rows, length, difference), memory.available(self.device)
        if needed is None or free is None or needed <= free:
            return None
        free = memory.made_available(self.device)
        return None if free is None or needed <= free else (needed, free)

    def _needed(self, encoding: Encoding, rows: int, length: int, difference: bool) -> float | None:
        """Return the bytes that a batch needs, or None if that is unknown.

        Short parts of the text are explained, each twice as long as the one before, until they are long enough.
        """
        peaks, rules = (self._peaks_of_two, "difference") if difference else (self._peaks, "attnlrp")
        special = [i for i, flag in enumerate(encoding.special) if flag]
        ordinary = [i for i, flag in enumerate(encoding.special) if not flag]
        count = max(peaks, default=_PROBES[0] // 2) * 2
        while len(special) < count <= min(length, _PROBES[1]) and (len(peaks) < 3 or count <= rows * length / 16):
            part = encoding.take(sorted([*special, *ordinary[: count - len(special)]]))
            try:
                run = partial(self.propagate, self.pad([part]), (None,), rules)
                peaks[count] = memory.peak(self.model, run)
            except Exception:  # the explanation itself will raise it
                break
            growth, free = memory.Growth.of(peaks), memory.available(self.device)
            if growth is not None and free is not None and growth.at(1, 2 * count) > free / 4:
                break
            count *= 2
        growth = memory.Growth.of(peaks)
        return None if growth is None else growth.at(rows, length)

    def logits(self, batch: Batch, prepare: Callable[[nn.Module], Any] = lambda model: None) -> Tensor:
        """Return the logits of the plain model, ``[batch, labels]``, detached.

        Args:
            batch: the texts.
            prepare: changes a copy of the model before it runs; the model itself stays as it is.
        """
        inputs = self.inputs(batch)

        def forward() -> Tensor:
            with undisturbed(self.model, SEED) as parts, torch.no_grad():
                prepare(parts.model)
                return logits_of(parts.model(**inputs), inputs["input_ids"].shape[0])

        return contained(forward)

    def reads_alike(
        self, encodings: Sequence[Encoding], logits: Tensor, alone: Callable[[int], Tensor] | None = None
    ) -> bool:
        """Return whether the model reads the texts of a batch as it reads them alone, tested on one of them.

        Args:
            encodings: the texts.
            logits: the logits of the batch, ``[texts, outputs]``.
            alone: returns the logits ``[outputs]`` of the text of an index, read alone; default: those of the plain
                model.
        """
        row = min(range(len(encodings)), key=lambda i: len(encodings[i].input_ids))  # it has the most padding
        expected = self.logits(self.pad([encodings[row]]))[0] if alone is None else alone(row)
        # Rounding is relative to the largest logit of the batch, however close to zero the row's logits are.
        limit = FORWARD_LIMITS[precision_of(self.model.parameters())] * logits.abs().max()
        return bool((expected - logits[row]).abs().max() <= limit)

    def propagate(
        self, batch: Batch, targets: Targets, rules: Rules | str, layers: bool = False, reference: Any = None
    ) -> tuple[Propagation, ...]:
        """Explain texts; results and errors are those of :func:`textlrp.lrp.propagation.propagate_targets`.

        Args:
            batch: the texts.
            targets: the labels.
            rules: the rules.
            layers: whether to explain the hidden states, too.
            reference: of difference rules, as the engine takes it; default: :attr:`default_reference`.
        """
        rules = as_rules(rules)
        if reference is None and rules.difference:
            reference = self.default_reference
        special = torch.tensor(batch.special, device=self.device)
        asked = Options(rules, special, layers=layers, seed=SEED, reference=reference)
        return run(self.model, targets, asked, self.inputs(batch))


def _is_exported(model: torch.fx.GraphModule) -> bool:
    """Return whether a graph calls torch's inner operators, as an exported program does."""
    return any(isinstance(node.target, torch._ops.OpOverload) for node in model.graph.nodes)


def _length_limit(model: nn.Module, tokenizer: Any) -> int | None:
    """Return the number of ids that the model reads, special tokens included, or None for no limit."""
    config = getattr(model, "config", None)
    config = getattr(config, "get_text_config", lambda: config)()
    limits = []
    known = getattr(tokenizer, "model_max_length", None)
    if isinstance(known, int) and 0 < known < _NO_LIMIT:
        limits.append(known)
    for setting in ("max_position_embeddings", "max_seq_len"):
        try:
            positions = getattr(config, setting, None)
        except NotImplementedError:  # the config has no limit
            continue
        if isinstance(positions, int) and positions > 0:
            # A position table with a padding row (RoBERTa and similar) starts after that row.
            limits.append(positions - max(_reserved_rows(model, positions), default=0))
    return min(limits, default=None)


def _reserved_rows(model: nn.Module, positions: int) -> Iterator[int]:
    for name, module in model.named_modules():
        table, padding = getattr(module, "weight", None), getattr(module, "padding_idx", None)
        if "pos" in name and isinstance(table, Tensor) and table.shape[0] == positions and padding is not None:
            yield padding + 1
