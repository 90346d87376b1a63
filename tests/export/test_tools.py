"""Exports read back by the tools that they are for: label-studio-sdk and spaCy; brat by its grammar."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from brat_reader import read_annotations, read_text, read_types
from example_records import TEXTS, TRICKY, explanation, record, words
from example_selections import SELECTIONS
from hostile_strings import STRINGS
from hypothesis import given, settings

from textlrp.basics.characters import encodable
from textlrp.data.records import Record
from textlrp.export import formats
from textlrp.export.brat import brat, fragment
from textlrp.export.label_studio import label_studio
from textlrp.export.marks import Selection, entries, select
from textlrp.export.spacy import displacy, doc_bin
from textlrp.results.spans import Span

HOSTILE_LABELS = [text for text in STRINGS if text.strip()]


def hostile(name: str, text: str) -> Record:
    e = words(
        text,
        {},
        target=name,
        predicted=name,
        logits={name: 1.0, "other": 0.0},
        probabilities={name: 0.7, "other": 0.3},
    )
    piece = text.strip()
    at = text.index(piece)
    spans = (Span(at, at + len(piece), piece, 1.0),)
    return Record(name, (explanation(text, **{**_fields(e), "tokens": spans}),), name)


def _fields(e: Any) -> dict[str, Any]:
    return {key: getattr(e, key) for key in ("target", "predicted", "logits", "probabilities")}


# Label Studio


def interface(config: str) -> Any:
    sdk = pytest.importorskip("label_studio_sdk.label_interface", reason="needs label-studio-sdk")
    found = sdk.LabelInterface(config)
    found.validate()
    return found


@settings(max_examples=30)
@given(TEXTS, TEXTS, SELECTIONS)
def test_label_studio_validates_tasks_and_predictions(text: str, pair: str, selection: Selection) -> None:
    records = [record(text, pair), record(pair, identity="2")]
    files = label_studio(records, selection)
    config = interface(files["config.xml"])
    tasks = json.loads(files["tasks.json"])
    assert [task["data"]["document"] for task in tasks] == ["1", "2"]
    for task, each in zip(tasks, records, strict=True):
        (prediction,) = task["predictions"]
        assert config.validate_prediction(prediction, return_errors=True) == []
        assert config.validate_task({"data": task["data"]})
        marks = select(each.explanation, selection)
        regions = [region for region in prediction["result"] if region["type"] == "labels"]
        assert [task["data"][r["to_name"]][r["value"]["start"] : r["value"]["end"]] for r in regions] == [
            mark.text for mark in marks
        ]
        assert [(r["value"]["labels"], r["score"]) for r in regions] == [([m.label], m.share) for m in marks]
        assert len({region["id"] for region in prediction["result"]}) == len(prediction["result"])
        assert prediction["score"] == 0.75


def test_label_studio_whole() -> None:
    both = (words("a good film", {"good": 2.0, "film": -0.5}), words("a good film", {"good": -1.0}, target="NEG"))
    files = label_studio([Record("d", both, "NEG")], Selection())
    assert files["config.xml"] == (
        "<View>\n"
        '  <Choices name="predicted" toName="text" choice="single">\n'
        '    <Choice value="NEG" />\n'
        '    <Choice value="POS" />\n'
        "  </Choices>\n"
        '  <Labels name="relevance" toName="text">\n'
        '    <Label value="for POS" background="#f08214" />\n'
        '    <Label value="against POS" background="#4682dc" />\n'
        '    <Label value="for NEG" background="#f08214" />\n'
        '    <Label value="against NEG" background="#4682dc" />\n'
        "  </Labels>\n"
        '  <Text name="text" value="$text" valueType="text" saveTextResult="yes" />\n'
        "</View>\n"
    )
    (task,) = json.loads(files["tasks.json"])
    assert task["data"] == {"document": "d", "text": "a good film", "predicted": "POS", "label": "NEG"}
    assert [prediction["model_version"] for prediction in task["predictions"]] == [
        "tiny, attnlrp: POS",
        "tiny, attnlrp: NEG",
    ]
    assert task["predictions"][0]["result"][1] == {
        "id": "span-1",
        "from_name": "relevance",
        "to_name": "text",
        "type": "labels",
        "value": {"start": 2, "end": 6, "text": "good", "labels": ["for POS"]},
        "score": 1.0,
        "meta": {"text": ["relevance +2"]},
    }


def test_label_studio_converts_what_was_marked(tmp_path: Path) -> None:
    """The SDK's own converter, which cuts the text in Python, finds the marked words behind emoji and CRLF."""
    converter = pytest.importorskip("label_studio_sdk.converter", reason="needs label-studio-sdk")
    e = words("👩🏽‍🚒 𝔊\r\na co\u0301te\u0301 good film", {"good": 1.0, "film": -0.5})
    files = label_studio([Record("1", (e,))], Selection())
    (task,) = json.loads(files["tasks.json"])
    task["id"] = 1
    task["annotations"] = [{"id": 1, "completed_by": 1, "result": task["predictions"][0]["result"]}]
    (tmp_path / "in.json").write_text(json.dumps([task]), encoding="utf-8")
    convert = converter.Converter(files["config.xml"], str(tmp_path))
    convert.convert_to_conll2003(str(tmp_path / "in.json"), str(tmp_path), is_dir=False)
    lines = (tmp_path / "result.conll").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "POS" in line] == ["good -X- _ B-for POS", "film -X- _ B-against POS"]


def test_label_studio_holds_hostile_labels() -> None:
    records = [hostile(name, f"say {name}") for name in HOSTILE_LABELS]
    files = label_studio(records, Selection())
    tree = ElementTree.fromstring(files["config.xml"])
    assert {element.tag for element in tree.iter()} == {"View", "Choices", "Choice", "Labels", "Label", "Text"}
    config = interface(files["config.xml"])
    for task in json.loads(files["tasks.json"]):
        assert config.validate_prediction(task["predictions"][0], return_errors=True) == []


def test_label_studio_takes_no_choice_for_a_variable() -> None:
    files = label_studio([hostile("$text", "some text")], Selection())
    assert '<Choice value="label $text" />' in files["config.xml"]


# spaCy


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


# brat


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
