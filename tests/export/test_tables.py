"""CSV and Parquet: every unit in a row, and back."""

from __future__ import annotations

import csv
import io

from example_explanations import measured
from example_records import TEXTS, explanation
from hypothesis import given
from hypothesis import strategies as st

from textlrp.basics.characters import encodable
from textlrp.data.records import Record
from textlrp.export import formats
from textlrp.export.tables import COLUMNS, rows
from textlrp.results.spans import Span


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


def test_the_last_column_is_the_logit_of_the_reference() -> None:
    documents = [Record("a", (measured(),)), Record("b", (explanation("A film"),))]
    values = [row[-1] for row in rows(documents, "sentence")]
    assert list(COLUMNS)[-1] == "reference_logit"
    assert values == [-0.5, None]
