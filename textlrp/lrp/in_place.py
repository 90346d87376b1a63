"""Operations that write in place: they get the rule of the same operation out of place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textlrp.guard.trees import carries
from textlrp.lrp import chains, composites, operations, token_tracking
from textlrp.lrp.context import Context
from textlrp.lrp.elementwise import of_chain
from textlrp.lrp.sums import adds_nothing
from textlrp.lrp.surrogate import is_blank
from textlrp.lrp.writes import Constant, Handler, overwrite


def in_place(context: Context, handler: Handler, func: Any, kind: str, args: Any, kwargs: Any) -> Any:
    """Write in place the result of the rule out of place: hooks on a view that is written later would be lost."""
    target, out_of_place = args[0], operations.OUT_OF_PLACE[func]
    if not target.requires_grad:
        _carry_constant(context, target)
    known = chains.joined(out_of_place, args, kwargs) if chains.is_step(func) else None
    written = _written(context, handler, func, kind, args, kwargs)
    if known is not None and known[0] is not target and target.shape == known[0].shape:
        chains.mark(target, known, linear=False)
    return written


def _written(context: Context, handler: Handler, func: Any, kind: str, args: Any, kwargs: Any) -> Any:
    target, out_of_place = args[0], operations.OUT_OF_PLACE[func]
    if _may_write(func, kind, args, kwargs) and not composites.is_part(target):
        context.count(func, "plain gradient")
        return func(*args, **kwargs)
    heading = token_tracking.common_heading((args[1:], kwargs))
    result = of_chain(context, out_of_place, args, kwargs)
    if result is not None and composites.is_step(out_of_place):
        composites.follow(context, out_of_place, (target.clone(), *args[1:]), kwargs, result)
    elif result is None:
        before = target.clone()  # a rule may have saved the target
        composites.carry(target, before)
        args = (before, *args[1:])
        result = composites.ended(context, out_of_place, args, kwargs)
    if result is None:
        result = handler(context, out_of_place, args, kwargs)
        composites.follow(context, out_of_place, args, kwargs, result)
        if func is Tensor.__setitem__:
            result = before
    out = overwrite(context, target, result, heading, func)
    composites.carry(result, target)
    return out


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
