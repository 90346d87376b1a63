"""Documents to explain, from a table: the columns of the text, the label, the id and the marked reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from textlrp.basics import options
from textlrp.data.annotation_tools import LABELS, understood
from textlrp.data.cell_values import (
    RowError,
    bits_in,
    id_in,
    is_filled,
    is_mask,
    labels_in,
    rationales_in,
    spans_in,
    text_in,
)
from textlrp.data.row_values import Fault, brief_value, value_at
from textlrp.data.tables import PAIRS, TEXTS, Rows, read_rows
from textlrp.errors import InputError
from textlrp.explain.label_names import as_number

_ID, _RATIONALES = "id", "rationales"

#: Columns of a table of relevances that textlrp exports, which has a row for each word.
_RELEVANCES = {"document", "unit", "source", "start", "end", "relevance"}


@dataclass(frozen=True)
class InputDocument:
    """A document of a table.

    Attributes:
        id: unique in its source.
        text: the text, not blank.
        text_pair: the second text of a pair, or None.
        label: the right label as the data writes it, or None where the data gives none or several.
        rationales: half-open character ranges of the text that the data marks as reasons; in reading order, never
            overlapping.
        labels: the right labels where the data gives several.
    """

    id: str
    text: str
    text_pair: str | None
    label: str | None
    rationales: tuple[tuple[int, int], ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def given(self) -> tuple[str, ...]:
        """All right labels as the data writes them: none, one or several."""
        return self.labels or (() if self.label is None else (self.label,))


@dataclass(frozen=True)
class SkippedRow:
    """A row that is no document.

    Attributes:
        place: its place in the table: ``"line 3"``.
        reason: the reason in half a sentence: ``"the text is blank"``.
    """

    place: str
    reason: str


@dataclass(frozen=True)
class DocumentTable:
    """The documents of a table.

    Attributes:
        name: the table's name in messages.
        documents: at least one, in order.
        skipped: the rows that are no documents, in order.
        labels: the different labels of the whole column, those behind a limit too if they are numbers.
        note: a sentence on what was read in a way that a reader may not expect, or an empty one.
    """

    name: str
    documents: tuple[InputDocument, ...]
    skipped: tuple[SkippedRow, ...]
    labels: tuple[str, ...]
    note: str = ""

    def check(self) -> None:
        """Check that every row is a document.

        Raises:
            InputError: a row is none.
        """
        if self.skipped:
            raise _none_right(self.name, self.skipped)


def read_documents(
    source: str,
    *,
    text: str | None = None,
    pair: str | None = None,
    label: str | None = None,
    id: str | None = None,
    rationales: str | None = None,
    limit: int | None = None,
    split: str | None = None,
    encoding: str | None = None,
) -> DocumentTable:
    """Read documents from a table.

    A row that is no document (a text is missing, blank or a number; an id is missing or that of an earlier row; a label
    or a rationale cannot be read) is left out and listed; the others are read.

    Args:
        source: a file, a folder, a bundled corpus or a name on the hub, as :func:`textlrp.data.tables.read_rows` takes
            them.
        text: the column of the text; then numbers in it are texts. Default: the first existing one of ``text``,
            ``sentence``, ``review``, ... A column may be a dotted path into nested ones (``data.text``).
        pair: the column of the second text. Default: the usual companion of the text's column (``premise`` and
            ``hypothesis``), if both exist and ``text`` is not given.
        label: the column of the right label, or of lists of them; an empty name reads none. Default: ``label``,
            ``labels``, ``class``, ``category`` or ``sentiment``, if it exists. A class number becomes its name if the
            data has names; null and blank mean that there is none.
        id: the column of the id; an empty name takes the number of the row, from 1. Default: ``id`` if it exists, or
            else that number.
        rationales: the column of marked words, lists of ``[start, end]`` characters of the text, or of objects
            (:func:`textlrp.data.cell_values.rationales_in`); an empty name reads none. Default: ``rationales``, or the
            marks of an annotation tool (:func:`textlrp.data.annotation_tools.understood`). A range whose end is not
            behind its start marks nothing (ERASER's movie reviews have some).
        limit: the most documents to read.
        split: the split of a data set, or the value of the column ``split``.
        encoding: the encoding of a text file. Default: UTF-8, or what a byte order mark says.

    Raises:
        InputError: the table cannot be read, a column does not exist, or no row is a document.
    """
    if limit is not None:
        limit = options.whole(limit, "limit is a number of documents, 1 or more", 1)
    columns = _Columns(text, pair, label, id, rationales)
    wanted = limit
    while True:
        rows = read_rows(source, split, wanted, encoding)
        table = documents_of(rows, columns, limit)
        missing = 0 if limit is None else limit - len(table.documents)
        if wanted is None or not missing or len(rows.rows) < wanted:
            break
        wanted += max(missing, wanted)  # rows that are no documents do not count
    if not table.documents:
        raise _none_right(table.name, table.skipped)
    all_read = wanted is None or len(rows.rows) < wanted
    if all_read or not table.labels or any(as_number(label) is None for label in table.labels):
        return table
    column = _label_column(understood(rows), columns)
    assert column is not None
    whole = _labels_behind(source, column, table.labels, split, encoding)
    return replace(table, labels=whole)


@dataclass(frozen=True)
class _Columns:
    """The columns that the user chose; None for the usual ones."""

    text: str | None = None
    pair: str | None = None
    label: str | None = None
    id: str | None = None
    rationales: str | None = None


def documents_of(rows: Rows, chosen: _Columns | None = None, limit: int | None = None) -> DocumentTable:
    """Return the documents of a table, maybe none; the arguments and errors are those of :func:`read_documents`."""
    chosen = chosen or _Columns()
    if set(rows.columns) >= _RELEVANCES:
        raise InputError(
            f"{rows.name} is a table that textlrp exported, with a row for each word and its relevance: give the "
            f"documents themselves"
        )
    table, rows = rows, understood(rows)
    may_lack = rows is not table  # a project of an annotation tool may have pairs beside single texts
    text, pair = _text_columns(rows, chosen.text, chosen.pair)
    label = _label_column(rows, chosen)
    if label is not None:
        _refuse_vectors(rows, label)
    identity = _optional(rows, chosen.id, (_ID,), "--id")
    marked = _optional(rows, chosen.rationales, (_RATIONALES,), "--rationales")
    if marked is not None:
        _refuse_masks(rows, marked)
    documents: list[InputDocument] = []
    skipped: list[SkippedRow] = []
    places: dict[str, str] = {}
    labels: dict[str, None] = {}
    for number, (where, values) in enumerate(rows.rows, 1):
        if len(documents) == limit:
            break
        try:
            if isinstance(values, Fault):
                raise RowError(values.reason)
            if not any(is_filled(value) for value in values.values()):
                raise RowError("the row is empty")
            right = () if label is None else labels_in(value_at(values, label), rows.classes.get(label))
            labels.update(dict.fromkeys(right))  # of rows without a text, too: the column tells what its numbers mean
            written = text_in(value_at(values, text), "text", chosen.text)
            second = None if pair is None else value_at(values, pair)
            if pair is not None:
                second = None if may_lack and not is_filled(second) else text_in(second, "second text", chosen.pair)
            name = str(number) if identity is None else id_in(value_at(values, identity), identity)
            if name in places:
                raise RowError(f"the id {name!r} is that of {places[name]} too")
            reasons = None if marked is None else value_at(values, marked)
            spans = rationales_in(reasons, written, marked or "", right, rows.classes.get(label or ""))
        except RowError as error:
            skipped.append(SkippedRow(where, str(error)))
            continue
        places[name] = where
        single = right[0] if len(right) == 1 else None
        documents.append(InputDocument(name, written, second, single, spans, right if len(right) > 1 else ()))
    count = sum(bool(document.rationales) for document in documents)
    note = f"{count:,} of {len(documents):,} documents have marks of an annotation tool, read as rationales"
    tool = may_lack and chosen.rationales is None and count
    return DocumentTable(rows.name, tuple(documents), tuple(skipped), tuple(labels), note if tool else "")


def _none_right(name: str, skipped: Sequence[SkippedRow]) -> InputError:
    more = f" (and {len(skipped) - 1:,} more rows cannot be read)" if len(skipped) > 1 else ""
    return InputError(f"{name}, {skipped[0].place}: {skipped[0].reason}{more}")


def _labels_behind(
    source: str, column: str, labels: tuple[str, ...], split: str | None, encoding: str | None
) -> tuple[str, ...]:
    """Return the labels of a whole column, for numbers mean what the whole column lets them mean."""
    found = dict.fromkeys(labels)
    needed = [column.partition(".")[0], *(["split"] if split is not None else [])]
    try:
        rows = understood(read_rows(source, split, None, encoding, needed))
    except InputError:  # what is behind the limit may be broken: nobody asked for it
        return labels
    for _, values in rows.rows:
        with suppress(RowError):
            if not isinstance(values, Fault):
                found.update(dict.fromkeys(labels_in(value_at(values, column), rows.classes.get(column))))
    return tuple(found)


def _label_column(rows: Rows, chosen: _Columns) -> str | None:
    label = _optional(rows, chosen.label, LABELS, "--label")
    return label if chosen.label is not None or label is None else _filled(rows, label)


def _text_columns(rows: Rows, text: str | None, pair: str | None) -> tuple[str, str | None]:
    chosen = _chosen(rows, text, (*TEXTS, *PAIRS), "--text")
    fault = next((SkippedRow(where, v.reason) for where, v in rows.rows if isinstance(v, Fault)), None)
    if not rows.columns and fault is not None:
        raise _none_right(rows.name, [fault])
    if chosen is None:
        raise InputError(f"{rows.name} has no column 'text': choose one with --text; {_listed(rows)}{_nested(rows)}")
    if text is None and pair is None:
        return chosen, _chosen(rows, None, (PAIRS.get(chosen.lower(), ""),), "--pair")
    return chosen, _chosen(rows, pair, (), "--pair")


def _optional(rows: Rows, column: str | None, usual: Sequence[str], option: str) -> str | None:
    """Return a column as :func:`_chosen` does; an empty name chooses none."""
    return None if isinstance(column, str) and not column else _chosen(rows, column, usual, option)


def _chosen(rows: Rows, column: str | None, usual: Sequence[str], option: str) -> str | None:
    """Return the column that the user chose, or else the first usual one."""
    if column is not None:
        if options.text(column, "a column is chosen by its name") in rows.columns:
            return column
        if "." in column and any(value_at(v, column) is not None for _, v in rows.rows if not isinstance(v, Fault)):
            return column
        raise InputError(
            f"{rows.name} has no column {column!r}: choose another with {option}; {_listed(rows)}{_nested(rows)}"
        )
    by_name = {name.lower(): name for name in reversed(rows.columns)}
    return next((by_name[name] for name in usual if name in by_name), None)


def _filled(rows: Rows, label: str) -> str:
    """Return the column of labels, or the one of several labels beside it if it is empty, as in corpora."""
    several = next((column for column in rows.columns if column.lower() == "labels"), label)
    good = [values for _, values in rows.rows if not isinstance(values, Fault)]
    return label if any(is_filled(values.get(label)) for values in good) else several


def _listed(rows: Rows) -> str:
    names = [repr(column) for column in rows.columns]
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"its columns are {shown}" if names else "it has no columns"


def _nested(rows: Rows) -> str:
    """Return which columns have others in them, for the end of a sentence."""
    nested: Iterable[tuple[str, Mapping[str, Any]]] = (
        (column, value)
        for _, values in rows.rows[:20]
        if not isinstance(values, Fault)
        for column, value in values.items()
        if isinstance(value, Mapping) and value
    )
    column, inner = next(iter(nested), ("", {}))
    return f"; {column!r} has {', '.join(repr(f'{column}.{key}') for key in list(inner)[:10])}" if column else ""


def _refuse_vectors(rows: Rows, column: str) -> None:
    """Refuse vectors with a 0 or 1 for each label, which could be read as lists of class numbers.

    Raises:
        InputError: the column has them: a list says 0 or 1 twice, or all of its lists are as long and say nothing else.
    """
    cells = [(where, value_at(v, column)) for where, v in rows.rows if not isinstance(v, Fault)]
    lists = [(where, bits_in(value)) for where, value in cells if is_filled(value) or value == []]
    alike = len({len(bits) for _, bits in lists}) == 1
    where, bits = next(((w, bits) for w, bits in lists if bits and (alike or len(set(bits)) < len(bits))), ("", ()))
    if where:
        raise InputError(
            f"{rows.name}, {where}: {column!r} is {brief_value(list(bits))}, which looks like a vector with a 0 or 1 "
            f"for each label: write the names of the labels that are 1, as in ['joy', 'anger'], or read no labels with "
            f"--label ''"
        )


def _refuse_masks(rows: Rows, column: str) -> None:
    """Refuse masks of tokens, some of which could be read as ranges of characters.

    Raises:
        InputError: a row has one.
    """
    for where, values in rows.rows:
        spans = None if isinstance(values, Fault) else spans_in(value_at(values, column))
        if is_mask(spans):
            raise InputError(
                f"{rows.name}, {where}: {column!r} is {brief_value(spans)}, which looks like a mask of tokens, and a "
                f"list of [start, end] was expected, in characters of the text: convert it, or leave it out with "
                f"--rationales ''"
            )
