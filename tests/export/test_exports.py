"""Exports: what is marked, and that each tool's own reader finds the same characters marked."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from consistent_explanations import consistent
from example_records import TEXTS, TRICKY, explanation, record, words
from example_selections import SELECTIONS
from hypothesis import given
from hypothesis import strategies as st
from strict_python import STRICT

from textlrp.basics.characters import encodable
from textlrp.data.records import Record
from textlrp.errors import InputError
from textlrp.export import formats
from textlrp.export.marks import Selection, entries, graphemes, label, select, tokenize, utf16
from textlrp.export.tables import COLUMNS
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


def test_the_strongest_are_marked_and_labeled_by_their_sign() -> None:
    e = words("a dull but wonderful, wonderful film", {"dull": -1.0, "wonderful": 2.0, "film": 0.1, "but": 0.3})
    marks = select(e, Selection())
    assert [(m.text, m.start, m.label, m.relevance, m.share) for m in marks] == [
        ("dull", 2, "against POS", -1.0, 0.5),
        ("but", 7, "for POS", 0.3, 0.15),
        ("wonderful", 11, "for POS", 2.0, 1.0),
        ("wonderful", 22, "for POS", 2.0, 1.0),
    ]
    assert [m.text for m in select(e, Selection(threshold=0.6))] == ["wonderful", "wonderful"]
    assert [m.text for m in select(e, Selection(top=3))] == ["dull", "wonderful", "wonderful"]
    assert [m.text for m in select(e, Selection(threshold=0))] == ["dull", "but", "wonderful", "wonderful", "film"]
    assert [m.text for m in select(e, Selection(by="sentence"))] == ["a dull but wonderful, wonderful film"]


def test_with_a_contrast_the_other_side_has_its_name() -> None:
    e = words("good bad", {"good": 1.0, "bad": -1.0}, contrast="NEG")
    assert [m.label for m in select(e, Selection())] == ["for POS", "for NEG"]
    assert label(e, 1) == "for POS"


def test_white_space_is_never_marked_and_never_at_an_end() -> None:
    e = explanation("a \n b", tokens=(Span(0, 2, "a ", 1.0), Span(1, 4, " \n ", 5.0), Span(4, 5, "b", -1.0)))
    marks = select(e, Selection(by="token", threshold=0))
    assert [(m.text, m.start, m.end) for m in marks] == [("a", 0, 1), ("b", 4, 5)]
    apart = explanation("a \n b", tokens=(Span(0, 2, "a ", 1.0), Span(2, 4, "\n ", 5.0), Span(4, 5, "b", -1.0)))
    assert [(m.text, m.share) for m in select(apart, Selection(by="token"))] == [("a", 1.0), ("b", 1.0)]


def test_nothing_is_marked_where_nothing_counts() -> None:
    assert select(words("so so", {}), Selection(threshold=0)) == ()


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


def test_units_of_a_family_of_emoji() -> None:
    assert utf16("a👩🏽‍🚒b") == [0, 1, 3, 5, 6, 8, 9]
    assert graphemes("a👩🏽‍🚒b") == [0, 1, 1, 1, 1, 2, 3]
    (line,) = lines(formats.export([record("👩🏽‍🚒 good", tokens=(Span(5, 9, "good", 1.0),))], "doccano"))
    assert line["label"] == [[8, 12, "for POS"]]
    (line,) = lines(
        formats.export([record("👩🏽‍🚒\r\ngood", tokens=(Span(6, 10, "good", 1.0),))], "doccano", graphemes=True)
    )
    assert line["label"] == [[2, 6, "for POS"]]


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


def test_pieces_of_a_tricky_text() -> None:
    assert [TRICKY[p.start : p.end] + " " * p.space for p in tokenize(TRICKY, ())] == [
        "A",
        "👩🏽‍🚒 ",
        "co\u0301te\u0301 ",
        "𝔊ood",
        "\r\n",
        "film",
        ",",
        "\t",
        "नमस्ते ",
        "🇩🇪",
        "🇫🇷 ",
        "\u2028",
        "end",
    ]


def test_csv_has_every_unit() -> None:
    e = explanation('so "good", =1+2', "yes", contrast="NEG")
    written = formats.export([Record("a,b", (e,), None)], "csv", by="word")
    assert written is not None
    rows = list(csv.DictReader(io.StringIO(written, newline="")))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["text"] for row in rows] == [span.text for span in e.words]
    assert "".join(row["text"] for row in rows if row["source"] == "text") == e.text
    assert [float(row["relevance"]) for row in rows] == [span.relevance for span in e.words]
    first = rows[0]
    assert (first["document"], first["target"], first["contrast"], first["label"]) == ("a,b", "POS", "NEG", "")
    assert (first["logit"], first["probability"], first["special"]) == ("1.5", "0.75", "false")


@given(TEXTS, st.sampled_from(["word", "token", "sentence"]))
def test_csv_and_parquet_round_trip(text: str, by: str) -> None:
    from pyarrow import parquet

    e = explanation(text)
    written = formats.export([Record("1", (e,))], "csv", by=by)
    assert written is not None
    rows = list(csv.DictReader(io.StringIO(written, newline="")))
    units = e.units(by)
    assert [(row["text"], int(row["start"]), float(row["relevance"])) for row in rows] == [
        (encodable(span.text), span.start, span.relevance) for span in units
    ]
    from textlrp.export.tables import parquet as to_parquet

    table = parquet.read_table(io.BytesIO(to_parquet([Record("1", (e,))], by)))
    assert table.column_names == list(COLUMNS)
    assert table.column("text").to_pylist() == [encodable(span.text) for span in units]
    assert table.column("relevance").to_pylist() == [span.relevance for span in units]
    assert table.column("contrast").to_pylist() == [None] * len(units)


def test_csv_leaves_formulas_unless_asked() -> None:
    e = explanation("=A1 -2 ok", tokens=(Span(0, 3, "=A1", 1.0), Span(4, 6, "-2", -1.0), Span(7, 9, "ok", 0.1)))
    plain = formats.export([Record("@id", (e,))], "csv", by="token")
    safe = formats.export([Record("@id", (e,))], "csv", by="token", spreadsheet=True)
    assert plain is not None
    assert safe is not None
    assert safe.startswith("\ufeff")
    cells = [[row["document"], row["text"], row["relevance"]] for row in csv.DictReader(io.StringIO(plain))]
    assert cells == [["@id", "=A1", "1.0"], ["@id", "-2", "-1.0"], ["@id", "ok", "0.1"]]
    cells = [[row["document"], row["text"], row["relevance"]] for row in csv.DictReader(io.StringIO(safe[1:]))]
    assert cells == [["'@id", "'=A1", "1.0"], ["'@id", "'-2", "-1.0"], ["'@id", "ok", "0.1"]]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"to": "excel"}, "there is no export to 'excel': choose label-studio, doccano, .*"),
        ({"to": "csv", "threshold": 0.2}, "csv has every unit with its relevance: leave threshold and top out"),
        ({"to": "prodigy", "threshold": 0.2, "top": 3}, "give threshold or top, not both"),
        ({"to": "prodigy", "threshold": 1.5}, "threshold is a share of the strongest relevance, 0 to 1, not 1.5"),
        ({"to": "prodigy", "threshold": float("nan")}, "threshold is a share .*, not nan"),
        ({"to": "prodigy", "top": 0}, "top is a number of spans, 1 or more, not 0"),
        ({"to": "prodigy", "by": "line"}, "a text is marked by token, word, sentence, not by 'line'"),
        ({"to": "prodigy", "graphemes": True}, "graphemes goes with doccano: .*"),
        ({"to": "prodigy", "spreadsheet": True}, "spreadsheet goes with csv"),
        ({"to": "brat"}, "brat is a folder: name its path with -o"),
        ({"to": "parquet"}, "parquet is not a text: name its path with -o"),
    ],
)
def test_what_does_not_fit_is_a_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=rf"\A{sentence}\Z"):
        formats.export([record("a text")], **options)


def test_no_records_is_a_sentence() -> None:
    with pytest.raises(InputError, match="nothing to export: the run has no document"):
        formats.export([], "csv")


@pytest.mark.parametrize("to", ["label-studio", "brat"])
def test_a_folder_is_new_and_whole(to: str, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(InputError, match=r"full' exists: name a new folder"):
        formats.export([record("a text")], to, tmp_path / "full")
    with pytest.raises(InputError, match=r"cannot write '.*new': there is no folder"):
        formats.export([record("a text")], to, tmp_path / "none" / "new")
    (tmp_path / "empty").mkdir()
    formats.export([record("a text")], to, tmp_path / "empty")
    assert any((tmp_path / "empty").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "full"]


def test_a_folder_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    from textlrp.basics.files import write_folder

    with pytest.raises(InputError, match="cannot write"):
        write_folder(tmp_path / "new", [("a", "text"), ("x" * 300, "text")])
    assert list(tmp_path.iterdir()) == []


def test_nothing_here_needs_torch(tmp_path: Path) -> None:
    from textlrp.data.records import write_run

    run = tmp_path / "run.jsonl"
    write_run(run, [Record("1", (consistent(explanation("a good text")),))])
    program = (
        "import sys; from textlrp.export import formats; from textlrp.data.records import read_run\n"
        "for to in formats.FORMATS: formats.export(read_run(sys.argv[1]), to, sys.argv[2] + to)\n"
        "assert 'torch' not in sys.modules and 'spacy' not in sys.modules"
    )
    subprocess.run([*STRICT, "-c", program, str(run), f"{tmp_path}/"], check=True, timeout=60)
    assert (tmp_path / "brat" / "1.txt").read_text() == "a good text"


def test_the_command(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from textlrp.commands.export import export
    from textlrp.data.records import write_run

    run = tmp_path / "run.jsonl"
    write_run(run, [Record("1", (consistent(explanation("a good text")),))])
    result = CliRunner().invoke(export, [str(run), "--to", "doccano", "--top", "1"])
    assert result.exit_code == 0, result.output
    assert re.search(r'"label": \[\[\d, \d+, "(for|against) POS"\]\]', result.stdout)
    assert CliRunner().invoke(export, [str(run), "--to", "spacy", "-o", str(tmp_path / "x.spacy")]).exit_code == 0
    assert (tmp_path / "x.spacy").stat().st_size > 0
