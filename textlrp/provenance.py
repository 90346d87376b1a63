"""Where integers and constants came from: which of them are input ids, and which are positions.

A tensor carries its mark as an attribute, which dies with it. Ids keep the flat position of their source, so that a
shifted, padded or hashed copy still credits the right token; float tables keep the ledger heading that they belong to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from textlrp import ledger, operations
from textlrp.arguments import replace, tensors

_MARK = "_textlrp_mark"
_FLOAT_LOOKUPS = ("__getitem__", "index_select", "take", "gather")


class Ids(NamedTuple):
    """Marks integers that came from the input ids: for each, the flat position of its source, or -1."""

    origin: Tensor


def mark_ids(input_ids: Tensor) -> Tensor:
    """Return a marked copy of the input ids."""
    marked = input_ids.clone()
    setattr(marked, _MARK, Ids(torch.arange(input_ids.numel(), device=input_ids.device).view(input_ids.shape)))
    return marked


def mark_heading(constant: Tensor, heading: str) -> None:
    """Mark a constant with the ledger heading that it belongs to."""
    setattr(constant, _MARK, heading)


def origin(index: Any) -> Tensor | None:
    """Return the sources of ids, or None for integers that are no input ids."""
    mark = getattr(index, _MARK, None)
    return mark.origin if isinstance(mark, Ids) else None


def heading(constant: Any) -> str:
    """Return the ledger heading for an added constant."""
    if isinstance(constant, nn.Parameter):
        return ledger.BIASES
    mark = getattr(constant, _MARK, None)
    return mark if isinstance(mark, str) else ledger.CONSTANTS


def common_heading(values: Any) -> str:
    """Return the heading that the constants among some arguments share."""
    headings = {heading(x) for x in tensors(values) if x.is_floating_point() and not x.requires_grad}
    return headings.pop() if len(headings) == 1 else ledger.CONSTANTS


def table_heading(model: nn.Module, table: Tensor) -> str:
    """Tell token type tables from position tables by the parameter's own name: no sum depends on it."""
    for name, parameter in model.named_parameters():
        if parameter is table:
            return ledger.TOKEN_TYPES if "type" in name or "segment" in name else ledger.POSITIONS
    return ledger.POSITIONS


def follow(func: Any, kind: Any, args: Any, kwargs: Any, out: Tensor) -> bool:
    """Keep track of marks through an operation that carries no relevance.

    Returns:
        Whether that worked: False where input ids picked from a float table by other means than an embedding lookup.
    """
    marks = [mark for tensor in tensors((args, kwargs)) if (mark := getattr(tensor, _MARK, None)) is not None]
    if not marks:
        return True
    ids = next((mark for mark in marks if isinstance(mark, Ids)), None)
    if ids is None:
        if out.is_floating_point():
            setattr(out, _MARK, marks[0])
        return True
    if out.is_floating_point() or out.is_complex():
        return getattr(func, "__name__", "") not in _FLOAT_LOOKUPS
    if out.dtype not in (torch.bool, torch.uint8):
        moved = _follow_ids(func, kind, args, kwargs, out, ids)
        if moved is not None and moved.shape == out.shape:
            setattr(out, _MARK, Ids(moved))
    return True


def _follow_ids(func: Any, kind: Any, args: Any, kwargs: Any, out: Tensor, ids: Ids) -> Tensor | None:
    """Send the origins of ids the way that the ids went; what is no id gets -1."""
    name = operations.name(func).split(".")[-1]
    merges = kind == "affine"

    def sources(tensor: Tensor) -> Tensor:
        known = origin(tensor)
        if known is not None:
            return known
        chooses = tensor.dtype == torch.bool or tensor.dim() == 0 or not merges
        return tensor if chooses else torch.full_like(tensor, -1)

    if operations.is_in_place(func):
        target = args[0]
        if origin(target) is None:
            setattr(target, _MARK, Ids(torch.full(target.shape, -1, device=target.device)))
        if name == "zero_":
            return torch.full(target.shape, -1, device=target.device)
        if name in ("masked_fill_", "fill_"):
            args, kwargs = (*args[:-1], -1), {}
        elif name == "__setitem__" and not isinstance(args[2], Tensor):
            args = (*args[:2], -1)
        return _moved(func, args, kwargs, sources)
    if kind is operations.TRANSPORT or merges:
        if not merges and origin(args[0] if args else kwargs.get("input")) is None:
            return None  # the ids only chose what to take
        if name == "masked_fill":
            args = (*args[:2], -1)
        elif name == "where":
            args = tuple(-1 if isinstance(value, (int, float)) else value for value in args)
        elif name == "pad":
            kwargs = {key: value for key, value in kwargs.items() if key not in ("mode", "value")} | {"value": -1}
            args = args[:2]
        return _moved(func, args, kwargs, sources)
    # Arithmetic on ids, such as a hash: each result still belongs to the id that it came from.
    return ids.origin.broadcast_to(out.shape) if ids.origin.dim() <= out.dim() else None


def _moved(func: Any, args: Any, kwargs: Any, sources: Callable[[Tensor], Tensor]) -> Tensor | None:
    kwargs = {key: value for key, value in kwargs.items() if key != "dtype"}
    try:
        moved = func(*replace(args, sources), **replace(kwargs, sources))
    except (RuntimeError, TypeError, IndexError):
        return None
    if moved is None:  # __setitem__ returns nothing
        moved = sources(args[0])
    return moved if isinstance(moved, Tensor) else None
