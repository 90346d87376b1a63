"""Texts and labels as people hold them: lists, generators, columns of tables, pairs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from textlrp import options
from textlrp.errors import InputError


def column(values: Any, what: str) -> Iterable[Any]:
    """Return what can be iterated over, if that gives texts or labels one by one."""
    if isinstance(values, (str, bytes)):
        raise InputError(f"{what} takes a list, not a single string: put it in brackets, or use explain")
    columns = getattr(values, "column_names", getattr(values, "columns", None))
    if columns is not None:
        named = ", ".join(map(str, list(columns)[:5])) if isinstance(columns, Iterable) else str(columns)
        raise InputError(f"{what} takes one column, and {type(values).__name__} has several ({named}): choose one")
    if isinstance(values, dict) or not isinstance(values, Iterable) or not _iterates(values):
        raise InputError(f"{what} takes a list, a generator or a column of texts, not {type(values).__name__}")
    return values


def pair(value: Any) -> tuple[Any, Any]:
    """Return a text and the second text of a pair, or None in its place; whether they are texts is found out later.

    Raises:
        InputError: the value is a list or a dict, and no pair.
    """
    if isinstance(value, dict):
        unknown = set(value) - {"text", "text_pair"}
        if unknown or "text" not in value:
            found = ", ".join(map(str, value)) or "nothing"
            raise InputError(f"a pair is a dict with text and text_pair, not with {found}")
        return value["text"], value.get("text_pair")
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise InputError(f"a pair has two texts, not {len(value)}")
        return value[0], value[1]
    return value, None


def single(value: Any) -> bool:
    """Whether a value is one label, a name or an index, and not several."""
    return isinstance(value, (str, bool)) or options.as_whole(value) is not None


def each(targets: Any, count: int) -> list[Any]:
    """Return one target for each text."""
    if targets is None or single(targets):
        return [targets] * count
    listed = list(column(targets, "targets"))
    if len(listed) != count:
        raise InputError(f"targets has {len(listed)} labels for {count} texts: give one for each, or one for all")
    return listed


def _iterates(values: Any) -> bool:
    try:
        return iter(values) is not None
    except TypeError:  # a tensor of a single number says that it can be iterated over, and cannot
        return False
