"""A strict reader of brat's standoff format, written from its published grammar and what its server checks.

Sources: https://brat.nlplab.org/standoff.html, https://github.com/nlplab/brat/wiki/Annotation-Data-Format,
https://brat.nlplab.org/configuration.html
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

_LINE = re.compile(r"T([1-9][0-9]*)\t([a-zA-Z0-9_-]+) ([0-9]+ [0-9]+(?:;[0-9]+ [0-9]+)*)\t([^\t]*)")
_NOTE = re.compile(r"#([1-9][0-9]*)\tAnnotatorNotes (T[1-9][0-9]*)\t([^\t]+)")
_SECTIONS = ["entities", "relations", "events", "attributes"]


class TextBound(NamedTuple):
    id: str
    type: str
    fragments: list[tuple[int, int]]
    text: str


def read_annotations(text: str, written: str, types: list[str]) -> tuple[list[TextBound], dict[str, str]]:
    """The text-bound annotations of an ``.ann`` file and the notes on them; anything else is an AssertionError."""
    assert written == "" or written.endswith("\n")
    found: list[TextBound] = []
    notes: dict[str, str] = {}
    for line in written.splitlines():  # every line break that some reader knows
        note = _NOTE.fullmatch(line)
        if note:
            assert note[2] in {each.id for each in found}
            assert note[2] not in notes
            notes[note[2]] = note[3]
            continue
        match = _LINE.fullmatch(line)
        assert match, f"no text-bound annotation: {line!r}"
        fragments = [(int(a), int(b)) for a, b in (part.split(" ") for part in match[3].split(";"))]
        for start, end in fragments:
            assert 0 <= start < end <= len(text)
        # brat calls fragments that touch overlapping
        assert all(before[1] < after[0] for before, after in pairwise(fragments))
        assert match[4] == " ".join(text[start:end] for start, end in fragments)
        assert match[2] in types
        assert f"T{match[1]}" not in {each.id for each in found}
        found.append(TextBound(f"T{match[1]}", match[2], fragments, match[4]))
    return found, notes


def read_types(configuration: str) -> list[str]:
    """The entity types of ``annotation.conf``, which must have all four sections, the others empty."""
    sections: dict[str, list[str]] = {}
    for line in configuration.splitlines():
        heading = re.fullmatch(r"\[(.*)\]", line)
        if heading:
            sections[heading[1]] = []
        elif line.strip():
            sections[list(sections)[-1]].append(line)
    assert list(sections) == _SECTIONS
    assert all(re.fullmatch("[a-zA-Z0-9_-]+", name) for name in sections["entities"])
    assert not any(sections[name] for name in _SECTIONS[1:])
    return sections["entities"]


def read_text(path: Path) -> str:
    """A text file's characters, line ends as they are."""
    return path.read_bytes().decode("utf-8")
