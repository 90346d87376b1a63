"""What annotation tools give back is read with its texts, labels and marked words: every export, and the tools' own."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from consistent_explanations import consistent
from example_records import TRICKY, words

from textlrp.data.documents import DocumentTable, InputDocument, read_documents
from textlrp.data.records import Record
from textlrp.errors import InputError
from textlrp.export import formats

RELEVANCES = {"good": 1.0, "dull": -0.5, "film": 0.75}
FIRST = "A 😀 good film, dull end"
RECORDS = [
    Record("a", (consistent(words(FIRST, RELEVANCES)),), "POS"),
    Record("b/1", (consistent(words("good dull", RELEVANCES, pair="a second text")),), "NEG"),
    Record("c", (consistent(words("dull 👍🏽 good", RELEVANCES)),), None),
]
#: What speaks for the right label is a reason for it; a label that is not known leaves what speaks for the target.
READ = [
    InputDocument("a", FIRST, None, "POS", ((4, 8), (9, 13))),
    InputDocument("b/1", "good dull", "a second text", "NEG", ()),
    InputDocument("c", "dull 👍🏽 good", None, None, ((8, 12),)),
]


def read(path: Path, **options: Any) -> DocumentTable:
    return read_documents(str(path), **options)


def annotated(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tasks as Label Studio exports them when every prediction is submitted as it is."""
    return [
        {"id": 70 + i, "data": t["data"], "annotations": [{"id": i, "completed_by": 1, "result": p["result"]}]}
        for i, t in enumerate(tasks)
        for p in t["predictions"]
    ]


@pytest.mark.parametrize("to", ["doccano", "prodigy", "spacy.json", "spacy.spacy", "brat", "label-studio"])
def test_an_export_is_read_back(tmp_path: Path, to: str) -> None:
    kind, _, ending = to.partition(".")
    path = tmp_path / f"export.{ending or 'jsonl'}"
    formats.export(RECORDS, kind, path)
    expected = READ
    if to == "brat":  # it has no labels, so what speaks for the target stays
        expected = [
            InputDocument("a", FIRST, None, None, ((4, 8), (9, 13))),
            InputDocument("b/1", "good dull", "a second text", None, ((0, 4),)),
            InputDocument("c", "dull 👍🏽 good", None, None, ((8, 12),)),
        ]
    if to == "label-studio":  # before anybody has annotated, there are the labels of the data and no marks
        tasks = json.loads((path / "tasks.json").read_text(encoding="utf-8"))
        texts = [(document.id, document.text, document.label) for document in READ]
        assert [(d.id, d.text, d.label) for d in read(path / "tasks.json").documents] == texts
        assert not any(document.rationales for document in read(path / "tasks.json").documents)
        path = tmp_path / "annotated.json"
        path.write_text(json.dumps(annotated(tasks)), encoding="utf-8")
        expected = [
            InputDocument(document.id, document.text, document.text_pair, "POS", spans)
            for document, spans in zip(READ, [((4, 8), (9, 13)), ((0, 4),), ((8, 12),)], strict=True)
        ]
    table = read(path)
    assert table.skipped == ()
    assert sorted(table.documents, key=lambda document: document.id) == expected


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_a_table_of_relevances_is_no_table_of_documents(tmp_path: Path, to: str) -> None:
    formats.export(RECORDS, to, tmp_path / f"export.{to}")
    with pytest.raises(InputError, match="is a table that textlrp exported, with a row for each word"):
        read(tmp_path / f"export.{to}")


def test_offsets_come_back_in_characters(tmp_path: Path) -> None:
    record = Record("a", (consistent(words(TRICKY, {"film": 1.0, "end": 1.0})),), "POS")
    marked = tuple((TRICKY.index(word), TRICKY.index(word) + len(word)) for word in ("film", "end"))
    for kind, name in (("doccano", "a.jsonl"), ("prodigy", "p.jsonl"), ("spacy", "s.json"), ("brat", "folder")):
        formats.export([record], kind, tmp_path / name)
        assert read(tmp_path / name).documents[0].rationales == marked


# -- Label Studio --------------------------------------------------------------------------------------------------


def choice(*names: str, control: str = "sentiment") -> dict[str, Any]:
    return {"from_name": control, "to_name": "text", "type": "choices", "value": {"choices": list(names)}}


def region(start: int, end: int, label: str = "reason", to: str = "text") -> dict[str, Any]:
    value = {"start": start, "end": end, "text": "", "labels": [label]}
    return {"from_name": "marks", "to_name": to, "type": "labels", "value": value}


