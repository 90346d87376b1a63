"""The data of a report: records as compact JSON, for the page of a report."""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textlrp.basics.characters import encodable
from textlrp.errors import InputError
from textlrp.render.format import number
from textlrp.render.verdict import PINNED, Part, color_end, none_reached, sentences
from textlrp.report.validation import STEPS
from textlrp.results import probabilities

if TYPE_CHECKING:
    from textlrp.data.records import Record
    from textlrp.results.explanation import Explanation

FORMAT = 2

#: The columns of the documents: a key for each column, not for each value.
#: ``words`` and ``sentences`` have a list for the text, and one for the second text of a pair: the start of the first
#: word and the length of every word; the number of words of every sentence.
#: ``explained`` has a row for each explanation: view, logit, probability, unit, relevances in units, the strongest
#: word's share of the full color, what is said of it (texts, and names as lists of one), and the words and sentences
#: again if they differ from those of the document.
#: ``label`` is the number of the right label, a list of numbers if there are several, or null.
COLUMNS = (
    "id",
    "text",
    "text_pair",
    "label",
    "predicted",
    "confidence",
    "words",
    "sentences",
    "rationales",
    "explained",
)

_LABEL, _PREDICTED, _EXPLAINED = (COLUMNS.index(name) for name in ("label", "predicted", "explained"))

_UNIT, _SHARE = 3, 5  # among the values of an explanation
_PALE = 0.9

_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}

Row = list[Any]


@dataclass(frozen=True)
class ReportData:
    """The data of a report.

    Attributes:
        id: the SHA-256 of everything below, in hexadecimal digits; the browser stores marks under it.
        model: the model's name, or several.
        rules: the names of the rules.
        labels: the model's labels, followed by labels in the data that it does not know.
        views: the explained targets, with their contrasts or None, as indices of labels.
        independent: whether every text may have several labels, or none.
        color_end: the relevance at the end of the color scale that all documents share.
        rows: one for each document, in the order of :data:`COLUMNS`.
    """

    id: str
    model: str
    rules: str
    labels: tuple[str, ...]
    views: tuple[tuple[int, int | None], ...]
    independent: bool
    color_end: float
    rows: tuple[Row, ...]

    def page(self, rows: Sequence[Row], **more: Any) -> dict[str, Any]:
        """Return the data of a page with some of the documents, as JSON-ready values."""
        columns = {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}
        return {**self.head(), **more, "documents": columns}

    def head(self) -> dict[str, Any]:
        """Return the values that all pages of the report share, JSON-ready."""
        return {
            "format": FORMAT,
            "id": self.id,
            "model": self.model,
            "rules": self.rules,
            "labels": list(self.labels),
            "views": [list(view) for view in self.views],
            "steps": STEPS,
            "independent": self.independent,
            "color_end": self.color_end,
        }


class Builder:
    """Builds the data of a report from one record after the other; of a record, only its row is kept."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._known: dict[str, None] = {}
        self._labels_in_data: set[str] = set()
        self._models: dict[str, None] = {}
        self._rules: dict[str, None] = {}
        # The order of labels and views is known after the last record; until then, they are numbered as they come.
        self._labels: dict[str, int] = {}
        self._views: dict[tuple[int, int | None], int] = {}
        self._independent = True
        self._rows: list[Row] = []

    def add(self, record: Record) -> None:
        """Add a record.

        Raises:
            InputError: another record has the same id.
        """
        if encodable(record.id) in self._ids:
            raise InputError(f"two documents have the id {record.id!r}: give each its own")
        self._ids.add(encodable(record.id))
        names = [encodable(name) for e in record.explanations for name in (*e.logits, e.predicted, e.target)]
        self._known.update(dict.fromkeys(names))
        given = list(map(encodable, record.right))
        names += given
        self._labels_in_data.update(given)
        for name in names:
            self._labels.setdefault(name, len(self._labels))
        for e in record.explanations:
            self._independent &= probabilities.independent(e)
            self._models.update({encodable(e.model): None} if e.model else {})
            self._rules.update({encodable(e.rules): None} if e.rules else {})
            self._views.setdefault(_view(e, self._labels), len(self._views))
        self._rows.append(_row(record, self._labels, self._views))

    def finish(self) -> ReportData:
        """Return the data of the report; no record can be added afterwards.

        Raises:
            InputError: there are no records.
        """
        if not self._rows:
            raise InputError("there is nothing to report: no document has an explanation")
        ordered = {label: i for i, label in enumerate([*self._known, *sorted(self._labels_in_data - set(self._known))])}
        labels = {number: ordered[label] for label, number in self._labels.items()}
        views = {
            (labels[target], None if contrast is None else labels[contrast]): number
            for (target, contrast), number in self._views.items()
        }
        sorted_views = sorted(views, key=_place)
        moved = {views[view]: i for i, view in enumerate(sorted_views)}
        for row in self._rows:
            given = [labels[number] for number in row[_LABEL]]
            row[_LABEL] = given if len(given) > 1 else given[0] if given else None
            row[_PREDICTED] = labels[row[_PREDICTED]]
            for explained in row[_EXPLAINED]:
                explained[0] = moved[explained[0]]
        rows, model, rules = tuple(self._rows), ", ".join(self._models), ", ".join(self._rules)
        identity = digest(model, rules, list(ordered), list(sorted_views), rows)
        # Documents with stronger words than nine tenths of the others would leave these pale.
        ends = sorted(row[_UNIT] * STEPS / row[_SHARE] for document in rows for row in document[_EXPLAINED])
        shared = _rounded(ends[math.ceil(_PALE * (len(ends) - 1))], 6) or 0.0
        return ReportData(identity, model, rules, tuple(ordered), tuple(sorted_views), self._independent, shared, rows)


def build(records: Iterable[Record]) -> ReportData:
    """Return the data of a report.

    Raises:
        InputError: there are no records, or two have the same id.
    """
    builder = Builder()
    for record in records:
        builder.add(record)
    return builder.finish()


def pages_of(data: ReportData, documents: int, size: int) -> list[tuple[Row, ...]]:
    """Return the rows of each page: at most ``documents``, and at most ``size`` bytes unless it is a single one."""
    pages: list[list[Row]] = [[]]
    used = 0
    for row in data.rows:
        needed = len(dump(row).encode())
        if pages[-1] and (len(pages[-1]) >= documents or used + needed > size):
            pages.append([])
            used = 0
        pages[-1].append(row)
        used += needed
    return [tuple(page) for page in pages]


def dump(values: Any) -> str:
    """Return compact JSON that is safe inside a script element."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)


