"""Model, tokenizer, text and target to an explanation."""

from __future__ import annotations

import difflib
import importlib.metadata
import inspect
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from textlrp import loading
from textlrp.errors import InputError, ModelError
from textlrp.explanation import Explanation
from textlrp.propagation import propagate
from textlrp.rules import Rules, as_rules
from textlrp.spans import Span
from textlrp.tokens import Batch, Encoding, encode, pad

#: The built-in classifier's folder and name.
DEMO_FOLDER = Path(__file__).parent / "demo"
DEMO_NAME = "textlrp demo"

#: transformers writes a huge number where a tokenizer knows no limit.
_NO_LIMIT = 1_000_000


class Explainer:
    """Explains what a Hugging Face text classifier makes of a text.

    Args:
        model: a sequence classifier; it is used where it is and left as it is.
        tokenizer: the tokenizer that the model was trained with.
        name: what explanations call the model; default: the name that it was loaded under.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, name: str | None = None) -> None:
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
        self.config = getattr(model, "config", None)
        self.name = name or getattr(self.config, "_name_or_path", "") or type(model).__name__
        self.labels = _labels(self.config)
        parameters = inspect.signature(model.forward).parameters
        self._accepted = None if any(p.kind is p.VAR_KEYWORD for p in parameters.values()) else frozenset(parameters)
        self._limit = _length_limit(model, tokenizer)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        revision: str | None = None,
        **options: Any,
    ) -> Explainer:
        """Load a classifier and its tokenizer from a folder or from the hub.

        Args:
            name: a folder, or a hub name such as ``"owner/model"``.
            device: where to put the model (``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...); default: the CPU.
            dtype: the dtype of the weights (``torch.float32``, ``"float32"``, ``"auto"``); default: as stored.
            revision: a branch, tag or commit of the hub's repository.
            **options: passed on to ``AutoModelForSequenceClassification.from_pretrained``.

        Raises:
            InputError: there is no folder of that name, or the device or dtype is none.
            ModelError: the model cannot be loaded, or it is no text classifier.
        """
        model, tokenizer = loading.load(str(name), device=device, dtype=dtype, revision=revision, **options)
        return cls(model, tokenizer, str(name))

    @classmethod
    def from_pipeline(cls, pipeline: Any) -> Explainer:
        """Take the model and the tokenizer of a ``transformers`` text-classification pipeline, as they are.

        Raises:
            ModelError: the pipeline has no torch model or no tokenizer.
        """
        model, tokenizer = getattr(pipeline, "model", None), getattr(pipeline, "tokenizer", None)
        if not isinstance(model, nn.Module) or tokenizer is None:
            raise ModelError(
                f"{type(pipeline).__name__} has no torch model with a tokenizer: textlrp takes a text-classification "
                f"pipeline of transformers"
            )
        return cls(model, tokenizer)

    @classmethod
    def demo(cls, *, device: str | torch.device | None = None) -> Explainer:
        """Load the built-in classifier: English reviews, NEG or POS. It needs no network."""
        if not (DEMO_FOLDER / "config.json").is_file():
            raise ModelError(
                f"the built-in classifier is missing from this installation: there is no {str(DEMO_FOLDER)!r}"
            )
        explainer = cls.from_pretrained(DEMO_FOLDER, device=device, dtype=torch.float32)
        explainer.name = DEMO_NAME
        return explainer

    def explain(
        self,
        text: str,
        *,
        target: str | int | None = None,
        contrast: str | int | None = None,
        rules: Rules | str = "attnlrp",
    ) -> Explanation:
        """Explain one label's logit for a text.

        A text longer than the model reads is cut; ``truncated`` says where.

        Args:
            text: the document.
            target: a label name or index; default: the predicted label.
            contrast: a label or ``"runner-up"``: explains ``logit(target) - logit(contrast)``.
            rules: a preset's name or :class:`textlrp.Rules`.

        Raises:
            InputError: the text, a label or the rules cannot be used as given.
            LRPError: the model cannot be explained; the message says why.
        """
        rules = as_rules(rules)
        encoding = self.encode(text)
        read = pad(self.tokenizer, [encoding])
        choice = _Choice(self.labels, target, contrast)
        with seeded(self.model):
            found = propagate(
                self.model,
                choice.weights,
                rules,
                special_tokens_mask=self._tensor(read.special),
                **self.inputs(read),
            )
        spans = tuple(
            Span(start, end, text[start:end], relevance, special, piece)
            for (start, end), relevance, special, piece in zip(
                encoding.offsets, found.relevance[0].tolist(), encoding.special, encoding.pieces, strict=True
            )
        )
        scores = found.logits[0].double()
        labels = choice.named(scores.shape[0])
        logits = dict(zip(labels, scores.tolist(), strict=True))
        target, contrast_label = labels[choice.target], None if choice.contrast is None else labels[choice.contrast]
        logit = logits[target] - (0.0 if contrast_label is None else logits[contrast_label])
        return Explanation(
            text=text,
            target=target,
            contrast=contrast_label,
            logit=logit,
            logits=logits,
            probabilities=self._probabilities(labels, scores),
            predicted=labels[int(scores.argmax())],
            tokens=spans,
            # The same logit without the rounding of a float32 difference.
            ledger=replace(found.ledgers[0], logit=logit).check(),
            truncated=encoding.truncated,
            rules=rules.name,
            model=self.name,
            versions={name: importlib.metadata.version(name) for name in ("textlrp", "torch", "transformers")},
        )

    def encode(self, text: str) -> Encoding:
        """Return a text as the model reads it, cut where it is too long; the errors are those of :meth:`explain`."""
        return encode(self.tokenizer, text, self._limit)

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the model takes of what the tokenizer gave, as ``[batch, sequence]`` tensors on its device.

        Raises:
            ModelError: the tokenizer gives an id that the model has no row for.
        """
        accepted = self._accepted
        inputs = {
            key: self._tensor(rows)
            for key, rows in batch.inputs.items()
            if key in ("input_ids", "attention_mask") or accepted is None or key in accepted
        }
        if accepted is not None and "attention_mask" not in accepted:
            inputs.pop("attention_mask", None)
        size = getattr(word_table(self.model), "num_embeddings", None)
        worst = max(map(max, batch.inputs["input_ids"]))
        if size is not None and worst >= size:
            (piece,) = self.tokenizer.convert_ids_to_tokens([worst])
            raise ModelError(
                f"the tokenizer does not fit the model: it gives {piece!r} the id {worst}, and the model has a "
                f"table of {size} ids; load both from the same place"
            )
        return inputs

    def _tensor(self, rows: list[list[int]]) -> Tensor:
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        return torch.tensor(rows, device=device)

    def _probabilities(self, labels: tuple[str, ...], logits: Tensor) -> dict[str, float]:
        kind = getattr(self.config, "problem_type", None)
        if kind == "regression" or (kind is None and len(labels) == 1):
            return {}
        values = logits.sigmoid() if kind == "multi_label_classification" else logits.softmax(-1)
        return dict(zip(labels, values.tolist(), strict=True))


