"""What is inside a report's file: compact JSON, built from records, read back from the HTML."""

from __future__ import annotations

import hashlib
import json
import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlrp.basics import readable
from textlrp.errors import InputError
from textlrp.report import checks
from textlrp.report.checks import STEPS
from textlrp.results.saved import is_as_written, is_format
from textlrp.results.spans import TEXT, TEXT_PAIR, Span

if TYPE_CHECKING:
    from textlrp.data.records import Record
    from textlrp.results.explanation import Explanation

_FORMAT = 1

#: What a document has, each a column of its own: keys are written once, not once a document.
#: ``words`` and ``sentences`` have a list for the text, and one for the second text of a pair: of words, where the
#: first starts and how many characters each has; of sentences, how many words each has.
#: ``explained`` has a row for each explanation: view, logit, probability, unit, relevances in units, and the words and
#: sentences again where they are not those of the document.
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

_HALF_PAIR = re.compile("[\ud800-\udfff]")
_BLOCK = re.compile(r'<script type="application/json" id="textlrp-data">(.*?)</script>', re.DOTALL)
_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}

Row = list[Any]


@dataclass(frozen=True)
class ReportData:
    """The data of a report.

    Attributes:
        id: the SHA-256 of everything below, in hexadecimal digits; marks are kept under it.
        model: the model's name, or several.
        rules: the names of the rules.
        labels: the model's labels, and behind them those in the data that it does not know.
        views: what was explained: the index of the target and that of the contrast, or None.
        rows: one for each document, in the order of :data:`COLUMNS`.
    """

    id: str
    model: str
    rules: str
    labels: tuple[str, ...]
    views: tuple[tuple[int, int | None], ...]
    rows: tuple[Row, ...]

    def page(self, rows: Sequence[Row], **more: Any) -> dict[str, Any]:
        """Return the data of a page with some of the documents, as JSON-ready values."""
        columns = {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}
        return {**self.head(), **more, "documents": columns}

    def head(self) -> dict[str, Any]:
        """Return what every page of the report has, as JSON-ready values."""
        return {
            "format": _FORMAT,
            "id": self.id,
            "model": self.model,
            "rules": self.rules,
            "labels": list(self.labels),
            "views": [list(view) for view in self.views],
            "steps": STEPS,
        }


@dataclass(frozen=True)
class SentDocument:
    """A document as it stands in a report.

    Attributes:
        id: unique within the report.
        text, text_pair: the text, and the second one of a pair.
        label: the label given in the data, or None.
        predicted: the label that the model gave.
        words: the words of the first explanation, with four digits of their relevance.
        target: the label that it explains.
    """

    id: str
    text: str
    text_pair: str | None
    label: str | None
    predicted: str
    words: tuple[Span, ...]
    target: str


@dataclass(frozen=True)
class Sent:
    """A report as annotators got it.

    Attributes:
        id: what every mark made in it names.
        model: the model's name.
        labels: the labels that annotators choose from.
        documents: by their ids, in the report's order.
    """

    id: str
    model: str
    labels: tuple[str, ...]
    documents: Mapping[str, SentDocument]


def whole(text: str) -> str:
    """Return a text with each half of a surrogate pair, which UTF-8 cannot hold, replaced by U+FFFD."""
    return _HALF_PAIR.sub("\ufffd", text)


