"""Annotations side by side as one page: numbers above, then each document once for the model and once a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from markupsafe import Markup

from textlrp.annotate import table
from textlrp.annotate.annotations import AGREE, DISAGREE, UNSURE, Annotation
from textlrp.annotate.comparison import Comparison, DocumentRow
from textlrp.basics.version import __version__
from textlrp.render import html, palette
from textlrp.report.reading import SentDocument, SentReport
from textlrp.results.graphemes import direction, whole_units
from textlrp.results.spans import TEXT, TEXT_PAIR

_VERDICTS = {AGREE: "agrees", DISAGREE: "disagrees", UNSURE: "is unsure", None: "gave no verdict"}
_LISTED = 100  # documents that are named in the list of differences


@dataclass(frozen=True)
class StyledText:
    """A stretch of text with its class; empty where it has none."""

    text: str
    css: str = ""


@dataclass(frozen=True)
class ReaderView:
    """One reader's view of a document: the model's, or an annotator's.

    Attributes:
        name: the annotator's name; empty for the model.
        said: what the reader said of the label.
        label: the right label that the annotator gave, or None.
        comment: the annotator's comment.
        blind: whether the model's relevance was hidden; None for the model.
        passages: each text in pieces.
        marked: whether any words are marked.
    """

    name: str
    said: str
    label: str | None
    comment: str
    blind: bool | None
    passages: tuple[tuple[StyledText, ...], ...]
    marked: bool


@dataclass(frozen=True)
class Shown:
    """A document, its place on the page from 1, its numbers, and what everyone made of it, the model first."""

    number: int
    document: SentDocument
    row: DocumentRow
    columns: tuple[ReaderView, ...]


def page(annotations: Iterable[Annotation], report: SentReport, found: Comparison) -> str:
    """Return a whole page; nothing in it comes from outside, and it runs no script.

    Args:
        annotations: what was compared.
        report: the report that they were made in.
        found: what :func:`textlrp.annotate.comparison.compare` made of them.
    """
    by_document: dict[str, list[Annotation]] = {}
    for each in annotations:
        by_document.setdefault(each.document, []).append(each)
    documents = tuple(
        Shown(number, report.documents[row.id], row, _columns(report.documents[row.id], by_document[row.id]))
        for number, row in enumerate(found.documents, 1)
    )
    differing = [each for each in documents if each.row.labels_equal is False]
    sheet = _sheet()
    return (
        html.environment()
        .get_template("annotations.html")
        .render(
            policy=html.policy(sheet),
            sheet=Markup(sheet),
            found=found,
            documents=documents,
            differing=differing[:_LISTED],
            differing_more=len(differing) - _LISTED,
            figures=_figures(found),
            table=table,
            direction=direction,  # Chromium takes long to find it in a text of many spans
            version=__version__,
        )
    )


def _figures(found: Comparison) -> list[tuple[str, str, str]]:
    """The numbers that most readers look for: what, how much, on how many documents."""
    number = table.number
    figures = []
    if len(found.annotators) > 1:
        figures.append(("People’s labels (alpha)", number(found.alpha), _counted(found.alpha_documents)))
    row = found.everyone or found.rows[0]
    if found.people is not None:
        figures.append(
            ("A person’s words and another’s (token F1)", number(found.people.token_f1), _counted(row.documents))
        )
    if row.model is not None and row.chance is not None:
        basis = f"{_counted(row.documents)}; by chance {number(row.chance.token_f1)}"
        figures.append(("The model’s words and a person’s (token F1)", number(row.model.token_f1), basis))
    return figures


def _counted(count: int) -> str:
    return f"{count:,} document{'' if count == 1 else 's'}"


def _columns(document: SentDocument, annotations: Sequence[Annotation]) -> tuple[ReaderView, ...]:
    texts = [(TEXT, document.text)] + ([(TEXT_PAIR, document.text_pair)] if document.text_pair is not None else [])
    strongest = max((abs(word.relevance) for word in document.words), default=0.0)
    said = f"says {document.predicted}"
    colored = tuple(_colored(document, source, text, strongest) for source, text in texts)
    columns = [ReaderView("", said, None, "", None, colored, True)]
    for each in annotations:
        underlined = tuple(_underlined(each, source, text) for source, text in texts)
        columns.append(
            ReaderView(
                each.annotator,
                _VERDICTS[each.verdict],
                each.label,
                each.comment.strip(),
                each.blind,
                underlined,
                bool(each.rationales),
            )
        )
    return tuple(columns)


def _colored(document: SentDocument, source: str, text: str, strongest: float) -> tuple[StyledText, ...]:
    words = tuple(word for word in document.words if word.source == source)
    ranges = [
        (span.start, span.end, palette.css_class(span.relevance / strongest) if strongest else "")
        for span in whole_units(text, words)
    ]
    start, end = (words[0].start, words[-1].end) if words else (0, 0)
    unread = [(0, start, "unread")] if start else []
    return _pieces(text, [*unread, *ranges, *([(end, len(text), "unread")] if end < len(text) else [])])


def _underlined(annotation: Annotation, source: str, text: str) -> tuple[StyledText, ...]:
    return _pieces(text, [(m.start, m.end, "marked") for m in annotation.rationales if m.source == source])


def _pieces(text: str, ranges: Iterable[tuple[int, int, str]]) -> tuple[StyledText, ...]:
    """Cut a text at ranges in reading order; neighbors without a class are one piece."""
    found: list[StyledText] = []
    at = plain = 0
    for start, end, css in ranges:
        start = max(start, at)
        if not css or start >= end:
            continue
        if start > plain:
            found.append(StyledText(text[plain:start]))
        found.append(StyledText(text[start:end], css))
        at = plain = end
    if plain < len(text):
        found.append(StyledText(text[plain:]))
    return tuple(found)


@cache
def _sheet() -> str:
    return f"{palette.stylesheet()}{html.source('annotations.css')}"
