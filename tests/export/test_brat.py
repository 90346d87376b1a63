"""brat reads the marks."""

from __future__ import annotations

import json
import re
from pathlib import Path

from brat_reader import read_annotations, read_text, read_types
from example_records import HOSTILE_LABELS, TEXTS, TRICKY, explanation, hostile, record
from example_selections import SELECTIONS
from hostile_strings import STRINGS
from hypothesis import given

from textlrp.basics.characters import encodable
from textlrp.data.records import Record
from textlrp.export import formats
from textlrp.export.brat import brat, fragment
from textlrp.export.marks import Selection, select
from textlrp.results.spans import Span


@given(TEXTS, SELECTIONS)
def test_brat_reads_the_marks(text: str, selection: Selection) -> None:
    both = Record("1", (explanation(text), explanation(text, target="NEG")))
    files = brat([both], selection)
    types = read_types(files["annotation.conf"])
    assert types == ["for_POS", "against_POS", "for_NEG", "against_NEG"]
    found, notes = read_annotations(files["1.txt"], files["1.ann"], types)
    marks = [mark for each in both.explanations for mark in select(each, selection)]
    assert files["1.txt"] == encodable(text)
    assert len(found) == len(marks) == len(notes)
    for annotation, mark in zip(found, marks, strict=True):
        assert annotation.type == mark.label.replace(" ", "_")
        assert (annotation.fragments[0][0], annotation.fragments[-1][1]) == (mark.start, mark.end)
        assert notes[annotation.id] == f"relevance {mark.relevance:+.6g}"


def test_brat_over_line_breaks() -> None:
    assert fragment("one\r\ntwo \n\n three\tfour", 0, 20) == [(0, 3), (5, 8), (12, 17), (18, 20)]
    e = explanation("one\r\ntwo three", tokens=(Span(0, 14, "one\r\ntwo three", 1.0),))
    files = brat([Record("1", (e,))], Selection(by="token"))
    assert files["1.ann"] == "T1\tfor_POS 0 3;5 14\tone two three\n#1\tAnnotatorNotes T1\trelevance +1\n"


def test_brat_keeps_line_ends_on_disk(tmp_path: Path) -> None:
    formats.export([record(TRICKY, "second\r\rtext")], "brat", tmp_path / "out")
    assert read_text(tmp_path / "out" / "1.txt") == TRICKY
    assert read_text(tmp_path / "out" / "1-pair.txt") == "second\r\rtext"
    types = read_types(read_text(tmp_path / "out" / "annotation.conf"))
    found, _ = read_annotations(TRICKY, read_text(tmp_path / "out" / "1.ann"), types)
    assert len(found) > 5


def test_brat_names_are_safe_and_different(tmp_path: Path) -> None:
    ids = ["../../etc/passwd", "..", "/root", "a/b", "a\\b", "A-b", "con", "x\0y", "", " ", "a.b", "ä", "x" * 300, "映"]
    ids += [text for text in dict.fromkeys(STRINGS) if text not in ids]
    formats.export([record("a text", identity=identity) for identity in ids], "brat", tmp_path / "out")
    index = json.loads((tmp_path / "out" / "documents.json").read_text(encoding="utf-8"))
    assert [entry["id"] for entry in index.values()] == [encodable(identity) for identity in ids]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,70}", name) for name in index)
    assert len({name.lower() for name in index}) == len(ids)
    assert not {"con", "nul"} & set(index)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    extra = {"annotation.conf", "visual.conf", "documents.json"}
    assert written == {f"{name}.{kind}" for name in index for kind in ("txt", "ann")} | extra
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_brat_types_are_plain_and_different() -> None:
    names = [*HOSTILE_LABELS[:30], "ü b", "u b", "POS", "pos"]
    files = brat([hostile(name, "text") for name in names], Selection())
    types = read_types(files["annotation.conf"])
    assert len(types) == len(set(types)) == 2 * len(dict.fromkeys(encodable(name) for name in names))
    labels = files["visual.conf"].partition("[drawing]")[0].splitlines()[1:]
    assert [line.partition(" | ")[0] for line in labels] == types
