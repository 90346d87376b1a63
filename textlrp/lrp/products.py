"""Products of activations: matrix products, gates, and operations that combine a product and a sum."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from textlrp.guard.trees import bind, carriers, carries, replace
from textlrp.lrp import chains, norms, operations, reference
from textlrp.lrp import linear as linear_maps
from textlrp.lrp.context import Context
from textlrp.lrp.elementwise import gate_of, with_limit
from textlrp.lrp.sums import additive
from textlrp.lrp.surrogate import Saved, Surrogate, rule_backward
from textlrp.results import ledger
from textlrp.rules import Frozen, Uniform

_ELEMENTWISE = ("mul", "multiply", "__mul__", "__rmul__")


class Matmul(Surrogate):
    """A matrix product of two activations, each of which gets half of the relevance (the uniform rule).

    Achtibat et al. 2024, eq. 14 (proposition 3.3): ``c_A = c B^T / 2``, ``c_B = A^T c / 2``. The factor goes to the
    operands, which are smaller than the attention weights.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Any:
        ctx.save_for_backward(a, b)
        return a.detach() @ b.detach()

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        a, b = saved
        if c.numel() < a.numel() + b.numel():
            half, left, right = c * 0.5, a, b
        else:
            half, left, right = c, a * 0.5, b * 0.5
        return (half @ right.mT).sum_to_size(a.shape), (left.mT @ half).sum_to_size(b.shape)


