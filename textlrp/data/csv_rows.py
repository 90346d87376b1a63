"""Rows of CSV files as spreadsheets and libraries of many countries write them.

Python's csv module reads them: it invents no types and no missing values, and knows the line of every fault.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from textlrp.data.row_values import Fault, Row
from textlrp.errors import InputError

_DELIMITERS = ",;\t|"
_SAMPLE = 200  # lines
_LONGEST_FIELD = 2**31 - 1  # the largest C long of some platforms
_DECLARED = re.compile(r"sep=(.)\s*", re.IGNORECASE)


def csv_rows(
    name: str, lines: Iterator[tuple[int, str]], usual: str, columns: Sequence[str]
) -> tuple[tuple[str, ...], Iterator[Row]]:
    """Return the columns of a CSV file, and its rows.

    The delimiter is what a first line ``sep=;`` says; else the one of comma, semicolon, tab and bar that cuts the rows
    into as many values as the header, or another sign that sets the name of a column of texts apart. Spaces before
    quotation marks, quotation marks with a backslash, and tabs without quotation marks are understood. Names in the
    header are stripped, and columns without a name are left out.

    Args:
        name: the file's name for messages.
        lines: the lines with their numbers and line ends.
        usual: the delimiter that the file's ending promises.
        columns: names that a column of the text often has.

    Raises:
        InputError: two columns have the same name, or a quotation mark is never closed.
    """
    texts = (line for _, line in lines)
    sample: list[str] = []
    broken = None
    try:
        for line in islice(texts, _SAMPLE):
            sample.append(line)
    except InputError as error:  # it is raised when the row is reached, for fewer rows may be wanted
        broken = error
    declared = _DECLARED.fullmatch(sample[0]) if sample else None
    before = 1 if declared is not None else 0
    del sample[:before]
    whole = len(sample) < _SAMPLE - before
    delimiters = [declared[1]] if declared is not None else _delimiters(sample, usual, columns)
    shapes = [_Shape.of(sample, one, how, whole, columns) for one in delimiters for how in _styles(sample, one)]
    shape = max(shapes, key=lambda shape: shape.rank)
    records = _records(name, chain(sample, texts if broken is None else _raising(broken)), shape, before)
    _, first = next(records, ("", []))
    if isinstance(first, Fault):
        raise InputError(f"{name}, the header: {first.reason}")
    header = [cell.strip() for cell in first]
    named = [column for column in header if column]
    repeated = sorted({column for column in named if named.count(column) > 1})
    if repeated:
        raise InputError(f"{name} has two columns called {repeated[0]!r}: give each its own name")
    return tuple(named), (_row(where, values, header, shape.delimiter) for where, values in records)


def _delimiters(sample: Sequence[str], usual: str, columns: Sequence[str]) -> list[str]:
    """Return the usual delimiters, or the sign that sets a column of texts apart in a header without any of these."""
    header = sample[0].strip() if sample else ""
    if any(delimiter in header for delimiter in _DELIMITERS):
        return list(dict.fromkeys([usual, *_DELIMITERS]))
    signs = dict.fromkeys(sign for sign in header if not sign.isalnum() and sign not in " _-.'\"")
    apart = [sign for sign in signs if any(part.strip().lower() in columns for part in header.split(sign))]
    return list(dict.fromkeys([usual, *_DELIMITERS, *apart]))


def _styles(sample: Sequence[str], delimiter: str) -> list[dict[str, Any]]:
    """Return the ways of quoting that a sample may have, the usual one first."""
    text = "".join(sample)
    styles: list[dict[str, Any]] = [{}]
    if f'{delimiter} "' in text:
        styles.append({"skipinitialspace": True})
    if '\\"' in text:  # MySQL, and pandas with escapechar
        styles.append({"escapechar": "\\", "doublequote": False})
    if delimiter == "\t" and '"' in text:  # most programs that write tabs know no quotation marks
        styles.append({"quoting": csv.QUOTE_NONE})
    return styles


def _raising(error: InputError) -> Iterator[str]:
    raise error
    yield


@dataclass(frozen=True)
class _Shape:
    """How a sample looks with a delimiter and a way of quoting; the highest rank is the likeliest."""

    delimiter: str
    how: Mapping[str, Any]
    rank: tuple[bool, bool, bool, float, int]

    @classmethod
    def of(
        cls, sample: Sequence[str], delimiter: str, how: Mapping[str, Any], whole: bool, columns: Sequence[str]
    ) -> _Shape:
        reader = csv.reader(sample, delimiter=delimiter, strict=True, **how)
        parsed: list[list[str]] = []
        before = csv.field_size_limit(_LONGEST_FIELD)
        try:
            while True:
                try:
                    values = next(reader, None)
                except csv.Error:
                    values = [""]
                if values is None:
                    break
                if values:
                    parsed.append(values)
        finally:
            csv.field_size_limit(before)
        header = [cell.strip() for cell in parsed[0]] if parsed else []
        rows = parsed[1:] if whole else parsed[1:-1]  # the end of a sample may be half a record
        fitting = sum(_fitted(values, header) is not None for values in rows)
        is_text = any(cell.lower() in columns for cell in header)
        several = len(header) > 1
        share = fitting / len(rows) if rows else 1.0
        # Quotation marks behind a space are read as characters unless the space is skipped.
        clean = not any(cell.startswith(" ") and cell.lstrip(" ").startswith('"') for row in parsed[:2] for cell in row)
        rank = (several and is_text, share == 1.0, clean, share, len(header) if several else 0)
        return cls(delimiter, how, rank)


def _records(name: str, lines: Iterable[str], shape: _Shape, before: int) -> Iterator[tuple[str, list[str] | Fault]]:
    """Yield the values of each record with its place; blank lines are skipped."""
    reader = csv.reader(lines, delimiter=shape.delimiter, strict=True, **shape.how)
    while True:
        line = reader.line_num + 1 + before
        limit = csv.field_size_limit(_LONGEST_FIELD)
        values: list[str] | Fault | None
        try:
            values = next(reader, None)
        except csv.Error as error:
            if "end of data" in str(error):
                raise InputError(
                    f"{name}, line {line}: a quotation mark is never closed; close it, and double a quotation mark "
                    f"inside a quoted value"
                ) from None
            values = Fault(
                f"the quotation marks do not fit ({error}); close every quoted value, and double a quotation mark "
                f"inside one"
            )
        finally:
            csv.field_size_limit(limit)
        if values is None:
            return
        if values:
            last = reader.line_num + before
            spread = isinstance(values, Fault) and last > line
            yield (f"lines {line} to {last}" if spread else f"line {line}"), values


def _row(where: str, values: list[str] | Fault, header: Sequence[str], delimiter: str) -> Row:
    if isinstance(values, Fault):
        return where, values
    fitted = _fitted(values, header)
    if fitted is None:
        count = f"{len(values)} value{'s' if len(values) > 1 else ''}"
        return where, Fault(
            f"it has {count}, and the header has {len(header)}: put values that contain {delimiter!r} in quotation "
            f"marks"
        )
    return where, {column: value for column, value in zip(header, fitted, strict=True) if column}


def _fitted(values: list[str], header: Sequence[str]) -> list[str] | None:
    """Return as many values as the header has, if only blank ones, or ones of columns without a name, are too many."""
    width = len(header)
    if len(values) > width:
        return None if any(value.strip() for value in values[width:]) else values[:width]
    missing: list[Any] = list(header[len(values) :])
    return None if any(missing) else [*values, *[""] * len(missing)]
