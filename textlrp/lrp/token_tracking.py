"""Tracks where integers and constants came from: which are input ids, and which are positions.

A tensor carries its mark as an attribute, which dies with it. Ids keep the flat position of their source, so that a
shifted, padded or hashed copy still credits the right token; float tables keep the ledger heading that they belong to.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from textlrp.guard.trees import tensors
from textlrp.lrp import operations
from textlrp.results import ledger

#: The attribute of a tensor that holds its mark.
MARK = "_textlrp_mark"
_CUT = "cut"
#: The headings of tables: going through the names of a deep model takes as long as running one of its layers.
_headings = WeakIdKeyDictionary()
# Functions that use the shape and dtype of their argument, not its values.
_FRESH = (
    {f"{kind}_like" for kind in ("zeros", "ones", "full", "empty", "rand", "randn", "randint")}
    | {f"new_{kind}" for kind in ("zeros", "ones", "full", "empty", "tensor")}
    | {"one_hot"}
)
# Functions whose results are counts, places or sums of several ids, not the id of a single token.
_PLAIN = frozenset(
    """
    argmax argmin argsort count_nonzero nonzero searchsorted bucketize bincount sum cumsum mean prod cumprod amax amin
    max min median diff trace nansum
    """.split()
)
_FLOAT_LOOKUPS = ("__getitem__", "index_select", "take", "gather")


class Ids(NamedTuple):
    """Marks integers that came from the input ids.

    Attributes:
        origin: for each, the flat position of its source, or -1.
        others: further sources of integers that were computed from several ids, such as hashed pairs of words.
    """

    origin: Tensor
    others: tuple[Tensor, ...] = ()

    def source(self, number: int) -> Tensor:
        """Return a source of each integer; one of fewer sources than others has its first one again."""
        return self.others[number - 1] if 0 < number <= len(self.others) else self.origin


def mark_ids(ids: Tensor, start: int = 0) -> Tensor:
    """Return a marked copy of ids, the first of which has the flat position ``start``."""
    marked = ids.clone()
    setattr(marked, MARK, Ids(torch.arange(start, start + ids.numel(), device=ids.device).view(ids.shape)))
    return marked


def mark_cut(results: Any) -> None:
    """Mark detached values, which were computed from activations and carry no relevance."""
    for tensor in tensors(results):
        if tensor.is_floating_point() and not tensor.requires_grad:
            setattr(tensor, MARK, _CUT)


def is_cut(value: Any) -> bool:
    """Return whether a value was computed from activations and carries no relevance."""
    return getattr(value, MARK, None) == _CUT


def mark_heading(constant: Tensor, heading: str) -> None:
    """Mark a constant with the ledger heading that it belongs to."""
    setattr(constant, MARK, heading)


def origin(index: Any) -> Tensor | None:
    """Return the sources of ids, or None for integers that are not input ids."""
    mark = getattr(index, MARK, None)
    return mark.origin if isinstance(mark, Ids) else None


def origins(index: Any) -> tuple[Tensor, ...]:
    """Return all sources of ids; there are several where an id was computed from several others."""
    mark = getattr(index, MARK, None)
    return (mark.origin, *mark.others) if isinstance(mark, Ids) else ()


def heading(constant: Any) -> str:
    """Return the ledger heading for an added constant."""
    if isinstance(constant, nn.Parameter):
        return ledger.BIASES
    mark = getattr(constant, MARK, None)
    return mark if isinstance(mark, str) and mark != _CUT else ledger.CONSTANTS


def common_heading(values: Any) -> str:
    """Return the heading that the constants among some arguments share."""
    headings = {heading(x) for x in tensors(values) if x.is_floating_point() and not x.requires_grad}
    return headings.pop() if len(headings) == 1 else ledger.CONSTANTS


def table_heading(model: nn.Module, table: Tensor) -> str:
    """Return the heading of a table, token types or positions, by the parameter's name: no sum depends on it."""
    if table not in _headings:
        name = next((name for name, parameter in model.named_parameters() if parameter is table), "")
        _headings[table] = ledger.TOKEN_TYPES if "type" in name or "segment" in name else ledger.POSITIONS
    return str(_headings[table])


