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
from textlrp.lrp.difference.products import mark_inverse
from textlrp.lrp.surrogate import Saved, Surrogate, rule_backward

#: Differences up to this, the cube root of the rounding error, are near-equal: the secant's digits are lost there. The
#: slope between two points at this distance on either side of the middle is exact to about its square.
_NEAR = {
    dtype: torch.finfo(dtype).eps ** (1 / 3) for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16)
}

#: Functions with jumps: a secant across one is as steep as its ends are close.
JUMPS = frozenset("round floor ceil trunc fix sign sgn threshold hardshrink frac remainder fmod heaviside".split())
#: Functions that vary on the scale of their argument, so that near-equal is relative to it.
_BY_SIZE = frozenset("pow __pow__ log log2 log10 lgamma digamma logit".split())

#: Functions of straight pieces with slopes of one and zero: their secants keep all digits.
_STRAIGHT = frozenset(
    "relu relu6 abs absolute __abs__ clamp clip clamp_min clamp_max hardtanh max min maximum minimum fmax fmin".split()
)
#: A secant steeper than this crosses a jump.
_STEEP = 100.0

#: Secants in closed form, which need no limit.
_CLOSED: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "square": lambda x, r, y, y_r: x + r,
    "sqrt": lambda x, r, y, y_r: (y + y_r).reciprocal_().nan_to_num_(posinf=0.0),  # at zero in both runs
    "rsqrt": lambda x, r, y, y_r: (y * y_r).square_().div_(y + y_r).neg_(),
    "reciprocal": lambda x, r, y, y_r: (y * y_r).neg_(),
}


class Secant(Surrogate):
    """The rescale rule: ``c_x = c_y (f(x) - f(r)) / (x - r)``, and a slope in the middle where both are near-equal.

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


def secant(
    x: Tensor,
    r: Tensor,
    function: Callable[[Tensor], Tensor],
    stem: str = "",
    alone: bool = True,
    steepest: float | None = None,
) -> Tensor | None:
    """Return ``f(x)`` with the secant for its gradient, and its partner ``f(r)``; None if a secant is too steep.

    Args:
        x: the input.
        r: its value in the reference run.
        function: an elementwise function.
        stem: its name.
        alone: whether each element's result depends on that element alone, wherever it is.
        steepest: the largest secant to return, or None for any.
    """
    x_value = x.detach()
    with torch.no_grad():
        y, y_r = function(x_value), function(r)
        if y.data_ptr() == x_value.data_ptr():  # a clamp without bounds, say
            y = y.clone()
        closed = _CLOSED.get(stem)
        ratio = _ratio(x_value, r, y, y_r, function, stem, alone) if closed is None else closed(x_value, r, y, y_r)
        if steepest is not None and bool((ratio.abs() > steepest).any()):
            return None
    out: Tensor = Secant.apply(x, y, ratio)
    reference.attach(out, y_r)
    return out


def _ratio(
    x: Tensor, r: Tensor, y: Tensor, y_r: Tensor, function: Callable[[Tensor], Tensor], stem: str, alone: bool
) -> Tensor:
    d = x - r
    ratio = (y - y_r).div_(d)
    limit = _NEAR.get(x.dtype, _NEAR[torch.float32])
    step: Any = limit
    if stem in _BY_SIZE:
        step = torch.maximum(x.abs(), r.abs()).clamp_(max=1.0).mul_(limit)
    # False, too, where both are infinite, and the difference is not a number.
    apart = d.abs_() > (0.0 if stem in _STRAIGHT else step)
    if x.is_cpu and bool(apart.all()):
        return ratio
    if not x.is_cpu or not alone or ratio.shape != d.shape or not ratio.is_contiguous():
        middle = (x + r) * 0.5
        slope = function(middle + step).sub_(function(middle - step)).div_(2 * step)
        slope = slope.to(ratio.dtype).nan_to_num_(0.0, 0.0, 0.0)
        size = x.abs() + r.abs() + y.abs() + y_r.abs()
        return torch.where(apart, ratio, _unless_corner(slope, ratio, size, d))
    places = apart.logical_not_().flatten().nonzero().squeeze(1)
    near = [value.reshape(-1).index_select(0, places) for value in (x, r, y, y_r, ratio, d)]
    middle = (near[0] + near[1]).mul_(0.5)
    step = step.reshape(-1).index_select(0, places) if isinstance(step, Tensor) else step
    ends = function(torch.stack((middle + step, middle - step)))
    slope = (ends[0] - ends[1]).div_(2 * step).nan_to_num_(0.0, 0.0, 0.0)
    size = torch.stack(near[:4]).abs_().sum(0)
    ratio.view(-1).index_copy_(0, places, _unless_corner(slope.to(ratio.dtype), near[4], size, near[5]))
    return ratio


def _unless_corner(slope: Tensor, secant: Tensor, size: Tensor, d: Tensor) -> Tensor:
    """Return a slope, or the secant where rounding does not explain that they differ: a corner lies in between."""
    noise = size * (8 * torch.finfo(secant.dtype).eps) / d
    return torch.where((secant - slope).abs() > noise, secant, slope)


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
    if x.is_complex():
        if stem not in ("abs", "absolute", "__abs__"):
            raise context.unsupported(f"{name} of complex numbers")
        return context.give(Tensor.norm, (context.give(torch.view_as_real, (x,), {}), 2, -1), {})
    rest = [y for y in tensors((args, kwargs)) if y is not x]

    def function(at: Tensor) -> Tensor:
        def change(y: Tensor) -> Tensor:
            return at if y is x else y

        result: Tensor = func(*trees.replace(args, change), **trees.replace(kwargs, change))
        return result

    context.count(func, "secant")
    exponent: Any = None
    if stem in ("pow", "__pow__") and x is args[0]:
        exponent = args[1] if len(args) > 1 else kwargs.get("exponent")
        stem = {2: "square", 0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal"}.get(exponent, stem) if not rest else stem
    alone = all(y.dim() == 0 for y in rest)
    out = secant(x, reference.value(x), function, stem, alone)
    negative = stem in ("pow", "__pow__") and isinstance(exponent, (int, float)) and exponent < 0
    if out is not None and (negative or stem in ("rsqrt", "reciprocal")):
        mark_inverse(out)
    return out


def along_chain(context: Context, func: Any, source: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor | None:
    """A choice between functions of each element of one source, such as an activation with a condition.

    Returns:
        The result, or None if there is a jump between text and reference, so that the choice is to be the text's.
    """
    out = secant(source, reference.value(source), function, steepest=_STEEP)
    if out is not None:
        context.count(func, "secant")
    return out
