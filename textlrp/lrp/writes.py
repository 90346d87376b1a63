"""Operations that write in place, and the values that they overwrite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from textlrp.guard.trees import carries
from textlrp.lrp import operations, token_tracking
from textlrp.lrp.context import Context
from textlrp.lrp.postings import Postings
from textlrp.lrp.sums import adds_nothing
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


def in_place(context: Context, handler: Handler, func: Any, kind: str, args: Any, kwargs: Any) -> Any:
    """Write in place the result of the rule out of place: hooks on a view that is written later would be lost."""
    target = args[0]
    if not target.requires_grad:
        _carry_constant(context, target)
    if _may_write(func, kind, args, kwargs):
        context.count(func, "plain gradient")
        return func(*args, **kwargs)
    args = (target.clone(), *args[1:])  # a rule may have saved the target
    result = handler(context, operations.OUT_OF_PLACE[func], args, kwargs)
    if func is Tensor.__setitem__:
        result = args[0]
    return overwrite(context, target, result, token_tracking.common_heading((args[1:], kwargs)), func)


def overwrite(context: Context, target: Tensor, result: Tensor, heading: str, func: Any = None) -> Any:
    """Overwrite activations with a result."""
    if target.requires_grad and not result.requires_grad and not is_blank(result):
        if target._is_view():
            result = Constant.apply(context.root, result.broadcast_to(target.shape), heading, context.postings)
        else:
            target.detach_()  # a constant from here on
    target.copy_(result)
    return None if func is Tensor.__setitem__ else target


def _carry_constant(context: Context, target: Tensor) -> None:
    """Make a constant that is about to be overwritten with relevance a node that posts it."""
    base = target if target._base is None else target._base
    if not base.is_floating_point() or is_blank(base) or not torch.is_grad_enabled():
        return
    if any(base is buffer for buffer in context.parts.buffers):
        raise context.unsupported("a model's buffer that is written with activations")
    base.copy_(Constant.apply(context.root, base.clone(), token_tracking.heading(target), context.postings))
    _ = target.grad_fn  # reading it makes autograd renew a view's node


def _may_write(func: Any, kind: str, args: Any, kwargs: Any) -> bool:
    """Return whether an operation can write in place as it is, because it posts and scales nothing."""
    if kind == "additive":
        return args[0].requires_grad and carries(args[1:2])
    if kind in ("product", "division"):
        return args[0].requires_grad and not carries(args[1:], kwargs)
    return kind == "affine" and adds_nothing(func, args, kwargs)
