"""Writes into activations, and the constants among what they write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from textlrp.lrp.context import Context
from textlrp.lrp.postings import Postings
from textlrp.lrp.surrogate import Saved, Surrogate, is_blank, rule_backward

#: A function that gives an operation of one kind its rule.
Handler = Callable[[Context, Any, Any, Any], Any]


class Constant(Surrogate):
    """A constant that becomes a node of the graph, which posts ``sum(x c)``."""

    @staticmethod
    def forward(ctx: Any, root: Tensor, value: Tensor, heading: str, postings: Postings) -> Any:
        ctx.save_for_backward(value)
        ctx.heading, ctx.postings = heading, postings
        return value.clone()

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (value,) = saved
        ctx.postings.post_product(ctx.heading, c, value)
        return None, None, None, None


def overwrite(context: Context, target: Tensor, result: Tensor, heading: str, func: Any = None) -> Any:
    """Overwrite activations with a result."""
    if target.requires_grad and not result.requires_grad and not is_blank(result):
        if target._is_view():
            result = Constant.apply(context.root, result.broadcast_to(target.shape), heading, context.postings)
        else:
            target.detach_()  # a constant from here on
    target.copy_(result)
    return None if func is Tensor.__setitem__ else target
