"""The marks of an export: the spans with the most relevance, their labels, and offsets in the units of other tools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from textlrp.basics import options
from textlrp.basics.characters import encodable
from textlrp.data.records import Record
from textlrp.errors import InputError
from textlrp.results import segmentation
from textlrp.results.explanation import Explanation
from textlrp.results.grouping import UNITS
from textlrp.results.spans import merge_overlaps

#: The share of the strongest relevance that a span needs to be marked.
THRESHOLD = 0.1


@dataclass(frozen=True)
class Selection:
    """The choice of the spans to mark.

    Attributes:
        by: ``"word"``, ``"token"`` or ``"sentence"``.
        threshold: the least share of the strongest relevance, 0 to 1.
        top: the number of spans with the most relevance of either sign to mark, instead of a threshold.

    Raises:
        InputError: one of them is out of range.
    """

    by: str = "word"
    threshold: float = THRESHOLD
    top: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.by, str) or self.by not in UNITS:
            raise InputError(f"a text is marked by {', '.join(UNITS)}, not by {self.by!r}")
        threshold = options.real(self.threshold, "threshold is a share of the strongest relevance, 0 to 1", 0, 1)
        object.__setattr__(self, "threshold", threshold)
        if self.top is not None:
            object.__setattr__(self, "top", options.whole(self.top, "top is a number of spans, 1 or more", 1))


@dataclass(frozen=True, slots=True)
class Mark:
    """A marked span, without white space at its ends.

    Attributes:
        start, end: half-open character range in its text.
        text: exactly those characters.
        label: what the span supports, such as ``"for POS"``.
        relevance: in logit units, with its sign.
        share: its size relative to the strongest of the explanation, 0 to 1.
        source: the text that it belongs to, ``"text"`` or ``"text_pair"``.
    """

    start: int
    end: int
    text: str
    label: str
    relevance: float
    share: float
    source: str


@dataclass(frozen=True)
class Entry:
    """One text with one explanation, for tools without pairs and several targets.

    Attributes:
        record: the document.
        explanation: one of its explanations.
        source: which of its texts, ``"text"`` or ``"text_pair"``.
        text: that text; halves of surrogate pairs, which UTF-8 cannot hold, are U+FFFD.
        marks: its marks, in reading order, never overlapping.
    """

    record: Record
    explanation: Explanation
    source: str
    text: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class SpacedToken:
    """A token of a text: ``[start, end)``, and whether a space outside all tokens follows."""

    start: int
    end: int
    space: bool


def label(explanation: Explanation, relevance: float) -> str:
    """Return the label of a relevance: for the target, or against it; with a contrast, for the contrast."""
    if relevance > 0:
        return encodable(f"for {explanation.target}")
    return encodable(f"against {explanation.target}" if explanation.contrast is None else f"for {explanation.contrast}")


def labels(records: Iterable[Record]) -> dict[str, int]:
    """Return every label that marks of the records can have, with the sign of its relevance, in order."""
    signs: dict[str, int] = {}
    for record in records:
        for explanation in record.explanations:
            for sign in (1, -1):
                signs.setdefault(label(explanation, sign), sign)
    return signs


def select(explanation: Explanation, selection: Selection) -> tuple[Mark, ...]:
    """Return the marked spans of an explanation: those of its first text in reading order, then those of the second.

    Overlapping spans (bytes of one character) are marked together. Spans of white space or without relevance are never
    marked.
    """
    marks: list[Mark] = []
    units = explanation.units(selection.by)
    for source, text, _ in explanation.texts:
        for span in merge_overlaps(tuple(unit for unit in units if unit.source == source)):
            inner = span.text.strip()
            if inner and span.relevance:
                start = span.start + span.text.index(inner)
                end = start + len(inner)
                name = label(explanation, span.relevance)
                marks.append(Mark(start, end, encodable(text[start:end]), name, span.relevance, 0.0, source))
    strongest = max((abs(mark.relevance) for mark in marks), default=0.0)
    if selection.top is None:
        kept = [i for i, mark in enumerate(marks) if abs(mark.relevance) >= selection.threshold * strongest]
    else:
        kept = sorted(sorted(range(len(marks)), key=lambda i: -abs(marks[i].relevance))[: selection.top])
    return tuple(replace(marks[i], share=abs(marks[i].relevance) / strongest) for i in kept)


def entries(records: Iterable[Record], selection: Selection) -> Iterator[Entry]:
    """Yield one entry for each text of each explanation."""
    for record in records:
        for explanation in record.explanations:
            marks = select(explanation, selection)
            for source, text, _ in explanation.texts:
                of_source = tuple(mark for mark in marks if mark.source == source)
                yield Entry(record, explanation, source, encodable(text), of_source)


def tokenize(text: str, marks: Sequence[Mark]) -> list[SpacedToken]:
    """Return a text as tokens: its words, cut where a mark begins or ends, so that marks are runs of tokens.

    A single space after a token belongs to none; other white space is a token, as in spaCy. Joined with their spaces,
    the tokens are the text.
    """
    edges = {at for mark in marks for at in (mark.start, mark.end)}
    edges.update(segmentation.words(text), (0, len(text)))
    tokens: list[SpacedToken] = []
    for start, end in pairwise(sorted(edges)):
        if text[start:end] == " " and tokens and not tokens[-1].space and not text[tokens[-1].start].isspace():
            tokens[-1] = replace(tokens[-1], space=True)
        else:
            tokens.append(SpacedToken(start, end, False))
    return tokens


def utf16(text: str) -> list[int]:
    """Return the number of UTF-16 units before each character and before the end, ``[characters + 1]``."""
    units = [0]
    for char in text:
        units.append(units[-1] + (2 if char > "\uffff" else 1))
    return units


def graphemes(text: str) -> list[int]:
    """Return the number of grapheme clusters (UAX #29) before that of each character, ``[characters + 1]``."""
    import regex  # type: ignore[import-untyped]

    before: list[int] = []
    count = 0
    for match in regex.finditer(r"\X", text):
        before += [count] * (match.end() - match.start())
        count += 1
    return [*before, count]
