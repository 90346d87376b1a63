"""The README and the pages in docs/ show what happens: their code runs, and prints what stands below it."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from textlrp.cli import main

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
OTHER_PAGES = tuple(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md"))


class Block(NamedTuple):
    """A fenced block of a page: its language and what stands in it."""

    language: str
    content: str


def blocks(page: Path) -> list[Block]:
    return [Block(*block) for block in re.findall(r"^```(.*?)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)]


def title(page: Path) -> str:
    return page.name


def lines(language: str) -> Iterator[str]:
    for page in PAGES:
        for block in blocks(page):
            if block.language == language:
                yield from block.content.splitlines()


def python_output(code: str, names: dict[str, object]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    return printed.getvalue()


def console_output(content: str) -> str:
    """Return a console block with what its commands print now."""
    shown = []
    for line in content.splitlines():
        if line.startswith("$ textlrp "):
            result = CliRunner(env={"NO_COLOR": "1"}).invoke(main, shlex.split(line)[2:])
            assert result.exit_code == 0, result.output
            shown += [line, result.output.rstrip("\n")]
    return "\n".join([*shown, ""])


def without_rounding(shown: str) -> str:
    """Return an output without the residue, which differs from machine to machine."""
    return re.sub(r"residue \S+", "residue", shown)


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_a_page_shows_what_its_code_prints(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    printed = ""
    for block in blocks(page):
        if block.language == "python":
            assert printed == "", "the page does not show what the block before this one prints"
            printed = python_output(block.content, names)
        elif block.language == "text":
            assert block.content == printed
            printed = ""
        elif block.language == "console":
            assert without_rounding(block.content) == without_rounding(console_output(block.content))
        else:
            assert block.language == "sh"
    assert printed == "", "the page does not show what its last block prints"


@pytest.mark.parametrize("line", sorted(set(lines("sh"))))
def test_a_command_on_a_page_can_be_given(line: str) -> None:
    """Its options exist; the commands themselves need models and files of the reader."""
    program, *words = shlex.split(line, comments=True)
    if program == "textlrp":
        main.commands[words[0]].make_context(words[0], words[1:])
    elif program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text("utf-8"), re.M)
    elif program == "python":
        assert (ROOT / words[0]).is_file()
    else:
        assert (program, words[0]) == ("pip", "install")
        extras = re.search(r"textlrp\[(.*)\]$", words[1])
        assert extras is not None
        for extra in extras[1].split(","):
            assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text("utf-8"), re.M)


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES], ids=title)
def test_every_option_on_a_page_exists(page: Path) -> None:
    commands = main.commands.values()
    known = {option for command in commands for parameter in command.params for option in parameter.opts}
    named = set(re.findall(r"(?<=`)(?:--[a-z-]+|-o)\b", page.read_text("utf-8")))
    assert named - {"--help", "--write-support-table"} <= known


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES], ids=title)
def test_every_file_on_a_page_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = re.findall(r"`((?:docs|examples|tests|textlrp)/[\w./-]+)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 220
