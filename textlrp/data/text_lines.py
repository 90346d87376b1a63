"""Lines of a text file, which may be compressed and in any encoding."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from textlrp.basics import readable

#: The errors of a gzip file that is damaged or cut off.
GZIP_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)

_BOM = b"\xef\xbb\xbf"
_WIDE = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"))
_MARKS = (*_WIDE, (codecs.BOM_UTF16_BE, "utf-16"))

# Lines end as in a spreadsheet of any system: at \n, \r\n or \r. str.splitlines would also cut at U+2028, which JSON
# allows inside a string.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")

#: Encodings that are guessed, by the number of people who save files in them.
_USUAL = ["cp1252", "cp1250", "cp1251", "gb18030", "shift_jis", "euc_kr", "big5", "euc_jp", "cp1253", "cp1254"]
_GUESSED = [*_USUAL, "cp1255", "cp1256", "cp874", "koi8_r", "mac_roman", "utf_16_le", "utf_16_be"]


def text_lines(path: Path, encoding: str | None = None) -> Iterator[tuple[int, str]]:
    r"""Yield each line with its number from 1, without a byte order mark and with its ``\n``, ``\r\n`` or ``\r``.

    Args:
        path: a file; one that ends in ``.gz`` is unpacked.
        encoding: its encoding by Python's name. Default: UTF-8, or UTF-16 or UTF-32 with a byte order mark.

    Raises:
        UnicodeDecodeError: the line after the last one cannot be decoded.
        LookupError: there is no such encoding of texts.
        OSError, ValueError: the file cannot be read; or one of :data:`GZIP_ERRORS`.
    """
    with _opened(path) as file:
        start = file.peek(4)[:4]
        marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
        if (encoding is None and marked is None) or (encoding is not None and _is_utf8(encoding)):
            yield from _utf8_lines(file)
            return
        with io.TextIOWrapper(cast(BinaryIO, file), encoding or marked, newline="") as decoded:
            for number, line in enumerate(decoded, 1):
                yield number, line.removeprefix("\ufeff") if number == 1 else line


def is_wide(path: Path) -> bool:
    """Return whether a file without a byte order mark begins as ASCII in UTF-16 does: every second byte is a zero."""
    with _opened(path) as file:
        start = file.peek(64)[:64]
    return len(start) >= 4 and any(set(start[first::2]) == {0} and 0 not in start[1 - first :: 2] for first in (0, 1))


def guessed_encoding(path: Path) -> tuple[str, str] | None:
    """Return the encoding that a file which is not UTF-8 probably has, and its first line with other characters.

    Returns:
        The encoding by Python's name, and that line as it reads it; None without a guess.
    """
    from charset_normalizer import from_bytes

    with _opened(path) as file:
        start = file.read(200_000)
    found = from_bytes(start, cp_isolation=_GUESSED)
    matches = [(match.chaos, name) for match in found for name in match.could_be_from_charset if name in _GUESSED]
    if not matches:
        return None
    least = min(chaos for chaos, _ in matches)
    close = [encoding for chaos, encoding in matches if chaos <= least + 0.02]
    # Short texts fit many encodings equally well: then the one that most files have.
    encoding = min(close, key=_GUESSED.index)
    lines = start.decode(encoding, "replace").splitlines()
    return encoding.replace("_", "-"), next((line.strip() for line in lines if not line.isascii()), "")


def _opened(path: Path) -> io.BufferedReader:
    readable.check(path)
    return cast(io.BufferedReader, gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


def _utf8_lines(file: io.BufferedReader) -> Iterator[tuple[int, str]]:
    number = 0
    for raw in file:  # cut at \n, so that a line that cannot be decoded has a number
        text = (raw if number else raw.removeprefix(_BOM)).decode()
        whole = "\r" not in text.removesuffix("\n").removesuffix("\r")
        for line in (text,) if whole else _LINE.findall(text):
            number += 1
            yield number, line
