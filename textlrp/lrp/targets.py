"""What is explained: a label, a difference of labels, any weighted sum of the logits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from textlrp.basics.options import brief, plain
from textlrp.errors import InputError

#: A label index, one for each document, weights of the logits, or a function from logits to such weights.
Target = int | Sequence[int] | Tensor | Callable[[Tensor], Tensor] | None

#: Several targets, or a function from logits to them.
Targets = Sequence[Target] | Callable[[Tensor], Sequence[Target]]

_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64)


def weights_of(target: Target, logits: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the weight of each logit in the explained quantity, ``[batch, labels]``."""
    batch, labels = logits.shape
    if callable(target) and not isinstance(target, Tensor):
        target = target(logits.detach())
        if target is None:
            raise InputError("the target function returned None: it must return label indices or weights of the logits")
    if not isinstance(target, Tensor) and len(getattr(target, "shape", [])) and (array := _tensor(target)) is not None:
        target = array  # of NumPy
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
        found = _tensor(plain(target))  # checked where it is, so that an accelerator need not be waited for
        indices = torch.empty(0) if found is None or found.dtype not in _WHOLE else found.long()
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
        InputError: they are no list of targets.
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
