"""Corpora of labeled texts with the words that people marked as reasons; a few come with the package."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from textlrp.basics.options import brief
from textlrp.data.text_lines import GZIP_ERRORS, text_lines
from textlrp.errors import CorpusError

_SUFFIXES = (".jsonl", ".jsonl.gz")
_HALF_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a corpus.

    Attributes:
        id: unique within its corpus.
        text: the text as it was written.
        label: the one class that its author gave it, or ``None``.
        rationales: half-open character ranges of ``text``, the reasons for the label; in reading order, never
            overlapping.
        domain: the topic of the text, or ``None``.
        tags: its peculiarities (``negation``, ``irony``, ...).
        labels: every class that applies, if several may; empty if only ``label`` is given.
        language: the language of the text, as a BCP 47 tag (``en``, ``pt-BR``), or ``None``.
    """

    id: str
    text: str
    label: str | None
    rationales: tuple[tuple[int, int], ...]
    domain: str | None = None
    tags: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents in the order of their file; iterate over it, or take its ``len``.

    Attributes:
        name: the bundled name, or the file's name without its suffix.
        documents: at least one; every id is unique.
        card: the authors of the corpus, their method and its limits, as Markdown; empty for a file of your own.
    """

    name: str
    documents: tuple[Document, ...]
    card: str = ""

    def __iter__(self) -> Iterator[Document]:
        return iter(self.documents)

    def __len__(self) -> int:
        return len(self.documents)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that occur, as ``label`` or among ``labels``, sorted; documents without any add none."""
        single = {document.label for document in self.documents if document.label is not None}
        return tuple(sorted(single.union(*(document.labels for document in self.documents))))


def names() -> tuple[str, ...]:
    """Return the names of the bundled corpora, sorted."""
    return tuple(sorted(path.stem for path in _bundled().glob("*/*.jsonl") if path.stem == path.parent.name))


def load(name_or_path: str | Path) -> Corpus:
    """Read a bundled corpus by its name, or a ``.jsonl`` or ``.jsonl.gz`` file in the same form by its path.

    A file has one JSON object a line, in UTF-8, with the keys ``id``, ``text``, ``label`` (a string or null) and
    ``rationales`` (a list of ``[start, end)`` character ranges of the text), and optionally ``domain``, ``tags``,
    ``labels`` (a list of different strings; then ``label`` may be absent) and ``language``. Other keys and blank lines
    are ignored.

    Returns:
        The corpus, with its documents in the order of the file and the ranges of each in reading order.

    Raises:
        CorpusError: no corpus has that name, the file is missing, unreadable or empty, or a line is malformed.
    """
    if not isinstance(name_or_path, (str, Path)):
        raise CorpusError(f"A corpus is named by a text or a path, not {brief(name_or_path)}.")
    known = names()
    if name_or_path in known:
        folder = _bundled() / name_or_path
        card = (folder / "README.md").read_text(encoding="utf-8")
        return Corpus(str(name_or_path), _read(folder / f"{name_or_path}.jsonl"), card)
    path = Path(name_or_path)
    suffix = next((suffix for suffix in _SUFFIXES if path.name.lower().endswith(suffix)), None)
    if suffix:
        return Corpus(path.name[: -len(suffix)], _read(path))
    # os.path.exists answers False where Path.exists raises: for a whole review, which is too long for a file name.
    if isinstance(name_or_path, Path) or os.path.dirname(name_or_path) or os.path.exists(name_or_path):
        raise CorpusError(f"{path} cannot be read as a corpus: give a file that ends in {' or '.join(_SUFFIXES)}.")
    nearest = difflib.get_close_matches(name_or_path.lower(), known, n=1)
    hint = f"{nearest[0]!r} if you meant that" if nearest else f"one of those or the path of a {_SUFFIXES[0]} file"
    raise CorpusError(f"No corpus is called {name_or_path!r} (bundled: {', '.join(known) or 'none'}); write {hint}.")


