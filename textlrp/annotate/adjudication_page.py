"""The documents on which annotators disagree as one page, on which an adjudicator decides."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

from markupsafe import Markup

from textlrp.annotate.adjudication import Case, cases
from textlrp.annotate.annotations import Annotation, Rationale
from textlrp.annotate.page import ReaderView, reader_views
from textlrp.basics.version import __version__
from textlrp.render import html, palette
from textlrp.report.data import dump
from textlrp.report.reading import SentDocument, SentReport
from textlrp.results.graphemes import direction
from textlrp.results.spans import TEXT, TEXT_PAIR

_SHEETS = ("annotations.css", "adjudication.css")
_SCRIPTS = ("report_text", "report_store", "adjudication_words", "adjudication")


def adjudication_page(annotations: Iterable[Annotation], report: SentReport) -> str:
    """Return a page that loads nothing: the disputed documents, all marks side by side, and what to decide of each.

    Decisions are kept in the browser, and downloaded as annotations of format 2 with ``"adjudicated": true``
    (:func:`textlrp.annotate.annotations.read_annotations`).

    Args:
        annotations: the annotations.
        report: their report.
    """
    listed = cases(annotations, report)
    disputed = [case for case in listed if case.disputes]
    sheet, script = _sheet(), _script()
    block = {
        # A page made again from more annotations finds the decisions that it has; the report's own marks lie apart.
        "id": hashlib.sha256(f"adjudication of {report.id}".encode()).hexdigest(),
        "report": report.id,
        "labels": report.labels,
        "multi": report.multi,
        "blind": True,
        "cases": [_values(case) for case in disputed],
    }
    return (
        html.environment()
        .get_template("adjudication.html")
        .render(
            policy=html.policy(sheet, script),
            sheet=Markup(sheet),
            script=Markup(script),
            block=Markup(dump(block)),
            report=report,
            agreed=len(listed) - len(disputed),
            cases=[(number, case, *_views(case)) for number, case in enumerate(disputed, 1)],
            direction=direction,
            version=__version__,
        )
    )


def _views(case: Case) -> tuple[ReaderView, list[tuple[ReaderView, str]]]:
    """Return the model's view, and that of each annotator with the right label by them, or what they say instead.

    The model is folded away, so that marks name every label, that of the model, too.
    """
    document = case.marked.document
    model, *people = reader_views(replace(document, target=""), case.marked.annotations)
    said = [
        " and ".join(labels) if (labels := case.labels_by(annotation)) else view.verdict
        for view, annotation in zip(people, case.marked.annotations, strict=True)
    ]
    return model, list(zip(people, said, strict=True))


def _values(case: Case) -> dict[str, Any]:
    document = case.marked.document
    return {
        "id": document.id,
        "texts": [text for text in (document.text, document.text_pair) if text is not None],
        "words": [_lengths(document, source) for source in (TEXT, TEXT_PAIR)],
        "agreed": case.labels,
        "people": [
            {"name": each.annotator, "labels": case.labels_by(each), "rationales": _marks(case.words_by(each))}
            for each in case.marked.annotations
        ],
        "merged": _marks(case.merged),
        "common": _marks(case.common),
    }


def _lengths(document: SentDocument, source: str) -> list[int]:
    """Return where the first word of a text begins, and the length of each word."""
    words = [word for word in document.words if word.source == source]
    return [words[0].start if words else 0, *(word.end - word.start for word in words)]


def _marks(marks: Iterable[Rationale]) -> list[dict[str, Any]]:
    return [
        {
            "start": mark.start,
            "end": mark.end,
            "text": mark.text,
            "source": mark.source,
            "label": mark.label,
            "against": mark.against,
        }
        for mark in marks
    ]


@cache
def _sheet() -> str:
    return "\n".join([palette.stylesheet(), *map(html.source, _SHEETS)])


@cache
def _script() -> str:
    parts = "\n".join(html.source(f"{name}.js") for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();\n'
