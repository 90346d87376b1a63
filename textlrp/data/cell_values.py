"""The values of a document in the cells of a table: a text, labels, an id, marked words."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from textlrp.data.records import check_rationales
from textlrp.data.row_values import brief_value
from textlrp.errors import InputError
from textlrp.results.spans import TEXT


class RowError(Exception):
    """A row is no document; the message is half a sentence: ``"the text is blank"``."""


def is_filled(value: Any) -> bool:
    """Return whether a cell has a value: no null, NaN, white space or empty list."""
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, (list, tuple, dict)):
        return bool(value)
    return value is not None and not _is_nan(value)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def text_in(value: Any, subject: str, column: str | None) -> str:
    """Return the text in a cell, which reasons call a ``subject``; in a chosen ``column``, numbers are texts.

    Raises:
        RowError: there is none.
    """
    if value is None or _is_nan(value):
        raise RowError(f"the {subject} is missing")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if column is not None:
            return str(value)
        raise RowError(f"the {subject} is {brief_value(value)}, a number; --text COLUMN reads numbers as texts")
    if not isinstance(value, str):
        raise RowError(f"the {subject} is {brief_value(value)}, which is no text")
    if not value.strip():
        raise RowError(f"the {subject} is blank")
    return value


def labels_in(value: Any, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the labels in a cell: a label, a list of them, or what Label Studio writes for several.

    Args:
        value: the value of the cell.
        names: the names of class numbers, if the data has them.

    Raises:
        RowError: it is nothing of that kind.
    """
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        value = _listed_in(value.strip())
    if isinstance(value, Mapping) and isinstance(value.get("choices"), (list, tuple)):
        value = value["choices"]
    listed = value if isinstance(value, (list, tuple)) else (value,)
    labels = [label for one in listed if (label := _label(one, names)) is not None]
    return tuple(dict.fromkeys(labels))


def bits_in(value: Any) -> tuple[int, ...]:
    """Return the zeros and ones of a cell that lists nothing else, two or more; else nothing."""
    if isinstance(value, str) and value.strip()[:1] == "[":
        value = _listed_in(value.strip())
    if not isinstance(value, (list, tuple)) or len(value) < 2:
        return ()
    bits = tuple(int(bit) for bit in value if isinstance(bit, (int, float)) and bit in (0, 1))
    return bits if len(bits) == len(value) else ()


def _listed_in(cell: str) -> Any:
    """Return a list or an object that a cell of a CSV file holds, as JSON or as Python writes it."""
    readers: tuple[Callable[[str], Any], ...] = (json.loads, ast.literal_eval)
    for read in readers:
        try:
            return read(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return cell


def _label(value: Any, names: Sequence[str] | None) -> str | None:
    if not is_filled(value):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():  # tables turn a column of whole numbers with gaps into floats
        value = int(value)
    if isinstance(value, int):
        # Data sets write -1 for a label that they withhold; the model's names say whether this is one.
        if names is None:
            return str(value)
        return None if value == -1 else names[value] if 0 <= value < len(names) else str(value)
    if isinstance(value, float):
        return str(value)
    raise RowError(f"the label is {brief_value(value)}, neither a name nor a number")


def id_in(value: Any, column: str) -> str:
    """Return the id in a cell of a column.

    Raises:
        RowError: it is neither a name nor a number.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
        raise RowError(f"the id in {column!r} is {brief_value(value)}, neither a name nor a number")
    return str(value)


def rationales_in(
    value: Any, text: str, column: str, right: Sequence[str] = (), names: Sequence[str] | None = None
) -> tuple[tuple[int, int], ...]:
    """Return the character ranges of a text that a cell of a column marks as reasons, in reading order.

    Args:
        value: the value of the cell: a list of ``[start, end]``, or of objects with ``start``, ``end`` and, where they
            say so, ``label`` (which their words speak for), ``against`` and ``source`` (``"text_pair"`` is the second
            text). An object for a label that is not right, against one, or in the second text, is no reason.
        text: the text.
        column: the name of the column.
        right: the right labels of the document.
        names: the names of class numbers, if the data has them.

    Raises:
        RowError: they are no ranges of it.
    """
    listed = spans_in(value)
    if isinstance(listed, (list, tuple)) and listed and all(isinstance(span, Mapping) for span in listed):
        reasons = [span for span in listed if _is_reason(span, right, names)]
        return _joined([rationales_in([[s.get("start"), s.get("end")]], text, column) for s in reasons])
    if not isinstance(listed, (list, tuple)) or not all(isinstance(span, (list, tuple)) for span in listed):
        raise RowError(
            f"{column!r} is {brief_value(value)}, and a list of [start, end] was expected, in characters of the text"
        )
    try:
        spans = tuple(sorted((start, end) for start, end in listed))
    except (TypeError, ValueError):
        spans = tuple(tuple(span) for span in listed)
    within = tuple(span for span in spans if not _is_empty(span, len(text)))
    try:
        check_rationales(within, text, "it")
    except InputError as error:
        raise RowError(str(error)) from None
    return within


def _is_reason(span: Mapping[str, Any], right: Sequence[str], names: Sequence[str] | None) -> bool:
    if span.get("against") or span.get("source", TEXT) != TEXT:
        return False
    labels = labels_in(span.get("label"), names)
    return not labels or any(label in right for label in labels)


def _joined(ranges: Iterable[tuple[tuple[int, int], ...]]) -> tuple[tuple[int, int], ...]:
    """Return ranges in reading order, those that overlap as one: words may be a reason for two right labels."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(span for spans in ranges for span in spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return tuple(joined)


def spans_in(value: Any) -> Any:
    """Return the spans in a cell, which may be a JSON text; a blank one has none."""
    if not is_filled(value):
        return []
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def is_mask(spans: Any) -> bool:
    """Return whether spans look like masks of tokens, ``[[1, 0], [0, 1]]`` or ``[0, 1, 1]``."""
    if not isinstance(spans, (list, tuple)) or not spans:
        return False
    masks = spans if all(isinstance(mask, (list, tuple)) for mask in spans) else [spans]
    bits = [bit for mask in masks for bit in mask]
    if not bits or not all(isinstance(bit, (int, float)) and bit in (0, 1) for bit in bits):
        return False
    return [list(mask) for mask in masks] != [[0, 1]]  # which is the first character


def _is_empty(span: tuple[Any, ...], length: int) -> bool:
    whole = len(span) == 2 and all(type(offset) is int for offset in span)
    return whole and 0 <= span[1] <= span[0] <= length
