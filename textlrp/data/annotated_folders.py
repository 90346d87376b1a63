"""Rows of what brat and spaCy keep: a folder of texts with standoff annotations, and a DocBin."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textlrp.basics import readable
from textlrp.data.row_values import Fault, Row
from textlrp.errors import InputError

#: The name of the span group that spaCy's tools show by default.
_GROUP = "sc"

_SPAN = re.compile(r"T\d+\t(?P<type>\S+) (?P<places>\d+ \d+(;\d+ \d+)*)(\t.*)?")


def is_brat(folder: Path) -> bool:
    """Return whether a folder has annotations of brat."""
    return any(folder.glob("*.ann"))


def brat_rows(folder: Path) -> Iterator[Row]:
    """Yield a row for each text of a brat collection: ``id``, ``text``, ``spans``, and ``text_pair`` if there is one.

    Ids are the names of files, or those in ``documents.json``, which textlrp's export writes.

    Source: https://brat.nlplab.org/standoff.html

    Raises:
        InputError: a file cannot be read.
    """
    index = _index(folder / "documents.json")
    of_pair = {about["id"]: name for name, about in index.items() if about.get("source") == "text_pair"}
    for path in sorted(folder.glob("*.ann")):
        about = index.get(path.stem, {"id": path.stem})
        if about.get("source") == "text_pair":
            continue
        second = of_pair.get(about["id"])
        row: dict[str, Any] = {"id": about["id"], "text": _read(path.with_suffix(".txt"))}
        if of_pair:
            row["text_pair"] = None if second is None else _read(folder / f"{second}.txt")
        spans: list[dict[str, Any]] = []
        fault = None
        for number, line in enumerate(_read(path).split("\n"), 1):
            if not line.startswith("T"):
                continue
            span = _SPAN.fullmatch(line.rstrip("\r"))
            if span is None:
                fault = Fault(f"line {number} of its .ann file is not 'T1, a type and two numbers, a text'")
                break
            for place in span["places"].split(";"):
                start, end = map(int, place.split())
                spans.append({"start": start, "end": end, "label": span["type"].replace("_", " ", 1)})
        yield f"file {path.stem!r}", fault or {**row, "spans": spans}


def spacy_rows(path: Path) -> Iterator[Row]:
    """Yield a row for each document of a DocBin: ``text``, ``ents``, and what its user data say of it.

    Spans are those of the group ``"sc"``, or else the entities. Categories of 0 and 1 are labels.

    Source: https://spacy.io/api/docbin

    Raises:
        InputError: spaCy is not installed, or the file is no DocBin.
    """
    try:
        from spacy.tokens import DocBin
        from spacy.vocab import Vocab
    except ImportError:
        raise InputError("a .spacy file needs spaCy: pip install spacy") from None
    try:
        readable.check(path)
        documents = list(DocBin(store_user_data=True).from_bytes(path.read_bytes()).get_docs(Vocab()))
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    except Exception as error:  # what zlib, msgpack and spaCy raise for a damaged file has no common class
        raise InputError(f"{str(path)!r} is no DocBin of spaCy: {type(error).__name__}") from None
    for number, document in enumerate(documents, 1):
        spans = document.spans.get(_GROUP, document.ents)
        row: dict[str, Any] = {
            "text": document.text,
            "ents": [{"start": s.start_char, "end": s.end_char, "label": s.label_} for s in spans],
        }
        if document.cats and set(document.cats.values()) <= {0, 1}:
            row["label"] = [name for name, holds in document.cats.items() if holds]
        about = {key: value for key, value in document.user_data.items() if isinstance(key, str)}
        yield f"document {number}", {**row, **about}


def _index(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    try:
        index = json.loads(_read(path))
    except ValueError:
        index = None
    if not isinstance(index, dict) or not all(
        isinstance(a, dict) and isinstance(a.get("id"), str) for a in index.values()
    ):
        raise InputError(f"{str(path)!r} does not say which file is which document: remove or export it again")
    return index


def _read(path: Path) -> str:
    try:
        readable.check(path)
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{str(path)!r} is not UTF-8: its byte {error.start} cannot be read") from None
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
