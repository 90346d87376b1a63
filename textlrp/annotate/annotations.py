"""Annotations: the downloads that annotators send back, or files of annotation tools, checked against their report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlrp.annotate.older_reports import OlderReports
from textlrp.annotate.tool_files import ToolAnnotation, read_tool_file
from textlrp.basics import readable
from textlrp.errors import InputError
from textlrp.explain.label_names import find_name
from textlrp.results.saved import is_format
from textlrp.results.spans import TEXT, TEXT_PAIR

if TYPE_CHECKING:
    from textlrp.report.reading import SentDocument, SentReport

#: Format 1 had one label, and marks without labels.
_KIND, _FORMATS = "annotation", (1, 2)
_START = b'{"textlrp"'

AGREE, DISAGREE, UNSURE = "agree", "disagree", "unsure"

#: The verdicts of an annotator on the model's label.
VERDICTS = (AGREE, DISAGREE, UNSURE)


@dataclass(frozen=True)
class Rationale:
    """Words that an annotator marked as a reason.

    Attributes:
        source: their text: ``"text"``, or ``"text_pair"`` for the second text of a pair.
        start, end: half-open character range in that text.
        text: exactly those characters.
        label: the label that the words speak for, or against; None if the annotator did not say.
        against: whether they speak against it.
    """

    source: str
    start: int
    end: int
    text: str
    label: str | None = None
    against: bool = False


@dataclass(frozen=True)
class Annotation:
    """The annotation of one document by one annotator.

    Attributes:
        annotator: the annotator's name.
        document: the document's id.
        verdict: ``"agree"``, ``"disagree"`` or ``"unsure"``, or None.
        labels: the right labels, or None if the annotator did not choose.
        comment: a comment, often empty.
        rationales: the marked words, in reading order; those for one label never overlap.
        blind: whether the model's relevance was hidden when they were marked.
        changed: the time of the last change.
        place: the file and the line, for messages.
        reasons: the reason codes that the annotator chose, of those that the report offers.
        adjudicated: whether it is an adjudicator's decision (:mod:`textlrp.annotate.adjudication_page`).
    """

    annotator: str
    document: str
    verdict: str | None
    labels: tuple[str, ...] | None
    comment: str
    rationales: tuple[Rationale, ...]
    blind: bool
    changed: datetime
    place: str
    reasons: tuple[str, ...] = ()
    adjudicated: bool = False

    @property
    def empty(self) -> bool:
        """Whether the annotator took everything back."""
        chosen = self.verdict is not None or self.labels is not None
        return not (chosen or self.comment.strip() or self.rationales or self.reasons)

    def contradiction(self, document: SentDocument) -> str | None:
        """Return how the verdict and the chosen label contradict each other, or None if they do not."""
        if self.labels is None or self.verdict not in (AGREE, DISAGREE):
            return None
        if (self.verdict == AGREE) == (set(self.labels) == set(document.chosen)):
            return None
        said, chosen = (", ".join(names) or "no label" for names in (document.chosen, self.labels))
        return f"{self.verdict}s with {said}, and gives {chosen} as right"

    def right_labels(self, document: SentDocument, report: SentReport) -> tuple[str, ...] | None:
        """Return the labels that the annotator considers right, sorted, or None if that is not known.

        They are those that the annotator chose; or the predicted ones, if the annotator agrees; or the other one of two
        labels, if the annotator disagrees. Of a verdict and labels that contradict each other, neither counts.
        """
        if self.contradiction(document):
            return None
        if self.labels is not None:
            return tuple(sorted(self.labels))
        if self.verdict == AGREE:
            return tuple(sorted(document.chosen))
        others = tuple(label for label in report.labels if label not in document.chosen)
        return others if self.verdict == DISAGREE and len(others) == 1 and not report.multi else None


def read_annotations(
    files: Iterable[str | Path], report: SentReport, say: Callable[[str], object] = str, *, decisions: bool = False
) -> tuple[Annotation, ...]:
    """Read downloads or files of annotation tools, and check that they belong to a report.

    Of downloads that were made in another report, the marks of documents whose text is unchanged are taken.

    If there are several annotations of a document by one annotator, in a file or in several, the last change counts;
    empty annotations are left out. An annotator without a name gets the file's name.

    Args:
        files: one or more downloads, JSON lines; or what Label Studio, doccano, Prodigy, brat or spaCy saved
            (:func:`textlrp.annotate.tool_files.read_tool_file`).
        report: their report (:func:`textlrp.report.reading.read_report`).
        say: is given a sentence for each annotator whose files differ, and for each file of another report.
        decisions: whether the files are downloads of an adjudicator, and not of annotators.

    Returns:
        The annotations, at least one: by annotator, in the order of the files, and by document in the report's order.

    Raises:
        InputError: a file cannot be read; a line is not an annotation, or does not fit its document; no line of
            another report has a text of this one; one is a decision, unless ``decisions``, and then one is none; or two
            files contradict each other under one annotator's name and do not say which is later. The message names file
            and line.
    """
    kept: dict[tuple[str, str], Annotation] = {}
    names: dict[str, None] = {}
    changed: dict[str, int] = {}
    paths = [Path(file) for file in files]
    for file in paths:
        for key, annotation in _read(file, report, say).items():
            if annotation.adjudicated and not decisions:
                raise InputError(f"{annotation.place} is a decision of an adjudicator: give its file with --decisions")
            if decisions and not annotation.adjudicated:
                raise InputError(
                    f"{annotation.place} is no decision: --decisions takes what the page to adjudicate saved"
                )
            names[annotation.annotator] = None
            first = kept.setdefault(key, annotation)
            if _content(first) == _content(annotation):
                continue
            if first.changed == annotation.changed:
                raise InputError(
                    f"{annotation.annotator!r} says one thing of document {annotation.document!r} in {first.place}, "
                    f"and another in {annotation.place}: if both are of one person, give the later file only; if not, "
                    f"change the name in one of them"
                )
            changed[annotation.annotator] = changed.get(annotation.annotator, 0) + 1
            kept[key] = max(first, annotation, key=lambda each: each.changed)
    for annotator, count in changed.items():
        of = "1 document is marked" if count == 1 else f"{count:,} documents are marked"
        say(f"{of} otherwise in two files of {annotator!r}: the later marks count")
    order = {document: i for i, document in enumerate(report.documents)}
    people = list(names)
    annotations = [annotation for annotation in kept.values() if not annotation.empty]
    if not annotations:
        raise InputError(f"there are no marks in {', '.join(map(repr, map(str, paths))) or 'no file'}")
    return tuple(sorted(annotations, key=lambda a: (people.index(a.annotator), order[a.document])))


def _content(annotation: Annotation) -> Annotation:
    return replace(annotation, changed=datetime.min, place="")


def _read(path: Path, report: SentReport, say: Callable[[str], object]) -> dict[tuple[str, str], Annotation]:
    made = None if _is_download(path) else read_tool_file(path, report)
    if made is None:
        return _read_file(path, report, say)
    return {(each.annotator, each.document): _of_tool(each, report.documents[each.document].text) for each in made}


def _of_tool(made: ToolAnnotation, text: str) -> Annotation:
    """Return an annotation of a tool. Nobody knows whether it showed the model's relevance, so it is not blind."""
    marks = tuple(Rationale(TEXT, start, end, text[start:end]) for start, end in made.marked)
    changed = datetime.min.replace(tzinfo=UTC)
    labels = None if made.label is None else (made.label,)
    return Annotation(made.annotator, made.document, None, labels, "", marks, False, changed, made.place)


