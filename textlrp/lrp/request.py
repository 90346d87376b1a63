"""The request of one call: targets, rules, modules to observe, and the inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from textlrp.basics.lazy import lazy
from textlrp.basics.options import brief, plain
from textlrp.errors import InputError, LRPError, ModelError, error_summary
from textlrp.guard.randomness import Draws
from textlrp.guard.working_copy import Parts
from textlrp.lrp.reference import ReferenceRun
from textlrp.results.ledger import TOLERANCES
from textlrp.rules import Rules

#: A label index, one for each document, weights of the logits, or a function from logits to such weights.
Target = int | Sequence[int] | Tensor | Callable[[Tensor], Tensor] | None

#: Several targets, or a function from logits to them.
Targets = Sequence[Target] | Callable[[Tensor], Sequence[Target]]

_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64)


def weights_of(target: Target, logits: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the weight of each logit in the explained quantity, ``[batch, labels]``."""
    batch, labels = logits.shape
    if callable(target) and not isinstance(target, Tensor):
        try:
            target = target(logits.detach())
        except LRPError:
            raise
        except Exception as error:  # a target function may raise anything
            raise InputError(f"the target function fails on the logits: {error_summary(error)}") from error
        if target is None:
            raise InputError("the target function returned None: it must return label indices or weights of the logits")
    if not isinstance(target, Tensor) and len(getattr(target, "shape", [])) and (array := _tensor(target)) is not None:
        target = array  # from NumPy
    if isinstance(target, Tensor) and target.is_floating_point():
        if target.shape not in ((labels,), (batch, labels)):
            raise InputError(
                f"weights of the logits must have shape [{labels}] or [{batch}, {labels}], not {list(target.shape)}"
            )
        if not bool(torch.isfinite(target).all()):
            raise InputError("weights of the logits must be finite: a NaN or an infinity is among them")
        return target.to(logits.device, dtype).expand(batch, labels).contiguous()
    if target is None:
        indices = logits.argmax(-1)
    else:
        whole = _tensor(plain(target))  # checked on its own device: an accelerator would have to be waited for
        indices = torch.empty(0) if whole is None or whole.dtype not in _WHOLE else whole.long()
        if indices.is_floating_point() or indices.shape not in ((), (1,), (batch,)):
            raise InputError(
                f"target must be a label index or one index for each of the {batch} documents, not {brief(target)}"
            )
        if bool((indices >= labels).any()) or bool((indices < 0).any()):
            raise InputError(f"target {brief(target)} is out of range: the model has labels 0 to {labels - 1}")
        indices = indices.to(logits.device).expand(batch)
    return torch.zeros(batch, labels, dtype=dtype, device=logits.device).scatter_(1, indices[:, None], 1.0)


def several(targets: Iterable[Target]) -> tuple[Target, ...]:
    """Return several targets as a tuple.

    Raises:
        InputError: ``targets`` is not a list of targets.
    """
    if isinstance(targets, (str, bytes)) or not isinstance(targets, Iterable):
        raise InputError(f"targets is a list of targets, or a function that returns one, not {brief(targets)}")
    try:
        return tuple(targets)
    except TypeError:  # a tensor of a single number
        raise InputError(f"targets is a list of targets, not the single one {brief(targets)}") from None


def _tensor(value: object) -> Tensor | None:
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None


def precision_of(parameters: Iterable[Tensor]) -> str:
    """Return the coarsest float dtype among a model's parameters, such as ``"float32"``: it decides the tolerance."""
    names = {str(dtype).removeprefix("torch.") for dtype in {parameter.dtype for parameter in parameters}}
    return max(names & TOLERANCES.keys(), key=TOLERANCES.__getitem__, default="float32")


def logits_of(output: Any, batch: int) -> Tensor:
    """Return the logits ``[batch, labels]`` of a model's output.

    Raises:
        ModelError: the output has no logits of that shape.
    """
    logits = getattr(output, "logits", output)
    if isinstance(logits, dict):
        logits = logits.get("logits")
    if isinstance(logits, (list, tuple)):
        logits = logits[0] if logits else None
    if isinstance(logits, Tensor) and logits.dim() == 1 and logits.shape[0] == batch:
        logits = logits.unsqueeze(-1)
    if not isinstance(logits, Tensor) or logits.dim() != 2 or logits.shape[0] != batch:
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"a text classifier returns logits [batch, labels]; this model returned {shape}")
    return logits


#: Inputs of ids that are not words; all other inputs whose name ends with ``_ids`` are.
_NOT_WORDS = frozenset("input_ids token_type_ids position_ids segment_ids bbox_position_ids language_ids".split())


@dataclass(frozen=True)
class Options:
    """The options of :func:`textlrp.lrp.propagation.propagate`, and the seed of the model's random numbers."""

    rules: Any  # Rules, or the name of a preset until it is looked up
    special_tokens_mask: Tensor | None = None
    capture: Sequence[str] = ()
    keep: Mapping[str, Any] = field(default_factory=dict)
    layers: bool = False
    checkpointing: bool | None = None
    seed: int | None = None
    reference: Any = None

    @property
    def observes(self) -> bool:
        """Whether activations inside the blocks are observed."""
        return bool(self.capture or self.keep or self.layers)


