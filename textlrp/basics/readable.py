"""Checks that a path can be read to its end: it is a file or a pipe of the shell, not a named pipe or a device."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

#: Standard input and other descriptors by name; ``<(command)`` of a shell is one.
_HANDED_OVER = re.compile(r"/dev/stdin|/(?:dev|proc/self)/fd/\d+")

_KINDS = (
    (stat.S_ISFIFO, "a named pipe, for whose writer one might wait forever"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device, which may have no end"),
    (stat.S_ISBLK, "a device"),
)


def check(path: str | Path) -> None:
    """Refuse a path that is not a file before it is opened; a missing file is left to the caller.

    Raises:
        OSError: it is a named pipe, a socket or a device.
        ValueError: there is a NUL in the name.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or _HANDED_OVER.fullmatch(str(path)):
        return
    kind = next((kind for test, kind in _KINDS if test(mode)), "something else")
    raise OSError(errno.EINVAL, f"a file was expected, and this is {kind}")
