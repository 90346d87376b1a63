"""Files that are written whole or not at all, and JSON from a file or from a text.

Content is written into a *part*, a file or a folder with a name of its own beside the target, which then takes the
target's name in one step. A reader of the target sees its old content or its new one, never a mixture.
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

#: The content of a file: text, which becomes UTF-8, or bytes, or pieces of them.
Content: TypeAlias = str | bytes | Iterable[str | bytes]

_PART = re.compile(r"\.textlrp-[0-9a-f]+\.part")
_FLAGS = os.O_CREAT | os.O_EXCL | os.O_WRONLY | sum(getattr(os, f"O_{name}", 0) for name in ("NOFOLLOW", "BINARY"))
_LOOK = os.O_RDONLY | sum(getattr(os, f"O_{name}", 0) for name in ("NOFOLLOW", "NONBLOCK", "BINARY"))

# The age in seconds at which a part that cannot be locked counts as abandoned.
_OLD = 24 * 60 * 60.0

# The name of a descriptor of this process.
_OPENED = re.compile(r"/dev/(?P<stream>stdout|stderr)|/(?:dev|proc/self)/fd/(?P<number>\d{1,9})")


def read_json(source: str | Path) -> Any:
    """Return the value of JSON text, or of the JSON file at a path.

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
    """Write a file whole or not at all; a device or a pipe (``/dev/stdout``) is written to directly.

    An existing file keeps its mode and, if permitted, its owner. A link stays a link, and its target is replaced. Any
    number of threads and processes may write at once, even to the same file.

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
    """Write several files as :func:`write_whole` does, but none before the content of all is on disk.

    Args:
        files: paths with their contents. The files appear in this order.

    Raises:
        FileError: a file cannot be written, or is a device or a pipe.
    """
    with ExitStack() as stack:
        staged: dict[str, _StagedPart] = {}
        moves: list[tuple[_StagedPart, str, str, str | Path]] = []
        for path, content in files:
            with writing(path):
                if is_stream(path):
                    raise OSError(errno.EINVAL, "it is not a file, and several are to be written; name a file")
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
    """Check that :func:`write_folder` can write.

    Raises:
        InputError: the path exists and is not an empty folder, or its parent is not a folder.
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
        InputError: the path exists and is not an empty folder, or its parent is not a folder.
        FileError: the folder cannot be written.
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
    """Check that the system accepts a name, whether the file exists or not.

    Raises:
        FileError: the name is too long, has a NUL or half of a surrogate pair, or is a link to itself.
    """
    with writing(path), suppress(FileNotFoundError, NotADirectoryError):
        os.stat(path)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn errors of the system while a file is written into one sentence.

    Raises:
        FileError: a system call failed, or the name or the text cannot be encoded.
    """
    try:
        yield
    except InputError:  # a ValueError with a message of its own
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name, half of a surrogate pair
        raise FileError(f"cannot write {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None


def is_stream(path: str | Path) -> bool:
    """Return whether a path is a device, a pipe or an open stream, so that writing to it replaces no file."""
    return _OPENED.fullmatch(str(path)) is not None or (
        os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
    )


def _stream(path: str | Path) -> int | None:
    """Return a descriptor of a device, a pipe or an open stream, or None for a file."""
    if not is_stream(path):
        return None
    opened = _OPENED.fullmatch(str(path))
    if opened is None:
        return os.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
    number = {"stdout": 1, "stderr": 2}.get(opened["stream"] or "", int(opened["number"] or 0))
    # Opening it again by its name would start at the beginning of a file that the shell has opened and may have filled.
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    return os.dup(number)


def _target(path: str | Path) -> str:
    """Return the file to replace: a link stays a link."""
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
    """Give a part the mode and, if permitted, the owner of the file that it replaces."""
    if sys.platform == "win32":
        return
    now = os.fstat(descriptor)
    mode = stat.S_IMODE(before.st_mode)
    try:
        if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
            os.fchown(descriptor, before.st_uid, before.st_gid)
    except OSError:
        # With another owner, set-id bits and the rights of the group would have another meaning.
        mode = mode & 0o707 | (mode & 0o007) << 3
    os.fchmod(descriptor, mode)


def _new_file(name: str, target: str) -> int:
    # The replacement of a private file is private from its first byte. A new file gets its mode from the umask and the
    # folder's default rights; tempfile would make it private, and reading the umask changes it for all threads.
    return os.open(name, _FLAGS, 0o600 if os.path.exists(target) else 0o666)


def _new_folder(name: str) -> int:
    os.mkdir(name)
    try:
        return -1 if sys.platform == "win32" else os.open(name, _LOOK)
    except FileNotFoundError:  # another process has removed it already: try another name
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None


class _StagedPart:
    """A part, which its writer locks.

    Attributes:
        path: its path.
        descriptor: its open descriptor.
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
        """Release the lock."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def is_ours(self) -> bool:
        """Lock it, and return whether it still exists: another process may have removed it before the lock."""
        if sys.platform == "win32":
            return True
        with suppress(OSError):  # a file system without locks
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        return _is_same(self.descriptor, self.path)


@contextmanager
def _part(folder: str, create: Callable[[str], int]) -> Iterator[_StagedPart]:
    """Make a part in a folder; if it is still there at the end, it is removed."""
    _tidy(folder)
    part = None
    while part is None:
        path = os.path.join(folder, f".textlrp-{secrets.token_hex(8)}.part")
        try:
            created = _StagedPart(path, create(path))
        except FileExistsError:
            continue
        if created.is_ours():
            part = created
        else:
            created.close()
    try:
        yield part
    finally:
        _remove(part.path)
        part.close()


# By folder, the number of writes until it is searched for leftovers again: a folder of very many files is slow to read.
_writes_left: dict[str, int] = {}
_ENTRIES = 50  # entries to read for each write, on average


def _tidy(folder: str) -> None:
    """Remove the parts that killed processes left in a folder."""
    writes = _writes_left.pop(folder, 0)
    if not writes:
        count = 0
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                count += 1
                if _PART.fullmatch(entry.name):
                    with suppress(OSError):
                        _remove_abandoned(entry.path)
        writes = count // _ENTRIES
    if writes > 1:
        _writes_left[folder] = writes - 1


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
    """Return whether no process writes a part any more; if so, the descriptor has locked it."""
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
    """Return whether a path, links not followed, is the file of a descriptor."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False


def _sync_folder(folder: str) -> None:
    """Write a new name to the disk, if the system can open a folder; the file itself is already in its place."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
