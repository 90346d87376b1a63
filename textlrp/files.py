"""Files that are written whole or not at all, and JSON from a file or from a text."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from textlrp.errors import InputError


def read_json(source: str | Path) -> Any:
    """Return what JSON text, or the file at a path, holds.

    Raises:
        InputError: the file is missing, is not UTF-8, or is no JSON.
    """
    written, place = str(source), "the text given"
    if isinstance(source, Path) or not written.lstrip().startswith("{"):
        place = repr(str(source))
        try:
            written = Path(source).read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{place} is not UTF-8: byte {error.start} cannot be read") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise InputError(f"cannot read {place}: {getattr(error, 'strerror', None) or error}") from None
    try:
        return json.loads(written)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is no JSON: {error}") from None


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all; a device or a pipe (``/dev/stdout``) is written to as it is.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_text(text, encoding="utf-8", newline="\n")
            return
        whole = Path(os.path.realpath(path))  # a link stays a link
        part = whole.with_name(f".textlrp-{os.getpid()}.part")
        try:
            part.write_text(text, encoding="utf-8", newline="\n")
            part.replace(whole)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None
