"""The benchmarks run and say what they measured, on small models. No assertion is about time."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from strict_python import STRICT
from torch import nn

FOLDER = Path(__file__).parent / "benchmarks"
PARTS = ("cost", "checkpointing", "targets", "corpus", "overhead", "startup", "growth", "peers")


@pytest.fixture(scope="module", autouse=True)
def _folder() -> Iterator[None]:
    """The scripts import each other as neighbors, as they do when they are run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield


@pytest.fixture(scope="module")
def claims() -> Any:
    return importlib.import_module("claims")


@pytest.fixture(scope="module")
def suite() -> Any:
    return importlib.import_module("suite")


# -- numbers -------------------------------------------------------------------------------------------------------


def test_a_ratio_is_the_median_of_the_repeats(claims: Any) -> None:
    found = claims.median_ratio([2.0, 30.0, 4.0, 5.0], [1.0, 10.0, 2.0, 2.0])
    assert found == claims.median_ratio([2.0, 30.0, 4.0, 5.0], [1.0, 10.0, 2.0, 2.0])
    assert found.value == 2.25
    assert 2.0 <= found.low < 2.25 < found.high <= 3.0
    assert found.repeats == 4


def test_equal_repeats_leave_no_doubt(claims: Any) -> None:
    assert claims.median_ratio([0.3] * 9, [0.1] * 9)[:3] == pytest.approx((3.0, 3.0, 3.0))
    assert claims.growth([6.0] * 7, [3.0] * 9) == (2.0, 2.0, 2.0, 7)
    assert claims.exact(5.0) == (5.0, 5.0, 5.0, 1)


def test_totals_are_drawn_in_pairs(claims: Any) -> None:
    """Parts of very different size: their ratio is the same, so nothing is uncertain about that of the totals."""
    assert claims.ratio_of_sums([2.0, 200.0, 8.0], [1.0, 100.0, 4.0])[:3] == (2.0, 2.0, 2.0)
    apart = claims.ratio_of_sums([2.0, 300.0], [1.0, 100.0])
    assert apart.value == 302 / 101
    assert (apart.low, apart.high) == (2.0, 3.0)


