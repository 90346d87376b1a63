"""One-hot vectors of the input ids, and counts of them, that a model multiplies with a table: a lookup of rows.

The product of a one-hot vector and a matrix is a row of the matrix, and that of counts is a sum of rows, so the
relevance of each id is that of its row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textlrp.guard.trees import bind, detached
from textlrp.lrp import operations, reference, token_tracking
from textlrp.lrp.context import Context
from textlrp.lrp.surrogate import stand_in

_MARK = "_textlrp_one_hot"
_COPIES = frozenset("float double half bfloat16 to type type_as clone contiguous".split())
_PRODUCTS = frozenset("mul multiply __mul__ __rmul__".split())
_QUOTIENTS = frozenset("div divide true_divide __truediv__".split())


@dataclass(frozen=True)
class _OneHot:
    """What a tensor ``[..., vocabulary]`` counts.

    Attributes:
        ids: the ids.
        dims: the dimensions of the ids that were added up, in order; none for one-hot vectors.
        factors: what the vectors were multiplied with, before each sum and after the last.
    """

    ids: Tensor
    dims: tuple[int, ...] = ()
    factors: tuple[Any, ...] = (None,)


def follow(func: Any, args: Any, kwargs: Any, out: Any) -> None:
    """Mark one-hot vectors of ids, and what is added up and scaled of them."""
    mark = _followed(operations.stem(func), args, kwargs, out) if isinstance(out, Tensor) else None
    if mark is not None:
        setattr(out, _MARK, mark)


def _followed(stem: str, args: Any, kwargs: Any, out: Tensor) -> _OneHot | None:
    if not args:
        return None
    if stem == "one_hot":
        return _OneHot(args[0]) if token_tracking.origin(args[0]) is not None else None
    if stem == "scatter_add":
        named: dict[str, Any] = bind(("input", "dim", "index", "src"), args, kwargs)
        index, last = named["index"], named["index"].dim() - 1
        if token_tracking.origin(index) is None or named["dim"] not in (-1, last):
            return None
        if not torch.equal(out, torch.zeros_like(out).scatter_add(last, index, named["src"])):
            return None
        return _OneHot(index, (last,), (named["src"].unsqueeze(-1), None))
    known: _OneHot | None = getattr(args[0], _MARK, None)
    if known is None:
        return None
    if stem in _COPIES:
        return known
    if stem in ("sum", "mean"):
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        dim = dim[0] if isinstance(dim, (list, tuple)) and len(dim) == 1 else dim
        if not isinstance(dim, int) or dim in (-1, args[0].dim() - 1) or kwargs.get("keepdim") or len(args) > 2:
            return None
        *before, after = known.factors
        if stem == "mean":
            after = 1 / args[0].shape[dim] if after is None else after / args[0].shape[dim]
        return replace(known, dims=(*known.dims, dim % args[0].dim()), factors=(*before, after, None))
    if stem in _PRODUCTS | _QUOTIENTS and len(args) == 2:
        factor, (*before, after) = args[1], known.factors
        if isinstance(factor, Tensor) and (factor.requires_grad or (factor.dim() and factor.shape[-1] != 1)):
            return None
        factor = 1 / factor if stem in _QUOTIENTS else factor
        return replace(known, factors=(*before, factor if after is None else after * factor))
    return None


def looked_up(context: Context, func: Any, args: Any, kwargs: Any) -> Tensor | None:
    """Return the product of one-hot vectors of ids, or of counts of them, with a table; None for other functions."""
    named = bind(("input", "weight", "bias"), args, kwargs)
    mark: _OneHot | None = getattr(named.get("input"), _MARK, None)
    stem = operations.stem(func)
    if mark is None or (stem != "linear" and not operations.is_matmul(func)):
        return None
    weight = named.get("weight", named.get("other", named.get("mat2")))
    if not isinstance(weight, Tensor) or weight.dim() != 2 or weight.requires_grad:
        return None
    give = context.give
    rows = give(F.embedding, (mark.ids, weight.mT if stem == "linear" else weight), {})
    for place, factor in enumerate(mark.factors):
        if factor is not None:
            rows = give(torch.mul, (rows, factor.to(rows.dtype) if isinstance(factor, Tensor) else factor), {})
        if place < len(mark.dims):
            rows = give(torch.sum, (rows, mark.dims[place]), {})
    if stem == "linear" and named.get("bias") is not None:
        rows = give(torch.add, (rows, named["bias"]), {})
    out = stand_in(rows, func(*detached(args), **detached(kwargs)))
    if context.reference is not None:
        reference.attach(out, reference.value(rows))
    return out
