"""Files are written whole or not at all, by many at once, even if a writer fails or stops, or others interfere."""

from __future__ import annotations

import errno
import os
import resource
import secrets
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from strict_python import STRICT

from textlrp.basics.files import write_folder, write_together, write_whole
from textlrp.errors import FileError, InputError

RELIABILITY = Path(__file__).parents[1] / "reliability"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("script", "count", "figures"),
    [
        ("writing.py", 160, "files that are wrong: 0 of 160 by 8 threads, 0 of 160 by 8 processes\n"),
        ("killed_writers.py", 10, "10 kills: 0 left something half-written, "),
    ],
)
def test_many_at_once_and_kills_leave_whole_files(script: str, count: int, figures: str) -> None:
    command = [*STRICT, str(RELIABILITY / script), "--count", str(count), "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(figures)


@pytest.mark.parametrize("content", ["Gut, ☃\r\n\n", "Gut, ☃\r\n\n".encode(), ["Gut, ", "☃".encode(), "\r\n\n"]])
def test_text_bytes_and_pieces_are_written_as_they_are(content: Any, tmp_path: Path) -> None:
    write_whole(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == "Gut, ☃\r\n\n".encode()


def test_an_existing_file_keeps_its_mode_and_a_new_one_gets_what_the_umask_gives(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = os.umask(0o027)
    try:
        write_whole(path, "new")
        write_together([(tmp_path / "a", "new"), (tmp_path / "b", "new")])
        write_folder(tmp_path / "folder", [("c", "new")])
        assert [mode(tmp_path / name) for name in ("file", "a", "b", "folder", "folder/c")] == [
            0o640,
            0o640,
            0o640,
            0o750,
            0o640,
        ]
        path.chmod(0o600)
        (tmp_path / "a").chmod(0o604)
        write_whole(path, "newer")
        write_together([(tmp_path / "a", "newer")])
        assert [mode(path), mode(tmp_path / "a")] == [0o600, 0o604]
        (tmp_path / "private").mkdir(0o700)
        write_folder(tmp_path / "private", [("c", "new")])
        assert mode(tmp_path / "private") == 0o700
    finally:
        os.umask(before)


def test_a_private_file_is_private_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o600)
    seen = []

    def content() -> Iterator[str]:
        yield "some"
        seen.extend(mode(part) for part in tmp_path.iterdir() if part != path)

    write_whole(path, content())
    assert seen == [0o600]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_an_existing_file_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o640)
    os.chown(path, 12345, 54321)
    write_whole(path, "text")
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (12345, 54321, 0o640)


def test_rights_of_a_group_are_not_given_to_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o4674)
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
        path.chmod(0o4674)

    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    write_whole(path, "text")
    assert mode(path) == (0o644 if os.geteuid() == 0 else 0o4674)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("there", "new"):
        (tmp_path / name).symlink_to(folder / name)
    (folder / "there").write_text("old")
    write_whole(tmp_path / "there", "text")
    write_together([(tmp_path / "new", "text"), (tmp_path / "plain", "text")])
    assert [(tmp_path / name).is_symlink() for name in ("there", "new", "plain")] == [True, True, False]
    assert [(folder / name).read_text() for name in ("there", "new")] == ["text", "text"]


def test_a_planted_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim, old, guessed = tmp_path / "victim", tmp_path / f".textlrp-{os.getpid()}.part", tmp_path / ".textlrp-ab.part"
    victim.write_text("mine")
    old.symlink_to(victim)
    guessed.symlink_to(victim)
    names = iter(["ab", "cd", "ab", "ef", "ab", "01"])
    monkeypatch.setattr(secrets, "token_hex", lambda *_: next(names))
    write_whole(tmp_path / "file", "text")
    write_together([(tmp_path / "other", "text")])
    write_folder(tmp_path / "folder", [("name", "text")])
    assert victim.read_text() == "mine"
    assert (tmp_path / "file").read_text() == "text"
    assert not (tmp_path / "file").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [guessed.name, old.name, "file", "folder", "other", "victim"]
    )


def test_leftovers_are_removed_and_what_somebody_writes_is_not(tmp_path: Path) -> None:
    left = tmp_path / ".textlrp-4711.part"
    folder = tmp_path / ".textlrp-0abc.part"
    pipe, other = tmp_path / ".textlrp-1.part", tmp_path / ".textlrp-notes.part"
    os.mkfifo(pipe)
    other.touch()

    def content() -> Iterator[str]:
        yield "first "
        left.touch()
        folder.mkdir()
        (folder / "0").touch()
        write_whole(tmp_path / "another", "text")
        assert not left.exists()
        assert not folder.exists()
        write_together([(tmp_path / "a", "text")])
        yield "second"

    write_whole(tmp_path / "file", content())
    assert (tmp_path / "file").read_text() == "first second"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "another", "a", pipe.name, other.name}