def _is_download(path: Path) -> bool:
    try:
        readable.check(path)
        with path.open("rb") as file:
            return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_START)
    except (OSError, ValueError):
        return False


def _read_file(path: Path, report: SentReport, say: Callable[[str], object]) -> dict[tuple[str, str], Annotation]:
    name = repr(str(path))
    try:
        readable.check(path)
        raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from None
    latest: dict[tuple[str, str], Annotation] = {}
    another: Any = None
    older = OlderReports(report)
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
            raise InputError(f"{place} is not an annotation: a line of the report's download was expected") from None
        _check_line(values, place)
        if values.get("report") != report.id:
            another = values.get("report")
            if not isinstance(values.get("text"), str):
                raise InputError(
                    f"{place} was made in another report, {_shown(str(another)[:12])}, and this one is "
                    f"{report.id[:12]!r}; it has no text to match, so give the report that it was made in"
                )
            values = older.fit(values)
            if values is None:
                continue
        annotation = _annotation(values, report, path.stem, place)
        key = (annotation.annotator, annotation.document)
        earlier = latest.get(key)
        if earlier is None or earlier.changed <= annotation.changed:
            latest[key] = annotation
    if older.left and not older.taken:
        raise InputError(
            f"{name} was made in another report, {_shown(str(another)[:12])}, and this one is {report.id[:12]!r}: none "
            f"of its texts is in this report, so give the report that it was made in"
        )
    if older.taken:
        marks = "the marks of 1 document are" if older.taken == 1 else f"the marks of {older.taken:,} documents are"
        others = "the text of another is" if older.left == 1 else f"the texts of {older.left:,} others are"
        rest = f"; {others} not in this report" if older.left else ""
        say(f"{name} was made in another report: {marks} taken, whose text is unchanged{rest}")
    return latest


def _check_line(values: Any, place: str) -> None:
    if not isinstance(values, dict) or values.get("textlrp") != _KIND:
        raise InputError(f"{place} is not an annotation: a line of the report's download was expected")
    if not any(is_format(values.get("format"), known) for known in _FORMATS):
        raise InputError(
            f"{place} has format {_shown(values.get('format'))}, and this version of textlrp reads annotations of the "
            f"formats {' and '.join(map(str, _FORMATS))}"
        )