class Builder:
    """Makes the data of a report from one record after the other; what is kept of a record is its row."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._known: dict[str, None] = {}
        self._given: set[str] = set()
        self._models: dict[str, None] = {}
        self._rules: dict[str, None] = {}
        # Which place a label or a view has is known when all records are: until then, they are counted as they come.
        self._labels: dict[str, int] = {}
        self._views: dict[tuple[int, int | None], int] = {}
        self._rows: list[Row] = []

    def add(self, record: Record) -> None:
        """Take in a record.

        Raises:
            InputError: its id is that of another one.
        """
        if whole(record.id) in self._ids:
            raise InputError(f"two documents have the id {record.id!r}: give each its own")
        self._ids.add(whole(record.id))
        names = [whole(name) for e in record.explanations for name in (*e.logits, e.predicted, e.target)]
        self._known.update(dict.fromkeys(names))
        if record.label is not None:
            names.append(whole(record.label))
            self._given.add(whole(record.label))
        for name in names:
            self._labels.setdefault(name, len(self._labels))
        for e in record.explanations:
            self._models.update({whole(e.model): None} if e.model else {})
            self._rules.update({whole(e.rules): None} if e.rules else {})
            self._views.setdefault(_view(e, self._labels), len(self._views))
        self._rows.append(_row(record, self._labels, self._views))

    def finish(self) -> ReportData:
        """Return the data of the report; nothing is added afterwards.

        Raises:
            InputError: there are no records.
        """
        if not self._rows:
            raise InputError("there is nothing to report: no document has an explanation")
        ordered = {label: i for i, label in enumerate([*self._known, *sorted(self._given - set(self._known))])}
        labels = {number: ordered[label] for label, number in self._labels.items()}
        views = {
            (labels[target], None if contrast is None else labels[contrast]): number
            for (target, contrast), number in self._views.items()
        }
        sorted_views = sorted(views, key=_place)
        moved = {views[view]: i for i, view in enumerate(sorted_views)}
        for row in self._rows:
            row[_LABEL] = None if row[_LABEL] is None else labels[row[_LABEL]]
            row[_PREDICTED] = labels[row[_PREDICTED]]
            for explained in row[_EXPLAINED]:
                explained[0] = moved[explained[0]]
        rows, model, rules = tuple(self._rows), ", ".join(self._models), ", ".join(self._rules)
        digest = _digest(model, rules, list(ordered), list(sorted_views), rows)
        return ReportData(digest, model, rules, tuple(ordered), tuple(sorted_views), rows)


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
    """Return the documents of each page: at most ``documents``, and at most ``size`` bytes of more than one."""
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
    """Return compact JSON that can stand inside a script element."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)


