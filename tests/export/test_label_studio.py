"""Label Studio: its own validation takes the tasks, and its editor's offsets are ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from example_explanations import measured
from example_records import HOSTILE_LABELS, TEXTS, hostile, record, words
from example_selections import SELECTIONS
from hypothesis import given, settings

from textlrp.data.records import Record
from textlrp.export.label_studio import label_studio
from textlrp.export.marks import Selection, select


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
        '    <Label value="for POS" background="#e69f00" />\n'
        '    <Label value="against POS" background="#f5d999" />\n'
        '    <Label value="for NEG" background="#56b4e9" />\n'
        '    <Label value="against NEG" background="#bbe1f6" />\n'
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


def test_the_version_names_the_reference() -> None:
    (task,) = json.loads(label_studio([Record("a", (measured(),))], Selection())["tasks.json"])
    assert task["predictions"][0]["model_version"] == "tiny, difference from [MASK]: POS"
