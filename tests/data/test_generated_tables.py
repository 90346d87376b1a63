"""Tables of every kind, generated: all good rows come back as they were written, and every bad one is named."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textlrp.data.documents import read_documents
from textlrp.errors import InputError
from textlrp.explain.label_names import read_labels

NAMES = ("NEG", "NEU", "POS")

#: How a label of the model is written, by its index; None is a blank cell.
CODINGS = {
    "names": lambda i: NAMES[i],
    "lower case": lambda i: NAMES[i].lower(),
    "spaces": lambda i: f" {NAMES[i]}  ",
    "numbers": str,
    "floats": lambda i: f"{i}.0",
    "LABEL_n": lambda i: f"LABEL_{i}",
    "from 1": lambda i: str(i + 1),
}
IDS = {"none": None, "numbers": lambda i: str(i), "names": lambda i: f'document {i}, "{i}"'}
ENCODINGS = {"utf-8": None, "utf-8-sig": None, "utf-16": None, "cp1252": "cp1252", "utf-16-le": "utf-16-le"}
LATIN = "ab ,;|\t'\"éü—\n\r"
OTHERS = "ab ,;|\t'\"é映ك😀\u2028\u0085\n\r"


@dataclass(frozen=True)
class Cell:
    """A row: its text and the index of its label, None where the cell is blank."""

    text: str | None
    label: int | None


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    encoding = draw(st.sampled_from(sorted(ENCODINGS)))
    alphabet = LATIN if encoding == "cp1252" else OTHERS
    # A blank cell has no text either; an "x" keeps texts from being blank.
    text = st.one_of(st.none(), st.text(alphabet, max_size=12).map(lambda written: f"x{written}"))
    cells = st.builds(Cell, text, st.one_of(st.none(), st.integers(0, 2)))
    return {
        "form": draw(st.sampled_from(["csv", "tsv", "jsonl", "records", "columns"])),
        "delimiter": draw(st.sampled_from(",;\t|")),
        "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        "ends": draw(st.sampled_from(["\n", "\r\n", "\r"])),
        "encoding": encoding,
        "ids": draw(st.sampled_from(sorted(IDS))),
        "coding": draw(st.sampled_from(sorted(CODINGS))),
        "extra": draw(st.sampled_from([0, 1, 2])),  # columns without a name, as a spreadsheet writes them
        "declared": draw(st.booleans()),
        "rows": draw(st.lists(cells, min_size=1, max_size=6)),
    }


def values_of(table: dict[str, Any]) -> list[dict[str, str]]:
    number, coding = IDS[table["ids"]], CODINGS[table["coding"]]
    rows = []
    for i, cell in enumerate(table["rows"], 1):
        row = {} if number is None else {"id": number(i)}
        label = "" if cell.label is None else coding(cell.label)
        rows.append({**row, "text": cell.text or "", "label": label})
    return rows


def lines_of(text: str) -> int:
    return len(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")) - 1


def written_csv(table: dict[str, Any]) -> tuple[str, list[str]]:
    """The file, and the place of each row."""
    buffer = io.StringIO(newline="")
    # Python 3.11 leaves line ends that are not its own without quotation marks.
    quoting = table["quoting"] if table["ends"] == "\r\n" else csv.QUOTE_ALL
    options: dict[str, Any] = {"quoting": quoting, "lineterminator": table["ends"]}
    writer = csv.writer(buffer, delimiter=table["delimiter"], **options)
    rows = values_of(table)
    if table["declared"]:
        buffer.write(f"sep={table['delimiter']}{table['ends']}")
    writer.writerow([*(f" {column} " for column in rows[0]), *[""] * table["extra"]])
    places = []
    for row in rows:
        places.append(f"line {lines_of(buffer.getvalue()) + 1}")
        writer.writerow([*row.values(), *[""] * table["extra"]])
    return buffer.getvalue(), places


def written_json(table: dict[str, Any]) -> tuple[str, list[str]]:
    rows: list[dict[str, Any]] = [{key: value or None for key, value in row.items()} for row in values_of(table)]
    if table["form"] == "jsonl":
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        return table["ends"].join(lines), [f"line {i}" for i in range(1, len(rows) + 1)]
    places = [f"entry {i}" for i in range(1, len(rows) + 1)]
    if table["form"] == "records":
        return json.dumps(rows, indent=1, ensure_ascii=False), places
    columns = {key: {str(i): row[key] for i, row in enumerate(rows)} for key in rows[0]}
    return json.dumps(columns, ensure_ascii=False), places


@pytest.mark.slow
@settings(max_examples=2500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables())
def test_every_good_row_comes_back_and_every_bad_one_is_named(tmp_path: Path, table: dict[str, Any]) -> None:
    is_csv = table["form"] in ("csv", "tsv")
    written, places = written_csv(table) if is_csv else written_json(table)
    path = tmp_path / f"table.{table['form'] if is_csv or table['form'] == 'jsonl' else 'json'}"
    path.write_bytes(written.encode(table["encoding"]))
    rows = table["rows"]
    number = IDS[table["ids"]] or str
    good = [i for i, cell in enumerate(rows) if cell.text is not None]
    if not good:
        with pytest.raises(InputError, match=r"(the text is (blank|missing)|the row is empty)"):
            read_documents(str(path), encoding=ENCODINGS[table["encoding"]])
        return
    read = read_documents(str(path), encoding=ENCODINGS[table["encoding"]])
    assert [(document.id, document.text) for document in read.documents] == [
        (number(i + 1), rows[i].text) for i in good
    ]
    assert [row.place for row in read.skipped] == [place for i, place in enumerate(places) if i not in good]
    right = [None if rows[i].label is None else NAMES[rows[i].label] for i in good]
    used = {cell.label for cell in rows if cell.label is not None}
    counted_twice = table["coding"] in ("numbers", "floats") and used and 0 not in used
    if table["coding"] == "from 1" and used:
        # 1 and 2 of three labels may count from 0, too; 3 may not, so nothing but counting from 1 is left.
        counted_twice = True
    if counted_twice:
        with pytest.raises(InputError, match=r"--label-map '"):
            read_labels(read.labels, NAMES)
        maps = {CODINGS[table["coding"]](i): NAMES[i] for i in used}
        reading = read_labels(read.labels, NAMES, label_map=maps)
    else:
        reading = read_labels(read.labels, NAMES)
    assert [(*reading.of(document.given), None)[0] for document in read.documents] == right