def follow(func: Any, kind: Any, args: Any, kwargs: Any, out: Tensor) -> bool:
    """Keep track of marks through an operation that carries no relevance.

    Returns:
        Whether that worked: False if input ids select from a float table by other means than an embedding lookup.
    """
    marks = [mark for tensor in tensors((args, kwargs)) if (mark := getattr(tensor, MARK, None)) is not None]
    if not marks:
        return True
    ids = next((mark for mark in marks if isinstance(mark, Ids)), None)
    if ids is None:
        if out.is_floating_point():
            setattr(out, MARK, _CUT if _CUT in marks else marks[0])
        return True
    if out.is_floating_point() or out.is_complex():
        return getattr(func, "__name__", "") not in _FLOAT_LOOKUPS
    label = operations.stem(func)
    if out.dtype in (torch.bool, torch.uint8) or label in _FRESH or label in _PLAIN:
        return True
    try:
        moved = _follow_ids(func, kind, args, kwargs, out, [mark for mark in marks if isinstance(mark, Ids)])
    except (RuntimeError, TypeError, IndexError):
        return False
    if moved is not None and all(sources.shape == out.shape for sources in moved):
        setattr(out, MARK, Ids(moved[0], tuple(moved[1:])))
    return True


def _follow_ids(func: Any, kind: Any, args: Any, kwargs: Any, out: Tensor, ids: list[Ids]) -> list[Tensor] | None:
    """Return the sources of the ids in a result, with -1 for values that are not ids."""
    most = max(len(mark.others) for mark in ids)
    if operations.is_in_place(func):
        if kind != "affine":
            return _shared(out, ids)
        if most:
            raise TypeError("ids of several sources are written into others")
        sources = _writable_origin(args[0])
        args, kwargs = _values_to_sources(func, (sources, *args[1:]), kwargs, 0)
        func(*args, **kwargs)
        return [sources]
    if kind is operations.PLAIN or kind == "affine":
        if kind is operations.PLAIN and origin(args[0]) is None:
            return None  # the ids only selected the values
        calls = [_values_to_sources(func, args, kwargs, number) for number in range(most + 1)]
        moved = [func(*args, **kwargs) for args, kwargs in calls]
        return moved if isinstance(moved[0], Tensor) else None
    return _shared(out, ids)


def _shared(out: Tensor, ids: list[Ids]) -> list[Tensor] | None:
    """Return the sources of arithmetic on ids, such as a hash: all ids that a result was computed from."""
    found: list[Tensor] = []
    for sources in (sources for mark in ids for sources in (mark.origin, *mark.others)):
        if torch.broadcast_shapes(sources.shape, out.shape) != out.shape:
            return None
        expanded = sources.broadcast_to(out.shape)
        if not any(torch.equal(expanded, other) for other in found):
            found.append(expanded.clone())
    return found


def _writable_origin(target: Tensor) -> Tensor:
    """Return the sources of integers that are about to be written, as part of those of the tensor that they view."""
    known = origin(target)
    if known is not None:
        return known
    base = target if target._base is None else target._base
    whole = torch.full(base.shape, -1, device=base.device) if origin(base) is None else origin(base)
    assert whole is not None
    setattr(base, MARK, Ids(whole))
    if base is target:
        return whole
    return whole.contiguous().as_strided(target.size(), target.stride(), target.storage_offset())


def _values_to_sources(func: Any, args: Any, kwargs: Any, number: int) -> tuple[Any, Any]:
    """Replace the values that an operation moves by one of their sources, and leave arguments that only select."""
    positions, keywords = operations.value_places(func)

    def sources(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(sources(item) for item in value)
        if not isinstance(value, Tensor):
            return -1 if isinstance(value, (int, float)) else value
        known = getattr(value, MARK, None)
        if isinstance(known, Ids):
            return known.source(number)
        return torch.full(value.shape, -1, device=value.device)

    target = args[0] if args and isinstance(args[0], Tensor) and operations.is_in_place(func) else None
    args = tuple(value if value is target or i not in positions else sources(value) for i, value in enumerate(args))
    kwargs = {key: sources(value) if key in keywords else value for key, value in kwargs.items() if key != "dtype"}
    if operations.name(func) == "F.pad":
        kwargs = {key: value for key, value in kwargs.items() if key != "mode"} | {"value": -1}
        args = args[:2]
    return args, kwargs