def _bundled() -> Path:
    """Return the corpora's folder: inside the package in a wheel, next to it in a source checkout."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "_corpora"
    return packaged if packaged.is_dir() else package.parent / "corpora"


def _read(path: Path) -> tuple[Document, ...]:
    documents: list[Document] = []
    numbers: dict[str, int] = {}  # the line of each id
    for number, line in _lines(path):
        written = line.strip(" \t\r\n")
        if not written:
            continue
        where = f"{path}, line {number}"
        document = _document(written, where)
        if document.id in numbers:
            where = f"{where}, document {document.id!r}"
            raise CorpusError(f"{where}: line {numbers[document.id]} has the same id; give each its own.")
        numbers[document.id] = number
        documents.append(document)
    if not documents:
        raise CorpusError(f"{path} has no documents; write one JSON object a line.")
    return tuple(documents)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each line with its number and its line end."""
    number = 0
    try:
        for number, line in text_lines(path, "utf-8"):
            yield number, line
    except FileNotFoundError as error:
        raise CorpusError(f"There is no file {path}; check the path.") from error
    except UnicodeDecodeError as error:
        problem = f"byte {error.start + 1} of the line ({error.object[error.start]:#04x}) is not UTF-8"
        raise CorpusError(f"{path}, line {number + 1}: {problem}; save the file as UTF-8.") from error
    except GZIP_ERRORS as error:
        raise CorpusError(f"{path} is not a whole gzip file ({error}); compress it again.") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise CorpusError(f"{path} cannot be read: {getattr(error, 'strerror', error)}; give another file.") from error


def _document(line: str, where: str) -> Document:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        problem = f"{error.msg} at column {error.colno}"
        raise CorpusError(f"{where}: not JSON ({problem}); write one whole object on each line.") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets nested as deep
        raise CorpusError(f"{where}: JSON that Python cannot read ({error}); write it more simply.") from error
    if not isinstance(values, dict):
        raise CorpusError(f"{where}: {_shown(values)} is JSON, but not an object; write one object on each line.")
    if isinstance(values.get("id"), str) and values["id"]:
        where = f"{where}, document {values['id']!r}"
    for key in ("id", "text", "label", "rationales"):
        if key not in values and not (key == "label" and "labels" in values):
            raise CorpusError(f"{where}: the key {key!r} is missing; add it.")
    for key in ("id", "text", "label", "domain", "language"):
        optional, value = key not in ("id", "text"), values.get(key)
        if optional and value is None:
            continue
        if not (isinstance(value, str) and value.strip()):
            null = ", or null" if optional else ""
            raise CorpusError(f"{where}: {key!r} is {_shown(value)}; make it a string that is not blank{null}.")
        if _HALF_PAIR.search(value):
            raise CorpusError(f"{where}: {key!r} holds half of a surrogate pair; write the whole character.")
    return Document(
        values["id"],
        values["text"],
        values.get("label"),
        _rationales(values["rationales"], len(values["text"]), where),
        values.get("domain"),
        _tags(values.get("tags"), where),
        _labels(values.get("labels"), where),
        values.get("language"),
    )


def _tags(tags: Any, where: str) -> tuple[str, ...]:
    listed = [] if tags is None else tags
    if not (isinstance(listed, list) and all(isinstance(tag, str) for tag in listed)):
        raise CorpusError(f"{where}: 'tags' is {_shown(listed)}; make it a list of strings.")
    return tuple(listed)


def _labels(labels: Any, where: str) -> tuple[str, ...]:
    listed = [] if labels is None else labels
    if not (isinstance(listed, list) and all(isinstance(label, str) and label.strip() for label in listed)):
        raise CorpusError(f"{where}: 'labels' is {_shown(listed)}; make it a list of strings that are not blank.")
    for number, label in enumerate(listed):
        if _HALF_PAIR.search(label):
            raise CorpusError(f"{where}: 'labels' holds half of a surrogate pair; write the whole character.")
        if label in listed[:number]:
            raise CorpusError(f"{where}: 'labels' has {_shown(label)} twice; name each label once.")
    return tuple(listed)


def _rationales(spans: Any, length: int, where: str) -> tuple[tuple[int, int], ...]:
    if not isinstance(spans, list):
        raise CorpusError(f"{where}: 'rationales' is {_shown(spans)}; make it a list of [start, end] pairs.")
    for span in spans:
        # bool is a subclass of int, but true is not an offset
        if not (isinstance(span, list) and len(span) == 2 and all(type(offset) is int for offset in span)):
            raise CorpusError(f"{where}: the rationale {_shown(span)} is not [start, end]; write two integers.")
        if not 0 <= span[0] < span[1] <= length:
            problem = "is empty" if span[0] == span[1] else "is out of range"
            raise CorpusError(f"{where}: the rationale {_shown(span)} {problem}; keep 0 <= start < end <= {length}.")
    ordered = sorted((start, end) for start, end in spans)
    for before, after in pairwise(ordered):
        if after[0] < before[1]:
            raise CorpusError(f"{where}: the rationales {list(before)} and {list(after)} overlap; merge them.")
    return tuple(ordered)


def _shown(value: Any) -> str:
    """Return a value as JSON, cut to fit into a sentence."""
    shown = json.dumps(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
