"""Runs that are compressed: small, readable, and whole again after a kill at any byte."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from example_reports import consistent_reviews

from textlrp.basics.lines import Lines, read_lines
from textlrp.cli import main
from textlrp.data.records import Record, read_run, to_line, write_run
from textlrp.data.runs import Origin, Run
from textlrp.errors import InputError
from textlrp.results.explanation import Explanation

ORIGIN = Origin(
    {"name": "tiny", "fingerprint": "m" * 64}, {"documents": 4, "fingerprint": "d" * 64}, {"rules": "attnlrp"}
)


def saved(path: Path, records: list[Record]) -> bytes:
    with Run(path, ORIGIN) as run:
        for record in records:
            run.add(record)
    return path.read_bytes()


def test_a_run_is_whole_after_a_kill_at_any_byte(tmp_path: Path) -> None:
    records = consistent_reviews()[:3]
    path = tmp_path / "run.jsonl.gz"
    whole = saved(path, records)
    assert read_run(path) == records
    before = len(saved(tmp_path / "two.jsonl.gz", records[:2]))
    assert whole.startswith((tmp_path / "two.jsonl.gz").read_bytes())
    for end in range(before, len(whole)):
        path.write_bytes(whole[:end])
        with Run(path, ORIGIN) as run:
            kept = list(run.kept())
            assert kept == records[:2]
            run.add(records[2])
        assert path.read_bytes() == whole
    path.write_bytes(whole[: before + 9] + bytes(64))  # a loss of power left zeros
    assert read_run(path)[:2] == records[:2]


def test_other_programs_read_it(tmp_path: Path) -> None:
    records = consistent_reviews()
    content = saved(tmp_path / "run.jsonl.gz", records)
    lines = gzip.decompress(content).decode().splitlines()
    assert [json.loads(line)["id"] for line in lines[1:]] == [record.id for record in records]


def test_a_file_that_is_no_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl.gz"
    path.write_text("not compressed\n")
    with pytest.raises(InputError, match=r"cannot read '.*run.jsonl.gz': it is damaged, or not compressed by gzip"):
        read_run(path)
    whole = saved(tmp_path / "good.jsonl.gz", consistent_reviews())
    path.write_bytes(whole[:300] + b"\xff" * 20 + whole[320:])
    with pytest.raises(InputError, match="damaged"):
        list(read_run(path))


def test_lines_of_any_size_come_back(tmp_path: Path) -> None:
    path = tmp_path / "lines.gz"
    lines = ["", "a", "é" * 100_000, "x" * 3_000_000, "\u2028"]
    with Lines(path) as file:
        for line in lines:
            file.add(line)
    assert [line.decode() for _, line, _ in read_lines(path)] == lines
    path.write_bytes(gzip.compress("\n".join(lines).encode()))  # one member, without a newline at its end
    assert [(line.decode(), whole) for _, line, whole in read_lines(path)][-1] == ("\u2028", False)


def test_commands_read_it_and_write_it(tmp_path: Path) -> None:
    write_run(tmp_path / "run.jsonl.gz", consistent_reviews())
    arguments = ["report", str(tmp_path / "run.jsonl.gz"), "-o", str(tmp_path / "report.html")]
    done = CliRunner().invoke(main, [*arguments, "--save", str(tmp_path / "again.jsonl.gz")])
    assert done.exit_code == 0, done.output
    assert read_run(tmp_path / "again.jsonl.gz") == consistent_reviews()
    done = CliRunner().invoke(main, ["export", str(tmp_path / "again.jsonl.gz"), "--to", "csv"])
    assert done.exit_code == 0, done.output


def test_a_record_leaves_out_what_follows_and_older_ones_are_read() -> None:
    for record in consistent_reviews():
        (values,) = json.loads(to_line(record))["explanations"]
        assert not {"words", "sentences"} & values.keys()
        assert all("text" not in token for token in values["tokens"])
        assert Explanation.from_dict(values) == record.explanation
        assert Explanation.from_dict(record.explanation.to_dict()) == record.explanation
