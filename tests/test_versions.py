"""The script that tests other releases asks for what `pyproject.toml` says, and keeps its log."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import versions

PROJECT = tomllib.loads((versions.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ROW = ["2.6.0", "4.48.0", "3.13.5", "lowest", "10", "1", "2", "3", "2026-12-01"]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(versions, "LOG", tmp_path / "log.md")
    return tmp_path / "log.md"


def test_the_oldest_pair_is_what_the_project_allows() -> None:
    torch, transformers, _, lowest = versions.PAIRS[0]
    assert lowest
    assert {f"torch>={torch}", f"transformers>={transformers.removesuffix('.0')}"} <= set(PROJECT["dependencies"])


def test_other_dependencies_are_as_old_as_they_may_be_or_any() -> None:
    lowest = versions.others(lowest=True)
    assert all(re.fullmatch(r"[a-z0-9-]+==[\d.]+", line) for line in lowest)
    assert [line.split("==")[0] for line in lowest] == versions.others(lowest=False)
    assert len(lowest) > 15
    # A bound that has moved needs no first wheel any more.
    assert {f"{name}=={release}" for (name, _), release in versions.FIRST_WHEELS.items()} <= set(lowest)


def test_a_row_replaces_the_one_of_the_same_releases(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "THEIRS", {"no spam": "torch 2.6 has none: give it eggs"})
    versions.write(ROW, ["tests.one"])
    versions.write([*ROW[:2], "3.11.7", *ROW[3:]], [])
    assert log.read_text(encoding="utf-8").count("\n| 2.6.0 ") == 2
    assert "- torch 2.6.0, transformers 4.48.0, Python 3.13.5: `tests.one`" in log.read_text(encoding="utf-8")
    versions.write([*ROW[:5], "0", *ROW[6:]], [])
    text = log.read_text(encoding="utf-8")
    assert text.count("\n| 2.6.0 ") == 2
    assert "tests.one" not in text
    assert text.endswith("\nFailed:\n\nNone.\n")  # reasons that begin with a release are none
    assert "| 2.6.0 | 4.48.0 | 3.13.5 | lowest | 10 | 0 | 2 | 3 | 2026-12-01 |" in text
