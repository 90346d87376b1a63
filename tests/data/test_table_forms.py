"""The same rows in every dialect, encoding and form of JSON that spreadsheets and libraries write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pandas
import pyarrow
import pyarrow.parquet
import pytest

from textlrp.data.documents import read_documents
from textlrp.errors import InputError

ROWS = [{"text": "A warm, fine tea", "label": "POS"}, {"text": "dull; noisy", "label": "NEG"}]
READ = [("A warm, fine tea", "POS"), ("dull; noisy", "NEG")]


def read(path: Path, **options: Any) -> list[tuple[str, str | None]]:
    table = read_documents(str(path), **options)
    assert table.skipped == ()
    return [(document.text, document.label) for document in table.documents]


def saved(path: Path, contents: str | bytes) -> Path:
    path.write_bytes(contents.encode() if isinstance(contents, str) else contents)
    return path


DIALECTS = {
    "semicolons, commas in the texts": "text;label\nA warm, fine tea;POS\n'dull, noisy';NEG\n",
    "commas in the header": "id;text;label, as given\n1;warm, fine;POS\n2;dull, noisy, late;NEG\n",
    "bars": "text|label\nwarm, fine|POS\ndull; noisy|NEG\n",
    "tabs": "text\tlabel\nwarm, fine\tPOS\ndull; noisy\tNEG\n",
    "declared": "sep=;\ntext;label\nwarm, fine;POS\n",
    "declared in capitals": 'SEP=|\r\n"text"|label\r\nwarm, fine|POS\r\n',
    "trailing delimiters": "text,label,,\nwarm,POS,,\ndull,NEG,,\n",
    "fewer trailing delimiters": "text,label,,\nwarm,POS\ndull,NEG,\n",
    "more trailing delimiters": "text,label\nwarm,POS,,\ndull,NEG,\n",
    "an index without a name": ",text,label\n0,warm,POS\n1,dull,NEG\n",
    "spaces in the header": " text , label \nwarm,POS\n",
    "spaces and quotation marks": 'text, "label"\n"warm, fine", "POS"\ndull, NEG\n',
    "one column": "text\nwarm\ndull; noisy\n",
    "another sign": "id^text^label\n1^warm, fine^POS\n2^dull; noisy^NEG\n",
    "backslashes": 'text,label\n"warm, \\"fine\\" tea",POS\n"dull, \\"noisy\\"",NEG\n',
    "tabs and no quotation marks": 'text\tlabel\n"warm tea\tPOS\ndull, "noisy\tNEG\n',
    "a colon in the header": "id,text: as written,label\n1,warm,POS\n2,dull,NEG\n",
    "old line ends": "text,label\rwarm,POS\rdull,NEG\r",
}


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_dialects_are_found_by_the_header_and_the_rows(tmp_path: Path, name: str, ending: str) -> None:
    lines = DIALECTS[name].replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    text = "text: as written" if name == "a colon in the header" else None
    table = read_documents(str(saved(tmp_path / f"table.{ending}", DIALECTS[name])), text=text)
    assert len(table.documents) == len(lines) - 1 - name.startswith("declared")
    assert table.skipped == ()
    assert {document.text.strip("\"'")[:4] for document in table.documents} <= {"A wa", "warm", "dull"}
    if name != "one column":
        column = "label, as given" if name == "commas in the header" else None
        labels = read_documents(str(tmp_path / f"table.{ending}"), text=text, label=column).labels
        assert set(labels) <= {"POS", "NEG"}
        assert labels


def test_rows_that_fit_the_other_delimiter_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.csv", "text;label\nwarm;POS\nfine, tea;POS\ndull;NEG;x\nlate;NEG\n")
    table = read_documents(str(path))
    assert [document.text for document in table.documents] == ["warm", "fine, tea", "late"]
    assert [(row.place, row.reason) for row in table.skipped] == [
        ("line 4", "it has 3 values, and the header has 2: put values that contain ';' in quotation marks")
    ]


ENCODED = "text,label\nLe café était très bon,POS\nNaïf et déçu,NEG\n"


@pytest.mark.parametrize(
    ("encoding", "option"),
    [("utf-8-sig", None), ("utf-16", None), ("utf-32", None), ("cp1252", "cp1252"), ("utf-16-be", "utf-16-be")],
)
def test_encodings(tmp_path: Path, encoding: str, option: str | None) -> None:
    path = saved(tmp_path / "table.csv", ENCODED.encode(encoding))
    assert read(path, encoding=option) == [("Le café était très bon", "POS"), ("Naïf et déçu", "NEG")]
    path = saved(tmp_path / "table.txt", "un café\n\nun thé".encode(encoding))
    assert read(path, encoding=option) == [("un café", None), ("un thé", None)]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("text,label\nLe café était très bon,POS\n", "cp1252"),
        ("text,label\nОчень хороший фильм,POS\n", "cp1251"),
        ("text,label\nとても良い映画でした。,POS\n", "shift-jis"),
    ],
)
def test_an_error_offers_the_encoding_and_what_it_reads(tmp_path: Path, text: str, encoding: str) -> None:
    path = saved(tmp_path / "table.csv", text.encode(encoding))
    with pytest.raises(InputError) as caught:
        read_documents(str(path))
    assert str(caught.value).endswith(
        f"it may be {encoding}, which reads {text.splitlines()[1]!r}: if that is right, add --encoding {encoding}"
    )
    assert read(path, encoding=encoding)[0][1] == "POS"


def test_encodings_that_do_not_fit(tmp_path: Path) -> None:
    path = saved(tmp_path / "table.csv", ENCODED.encode("cp1252"))
    for encoding, says in (
        ("klingon", "there is no encoding 'klingon'"),
        ("rot13", "there is no encoding 'rot13'"),
        ("ascii", "cannot be read as ascii, after line "),
        ("utf-16", "cannot be read as utf-16"),
    ):
        with pytest.raises(InputError, match=says):
            read_documents(str(path), encoding=encoding)


def orient(name: str) -> str:
    written: str = pandas.DataFrame(ROWS).to_json(orient=name)  # type: ignore[call-overload]
    return written


FORMS = {
    **{name: orient(name) for name in ("records", "columns", "index", "split", "table")},
    "lines": "".join(json.dumps(row) + "\n" for row in ROWS),
    "lines with a blank first one": "\n" + "".join(json.dumps(row) + "\n\n" for row in ROWS),
    "pretty list": json.dumps(ROWS, indent=2),
    "list on lines": "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n",
    "pretty objects, one behind the other": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "under a key": json.dumps({"version": 1, "data": ROWS}),
    "under a key, pretty": json.dumps({"meta": {"by": "us"}, "examples": ROWS}, indent=1),
    "under the only key": json.dumps({"reviews": ROWS}),
    "columns of lists": json.dumps({key: [row[key] for row in ROWS] for key in ROWS[0]}),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_forms_of_json(tmp_path: Path, name: str, ending: str) -> None:
    assert read(saved(tmp_path / f"table.{ending}", FORMS[name])) == READ


def test_what_datasets_exports(tmp_path: Path) -> None:
    whole = datasets.Dataset.from_list(ROWS)
    whole.to_json(tmp_path / "lines.jsonl")
    whole.to_json(tmp_path / "list.json", lines=False, orient="records")
    whole.to_csv(tmp_path / "table.csv")
    whole.to_parquet(tmp_path / "table.parquet")
    (tmp_path / "columns.json").write_text(json.dumps(whole.to_dict()), encoding="utf-8")
    for name in ("lines.jsonl", "list.json", "table.csv", "table.parquet", "columns.json"):
        assert read(tmp_path / name) == READ


def test_one_object_is_one_document(tmp_path: Path) -> None:
    for written in (json.dumps(ROWS[0]), json.dumps(ROWS[0], indent=1), json.dumps({**ROWS[0], "data": [{"x": 1}]})):
        assert read(saved(tmp_path / "one.json", written)) == READ[:1]


NESTED = [
    {"doc": {"text": "warm", "label": "POS"}, "answers": {"text": ["fine", "x"]}},
    {"doc": {"text": "dull", "label": "NEG"}, "answers": {"text": ["late", "y"]}},
]


def test_dotted_paths(tmp_path: Path) -> None:
    lines = saved(tmp_path / "nested.jsonl", "".join(json.dumps(row) + "\n" for row in NESTED))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(NESTED), tmp_path / "nested.parquet")
    for path in (lines, tmp_path / "nested.parquet"):
        assert read(path, text="doc.text", label="doc.label") == [("warm", "POS"), ("dull", "NEG")]
        assert read(path, text="answers.text.0", label="") == [("fine", None), ("late", None)]
        with pytest.raises(InputError, match=r"no column 'doc.txt': choose another with --text; .*'doc.text', 'doc.l"):
            read_documents(str(path), text="doc.txt")
        with pytest.raises(InputError, match=r"has no column 'text': .*; 'doc' has 'doc.text', 'doc.label'$"):
            read_documents(str(path))
    dotted = saved(tmp_path / "dotted.csv", "doc.text,label\nwarm,POS\n")
    assert read(dotted, text="doc.text") == [("warm", "POS")]


def test_gaps_in_a_table_of_pandas(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"text": ["warm", None, "dull"], "label": [1.0, None, 0.0], "id": [7.0, 8.0, None]})
    frame.to_parquet(tmp_path / "gaps.parquet")
    frame.to_csv(tmp_path / "gaps.csv", index=False)
    for name, label in (("gaps.parquet", "1"), ("gaps.csv", "1.0")):
        table = read_documents(str(tmp_path / name))
        assert [(document.text, document.label) for document in table.documents] == [("warm", label)]
        assert len(table.skipped) == 2
    assert [document.id for document in read_documents(str(tmp_path / "gaps.parquet")).documents] == ["7"]
