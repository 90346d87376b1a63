"""Products of activations, and quotients: each factor is measured with the other one halfway between the two runs.

For a product, ``a b - a_r b_r = (a - a_r) (b + b_r) / 2 + (b - b_r) (a + a_r) / 2``, exactly. More factors are
multiplied pair by pair. A quotient ``y = a / b`` is a product with ``1 / b``; but if one denominator is many times the
other, the multipliers of that product are as large as the smaller one is close to zero. There the product is
``a = y b``, whose rule, solved for ``y``, is exact, too, and is bounded by the larger denominator.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from textlrp.guard.trees import bind, carriers, carries, replace
from textlrp.lrp import operations, reference
from textlrp.lrp.context import Context
from textlrp.lrp.difference.plain import linear as plain_linear
from textlrp.lrp.difference.plain import plain
from textlrp.lrp.surrogate import Saved, Surrogate, rule_backward, stand_in

#: The ratio of two denominators from which they are far apart: closer, the two rules for quotients differ little.
FAR = 8.0
_INVERSE = "_textlrp_inverse"
_ELEMENTWISE = ("mul", "multiply", "__mul__", "__rmul__")


def midpoint(x: Tensor) -> Tensor:
    """Return the value halfway between the two runs, without a gradient."""
    known = reference.partner(x)
    return x.detach() if known is None else torch.add(x.detach(), known).mul_(0.5)


class Middle(Surrogate):
    """The value halfway between the two runs, with the gradient of the tensor itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, middle: Tensor) -> Any:
        ctx.mark_dirty(middle)
        return middle

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        return c, None


class Product(Surrogate):
    """``y = a b``, elementwise: ``c_a = c (b + b_r) / 2`` and ``c_b = c (a + a_r) / 2``."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, a_middle: Tensor, b_middle: Tensor) -> Any:
        ctx.save_for_backward(a_middle, b_middle)
        ctx.shapes = (a.shape, a.dtype), (b.shape, b.dtype)
        return a.detach() * b.detach()

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        a, b = saved
        of_a, of_b = ctx.shapes
        c_a, c_b = (c * b).sum_to_size(of_a[0]), (c * a).sum_to_size(of_b[0])
        return c_a.to(of_a[1]), c_b.to(of_b[1]), None, None


class MatrixProduct(Surrogate):
    """``y = a b`` of matrices: ``c_a = c ((b + b_r) / 2)^T`` and ``c_b = ((a + a_r) / 2)^T c``."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, a_middle: Tensor, b_middle: Tensor) -> Any:
        ctx.save_for_backward(a_middle, b_middle)
        return a.detach() @ b.detach()

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        a, b = saved
        return (c @ b.mT).sum_to_size(a.shape), (a.mT @ c).sum_to_size(b.shape), None, None


