"""Recognizes files that textlrp wrote, by their content."""

from __future__ import annotations

import json
import mmap
import re
import zlib
from enum import Enum
from pathlib import Path
from typing import Any


class Kind(Enum):
    """The kind of a file of textlrp."""

    OUTPUT = "an output"  # a page, a table, an export, one explanation: the same command makes it again
    RUN = "a saved run"
    EVALUATION = "an evaluation"


# Every page of textlrp says so in its head, before any data.
_PAGE = re.compile(
    rb'<!doctype html>\n<html lang="en">\n<head>\n(?:<meta [^<>]*>\n)*<meta name="generator" content="textlrp">'
)

# The first lines of terminal outputs.
_SHOWN = (
    re.compile(rb"[^\n]*   explained: [^\n]*, (?:logit|logits differ by)(?: \(mean of [\d,]+ windows\))? [+-]\d"),
    re.compile(rb"model     [^\n]*\n(?:[a-z]+ +[^\n]*\n)*versions  textlrp "),
    re.compile(rb"\d+ annotators? of report [0-9a-f]+[^\n]*: [\d,]+ of [\d,]+ documents marked"),
)
_EVALUATED = re.compile(rb"[^\n]* on [^\n]*\n\n[\d,]+ documents?[^\n]*\n")
_COST = b"\ncost of a document\n"

# Keys of the outermost object of indented JSON, or of the objects in its list: no JSON string has a line break.
_KEY = re.compile(rb'^  "(\w+)": ', re.MULTILINE)
_OBJECTS = (
    {"format", "text", "target", "logits", "tokens", "ledger"},  # an explanation
    {"passed", "architecture", "rules", "checks", "cost"},  # an audit
    {"format", "report", "annotators", "covered", "documents"},  # a comparison
    {"text", "ents", "tokens", "spans", "title", "target", "predicted"},  # an export to displaCy
)

_ABOUT = {"source", "target", "logit", "predicted"}
_RUN = b'{"textlrp": "run"'
_RECORD, _FAILED = {"format", "id", "explanations"}, {"format", "id", "failure"}
_RESULT = {"model", "corpus", "method", "document", "faithfulness", "plausibility", "failures"}
_GOLD = {"id", "text", "label", "rationales", "annotators", "settled"}
_GOLD_TABLE = re.compile(rb"id,text,(?:text_pair,)?label,rationales,annotators,settled\n")
# The keys that Prodigy adds to an answered task.
_ANSWERED = {"answer", "_input_hash"}

_DOCUMENTS = 1 << 26  # the most bytes of a DocBin to unpack


def kind(path: Path) -> Kind | None:
    """Return the kind of a file of textlrp; None if textlrp did not write it, or it cannot be read."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _kind(content, path)
    except (OSError, ValueError):  # ValueError: an empty file
        return None


def _kind(content: mmap.mmap, path: Path) -> Kind | None:
    first = content[: content.find(b"\n") + 1 or len(content)].removeprefix(b"\xef\xbb\xbf")
    if first.startswith((b"{\n", b"[\n")):
        return _indented(content)
    if first.startswith(b'{"'):
        return _line(first)
    ours = (
        _PAGE.match(content)
        or any(pattern.match(content) for pattern in _SHOWN)
        or (_EVALUATED.match(content) and content.find(_COST) >= 0)
        or _GOLD_TABLE.fullmatch(first)
        or first == _header()
        or _is_parquet(content, path)
        or _is_doc_bin(content)
    )
    return Kind.OUTPUT if ours else None


def _indented(content: mmap.mmap) -> Kind | None:
    keys = {match[1].decode() for match in _KEY.finditer(content)}
    if "textlrp" in keys:
        return Kind.OUTPUT if "sections" in keys else Kind.EVALUATION
    return Kind.OUTPUT if any(known <= keys for known in _OBJECTS) else None


def _line(first: bytes) -> Kind | None:
    if first.startswith(_RUN) or (first.startswith(_RUN[:10]) and _RUN.startswith(first)):  # perhaps cut off
        return Kind.RUN
    try:
        values = json.loads(first)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    keys = values.keys()
    if keys >= _RECORD or keys >= _FAILED:
        return Kind.RUN
    if keys >= _RESULT:
        return Kind.EVALUATION
    return Kind.OUTPUT if keys >= _GOLD or _is_task(values) else None


def _is_task(values: dict[str, Any]) -> bool:
    """Return whether values are an exported task for doccano or Prodigy, without answers of people."""
    keys, meta = list(values), values.get("meta")
    if keys[:2] == ["text", "label"]:
        return values.keys() >= _ABOUT
    return (
        keys[:2] == ["text", "tokens"] and isinstance(meta, dict) and meta.keys() >= _ABOUT and not _ANSWERED & {*keys}
    )


def _header() -> bytes:
    """Return the first line of a table."""
    from textlrp.export.tables import comma_separated

    return comma_separated([], "word").encode()


def _is_parquet(content: mmap.mmap, path: Path) -> bool:
    if content[:4] != b"PAR1" or content[-4:] != b"PAR1":
        return False
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    from textlrp.export.tables import COLUMNS

    try:
        return list(parquet.read_schema(path).names) == list(COLUMNS)
    except (pyarrow.ArrowException, OSError, ValueError):
        return False


def _is_doc_bin(content: mmap.mmap) -> bool:
    """Return whether content is a DocBin of spaCy with the attributes that textlrp writes."""
    if content[:1] != b"\x78":  # zlib
        return False
    try:
        documents = zlib.decompressobj().decompress(content[:_DOCUMENTS], _DOCUMENTS)
    except zlib.error:
        return False
    return all(name in documents for name in (b"span_groups", b"user_data", b"relevance", b"contrast", b"predicted"))
