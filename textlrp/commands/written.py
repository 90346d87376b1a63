"""What textlrp wrote: how its files are told from those of others, by what is in them. It needs no torch."""

from __future__ import annotations

import json
import mmap
import re
import zlib
from enum import Enum
from pathlib import Path
from typing import Any


class Kind(Enum):
    """What a file of textlrp is."""

    OUTPUT = "an output"  # a page, a table, an export, one explanation: the same command makes it again
    RUN = "a saved run"
    EVALUATION = "an evaluation"


# Every page of textlrp says so in its head, before anything that comes from data.
_PAGE = re.compile(
    rb'<!doctype html>\n<html lang="en">\n<head>\n(?:<meta [^<>]*>\n)*<meta name="generator" content="textlrp">'
)

# What the commands show in a terminal, by the first lines.
_SHOWN = (
    re.compile(rb"[^\n]*   explained: [^\n]*, (?:logit|logits differ by)(?: \(mean of [\d,]+ windows\))? [+-]\d"),
    re.compile(rb"model     [^\n]*\n(?:[a-z]+ +[^\n]*\n)*versions  textlrp "),
    re.compile(rb"\d+ annotators? of report [0-9a-f]+[^\n]*: [\d,]+ of [\d,]+ documents marked"),
)
_EVALUATED = re.compile(rb"[^\n]* on [^\n]*\n\n[\d,]+ documents?[^\n]*\n")
_COST = b"\ncost of a document\n"

# Keys of the outermost object of indented JSON, or of those in its list: no text has a line break in JSON.
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
# What Prodigy adds when a task is answered.
_ANSWERED = {"answer", "_input_hash"}

_DOCUMENTS = 1 << 26  # bytes of a DocBin that are unpacked at most to look for what is ours


def kind(path: Path) -> Kind | None:
    """Return what a file of textlrp is; None for a file that textlrp did not write, or cannot be read."""
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
    if first.startswith(_RUN) or (first.startswith(_RUN[:10]) and _RUN.startswith(first)):  # one that was cut off, too
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
    return Kind.OUTPUT if _is_task(values) else None


def _is_task(values: dict[str, Any]) -> bool:
    """Whether this is a line for doccano or Prodigy as it was exported, and not as it came back from people."""
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
    """Whether these are documents for spaCy with what textlrp writes into each."""
    if content[:1] != b"\x78":  # zlib
        return False
    try:
        documents = zlib.decompressobj().decompress(content[:_DOCUMENTS], _DOCUMENTS)
    except zlib.error:
        return False
    return all(name in documents for name in (b"span_groups", b"user_data", b"relevance", b"contrast", b"predicted"))
