"""JSON lines for doccano and Prodigy."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from example_explanations import measured
from example_records import TEXTS, explanation, record, words
from example_selections import SELECTIONS
from hypothesis import given

from textlrp.basics.characters import encodable
from textlrp.data.records import Record
from textlrp.export import formats
from textlrp.export.marks import Selection, entries, graphemes, utf16
from textlrp.results.spans import Span

# https://github.com/doccano/doccano/blob/master/backend/data_import/pipeline/label.py: offsets from 0 on, start before
# end, a label that is not empty; https://doccano.github.io/doccano/tutorial/ shows the lines.
DOCCANO = {
    "type": "object",
    "required": ["text", "label"],
    "properties": {
        "text": {"type": "string", "minLength": 1},
        "label": {
            "type": "array",
            "items": {
                "type": "array",
                "prefixItems": [
                    {"type": "integer", "minimum": 0},
                    {"type": "integer", "minimum": 1},
                    {"type": "string", "minLength": 1},
                ],
                "minItems": 3,
                "maxItems": 3,
            },
        },
    },
}


# https://prodi.gy/docs/api-interfaces#ner_manual
_OFFSET = {"type": "integer", "minimum": 0}


PRODIGY = {
    "type": "object",
    "required": ["text", "tokens", "spans", "meta"],
    "properties": {
        "text": {"type": "string"},
        "meta": {"type": "object", "additionalProperties": {"type": ["string", "number"]}},
        "tokens": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["text", "start", "end", "id", "ws"],
                "properties": {"start": _OFFSET, "end": _OFFSET, "id": _OFFSET, "ws": {"type": "boolean"}},
            },
        },
        "spans": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["start", "end", "token_start", "token_end", "label"],
                "properties": {"start": _OFFSET, "end": _OFFSET, "token_start": _OFFSET, "token_end": _OFFSET},
            },
        },
    },
}


def lines(written: str | None) -> list[dict[str, Any]]:
    assert written is not None
    return [json.loads(line) for line in written.splitlines()]  # whatever some reader takes for the end of a line


@given(TEXTS, SELECTIONS)
def test_doccano_counts_as_javascript_does(text: str, selection: Selection) -> None:
    records = [record(text)]
    (line,) = lines(formats.export(records, "doccano", by=selection.by, threshold=selection.threshold))
    jsonschema.validate(line, DOCCANO)
    units = line["text"].encode("utf-16-le")
    (entry,) = entries(records, selection)
    assert [units[2 * a : 2 * b].decode("utf-16-le") for a, b, _ in line["label"]] == [m.text for m in entry.marks]
    assert [name for *_, name in line["label"]] == [m.label for m in entry.marks]


@given(TEXTS, SELECTIONS)
def test_doccano_counts_grapheme_clusters_where_the_project_does(text: str, selection: Selection) -> None:
    import regex

    records = [record(text)]
    (line,) = lines(formats.export(records, "doccano", by=selection.by, threshold=selection.threshold, graphemes=True))
    jsonschema.validate(line, DOCCANO)
    clusters = regex.findall(r"\X", line["text"])
    (entry,) = entries(records, selection)
    found = ["".join(clusters[a:b]) for a, b, _ in line["label"]]
    remaining = [m.text for m in entry.marks]
    for text_of_clusters in found:  # a mark that is part of a cluster is widened, or its cluster is marked already
        while remaining and remaining[0] not in text_of_clusters:
            remaining.pop(0)
        assert remaining
        remaining.pop(0)
    assert all(0 <= a < b <= len(clusters) for a, b, _ in line["label"])
    assert all(one[1] <= other[0] for one, other in zip(line["label"], line["label"][1:], strict=False))


@given(TEXTS, SELECTIONS)
def test_prodigy_has_marks_on_token_boundaries(text: str, selection: Selection) -> None:
    records = [record(text)]
    (task,) = lines(formats.export(records, "prodigy", by=selection.by, threshold=selection.threshold))
    jsonschema.validate(task, PRODIGY)
    assert "".join(token["text"] + " " * token["ws"] for token in task["tokens"]) == task["text"] == encodable(text)
    assert [token["id"] for token in task["tokens"]] == list(range(len(task["tokens"])))
    for token in task["tokens"]:
        assert task["text"][token["start"] : token["end"]] == token["text"] != ""
    (entry,) = entries(records, selection)
    assert [span["text"] for span in task["spans"]] == [m.text for m in entry.marks]
    for span in task["spans"]:
        assert task["text"][span["start"] : span["end"]] == span["text"]
        assert task["tokens"][span["token_start"]]["start"] == span["start"]
        assert task["tokens"][span["token_end"]]["end"] == span["end"]


def test_a_task_for_prodigy_whole() -> None:
    e = words("Good  film", {"Good": 0.5, "film": -0.25})
    assert lines(formats.export([Record("r", (e,), "NEG")], "prodigy", threshold=0.6)) == [
        {
            "text": "Good  film",
            "tokens": [
                {"text": "Good", "start": 0, "end": 4, "id": 0, "ws": False},
                {"text": "  ", "start": 4, "end": 6, "id": 1, "ws": False},
                {"text": "film", "start": 6, "end": 10, "id": 2, "ws": False},
            ],
            "spans": [
                {
                    "start": 0,
                    "end": 4,
                    "token_start": 0,
                    "token_end": 0,
                    "label": "for POS",
                    "text": "Good",
                    "relevance": 0.5,
                }
            ],
            "meta": {
                "id": "r",
                "source": "text",
                "target": "POS",
                "logit": 1.5,
                "predicted": "POS",
                "probability": 0.75,
                "given": "NEG",
                "model": "tiny",
            },
        }
    ]


@pytest.mark.parametrize("to", ["doccano", "prodigy"])
def test_a_pair_is_two_lines_and_each_target_its_own(to: str) -> None:
    both = Record("x", (explanation("one text", "two 👩 texts"), explanation("one text", "two 👩 texts", target="NEG")))
    found = [line.get("meta", line) for line in lines(formats.export([both], to))]
    assert [(line["id"], line["source"], line["target"]) for line in found] == [
        ("x", "text", "POS"),
        ("x", "text_pair", "POS"),
        ("x", "text", "NEG"),
        ("x", "text_pair", "NEG"),
    ]


def test_units_of_a_family_of_emoji() -> None:
    assert utf16("a👩🏽‍🚒b") == [0, 1, 3, 5, 6, 8, 9]
    assert graphemes("a👩🏽‍🚒b") == [0, 1, 1, 1, 1, 2, 3]
    (line,) = lines(formats.export([record("👩🏽‍🚒 good", tokens=(Span(5, 9, "good", 1.0),))], "doccano"))
    assert line["label"] == [[8, 12, "for POS"]]
    (line,) = lines(
        formats.export([record("👩🏽‍🚒\r\ngood", tokens=(Span(6, 10, "good", 1.0),))], "doccano", graphemes=True)
    )
    assert line["label"] == [[2, 6, "for POS"]]


@pytest.mark.parametrize("to", ["doccano", "prodigy"])
def test_the_reference_is_named_with_its_logit(to: str) -> None:
    documents = [Record("a", (measured(),)), Record("b", (explanation("A film"),))]
    first, second = (line.get("meta", line) for line in lines(formats.export(documents, to)))
    assert (first["reference"], first["reference_logit"]) == ("[MASK]", -0.5)
    assert "reference" not in second
    assert "reference_logit" not in second
