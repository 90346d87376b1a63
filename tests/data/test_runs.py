"""Runs are saved document by document with their origin, and continue wherever they were stopped."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from consistent_explanations import consistent
from example_reports import consistent_reviews as reviews
from example_reports import explanation
from strict_python import STRICT

import textlrp
from textlrp.commands.report import report
from textlrp.data.records import Failure, Record, iterate_run, read_kept, read_run, write_run
from textlrp.data.runs import Origin, Run
from textlrp.errors import InputError, LRPError
from textlrp.explain.explainer import Explainer
from textlrp.report.reading import read_report
from textlrp.report.writing import write_report

KILLS = Path(__file__).parents[1] / "reliability" / "kills.py"
MODEL = {"name": "tiny", "fingerprint": "m" * 64}
ABOUT = {"documents": 4, "fingerprint": "d" * 64}
OPTIONS = {"target": [], "rules": "attnlrp", "long": "truncate", "window": None}
FAILED = Failure("e", "the text is half \ud83d, and \u2028")


def origin(**changes: Any) -> Origin:
    return Origin(**{"model": MODEL, "documents": ABOUT, "options": OPTIONS, **changes})


def begun(path: Path, *documents: Record | Failure, **changes: Any) -> None:
    with Run(path, origin(**changes)) as run:
        for document in documents:
            run.add(document)


def test_a_run_is_read_back_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    begun(path, *reviews()[:2], FAILED)
    with Run(path, origin()) as run:
        assert list(run.kept()) == [*reviews()[:2], FAILED]
        run.add(reviews()[2])
    assert list(read_kept(path)) == list(iterate_run(path)) == [*reviews()[:2], FAILED, reviews()[2]]
    assert read_run(path) == reviews()[:3]
    first = json.loads(path.read_bytes().splitlines()[0])
    assert {key: first[key] for key in ("textlrp", "format", "documents")} == {
        "textlrp": "run",
        "format": 1,
        "documents": ABOUT,
    }


def test_a_run_that_is_torn_at_any_byte_of_its_last_line_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    last = Record("z", (consistent(explanation("x", [1.0])),))
    begun(path, reviews()[0], last)
    written = path.read_bytes()
    before = len(b"".join(written.splitlines(keepends=True)[:2]))
    for length in range(before, len(written)):
        path.write_bytes(written[:length])
        # A line that lacks its newline alone is whole to who reads it.
        assert read_run(path) == [reviews()[0], *([last] if length == len(written) - 1 else [])]
        with Run(path, origin()) as run:
            assert list(run.kept()) == reviews()[:1]
            run.add(last)
        assert path.read_bytes() == written


def test_a_run_that_is_torn_at_any_byte_of_its_first_line_is_begun(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    begun(path)
    written = path.read_bytes()
    for length in range(len(written) + 1):
        path.write_bytes(written[:length])
        begun(path, reviews()[0])
        assert read_run(path) == reviews()[:1]
        assert path.read_bytes().startswith(written)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": {**MODEL, "fingerprint": "x"}}, "the model 'tiny' is not what it was"),
        ({"model": {"name": "big", "fingerprint": "x"}}, "model: tiny then, big now"),
        ({"documents": {**ABOUT, "fingerprint": "x"}}, "the documents are not what they were"),
        (
            {"documents": {"documents": 1200, "fingerprint": "x"}},
            "the documents are not what they were: 4 then, 1,200 now",
        ),
        ({"options": {**OPTIONS, "rules": "cp-lrp"}}, "rules: attnlrp then, cp-lrp now"),
        ({"options": {**OPTIONS, "target": ["POS", "NEG"]}}, "target: the default then, POS NEG now"),
        (
            {"options": {**OPTIONS, "window": 64, "contrast": "POS"}},
            "window: the default then, 64 now; contrast: the default then, POS now",
        ),
    ],
)
def test_a_run_of_another_origin_is_refused_with_what_differs(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    path = tmp_path / "run.jsonl"
    begun(path, reviews()[0])
    before = path.read_bytes()
    with pytest.raises(InputError) as refused:
        begun(path, **changes)
    assert str(refused.value) == (
        f"{str(path)!r} holds a run with other options or data ({says}): run it as it was begun, name another file, or "
        f"add --force to begin anew"
    )
    assert path.read_bytes() == before


def test_a_model_that_was_moved_is_the_same(tmp_path: Path) -> None:
    begun(tmp_path / "run.jsonl", reviews()[0])
    begun(tmp_path / "run.jsonl", reviews()[1], model={**MODEL, "name": "elsewhere/tiny"})
    assert read_run(tmp_path / "run.jsonl") == reviews()[:2]


def test_where_nothing_was_explained_a_run_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    begun(path, FAILED)
    with pytest.raises(InputError, match="there is no explanation in "):
        list(iterate_run(path))
    begun(path, reviews()[0], options={**OPTIONS, "long": "windows"})
    assert list(read_kept(path)) == [reviews()[0]]


def test_what_is_no_such_run_is_left_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "old.jsonl", reviews())
    (tmp_path / "notes.txt").write_text("my notes")
    (tmp_path / "brace").write_text('{"textual": 1')
    (tmp_path / "later.jsonl").write_text('{"textlrp": "run", "format": 2}\n')
    (tmp_path / "bare.jsonl").write_text('{"textlrp": "run", "format": 1}\n')
    (tmp_path / "broken.jsonl").write_text('{"textlrp": "run", \n')
    for name, says in {
        "old.jsonl": "holds no run with an origin, so it cannot go on: name another file, or add --force",
        "notes.txt": "holds no run with an origin",
        "brace": "holds no run with an origin",
        "later.jsonl": "line 1: this is not a run of format 1, which this version of textlrp reads",
        "bare.jsonl": "line 1: this is not a run by textlrp, or it was changed: its origin is missing",
        "broken.jsonl": "line 1 is not JSON",
    }.items():
        before = (tmp_path / name).read_bytes()
        with pytest.raises(InputError) as caught:
            begun(tmp_path / name)
        assert str(caught.value).startswith(repr(str(tmp_path / name)))
        assert says in str(caught.value)
        assert (tmp_path / name).read_bytes() == before
    with pytest.raises(InputError, match="line 1: this is a run of format 2"):
        read_run(tmp_path / "later.jsonl")
    (tmp_path / "bad.jsonl").write_text('{"format": 1, "id": "a", "failure": 3}\n')
    with pytest.raises(InputError, match="line 1: this is not a document by textlrp"):
        read_run(tmp_path / "bad.jsonl")


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="needs locks of files")
    with Run(tmp_path / "a", origin()), pytest.raises(InputError, match="another run is writing to"):
        begun(tmp_path / "a")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_disk_that_is_full_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LRPError, match=r"^cannot write '/dev/full': No space left on device$"):
        begun(Path("/dev/full"), reviews()[0])


def test_a_run_is_kept_without_torch() -> None:
    code = "import sys, textlrp.data.runs; sys.exit('torch' in sys.modules)"
    subprocess.run([*STRICT, "-c", code], check=True)


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Nine short texts with their labels, the fourth too long to be read at once."""
    path = tmp_path / "table.jsonl"
    rows = [{"id": f"d{i}", "text": "A dull film. " * (1 + 19 * (i == 3)), "label": str(i % 2)} for i in range(9)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(table: Path, *more: str) -> Any:
    options = ["-o", str(table.with_name("report.html")), "--save", str(table.with_name("run.jsonl"))]
    return CliRunner().invoke(report, [str(table), *options, "--long", "error", "--window", "40", *more])


class Counted:
    """Counts the texts that are explained, and stops the command before some of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stops: int | None = None) -> None:
        self.count = 0
        explain = Explainer.explain_stream

        def counting(explainer: Explainer, texts: Any, *more: Any, **options: Any) -> Iterator[Any]:
            for outcome in explain(explainer, texts, *more, **options):
                if self.count == stops:
                    raise KeyboardInterrupt
                self.count += 1
                yield outcome

        monkeypatch.setattr(Explainer, "explain_stream", counting)


def relevances(path: Path) -> list[list[float]]:
    return [[span.relevance for e in each.explanations for span in e.tokens] for each in read_run(path)]


@pytest.mark.parametrize("stops", [0, 2, 5])
def test_the_same_command_goes_on_where_it_was_stopped(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: int
) -> None:
    saved, page = tmp_path / "run.jsonl", tmp_path / "report.html"
    with monkeypatch.context() as patch:
        Counted(patch, stops)
        assert run(table).exit_code != 0
    assert len(list(read_kept(saved))) == stops
    assert not page.exists()
    with monkeypatch.context() as patch:
        counted = Counted(patch)
        done = run(table)
    assert (done.exit_code, counted.count) == (3, 9 - stops), done.exception
    assert done.stdout == f"{page}: 8 documents\n"
    read_as = "labels 0, 1 were read as NEG, POS\n"
    failed = r"not explained: d3: the text takes \d+ ids, and 40 are read at once: .*\n"
    assert re.fullmatch(read_as + failed, done.stderr)
    sent = read_report(page)
    kept = relevances(saved)
    saved.unlink()
    assert run(table).exit_code == 3
    assert (list(read_report(page).documents), read_report(page).labels) == (list(sent.documents), sent.labels)
    assert [each.label for each in sent.documents.values()] == ["NEG", "POS", "NEG", "NEG", "POS", "NEG", "POS", "NEG"]
    for one, other in zip(kept, relevances(saved), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_a_finished_run_is_only_shown_again(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(table).exit_code == 3
    before = (tmp_path / "run.jsonl").read_bytes(), (tmp_path / "report.html").read_bytes()
    counted = Counted(monkeypatch)
    done = run(table)
    assert (done.exit_code, counted.count) == (3, 0)
    assert "not explained: d3" in done.stderr
    assert ((tmp_path / "run.jsonl").read_bytes(), (tmp_path / "report.html").read_bytes()) == before
    # The run alone says as much as the command that made it.
    alone = CliRunner().invoke(report, [str(tmp_path / "run.jsonl"), "-o", str(tmp_path / "alone.html")])
    assert alone.stderr == done.stderr
    assert "could not be explained" in (tmp_path / "alone.html").read_text("utf-8")
    assert read_report(tmp_path / "alone.html") == read_report(tmp_path / "report.html")


def test_another_option_or_table_is_refused_before_a_text_is_explained(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(table).exit_code == 3
    before = (tmp_path / "run.jsonl").read_bytes()
    counted = Counted(monkeypatch)

    def refused(*more: str) -> str:
        done = run(table, *more)
        assert isinstance(done.exception, InputError)
        match = re.search(r"\((.*)\): run it as it was begun", str(done.exception))
        assert match is not None
        return match[1]

    assert refused("--rules", "cp-lrp") == "rules: attnlrp then, cp-lrp now"
    assert refused("--target", "POS") == "target: the default then, POS now"
    assert refused("--contrast", "runner-up") == "contrast: the default then, runner-up now"
    assert refused("--window", "41") == "window: 40 then, 41 now"
    assert refused("--label-map", "0=NEG,1=POS") == "label map: the default then, {'0': 'NEG', '1': 'POS'} now"
    assert refused("--limit", "5") == "the documents are not what they were: 9 then, 5 now"
    without_labels = "the documents are not what they were; why-not: each mistake then, the default now"
    assert refused("--label", "") == without_labels
    assert refused("--no-why-not") == "why-not: each mistake then, the default now"
    table.write_text(table.read_text("utf-8").replace("dull", "fine"), encoding="utf-8")
    assert refused() == "the documents are not what they were"
    assert counted.count == 0
    assert (tmp_path / "run.jsonl").read_bytes() == before


def test_a_changed_model_is_refused(table: Path, tmp_path: Path, folder: Path) -> None:
    import torch

    model = tmp_path / "model"
    explainer = Explainer.from_pretrained(folder)
    for change in (0.0, 1e-3):
        with torch.no_grad():
            explainer.model.classifier.bias[0] += change
        explainer.model.save_pretrained(model)
        explainer.tokenizer.save_pretrained(model)
        done = run(table, "--model", str(model))
        if change:
            assert f"the model {str(model)!r} is not what it was" in str(done.exception)
        else:
            assert done.exit_code == 3, done.exception


def test_several_labels_of_a_document_are_kept_together(table: Path, tmp_path: Path) -> None:
    done = run(table, "--target", "all", "--no-why-not")
    assert done.exit_code == 3, done.exception
    assert [len(each.explanations) for each in read_run(tmp_path / "run.jsonl")] == [2] * 8


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_fails_in_a_sentence(table: Path, tmp_path: Path) -> None:
    from textlrp.cli import main

    done = CliRunner().invoke(main, ["report", str(table), "-o", str(tmp_path / "report.html"), "--save", "/dev/full"])
    assert done.exit_code == 1
    assert done.stderr.endswith("Error: cannot write '/dev/full': No space left on device\n")
    assert not (tmp_path / "report.html").exists()


def test_records_are_gone_through_once_and_not_kept(tmp_path: Path) -> None:
    """A report is written from a generator; only one of its records is alive at a time."""
    import weakref

    alive: list[weakref.ref[Record]] = []

    def documents() -> Iterator[Record | Failure]:
        for i in range(60):
            record = Record(f"{i}", reviews()[i % 4].explanations, "POS")
            alive.append(weakref.ref(record))
            yield record
            del record
            assert sum(record() is not None for record in alive) <= 1
        yield FAILED

    (path,) = write_report(documents(), tmp_path / "stream.html", failures=[Failure("f", "Too long.")])
    assert len(read_report(path).documents) == 60
    assert "2 documents could not be explained" in " ".join(path.read_text("utf-8").split())
    listed = [Record(f"{i}", reviews()[i % 4].explanations, "POS") for i in range(60)]
    assert read_report(write_report(listed, tmp_path / "list.html")[0]) == read_report(path)


# -- kills ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are forked")
def test_killed_runs_go_on() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(textlrp.__file__).parents[1])}
    code = [sys.executable, str(KILLS), "--count", "3", "--documents", "12", "--seed", "3"]
    done = subprocess.run(code, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.match(r"3 kills in \d+ runs of 12 documents, seed 3: \d+ torn lines, 0 faults", done.stdout)
