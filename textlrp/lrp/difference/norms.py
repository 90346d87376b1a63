"""Norms and statistics between the text and the reference.

A norm divides by a root of a quadratic function of its input, and both have exact differences: that of a quadratic
function is its gradient halfway between the two runs, and ``sqrt(a) - sqrt(b) = (a - b) / (sqrt(a) + sqrt(b))``. The
rules for whole norms are those of their steps, joined.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from textlrp.guard.trees import bind, carries
from textlrp.lrp import operations, reference
from textlrp.lrp.context import Context
from textlrp.lrp.difference.elementwise import elementwise
from textlrp.lrp.difference.plain import plain
from textlrp.lrp.difference.products import FAR, far_apart
from textlrp.lrp.norms import arguments
from textlrp.lrp.surrogate import Saved, Surrogate, rule_backward, stand_in


class DifferenceRMSNorm(Surrogate):
    """RMSNorm.

    With ``u`` and ``v`` the inputs of the two runs, ``S`` and ``T`` their roots of (mean square + eps), N entries, and
    ``k = -1 / (S T (S + T))``: ``c_u = w c (1/S + 1/T) / 2 + k (u + v) sum((u + v) w c) / (2 N)``. Where one root is
    many times the other: ``c_u = (2 w c - (u + v) sum((u/S + v/T) w c) / (N (S + T))) / (S + T)``
    (:mod:`textlrp.lrp.difference.products`).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, parts: _Parts, weight: Any, dims: tuple[int, ...]) -> Any:
        ctx.save_for_backward(*parts)
        ctx.weight, ctx.dims, ctx.dtype = weight, dims, x.dtype
        ctx.mark_dirty(y)
        return y

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        weighted, along = _along(ctx, saved, c)
        return torch.addcmul(weighted * saved[2], saved[0], along).to(ctx.dtype), None, None, None, None


class DifferenceLayerNorm(DifferenceRMSNorm):
    """LayerNorm: as RMSNorm of the centered inputs, and ``c_x = c_u - mean(c_u)``."""

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        weighted, along = _along(ctx, saved, c)
        scaled = weighted * saved[2]
        centered = scaled - scaled.mean(ctx.dims, keepdim=True)
        return torch.addcmul(centered, saved[0], along).to(ctx.dtype), None, None, None, None


class _Parts(NamedTuple):
    """What the rule of a norm saves.

    Attributes:
        both: ``u + v``.
        inner: what the multipliers are multiplied by in the sum; None for ``both``.
        slope: the factor of the multipliers.
        k: the factor of the sum.
    """

    both: Tensor
    inner: Tensor | None
    slope: Tensor
    k: Tensor


def _along(ctx: Any, saved: Saved, c: Tensor) -> tuple[Tensor, Tensor]:
    both, inner, _, k = saved
    weighted = (c if ctx.weight is None else c * ctx.weight).to(both.dtype)
    return weighted, ((both if inner is None else inner) * weighted).sum(ctx.dims, keepdim=True) * k


def _parts(x: Tensor, r: Tensor, means: tuple[Any, Any], s: Tensor, t: Tensor, count: int) -> _Parts:
    """Return what the rule saves, given the inputs, their means, and the reciprocal roots ``s = 1/S``, ``t = 1/T``."""
    both = torch.add(x, r)
    if isinstance(means[0], Tensor):
        both.sub_(means[0] + means[1])
    slope = torch.add(s, t).mul_(0.5)
    k = (s * t).square_().div_(slope).mul_(-0.25 / count)  # k / (2 N), with 1/S and 1/T
    if x.is_cpu:
        least, most = torch.aminmax(s / t)
        if float(least) >= 1 / FAR and float(most) <= FAR:
            return _Parts(both, None, slope, k)
    apart = far_apart(s, t)
    scale = s * t / (s + t)
    inner = torch.where(apart, (x - means[0]) * s + (r - means[1]) * t, both)
    return _Parts(both, inner, torch.where(apart, 2 * scale, slope), torch.where(apart, scale.square() / -count, k))