def product(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """A product: linear in a single carrier of relevance, or shared between two."""
    factors = carriers(args, kwargs)
    if len(factors) == 1:
        return plain(context, func, args, kwargs)
    stem = operations.stem(func)
    if len(factors) > 2:
        return _pair_by_pair(context, func, stem, args, kwargs)
    context.count(func, "midpoints")
    if not kwargs and len(args) == 2:
        rule: Any = None
        if stem in _ELEMENTWISE:
            rule = Product
        elif operations.is_matmul(func) and min(x.dim() for x in args) > 1 and args[0].dtype == args[1].dtype:
            rule = MatrixProduct
        if rule is not None:
            a, b = args
            with torch.no_grad():
                y_r = func(reference.value(a), reference.value(b))
                if is_inverse(b):
                    middles = _by_inverse(a, b, y_r)
                else:
                    middles = _by_inverse(b, a, y_r)[::-1] if is_inverse(a) else (midpoint(a), midpoint(b))
            y: Tensor = rule.apply(a, b, *middles)
            reference.attach(y, y_r)
            return y
    return _bilinear(context, func, args, kwargs)


def far_apart(b: Tensor, b_r: Tensor) -> Tensor:
    """Return where one of two denominators, or of their inverses, is many times the other, with the same sign."""
    return (
        (b > FAR * b_r) & (b_r > 0)
        | (b_r > FAR * b) & (b > 0)
        | (b < FAR * b_r) & (b_r < 0)
        | (b_r < FAR * b) & (b < 0)
    )


def mark_inverse(x: Tensor) -> None:
    """Mark a tensor as the inverse of another one: what it multiplies is divided by that."""
    setattr(x, _INVERSE, x._version)


def is_inverse(x: Tensor) -> bool:
    """Return whether a tensor is the inverse of another one, which is far apart in the two runs somewhere."""
    known = getattr(x, _INVERSE, None) == x._version
    return known and bool(far_apart(x.detach(), reference.value(x)).any())


def _by_inverse(a: Tensor, s: Tensor, y_r: Tensor) -> tuple[Tensor, Tensor]:
    """Return the factors of the multipliers of ``s`` and of ``a`` in ``y = a s``, where s is an inverse.

    Far apart, ``c_s = c (y + y_r) / (s + s_r)`` and ``c_a = 2 c s s_r / (s + s_r)``.
    """
    own, other = s.detach(), reference.value(s)
    apart, both = far_apart(own, other), own + other
    of_s = torch.where(apart, (a.detach() * own + y_r) / both, midpoint(a))
    return of_s, torch.where(apart, 2 * own * other / both, midpoint(s))


def _bilinear(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """A bilinear function of two activations: its plain gradient halfway between the two runs."""
    y, y_r = reference.run_both(func, args, kwargs)

    def middle(x: Tensor) -> Tensor:
        return Middle.apply(x, midpoint(x)) if x.requires_grad else x

    at = replace(args, middle), replace(kwargs, middle)
    steps = func(*at[0], **at[1])
    context.mark_product(steps, at)
    out = stand_in(steps, y)
    reference.attach(out, y_r)
    return out


def _pair_by_pair(context: Context, func: Any, stem: str, args: Any, kwargs: Any) -> Any:
    if stem == "einsum":
        return _einsum(context, *(args[1] if isinstance(args[1], (list, tuple)) else args[1:]), equation=args[0])
    if stem in ("chain_matmul", "multi_dot"):
        matrices = args[0] if isinstance(args[0], (list, tuple)) else args
        return reduce(lambda a, b: context.give(torch.matmul, (a, b), {}), matrices)
    raise context.unsupported(f"{operations.name(func)} of {len(carriers(args, kwargs))} activations")


def _einsum(context: Context, *operands: Tensor, equation: str) -> Tensor:
    """An einsum of several operands, two at a time from the left."""
    sides = equation.replace(" ", "").split("->")
    terms = sides[0].split(",")
    if len(sides) != 2 or "." in equation:
        raise context.unsupported(f"torch.einsum({equation!r}) of several activations")
    (term, *terms), (y, *operands_left) = terms, operands
    for i, x in enumerate(operands_left):
        later = set("".join(terms[i + 1 :]) + sides[1])
        kept = "".join(dict.fromkeys(axis for axis in term + terms[i] if axis in later))
        y = context.give(torch.einsum, (f"{term},{terms[i]}->{kept}", y, x), {})
        term = kept
    if term != sides[1]:
        y = context.give(torch.einsum, (f"{term}->{sides[1]}", y), {})
    return y


def linear(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """``F.linear``: a linear map, or a product and a sum where its weight or bias is computed from activations."""
    named = bind(("input", "weight", "bias"), args, kwargs)
    if not carries((named["weight"], named.get("bias"))):
        return plain_linear(context, func, args, kwargs)
    if not carries((named["weight"],)):
        return context.give(torch.add, (context.give(func, (named["input"], named["weight"]), {}), named["bias"]), {})
    y = context.give(torch.matmul, (named["input"], context.give(Tensor.transpose, (named["weight"], -1, -2), {})), {})
    bias = named.get("bias")
    return y if bias is None else context.give(torch.add, (y, bias), {})


def factors_of_one(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """``prod`` and ``cumprod``: the entries along a dimension are multiplied one after the other."""
    named = bind(("input", "dim", "keepdim") if operations.stem(func) == "prod" else ("input", "dim"), args, kwargs)
    x, dim = named["input"], named.get("dim")
    if dim is None:
        x, dim = context.give(Tensor.reshape, (x, -1), {}), 0
    products = [part for i, part in enumerate(context.give(Tensor.unbind, (x, dim), {}))]
    for i in range(1, len(products)):
        products[i] = context.give(torch.mul, (products[i - 1], products[i]), {})
    if operations.stem(func) == "cumprod":
        return context.give(torch.stack, (products, dim), {})
    return context.give(Tensor.unsqueeze, (products[-1], dim), {}) if named.get("keepdim") else products[-1]


class Quotient(Surrogate):
    """``y = a / b``: ``c_a = c (1/b + 1/b_r) / 2`` and ``c_b = -c (a + a_r) / (2 b b_r)``.

    Where b and b_r are far apart: ``c_a = 2 c / (b + b_r)`` and ``c_b = -c (y + y_r) / (b + b_r)``.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, y: Tensor, slope: Tensor | None, share: Tensor) -> Any:
        ctx.save_for_backward(slope, share)
        ctx.shapes = (a.shape, a.dtype), (b.shape, b.dtype)
        ctx.mark_dirty(y)
        return y

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        slope, share = saved
        of_a, of_b = ctx.shapes
        c_a = None if slope is None else (c * slope).sum_to_size(of_a[0]).to(of_a[1])
        return c_a, (c * share).sum_to_size(of_b[0]).to(of_b[1]), None, None, None


def division(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """A quotient of two tensors, or of a number and a tensor."""
    operands = args[:2]
    a, b = operands[::-1] if func is Tensor.__rtruediv__ else operands
    if kwargs.get("rounding_mode") is not None or operations.stem(func) in ("floor_divide", "__floordiv__"):
        raise context.unsupported(f"{operations.name(func)}, which rounds,")
    if not carries((b,)):
        return plain(context, func, args, kwargs)
    context.count(func, "midpoints")
    y, y_r = reference.run_both(func, args, kwargs)
    with torch.no_grad():
        bottom, bottom_r = b.detach(), reference.value(b)
        top = a if isinstance(a, Tensor) else torch.as_tensor(a, dtype=b.dtype, device=b.device)
        share = midpoint(top).div(bottom).div_(bottom_r).neg_()
        slope = bottom.reciprocal().add_(bottom_r.reciprocal()).mul_(0.5) if carries((top,)) else None
        apart = far_apart(bottom, bottom_r)
        if not apart.is_cpu or bool(apart.any()):
            both = bottom + bottom_r
            share = torch.where(apart, (y + y_r) / -both, share)
            slope = None if slope is None else torch.where(apart, 2 / both, slope)
    out = Quotient.apply(top, b, y, slope, share)
    reference.attach(out, y_r)
    if slope is None:
        mark_inverse(out)
    return out


class Solution(Surrogate):
    """``X = A^-1 B``: the mean of the two ways to split the difference, which are exact.

    With ``C = A^-T c`` and ``C_r = A_r^-T c``: ``c_B = (C + C_r) / 2`` and ``c_A = -(C X_r^T + C_r X^T) / 2``.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, x: Tensor, a_r: Tensor, x_r: Tensor) -> Any:
        ctx.save_for_backward(a.detach(), a_r, x.clone(), x_r)
        ctx.shapes = a.shape, b.shape
        ctx.mark_dirty(x)
        return x

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        a, a_r, x, x_r = saved
        own, other = torch.linalg.solve(a.mT, c), torch.linalg.solve(a_r.mT, c)
        c_a = (own @ x_r.mT + other @ x.mT) * -0.5
        return c_a.sum_to_size(ctx.shapes[0]), ((own + other) * 0.5).sum_to_size(ctx.shapes[1]), None, None, None


def solve(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """``linalg.solve(A, B)``, ``linalg.solve_triangular`` and the inverse."""
    stem = operations.stem(func)
    named = bind(("A", "B"), args, kwargs)
    a: Any = named.get("A", named.get("input"))
    b: Any = named.get("B")
    if stem in ("inv", "inverse"):
        b = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    if b is None or not named.get("left", True) or (b.dim() < 2 or (stem == "solve" and b.dim() < a.dim() > 2)):
        raise context.unsupported(f"{operations.name(func)} of such shapes")
    if not carries((a,)):
        return plain(context, func, args, kwargs)
    context.count(func, "midpoints")
    if stem == "solve_triangular":
        a = _triangle(context, a, bool(named["upper"]), bool(named.get("unitriangular", False)))
    x, x_r = reference.run_both(func, args, kwargs)
    out: Tensor = Solution.apply(a, b, x, reference.value(a), x_r)
    reference.attach(out, x_r)
    return out


def _triangle(context: Context, a: Tensor, upper: bool, unit: bool) -> Tensor:
    """Return the part of a matrix that ``solve_triangular`` reads."""
    part: Tensor = context.give(torch.triu if upper else torch.tril, (a, (1 if upper else -1) if unit else 0), {})
    if unit:
        part = context.give(torch.add, (part, torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)), {})
    return part
