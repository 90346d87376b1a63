"""What is explained: a label, a difference of labels, any weighted sum of the logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from textlrp.errors import InputError

#: A label index, one for each document, weights of the logits, or a function from logits to such weights.
Target = int | Sequence[int] | Tensor | Callable[[Tensor], Tensor] | None

#: Several targets, or a function from logits to them.
Targets = Sequence[Target] | Callable[[Tensor], Sequence[Target]]


def weights_of(target: Target, logits: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the weight of each logit in the explained quantity, ``[batch, labels]``."""
    batch, labels = logits.shape
    if callable(target) and not isinstance(target, Tensor):
        target = target(logits.detach())
        if target is None:
            raise InputError("the target function returned None: it must return label indices or weights of the logits")
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
        try:
            indices = torch.as_tensor(target)  # checked where it is, so that an accelerator need not be waited for
        except (TypeError, ValueError, RuntimeError):
            indices = torch.empty(0)
        if indices.is_floating_point() or indices.dtype == torch.bool or indices.shape not in ((), (1,), (batch,)):
            raise InputError(
                f"target must be a label index or one index for each of the {batch} documents, not {target!r}"
            )
        if bool((indices >= labels).any()) or bool((indices < 0).any()):
            raise InputError(f"target {target!r} is out of range: the model has labels 0 to {labels - 1}")
        indices = indices.to(logits.device, torch.long).expand(batch)
    return torch.zeros(batch, labels, dtype=dtype, device=logits.device).scatter_(1, indices[:, None], 1.0)
