"""Documents with their explanations, the input of reports, exports and annotations, and the files that hold them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from textlrp.basics import gzip_members, options
from textlrp.basics.files import write_whole
from textlrp.basics.lines import read_lines
from textlrp.errors import InputError, LRPError
from textlrp.results.explanation import Explanation
from textlrp.results.saved import DIGEST, check_digest, check_format, digest, is_format, sealed

#: The format of records, of failures and of the first line of a run.
FORMAT = 1

#: The beginning of the first line of a run (:mod:`textlrp.data.runs`).
HEADER = {"textlrp": "run", "format": FORMAT}
SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_HALF_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Record:
    """A document with its explanations.

    Attributes:
        id: unique in its run.
        explanations: one for each requested target; all of the same text.
        label: the right label, by the model's name if it has one; None where the data gives none or several.
        rationales: half-open character ranges of :attr:`text` that the data marks as reasons; in reading order, never
            overlapping.
        labels: the right labels where the data gives several.
        given: the right labels as the data writes them, where that differs (0 for NEG); else empty.

    Raises:
        InputError: there is no explanation, they are of different texts, two explain the same, a rationale does not
            fit the text, or there are both a label and several.
    """

    id: str
    explanations: tuple[Explanation, ...]
    label: str | None = None
    rationales: tuple[tuple[int, int], ...] = ()
    labels: tuple[str, ...] = ()
    given: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        options.text(self.id, "the id of a record is a text")
        listed = self.explanations
        if not isinstance(listed, (tuple, list)) or not all(isinstance(e, Explanation) for e in listed):
            raise InputError(f"document {self.id!r} has no explanations, but {options.brief(listed)}")
        if not listed:
            raise InputError(f"document {self.id!r} has no explanation: a record needs one or more")
        if len({(e.text, e.text_pair) for e in self.explanations}) > 1:
            raise InputError(f"document {self.id!r} has explanations of different texts: make a record of each text")
        object.__setattr__(self, "rationales", tuple(map(_offsets, self.rationales)))
        targets = [(e.target, e.contrast) for e in self.explanations]
        if len(set(targets)) < len(targets):
            raise InputError(f"document {self.id!r} has two explanations of the same target: keep one of them")
        check_rationales(self.rationales, self.text, f"document {self.id!r}")
        for name in ("labels", "given"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.labels and self.label is not None:
            raise InputError(f"document {self.id!r} has a label and a list of labels: give one of them")

    @property
    def right(self) -> tuple[str, ...]:
        """All right labels: none, one or several."""
        return self.labels or (() if self.label is None else (self.label,))

    @property
    def read_as(self) -> dict[str, tuple[str, ...]]:
        """What each right label, as the data writes it, was read as."""
        if not self.given:
            return {label: (label,) for label in self.right}
        if len(self.given) == len(self.right):
            return {written: (label,) for written, label in zip(self.given, self.right, strict=True)}
        return {", ".join(self.given): self.right}

    @property
    def explanation(self) -> Explanation:
        """The explanation of the first target."""
        return self.explanations[0]

    @property
    def text(self) -> str:
        """The text as it was given."""
        return self.explanation.text

    @property
    def text_pair(self) -> str | None:
        """The second text of a pair, or None."""
        return self.explanation.text_pair

    @property
    def predicted(self) -> str:
        """The label with the highest logit."""
        return self.explanation.predicted

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready values, with a digest of them."""
        values = {
            "format": FORMAT,
            "id": self.id,
            "label": self.label,
            "rationales": [list(span) for span in self.rationales],
            **({"labels": list(self.labels)} if self.labels else {}),
            **({"given": list(self.given)} if self.given else {}),
            "explanations": [explanation.to_dict(whole=False) for explanation in self.explanations],
        }
        return {**values, DIGEST: digest(_by_digests(values))}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """Rebuild a record from :meth:`to_dict`.

        Raises:
            InputError: the values are not a record, are of another format, or were changed.
        """
        check_format(values, FORMAT, "record")
        identity, label = values.get("id"), values.get("label")
        explanations, rationales = values.get("explanations"), values.get("rationales")
        rationales = [] if rationales is None else rationales
        if not isinstance(identity, str) or not (label is None or isinstance(label, str)):
            raise InputError("this is not a record by textlrp: 'id' must be a string, and 'label' a string or null")
        if not isinstance(explanations, list) or not all(isinstance(saved, dict) for saved in explanations):
            raise InputError("this is not a record by textlrp: 'explanations' must be a list of objects")
        if not isinstance(rationales, list) or not all(isinstance(span, list) for span in rationales):
            raise InputError("this is not a record by textlrp: 'rationales' must be a list of [start, end]")
        several, given = values.get("labels", []), values.get("given", [])
        for key, names in (("labels", several), ("given", given)):
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise InputError(f"this is not a record by textlrp: {key!r} must be a list of strings")
        record = cls(
            identity,
            tuple(map(Explanation.from_dict, explanations)),
            label,
            tuple(tuple(span) for span in rationales),
            tuple(several),
            tuple(given),
        )
        check_digest(_by_digests(values), "record")
        return record


