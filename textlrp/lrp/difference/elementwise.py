"""Functions of each element by the secant between the text and the reference.

A chain of such functions, whatever it is made of, gets the secant of the whole: the product of the secants of its
steps, or their sum where it branches. So an activation that a model spells out in Python needs no rule of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from textlrp.guard import trees
from textlrp.guard.trees import tensors
from textlrp.lrp import operations, reference
from textlrp.lrp.context import Context
from textlrp.lrp.surrogate import Saved, Surrogate, rule_backward

#: Differences up to this, the cube root of the rounding error, are near-equal: the secant's digits are lost there, and
#: the slope at the midpoint is exact to the square of the difference.
_NEAR = {dtype: torch.finfo(dtype).eps ** (1 / 3) for dtype in (torch.float64, torch.float32, torch.bfloat16)}
_NEAR[torch.float16] = torch.finfo(torch.float16).eps ** (1 / 3)

#: Functions with jumps: a secant across one is as steep as its ends are close.
JUMPS = frozenset("round floor ceil trunc fix sign sgn threshold hardshrink frac remainder fmod heaviside".split())
#: Functions that vary on the scale of their argument, so that near-equal is relative to it.
_BY_SIZE = frozenset("pow __pow__ log log2 log10 lgamma digamma logit".split())

#: Secants in closed form, which need no limit.
_CLOSED: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "square": lambda x, r, y, y_r: x + r,
    "sqrt": lambda x, r, y, y_r: (y + y_r).reciprocal_().nan_to_num_(posinf=0.0),  # at zero in both runs
    "rsqrt": lambda x, r, y, y_r: (y * y_r).square_().div_(y + y_r).neg_(),
    "reciprocal": lambda x, r, y, y_r: (y * y_r).neg_(),
}


class Secant(Surrogate):
    """The rescale rule: ``c_x = c_y (f(x) - f(r)) / (x - r)``, and ``f'((x + r) / 2)`` where x and r are near-equal.

    Shrikumar et al. 2017 (section 3.5.2). Only the ratio is saved.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, ratio: Tensor) -> Any:
        ctx.save_for_backward(ratio)
        ctx.shape, ctx.dtype = x.shape, x.dtype
        ctx.mark_dirty(y)
        return y

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (ratio,) = saved
        return (c * ratio).sum_to_size(ctx.shape).to(ctx.dtype), None, None


def secant(x: Tensor, r: Tensor, function: Callable[[Tensor], Tensor], stem: str = "", alone: bool = True) -> Tensor:
    """Return ``f(x)`` with the secant for its gradient, and its partner ``f(r)``.

    Args:
        x: the input, and the argument of the slope.
        r: its value in the reference run.
        function: an elementwise function.
        stem: its name.
        alone: whether each element's result depends on that element alone, wherever it is.
    """
    x_value = x.detach()
    with torch.no_grad():
        y, y_r = function(x_value), function(r)
        if y.data_ptr() == x_value.data_ptr():  # a clamp without bounds, say
            y = y.clone()
        closed = _CLOSED.get(stem)
        ratio = _ratio(x_value, r, y, y_r, function, stem, alone) if closed is None else closed(x_value, r, y, y_r)
    out: Tensor = Secant.apply(x, y, ratio)
    reference.attach(out, y_r)
    return out


def _ratio(
    x: Tensor, r: Tensor, y: Tensor, y_r: Tensor, function: Callable[[Tensor], Tensor], stem: str, alone: bool
) -> Tensor:
    d = x - r
    limit = _NEAR.get(x.dtype, _NEAR[torch.float32])
    ratio = (y - y_r).div_(d)
    size = d.abs_()
    # Not a number where both are infinite: equal, and so near.
    near = ~(size > (torch.maximum(x.abs(), r.abs()).clamp_(max=1.0).mul_(limit) if stem in _BY_SIZE else limit))
    if not x.is_cpu or bool(near.any()):
        if alone and near.shape == ratio.shape:
            middle = (x[near] + r[near]) * 0.5
            ratio[near] = _slope(function, middle).to(ratio.dtype)
        else:
            ratio = torch.where(near, _slope(function, (x + r) * 0.5).to(ratio.dtype), ratio)
    return ratio


def _slope(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return ``f'(x)``, and 0 where it is not finite."""
    keep = torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x)  # checkpointing's hooks count tensors
    with torch._C.DisableTorchFunction(), torch.enable_grad(), keep:
        start = x.detach().requires_grad_()
        y = function(start)
        if not y.requires_grad:
            return torch.zeros_like(y)
        expanded = start
        if y.shape != start.shape:  # it broadcasts against a constant: each result has a slope of its own
            expanded = x.detach().expand(y.shape).clone().requires_grad_()
            y = function(expanded)
        (slope,) = torch.autograd.grad(y, expanded, torch.ones_like(y))
    return slope.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def elementwise(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """A function of each element of the one argument that carries relevance."""
    name, stem = operations.name(func), operations.stem(func)
    args, kwargs, writes = operations.without_inplace(func, args, kwargs)
    if writes:
        result = elementwise(context, func, (reference.like(args[0], Tensor.clone), *args[1:]), kwargs)
        return reference.overwrite(args[0], result)
    if stem in JUMPS:
        raise context.unsupported(f"{name}, a function with jumps,")
    carriers = trees.carriers(args, kwargs)
    if len(carriers) != 1:
        raise context.unsupported(f"{name} of several activations")
    (x,) = carriers
    rest = [y for y in tensors((args, kwargs)) if y is not x]

    def function(at: Tensor) -> Tensor:
        def change(y: Tensor) -> Tensor:
            return at if y is x else y

        result: Tensor = func(*trees.replace(args, change), **trees.replace(kwargs, change))
        return result

    context.count(func, "secant")
    if stem in ("pow", "__pow__") and x is args[0]:
        exponent = args[1] if len(args) > 1 else kwargs.get("exponent")
        stem = {2: "square", 0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal"}.get(exponent, stem) if not rest else stem
    alone = all(y.dim() == 0 for y in rest)
    return secant(x, reference.value(x), function, stem, alone)