def read_report(path: str | Path) -> Sent:
    """Read back what a report holds, from its one page, or from all pages of a split one, given its index.

    Raises:
        InputError: a file is missing, is no report, or was changed.
    """
    path = Path(path)
    files = {path: _html(path)}
    data = _block(path, files[path])
    page = data.get("page")
    if page is not None:
        raise InputError(
            f"{str(path)!r} is page {page.get('number')} of a report of several: give its first file, "
            f"{page.get('index')!r}"
        )
    names = data.get("pages")
    pages = [data]
    if names is not None:
        files |= {path.with_name(name): _html(path.with_name(name)) for name in _names(names, path)}
        pages = [_page(path, path.with_name(name), files[path.with_name(name)], data) for name in names]
    try:
        rows = [list(row) for each in pages for row in zip(*_columns(each), strict=True)]
        if data["id"] != _digest(data["model"], data["rules"], data["labels"], data["views"], rows):
            raise InputError("its data do not fit its id")
        found = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        checks.check(data, [] if names is None else pages, found)
        sent = _sent(data, found)
    except InputError as error:
        raise InputError(f"{str(path)!r} was changed: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
        raise InputError(f"{str(path)!r} was changed: what is inside is no report any more") from None
    for file, html in files.items():
        if not is_as_written(html):
            raise InputError(f"{str(file)!r} was changed: it is not as textlrp wrote it, for its digest does not fit")
    return sent


def _row(record: Record, labels: Mapping[str, int], views: Mapping[tuple[int, int | None], int]) -> Row:
    first = record.explanations[0]
    words, sentences = _layout(first)
    explained = []
    for e in record.explanations:
        row = _explained(e, views[_view(e, labels)])
        layout = _layout(e)
        explained.append(row if layout == (words, sentences) else [*row, *layout])
    confidence = first.probabilities.get(first.predicted)
    return [
        whole(record.id),
        whole(first.text),
        None if first.text_pair is None else whole(first.text_pair),
        None if record.label is None else labels[whole(record.label)],
        labels[whole(first.predicted)],
        _rounded(confidence),
        words,
        sentences,
        [list(span) for span in record.rationales],
        explained,
    ]


def _explained(e: Explanation, view: int) -> list[Any]:
    relevances = [word.relevance for word in e.words]
    unit = _rounded(max(map(abs, relevances), default=0.0) / STEPS, 6)
    # A unit that is almost zero has few digits left.
    steps = [max(-STEPS, min(STEPS, round(value / unit))) if unit else 0 for value in relevances]
    return [view, _rounded(e.logit), _rounded(e.probabilities.get(e.target)), unit, steps]


def _layout(e: Explanation) -> tuple[list[list[int]], list[list[int]]]:
    """Return the columns ``words`` and ``sentences`` of an explanation."""
    words, sentences = [], []
    for source, _, _ in e.texts:
        own = [word for word in e.words if word.source == source]
        ends = [word.end for word in own]
        edges = [min(bisect_left(ends, s.end) + 1, len(own)) for s in e.sentences if s.source == source]
        words.append([own[0].start if own else 0, *(word.end - word.start for word in own)])
        sentences.append([after - before for before, after in zip([0, *edges], edges, strict=False) if after > before])
    return words, sentences


def _view(e: Explanation, labels: Mapping[str, int]) -> tuple[int, int | None]:
    return labels[whole(e.target)], None if e.contrast is None else labels[whole(e.contrast)]


def _place(view: tuple[int, int | None]) -> tuple[int, int]:
    return view[0], -1 if view[1] is None else view[1]


def _rounded(value: float | None, digits: int = 5) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")


def _digest(model: Any, rules: Any, labels: Any, views: Any, rows: Iterable[Sequence[Any]]) -> str:
    digest = hashlib.sha256(dump([_FORMAT, model, rules, labels, views]).encode())
    for row in rows:
        digest.update(b"\n" + dump(row).encode())
    return digest.hexdigest()


def _html(path: Path) -> str:
    try:
        readable.check(path)
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{str(path)!r} is no report of textlrp: it is not UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None


def _block(path: Path, html: str) -> dict[str, Any]:
    found = _BLOCK.search(html)
    try:
        data = json.loads(found[1]) if found else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise InputError(f"{str(path)!r} is no report of textlrp: it holds no data")
    if not is_format(data.get("format"), _FORMAT):
        raise InputError(
            f"{str(path)!r} has format {data.get('format')}, and this version of textlrp reads reports of format "
            f"{_FORMAT}"
        )
    return data


def _names(names: Any, path: Path) -> list[str]:
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise InputError(f"{str(path)!r} was changed: it does not list its pages")
    for name in names:
        if (
            name in ("", ".", "..") or Path(name).name != name or "\\" in name or "\0" in name
        ):  # nothing outside the report's own folder is read
            raise InputError(f"{str(path)!r} was changed: its page {name!r} is not the name of a file beside it")
    return names


def _page(index: Path, path: Path, html: str, data: Mapping[str, Any]) -> dict[str, Any]:
    page = _block(path, html)
    if page.get("id") != data.get("id"):
        raise InputError(f"{str(path)!r} belongs to another report than {str(index)!r}")
    return page


def _columns(page: Mapping[str, Any]) -> list[list[Any]]:
    return [page["documents"][name] for name in COLUMNS]


def _sent(data: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Sent:
    labels, views = data["labels"], data["views"]
    documents = {}
    for row in rows:
        view, _, _, unit, relevances = row["explained"][0][:5]
        documents[row["id"]] = SentDocument(
            row["id"],
            row["text"],
            row["text_pair"],
            None if row["label"] is None else labels[row["label"]],
            labels[row["predicted"]],
            _words(row, unit, relevances),
            labels[views[view][0]],
        )
    return Sent(data["id"], data["model"], tuple(labels), documents)


def _words(values: Mapping[str, Any], unit: float, relevances: Iterable[int]) -> tuple[Span, ...]:
    steps = iter(relevances)
    spans = []
    for source, words in zip((TEXT, TEXT_PAIR), values["words"], strict=False):
        start = words[0]
        for length in words[1:]:
            end = start + length
            spans.append(Span(start, end, values[source][start:end], next(steps) * unit, source=source))
            start = end
    return tuple(spans)
