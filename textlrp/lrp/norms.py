"""Norms and statistics: held constant, or by the plain gradient, as torch computes them whole or models write them out.

A norm that is written out reaches torch as squares, means, roots and quotients. By the plain gradient, each of them
gets its own, and the remainder of the norm is posted as for a whole norm; a mark identifies a statistic.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textlrp.guard.trees import bind, carriers, carries, detached, replace, tensors
from textlrp.lrp import chains, operations
from textlrp.lrp.context import Context
from textlrp.lrp.postings import Postings
from textlrp.lrp.surrogate import Saved, Surrogate, rule_backward, stand_in
from textlrp.results import ledger
from textlrp.rules import Plain

_MARK = "_textlrp_statistic"
_REDUCED = "_textlrp_reduced"
#: Functions that reduce a row of activations to a number.
_REDUCTIONS = frozenset(
    "mean sum nanmean nansum var std norm vector_norm matrix_norm frobenius_norm amax amin max min median logsumexp "
    "prod trace dot vdot vecdot var_mean std_mean aminmax".split()
)
#: Functions that move a statistic to where it is used.
_MOVES = frozenset(
    "unsqueeze squeeze view reshape expand expand_as broadcast_to __getitem__ contiguous clone to float double type_as "
    "transpose permute repeat_interleave".split()
)


class LayerNorm(Surrogate):
    """LayerNorm with its standard deviation held constant: centering and scaling stay linear.

    Ali et al. 2022, eq. 10; ``c_x = rstd (w c_y - mean(w c_y))``. The shift ``b`` is posted; only ``rstd`` is saved.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        shape: tuple[int, ...],
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        postings: Postings,
    ) -> Any:
        y, _, rstd = torch.native_layer_norm(x, shape, weight, bias, eps)
        if rstd.dtype in (torch.float16, torch.bfloat16):  # the kernel rounds it, and with it whole rows of relevance
            spread = x.float().var(tuple(range(-len(shape), 0)), correction=0, keepdim=True)
            rstd = spread.add_(eps).rsqrt_()
        ctx.save_for_backward(rstd)
        ctx.weight, ctx.bias, ctx.dims, ctx.postings = weight, bias, tuple(range(-len(shape), 0)), postings
        return y

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (rstd,) = saved
        if ctx.bias is not None:
            ctx.postings.post_product(ledger.NORMS, c, ctx.bias)
        wide = c.to(torch.promote_types(c.dtype, rstd.dtype))
        scaled = wide if ctx.weight is None else wide * ctx.weight
        c_x = (scaled - scaled.mean(ctx.dims, keepdim=True)).mul_(rstd)
        return c_x.to(c.dtype), None, None, None, None, None


class RMSNorm(Surrogate):
    """RMSNorm with its root mean square held constant, ``c_x = rstd w c_y`` (as eq. 10 of Ali et al. 2022)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: tuple[int, ...], weight: Tensor | None, eps: float | None) -> Any:
        y = F.rms_norm(x, shape, weight, eps)
        dims = tuple(range(-len(shape), 0))
        wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
        epsilon = torch.finfo(x.dtype).eps if eps is None else eps
        ctx.save_for_backward(wide.square().mean(dims, keepdim=True).add_(epsilon).rsqrt_(), weight)
        return y

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        rstd, weight = saved
        scaled = c * rstd
        return (scaled if weight is None else scaled * weight).to(c.dtype), None, None, None


class PlainNorm(Surrogate):
    """The plain gradient of a norm, including its statistics; the remainder ``sum(y c_y) - sum(x c_x)`` is posted.

    A norm does not change with the size of its input, so its gradient gives next to nothing to the input: this rule is
    there to show that (Ali et al. 2022).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor], postings: Postings) -> Any:
        ctx.save_for_backward(x.clone())
        ctx.function, ctx.postings = function, postings
        return function(x)

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (x,) = saved
        with torch.enable_grad():
            start = x.detach().requires_grad_()
            y = ctx.function(start)
        (c_x,) = torch.autograd.grad(y, start, c)
        ctx.postings.post(ledger.NORMS, y.detach() * c)
        ctx.postings.post(ledger.NORMS, -(x * c_x))
        return c_x, None, None