def test_devices_pipes_and_open_streams_are_written_as_they_are(tmp_path: Path) -> None:
    write_whole(os.devnull, "text")
    assert not Path(os.devnull).is_file()
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_whole(pipe, ["a ", "text"])
    reader.join()
    assert read == ["a text"]
    with (tmp_path / "log").open("w") as file:
        file.write("before, ")
        file.flush()
        write_whole(f"/dev/fd/{file.fileno()}", "text")
        file.write(", after")
    assert (tmp_path / "log").read_text() == "before, text, after"
    assert sorted(os.listdir(tmp_path)) == ["log", "pipe"]


def closed_pipe(_: Path) -> str:
    reading, writing = os.pipe()
    os.close(reading)
    return f"/dev/fd/{writing}"


CANNOT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "full": (lambda _: "/dev/full", "No space left on device"),
    "long name": (lambda folder: folder / ("x" * 300), "File name too long"),
    "folder": (lambda folder: folder, "Is a directory"),
    "no folder": (lambda folder: folder / "no" / "file", "No such file or directory"),
    "below a file": (lambda folder: folder / "there" / "file", "Not a directory"),
    "link to itself": (lambda folder: folder / "loop", "Too many levels of symbolic links"),
    "NUL": (lambda folder: folder / "a\0b", "embedded null byte"),
    "closed pipe": (closed_pipe, "Broken pipe"),
}


@pytest.mark.parametrize(("where", "reason"), CANNOT.values(), ids=CANNOT)
def test_what_cannot_be_written_is_one_sentence(where: Callable[[Path], Any], reason: str, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    path = where(tmp_path)
    with pytest.raises(FileError) as caught:
        write_whole(path, "text " * 100_000)
    assert str(caught.value) == f"cannot write {str(path)!r}: {reason}"
    if "/fd/" not in str(path) and str(path) != "/dev/full":
        with pytest.raises(FileError, match=reason):
            write_together([(tmp_path / "first", "text"), (path, "text")])
    assert sorted(os.listdir(tmp_path)) == ["loop", "there"]
    assert (tmp_path / "there").read_text() == "mine"


def test_several_files_do_not_go_into_one_device(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot write '/dev/null': it is not a file, and several are to be written"):
        write_together([(tmp_path / "first", "text"), ("/dev/null", "text")])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("write", [write_whole, lambda path, text: write_folder(path, [("a", "b"), ("c", text)])])
def test_a_quota_leaves_nothing_half_written(write: Callable[[Path, str], None], tmp_path: Path) -> None:
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(FileError, match="File too large"):
            write(tmp_path / "new", "text " * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


def test_a_folder_without_rights_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    code = (
        "import os, sys; from textlrp.errors import FileError; from textlrp.basics.files import write_whole\n"
        "if os.geteuid() == 0: os.setuid(65534)  # root has all rights\n"
        "try: write_whole(sys.argv[1], 'text')\n"
        "except FileError as error: print(error)"
    )
    path = tmp_path / "file"
    command = [sys.executable, "-W", "error", "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write {str(path)!r}: Permission denied\n"
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fails_at_the_last_moment_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    for write in (write_whole, lambda path, text: write_together([(path, text)])):
        with pytest.raises(FileError, match="Input/output error"):
            write(path, "text")
    assert (path.read_text(), os.listdir(tmp_path)) == ("before", ["file"])


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError("this is no text")], ids=["interrupt", "error"])
def test_content_that_ends_early_changes_nothing(error: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def content() -> Iterator[str]:
        yield "text"
        raise error

    for write in (
        lambda: write_whole(path, content()),
        lambda: write_together([(path, "text"), (tmp_path / "second", content())]),
    ):
        with pytest.raises(type(error) if isinstance(error, Exception) else error):
            write()
        assert (path.read_text(), os.listdir(tmp_path)) == ("before", ["file"])


def test_half_of_a_surrogate_pair_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="surrogates not allowed"):
        write_whole(tmp_path / "file", ["good", "\ud800"])
    assert os.listdir(tmp_path) == []


def test_files_are_written_without_torch() -> None:
    code = (
        "import sys, textlrp.basics.files, textlrp.commands.outputs\n"
        "sys.exit(bool({'torch', 'numpy', 'pyarrow'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
