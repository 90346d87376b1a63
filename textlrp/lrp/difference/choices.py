"""Choices among activations: the entries that the text chooses are chosen in both runs.

A choice moves values, so it is linear once it is made: its gradient at the text is its rule, and its partner is the
same selection of the reference's values. Where the reference alone would choose otherwise, it is *pinned*.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textlrp.guard import trees
from textlrp.guard.trees import bind, carriers, tensors
from textlrp.lrp import reference
from textlrp.lrp.context import Context
from textlrp.lrp.difference.elementwise import elementwise


def choice(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """A maximum, the largest entries, a pooling, an order."""
    chosen = carriers(args, kwargs)
    named = bind(("input", "other"), args, kwargs)
    several = isinstance(named.get("other"), Tensor)
    if several and len(chosen) == 1:  # an activation or a constant, whichever is larger: a function of the activation
        return elementwise(context, func, args, kwargs)
    context.count(func, "choice of the text")
    out = func(*reference.without_partners(args), **reference.without_partners(kwargs))
    partners = selected(func, args, kwargs)
    context.beside.compare_values(func, args, kwargs, partners)
    reference.attach_all([y for y in tensors(out) if y.is_floating_point()], partners)
    return out


def selected(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """Return the values of the reference at the places that the text chooses, for each floating-point result.

    The gradient of a choice is a linear function of the multipliers, ``c -> J^T c``, and what it does to the
    reference's values is the derivative of ``sum(r J^T c)`` by ``c``. So ties are shared out as in the gradient.
    """
    keep = torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x)  # checkpointing's hooks count tensors
    with torch._C.DisableTorchFunction(), torch.enable_grad(), keep:
        starts: dict[int, tuple[Tensor, Tensor]] = {}

        def start(x: Tensor) -> Tensor:
            if not x.is_floating_point():
                return x
            if id(x) not in starts:
                starts[id(x)] = (x.detach().clone().requires_grad_(), reference.value(x))
            return starts[id(x)][0]

        out = [y for y in tensors(func(*trees.replace(args, start), **trees.replace(kwargs, start))) if y.requires_grad]
        multipliers = [torch.zeros_like(y, requires_grad=True) for y in out]
        inputs = [x for x, _ in starts.values()]
        gradients = torch.autograd.grad(out, inputs, multipliers, create_graph=True, allow_unused=True)
        # An entry that a mask set to minus infinity is chosen nowhere, or by a row of such entries alone.
        finite = [r.nan_to_num() for _, r in starts.values()]
        pairs = [(g, r) for g, r in zip(gradients, finite, strict=True) if g is not None]
        return list(torch.autograd.grad([g for g, _ in pairs], multipliers, [r for _, r in pairs]))