class _Choice:
    """The explained labels, settled once the logits are known."""

    def __init__(self, labels: tuple[str, ...] | None, target: str | int | None, contrast: str | int | None) -> None:
        self._labels, self._target, self._contrast = labels, target, contrast
        self.target = 0
        self.contrast: int | None = None
        if labels is not None:  # say what is wrong before the model runs
            if target is not None:
                find_label(labels, target)
            if contrast is not None and contrast != "runner-up":
                find_label(labels, contrast)

    def named(self, count: int) -> tuple[str, ...]:
        """Return the labels' names, numbers where the model has none."""
        if self._labels is None or len(self._labels) != count:
            return tuple(f"LABEL_{i}" for i in range(count))
        return self._labels

    def weights(self, logits: Tensor) -> Tensor:
        """Return ``+1`` at the target and ``-1`` at the contrast, ``[1, labels]``."""
        labels = self.named(logits.shape[1])
        scores = logits[0]
        self.target = int(scores.argmax()) if self._target is None else find_label(labels, self._target)
        weights = torch.zeros_like(logits)
        weights[0, self.target] = 1.0
        if self._contrast is not None:
            if len(labels) < 2:
                raise InputError("contrast needs a second label, and the model has one")
            if self._contrast == "runner-up" and "runner-up" not in labels:
                others = scores.clone()
                others[self.target] = -torch.inf
                self.contrast = int(others.argmax())
            else:
                self.contrast = find_label(labels, self._contrast)
            if self.contrast == self.target:
                raise InputError(f"contrast and target are both {labels[self.target]!r}: their difference is zero")
            weights[0, self.contrast] = -1.0
        return weights


def find_label(labels: tuple[str, ...], label: str | int) -> int:
    """Return the index of a label given by name, in any case, or by index.

    Raises:
        InputError: there is no such label; the message lists the labels and the nearest one.
    """
    listed = ", ".join(labels[:20]) + (f", ... ({len(labels)} in all)" if len(labels) > 20 else "")
    if not isinstance(label, (str, bool)) and hasattr(label, "__index__"):
        label = operator.index(label)
        if 0 <= label < len(labels):
            return label
        raise InputError(f"there is no label {label}: the model has {len(labels)}, 0 to {len(labels) - 1} ({listed})")
    if not isinstance(label, str):
        raise InputError(f"a label is a name or an index, not {label!r}")
    if label in labels:
        return labels.index(label)
    folded = [name.casefold() for name in labels]
    if folded.count(label.casefold()) == 1:
        return folded.index(label.casefold())
    if label.isdecimal() and int(label) < len(labels):
        return int(label)
    near = difflib.get_close_matches(label.casefold(), folded, n=1)
    hint = f"; did you mean {labels[folded.index(near[0])]!r}?" if near else ""
    raise InputError(f"there is no label {label!r}: the model's labels are {listed}{hint}")


def _labels(config: Any) -> tuple[str, ...] | None:
    """Return the labels by index, told apart by their index where two have the same name."""
    names = getattr(config, "id2label", None)
    if not names:
        return None
    ordered = [str(names[key]) for key in sorted(names, key=int)]
    return tuple(f"{name} ({i})" if ordered.count(name) > 1 else name for i, name in enumerate(ordered))


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


def word_table(model: nn.Module) -> Any:
    """Return the model's table of input embeddings, or None where it does not tell."""
    getter: Callable[[], Any] = getattr(model, "get_input_embeddings", lambda: None)
    try:
        return getter()
    except NotImplementedError:
        return None


@contextmanager
def seeded(model: nn.Module) -> Iterator[None]:
    """Make models that sample (hashing attention) repeat themselves; afterwards the random state is as before."""
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(0)
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(0)
        yield
