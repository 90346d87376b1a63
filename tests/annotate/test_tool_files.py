"""What people marked in an annotation tool is compared as a report's own download is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from example_annotations import REPORT, document, line, sent, written

from textlrp.annotate.annotations import Annotation, read_annotations
from textlrp.errors import InputError

TEXT = "Not good 😀, truly bad."


def saved(path: Path, values: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def marks(annotation: Annotation) -> list[str]:
    return [mark.text for mark in annotation.rationales]


def told(annotations: tuple[Annotation, ...]) -> list[tuple[str, str, str | None, list[str]]]:
    return [(each.annotator, each.document, each.labels, marks(each)) for each in annotations]


def test_label_studio_names_its_annotators(tmp_path: Path) -> None:
    choice = {"from_name": "predicted", "to_name": "text", "type": "choices", "value": {"choices": ["neg "]}}
    region = {"from_name": "relevance", "to_name": "text", "type": "labels", "value": {"start": 18, "end": 21}}
    people = [{"completed_by": 1, "result": [choice, region]}, {"completed_by": 2, "result": [region]}]
    tasks = [
        {"id": 90, "data": {"document": "a", "text": TEXT, "label": "POS"}, "annotations": people},
        {"id": 91, "data": {"text": "meh", "label": "POS"}, "annotations": []},
    ]
    found = read_annotations([saved(tmp_path / "project.json", tasks)], REPORT)
    assert told(found) == [("1", "a", ("NEG",), ["bad"]), ("2", "a", None, ["bad"])]
    assert {(each.verdict, each.blind) for each in found} == {(None, False)}


def test_other_tools_give_the_name_of_the_file(tmp_path: Path) -> None:
    ada = written(
        tmp_path / "ada.jsonl",
        json.dumps({"text": TEXT, "accept": ["NEG"], "answer": "accept", "spans": [{"start": 4, "end": 8}]}),
        json.dumps({"text": "meh", "label": "POS", "answer": "reject", "meta": {"given": "POS"}}),
    )
    ben = written(
        tmp_path / "ben.jsonl", json.dumps({"text": TEXT, "label": [[9, 11, "x"], [19, 22, "y"]], "given": "NEG"})
    )
    own = written(tmp_path / "own.jsonl", line(annotator="Cem"))
    assert told(read_annotations([ada, ben, own], REPORT)) == [
        ("ada", "a", ("NEG",), ["good"]),
        ("ben", "a", None, ["😀", "bad"]),
        ("Cem", "a", None, []),
    ]


def test_doccano_may_give_labels_alone(tmp_path: Path) -> None:
    classified = {"id": 7, "text": TEXT, "label": ["NEG"], "Comments": []}
    found = read_annotations([written(tmp_path / "ada.jsonl", json.dumps(classified))], REPORT)
    assert told(found) == [("ada", "a", ("NEG",), [])]


def test_a_text_that_is_there_twice_is_told_by_its_id(tmp_path: Path) -> None:
    report = sent(document("a", "yes"), document("b", "yes"))
    task = {"text": "yes", "spans": [{"start": 0, "end": 3}], "answer": "accept"}
    known = written(tmp_path / "known.jsonl", json.dumps({**task, "id": "b"}))
    assert told(read_annotations([known], report)) == [("known", "b", None, ["yes"])]
    unknown = written(tmp_path / "unknown.jsonl", json.dumps(task))
    with pytest.raises(InputError, match="document '1' has a text that 2 documents of the report have"):
        read_annotations([unknown], report)


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ({"text": "another", "spans": [{"start": 0, "end": 3}], "answer": "accept"}, "is in no document of the report"),
        ({"text": "meh", "accept": ["odd"], "answer": "accept"}, "has the label 'odd': the report has NEG, POS"),
        ({"text": "meh", "spans": [{"start": 0, "end": 9}], "answer": "accept"}, "line 1: it has the rationale [0, 9]"),
        ({"text": "meh"}, "line 1 is not an annotation: a line of the report's download was expected"),
    ],
)
def test_what_does_not_fit_the_report_is_a_sentence(tmp_path: Path, task: dict[str, Any], says: str) -> None:
    path = written(tmp_path / "made.jsonl", json.dumps(task))
    with pytest.raises(InputError) as caught:
        read_annotations([path], REPORT)
    assert says in str(caught.value)