class GatedUnit(Surrogate):
    """``y = f(x) g``: half of the relevance to each, ``c_g = c f(x) / 2`` and ``c_x = c g / 2 f(x) / x``.

    Achtibat et al. 2024, eq. 14 for the product (proposition 3.3) and eq. 9 for the function (proposition 3.2). As two
    nodes, the product saves ``f(x)`` and ``g``, and the function a ratio of the size of ``x``. In most gated
    feed-forward layers ``x`` and ``g`` are halves of one tensor, so one node needs a third of that.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor, y: Tensor, function: Callable[[Tensor], Tensor], slope: float) -> Any:
        ctx.save_for_backward(x, g)
        ctx.function, ctx.slope = function, slope
        ctx.mark_dirty(y)
        return y

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        x, g = saved
        half = c * 0.5
        with torch.no_grad():
            value = ctx.function(x)
        c_g = half * value
        ratio = with_limit(value.div_(x), ctx.slope)
        return half.mul_(ratio.mul_(g)), c_g, None, None, None


def product(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """A product: linear in a single carrier of relevance; several get their shares by the rule for products."""
    factors = carriers(args, kwargs)
    if len(factors) == 1:
        if not kwargs and linear_maps.is_linear_map(context, func, args):
            return linear_maps.matmul(context, func, args)
        context.count(func, "plain gradient")
        return func(*args, **kwargs)
    if norms.is_plain_product(context, args, kwargs):
        return norms.plain_product(context, func, args, kwargs, -1.0)
    rule = context.rules.product
    if isinstance(rule, Frozen):
        return _one_factor_constant(context, func, args, kwargs)
    if isinstance(rule, Uniform):
        context.count(func, "uniform")
        whole = _gated_unit(context, func, args, kwargs)
        if whole is not None:
            return whole
        if operations.is_matmul(func) and len(args) == 2 and min(x.dim() for x in args) > 1 and torch.is_grad_enabled():
            return Matmul.apply(*args)
    else:
        context.count(func, "Taylor")
    y = func(*args, **kwargs)
    if y.requires_grad:
        context.mark_product(y, (args, kwargs))
        if isinstance(rule, Uniform):
            context.scale_multiplier(y, 1.0 / len(factors))
        else:
            context.post_constant(y, y.detach().clone(), ledger.PRODUCTS, 1.0 - len(factors))
    return y


def _one_factor_constant(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """Hold the gate constant, the one factor that an activation function made, or else the first factor."""
    factors = carriers(args, kwargs)
    gates = [x for x in factors if chains.is_activation(x)] if _is_elementwise(func, args) else []
    held = gates[0] if len(gates) == 1 else factors[0]
    context.count(func, "gate constant" if gates else "first factor constant")

    free = iter([held])  # a factor that stands twice is held once

    def hold(x: Tensor) -> Tensor:
        return x.detach() if x is held and next(free, None) is held else x

    return product(context, func, replace(args, hold), replace(kwargs, hold))


def _is_elementwise(func: Any, args: Any) -> bool:
    """Return whether a product is of each element: ``a * b``, ``torch.einsum("bti,bti->bti", a, b)``."""
    if operations.stem(func) != "einsum":
        return operations.stem(func) in _ELEMENTWISE
    operands, _, result = args[0].replace(" ", "").partition("->") if isinstance(args[0], str) else ("", "", "")
    return bool(result) and set(operands.split(",")) == {result}


def _gated_unit(context: Context, func: Any, args: Any, kwargs: Any) -> Tensor | None:
    """Give a gated unit its rules as one node; return None for any other product."""
    if not context.whole_gates or operations.stem(func) not in _ELEMENTWISE:
        return None
    if kwargs or len(args) != 2 or not torch.is_grad_enabled():
        return None
    for value, gated in (args, args[::-1]):
        gate = gate_of(value)
        if gate is None or not isinstance(gated, Tensor) or not gated.requires_grad:
            continue
        if gated.shape == value.shape and gated.dtype == value.dtype == gate.x.dtype:
            y = func(value.detach(), gated.detach())
            out: Tensor = GatedUnit.apply(gate.x, gated, y, gate.function, gate.slope)
            return out
    return None


def sum_of_product(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """``baddbmm`` and the like: the product and the sum are separated, so that each is given its own rule."""
    if not kwargs and not carries(args[:1]) and linear_maps.is_linear_map(context, func, args[1:]):
        return linear_maps.matmul(context, func, args[1:], args[0])
    steps = context.give(torch.add, _summands(context, func, args, kwargs), {})
    return reference.stand_in(steps, func, args, kwargs)


def _summands(context: Context, func: Any, args: Any, kwargs: Any) -> tuple[Tensor, Tensor]:
    """Split ``beta * input + alpha * (a @ b)`` into its two summands."""
    named = bind(("input", "a", "b"), args, kwargs)
    a, b = (
        next(named[name] for name in names if name in named)
        for names in (
            ("a", "batch1", "mat1", "mat", "tensor1", "vec1"),
            ("b", "batch2", "mat2", "vec", "tensor2", "vec2"),
        )
    )
    multiply = {"addcmul": torch.mul, "addr": torch.outer, "addbmm": torch.bmm}.get(operations.stem(func), torch.matmul)
    result = context.give(multiply, (a, b), {})
    if multiply is torch.bmm:
        result = context.give(Tensor.sum, (result, 0), {})
    base, beta, alpha = named["input"], kwargs.get("beta", 1), kwargs.get("alpha", kwargs.get("value", 1))
    scale = partial(context.give, torch.mul)
    return (base if beta == 1 else scale((base, beta), {})), (result if alpha == 1 else scale((result, alpha), {}))


def glu(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """A gated linear unit, ``a sigmoid(b)``, as a product and a non-linearity."""
    x, *rest = args
    a, b = context.give(Tensor.chunk, (x, 2, rest[0] if rest else kwargs.get("dim", -1)), {})
    gate = context.give(torch.sigmoid, (b,), {})
    return reference.stand_in(context.give(torch.mul, (a, gate), {}), func, args, kwargs)


def linear(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """``F.linear`` with weights computed from activations: a product, and a sum."""
    named = bind(("input", "weight", "bias"), args, kwargs)
    y = product(context, torch.matmul, (named["input"], named["weight"].mT), {})
    bias = named.get("bias")
    return y if bias is None else additive(context, torch.add, (y, bias), {})
