"""Files that are written whole or not at all, and JSON from a file or from a text.

What is written goes into a *part*, a file or a folder of a name of its own beside the target, which then takes the
target's name in one step. Whoever reads the target sees what was there before, or all of what is there now.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

from textlrp.basics import readable
from textlrp.basics.options import brief
from textlrp.errors import FileError, InputError

if sys.platform != "win32":
    import fcntl

#: What a file gets: text, which becomes UTF-8, or bytes, or pieces of them.
Content: TypeAlias = str | bytes | Iterable[str | bytes]

_PART = re.compile(r"\.textlrp-[0-9a-f]+\.part")
_FLAGS = os.O_CREAT | os.O_EXCL | os.O_WRONLY | sum(getattr(os, f"O_{name}", 0) for name in ("NOFOLLOW", "BINARY"))
_LOOK = os.O_RDONLY | sum(getattr(os, f"O_{name}", 0) for name in ("NOFOLLOW", "NONBLOCK", "BINARY"))

# Where a part cannot be locked, its age tells whether somebody still writes it.
_OLD = 24 * 60 * 60.0

# A descriptor of this process by its name.
_OPENED = re.compile(r"/dev/(?P<stream>stdout|stderr)|/(?:dev|proc/self)/fd/(?P<number>\d{1,9})")


def read_json(source: str | Path) -> Any:
    """Return what JSON text, or the file at a path, holds.

    Raises:
        InputError: the file is missing, is not UTF-8, or is not JSON.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"a path or JSON text was expected, not {brief(source)}")
    written, place = str(source), "the text given"
    if isinstance(source, Path) or not written.lstrip().startswith("{"):
        place = repr(str(source))
        try:
            readable.check(source)
            written = Path(source).read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{place} is not UTF-8: byte {error.start} cannot be read") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise InputError(f"cannot read {place}: {getattr(error, 'strerror', None) or error}") from None
    try:
        return json.loads(written)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is not JSON: {error}") from None


def write_whole(path: str | Path, content: Content) -> None:
    """Write a file whole or not at all; a device or a pipe (``/dev/stdout``) is written to as it is.

    A file that is there keeps its mode and, where that is permitted, its owner. A link stays a link, and what it points
    to is replaced. Any number of threads and processes may write at once, to the same file, too.

    Raises:
        FileError: the file cannot be written.
    """
    with writing(path):
        stream = _stream(path)
        if stream is not None:
            _write(stream, content)
            return
        target = _target(path)
        with _part(os.path.dirname(target), lambda name: _new_file(name, target)) as part:
            _fill(part.descriptor, content, target)
            part.take(target)


def write_together(files: Iterable[tuple[str | Path, Content]]) -> None:
    """Write several files, each as :func:`write_whole` does, and none of them before the content of all is on disk.

    Args:
        files: paths with their contents. The files appear in this order.

    Raises:
        FileError: one cannot be written, or is a device or a pipe.
    """
    with ExitStack() as stack:
        staged: dict[str, _StagedPart] = {}
        moves: list[tuple[_StagedPart, str, str, str | Path]] = []
        for path, content in files:
            with writing(path):
                if is_stream(path):
                    raise OSError(errno.EINVAL, "it is no file, and several are to be written; name a file")
                target = _target(path)
                folder = os.path.dirname(target)
                if folder not in staged:
                    staged[folder] = stack.enter_context(_part(folder, _new_folder))
                name = os.path.join(staged[folder].path, str(len(moves)))
                descriptor = _new_file(name, target)
                try:
                    _fill(descriptor, content, target)
                finally:
                    os.close(descriptor)
                moves.append((staged[folder], name, target, path))
        for part, name, target, path in moves:
            with writing(path):
                os.replace(name, target)
                _sync_folder(os.path.dirname(part.path))


def check_folder(path: str | Path) -> None:
    """Fail early where :func:`write_folder` could not write.

    Raises:
        InputError: there is something of that name that is no empty folder, or no folder to put it into.
        FileError: a system call failed.
    """
    with writing(path):
        if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path) or os.listdir(path)):
            raise InputError(f"{str(path)!r} exists: name a new folder")
        check_name(path)
        parent = Path(path).absolute().parent
        if not parent.is_dir():
            raise InputError(f"cannot write {str(path)!r}: there is no folder {str(Path(path).parent)!r}")


def write_folder(path: str | Path, files: Iterable[tuple[str, str]]) -> None:
    """Write a folder of UTF-8 files, whole or not at all.

    Args:
        path: a folder that does not exist, or is empty; an empty one keeps its mode and owner.
        files: the names of files in it, with their texts.

    Raises:
        InputError: there is something of that name, or no folder to put it into.
        FileError: it cannot be written.
    """
    check_folder(path)
    with writing(path):
        target = os.path.abspath(path)
        with _part(os.path.dirname(target), _new_folder) as part:
            for name, text in files:
                descriptor = os.open(os.path.join(part.path, name), _FLAGS, 0o666)
                try:
                    _fill(descriptor, text)
                finally:
                    os.close(descriptor)
            if os.path.isdir(target) and sys.platform != "win32":
                _keep(part.descriptor, os.stat(target))
            elif os.path.isdir(target):  # Windows replaces no folder, not even an empty one
                os.rmdir(target)
            _sync_folder(part.path)
            part.take(target)