def layer_norm(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """``F.layer_norm``."""
    named = arguments(context, ("input", "normalized_shape", "weight", "bias", "eps"), args, kwargs)
    x, shape, weight = named["input"], tuple(named["normalized_shape"]), named.get("weight")
    settings = shape, weight, named.get("bias"), named.get("eps", 1e-5)
    dims = tuple(range(-len(shape), 0))
    context.count(func, "midpoints")
    with torch.no_grad():
        own, other = x.detach(), reference.value(x)
        y, mean, s = torch.native_layer_norm(own, *settings)
        y_r, mean_r, t = torch.native_layer_norm(other, *settings)
        if s.dtype in (torch.float16, torch.bfloat16):
            own, other = own.float(), other.float()
            (mean, s), (mean_r, t) = _moments(own, dims, settings[3]), _moments(other, dims, settings[3])
        parts = _parts(own, other, (mean, mean_r), s, t, math.prod(shape))
    out: Tensor = DifferenceLayerNorm.apply(x, y, parts, weight, dims)
    reference.attach(out, y_r)
    return out


def _moments(x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    return x.mean(dims, keepdim=True), x.var(dims, correction=0, keepdim=True).add_(eps).rsqrt_()


def rms_norm(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """``F.rms_norm``."""
    named = arguments(context, ("input", "normalized_shape", "weight", "eps"), args, kwargs)
    x, shape = named["input"], tuple(named["normalized_shape"])
    dims = tuple(range(-len(shape), 0))
    eps = torch.finfo(x.dtype).eps if named.get("eps") is None else named["eps"]
    context.count(func, "midpoints")
    y, y_r = reference.run_both(func, args, kwargs)
    with torch.no_grad():
        wide = torch.promote_types(x.dtype, torch.float32)
        own, other = x.detach().to(wide), reference.value(x).to(wide)
        s, t = (value.square().mean(dims, keepdim=True).add_(eps).rsqrt_() for value in (own, other))
        parts = _parts(own, other, (0.0, 0.0), s, t, math.prod(shape))
    out: Tensor = DifferenceRMSNorm.apply(x, y, parts, named.get("weight"), dims)
    reference.attach(out, y_r)
    return out


def normalize(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """``F.normalize``, as a norm and a quotient."""
    named = bind(("input", "p", "dim", "eps"), args, kwargs)
    x, give = named["input"], context.give
    length = give(Tensor.norm, (x, named.get("p", 2.0), named.get("dim", 1), True), {})
    quotient = give(torch.div, (x, give(Tensor.clamp_min, (length, named.get("eps", 1e-12)), {})), {})
    return reference.stand_in(quotient, func, args, kwargs)


class AtMidpoint(Surrogate):
    """``c_x = c f'((x + r) / 2)``, exact for a quadratic function."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, middle: Tensor, function: Callable[[Tensor], Tensor]) -> Any:
        ctx.save_for_backward(middle)
        ctx.function = function
        ctx.mark_dirty(y)
        return y

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (middle,) = saved
        with torch.enable_grad():
            start = middle.detach().requires_grad_()
            y = ctx.function(start)
        (c_x,) = torch.autograd.grad(y, start, c)
        return c_x, None, None, None


def statistic(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """A variance, or a root of a quadratic function: a standard deviation, a length."""
    stem = operations.stem(func)
    x, rest = args[0], args[1:]
    if not isinstance(x, Tensor) or not carries((x,)) or carries(rest, kwargs):
        raise context.unsupported(f"{operations.name(func)} of several activations")
    if stem in ("norm", "vector_norm", "matrix_norm", "frobenius_norm"):
        if stem == "norm" and len(rest) > 3:
            raise context.unsupported(f"{operations.name(func)} of such arguments")
        order = rest[0] if rest else kwargs.get("p", kwargs.get("ord", 2))
        if stem in ("norm", "vector_norm") and order in (1, 1.0):
            named = bind(("order", "dim", "keepdim", "dtype"), rest, kwargs)
            absolute, dim = elementwise(context, torch.abs, (x,), {}), named.get("dim")
            dims = tuple(range(x.dim())) if dim is None else dim
            chosen = {"keepdim": named.get("keepdim", False), "dtype": named.get("dtype")}
            return plain(context, torch.sum, (absolute, dims), chosen)
        if order not in (2, 2.0, None, "fro") or (stem == "matrix_norm" and order not in (None, "fro")):
            raise context.unsupported(f"{operations.name(func)} of another order than 1 or 2")

    def root(x: Tensor) -> Tensor:
        y: Tensor = func(x, *rest, **kwargs)
        return y

    is_root = stem != "var"
    context.count(func, "midpoints")
    with torch.no_grad():
        own, other = x.detach(), reference.value(x)
        y, y_r = root(own), root(other)
    quadratic = (lambda x: root(x).square()) if is_root else root
    value = y.square() if is_root else y.clone()
    out: Tensor = AtMidpoint.apply(x, value, torch.add(own, other).mul_(0.5), quadratic)
    reference.attach(out, y_r.square() if is_root else y_r)
    if is_root:
        steps = elementwise(context, torch.sqrt, (out,), {})
        out = stand_in(steps, y)
        reference.attach(out, y_r)
    return out
