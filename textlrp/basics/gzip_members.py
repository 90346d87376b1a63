"""Files of several gzip members: each member is whole, or was torn when the process that wrote it died.

A member is written at once, so that only the last one can be torn. Source: RFC 1952, sections 2.2 and 2.3.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_CHUNK = 1 << 20
_ZEROS = bytes(16)  # no whole member ends so


def is_gzip(path: Path) -> bool:
    """Return whether a file is compressed, by its name."""
    return path.suffix.lower() == ".gz"


def member(content: bytes) -> bytes:
    """Return a member that holds some bytes; the same bytes give the same member."""
    return gzip.compress(content, 6, mtime=0)


def lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of all members, each with its newline; a torn last member yields what can be read of it.

    Raises:
        OSError: the file is not one of gzip members.
    """
    rest = b""
    for _, content in _parts(file):
        *whole, rest = (rest + content).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        yield rest


def end_of_whole(file: BinaryIO) -> int:
    """Return where the last whole member ends; after it comes a torn one, or nothing."""
    end = 0
    for at, _ in _parts(file):
        end = max(end, at)
    return end


def _parts(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield decompressed bytes, each with the end of the last member that was whole when they were read."""
    end = at = 0
    reader = zlib.decompressobj(wbits=31)
    waiting = b""
    while chunk := waiting or file.read(_CHUNK):
        at += 0 if waiting else len(chunk)
        waiting = b""
        if reader.eof:
            reader = zlib.decompressobj(wbits=31)
        try:
            content = reader.decompress(chunk)
        except zlib.error as error:
            if chunk.endswith(_ZEROS) and not file.read(1):  # a loss of power can leave zeros at the end
                return
            raise OSError(f"it is damaged, or not compressed by gzip ({error})") from None
        if reader.eof:
            waiting = reader.unused_data
            end = at - len(waiting)
        yield end, content
