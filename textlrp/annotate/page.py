"""Annotations as one page: numbers above, then each document, for the model and each annotator side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from markupsafe import Markup

from textlrp.annotate import table
from textlrp.annotate.annotations import AGREE, DISAGREE, UNSURE, Annotation, Rationale
from textlrp.annotate.comparison import Comparison, DocumentRow
from textlrp.basics.version import __version__
from textlrp.render import html, palette
from textlrp.report.reading import SentDocument, SentReport
from textlrp.results.graphemes import direction, whole_units
from textlrp.results.spans import TEXT, TEXT_PAIR

_VERDICTS = {AGREE: "agrees", DISAGREE: "disagrees", UNSURE: "is unsure", None: "gave no verdict"}
_LISTED = 100  # documents in the list of differences


@dataclass(frozen=True)
class StyledText:
    """A part of a text with its CSS class, which can be empty, and what is said of it."""

    text: str
    css: str = ""
    said: str = ""


@dataclass(frozen=True)
class ReaderView:
    """One reader's view of a document: the model's, or an annotator's.

    Attributes:
        name: the annotator's name; empty for the model.
        verdict: the reader's verdict in words.
        label: the right label by the annotator, or several, or None.
        comment: the annotator's comment.
        blind: whether the model's relevance was hidden; None for the model.
        passages: the parts of each text.
        marked: whether any words are marked.
    """

    name: str
    verdict: str
    label: str | None
    comment: str
    blind: bool | None
    passages: tuple[tuple[StyledText, ...], ...]
    marked: bool


@dataclass(frozen=True)
class Shown:
    """A document, its number on the page from 1, its measures, and the views of its readers, the model first."""

    number: int
    document: SentDocument
    row: DocumentRow
    columns: tuple[ReaderView, ...]


def page(annotations: Iterable[Annotation], report: SentReport, comparison: Comparison) -> str:
    """Return the page; it loads nothing and runs no script.

    Args:
        annotations: the annotations.
        report: their report.
        comparison: of the annotations, by :func:`textlrp.annotate.comparison.compare`.
    """
    by_document: dict[str, list[Annotation]] = {}
    for annotation in annotations:
        by_document.setdefault(annotation.document, []).append(annotation)
    documents = tuple(
        Shown(number, report.documents[row.id], row, reader_views(report.documents[row.id], by_document[row.id]))
        for number, row in enumerate(comparison.documents, 1)
    )
    differing = [shown for shown in documents if shown.row.labels_equal is False]
    sheet = _sheet()
    return (
        html.environment()
        .get_template("annotations.html")
        .render(
            policy=html.policy(sheet),
            sheet=Markup(sheet),
            comparison=comparison,
            documents=documents,
            differing=differing[:_LISTED],
            differing_more=len(differing) - _LISTED,
            figures=_figures(comparison),
            table=table,
            direction=direction,  # Chromium takes long to find it in a text of many spans
            version=__version__,
        )
    )


def _figures(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Return the most important numbers: name, value, and number of documents."""
    number = table.number
    figures = []
    if len(comparison.annotators) > 1:
        basis = _counted(comparison.alpha_documents)
        figures.append(("People’s labels (alpha)", number(comparison.alpha), basis))
    row = comparison.everyone or comparison.rows[0]
    if comparison.people is not None:
        figures.append(
            ("A person’s words and another’s (token F1)", number(comparison.people.token_f1), _counted(row.documents))
        )
    if row.model is not None and row.chance is not None:
        basis = f"{_counted(row.documents)}; by chance {number(row.chance.token_f1)}"
        figures.append(("The model’s words and a person’s (token F1)", number(row.model.token_f1), basis))
    return figures


def _counted(count: int) -> str:
    return f"{count:,} document{'' if count == 1 else 's'}"


def reader_views(document: SentDocument, annotations: Sequence[Annotation]) -> tuple[ReaderView, ...]:
    """Return the model's view of a document, and after it that of each annotator."""
    texts = [(TEXT, document.text)] + ([(TEXT_PAIR, document.text_pair)] if document.text_pair is not None else [])
    strongest = max((abs(word.relevance) for word in document.words), default=0.0)
    verdict = f"says {document.predicted}"
    colored = tuple(_colored(document, source, text, strongest) for source, text in texts)
    columns = [ReaderView("", verdict, None, "", None, colored, True)]
    for annotation in annotations:
        underlined = tuple(_underlined(annotation, document, source, text) for source, text in texts)
        columns.append(
            ReaderView(
                annotation.annotator,
                _VERDICTS[annotation.verdict],
                None if annotation.labels is None else ", ".join(annotation.labels) or "none",
                annotation.comment.strip(),
                annotation.blind,
                underlined,
                bool(annotation.rationales),
            )
        )
    return tuple(columns)


def _colored(document: SentDocument, source: str, text: str, strongest: float) -> tuple[StyledText, ...]:
    words = tuple(word for word in document.words if word.source == source)
    ranges = [
        (span.start, span.end, palette.css_class(span.relevance / strongest) if strongest else "", "")
        for span in whole_units(text, words)
    ]
    start, end = (words[0].start, words[-1].end) if words else (0, 0)
    unread = [(0, start, "unread", "")] if start else []
    return _pieces(text, [*unread, *ranges, *([(end, len(text), "unread", "")] if end < len(text) else [])])


def _underlined(annotation: Annotation, document: SentDocument, source: str, text: str) -> tuple[StyledText, ...]:
    marks = [mark for mark in annotation.rationales if mark.source == source]
    return _pieces(text, [(mark.start, mark.end, "marked", _side(mark, document)) for mark in marks])


def _side(mark: Rationale, document: SentDocument) -> str:
    """Return what marked words speak for or against, unless that is the explained label."""
    if mark.label is None or (mark.label == document.target and not mark.against):
        return ""
    return f"{'against' if mark.against else 'for'} {mark.label}"


def _pieces(text: str, ranges: Iterable[tuple[int, int, str, str]]) -> tuple[StyledText, ...]:
    """Cut a text at ranges in reading order; the text between them has no class."""
    parts: list[StyledText] = []
    at = plain = 0
    for start, end, css, said in ranges:
        start = max(start, at)
        if not css or start >= end:
            continue
        if start > plain:
            parts.append(StyledText(text[plain:start]))
        parts.append(StyledText(text[start:end], css, said))
        at = plain = end
    if plain < len(text):
        parts.append(StyledText(text[plain:]))
    return tuple(parts)


@cache
def _sheet() -> str:
    return f"{palette.stylesheet()}{html.source('annotations.css')}"