def _annotation(values: Mapping[str, Any], report: SentReport, stem: str, place: str) -> Annotation:
    identity = values.get("document")
    document = report.documents.get(identity) if isinstance(identity, str) else None
    if document is None:
        raise InputError(f"{place} is about document {_shown(identity)}, which is not in the report")
    line, place = place, f"{place}, document {document.id!r}"
    annotator, comment = _string(values, "annotator", place), _string(values, "comment", place)
    verdict, blind = values.get("verdict"), values.get("blind")
    if verdict is not None and verdict not in VERDICTS:
        raise InputError(f"{place} has the verdict {_shown(verdict)}: it can be {', '.join(VERDICTS)}, or null")
    if values.get("format") == 1:
        label = values.get("label")
        chosen = None if label is None else [label]
    else:
        chosen = values.get("labels")
    if chosen is not None and not isinstance(chosen, list):
        raise InputError(f"{place} has {_shown(chosen)} for 'labels': it can be a list of labels, or null")
    adjudicated = values.get("adjudicated", False)
    if not isinstance(blind, bool) or not isinstance(adjudicated, bool):
        key, wrong = ("adjudicated", adjudicated) if isinstance(blind, bool) else ("blind", blind)
        raise InputError(f"{place} has {_shown(wrong)} for {key!r}: it can be true or false")
    return Annotation(
        annotator.strip() or stem,
        document.id,
        verdict,
        None if chosen is None else tuple(_label(label, report, place) for label in chosen),
        comment,
        _marks(values.get("rationales"), document, report, place),
        blind,
        _time(values.get("changed"), place),
        line,
        _codes(values.get("reasons", []), place),
        adjudicated,
    )


def _codes(values: Any, place: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(code, str) for code in values):
        raise InputError(f"{place} has {_shown(values)} for 'reasons': it can be a list of strings")
    return tuple(values)


def _label(label: Any, report: SentReport, place: str) -> str:
    index = find_name(label, report.labels) if isinstance(label, str) else None
    if index is None:
        raise InputError(f"{place} has the label {_shown(label)}: the report has {', '.join(report.labels)}")
    return report.labels[index]


def _marks(values: Any, document: SentDocument, report: SentReport, place: str) -> tuple[Rationale, ...]:
    if not isinstance(values, list) or not all(isinstance(mark, dict) for mark in values):
        raise InputError(f"{place} has {_shown(values)} for 'rationales': it can be a list of objects")
    marks = sorted((_mark(mark, document, report, place) for mark in values), key=lambda m: (m.source, m.start, m.end))
    for before, after in pairwise(sorted(marks, key=lambda m: (m.source, m.label or "", m.against, m.start))):
        alike = (before.source, before.label, before.against) == (after.source, after.label, after.against)
        if alike and after.start < before.end:
            raise InputError(
                f"{place} has marks that overlap: characters {before.start} to {before.end} and {after.start} to "
                f"{after.end}"
            )
    return tuple(marks)


def _mark(values: Mapping[str, Any], document: SentDocument, report: SentReport, place: str) -> Rationale:
    source, start, end, written = (values.get(key) for key in ("source", "start", "end", "text"))
    texts = {TEXT: document.text, TEXT_PAIR: document.text_pair}
    text = texts.get(source) if isinstance(source, str) else None
    if text is None:
        raise InputError(f"{place} has a mark in {_shown(source)}, and the document has no such text")
    # bool is an int in Python, but true is not an offset
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(text):
        raise InputError(
            f"{place} has a mark from {_shown(start)} to {_shown(end)}, and the text has {len(text):,} characters"
        )
    if written != text[start:end]:
        raise InputError(
            f"{place} has a mark on {_shown(written)}, and the report has {_shown(text[start:end])} at characters "
            f"{start} to {end}: it was made in another version of the text"
        )
    label, against = values.get("label"), values.get("against", False)
    if not isinstance(against, bool) or (against and label is None):
        raise InputError(f"{place} has {_shown(against)} for 'against': it can be true, beside a label, or false")
    of = None if label is None else _label(label, report, place)
    return Rationale(str(source), start, end, text[start:end], of, against)


def _string(values: Mapping[str, Any], key: str, place: str) -> str:
    value = values.get(key)
    if not isinstance(value, str):
        raise InputError(f"{place} has {_shown(value)} for {key!r}: it can be a string")
    return value


def _time(value: Any, place: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise InputError(f"{place} has {_shown(value)} for 'changed': it can be a time, 2026-01-31T12:00:00Z") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _shown(value: Any) -> str:
    """Return a value as text, cut to 60 characters."""
    shown = "null" if value is None else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
