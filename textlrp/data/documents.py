"""Documents to explain, from a table: the columns of the text, the label, the id and the marked reasons."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textlrp.basics import options
from textlrp.data.records import check_rationales
from textlrp.data.tables import Rows, read_rows
from textlrp.errors import InputError

_TEXTS = ("text", "sentence", "review", "content", "document", "comment", "body", "tweet", "utterance", "question")
_PAIRS = {"text": "text_pair", "sentence1": "sentence2", "premise": "hypothesis", "question1": "question2"}
_LABELS = ("label", "labels", "class", "category", "sentiment")
_ID, _RATIONALES = "id", "rationales"


@dataclass(frozen=True)
class InputDocument:
    """A document of a table.

    Attributes:
        id: unique in its source.
        text: the text, not blank.
        text_pair: the second text of a pair, or None.
        label: the right label, or None where the data gives none.
        rationales: half-open character ranges of the text that the data marks as reasons; in reading order, never
            overlapping.
    """

    id: str
    text: str
    text_pair: str | None
    label: str | None
    rationales: tuple[tuple[int, int], ...] = ()


def read_documents(
    source: str,
    *,
    text: str | None = None,
    pair: str | None = None,
    label: str | None = None,
    id: str | None = None,
    limit: int | None = None,
    split: str | None = None,
) -> list[InputDocument]:
    """Read documents from a table.

    Args:
        source: a file, a folder, a bundled corpus or a name on the hub, as :func:`textlrp.data.tables.read_rows` takes
            them.
        text: the column of the text. Default: the first existing one of ``text``, ``sentence``, ``review``, ...
        pair: the column of the second text. Default: the usual companion of the text's column (``premise`` and
            ``hypothesis``), if both exist and ``text`` is not given.
        label: the column of the right label; an empty name reads none. Default: ``label``, ``labels``, ``class``,
            ``category`` or ``sentiment``, if it exists. A class number becomes its name if the data has names; a list
            of one label is that label; null and blank mean that there is none.
        id: the column of the id. Default: ``id`` if it exists, or else the number of the row, from 1.
        limit: the most documents to read.
        split: the split of a data set, or the value of the column ``split``.

    Returns:
        The documents, at least one, in order. A column ``rationales`` (lists of ``[start, end]`` characters of the
        text) is read too; a range whose end is not behind its start marks nothing (ERASER's movie reviews have some).

    Raises:
        InputError: a value is missing or unreadable, a text is blank, or two documents have the same id. The sentence
            names the line or row: no document is skipped silently.
    """
    if limit is not None:
        limit = options.whole(limit, "limit is a number of documents, 1 or more", 1)
    rows = read_rows(source, split, limit)
    text_column, pair_column = _text_columns(rows, text, pair)
    label_column = None if isinstance(label, str) and not label else _chosen(rows, label, _LABELS, "--label")
    id_column = _chosen(rows, id, (_ID,), "--id")
    documents: list[InputDocument] = []
    places: dict[str, str] = {}
    for number, (where, values) in enumerate(rows.rows, 1):
        place = f"{rows.name}, {where}"
        written = _text(values.get(text_column), text_column, place)
        second = None if pair_column is None else _text(values.get(pair_column), pair_column, place)
        right = None if label_column is None else _label(values.get(label_column), label_column, rows.classes, place)
        name = str(number) if id_column is None else _id(values.get(id_column), id_column, place)
        if name in places:
            raise InputError(f"{place}: the id {name!r} is that of {places[name]} too; give each document its own")
        places[name] = where
        documents.append(
            InputDocument(name, written, second, right, _rationales(values.get(_RATIONALES), written, place))
        )
    return documents


def match_labels(given: Iterable[str | None], known: Sequence[str]) -> list[str | None]:
    """Return labels by the model's names, if the data has numbers or another case.

    Data often has 0 and 1 where the model has names. If no label of the data is one of the model's, and all of them are
    in another case, or else are numbers of the model's labels, they get the model's names; otherwise they stay.

    Args:
        given: the labels of the data; None stays None.
        known: the model's labels, in the order of its outputs.
    """
    labels = list(given)
    distinct = {label for label in labels if label is not None}
    folded = {label.casefold(): label for label in known}
    if distinct & set(known):
        return labels
    if len(folded) == len(known) and all(label.casefold() in folded for label in distinct):
        names = {label: folded[label.casefold()] for label in distinct}
    else:
        names = {str(number): label for number, label in enumerate(known)}
    if not distinct <= names.keys():
        return labels
    return [None if label is None else names[label] for label in labels]


def _text_columns(rows: Rows, text: str | None, pair: str | None) -> tuple[str, str | None]:
    chosen = _chosen(rows, text, (*_TEXTS, *_PAIRS), "--text")
    if chosen is None:
        raise InputError(f"{rows.name} has no column 'text': choose one with --text; {_listed(rows)}")
    if text is None and pair is None:
        return chosen, _chosen(rows, None, (_PAIRS.get(chosen.lower(), ""),), "--pair")
    return chosen, _chosen(rows, pair, (), "--pair")


def _chosen(rows: Rows, column: str | None, usual: Sequence[str], option: str) -> str | None:
    """Return the column that the user chose, or else the first usual one."""
    if column is not None:
        if options.text(column, "a column is chosen by its name") not in rows.columns:
            raise InputError(f"{rows.name} has no column {column!r}: choose another with {option}; {_listed(rows)}")
        return column
    by_name = {name.lower(): name for name in reversed(rows.columns)}
    return next((by_name[name] for name in usual if name in by_name), None)


def _listed(rows: Rows) -> str:
    names = [repr(column) for column in rows.columns]
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"its columns are {shown}"


def _text(value: Any, column: str, place: str) -> str:
    if value is not None and not isinstance(value, str):
        raise InputError(f"{place}: {column!r} is {_shown(value)}, not a text; choose a column of texts")
    if value is None or not value.strip():
        fault = "missing" if value is None else "blank"
        raise InputError(f"{place}: {column!r} is {fault}, and a document needs a text; remove the row or fill it in")
    return value


def _label(value: Any, column: str, classes: Mapping[str, Sequence[str]], place: str) -> str | None:
    if isinstance(value, (list, tuple)):
        if len(value) > 1:
            raise InputError(
                f"{place}: {column!r} has {len(value)} labels, and a document is compared with one: choose another "
                f"column with --label, or none with --label ''"
            )
        value = value[0] if value else None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        names = classes.get(column)
        if names is None:
            return str(value)
        # Data sets write -1 for a label that they withhold.
        return None if value == -1 else names[value] if 0 <= value < len(names) else str(value)
    if isinstance(value, float):  # tables turn a column of whole numbers with gaps into floats
        return str(int(value)) if value.is_integer() else str(value)
    raise InputError(f"{place}: {column!r} is {_shown(value)}, not a label; choose another column with --label")


def _id(value: Any, column: str, place: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
        raise InputError(f"{place}: the id in {column!r} is {_shown(value)}; give each document a name or a number")
    return str(value)


def _rationales(value: Any, text: str, place: str) -> tuple[tuple[int, int], ...]:
    listed = value
    if isinstance(value, str):
        try:
            listed = json.loads(value) if value.strip() else []
        except (ValueError, RecursionError):
            listed = value
    listed = [] if listed is None else listed
    if not isinstance(listed, (list, tuple)) or not all(isinstance(span, (list, tuple)) for span in listed):
        raise InputError(
            f"{place}: {_RATIONALES!r} is {_shown(value)}, and a list of [start, end] was expected, in characters of "
            f"the text; correct or rename the column"
        )
    try:
        spans = tuple(sorted((start, end) for start, end in listed))
    except (TypeError, ValueError):
        spans = tuple(tuple(span) for span in listed)
    within = tuple(span for span in spans if not _is_empty(span, len(text)))
    check_rationales(within, text, place)
    return within


def _is_empty(span: tuple[Any, ...], length: int) -> bool:
    whole = len(span) == 2 and all(type(offset) is int for offset in span)
    return whole and 0 <= span[1] <= span[0] <= length


def _shown(value: Any) -> str:
    """Return a value, cut to fit into a sentence."""
    shown = "null" if value is None else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