def task(text: str, *results: list[dict[str, Any]], **data: Any) -> dict[str, Any]:
    people = [{"id": i, "completed_by": {"id": i, "email": f"p{i}@x"}, "result": r} for i, r in enumerate(results, 1)]
    prediction = {"result": [choice("NEG"), region(0, 1)], "score": 0.9}
    return {"id": 5, "data": {"text": text, **data}, "annotations": people, "predictions": [prediction]}


def test_tasks_of_label_studio(tmp_path: Path) -> None:
    path = tmp_path / "project.json"
    rows = [
        task("one good film", [choice("POS"), region(4, 8), region(4, 13)]),
        task("two bad films", [choice("NEG"), region(4, 7)], [choice("NEG"), region(4, 13)], [choice("NEG")]),
        task("three", [choice("POS")], [choice("NEG")]),
        task("four"),
        {**task("five"), "annotations": [{"id": 1, "was_cancelled": True, "result": [choice("POS")]}]},
    ]
    path.write_text(json.dumps([{**row, "id": i} for i, row in enumerate(rows)]), encoding="utf-8")
    assert read(path).documents == (
        InputDocument("0", "one good film", None, "POS", ((4, 13),)),
        InputDocument("1", "two bad films", None, "NEG", ((4, 7),)),
        InputDocument("2", "three", None, None),
        InputDocument("3", "four", None, None),
        InputDocument("4", "five", None, None),
    )
    assert [document.text for document in read(path, text="data.text").documents][:2] == [
        "one good film",
        "two bad films",
    ]


MINIMAL = [
    {"id": 7, "text": "one good film", "sentiment": "POS", "marks": [{"start": 4, "end": 8, "labels": ["reason"]}]},
    {"id": 8, "text": "two", "sentiment": {"choices": ["NEG", "POS"]}},
    {"id": 9, "text": "three", "mood": {"choices": ["NEG", "POS"]}},
]


def test_the_short_forms_of_label_studio(tmp_path: Path) -> None:
    added = {"annotator": 1, "annotation_id": 3, "created_at": "2026-01-31", "lead_time": 2.5}
    rows = [{**row, **added} for row in MINIMAL[:2]]
    (tmp_path / "min.json").write_text(json.dumps(rows), encoding="utf-8")
    cells = [{k: v if isinstance(v, (str, int, float)) else json.dumps(v) for k, v in row.items()} for row in rows]
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(cells[0]))
        writer.writeheader()
        writer.writerows(cells)
    for name in ("min.json", "a.csv"):
        assert read(tmp_path / name).documents == (
            InputDocument("7", "one good film", None, "POS", ((4, 8),)),
            InputDocument("8", "two", None, None, (), ("NEG", "POS")),
        )
    (tmp_path / "other.json").write_text(json.dumps([{**MINIMAL[2], **added}]), encoding="utf-8")
    assert read(tmp_path / "other.json").documents[0].labels == ("NEG", "POS")


def test_what_the_converter_of_label_studio_writes(tmp_path: Path) -> None:
    converter = pytest.importorskip("label_studio_sdk.converter", reason="needs label-studio-sdk")
    config = (
        '<View><Choices name="sentiment" toName="text"><Choice value="NEG"/><Choice value="POS"/></Choices>'
        '<Labels name="marks" toName="text"><Label value="reason"/></Labels><Text name="text" value="$text"/></View>'
    )
    rows = [{**task("one good film", [choice("POS"), region(4, 8)]), "id": 1, "predictions": []}]
    rows += [{**task("two", [choice("NEG")]), "id": 2, "predictions": []}]
    source = tmp_path / "tasks"
    source.mkdir()
    for row in rows:
        (source / f"{row['id']}.json").write_text(json.dumps(row), encoding="utf-8")
    for form, ending in (("JSON", "json"), ("JSON_MIN", "json"), ("CSV", "csv")):
        made = converter.Converter(config, str(tmp_path), download_resources=False)
        made.convert(str(source), str(tmp_path / form), form)
        (path,) = (tmp_path / form).glob(f"*.{ending}")
        assert read(path).documents == (
            InputDocument("1", "one good film", None, "POS", ((4, 8),)),
            InputDocument("2", "two", None, "NEG"),
        )


# -- doccano and Prodigy -------------------------------------------------------------------------------------------

