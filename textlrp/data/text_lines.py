"""Lines of a text file, which may be compressed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from textlrp.basics import readable

#: The errors of a gzip file that is damaged or cut off.
GZIP_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)

_BOM = b"\xef\xbb\xbf"


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Yield each line with its number from 1, without a byte order mark and with its ``\n`` or ``\r\n``.

    Raises:
        UnicodeDecodeError: the line after the last one is not UTF-8.
        OSError, ValueError: the file cannot be read; or one of :data:`GZIP_ERRORS`.
    """
    readable.check(path)
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        # Cut bytes at \n alone: str.splitlines would also cut at U+2028, which JSON allows inside a string.
        for number, line in enumerate(file, 1):
            yield number, (line.removeprefix(_BOM) if number == 1 else line).decode()
