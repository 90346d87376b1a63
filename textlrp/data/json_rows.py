"""Rows of JSON files: lines, lists, objects, and the forms in which pandas and datasets write tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from textlrp.data.row_values import Fault, Row
from textlrp.errors import InputError

Lines = Callable[[], Iterator[tuple[int, str]]]

#: Keys under which one object holds a table.
_HOLDERS = ("data", "rows", "examples", "documents", "items", "records", "instances")


def json_rows(name: str, lines: Lines, columns: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a JSON file.

    It may have an object on each line, several objects of several lines each, or one value: a list of objects or texts,
    an object with such a list under a key (``{"data": [...]}``), an object of columns, or what pandas writes
    (``to_json`` with any ``orient`` that keeps the names of columns). One other object is one row.

    Args:
        name: the file's name for messages.
        lines: returns the lines of the file with their numbers, from the first one on.
        columns: names that a column of the text often has.

    Raises:
        InputError: the file is not JSON, or is a table without names of columns.
    """
    filled = ((number, line) for number, line in lines() if line.strip())
    first, second = next(filled, None), next(filled, None)
    if first is None:
        return
    is_list = first[1].lstrip().startswith("[")
    if second is not None and (_is_whole(first[1]) or (not is_list and _is_whole(second[1]))):
        yield from _line_rows(lines())
        return
    values = list(_stream("".join(line for _, line in lines()), name))
    if len(values) > 1:
        yield from (_row(f"object {number}", value) for number, value in enumerate(values, 1))
        return
    value = values[0]
    if isinstance(value, list):
        yield from _entries(value, name)
    elif isinstance(value, dict):
        yield from _table(value, name, columns, f"line {first[0]}")
    else:
        yield _row(f"line {first[0]}", value)


def _line_rows(lines: Iterable[tuple[int, str]]) -> Iterator[Row]:
    for number, line in lines:
        if line.strip():
            try:
                yield _row(f"line {number}", json.loads(line))
            except json.JSONDecodeError as error:
                yield f"line {number}", Fault(f"it is not JSON: {error.msg} at column {error.colno}")
            except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets nested as deep
                yield f"line {number}", Fault(f"it is JSON that cannot be read ({error})")


def _is_whole(line: str) -> bool:
    """Return whether a line is an object or a text, not the beginning of one or a part of a list."""
    try:
        return isinstance(json.loads(line), (dict, str))
    except (ValueError, RecursionError):
        return False


def _stream(text: str, name: str) -> Iterator[Any]:
    """Yield JSON values that stand one behind the other."""
    decoder, at = json.JSONDecoder(), _filled(text, 0)
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise InputError(f"{name}, line {error.lineno} is not JSON: {error.msg} at column {error.colno}") from None
        except (ValueError, RecursionError) as error:
            line = text.count("\n", 0, at) + 1
            raise InputError(f"{name}, line {line}: JSON that cannot be read ({error})") from None
        yield value
        at = _filled(text, at)


def _filled(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _entries(listed: Sequence[Any], name: str) -> Iterator[Row]:
    if listed and all(isinstance(value, list) for value in listed):
        raise InputError(f"{name} is a list of lists, without names of columns: write a list of objects")
    yield from (_row(f"entry {number}", value) for number, value in enumerate(listed, 1))


def _row(where: str, value: Any) -> Row:
    if isinstance(value, str):
        return where, {"text": value}
    if not isinstance(value, dict):
        return where, Fault("an object was expected, with a key for each column")
    return where, value


def _table(value: Mapping[str, Any], name: str, columns: Sequence[str], where: str) -> Iterator[Row]:
    """Yield the rows of one object; :func:`json_rows` lists the forms."""
    names = value.get("columns")
    if isinstance(names, list) and isinstance(value.get("data"), list):  # orient="split"
        rows = [dict(zip(map(str, names), row, strict=False)) for row in value["data"] if isinstance(row, list)]
        yield from _entries(rows, name)
        return
    if not any(isinstance(value.get(column), str) for column in value if column.lower() in columns):
        candidates = list(value) if len(value) == 1 else _HOLDERS
        holder = next((key for key in candidates if _is_records(value.get(key))), None)
        if holder is not None:
            yield from _entries(value[holder], name)
            return
    if _are(value, list) and len({len(column) for column in value.values()}) == 1 and any(value.values()):
        yield from _entries([dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)], name)
        return
    if len(value) > 0 and _are(value, dict):
        by_row = _by_row(value, columns)
        if by_row is not None:
            yield from _entries(by_row, name)
            return
    yield where, value


def _by_row(value: Mapping[str, Mapping[str, Any]], columns: Sequence[str]) -> list[dict[str, Any]] | None:
    """Return the rows of an object of columns (``orient="columns"``) or of rows (``orient="index"``)."""
    inner = list(dict.fromkeys(key for column in value.values() for key in column))
    outer_named = any(key.lower() in columns for key in value)
    inner_named = any(key.lower() in columns for key in inner)
    if outer_named or (not inner_named and all(key.isdecimal() for key in inner)):
        return [{column: cells.get(key) for column, cells in value.items()} for key in inner]
    numbered = all(key.isdecimal() for key in value)
    return [dict(row) for row in value.values()] if inner_named and (numbered or len(value) > 1) else None


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, (dict, str)) for row in value)


def _are(value: Mapping[str, Any], kind: type) -> bool:
    return all(isinstance(column, kind) for column in value.values())
