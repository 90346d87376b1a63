"""Files that grow by whole lines: a written line survives the end of the process, however it ends.

A line is one write, its newline last, so a process died while it wrote a line without a newline. In a file whose name
ends in ``.gz``, each line is a gzip member of its own (:mod:`textlrp.basics.gzip_members`).
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from textlrp.basics import gzip_members, readable
from textlrp.errors import FileError, InputError, LRPError

if sys.platform != "win32":
    import fcntl

#: Errors of a name, not of the file system.
_NAMES = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)

#: Errors of ``fsync`` on a pipe, a terminal or a device.
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EROFS)


def read_lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Yield the lines of a file: the number from 1, the line without its newline, and whether it had one.

    Only the last line can lack it, if it is torn or the file was written by hand.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        readable.check(path)
        with path.open("rb") as file:
            # Split at \n alone: str.splitlines would also cut at U+2028, which JSON allows inside a string.
            for number, line in enumerate(gzip_members.lines(file) if gzip_members.is_gzip(path) else file, 1):
                yield number, line.removesuffix(b"\n"), line.endswith(b"\n")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None


def cannot_write(place: Path, error: OSError | ValueError) -> LRPError:
    """Return the error for a place that cannot be written to: an InputError if its name is wrong, else a FileError."""
    error_class = InputError if isinstance(error, ValueError) or error.errno in _NAMES else FileError
    return error_class(f"cannot write {str(place)!r}: {getattr(error, 'strerror', None) or error}")


class Lines:
    """A file that one process at a time adds lines to; used in a ``with`` block.

    Args:
        path: the file; it is created if it does not exist.
        place: its name for the user: the file, or its folder. Default: the file.
        every: after how many seconds added lines must survive a loss of power. Every line that :meth:`add` returned
            from survives the end of this process, killed or not.

    Raises:
        InputError: the name cannot be a file's, or another process is adding to the file.
        LRPError: the file cannot be written or closed.
    """

    def __init__(self, path: Path, place: Path | None = None, every: float = 1.0) -> None:
        self.path = path
        self._place = place or path
        self._every = every
        self._synced = time.monotonic()
        self._pending = False
        self._file = -1

    def __enter__(self) -> Lines:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            self._file = os.open(self.path, flags, 0o666)
        except (OSError, ValueError) as error:
            raise cannot_write(self._place, error) from None
        try:
            self._lock()
        except BaseException:
            os.close(self._file)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        file, self._file = self._file, -1
        try:
            try:
                if self._pending:
                    _sync(file)
            finally:
                os.close(file)
        except OSError as failed:
            if error is None:  # an earlier error says more
                raise cannot_write(self._place, failed) from None

    def add(self, line: str) -> None:
        """Add a line, given without its newline.

        Raises:
            LRPError: it cannot be written; earlier lines stay.
        """
        written = line.encode() + b"\n"
        if gzip_members.is_gzip(self.path):
            written = gzip_members.member(written)
        size = os.fstat(self._file).st_size
        try:
            done = os.write(self._file, written)
            while done < len(written):  # a disk that is nearly full takes a part
                done += os.write(self._file, written[done:])
            self._pending = True
            if time.monotonic() - self._synced >= self._every:
                _sync(self._file)
                self._synced, self._pending = time.monotonic(), False
        except BaseException as error:
            with suppress(OSError):  # a device cannot be cut
                os.ftruncate(self._file, size)
            if isinstance(error, OSError):
                raise cannot_write(self._place, error) from None
            raise

    @property
    def regular(self) -> bool:
        """Whether added lines can be read back, unlike those in a device or a pipe."""
        return stat.S_ISREG(os.fstat(self._file).st_mode)

    def cut(self) -> bool:
        """Cut off a last line without a newline, and return whether there was one."""
        if self.regular and gzip_members.is_gzip(self.path):
            return self._cut_member()
        end = 0
        for _, line, whole in read_lines(self.path) if self.regular else ():
            if not whole:
                self._truncate(end)
                return True
            end += len(line) + 1
        return False

    def _cut_member(self) -> bool:
        try:
            with self.path.open("rb") as file:
                end = gzip_members.end_of_whole(file)
        except OSError as error:
            raise InputError(f"cannot read {str(self.path)!r}: {error.strerror or error}") from None
        if end == os.fstat(self._file).st_size:
            return False
        self._truncate(end)
        return True

    def clear(self) -> None:
        """Empty the file."""
        if self.regular:
            self._truncate(0)

    def _truncate(self, size: int) -> None:
        try:
            os.ftruncate(self._file, size)
        except OSError as error:
            raise cannot_write(self._place, error) from None

    def _lock(self) -> None:
        """Lock the file for as long as it is open, however this process ends."""
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another run is writing to {str(self._place)!r}: wait, or name another "
                f"{'folder' if self._place.is_dir() else 'file'}"
            ) from None
        except OSError:  # a file system without locks
            return


def _sync(file: int) -> None:
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