def layer_norm(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """LayerNorm, as torch computes it."""
    named = arguments(context, ("input", "normalized_shape", "weight", "bias", "eps"), args, kwargs)
    if isinstance(context.rules.norm, Plain):
        return _plain_norm(context, func, named.pop("input"), named)
    context.count(func, "statistics constant")
    shape, eps = tuple(named["normalized_shape"]), named.get("eps", 1e-5)
    return LayerNorm.apply(named["input"], shape, named.get("weight"), named.get("bias"), eps, context.postings)


def rms_norm(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """RMSNorm, as torch computes it."""
    named = arguments(context, ("input", "normalized_shape", "weight", "eps"), args, kwargs)
    if isinstance(context.rules.norm, Plain):
        return _plain_norm(context, func, named.pop("input"), named)
    context.count(func, "statistics constant")
    return RMSNorm.apply(named["input"], tuple(named["normalized_shape"]), named.get("weight"), named.get("eps"))


def normalize(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """``F.normalize``: ``x / max(|x|, eps)``."""
    named = bind(("input", "p", "dim", "eps"), args, kwargs)
    x = named.pop("input")
    if isinstance(context.rules.norm, Plain):
        return _plain_norm(context, func, x, named)
    value = func(x.detach(), **named)
    norm = x.detach().norm(named.get("p", 2.0), named.get("dim", 1), keepdim=True)
    context.count(func, "statistics constant")
    return stand_in(x / norm.clamp_min(named.get("eps", 1e-12)), value)


def statistic(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """A root, a norm, a spread: a statistic of activations (Ali et al. 2022, eq. 10)."""
    if isinstance(context.rules.norm, Plain):
        return plain_statistic(context, func, args, kwargs)
    context.count(func, "constant")
    return func(*detached(args), **detached(kwargs))


def arguments(context: Context, names: tuple[str, ...], args: Any, kwargs: Any) -> dict[str, Any]:
    """Return the arguments of a norm by name; its weight and bias must be constants."""
    named = bind(names, args, kwargs)
    if carries((named.get("weight"), named.get("bias"))):
        kind = "F.layer_norm" if "bias" in names else "F.rms_norm"
        raise context.unsupported(f"{kind} with weights computed from activations")
    return named


# -- which activations are statistics ------------------------------------------------------------------------------


def is_reduced(value: Tensor) -> bool:
    """Return whether activations are the means or sums of rows, or functions of these: the statistics of a norm.

    Roots and inverses of such activations scale the rows that they were computed from. All others are functions of each
    element.
    """
    return bool(getattr(value, _REDUCED, False))


def follow_reduced(func: Any, args: Any, kwargs: Any, relevant: list[Tensor], out: Any) -> None:
    """Mark the result of a reduction, and what is computed from such results alone.

    Args:
        func, args, kwargs: the function.
        relevant: the tensors among its arguments that carry relevance.
        out: its result.
    """
    role = _role(func)
    if not role:
        return
    if role == "reduction":
        found = _reduces_rows(args, kwargs)
    elif role == "product":  # rows times themselves
        first, *others = relevant
        found = bool(others) and all(_same_values(first, x) for x in others)
    else:
        found = all(map(is_reduced, relevant))
    if found:
        for x in tensors(out):
            setattr(x, _REDUCED, True)


@cache
def _role(func: Any) -> str:
    stem = operations.stem(func)
    if stem in _REDUCTIONS:
        return "reduction"
    if stem in ("einsum", "inner") or operations.is_matmul(func):
        return "product"
    return "step" if stem in _MOVES or chains.is_step(func) else ""


def _reduces_rows(args: Any, kwargs: Any) -> bool:
    """Return whether a reduction keeps the dimension, includes the last one, or is of all numbers."""
    x = args[0]
    if kwargs.get("keepdim") or any(value is True for value in args[1:]):
        return True
    dim = kwargs.get("dim", next((d for d in args[1:] if isinstance(d, (int, list, tuple))), None))
    if dim is None or not isinstance(x, Tensor):
        return True
    dims = dim if isinstance(dim, (list, tuple)) else (dim,)
    return any(d in (-1, x.dim() - 1) for d in dims)


def _same_values(x: Tensor, y: Tensor) -> bool:
    return x is y or (x.numel() == y.numel() and x.data_ptr() == y.data_ptr())


# -- the plain gradient --------------------------------------------------------------------------------------------


def _plain_norm(context: Context, func: Any, x: Tensor, options: dict[str, Any]) -> Tensor:
    context.count(func, "plain gradient")
    out: Tensor = PlainNorm.apply(x, lambda x: func(x, **options), context.postings)
    return out


def is_statistic(value: Any) -> bool:
    """Return whether activations are a statistic of a norm that is written out, or made of statistics alone."""
    return isinstance(value, Tensor) and getattr(value, _MARK, False)


def follow(args: Any, kwargs: Any, out: Any) -> None:
    """Mark the result of an operation on statistics alone as a statistic."""
    if isinstance(out, Tensor) and out.requires_grad and all(map(is_statistic, carriers(args, kwargs))):
        setattr(out, _MARK, True)


def plain_statistic(context: Context, func: Any, args: Any, kwargs: Any, is_final: bool = True) -> Tensor:
    """A statistic by its plain gradient: a root, a spread, or (``is_final=False``) a square that leads to one."""
    context.count(func, "plain gradient")
    x = next(iter(carriers(args, kwargs)))

    def again(y: Tensor) -> Tensor:
        def change(z: Tensor) -> Tensor:
            return y if z is x else z

        result: Tensor = func(*replace(args, change), **replace(kwargs, change))
        return result

    out: Tensor = PlainNorm.apply(x, again, context.postings)
    if is_final:
        setattr(out, _MARK, True)
    return out


def plain_product(context: Context, func: Any, args: Any, kwargs: Any, share: float) -> Any:
    """A product with a statistic, or a quotient by one, by its plain gradient.

    Args:
        context: the context.
        func, args, kwargs: the operation.
        share: the share of the result's relevance that remains beside the gradient: -1 for ``x y``, 1 for ``x / y``.
    """
    context.count(func, "plain gradient")
    y = func(*args, **kwargs)
    context.mark_product(y, (args, kwargs))
    context.post_constant(y, y.detach().clone(), ledger.NORMS, share)
    return y


def is_plain_product(context: Context, args: Any, kwargs: Any) -> bool:
    """Return whether a product is part of a norm by its plain gradient: with a statistic, or a square."""
    if not isinstance(context.rules.norm, Plain) or not torch.is_grad_enabled():
        return False
    factors = carriers(args, kwargs)
    return len(factors) == 2 and (any(map(is_statistic, factors)) or factors[0] is factors[1])
