"""Paths that are not files are not opened: a pipe without a writer, a socket, an endless device."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from strict_python import STRICT

from textlrp.basics import readable
from textlrp.cli import main

READERS = {
    "explain --file": ("explain", "--file", "{}"),
    "explain --rules": ("explain", "good", "--rules", "{}.json"),
    "report, a table": ("report", "{}.csv"),
    "report, parquet": ("report", "{}.parquet"),
    "export": ("export", "{}.jsonl", "--to", "csv"),
    "annotations": ("annotations", "{}.jsonl", "--report", "{}.html"),
    "evaluate": ("evaluate", "--corpus", "{}.csv"),
    "evaluate, rules": ("evaluate", "--corpus", "reviews", "--method", "rules:{}.json"),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("reader", READERS)
def test_no_command_waits_for_a_pipe_that_nobody_writes_to(reader: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    for suffix in ("", ".json", ".csv", ".parquet", ".jsonl", ".html"):
        os.mkfifo(f"{pipe}{suffix}")
    answer = CliRunner().invoke(main, [word.format(pipe) for word in READERS[reader]])
    assert answer.exit_code == 2
    assert answer.stderr.startswith("Error: cannot read '")
    assert "a file was expected, and this is a named pipe, for whose writer one might wait forever" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "said"),
    [("/dev/zero", "a device, which may have no end"), ("/dev/null", "a device")],
    ids=["zero", "null"],
)
def test_a_device_is_no_file(path: str, said: str) -> None:
    if not os.path.exists(path):
        pytest.skip(f"the system has no {path}")
    with pytest.raises(OSError, match=f"a file was expected, and this is {said}"):
        readable.check(path)


def test_a_socket_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as left:
        left.bind("socket")
    with pytest.raises(OSError, match="this is a socket"):
        readable.check("socket")


def test_files_folders_and_what_is_not_there_pass(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    for path in (tmp_path / "file", tmp_path / "link", tmp_path, tmp_path / "nothing"):
        readable.check(path)


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="the system has no names for descriptors")
@pytest.mark.parametrize("name", ["/dev/stdin", "/dev/fd/0"])
def test_what_a_shell_hands_over_is_read(name: str) -> None:
    code = f"import pathlib, textlrp.commands.shared as s; print(s.read_text(None, pathlib.Path({name!r})))"
    given: dict[str, Any] = {"input": "from a pipe", "capture_output": True, "text": True, "check": True}
    assert subprocess.run([*STRICT, "-c", code], **given).stdout == "from a pipe\n"
