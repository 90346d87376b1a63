"""Rows of a folder of brat: texts with standoff annotations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textlrp.basics import readable
from textlrp.data.row_values import Fault, Row
from textlrp.errors import InputError

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
