"""brat standoff: a text file and an annotation file for each text, and the project's configuration."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence

from textlrp.basics.characters import encodable
from textlrp.data.records import Record
from textlrp.export.colors import colors
from textlrp.export.marks import Mark, Selection, labels, select
from textlrp.render import palette
from textlrp.render.palette import Color
from textlrp.results.spans import TEXT

# Characters that some readers of .ann files take for the end of a line (str.splitlines) or a field.
_BREAK = re.compile("[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
# Names that Windows reserves for devices.
_DEVICES = re.compile("(?:con|prn|aux|nul|com[0-9]|lpt[0-9])", re.IGNORECASE)


def brat(records: Sequence[Record], selection: Selection) -> dict[str, str]:
    """Return the files of a brat collection.

    ``NAME.txt`` is the text, ``NAME.ann`` has a ``T`` line for each span and an annotator's note with its relevance. A
    span over line breaks is discontinuous, as brat's annotations must not contain any. Offsets are code points. All
    targets of a document share its files, and a second text has its own. Names are made from ids, and are safe for any
    id; ``documents.json`` maps them to documents.

    Source: https://brat.nlplab.org/standoff.html, https://brat.nlplab.org/configuration.html
    """
    types = _types(labels(records))
    files: dict[str, str] = {}
    index: dict[str, dict[str, str]] = {}
    taken: set[str] = set()
    for record in records:
        for source, text, _ in record.explanation.texts:
            name = _name(record.id if source == TEXT else f"{record.id}-pair", taken)
            index[name] = {"id": encodable(record.id), "source": source}
            marks = [m for e in record.explanations for m in select(e, selection) if m.source == source]
            files[f"{name}.txt"] = encodable(text)
            files[f"{name}.ann"] = "".join(_lines(encodable(text), marks, types))
    files["annotation.conf"] = "\n".join(["[entities]", *types.values(), "[relations]", "[events]", "[attributes]", ""])
    files["visual.conf"] = _visual(colors(records), types)
    files["documents.json"] = json.dumps(index, ensure_ascii=False, indent=1) + "\n"
    return files


def _lines(text: str, marks: Sequence[Mark], types: dict[str, str]) -> Iterable[str]:
    for number, mark in enumerate(marks, 1):
        fragments = fragment(text, mark.start, mark.end)
        places = ";".join(f"{start} {end}" for start, end in fragments)
        words = " ".join(text[start:end] for start, end in fragments)
        yield f"T{number}\t{types[mark.label]} {places}\t{words}\n"
        yield f"#{number}\tAnnotatorNotes T{number}\trelevance {mark.relevance:+.6g}\n"


def fragment(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return the parts of a span between line breaks and tabs, without white space at their ends."""
    fragments = []
    for match in re.finditer(f"(?:(?!{_BREAK.pattern}).)+", text[start:end], re.DOTALL):
        inner = match.group().strip()
        if inner:
            at = start + match.start() + match.group().index(inner)
            fragments.append((at, at + len(inner)))
    return fragments


def _types(names: Iterable[str]) -> dict[str, str]:
    """Return the brat type of each label: only letters, digits, ``_`` and ``-``, all different."""
    types: dict[str, str] = {}
    for name in names:
        plain = unicodedata.normalize("NFKD", name.replace(" ", "_")).encode("ascii", "ignore").decode()
        types[name] = _free(re.sub("[^a-zA-Z0-9_-]", "_", plain), set(types.values()), "_")
    return types


def _visual(behind: dict[str, Color], types: dict[str, str]) -> str:
    lines = ["[labels]"]
    for name, kind in types.items():
        shown = re.sub(r"[|\s\x00-\x1f\x7f-\x9f]+", " ", name).strip()
        lines.append(f"{kind} | {shown}")
    lines.append("[drawing]")
    for name, kind in types.items():
        color = behind[name]
        lines.append(f"{kind}\tbgColor:{color.hex}, fgColor:{palette.ink(color).hex}, borderColor:darken")
    return "\n".join([*lines, ""])


def _name(identity: str, taken: set[str]) -> str:
    """Return a new file name without suffix for an id, never another folder or a device, and add it to ``taken``."""
    plain = unicodedata.normalize("NFKD", identity).encode("ascii", "ignore").decode()
    plain = re.sub("[^A-Za-z0-9_-]+", "-", plain).strip("-")[:60] or "document"
    name = _free(f"document-{plain}" if _DEVICES.fullmatch(plain) else plain, taken, "-")
    taken.add(name.lower())  # on some systems, names that differ only in case are one file
    return name


def _free(name: str, taken: set[str], sign: str) -> str:
    number, free = 2, name
    while free.lower() in taken or free in taken:
        free = f"{name}{sign}{number}"
        number += 1
    return free
