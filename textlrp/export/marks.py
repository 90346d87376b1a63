"""What an export marks: the spans of a text with the most relevance, their labels, and offsets as other tools count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
    """Which spans are marked.

    Attributes:
        by: ``"word"``, ``"token"`` or ``"sentence"``.
        threshold: the least share of the strongest relevance, 0 to 1.
        top: how many spans are marked, those with the most relevance of either sign; instead of a threshold.

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
        label: what the span speaks for, such as ``"for POS"``.
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
    """One text under one explanation, as tools take it that know neither pairs nor several targets.

    Attributes:
        record: the document.
        explanation: one of its explanations.
        source: which of its texts, ``"text"`` or ``"text_pair"``.
        text: that text; halves of surrogate pairs, which UTF-8 cannot hold, are U+FFFD.
        marks: what is marked in it, in reading order, never overlapping.
    """

    record: Record
    explanation: Explanation
    source: str
    text: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class SpacedToken:
    """A token of a text: ``[start, end)``, and whether one space that belongs to no token follows."""

    start: int
    end: int
    space: bool


def label(explanation: Explanation, relevance: float) -> str:
    """Return what a relevance speaks for: the target, or against it; with a contrast, for that."""
    if relevance > 0:
        return encodable(f"for {explanation.target}")
    return encodable(f"against {explanation.target}" if explanation.contrast is None else f"for {explanation.contrast}")


def labels(records: Iterable[Record]) -> dict[str, int]:
    """Return every label that marks of the records can have, with the sign of its relevance, in order."""
    found: dict[str, int] = {}
    for record in records:
        for explanation in record.explanations:
            for sign in (1, -1):
                found.setdefault(label(explanation, sign), sign)
    return found


def select(explanation: Explanation, selection: Selection) -> tuple[Mark, ...]:
    """Return the spans of an explanation that are marked: its first text's in reading order, then the second's.

    What overlaps (bytes of one character) is marked together. White space alone is never marked, nor is what has no
    relevance.
    """
    found: list[Mark] = []
    units = explanation.units(selection.by)
    for source, text, _ in explanation.texts:
        for span in merge_overlaps(tuple(unit for unit in units if unit.source == source)):
            inner = span.text.strip()
            if inner and span.relevance:
                start = span.start + span.text.index(inner)
                end = start + len(inner)
                what = label(explanation, span.relevance)
                found.append(Mark(start, end, encodable(text[start:end]), what, span.relevance, 0.0, source))
    strongest = max((abs(mark.relevance) for mark in found), default=0.0)
    if selection.top is None:
        kept = [i for i, mark in enumerate(found) if abs(mark.relevance) >= selection.threshold * strongest]
    else:
        kept = sorted(sorted(range(len(found)), key=lambda i: -abs(found[i].relevance))[: selection.top])
    return tuple(_shared(found[i], strongest) for i in kept)


def _shared(mark: Mark, strongest: float) -> Mark:
    share = abs(mark.relevance) / strongest
    return Mark(mark.start, mark.end, mark.text, mark.label, mark.relevance, share, mark.source)


def entries(records: Iterable[Record], selection: Selection) -> Iterator[Entry]:
    """Yield one entry for each text of each explanation."""
    for record in records:
        for explanation in record.explanations:
            marks = select(explanation, selection)
            for source, text, _ in explanation.texts:
                own = tuple(mark for mark in marks if mark.source == source)
                yield Entry(record, explanation, source, encodable(text), own)


def tokenize(text: str, marks: Sequence[Mark]) -> list[SpacedToken]:
    """Return a text as tokens: its words, cut where a mark begins or ends, so that marks are runs of tokens.

    A single space behind a token belongs to none; other white space is a token, as in spaCy. Put one after the
    other, with their spaces, the tokens are the text.
    """
    edges = {at for mark in marks for at in (mark.start, mark.end)}
    edges.update(segmentation.words(text), (0, len(text)))
    ordered = sorted(edges)
    found: list[SpacedToken] = []
    for start, end in pairwise(ordered):
        if text[start:end] == " " and found and not found[-1].space and not text[found[-1].start].isspace():
            found[-1] = SpacedToken(found[-1].start, found[-1].end, True)
        else:
            found.append(SpacedToken(start, end, False))
    return found


def utf16(text: str) -> list[int]:
    """Return how many UTF-16 units stand before each character and before the end, ``[characters + 1]``."""
    found = [0]
    for char in text:
        found.append(found[-1] + (2 if char > "\uffff" else 1))
    return found


def graphemes(text: str) -> list[int]:
    """Return how many whole grapheme clusters (UAX #29) end before each character's cluster, ``[characters + 1]``."""
    import regex  # type: ignore[import-untyped]

    found: list[int] = []
    count = 0
    for match in regex.finditer(r"\X", text):
        found += [count] * (match.end() - match.start())
        count += 1
    return [*found, count]
