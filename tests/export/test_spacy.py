"""spaCy reads the marks, and displaCy renders them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from example_records import HOSTILE_LABELS, TEXTS, hostile, record
from example_selections import SELECTIONS
from hypothesis import given, settings

from textlrp.basics.characters import encodable
from textlrp.export import formats
from textlrp.export.marks import Selection, entries
from textlrp.export.spacy import displacy, doc_bin


@settings(max_examples=40)
@given(TEXTS, SELECTIONS)
def test_spacy_reads_the_marks(text: str, selection: Selection) -> None:
    spacy = pytest.importorskip("spacy", reason="needs spaCy")
    records = [record(text)]
    (entry,) = entries(records, selection)
    vocabulary = spacy.vocab.Vocab()
    (document,) = spacy.tokens.DocBin().from_bytes(doc_bin(records, selection)).get_docs(vocabulary)
    assert document.text == encodable(text)
    expected = [(m.start, m.end, m.text, m.label) for m in entry.marks]
    for spans in (document.ents, document.spans["sc"]):
        assert [(s.start_char, s.end_char, s.text, s.label_) for s in spans] == expected
    assert document.spans["sc"].attrs == {"relevance": [m.relevance for m in entry.marks]}
    assert document.cats == {"NEG": 0.25, "POS": 0.75}
    assert document.user_data["id"] == "1"
    for start, end, *_ in expected:
        assert document.char_span(start, end) is not None


@settings(max_examples=40)
@given(TEXTS, SELECTIONS)
def test_displacy_renders_the_marks(text: str, selection: Selection) -> None:
    spacy = pytest.importorskip("spacy", reason="needs spaCy")
    from html import escape

    (entry,) = entries([record(text)], selection)
    shown = json.loads(displacy([record(text)], selection))
    html = spacy.displacy.render(shown, style="ent", manual=True, jupyter=False)
    marked = re.findall(r"<mark [^>]*>\n    (.*?)\n    <span ", html, re.DOTALL)
    assert marked == [escape(m.text).replace("&#x27;", "'") for m in entry.marks]
    spans = spacy.displacy.render(shown, style="span", manual=True, jupyter=False)
    assert spans.count("for POS") + spans.count("against POS") >= len(entry.marks)
    for span, mark in zip(shown[0]["spans"], entry.marks, strict=True):
        tokens = shown[0]["tokens"][span["start_token"] : span["end_token"]]
        assert "".join("".join(tokens).split()) == "".join(mark.text.split())


def test_displacy_runs_no_label() -> None:
    spacy = pytest.importorskip("spacy", reason="needs spaCy")
    records = [hostile(name, f"say {name}") for name in HOSTILE_LABELS]
    shown = json.loads(displacy(records, Selection()))
    for style in ("ent", "span"):
        html = spacy.displacy.render(shown, style=style, manual=True, jupyter=False)
        tags = set(re.findall(r"<(/?[a-zA-Z!][^\s/>]*)", html))
        assert {tag.strip("/") for tag in tags} <= {"div", "mark", "span", "h2", "br"}


def test_a_docbin_goes_to_a_file(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy", reason="needs spaCy")
    formats.export([record("a good film", "and another")], "spacy", tmp_path / "out.spacy")
    documents = list(spacy.tokens.DocBin().from_disk(tmp_path / "out.spacy").get_docs(spacy.vocab.Vocab()))
    assert [(d.text, d.user_data["source"]) for d in documents] == [
        ("a good film", "text"),
        ("and another", "text_pair"),
    ]
