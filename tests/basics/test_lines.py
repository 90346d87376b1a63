"""Files that grow: whole lines survive, torn ones are cut, one process writes, and failures are reported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from example_evaluations import plan, results
from strict_python import STRICT

from textlrp.basics.lines import Lines, read_lines
from textlrp.errors import FileError, InputError, LRPError
from textlrp.evaluate.run_folder import RESULTS, Log

FULL = Path("/dev/full")
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")


def write(path: Path, *lines: str) -> None:
    with Lines(path) as file:
        for line in lines:
            file.add(line)


def whole(path: Path) -> list[str]:
    return [line.decode() for _, line, ended in read_lines(path) if ended]


def test_lines_are_added_behind_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, "one", "zwölf \u2028 \x85")
    write(path, "three")
    assert whole(path) == ["one", "zwölf \u2028 \x85", "three"]
    assert [number for number, _, _ in read_lines(path)] == [1, 2, 3]


def test_a_last_line_that_is_torn_at_any_byte_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, "one", "zwölf")
    written = path.read_bytes()
    for length in range(len("one\n"), len(written)):
        path.write_bytes(written[:length])
        torn = length > len("one\n")
        assert whole(path) == ["one"]
        with Lines(path) as file:
            assert file.cut() is torn
            file.add("two")
        assert path.read_bytes() == b"one\ntwo\n"


def test_a_line_survives_the_end_of_the_process(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from textlrp.basics.lines import Lines\n"
        "with Lines(Path(sys.argv[1])) as file:\n"
        "    for i in range(50): file.add(str(i))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([*STRICT, "-c", code, str(tmp_path / "a")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert whole(tmp_path / "a") == [str(i) for i in range(50)]
    write(tmp_path / "a", "50")  # and the lock is gone with the process


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="needs locks of files")
    with Lines(tmp_path / "a"), pytest.raises(InputError) as caught, Lines(tmp_path / "a"):
        pass
    assert str(caught.value) == f"another run is writing to {str(tmp_path / 'a')!r}: wait, or name another file"
    write(tmp_path / "a", "x")


@needs_full
def test_a_disk_that_is_full_is_said_in_a_sentence() -> None:
    with pytest.raises(LRPError) as caught, Lines(FULL) as file:
        file.add("one")
    assert str(caught.value) == "cannot write '/dev/full': No space left on device"
    assert type(caught.value) is FileError


def test_a_disk_that_fills_up_tears_no_line(tmp_path: Path) -> None:
    """A limit to the size of files, like a quota: a write takes a part of a line, and the next one none of it."""
    pytest.importorskip("resource", reason="needs limits to processes")
    code = (
        "import resource, signal, sys; from pathlib import Path; from textlrp.basics.lines import Lines\n"
        "from textlrp.errors import LRPError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "try:\n"
        "    with Lines(Path(sys.argv[1])) as file:\n"
        "        file.add('one'); file.add('two'); file.add('three')\n"
        "except LRPError as error: print(error)"
    )
    done = subprocess.run([*STRICT, "-c", code, str(tmp_path / "a")], check=True, capture_output=True, text=True)
    assert done.stdout == f"cannot write {str(tmp_path / 'a')!r}: File too large\n"
    assert (tmp_path / "a").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("fails", ["close", "fsync"])
def test_an_error_as_the_file_is_closed_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    close = os.close

    def full(file: int) -> None:
        if fails == "close":
            close(file)
        raise OSError(28, "No space left on device")

    def added(line: str, error: Exception | None = None) -> None:
        with Lines(tmp_path / "a") as file:
            file.add(line)
            monkeypatch.setattr(os, fails, full)
            if error is not None:
                raise error

    with pytest.raises(LRPError, match=r"^cannot write '.*a': No space left on device$"):
        added("one")
    monkeypatch.undo()
    with pytest.raises(KeyError, match="first"):  # what went wrong before is what is raised
        added("two", KeyError("first"))
    monkeypatch.undo()
    assert whole(tmp_path / "a") == ["one", "two"]
    write(tmp_path / "a", "three")


def test_an_interrupt_leaves_no_part_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def half(file: int, line: bytes) -> int:
        real(file, line[: len(line) // 2])
        raise KeyboardInterrupt

    with Lines(tmp_path / "a") as file:
        file.add("one")
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(KeyboardInterrupt):
            file.add("two")
        monkeypatch.undo()
        file.add("three")
    assert whole(tmp_path / "a") == ["one", "three"]


def places(folder: Path) -> dict[str, tuple[Path, type[Exception]]]:
    (folder / "file").write_text("x")
    (folder / "shut").mkdir(mode=0o500)
    return {
        "no folder": (folder / "none" / "a", InputError),
        "a file as a folder": (folder / "file" / "a", InputError),
        "a folder": (folder, InputError),
        "a NUL": (folder / "nu\0l", InputError),
        "300 characters": (folder / ("x" * 300), FileError),
        "no rights": (folder / "shut" / "a", FileError),
    }


def log(path: Path) -> Log:
    return Log(plan(), path)


@pytest.mark.parametrize(
    ("opened", "what"),
    [
        *((Lines, what) for what in ("no folder", "a file as a folder", "a folder", "a NUL", "300 characters")),
        *((log, what) for what in ("a file as a folder", "a NUL", "300 characters")),
        *(
            pytest.param(opener, "no rights", marks=pytest.mark.skipif(ROOT, reason="root may write everywhere"))
            for opener in (Lines, log)
        ),
    ],
)
def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path, opened: Callable[[Path], Any], what: str) -> None:
    path, error = places(tmp_path)[what]
    with pytest.raises(error, match=r"^cannot write '[^\n]*: [^\n]+$") as caught, opened(path):
        pass
    assert type(caught.value) is error


@needs_full
def test_the_log_of_an_evaluation_says_that_the_disk_is_full(tmp_path: Path) -> None:
    (tmp_path / RESULTS).symlink_to(FULL)
    with pytest.raises(LRPError) as caught, Log(plan(), tmp_path) as kept:
        kept.add(results()[0])
    assert str(caught.value) == f"cannot write {str(tmp_path)!r}: No space left on device"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path, tmp_path / "nu\0l"):
        with pytest.raises(InputError, match="cannot read "):
            list(read_lines(path))


def test_neither_needs_torch() -> None:
    code = "import sys, textlrp.basics.lines, textlrp.evaluate.run_folder; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
