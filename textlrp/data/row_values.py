"""Rows of a table and the values in them, by column or by a dotted path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Fault:
    """The reason why a row cannot be read, in half a sentence: ``"the text is blank"``."""

    reason: str


#: The place of a row ("line 7"), and its values by column, or what is wrong with it.
Row: TypeAlias = tuple[str, Mapping[str, Any] | Fault]


def value_at(values: Mapping[str, Any], column: str) -> Any:
    """Return the value of a column, or of a dotted path into nested ones (``data.text``, ``answers.0``); else None."""
    if column in values:
        return values[column]
    head, dot, rest = column.partition(".")
    while dot:
        if head in values:
            inner = values[head]
            if isinstance(inner, Sequence) and not isinstance(inner, str):
                inner = {str(i): item for i, item in enumerate(inner)}
            if isinstance(inner, Mapping) and (found := value_at(inner, rest)) is not None:
                return found
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return None


def columns_of(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the columns that occur in rows, in the order of the first one of each."""
    return tuple(dict.fromkeys(key for _, values in rows if not isinstance(values, Fault) for key in values))


def brief_value(value: Any) -> str:
    """Return a value, cut to fit into a sentence."""
    shown = "null" if value is None else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
