"""Texts and labels in any form: lists, generators, columns of tables, pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from textlrp.basics import options
from textlrp.errors import InputError


def column(values: Any, option: str) -> Iterable[Any]:
    """Return the value of an option if it can be iterated over to give texts or labels one by one."""
    if isinstance(values, (str, bytes)):
        raise InputError(f"{option} takes a list, not a single string: put it in brackets, or use explain")
    columns = getattr(values, "column_names", getattr(values, "columns", None))
    if columns is not None:
        named = ", ".join(map(str, list(columns)[:5])) if isinstance(columns, Iterable) else str(columns)
        raise InputError(f"{option} takes one column, and {type(values).__name__} has several ({named}): choose one")
    if isinstance(values, dict) or not isinstance(values, Iterable) or not _iterates(values):
        items = "texts" if option == "texts" else "labels"
        raise InputError(f"{option} takes a list, a generator or a column of {items}, not {type(values).__name__}")
    return values


def pair(value: Any) -> tuple[Any, Any]:
    """Return a text and the second text of a pair, or None in its place; their types are checked later.

    Raises:
        InputError: the value is a list or a dict, but not a pair.
    """
    if isinstance(value, dict):
        unknown = set(value) - {"text", "text_pair"}
        if unknown or "text" not in value:
            keys = ", ".join(map(str, value)) or "nothing"
            raise InputError(f"a pair is a dict with text and text_pair, not with {keys}")
        return value["text"], value.get("text_pair")
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise InputError(f"a pair has two texts, not {len(value)}")
        return value[0], value[1]
    return value, None


def single(value: Any) -> bool:
    """Return whether a value is a single label, a name or an index."""
    return isinstance(value, (str, bool)) or options.as_whole(value) is not None


def one_each(target: Any, count: int) -> list[Any]:
    """Return one target for each text."""
    if target is None or single(target):
        return [target] * count
    listed = list(column(target, "target"))
    if len(listed) != count:
        raise InputError(f"target has {len(listed)} labels for {count} texts: give one for each, or one for all")
    return listed


def _iterates(values: Any) -> bool:
    try:
        return iter(values) is not None
    except TypeError:  # a tensor of a single number is an Iterable, but cannot be iterated over
        return False


def paired(texts: Iterable[Any], target: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each text with its target, drawing both on demand.

    Raises:
        InputError: there are more texts than labels, or fewer.
    """
    if target is None or single(target):
        for text in texts:
            yield text, target
        return
    count, labels, none = 0, iter(target), object()
    for text in texts:
        label = next(labels, none)
        if label is none:
            raise InputError(f"target has {count} labels, and there are more texts: give one for each, or one for all")
        yield text, label
        count += 1
    if next(labels, none) is not none:
        raise InputError(f"target has more labels than the {count} texts: give one for each, or one for all")