def _row(record: Record, labels: Mapping[str, int], views: Mapping[tuple[int, int | None], int]) -> Row:
    first = record.explanations[0]
    words, sentences = _layout(first)
    explained = []
    for e in record.explanations:
        row = _explained(e, views[_view(e, labels)])
        layout = _layout(e)
        explained.append([*row, _said(e), *(() if layout == (words, sentences) else layout)])
    confidence = first.probabilities.get(first.predicted)
    return [
        encodable(record.id),
        encodable(first.text),
        None if first.text_pair is None else encodable(first.text_pair),
        [labels[encodable(name)] for name in record.right],
        labels[encodable(first.predicted)],
        _rounded(confidence),
        words,
        sentences,
        [list(span) for span in record.rationales],
        explained,
    ]


def _explained(e: Explanation, view: int) -> list[Any]:
    relevances = [word.relevance for word in e.words]
    strongest = max(map(abs, relevances), default=0.0)
    unit = _rounded(strongest / STEPS, 6)
    share = _rounded(strongest / color_end(e, e.words), 4) if strongest else 1.0
    # A tiny unit has lost digits, so steps are clamped.
    steps = [max(-STEPS, min(STEPS, round(value / unit))) if unit else 0 for value in relevances]
    return [view, _rounded(e.logit), _rounded(e.probabilities.get(e.target)), unit, steps, share]


def _said(e: Explanation) -> list[Any]:
    """Return whether a label is reached, what is said of the words, and of the reference if there is one."""
    none = none_reached(e)
    parts = [*none, *([Part(". ")] if none else []), *sentences(e, number)]
    said: list[Any] = [[encodable(part.text)] if part.is_name else part.text for part in parts]
    return [*said, *([f" {PINNED}"] if e.ledger.pinned else [])]


def _layout(e: Explanation) -> tuple[list[list[int]], list[list[int]]]:
    """Return the columns ``words`` and ``sentences`` of an explanation."""
    words, sentences = [], []
    for source, _, _ in e.texts:
        of_source = [word for word in e.words if word.source == source]
        ends = [word.end for word in of_source]
        edges = [min(bisect_left(ends, s.end) + 1, len(of_source)) for s in e.sentences if s.source == source]
        words.append([of_source[0].start if of_source else 0, *(word.end - word.start for word in of_source)])
        sentences.append([after - before for before, after in zip([0, *edges], edges, strict=False) if after > before])
    return words, sentences


def _view(e: Explanation, labels: Mapping[str, int]) -> tuple[int, int | None]:
    return labels[encodable(e.target)], None if e.contrast is None else labels[encodable(e.contrast)]


def _place(view: tuple[int, int | None]) -> tuple[int, int]:
    return view[0], -1 if view[1] is None else view[1]


def _rounded(value: float | None, digits: int = 5) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")


def digest(model: Any, rules: Any, labels: Any, views: Any, rows: Iterable[Sequence[Any]]) -> str:
    sha256 = hashlib.sha256(dump([FORMAT, model, rules, labels, views]).encode())
    for row in rows:
        sha256.update(b"\n" + dump(row).encode())
    return sha256.hexdigest()
