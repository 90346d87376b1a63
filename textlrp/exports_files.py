"""Bytes and folders that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from textlrp.errors import InputError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; a device or a pipe is written to as it is.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(content)
            return
        whole = Path(os.path.realpath(path))
        part = whole.with_name(f".textlrp-{os.getpid()}.part")
        try:
            part.write_bytes(content)
            part.replace(whole)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None


def check_folder(path: Path) -> None:
    """Fail early where :func:`write_folder` could not write.

    Raises:
        InputError: there is something of that name that is no empty folder, or no folder to put it into.
    """
    try:
        if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
            raise InputError(f"{str(path)!r} exists: name a new folder")
        if not path.absolute().parent.is_dir():
            raise InputError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None


def write_folder(path: Path, files: Mapping[str, str]) -> None:
    """Write a new folder of UTF-8 files, whole or not at all.

    Args:
        path: a folder that does not exist, or is empty.
        files: the text of each file by its name in the folder.

    Raises:
        InputError: it exists, or cannot be written.
    """
    check_folder(path)
    part = path.absolute().with_name(f".textlrp-{os.getpid()}.part")
    try:
        part.mkdir()
        try:
            for name, text in files.items():
                # newline="": offsets count what is written, so line ends stay what they are
                (part / name).write_text(text, encoding="utf-8", newline="")
            if path.exists():
                path.rmdir()
            part.rename(path)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None
