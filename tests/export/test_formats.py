"""Exports: options, files and folders, and the command."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from consistent_explanations import consistent
from example_records import explanation, record
from strict_python import STRICT

from textlrp.data.records import Record
from textlrp.errors import InputError
from textlrp.export import formats


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
