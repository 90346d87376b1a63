"""A model and its tokenizer: what they read at once, and from texts to tensors to logits and relevance."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from textlrp import fitting
from textlrp.calls import logits_of
from textlrp.errors import InputError, ModelError
from textlrp.isolation import undisturbed
from textlrp.propagation import Propagation, propagate_targets
from textlrp.rules import Rules
from textlrp.targets import Targets
from textlrp.tokens import Batch, Encoding, encode, pad

#: transformers writes a huge number where a tokenizer knows no limit.
_NO_LIMIT = 1_000_000

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
        fitting.check_tokenizer(model, tokenizer)

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    def encode(self, text: str, limit: int | None, text_pair: str | None = None) -> Encoding:
        """Return a text or a pair as the model reads it, cut at ``limit`` ids; :func:`textlrp.tokens.encode` raises."""
        return encode(self.tokenizer, text, limit, text_pair)

    def pad(self, encodings: Sequence[Encoding]) -> Batch:
        """Put texts into one batch; :func:`textlrp.tokens.pad` raises."""
        return pad(self.tokenizer, encodings)

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the model takes of what the tokenizer gave, as ``[batch, sequence]`` tensors on its device.

        Raises:
            ModelError: the tokenizer gives an id that the model has no row for.
        """
        fitting.check_ids(self.model, self.tokenizer, batch.inputs)
        accepted = self._accepted
        inputs = {
            key: torch.tensor(rows, device=self.device)
            for key, rows in batch.inputs.items()
            if key in ("input_ids", "attention_mask") or accepted is None or key in accepted
        }
        if accepted is not None and "attention_mask" not in accepted:
            inputs.pop("attention_mask", None)
        return inputs

    def check_memory(self, count: int) -> None:
        """Refuse a text that takes more memory than the machine has, before that brings the machine down.

        What is counted is the least that a transformer keeps for its backward pass, and the weights of attention where
        they are written out. A model without a limit knows positions by their distances, a table for each pair of ids,
        so there they count even if attention itself is fused.

        Args:
            count: how many ids are read at once.

        Raises:
            InputError: the text is too long for this machine.
        """
        config = getattr(self.model, "config", None)
        config = getattr(config, "get_text_config", lambda: config)()
        sizes = [getattr(config, name, None) for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")]
        if not all(isinstance(value, int) for value in sizes):
            return
        width, layers, heads = (int(value or 0) for value in sizes)
        each = next((p.element_size() for p in self.model.parameters()), 4)
        written_out = self.limit is None or getattr(config, "_attn_implementation", None) in (None, "eager")
        needed = each * layers * count * (8 * width + heads * count * written_out)
        available = _memory(self.device)
        if available is not None and needed > available:
            raise InputError(
                f"the text takes {count:,} ids, and to explain them at once takes more than {needed / 2**30:,.0f} GiB, "
                f"of which this machine has {available / 2**30:,.0f}: read it with long='windows', or give window=, "
                f"the number of ids to read at once"
            )

    def logits(self, batch: Batch) -> Tensor:
        """Return the logits of the plain model, ``[batch, labels]``, detached."""
        inputs = self.inputs(batch)
        with undisturbed(self.model), seeded(self.model), torch.no_grad():
            return logits_of(self.model(**inputs), inputs["input_ids"].shape[0])

    def propagate(
        self, batch: Batch, targets: Targets, rules: Rules | str, layers: bool = False
    ) -> tuple[Propagation, ...]:
        """Explain texts; :func:`textlrp.propagation.propagate_targets` says what comes back and what is raised."""
        special = torch.tensor(batch.special, device=self.device)
        with seeded(self.model):
            inputs: dict[str, Any] = self.inputs(batch)
            return propagate_targets(self.model, targets, rules, special_tokens_mask=special, layers=layers, **inputs)


def _memory(device: torch.device) -> int | None:
    """Return how many bytes of memory a device has in all, or None where nobody tells."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system has them
        return None


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
