"""Surrogates: operations with the value of the original and the gradient of an LRP rule.

The gradient that arrives at an activation is its multiplier ``c``; its relevance is ``x * c``. Each surrogate obeys one
law: the relevance of its inputs plus what it posts equals the relevance of its output. To write one, derive from
:class:`Surrogate`, return the value from ``forward``, return the multipliers of the inputs from ``backward``, and post
the rest (:mod:`textlrp.lrp.postings`). Save tensors only with ``save_for_backward``, so that gradient checkpointing can
drop and recompute them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Saved = tuple[Any, ...]

#: Scores of at most this value were set by a mask: no activation of a working model comes near.
MASKED = -1e4


def rule_backward(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a backward ``function(ctx, saved, *multipliers)`` with the saved tensors and without interception.

    The interception is active in the backward pass: if gradient checkpointing has dropped the saved tensors, reading
    them runs a part of the model again, which must then be given its rules again.
    """

    def backward(ctx: Any, *multipliers: Tensor) -> Any:
        saved = ctx.saved_tensors
        with torch._C.DisableTorchFunction():
            return function(ctx, saved, *multipliers)

    return backward


class Surrogate(torch.autograd.Function):
    """The base of textlrp's own nodes in the autograd graph; others are custom functions of the model."""

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Apply the surrogate without the check of ``torch.autograd.Function.apply`` for transforms: none get here."""
        return super(torch.autograd.Function, cls).apply(*args)  # type: ignore[misc]


class StandIn(Surrogate):
    """The value of a fused kernel with the gradient of the same computation step by step."""

    @staticmethod
    def forward(ctx: Any, steps: Tensor, value: Tensor) -> Any:
        ctx.mark_dirty(value)
        return value

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        return c, None


def stand_in(steps: Tensor, value: Tensor) -> Tensor:
    """Return ``value``, computed by a fused kernel, with the gradient of ``steps``, the same value step by step."""
    # Detached, because autograd refuses writes into a view that was made without grad.
    out: Tensor = StandIn.apply(steps, value.detach())
    return out


def is_blank(value: Any) -> bool:
    """Return whether an added constant adds no relevance: zeros, and the large negative entries of an attention mask.

    A softmax gives a masked entry the weight 0 and hence the multiplier 0. Where that does not hold, the ledger shows
    it.
    """
    if isinstance(value, Tensor):
        if not value.is_floating_point():
            return not bool(value.any())
        return bool(((value == 0) | (value <= MASKED)).all())
    return not isinstance(value, (int, float)) or value == 0 or value <= MASKED