def check_name(path: str | Path) -> None:
    """Fail where the system takes no such name, whether anything is there or not.

    Raises:
        FileError: the name is too long, has a NUL or half of a surrogate pair, or is a link to itself.
    """
    with writing(path), suppress(FileNotFoundError, NotADirectoryError):
        os.stat(path)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn what the system says while a file is written into one sentence.

    Raises:
        FileError: a system call failed, or the name or the text cannot be encoded.
    """
    try:
        yield
    except InputError:  # a ValueError, which says what is wrong
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name, half of a surrogate pair
        raise FileError(f"cannot write {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None


def is_stream(path: str | Path) -> bool:
    """Whether what is written to a path goes to a device, a pipe or a stream that is open, and replaces nothing."""
    return _OPENED.fullmatch(str(path)) is not None or (
        os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
    )


def _stream(path: str | Path) -> int | None:
    """Return a descriptor of a device, a pipe or an open stream; None for a file."""
    if not is_stream(path):
        return None
    opened = _OPENED.fullmatch(str(path))
    if opened is None:
        return os.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
    number = {"stdout": 1, "stderr": 2}.get(opened["stream"] or "", int(opened["number"] or 0))
    # To open it by its name again would begin at the start of a file that the shell, or someone before, has begun.
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    return os.dup(number)


def _target(path: str | Path) -> str:
    """Return the file that is to be replaced: a link stays a link."""
    target = os.path.realpath(path)
    if os.path.islink(target):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return target


def _fill(descriptor: int, content: Content, target: str | None = None) -> None:
    """Write a part's content to the disk, and give it the mode and owner of the file that it replaces."""
    _write(os.dup(descriptor), content)
    if target is not None:
        with suppress(FileNotFoundError):
            _keep(descriptor, os.stat(target))
    try:
        # A rename may reach the disk before the content does, and leave an empty file after a power cut.
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):  # some file systems cannot
            raise


def _write(descriptor: int, content: Content) -> None:
    """Write a content, and close the descriptor."""
    with open(descriptor, "wb") as file:
        for piece in (content,) if isinstance(content, (str, bytes)) else content:
            file.write(piece.encode() if isinstance(piece, str) else piece)


def _keep(descriptor: int, before: os.stat_result) -> None:
    """Give a part the mode and, where that is permitted, the owner of what it replaces."""
    if sys.platform == "win32":
        return
    now = os.fstat(descriptor)
    mode = stat.S_IMODE(before.st_mode)
    try:
        if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
            os.fchown(descriptor, before.st_uid, before.st_gid)
    except OSError:
        # Under another owner, set-id bits would say something else, and so would the rights of the group.
        mode = mode & 0o707 | (mode & 0o007) << 3
    os.fchmod(descriptor, mode)


def _new_file(name: str, target: str) -> int:
    # What replaces a private file is private from its first byte. A new file gets what the umask and the folder's
    # default rights give; tempfile would make it private, and to ask for the umask is to change it for all threads.
    return os.open(name, _FLAGS, 0o600 if os.path.exists(target) else 0o666)


def _new_folder(name: str) -> int:
    os.mkdir(name)
    try:
        return -1 if sys.platform == "win32" else os.open(name, _LOOK)
    except FileNotFoundError:  # someone who tidied up was faster: another name may have more luck
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None


class _StagedPart:
    """A file or folder under a name of its own, locked by whoever writes it.

    Attributes:
        path: where it is.
        descriptor: it, opened.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor

    def take(self, target: str) -> None:
        """Give it the target's name."""
        if sys.platform == "win32":  # an open file cannot be renamed
            self.close()
        os.replace(self.path, target)
        _sync_folder(os.path.dirname(target))

    def close(self) -> None:
        """Give up the lock."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def is_ours(self) -> bool:
        """Lock it, and return whether it is still there: someone who tidied up may have been faster."""
        if sys.platform == "win32":
            return True
        with suppress(OSError):  # a file system without locks
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        return _is_same(self.descriptor, self.path)


@contextmanager
def _part(folder: str, create: Callable[[str], int]) -> Iterator[_StagedPart]:
    """Make a part in a folder; what is left of it at the end is removed."""
    _tidy(folder)
    part = None
    while part is None:
        path = os.path.join(folder, f".textlrp-{secrets.token_hex(8)}.part")
        try:
            made = _StagedPart(path, create(path))
        except FileExistsError:
            continue
        if made.is_ours():
            part = made
        else:
            made.close()
    try:
        yield part
    finally:
        _remove(part.path)
        part.close()


# How many writes go by until leftovers are looked for again, by folder: a folder of very many files takes long to read.
_to_pass: dict[str, int] = {}
_ENTRIES = 50  # that are read for each write, on average


def _tidy(folder: str) -> None:
    """Remove the parts that killed processes left in a folder."""
    left = _to_pass.pop(folder, 0)
    if not left:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                left += 1
                if _PART.fullmatch(entry.name):
                    with suppress(OSError):
                        _remove_abandoned(entry.path)
        left //= _ENTRIES
    if left > 1:
        _to_pass[folder] = left - 1


def _remove_abandoned(path: str) -> None:
    if not os.path.isdir(path) and not os.path.isfile(path):
        return
    descriptor = os.open(path, _LOOK)  # follows no link
    try:
        if _is_abandoned(descriptor) and _is_same(descriptor, path):
            _remove(path)
    finally:
        os.close(descriptor)


def _is_abandoned(descriptor: int) -> bool:
    """Whether nobody writes a part any more; if so, the descriptor has locked it."""
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
    return time.time() - os.fstat(descriptor).st_mtime > _OLD


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            os.unlink(path)


def _is_same(descriptor: int, path: str) -> bool:
    """Whether a path, links not followed, is what a descriptor has opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False


def _sync_folder(folder: str) -> None:
    """Put a new name on the disk, where a folder can be opened at all: the file is in its place already."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