@dataclass(frozen=True)
class Request:
    """The arguments of :func:`textlrp.lrp.propagation.propagate_targets`, and a working copy of the model.

    Attributes:
        parts: the parts of the working copy.
        draws: the source of the model's random numbers.
        options: the options, with rules and checkpointing as they are used.
        row: the index of a document that is explained alone, and the size of its batch; None for the whole batch.
    """

    parts: Parts
    draws: Draws
    targets: Targets
    options: Options
    model_inputs: dict[str, Any]
    row: tuple[int, int] | None = None

    @property
    def input_ids(self) -> Tensor:
        ids: Tensor = self.model_inputs["input_ids"]
        return ids

    @lazy
    def other_ids(self) -> dict[str, Tensor]:
        """The ids of other inputs (``title_ids``), which are looked up in tables of words, by name."""
        batch, found = self.input_ids.shape[0], {}
        for name, value in self.model_inputs.items():
            is_ids = name.endswith("_ids") and name not in _NOT_WORDS
            integers = isinstance(value, Tensor) and not value.is_floating_point() and value.dtype != torch.bool
            if is_ids and integers and value.dim() == 2 and value.shape[0] == batch:
                found[name] = value
        return found

    @lazy
    def precision(self) -> str:
        """The coarsest float dtype that the model computes in: that of its parameters, or of autocast."""
        coarsest, device = precision_of(self.parts.parameters), self.input_ids.device.type
        if coarsest == "float64" or not torch.is_autocast_enabled(device):
            return coarsest
        cast = str(torch.get_autocast_dtype(device)).removeprefix("torch.")
        return max(coarsest, cast, key=lambda name: TOLERANCES.get(name, 0.0))

    def alone(self, i: int, parts: Parts) -> Request:
        """Return the request for one document, padded as it is in the batch, on another working copy."""
        batch = self.input_ids.shape[0]

        def part(value: Any) -> Any:
            shared = not isinstance(value, Tensor) or value.dim() == 0 or value.shape[0] != batch
            return value if shared else value[i : i + 1]

        inputs = {key: part(value) for key, value in self.model_inputs.items()}
        changed = {name: part(getattr(self.options, name)) for name in ("special_tokens_mask", "reference")}
        options = replace(self.options, **changed)
        return replace(self, parts=parts, options=options, model_inputs=inputs, row=(i, batch))

    def weights(self, logits: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """Return the weight of each logit for each target, ``[batch, labels]``."""
        # Targets are for the whole batch: the logits of a document that is explained alone stand for all rows.
        rows = logits if self.row is None else logits.expand(self.row[1], -1)
        targets = self.targets(rows.detach()) if callable(self.targets) else self.targets
        weights = [weights_of(target, rows, dtype) for target in several(targets)]
        return weights if self.row is None else [weight[self.row[0] : self.row[0] + 1] for weight in weights]

    def padding(self) -> Tensor | None:
        """Return a mask of the padding at the ends of the documents, ``[batch, sequence]``, or None without padding.

        On an accelerator the mask is never None: the host would have to wait to find out.
        """
        mask = self.model_inputs.get("attention_mask")
        if isinstance(mask, Tensor) and mask.shape == self.input_ids.shape:
            tokens = mask != 0
        else:
            config = getattr(self.parts.model, "config", None)
            pad = getattr(getattr(config, "get_text_config", lambda: config)(), "pad_token_id", None)
            tokens = self.input_ids != (-1 if pad is None else pad)
        if tokens.is_cpu and bool(tokens.all()):
            return None
        tokens = tokens.int()
        within = tokens.cummax(-1).values * tokens.flip(-1).cummax(-1).values.flip(-1)
        return within == 0

    def reference_run(self) -> ReferenceRun | None:
        """Return the reference run of difference rules, or None for rules from zero."""
        asked, ids = self.options.reference, self.input_ids
        if not self.options.rules.difference:
            return None
        kept, padding = self.options.special_tokens_mask, self.padding()
        replaced = torch.ones_like(ids, dtype=torch.bool) if kept is None else ~kept.to(ids.device).bool()
        replaced = replaced if padding is None else replaced & ~padding
        if asked is None or isinstance(asked, str):
            return ReferenceRun(ids, asked or "mean", replaced)
        if isinstance(asked, int):
            return ReferenceRun(ids.masked_fill(replaced, asked))
        return ReferenceRun(asked.to(ids.device, ids.dtype).expand(ids.shape))


def references(reference: Any, rules: Rules, input_ids: Tensor) -> list[Any]:
    """Return the references of a call one by one; several are averaged.

    Raises:
        InputError: the rules measure from zero, or a reference is of no known kind or of another shape than the ids.
    """
    if reference is None:
        return [None]
    if not rules.difference:
        raise InputError("reference= belongs to the difference rules: give rules='difference', or no reference")
    several = list(reference) if isinstance(reference, (list, tuple)) else [reference]
    if not several:
        raise InputError("reference is an empty list: give a reference, or none for the default")
    return [_reference(one, input_ids) for one in several]


def _reference(one: Any, input_ids: Tensor) -> Any:
    one = one if isinstance(one, Tensor) else plain(one)
    if one in ("mean", "zero") if isinstance(one, str) else type(one) is int and one >= 0:
        return one
    ids = None if isinstance(one, (str, int, float)) else _tensor(one)
    if ids is not None and ids.dim() == 0 and ids.dtype in _WHOLE and int(ids) >= 0:
        return int(ids)
    if ids is None or ids.dtype not in _WHOLE:
        raise InputError(
            f"reference is 'mean', 'zero', a token id, a tensor of ids of the shape of input_ids, or a list of several "
            f"of these, not {brief(one)}"
        )
    if ids.shape not in (input_ids.shape, input_ids.shape[1:]):
        raise InputError(
            f"the reference has ids of shape {list(ids.shape)}, and input_ids have {list(input_ids.shape)}: a "
            f"reference has as many ids as the text"
        )
    return ids.expand(input_ids.shape)