TOOLS: dict[str, tuple[list[dict[str, Any]], list[InputDocument]]] = {
    "doccano, classification": (
        [{"id": 1, "text": "x", "label": ["NEG"], "Comments": []}, {"id": 2, "text": "y", "label": ["NEG", "POS"]}],
        [InputDocument("1", "x", None, "NEG"), InputDocument("2", "y", None, None, (), ("NEG", "POS"))],
    ),
    "doccano, sequences": (
        [
            {"id": 1, "text": "😀 good", "label": [[3, 7, "reason"], [3, 5, "other"]]},
            {"id": 2, "text": "y", "label": []},
        ],
        [InputDocument("1", "😀 good", None, None, ((2, 6),)), InputDocument("2", "y", None, None)],
    ),
    "doccano, relations": (
        [{"text": "a b", "entities": [{"id": 0, "label": "x", "start_offset": 2, "end_offset": 3}], "relations": []}],
        [InputDocument("1", "a b", None, None, ((2, 3),))],
    ),
    "Prodigy, choices": (
        [
            {"text": "x", "options": [{"id": "NEG"}], "accept": ["NEG"], "answer": "accept", "_task_hash": 1},
            {"text": "y", "options": [{"id": "NEG"}], "accept": ["NEG"], "answer": "reject"},
            {"text": "z", "accept": [], "answer": "ignore"},
            {"text": "u", "accept": ["NEG", "POS"], "answer": "accept"},
        ],
        [
            InputDocument("1", "x", None, "NEG"),
            InputDocument("2", "y", None, None),
            InputDocument("3", "z", None, None),
            InputDocument("4", "u", None, None, (), ("NEG", "POS")),
        ],
    ),
    "Prodigy, yes or no": (
        [{"text": "x", "label": "NEG", "answer": "accept"}, {"text": "y", "label": "NEG", "answer": "reject"}],
        [InputDocument("1", "x", None, "NEG"), InputDocument("2", "y", None, None)],
    ),
    "Prodigy, spans": (
        [
            {"text": "a b", "spans": [{"start": 2, "end": 3, "label": "reason"}], "answer": "accept"},
            {"text": "a c", "spans": [{"start": 2, "end": 3, "label": "reason"}], "answer": "reject"},
        ],
        [InputDocument("1", "a b", None, None, ((2, 3),)), InputDocument("2", "a c", None, None)],
    ),
}


@pytest.mark.parametrize("name", TOOLS)
def test_lines_of_other_tools(tmp_path: Path, name: str) -> None:
    rows, expected = TOOLS[name]
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    table = read(path)
    assert list(table.documents) == expected
    marked = sum(bool(document.rationales) for document in expected)
    assert table.note.startswith(f"{marked} of {len(expected)} documents have marks") is (marked > 0)
    assert read(path, rationales="").note == ""
    assert not any(document.rationales for document in read(path, rationales="").documents)


def test_a_mark_outside_its_text_costs_its_row(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    rows = [
        {"text": "😀 good", "label": [[3, 9, "x"]]},
        {"text": "😀", "label": [[1, 2, "x"]]},
        {"text": "y", "label": []},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    table = read(path)
    assert [document.text for document in table.documents] == ["y"]
    assert ["has the rationale" in row.reason for row in table.skipped] == [True, True]


def test_a_folder_of_brat(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_bytes("good\r\nfilm 😀 end".encode())
    (tmp_path / "one.ann").write_text(
        "T1\tReason 0 4;6 10\tgood film\n#1\tAnnotatorNotes T1\tx\nT2\tReason 13 16\tend\n"
    )
    (tmp_path / "two.txt").write_text("bad")
    (tmp_path / "two.ann").write_text("")
    (tmp_path / "three.txt").write_text("x")
    (tmp_path / "three.ann").write_text("T1 no tabs")
    table = read(tmp_path)
    assert table.documents == (
        InputDocument("one", "good\r\nfilm 😀 end", None, None, ((0, 4), (6, 10), (13, 16))),
        InputDocument("two", "bad", None, None),
    )
    assert [(row.place, row.reason[:29]) for row in table.skipped] == [
        ("file 'three'", "line 1 of its .ann file is no")
    ]


def test_a_doc_bin_of_spacy(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy", reason="needs spaCy")
    from spacy.tokens import DocBin

    document = spacy.blank("en")("one good film")
    document.set_ents([document.char_span(4, 8, label="reason")])
    document.cats = {"NEG": 0.0, "POS": 1.0}
    scored = spacy.blank("en")("two")
    scored.cats = {"NEG": 0.25, "POS": 0.75}
    DocBin(docs=[document, scored], store_user_data=True).to_disk(tmp_path / "a.spacy")
    assert read(tmp_path / "a.spacy").documents == (
        InputDocument("1", "one good film", None, "POS", ((4, 8),)),
        InputDocument("2", "two", None, None),
    )
