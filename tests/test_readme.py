"""What the README shows is what happens."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import textlrp
from textlrp.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_prints_what_the_readme_says() -> None:
    code = re.search(r"```python\n(import textlrp.*?)```", README, re.DOTALL)
    shown = re.search(r"```text\n(.*?)```", README, re.DOTALL)
    assert code is not None
    assert shown is not None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code[1], {})
    assert printed.getvalue() == shown[1]


def test_the_rules_of_the_readme_explain_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"```python\n(rules = .*?)```", README, re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    named: dict[str, Any] = {"textlrp": textlrp, "explainer": textlrp.Explainer.demo()}
    exec(code[1], named)
    assert textlrp.Rules.from_json(tmp_path / "rules.json") == named["rules"]


def test_every_option_in_the_readme_exists() -> None:
    known = {option for command in main.commands.values() for parameter in command.params for option in parameter.opts}
    named = set(re.findall(r"`?(--[a-z-]+|-o)\b", "\n".join(re.findall(r"^    textlrp .*$|`-[^`]*`", README, re.M))))
    assert named - {"--write-support-table"} <= known
    assert {"explain", "check"} <= set(main.commands)
    assert CliRunner().invoke(main, ["--help"]).exit_code == 0


def test_every_file_that_the_readme_names_is_there() -> None:
    names = re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:md|py|txt))`|\]\(([^)#]+)\)", README)
    files = {name or link for name, link in names} - {"review.txt"}
    assert "examples/explain_reviews.svg" in files
    assert [name for name in files if not (ROOT / name).is_file()] == []