def test_the_interval_covers_a_median_as_often_as_it_says(claims: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    found = [claims.median_ratio(torch.randn(15, generator=generator).exp().tolist(), [1.0] * 15) for _ in range(60)]
    assert sum(each.low <= 1 <= each.high for each in found) >= 52


def test_a_row_says_whether_its_aim_was_reached(claims: Any) -> None:
    some = claims.Measured(0.9, 0.8, 1.0, 15)
    rows = [
        claims.Row("time", "gradient", claims.at_most(0.95), some, "a note"),
        claims.Row("speed", "a loop", claims.at_least(1.5), some),
        claims.Row("bytes", "gradient", claims.at_most(0.9), claims.exact(0.9)),
        claims.Row("peer", "lxt", claims.at_least(1.0), None, "not installed"),
    ]
    assert [row.reached for row in rows] == ["yes", "no", "yes", ""]
    assert [row.number for row in rows] == ["0.9", "0.9", "0.9", "not measured"]
    assert [row.interval for row in rows] == ["0.8 to 1", "0.8 to 1", "", ""]
    assert [str(row.aim) for row in rows] == ["<= 0.95", ">= 1.5", "<= 0.9", ">= 1"]
    assert claims.summary(rows) == "Reached: 2 of 3 aims; not measured: 1."
    assert claims.summary(rows[:2]) == "Reached: 1 of 2 aims."
    assert [claims.Row.of(json.loads(json.dumps(claims.asdict(row)))) for row in rows] == rows


# -- clocks --------------------------------------------------------------------------------------------------------


def test_candidates_take_turns(claims: Any) -> None:
    order: list[str] = []

    @contextlib.contextmanager
    def scope(name: str) -> Iterator[None]:
        order.append(f"({name}")
        yield
        order.append(")")

    called = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds = claims.turns(called, 2, scope=scope)
    assert "".join(order) == "(aa)(bb)(cc)" * 2 + "(bb)(cc)(aa)"
    assert {name: len(each) for name, each in seconds.items()} == {"a": 2, "b": 2, "c": 2}
    assert all(each >= 0 for times in seconds.values() for each in times)


def test_repeats_end_when_time_is_over_but_not_too_early(claims: Any) -> None:
    assert len(claims.turns({"a": lambda: None}, 15, seconds=0)["a"]) == claims.LEAST
    assert len(claims.turns({"a": lambda: None}, 3, seconds=0)["a"]) == 3
    assert len(claims.turns({"a": lambda: time.sleep(0.001)}, 15, seconds=60)["a"]) == 15


# -- scripts -------------------------------------------------------------------------------------------------------


def rows_of(suite: Any, part: str, folder: Path, *more: str) -> list[Any]:
    """Run a part in its quick form, here, and return its rows."""
    file = folder / f"{part}.json"
    script = importlib.import_module(suite.PARTS[part].script.removesuffix(".py"))
    script.main([*suite.PARTS[part].options, *more, "--quick", "--repeats", "1", "--json", str(file)])
    return [suite.Row.of(values) for values in json.loads(file.read_text(encoding="utf-8"))]


CLAIMS = {
    "cost": ["time of an explanation", "saved activations"] * 12,
    "checkpointing": ["time with checkpointing", "saved activations with checkpointing"] * 4,
    "targets": ["time of 3 labels in one call"],
    "corpus": [
        "share of padding",
        "documents a second in batches",
        "difference of the relevances in batches",
        "documents a second in batches",
        "difference of the relevances in batches",
    ],
    "overhead": ["time of a tiny model"] * 6,
    "startup": ["time of textlrp --help", "modules of torch that textlrp --help loads"],
    "growth": [
        "growth of the ratio of time",
        "growth of the ratio of peak memory",
        "growth of the ratio of peak memory",
    ],
    "peers": ["times as fast as others, attnlrp"] * 4,
}


def test_all_parts_are_tested(suite: Any) -> None:
    assert list(suite.PARTS) == list(PARTS) == list(CLAIMS)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_a_part_returns_a_row_for_each_claim(
    suite: Any, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(suite, part, tmp_path)
    assert [row.claim.partition(":")[0] for row in rows] == CLAIMS[part]
    for row in rows:
        if row.against == "lxt, the authors' package":
            continue
        assert row.measured is not None
        assert row.measured.value > 0 or row.claim.startswith(("modules of torch", "difference"))
        assert row.measured.low <= row.measured.value <= row.measured.high
    printed = " ".join(capsys.readouterr().out.split())
    assert f"torch {torch.__version__}, transformers " in printed
    assert rows[0].against in printed


def test_padding_is_what_the_model_is_given() -> None:
    class Model(nn.Module):
        def forward(self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> None:
            pass

    def read(mask: list[list[int]]) -> None:
        model(input_ids=torch.ones(len(mask), len(mask[0])), attention_mask=torch.tensor(mask))

    model = Model()
    corpus = importlib.import_module("corpus")
    with corpus._Padding(model) as padding:
        read([[1, 1, 1, 1], [1, 1, 0, 0]])
        model(input_ids=torch.ones(1, 2))
        with torch.no_grad():
            read([[1, 0]])
    read([[1, 0]])
    assert padding.share == pytest.approx(0.2)


def test_texts_are_as_long_as_reviews() -> None:
    corpus = importlib.import_module("corpus")
    texts = corpus.write(500)
    assert texts == corpus.write(500)
    counts = sorted(len(text.split()) for text in texts)
    assert counts[0] >= 5
    assert counts[-1] <= 400
    assert 35 < counts[250] < 55
    assert counts[-1] > 200


# -- the authors' package ------------------------------------------------------------------------------------------

LXT = """
def monkey_patch(module):
    assert module.__name__ == "transformers.models.bert.modeling_bert"
    print("Patched")  # stands between no answers
"""


@pytest.fixture
def with_lxt(tmp_path: Path) -> str:
    """A Python that has a package called lxt, which patches nothing: its numbers are gradient x input."""
    package = tmp_path / "packages" / "lxt" / "efficient"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("", encoding="utf-8")
    (package / "__init__.py").write_text(LXT, encoding="utf-8")
    about = tmp_path / "packages" / "lxt-2.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lxt\nVersion: 2.1\n", encoding="utf-8")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{package.parents[1]}" exec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return str(python)


def test_lxt_runs_in_a_process_of_its_own(suite: Any, with_lxt: str, tmp_path: Path) -> None:
    (row,) = rows_of(suite, "peers", tmp_path, "--peer", "lxt", "--model", "bert", "--lxt", with_lxt)
    assert row.measured is not None
    assert row.measured.value > 0
    said = re.search(r"lxt 2\.1, torch (\S+), transformers \S+; logits within (\S+), relevance within (\S+)$", row.note)
    assert said is not None
    assert said[1] == torch.__version__
    assert float(said[2]) < 1e-5
    assert float(said[3]) > 1e-3


def test_where_lxt_is_missing_the_row_says_so(suite: Any, tmp_path: Path) -> None:
    (row,) = rows_of(suite, "peers", tmp_path, "--peer", "lxt", "--model", "bert", "--lxt", str(tmp_path / "python"))
    assert row.measured is None
    assert row.note == "the Python that --lxt names cannot be started: No such file or directory"


# -- the suite -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_suite_writes_a_table(suite: Any, tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    command = [*STRICT, str(FOLDER / "suite.py"), "--quick", "--only", "overhead", "targets", "--output", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# What was measured"
    assert lines[4] == "- `python tests/benchmarks/suite.py --only overhead targets --quick`"
    assert f"torch {torch.__version__}" in lines[3]
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    titles, rule, *rows = cells
    assert titles == ["claim", "against", "aim", "measured", "95 % interval", "reached", "repeats", "note"]
    assert set(rule) == {"---"}
    assert [row[0].partition(":")[0] for row in rows] == CLAIMS["overhead"] + CLAIMS["targets"]
    assert all(len(row) == len(titles) for row in rows)
    assert all(float(row[3]) > 0 for row in rows)
    assert str(tmp_path) not in page.read_text(encoding="utf-8")
    printed = " ".join(done.stdout.split())
    assert all(name in printed for name in ("time of a tiny model", "95 % interval", "reached", "targets: "))


@pytest.mark.slow
def test_a_part_that_fails_is_said_so(
    suite: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "results.md"
    parts = {**suite.PARTS, "cost": suite.Part("price.py", ("--rules", "none"))}
    monkeypatch.setattr(suite, "PARTS", parts)
    with pytest.raises(SystemExit, match="Error: cost failed"):
        suite.main(["--quick", "--only", "cost", "overhead", "--output", str(page)])
    said = capsys.readouterr().out
    assert "invalid choice: 'none'" in said
    assert "**Not measured: cost.**" in page.read_text(encoding="utf-8")


def test_only_a_whole_run_writes_the_results(suite: Any) -> None:
    assert suite.arguments([]).output == FOLDER / "results.md"
    assert suite.arguments(["--quick"]).output is None
    assert suite.arguments(["--only", "cost"]).output is None
    assert suite.arguments(["--quick", "--output", "some.md"]).output == Path("some.md")


def test_a_command_says_nothing_of_the_machine(suite: Any) -> None:
    options = suite.arguments(["--lxt", "/somewhere/bin/python", "--device", "cuda", "--output", "/elsewhere/some.md"])
    assert suite.command(options) == "python tests/benchmarks/suite.py --device cuda --lxt lxt/bin/python"


@pytest.mark.parametrize("script", ["price", "targets", "corpus", "startup", "growth", "peers"])
def test_no_repeats_are_an_error(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        importlib.import_module(script).main(["--repeats", "0"])
    assert "--repeats must be 1 or more, not 0" in capsys.readouterr().err


@pytest.mark.slow
def test_the_memory_of_reports_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    importlib.import_module("stream").main(["--documents", "2", "--corpus", "reviews", "--save"])
    shown = capsys.readouterr().out
    assert re.search(r"│ +2 │ +\d{2,4} │ +│ +\d+ │ +0\.\d │ +0\.\d │", shown)
