"""What annotators send back: the downloads of a report's page, checked against that report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlrp.basics import readable
from textlrp.errors import InputError
from textlrp.results.saved import is_format
from textlrp.results.spans import TEXT, TEXT_PAIR

if TYPE_CHECKING:
    from textlrp.report.reading import SentDocument, SentReport

_KIND, _FORMAT = "annotation", 1
_START = b'{"textlrp"'

AGREE, DISAGREE, UNSURE = "agree", "disagree", "unsure"

#: What an annotator can say of the model's label.
VERDICTS = (AGREE, DISAGREE, UNSURE)


@dataclass(frozen=True, order=True)
class Rationale:
    """Words that an annotator marked as a reason.

    Attributes:
        source: the text that they are in: ``"text"``, or ``"text_pair"`` for the second text of a pair.
        start, end: half-open character range in it.
        text: exactly those characters.
    """

    source: str
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Annotation:
    """What one annotator said of one document.

    Attributes:
        annotator: the annotator's name.
        document: the document's id.
        verdict: ``"agree"``, ``"disagree"`` or ``"unsure"``, or None where there is none.
        label: the right label, or None where it was not given.
        comment: a comment, often empty.
        rationales: the words that were marked, in reading order, never overlapping.
        blind: whether the model's relevance was hidden when they were marked.
        changed: when it was last changed.
        place: the file and the line, for sentences.
    """

    annotator: str
    document: str
    verdict: str | None
    label: str | None
    comment: str
    rationales: tuple[Rationale, ...]
    blind: bool
    changed: datetime
    place: str

    @property
    def empty(self) -> bool:
        """Whether everything in it was taken back."""
        return self.verdict is None and self.label is None and not self.comment.strip() and not self.rationales

    def right_label(self, document: SentDocument, labels: tuple[str, ...]) -> str | None:
        """Return the label that the annotator takes for right, or None where that is not known.

        That is the one given; the predicted one where the annotator agrees; of two labels the other one where the
        annotator disagrees.
        """
        if self.label is not None:
            return self.label
        if self.verdict == AGREE:
            return document.predicted
        others = [label for label in labels if label != document.predicted]
        return others[0] if self.verdict == DISAGREE and len(others) == 1 else None


def read_annotations(files: Iterable[str | Path], report: SentReport) -> tuple[Annotation, ...]:
    """Read downloads, and check that they belong to a report.

    Where a file has several lines of one annotator and document, the one changed last counts; lines in which everything
    was taken back are left out. An annotator without a name is called by the file's name.

    Args:
        files: one or more downloads, JSON lines.
        report: the report that they were made in (:func:`textlrp.report.reading.read_report`).

    Returns:
        The annotations, at least one: by annotator, in the order of the files, and by document in the report's order.

    Raises:
        InputError: a file cannot be read, a line is no annotation, belongs to another report, does not fit its
            document, or two files say different things in one annotator's name. The sentence names file and line.
    """
    kept: dict[tuple[str, str], Annotation] = {}
    names: dict[str, None] = {}
    given = [Path(file) for file in files]
    for file in given:
        for key, annotation in _read_file(file, report).items():
            names[annotation.annotator] = None
            there = kept.setdefault(key, annotation)
            if _said(there) != _said(annotation):
                raise InputError(
                    f"{annotation.annotator!r} says one thing of document {annotation.document!r} in {there.place}, "
                    f"and another in {annotation.place}: if both are of one person, give the later file only; if not, "
                    f"change the name in one of them"
                )
    order = {document: i for i, document in enumerate(report.documents)}
    people = list(names)
    found = [annotation for annotation in kept.values() if not annotation.empty]
    if not found:
        raise InputError(f"there are no marks in {', '.join(map(repr, map(str, given))) or 'no file'}")
    return tuple(sorted(found, key=lambda each: (people.index(each.annotator), order[each.document])))


def _said(annotation: Annotation) -> Annotation:
    return replace(annotation, changed=datetime.min, place="")


def _read_file(path: Path, report: SentReport) -> dict[tuple[str, str], Annotation]:
    name = repr(str(path))
    try:
        readable.check(path)
        raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from None
    latest: dict[tuple[str, str], Annotation] = {}
    for number, line in enumerate(raw, 1):
        if not line.strip():
            continue
        place = f"{name}, line {number}"
        try:
            values = json.loads(line.decode())
        except (ValueError, RecursionError):  # a UnicodeDecodeError is a ValueError
            if number == len(raw) and (number > 1 or line.startswith(_START)):  # a whole download ends with a newline
                raise InputError(
                    f"{name} broke off: its last line, {number}, is not whole; download it again, or delete that line"
                ) from None
            raise InputError(f"{place} is no annotation: a line of the report's download was expected") from None
        annotation = _annotation(values, report, path.stem, place)
        key = (annotation.annotator, annotation.document)
        there = latest.get(key)
        if there is None or there.changed <= annotation.changed:
            latest[key] = annotation
    return latest


def _annotation(values: Any, report: SentReport, stem: str, place: str) -> Annotation:
    if not isinstance(values, dict) or values.get("textlrp") != _KIND:
        raise InputError(f"{place} is no annotation: a line of the report's download was expected")
    if not is_format(values.get("format"), _FORMAT):
        raise InputError(
            f"{place} has format {_shown(values.get('format'))}, and this version of textlrp reads annotations of "
            f"format {_FORMAT}"
        )
    if values.get("report") != report.id:
        made = _shown(str(values.get("report"))[:12])
        raise InputError(
            f"{place} was made in another report, {made}, and this one is {report.id[:12]!r}: give the report that it "
            f"was made in"
        )
    identity = values.get("document")
    document = report.documents.get(identity) if isinstance(identity, str) else None
    if document is None:
        raise InputError(f"{place} is about document {_shown(identity)}, which is not in the report")
    line, place = place, f"{place}, document {document.id!r}"
    annotator, comment = _string(values, "annotator", place), _string(values, "comment", place)
    verdict, label, blind = values.get("verdict"), values.get("label"), values.get("blind")
    if verdict is not None and verdict not in VERDICTS:
        raise InputError(f"{place} has the verdict {_shown(verdict)}: it can be {', '.join(VERDICTS)}, or null")
    if label is not None and label not in report.labels:
        raise InputError(f"{place} has the label {_shown(label)}: the report has {', '.join(report.labels)}")
    if not isinstance(blind, bool):
        raise InputError(f"{place} has {_shown(blind)} for 'blind': it can be true or false")
    return Annotation(
        annotator.strip() or stem,
        document.id,
        verdict,
        label,
        comment,
        _marks(values.get("rationales"), document, place),
        blind,
        _time(values.get("changed"), place),
        line,
    )


def _marks(values: Any, document: SentDocument, place: str) -> tuple[Rationale, ...]:
    if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
        raise InputError(f"{place} has {_shown(values)} for 'rationales': it can be a list of objects")
    marks = sorted(_mark(each, document, place) for each in values)
    for before, after in pairwise(marks):
        if before.source == after.source and after.start < before.end:
            raise InputError(
                f"{place} has marks that overlap: characters {before.start} to {before.end} and {after.start} to "
                f"{after.end}"
            )
    return tuple(marks)


def _mark(values: Mapping[str, Any], document: SentDocument, place: str) -> Rationale:
    source, start, end, written = (values.get(key) for key in ("source", "start", "end", "text"))
    texts = {TEXT: document.text, TEXT_PAIR: document.text_pair}
    text = texts.get(source) if isinstance(source, str) else None
    if text is None:
        raise InputError(f"{place} has a mark in {_shown(source)}, and there is no such text in the document")
    # bool is an int to Python, but true is no offset
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(text):
        raise InputError(
            f"{place} has a mark from {_shown(start)} to {_shown(end)}, and the text has {len(text):,} characters"
        )
    if written != text[start:end]:
        raise InputError(
            f"{place} has a mark on {_shown(written)}, and the report has {_shown(text[start:end])} at characters "
            f"{start} to {end}: it was made in another version of the text"
        )
    return Rationale(str(source), start, end, text[start:end])


def _string(values: Mapping[str, Any], key: str, place: str) -> str:
    value = values.get(key)
    if not isinstance(value, str):
        raise InputError(f"{place} has {_shown(value)} for {key!r}: it can be a string")
    return value


def _time(value: Any, place: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise InputError(f"{place} has {_shown(value)} for 'changed': it can be a time, 2026-01-31T12:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _shown(value: Any) -> str:
    """The value, cut to what fits into a sentence."""
    shown = "null" if value is None else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