def _by_digests(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a record with the digests of its explanations, so that none is computed twice."""
    return {**values, "explanations": [saved.get(DIGEST, saved) for saved in values["explanations"]]}


def _offsets(span: Any) -> Any:
    """Return a character range with numbers of NumPy or torch as Python's; other values stay, and are refused later."""
    if not isinstance(span, Iterable) or isinstance(span, str):
        return (span,)
    return tuple(offset if (whole := options.as_whole(offset)) is None else whole for offset in span)


@dataclass(frozen=True)
class Failure:
    """A document that has no explanation.

    Attributes:
        id: the id of the document.
        reason: the reason in one sentence.
    """

    id: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the failure as JSON-ready values, with a digest of them."""
        return sealed({"format": FORMAT, "id": self.id, "failure": self.reason})


def check_rationales(spans: Iterable[tuple[int, ...]], text: str, whose: str) -> None:
    """Check that character ranges lie in a text, in reading order and without overlap.

    Raises:
        InputError: they do not; the sentence begins with ``whose``, such as ``"document 'a'"``.
    """
    listed = list(spans)
    for span in listed:
        # bool is a subclass of int, but True is not an offset
        if len(span) != 2 or not all(type(offset) is int for offset in span) or not 0 <= span[0] < span[1] <= len(text):
            raise InputError(
                f"{whose} has the rationale {options.brief(list(span))}, and its text has {len(text)} characters: give "
                f"[start, end] with 0 <= start < end <= {len(text)}"
            )
    for before, after in pairwise(listed):
        if after[0] < before[1]:
            raise InputError(
                f"{whose} has the rationales {list(before)} and {list(after)}, which overlap or are out of order: "
                f"sort and merge them"
            )


def to_line(document: Record | Failure) -> str:
    """Return a document as a line of a run, without the newline."""
    line = json.dumps(document.to_dict(), ensure_ascii=False, allow_nan=False)
    # UTF-8 cannot encode half of a surrogate pair, and JSON can escape it.
    return _HALF_PAIR.sub(lambda half: f"\\u{ord(half.group()):04x}", line)


def write_run(path: str | Path, records: Iterable[Record | Failure]) -> None:
    """Write records as JSON lines, whole or not at all; :func:`read_run` reads them back.

    Raises:
        InputError: two records have the same id, or the file cannot be written.
    """
    seen: set[str] = set()
    lines: list[str] = []
    for record in records:
        if not isinstance(record, (Record, Failure)):
            raise InputError(f"a run holds records and failures, not {options.brief(record)}")
        if record.id in seen:
            raise InputError(f"two documents have the id {record.id!r}: give each its own")
        seen.add(record.id)
        lines.append(to_line(record) + "\n")
    path = Path(path)
    written = "".join(lines)
    write_whole(path, gzip_members.member(written.encode()) if gzip_members.is_gzip(path) else written)


def read_run(path: str | Path) -> list[Record]:
    """Read a run that :func:`write_run` wrote, saved explanations, or a folder of such files.

    Args:
        path: JSON lines of records or of explanations; a JSON file of one (``textlrp explain --format json -o``); or a
            folder, whose files ``*.json`` and ``*.jsonl`` (each also ``.gz``) are read, sorted by name. The id of a
            bare explanation is the name of its file without suffix, followed by ``-`` and its line if it has lines.

    Returns:
        The records, at least one, in the order of the files and lines. Documents without an explanation are left out.

    Raises:
        InputError: a file cannot be read (the sentence names file and line) or is empty, or an id occurs twice.
    """
    return [document for document in iterate_run(path) if isinstance(document, Record)]


def iterate_run(path: str | Path) -> Iterator[Record | Failure]:
    """Yield the documents that :func:`read_run` reads, one at a time, and failures too.

    Raises:
        InputError: as there, after the documents before the fault.
    """
    explained = False
    for document in read_kept(path):
        explained |= isinstance(document, Record)
        yield document
    if not explained:
        raise InputError(f"there is no explanation in {str(path)!r}: explain some texts first")


def read_kept(path: str | Path) -> Iterator[Record | Failure]:
    """Yield the documents of :func:`iterate_run`; none of them needs to have an explanation.

    Raises:
        InputError: a file cannot be read, or an id occurs twice.
    """
    places: dict[str, str] = {}
    for file in _files(Path(path)):
        for where, document in _read_file(file):
            if (identity := document.id) in places:
                raise InputError(f"{where}: the id {identity!r} is that of {places[identity]} too; give each its own")
            places[identity] = where
            yield document


def _files(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            return [path]
        files = sorted(file for file in path.iterdir() if file.name.lower().endswith(SUFFIXES) and file.is_file())
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None
    if not files:
        raise InputError(f"the folder {str(path)!r} has no file that ends in {' or '.join(SUFFIXES)}")
    return files


def _read_file(path: Path) -> Iterator[tuple[str, Record | Failure]]:
    """Yield the documents of a file, each with its place."""
    name, first, single = repr(str(path)), True, False
    for number, line, whole, last in _filled(path):
        if first and not _whole_object(line):  # one object over several lines
            yield name, _kept(_joined(path), name, _stem(path))
            return
        single, first = first and last, False
        if last and not whole and not _whole_object(line):
            return  # a process died while it wrote this line
        if _is_header(line, f"{name}, line {number}"):
            continue
        where = f"{name}, line {number}"
        yield where, _kept(line, where, _stem(path) if single else f"{_stem(path)}-{number}")


def _filled(path: Path) -> Iterator[tuple[int, bytes, bool, bool]]:
    """Yield each line that is not blank: its number, the line, whether it ends in a newline, whether it is the last."""
    waiting: tuple[int, bytes, bool] | None = None
    for number, line, whole in read_lines(path):
        content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if not content.strip():
            continue
        if waiting is not None:
            yield *waiting, False
        waiting = number, content, whole
    if waiting is not None:
        yield *waiting, True


def _stem(path: Path) -> str:
    return (path.with_suffix("") if gzip_members.is_gzip(path) else path).stem


def _joined(path: Path) -> bytes:
    return b"\n".join(line for _, line, _ in read_lines(path)).removeprefix(b"\xef\xbb\xbf")


def _is_header(line: bytes, where: str) -> bool:
    """Return whether a line is the origin of a run, not a document of it."""
    if not line.startswith(b'{"textlrp"'):
        return False
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(values, dict) or values.get("textlrp") != HEADER["textlrp"]:
        return False
    if not is_format(values.get("format"), FORMAT):
        raise InputError(
            f"{where}: this is a run of format {values.get('format')}, and this version of textlrp reads format "
            f"{FORMAT}"
        )
    try:
        check_digest(values, "first line")
    except LRPError as error:
        raise InputError(f"{where}: {error}") from None
    return True


def _whole_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _kept(written: bytes, where: str, identity: str) -> Record | Failure:
    try:
        values = json.loads(written.decode())
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8: byte {error.start} ({written[error.start]:#04x}) is wrong") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{where}: a record or an explanation was expected, an object saved by textlrp")
    try:
        if "explanations" in values:
            return Record.from_dict(values)
        if "failure" in values:
            return _failure(values)
        return Record(identity, (Explanation.from_dict(values),))
    except LRPError as error:
        raise InputError(f"{where}: {error}") from None


def _failure(values: Mapping[str, Any]) -> Failure:
    identity, reason = values.get("id"), values["failure"]
    if not is_format(values.get("format"), FORMAT) or not isinstance(identity, str) or not isinstance(reason, str):
        raise InputError("this is not a document by textlrp: 'id' and 'failure' must be strings")
    check_digest(values, "record")
    return Failure(identity, reason)
