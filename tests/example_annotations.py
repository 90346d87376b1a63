"""Annotations made by hand: what people send back of a report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from textlrp import Span
from textlrp.report.reading import SentDocument, SentReport


def document(identity: str, text: str, pair: str | None = None, predicted: str = "NEG", **changes: Any) -> SentDocument:
    values: dict[str, Any] = {
        "label": None,
        "words": (),
        "target": predicted,
        "chosen": (predicted,),
        "others": {},
        **changes,
    }
    return SentDocument(identity, text, pair, predicted=predicted, **values)


def sent(*documents: SentDocument, labels: tuple[str, ...] = ("NEG", "POS"), multi: bool = False) -> SentReport:
    return SentReport("5e" * 32, "tiny", labels, {each.id: each for each in documents}, multi)


REPORT = sent(
    document("a", "Not good 😀, truly bad."),
    document("b", "yes", "no"),
    document("c", "meh", words=(Span(0, 3, "meh", 1.0),)),
)


def line(**changes: Any) -> str:
    values = {
        "textlrp": "annotation",
        "format": 1,
        "report": REPORT.id,
        "annotator": "Ada",
        "document": "a",
        "verdict": "agree",
        "label": None,
        "comment": "",
        "rationales": [],
        "blind": True,
        "changed": "2026-01-31T12:00:00Z",
    }
    return json.dumps({key: value for key, value in {**values, **changes}.items() if value is not ...})


def second(**changes: Any) -> str:
    """A line by another annotator."""
    return line(annotator="Ben", **changes)


def mark(start: int, end: int, text: str, source: str = "text") -> dict[str, Any]:
    return {"start": start, "end": end, "text": text, "source": source}


def written(path: Path, *lines: str) -> Path:
    path.write_text("".join(each + "\n" for each in lines), encoding="utf-8")
    return path


#: The text of each document in :data:`REVIEWS`.
TEXT = "Not good, truly bad acting."
RELEVANCES = {"Not": 0.5, "good": -1.0, ",": 3.0, "truly": 0.25, "bad": 2.0, "acting": 0.0, ".": 0.0}


def reviewed(identity: str, **changes: Any) -> SentDocument:
    pieces = re.finditer(r"\w+|\s+|[,.]", TEXT)
    words = tuple(Span(m.start(), m.end(), m.group(), RELEVANCES.get(m.group(), 0.0)) for m in pieces)
    return document(identity, TEXT, words=words, **changes)


def marks(*texts: str) -> list[dict[str, Any]]:
    return [mark(TEXT.index(text), TEXT.index(text) + len(text), text) for text in texts]


REVIEWS = sent(*(reviewed(identity) for identity in "abcdef"))


ADA = [
    line(rationales=marks("Not", "bad")),
    line(document="b", comment="odd", blind=False),
    line(document="c", rationales=marks("truly bad")),
    line(document="d", verdict="unsure", rationales=marks(",")),
]


BEN = [
    line(annotator="Ben", rationales=marks("truly bad")),
    line(annotator="Ben", document="b", verdict="disagree", rationales=marks("good"), blind=False),
    line(annotator="Ben", document="c", rationales=marks("Not", "acting")),
    line(annotator="Ben", document="e", verdict="unsure", blind=False),
]
