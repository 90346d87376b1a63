"""Evaluations that are stopped: what is measured is shown, at once or later, and the same command goes on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from example_evaluations import plan, results
from strict_python import STRICT

from textlrp.cli import main
from textlrp.evaluate import baselines
from textlrp.evaluate.run_folder import RESULTS, Log
from textlrp.evaluate.scorers import Scorer, Task
from textlrp.results.attribution import Attribution

RANDOM = baselines.scorer("random")
OPTIONS = ["evaluate", "--corpus", "reviews", "--limit", "3", "--method", "random", "--measures", "plausibility"]


def stopped(monkeypatch: pytest.MonkeyPatch, after: int, *options: str) -> Result:
    """Run a command that Ctrl-C ends after some calls of its method, and then once more without."""
    calls = 0

    def score(task: Task) -> Attribution:
        nonlocal calls
        calls += 1
        if calls > after:
            raise KeyboardInterrupt
        return RANDOM.method(task)

    with monkeypatch.context() as patched:
        patched.setattr(baselines, "scorer", lambda name: Scorer(score))
        return CliRunner().invoke(main, [*OPTIONS, *options])


# The estimate calls it twice, and the first call of the run loads: with two more, two documents are measured.
TWO = 5


def test_the_table_so_far_is_shown_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = str(tmp_path / "a run")
    outcome = stopped(monkeypatch, TWO, "--output", folder)
    assert outcome.exit_code == 130
    assert "2 of 3 documents so far, " in outcome.stdout
    assert "This is a part of an evaluation: not every document is measured yet." in outcome.stdout
    assert outcome.stderr.splitlines()[-1] == (
        f"2 of 3 documents are measured; the same command goes on, and --output '{folder}' --read shows the tables "
        "again"
    )
    assert CliRunner().invoke(main, ["evaluate", "--output", folder, "--read"]).stdout == outcome.stdout
    whole = CliRunner().invoke(main, [*OPTIONS, "--output", folder])
    assert whole.exit_code == 0
    assert "going on after 2 of 3 results: " in whole.stderr
    assert "3 documents, drawn at random from 250, " in whole.stdout


def test_a_file_is_for_a_whole_evaluation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "table.json"
    outcome = stopped(monkeypatch, TWO, "--format", "json", "-o", str(place))
    assert (outcome.exit_code, place.exists()) == (130, False)
    assert "2 of 3 documents so far, " in outcome.stdout
    assert outcome.stderr.splitlines()[-1] == (
        f"2 of 3 documents are measured; {str(place)!r} is not written; a run with --output DIR goes on where it was "
        f"stopped"
    )
    assert json.loads(stopped(monkeypatch, TWO, "--format", "json").stdout)["partial"] is True


def test_before_anything_is_measured_there_is_nothing_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = stopped(monkeypatch, 0)
    assert (outcome.exit_code, outcome.stdout) == (130, "")


def kept(folder: Path, count: int) -> Path:
    with Log(plan(), folder) as log:
        for each in results()[:count]:
            log.add(each)
    return folder


def test_a_run_is_read_in_any_format_without_a_model(tmp_path: Path) -> None:
    kept(tmp_path, 6)
    with Log(plan(), tmp_path):  # another process may be at it
        code = (
            "import sys; from textlrp.cli import main; main(standalone_mode=False); assert 'torch' not in sys.modules"
        )
        options = ["evaluate", "--output", str(tmp_path), "--read"]
        done = subprocess.run([*STRICT, "-c", code, *options], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("tiny on notes\n\n3 of 4 documents so far, ")
    read = CliRunner().invoke(main, [*options, "--format", "json"])
    assert (json.loads(read.stdout)["partial"], json.loads(read.stdout)["sections"][0]["missing"]) == (True, 2)
    page = tmp_path.parent / "page.html"
    assert CliRunner().invoke(main, [*options, "--format", "html", "-o", str(page)]).stdout == ""
    assert "3 of 4 documents so far" in page.read_text(encoding="utf-8")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    kept(tmp_path, 6)

    def says(*options: str) -> str:
        outcome = CliRunner().invoke(main, ["evaluate", *options])
        assert outcome.exit_code == 2
        return outcome.stderr

    assert says("--read") == "Error: --read shows the run in a folder: name it with --output\n"
    assert says("--read", "--output", str(tmp_path), "--limit", "100") == (
        "Error: --read shows a run as it was begun, and --limit says how to make one: leave it out\n"
    )
    assert "cannot read" in says("--read", "--output", str(tmp_path / "none"))
    assert "is read, too" in says("--read", "--output", str(tmp_path), "-o", str(tmp_path / RESULTS))
    assert says().endswith("Error: Missing option '--corpus'.\n")
