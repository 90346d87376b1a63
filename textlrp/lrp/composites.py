"""Recognizes a softmax that a model writes out: exponentials over their own sum, or scores less the logarithm of it.

Its steps one by one would get other rules than a softmax, and under difference rules multipliers without a bound. What
a tensor was computed from shows what it is, so no spelling is listed: the scores may be shifted by their maximum, some
exponentials set to zero by a mask, and the sum may have further terms (a constant, a sink).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from textlrp.guard.trees import bind, carries, detached
from textlrp.lrp import operations, reference
from textlrp.lrp.context import Context
from textlrp.lrp.surrogate import stand_in

_MARK = "_textlrp_composite"
#: Operations that change neither the values of a sum nor their order.
_MOVES = frozenset(
    "unsqueeze squeeze view reshape __getitem__ contiguous clone to float double expand expand_as".split()
)
#: Operations that move exponentials as they would move their scores.
_LAYOUTS = _MOVES | frozenset(
    "transpose swapaxes swapdims permute movedim moveaxis flatten unflatten narrow half bfloat16 t".split()
)
_PRODUCTS = ("mul", "multiply", "__mul__", "__rmul__")
_QUOTIENTS = ("div", "divide", "true_divide", "__truediv__", "__rtruediv__")
_DIFFERENCES = ("sub", "subtract", "__sub__")
_POWERS = ("exp", "exp2", "pow", "__pow__", "__rpow__")
_OTHERS = """
    masked_fill where sum einsum add __add__ __radd__ clamp clamp_min maximum matmul __matmul__ bmm mm reciprocal
    log logsumexp softmax log_softmax norm vector_norm
