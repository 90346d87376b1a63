"""Recognizes a softmax that a model writes out: exponentials over their own sum.

Its steps one by one would get other rules than a softmax, and under difference rules multipliers without a bound. What
a tensor was computed from shows what it is, so no spelling is listed: the scores may be shifted by their maximum, some
exponentials set to zero by a mask, and the sum may have further terms (a constant, a sink).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from textlrp.guard.trees import carries
from textlrp.lrp import operations, reference
from textlrp.lrp.context import Context

_MARK = "_textlrp_composite"
#: Operations that change neither the values of a sum nor their order.
_MOVES = frozenset(
    "unsqueeze squeeze view reshape __getitem__ contiguous clone to float double expand expand_as".split()
)
#: The functions that may be steps of a composite.
STEPS = (
    frozenset(
        "exp mul multiply __mul__ __rmul__ masked_fill where sum add __add__ __radd__ clamp clamp_min "
        "matmul __matmul__ bmm".split()
    )
    | _MOVES
)


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
    """Exponentials times values, as attention adds values up before it divides by the sum of the exponentials."""

    exponentials: Tensor
    values: Tensor
    version: int


_Mark = _Exponentials | _Sum | _Weighted


def _mark(x: Any) -> _Mark | None:
    """Return the mark of a tensor that was not written to since."""
    mark: _Mark | None = getattr(x, _MARK, None) if isinstance(x, Tensor) else None
    return mark if mark is not None and mark.version == x._version else None


def carry(source: Tensor, target: Tensor) -> None:
    """Give a tensor the mark of another one that has its values."""
    mark = _mark(source)
    if mark is not None:
        setattr(target, _MARK, replace(mark, version=target._version))


def follow(context: Context, func: Any, args: Any, kwargs: Any, out: Any) -> None:
    """Mark exponentials of activations, and sums over them."""
    stem = operations.stem(func)
    if stem not in STEPS or not isinstance(out, Tensor) or not args or operations.is_in_place(func):
        return
    if stem == "exp":
        setattr(out, _MARK, _Exponentials(args[0], out._version))
        return
    if operations.is_matmul(func):
        if len(args) == 2 and isinstance(_mark(args[0]), _Exponentials) and isinstance(args[1], Tensor):
            setattr(out, _MARK, _Weighted(args[0], args[1], out._version))
        return
    marks = [_mark(x) for x in (args[1:2] if stem == "where" else args[:2])]
    known = next((mark for mark in marks if mark is not None), None)
    if isinstance(known, _Exponentials):
        _follow_exponentials(context, stem, args, kwargs, out, known)
    elif isinstance(known, _Sum):
        _follow_sum(stem, args, kwargs, out, known, marks)


def _follow_exponentials(
    context: Context, stem: str, args: Any, kwargs: Any, out: Tensor, known: _Exponentials
) -> None:
    scores = known.scores
    if stem == "sum":
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        dim = dim[0] if isinstance(dim, (list, tuple)) and len(dim) == 1 else dim
        if isinstance(dim, int):
            setattr(out, _MARK, _Sum(args[0], dim % args[0].dim(), (), out._version))
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
    if stem in _MOVES and out.numel() == x.numel():
        moved = True
    elif stem in ("expand", "expand_as"):
        moved = out.shape == known.summands.shape and list(x.shape) == _kept(out, known.dim)
    else:  # a bound that the sum keeps in both runs
        bounds = stem in ("clamp", "clamp_min")
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


def softmax(context: Context, top: Any, bottom: Any) -> Tensor | None:
    """Return the quotient of two tensors as a softmax with its rule, or None if it is another quotient."""
    total = _mark(bottom)
    if not isinstance(total, _Sum) or not isinstance(top, Tensor):
        return None
    weighted = _mark(top)
    values = weighted.values if isinstance(weighted, _Weighted) else None
    top = weighted.exponentials if isinstance(weighted, _Weighted) else top
    own, summed = _mark(top), _mark(total.summands)
    if not isinstance(own, _Exponentials) or not isinstance(summed, _Exponentials) or own.scores is not summed.scores:
        return None
    kept = _kept(top, total.dim)
    if list(bottom.shape) not in (kept, list(top.shape)):
        return None
    scores, dim, length = own.scores, total.dim, top.shape[total.dim]
    if total.further:
        further = [_expanded(context, x, scores, kept) for x in total.further]
        scores = context.give(torch.cat, ([scores, *further], dim), {})
    weights: Tensor = context.give(torch.softmax, (scores, dim), {})
    if total.further:
        weights = context.give(Tensor.narrow, (weights, dim, 0, length), {})
    return weights if values is None else context.give(torch.matmul, (weights, values), {})


def _kept(x: Tensor, dim: int) -> list[int]:
    """Return the shape of a sum along a dimension that is kept."""
    shape = list(x.shape)
    shape[dim] = 1
    return shape


def _is_zero(x: Any) -> bool:
    return not x.requires_grad and not bool(x.any()) if isinstance(x, Tensor) else x == 0


def _expanded(context: Context, further: Any, scores: Tensor, shape: list[int]) -> Tensor:
    if not isinstance(further, Tensor):
        return scores.detach().new_full(shape, further).log()
    expanded: Tensor = context.give(Tensor.expand, (further, shape), {})
    return expanded
