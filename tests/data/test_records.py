"""Runs are kept and read back as they were, and a bad file is named with its line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from example_runs import explained
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textlrp.data.records import Record, read_run, write_run
from textlrp.errors import InputError


def test_a_record_tells_what_its_explanations_tell() -> None:
    e = explained("Gut 😀", text_pair="Ja")
    record = Record("a", (e, explained("Gut 😀", "NEG", text_pair="Ja")), "NEG", ((0, 3), (4, 5)))
    assert (record.text, record.text_pair, record.predicted, record.explanation) == ("Gut 😀", "Ja", "POS", e)


def test_a_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    records = [
        Record("a/1 ü", (explained("one\r\ntwo\u2028three 😀"),), "POS", ((0, 3),)),
        Record("b", (explained("x"), explained("x", "NEG"), explained("x", contrast="NEG"))),
        Record("half", (explained("a \ud83d b"),), "\udc00"),
        Record("several", (explained("x"),), None, (), ("POS", "odd"), ("1", "odd")),
        Record("given", (explained("x"),), "POS", given=("1",)),
    ]
    write_run(tmp_path / "run.jsonl", records)
    assert read_run(tmp_path / "run.jsonl") == read_run(str(tmp_path / "run.jsonl")) == records
    assert os.listdir(tmp_path) == ["run.jsonl"]
    lines = (tmp_path / "run.jsonl").read_bytes().decode().split("\n")
    assert len(lines) == 6
    assert "given" not in lines[0]
    assert [record.right for record in records] == [("POS",), (), ("\udc00",), ("POS", "odd"), ("POS",)]
    assert records[3].read_as == {"1": ("POS",), "odd": ("odd",)}
    first = json.loads(lines[0])
    assert {key: first[key] for key in ("format", "id", "label", "rationales")} == {
        "format": 1,
        "id": "a/1 ü",
        "label": "POS",
        "rationales": [[0, 3]],
    }
    assert "\\ud83d" in lines[2]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.text(min_size=1), st.text(st.characters(exclude_categories=("Cs",)), min_size=1)),
        min_size=1,
        max_size=5,
        unique_by=lambda pair: pair[0],
    )
)
def test_any_text_and_any_id_survives(tmp_path: Path, given_texts: list[tuple[str, str]]) -> None:
    records = [Record(identity, (explained(text),)) for identity, text in given_texts]
    write_run(tmp_path / "any.jsonl", records)
    assert [(record.id, record.text) for record in read_run(tmp_path / "any.jsonl")] == given_texts


def test_saved_explanations_are_a_run(tmp_path: Path) -> None:
    e, other = explained("one"), explained("two")
    e.to_json(tmp_path / "first.json")
    assert read_run(tmp_path / "first.json") == [Record("first", (e,))]
    lines = [json.dumps(each.to_dict()) for each in (e, other)]
    (tmp_path / "lines.jsonl").write_text("\ufeff" + lines[0] + "\r\n\n" + lines[1], encoding="utf-8")
    assert read_run(tmp_path / "lines.jsonl") == [Record("lines-1", (e,)), Record("lines-3", (other,))]
    (tmp_path / "one.jsonl").write_text(lines[1])
    assert read_run(tmp_path / "one.jsonl") == [Record("one", (other,))]


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    explained("b").to_json(tmp_path / "b.json")
    explained("a").to_json(tmp_path / "a.json")
    write_run(tmp_path / "c.jsonl", [Record("z", (explained("c"),))])
    (tmp_path / "README.md").write_text("no run")
    assert [record.id for record in read_run(tmp_path)] == ["a", "b", "z"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("a", ()), "document 'a' has no explanation"),
        (("a", (explained("x"), explained("y"))), "document 'a' has explanations of different texts"),
        (("a", (explained("x"), explained("x"))), "document 'a' has two explanations of the same target"),
        (("a", (explained("abc"),), None, ((0, 4),)), "document 'a' has the rationale [0, 4], and its text has 3 char"),
        (("a", (explained("abc"),), None, ((1, 1),)), "the rationale [1, 1]"),
        (("a", (explained("abc"),), None, ((False, True),)), "the rationale [False, True]"),
        (("a", (explained("abc"),), None, ((1, 2, 3),)), "the rationale [1, 2, 3]"),
        (("a", (explained("abc"),), None, ((0, 2), (1, 3))), "the rationales [0, 2] and [1, 3], which overlap"),
        (("a", (explained("abc"),), None, ((1, 2), (0, 1))), "the rationales [1, 2] and [0, 1], which overlap or are"),
    ],
)
def test_what_is_no_record_is_refused(arguments: Any, says: str) -> None:
    with pytest.raises(InputError) as caught:
        Record(*arguments)
    assert says in str(caught.value)


GOOD = json.dumps(Record("a", (explained("x"),)).to_dict())


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (b"{", ", line 2 is not JSON: "),
        (b"[1]", ", line 2: a record or an explanation was expected"),
        (b'{"text": "\xe9"}', ", line 2 is not UTF-8: byte 10 (0xe9) is wrong"),
        (b"[" * 100_000, ", line 2 is not JSON: "),
        (GOOD.encode(), ", line 2: the id 'a' is that of "),
        (b'{"text": "x"}', ", line 2: this has format none, and this version of textlrp reads explanations of format"),
        (b'{"explanations": [], "format": 9}', ", line 2: this has format 9, and this version of textlrp reads record"),
        (b'{"format": 1, "id": "b", "explanations": []}', ", line 2: document 'b' has no explanation"),
        (b'{"format": 1, "id": 7, "explanations": []}', ", line 2: this is not a record by textlrp: 'id' must be a"),
        (b'{"format": 1, "id": "b", "explanations": [3]}', "'explanations' must be a list of objects"),
        (b'{"format": 1, "id": "b", "explanations": [], "rationales": [3]}', "'rationales' must be a list of"),
        (b'{"format": 1, "id": "b", "explanations": [{}]}', ", line 2: this has format none"),
        (GOOD.replace('"a"', '"b"').replace('"tokens": [{', '"tokens": [{"odd": 1, ').encode(), ", line 2: this is no"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, second: bytes, says: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(GOOD.encode() + b"\n" + second + b"\n")
    with pytest.raises(InputError) as caught:
        read_run(path)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{str(path)!r}, line 2")
    assert "\n" not in str(caught.value)


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n \n")
    (tmp_path / "pretty.json").write_text('{\n"format": 1,\n}')
    (tmp_path / "folder").mkdir()
    for name, says in {
        "gone.json": "cannot read '{path}': No such file",
        "empty.jsonl": "there is no explanation in '{path}'",
        "pretty.json": "'{path}' is not JSON: ",
        "folder": "the folder '{path}' has no file that ends in .json or .jsonl",
        "nu\0l": "cannot read ",
    }.items():
        with pytest.raises(InputError) as caught:
            read_run(tmp_path / name)
        assert str(caught.value).startswith(says.replace("{path}", str(tmp_path / name)))


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two documents have the id 'a'"):
        write_run(tmp_path / "run.jsonl", [Record("a", (explained("x"),)), Record("a", (explained("y"),))])
    with pytest.raises(InputError, match="cannot write"):
        write_run(tmp_path / "no" / "run.jsonl", [Record("a", (explained("x"),))])
    assert os.listdir(tmp_path) == []


def test_a_run_is_read_without_torch(tmp_path: Path) -> None:
    write_run(tmp_path / "run.jsonl", [Record("a", (explained("x"),))])
    code = (
        "import sys; from textlrp.data.records import read_run; read_run(sys.argv[1]); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, tmp_path / "run.jsonl"], check=True)