""".split()
#: The functions that may be steps of a composite.
STEPS = _LAYOUTS | frozenset((*_PRODUCTS, *_QUOTIENTS, *_POWERS, *_OTHERS))
#: The functions that may end a composite.
_ENDS = frozenset((*_PRODUCTS, *_QUOTIENTS, *_DIFFERENCES, "exp", "log", "normalize"))


@dataclass(frozen=True)
class _Exponentials:
    """``exp(scores)``, with some of them multiplied by a constant."""

    scores: Tensor
    version: int


@dataclass(frozen=True)
class _Sum:
    """A sum of exponentials along a dimension, and of the exponentials of further scores."""

    summands: Tensor
    dim: int
    further: tuple[Any, ...]
    version: int


@dataclass(frozen=True)
class _Weighted:
    """Exponentials times values, as attention adds values up before it divides by the sum of the exponentials.

    Attributes:
        exponentials: the exponentials.
        values: the values.
        version: how often the result had been written to.
        equation: for ``torch.einsum`` the equation, of the exponentials and the values.
    """

    exponentials: Tensor
    values: Tensor
    version: int
    equation: str = ""


@dataclass(frozen=True)
class _Inverse:
    """One over a sum of exponentials."""

    total: Tensor
    version: int


@dataclass(frozen=True)
class _Logarithm:
    """The logarithm of a sum of exponentials, of a softmax (``weights``), or a softmax itself (``is_log=False``).

    ``shift`` was added to the logarithm, most often the maximum of a row that the scores are less.
    """

    scores: Tensor
    dim: int
    version: int
    weights: bool = True
    is_log: bool = True
    shift: Tensor | None = None


_Mark = _Exponentials | _Sum | _Weighted | _Inverse | _Logarithm


def _mark(x: Any) -> _Mark | None:
    """Return the mark of a tensor that was not written to since."""
    mark: _Mark | None = getattr(x, _MARK, None) if isinstance(x, Tensor) else None
    return mark if mark is not None and mark.version == x._version else None


def is_part(x: Tensor) -> bool:
    """Return whether a tensor may be a part of a softmax that is written out."""
    return _mark(x) is not None


def end(x: Tensor) -> None:
    """Let a tensor that is observed be no part of a softmax, so that relevance passes through it."""
    setattr(x, _MARK, None)


def carry(source: Tensor, target: Tensor) -> None:
    """Give a tensor the mark of another one that has its values."""
    mark = _mark(source)
    if mark is not None:
        setattr(target, _MARK, replace(mark, version=target._version))


@cache
def is_step(func: Any) -> bool:
    """Return whether a function may be a step or the end of a composite."""
    stem = operations.stem(func)
    return stem in STEPS or stem in _ENDS


def ended(context: Context, func: Any, args: Any, kwargs: Any) -> Tensor | None:
    """Return the result of a function that ends a softmax or its logarithm, with its rule; None if it ends none."""
    stem = operations.stem(func)
    if stem not in _ENDS or not args or not torch.is_grad_enabled():
        return None
    found = _ended(context, stem, func, args, kwargs)
    if found is None:
        return None
    value = func(*detached(args), **detached(kwargs))
    if not _alike(found.detach(), value):
        return None  # the sum was moved to other exponentials than its own
    # The partner is that of the whole: shifted by the text's maximum, exponentials of the reference may overflow.
    out = stand_in(found, value)
    if reference.partner(found) is not None:
        reference.attach(out, reference.value(found))
    carry(found, out)
    return out


def _ended(context: Context, stem: str, func: Any, args: Any, kwargs: Any) -> Tensor | None:
    first, second = _mark(args[0]), _mark(args[1]) if len(args) > 1 else None
    if stem in _QUOTIENTS and kwargs.get("rounding_mode") is None:
        if isinstance(second, _Sum) and stem != "__rtruediv__":
            return _softmax(context, args[0], args[1])
    elif stem in _PRODUCTS and len(args) == 2:
        for top, mark in ((args[0], second), (args[1], first)):
            if isinstance(mark, _Inverse):
                return _softmax(context, top, mark.total)
    elif stem in _DIFFERENCES and len(args) == 2 and not kwargs and isinstance(second, _Logarithm):
        of_sum = second.is_log and not second.weights and _same(args[0], second.scores, second.shift)
        if of_sum and list(args[1].shape) == _kept(args[0], second.dim):
            return _given(context, torch.log_softmax, replace(second, scores=args[0]))
    elif stem == "exp" and isinstance(first, _Logarithm) and first.is_log and first.weights:
        return _given(context, torch.softmax, first)
    elif stem == "log" and isinstance(first, _Logarithm) and not first.is_log:
        return _given(context, torch.log_softmax, first)
    elif stem == "normalize" and isinstance(first, _Exponentials):
        named = bind(("input", "p", "dim", "eps"), args, kwargs)
        if named.get("p") == 1 and isinstance(named.get("dim", 1), int):
            return _given(context, torch.softmax, _Logarithm(first.scores, named.get("dim", 1), 0))
    return None


def _given(context: Context, func: Any, mark: _Logarithm) -> Tensor:
    out: Tensor = context.give(func, (mark.scores, mark.dim), {})
    return out


def _same(x: Any, y: Tensor, shift: Tensor | None = None) -> bool:
    """Return whether two tensors are one, or hold the same numbers in both runs, the first one less a shift."""
    if x is y:
        return shift is None
    if not isinstance(x, Tensor) or x.shape != y.shape:
        return False
    if shift is not None:
        x_r, shift_r = reference.value(x).detach(), reference.value(shift).detach()
        return torch.equal(x.detach() - shift.detach(), y) and torch.equal(x_r - shift_r, reference.value(y))
    return torch.equal(x, y) and torch.equal(reference.value(x), reference.value(y))


def _alike(found: Tensor, value: Tensor) -> bool:
    """Return whether two ways to compute a result lead to the same values, but for rounding."""
    near = torch.finfo(value.dtype).eps ** 0.5
    return found.shape == value.shape and torch.allclose(found.to(value.dtype), value, near, near, equal_nan=True)


def follow(context: Context, func: Any, args: Any, kwargs: Any, out: Any) -> None:
    """Mark exponentials of activations, sums over them, and logarithms of such sums."""
    stem = operations.stem(func)
    if stem not in STEPS or not isinstance(out, Tensor) or not args or operations.is_in_place(func):
        return
    if stem in _POWERS:
        _follow_power(context, stem, func, args, kwargs, out)
        return
    if stem in ("softmax", "log_softmax", "logsumexp"):
        dim = kwargs["dim"] if "dim" in kwargs else args[1] if len(args) > 1 else None
        dim = dim[0] if isinstance(dim, (list, tuple)) and len(dim) == 1 else dim
        if isinstance(dim, int) and isinstance(args[0], Tensor):
            weights = stem != "logsumexp"
            mark = _Logarithm(args[0], dim % args[0].dim(), out._version, weights, stem != "softmax")
            setattr(out, _MARK, mark)
        return
    if operations.is_matmul(func):
        _follow_matmul(args, out)
        return
    if stem == "einsum":
        _follow_einsum(args, out)
        return
    marks = [_mark(x) for x in (args[1:2] if stem == "where" else args[:2])]
    known = next((mark for mark in marks if mark is not None), None)
    if isinstance(known, _Exponentials):
        _follow_exponentials(context, stem, func, args, kwargs, out, known)
    elif isinstance(known, _Sum):
        _follow_sum(stem, args, kwargs, out, known, marks)
    elif stem in _MOVES and isinstance(known, _Inverse | _Logarithm) and out.numel() == args[0].numel():
        setattr(out, _MARK, replace(known, version=out._version))
    elif stem in ("add", "__add__", "__radd__") and isinstance(known, _Logarithm) and known.shift is None:
        shift = args[1] if marks[0] is known else args[0]
        if known.is_log and not known.weights and not kwargs and isinstance(shift, Tensor) and shift.shape == out.shape:
            setattr(out, _MARK, replace(known, version=out._version, shift=shift))


def _follow_power(context: Context, stem: str, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    """Mark ``exp(s)``, and ``b ** s`` as ``exp(s ln b)``; and the inverse of a sum of exponentials."""
    base: Any = {"exp": math.e, "exp2": 2.0}.get(stem)
    scores = args[0]
    if base is None:
        if kwargs or len(args) != 2:
            return
        base, scores = args[::-1] if stem == "__rpow__" else args
        if isinstance(base, Tensor) and isinstance(_mark(base), _Sum) and scores == -1:
            setattr(out, _MARK, _Inverse(base, out._version))
            return
        if isinstance(base, Tensor):
            base = float(base) if base.numel() == 1 and not base.requires_grad else None
        if not isinstance(base, (int, float)) or base <= 1 or not isinstance(scores, Tensor):
            return
    if stem != "exp":
        scores = context.give(torch.mul, (scores, math.log(base)), {})
    setattr(out, _MARK, _Exponentials(scores, out._version))


def _follow_matmul(args: Any, out: Tensor) -> None:
    """Mark exponentials times values, and their sum, which is exponentials times ones."""
    if len(args) != 2 or not isinstance(_mark(args[0]), _Exponentials) or not isinstance(args[1], Tensor):
        return
    values = args[1]
    if not values.requires_grad and values.dim() == 2 and values.shape[1] == 1 and bool((values == 1).all()):
        setattr(out, _MARK, _Sum(args[0], args[0].dim() - 1, (), out._version))
    else:
        setattr(out, _MARK, _Weighted(args[0], values, out._version))


def _follow_einsum(args: Any, out: Tensor) -> None:
    """Mark a sum over one dimension, and exponentials times values."""
    if len(args) == 3 and isinstance(args[0], str) and all(isinstance(x, Tensor) for x in args[1:]):
        (first, _, second), (_, sign, after) = args[0].partition(","), args[0].partition("->")
        one, other = args[1:]
        if not isinstance(_mark(one), _Exponentials):
            first, second, one, other = second.partition("->")[0], first + sign + after, other, one
        if sign and isinstance(_mark(one), _Exponentials) and _mark(other) is None:
            setattr(out, _MARK, _Weighted(one, other, out._version, f"{first},{second}"))
        return
    if len(args) != 2 or not isinstance(args[0], str) or not isinstance(_mark(args[1]), _Exponentials):
        return
    before, _, after = args[0].replace(" ", "").replace("...", "").partition("->")
    dropped = [letter for letter in before if letter not in after]
    if len(dropped) == 1 and before.replace(dropped[0], "") == after:
        setattr(out, _MARK, _Sum(args[1], before.index(dropped[0]) - len(before), (), out._version))


def _follow_exponentials(
    context: Context, stem: str, func: Any, args: Any, kwargs: Any, out: Tensor, known: _Exponentials
) -> None:
    scores = known.scores
    if stem == "sum" or (stem in ("norm", "vector_norm") and kwargs.get("p", kwargs.get("ord")) == 1):
        dim = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None))
        dim = dim[0] if isinstance(dim, (list, tuple)) and len(dim) == 1 else dim
        if isinstance(dim, int):
            setattr(out, _MARK, _Sum(args[0], dim % args[0].dim(), (), out._version))
    elif stem in _LAYOUTS and _mark(args[0]) is known:
        setattr(out, _MARK, _Exponentials(context.give(func, (scores, *args[1:]), kwargs), out._version))
    elif stem == "masked_fill" and len(args) == 3 and not isinstance(args[2], Tensor) and args[2] == 0:
        changed = context.give(Tensor.masked_fill, (scores, args[1], -torch.inf), {})
        setattr(out, _MARK, _Exponentials(changed, out._version))
    elif stem == "where" and len(args) == 3 and _is_zero(args[2]):
        changed = context.give(Tensor.masked_fill, (scores, ~args[0], -torch.inf), {})
        setattr(out, _MARK, _Exponentials(changed, out._version))
    elif stem in ("mul", "multiply", "__mul__", "__rmul__"):
        factor = args[1] if _mark(args[0]) is known else args[0]
        if isinstance(factor, Tensor) and not carries((factor,)) and not bool((factor < 0).any()):
            if bool((factor != 0).logical_and_(factor != 1).any()):
                tiny = torch.finfo(scores.dtype).tiny
                scores = context.give(torch.add, (scores, factor.to(scores.dtype).clamp_min(tiny).log()), {})
            changed = context.give(Tensor.masked_fill, (scores, factor == 0, -torch.inf), {})
            setattr(out, _MARK, _Exponentials(changed, out._version))


def _follow_sum(stem: str, args: Any, kwargs: Any, out: Tensor, known: _Sum, marks: list[Any]) -> None:
    x = args[0]
    if stem == "reciprocal" or (stem in _QUOTIENTS and _is_one(args[1] if stem == "__rtruediv__" else x)):
        total = args[1] if stem in _QUOTIENTS and stem != "__rtruediv__" else x
        setattr(out, _MARK, _Inverse(total, out._version))
        return
    if stem == "log":
        scores = _mark(known.summands)
        if isinstance(scores, _Exponentials) and not known.further:
            setattr(
                out, _MARK, _Logarithm(scores.scores, known.dim % known.summands.dim(), out._version, weights=False)
            )
        return
    if stem in _QUOTIENTS:
        return
    if stem in _MOVES and out.numel() == x.numel():
        moved = True
    elif stem in ("expand", "expand_as"):
        moved = out.shape == known.summands.shape and list(x.shape) == _kept(out, known.dim)
    else:  # a bound that the sum keeps in both runs
        bounds = stem in ("clamp", "clamp_min", "maximum")
        moved = bounds and torch.equal(out, x) and torch.equal(reference.value(out), reference.value(x))
    if moved:
        setattr(out, _MARK, _Sum(known.summands, known.dim, known.further, out._version))
    elif stem in ("add", "__add__", "__radd__") and not kwargs and len(args) == 2:
        mark, term = (marks[1], args[1]) if marks[0] is known else (marks[0], args[0])
        if isinstance(mark, _Exponentials):
            further: Any = mark.scores
        elif isinstance(term, (int, float)) and term > 0:
            further = term
        else:
            return
        setattr(out, _MARK, _Sum(known.summands, known.dim, (*known.further, further), out._version))


def _softmax(context: Context, top: Any, bottom: Any) -> Tensor | None:
    """Return the quotient of two tensors as a softmax with its rule, or None if it is another quotient."""
    total = _mark(bottom)
    if not isinstance(total, _Sum) or not isinstance(top, Tensor):
        return None
    mark = _mark(top)
    weighted = mark if isinstance(mark, _Weighted) else None
    top = top if weighted is None else weighted.exponentials
    own, summed = _mark(top), _mark(total.summands)
    if not isinstance(own, _Exponentials) or not isinstance(summed, _Exponentials):
        return None
    if not _same(own.scores, summed.scores):
        return None
    kept = _kept(top, total.dim)
    aligned = [1] * (top.dim() - bottom.dim()) + list(bottom.shape)
    if aligned not in (kept, list(top.shape)) and (weighted is None or not weighted.equation):
        return None
    scores, dim, length = own.scores, total.dim, top.shape[total.dim]
    if total.further:
        further = [_expanded(context, x, scores, kept) for x in total.further]
        scores = context.give(torch.cat, ([scores, *further], dim), {})
    weights: Tensor = context.give(torch.softmax, (scores, dim), {})
    if total.further:
        weights = context.give(Tensor.narrow, (weights, dim, 0, length), {})
    if weighted is None:
        return weights
    einsum = (torch.einsum, (weighted.equation, weights, weighted.values))
    func, args = einsum if weighted.equation else (torch.matmul, (weights, weighted.values))
    out: Tensor = context.give(func, args, {})
    return out


def _kept(x: Tensor, dim: int) -> list[int]:
    """Return the shape of a sum along a dimension that is kept."""
    shape = list(x.shape)
    shape[dim] = 1
    return shape


def _is_one(x: Any) -> bool:
    return not x.requires_grad and bool((x == 1).all()) if isinstance(x, Tensor) else x == 1


def _is_zero(x: Any) -> bool:
    return not x.requires_grad and not bool(x.any()) if isinstance(x, Tensor) else x == 0


def _expanded(context: Context, further: Any, scores: Tensor, shape: list[int]) -> Tensor:
    if not isinstance(further, Tensor):
        return scores.detach().new_full(shape, further).log()
    expanded: Tensor = context.give(Tensor.expand, (further, shape), {})
    return expanded
