"""Checks of a command's output files: not its input, not one file twice, not a file that textlrp did not write.

Files are compared by device and inode, since one file can have many names: links, ``./x``, upper and lower case.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from textlrp.basics.files import check_name, is_stream
from textlrp.commands.written import Kind, kind
from textlrp.errors import FileError, InputError

#: A file independent of its name: device and inode, or those of the folder with the name of a file to come.
Identity: TypeAlias = tuple[int, int] | tuple[int, int, str]

#: The help of ``--force``.
RULE = (
    "Replace any existing file. Without this, a file is replaced only if textlrp wrote it, and a saved run only by a "
    "saved run."
)

# Pages beside a report: report-001.html, report-002.html, ...
_NUMBER = r"-\d{3,}"

# The files that are read of a folder of explanations.
_RUNS = (".json", ".jsonl", ".json.gz", ".jsonl.gz")


@dataclass(frozen=True)
class Output:
    """A file that a command is told to write.

    Attributes:
        option: the option that names it.
        path: its path.
        run: whether it keeps a run.
        pages: whether there may be numbered pages beside it.
        kept: whether it belongs to a folder that its writer checks.
    """

    option: str
    path: Path
    run: bool = False
    pages: bool = False
    kept: bool = False


def check_outputs(
    outputs: Sequence[Output], reads: Iterable[str | Path | None] = (), *, force: bool = False, runs: bool = False
) -> None:
    """Refuse, before any work, an output that cannot or must not be written.

    Args:
        outputs: the files to write.
        reads: files and folders to read; ``-`` is standard input, and names without a file are ignored.
        force: whether to replace files that textlrp did not write.
        runs: whether a folder among them holds explanations.

    Raises:
        InputError: an output is a folder, has no folder, is an input or another output of this command, or was not
            written by textlrp.
        FileError: the system does not permit to write it.
    """
    for output in outputs:
        if not output.kept:
            _check_place(output.path)
    sources = [Path(source) for source in reads if source is not None]
    for number, output in enumerate(outputs):
        for other in outputs[:number]:
            _check_pair(output, other)
        for source in sources:
            _check_source(output, source, runs)
    _check_standard_output(sources)
    if not force:
        for output in outputs:
            if not output.kept:
                check_replaced(output.path, output.run)
            if output.pages:
                check_pages(output.path, _first_pages(output.path))


def check_replaced(path: Path, run: bool = False) -> None:
    """Refuse to replace a file that textlrp did not write, or that keeps a run.

    Raises:
        InputError: there is such a file.
    """
    if not path.is_file() or is_stream(path) or not path.stat().st_size:
        return
    existing = kind(path)
    if existing is None:
        raise InputError(f"{str(path)!r} exists, and textlrp did not write it: name another file, or add --force")
    if existing is not Kind.OUTPUT and not (run and existing is Kind.RUN):
        raise InputError(f"{str(path)!r} exists, and is {existing.value}: name another file, or add --force")
    if run and existing is not Kind.RUN:
        raise InputError(f"{str(path)!r} exists, and is not a saved run: name another file, or add --force")


def check_pages(report: Path, pages: Iterable[Path]) -> None:
    """Refuse a report if one of its pages would replace a file that must not be replaced.

    Raises:
        InputError: a page would.
    """
    for page in pages:
        try:
            check_replaced(page)
        except InputError as error:
            raise InputError(f"the report {str(report)!r} may have pages beside it: {error}") from None


def identity(path: Path) -> Identity | None:
    """Return the file that a path leads to; None for a device, a pipe, and a path without a folder."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return _new(Path(os.path.realpath(path)))
    except (OSError, ValueError):
        return None
    return _of(status)


def _new(path: Path) -> Identity | None:
    try:
        folder = os.stat(path.parent)
    except (OSError, ValueError):
        return None
    name = path.name
    if _folds(path.parent):
        name = unicodedata.normalize("NFC", name).casefold()
    return folder.st_dev, folder.st_ino, name


def _of(status: os.stat_result) -> Identity | None:
    regular = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    return (status.st_dev, status.st_ino) if regular else None


def _folds(folder: Path) -> bool:
    """Return whether a folder ignores upper and lower case in names, tested on a name in it."""
    with os.scandir(folder) as entries:
        names = chain((entry.name for entry in entries), [os.path.join(os.pardir, folder.absolute().name)])
        for name in names:
            if name.swapcase() != name:
                try:
                    return os.path.samefile(folder / name, folder / name.swapcase())
                except OSError:
                    return False
    return False


def _check_place(path: Path) -> None:
    check_name(path)
    if path.is_dir():
        raise InputError(f"cannot write {str(path)!r}: it is a folder; name a file in it")
    if is_stream(path):
        return
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise InputError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}; make it first")
    # A file is replaced by a new one, so its folder must be writable, too.
    if not all(os.access(place, os.W_OK) for place in (target, target.parent) if place.exists()):
        raise FileError(f"cannot write {str(path)!r}: permission denied")


def _check_pair(output: Output, other: Output) -> None:
    if identity(output.path) is not None and identity(output.path) == identity(other.path):
        raise InputError(f"{other.option} and {output.option} are one file, {str(output.path)!r}: name two")
    for report, beside in ((output, other), (other, output)):
        if report.pages and _is_page(report.path, beside.path):
            raise InputError(
                f"{beside.option} {str(beside.path)!r} may be a page of the report {str(report.path)!r}: name another "
                f"file"
            )


def _check_source(output: Output, source: Path, runs: bool) -> None:
    read, place = _read(source), identity(output.path)
    if read is None or place is None:
        return
    named = f"{output.option} {str(output.path)!r}"
    if read == place:
        problem = "is read, too" if source == output.path else f"is {str(source)!r}, which is read"
        raise InputError(f"{named} {problem}: name another file")
    if output.pages and _is_page(output.path, source):
        raise InputError(f"{str(source)!r} is read, and may be a page of {named}: name another file")
    if source.is_dir() and _is_read_in(source, output.path, runs):
        raise InputError(f"{named} is in the folder {str(source)!r}, which is read: name a file elsewhere")


def _read(source: Path) -> Identity | None:
    """Return the file that is read; None if the source is not a file."""
    if str(source) == "-":
        return _opened(0)
    return identity(source) if os.path.exists(source) else None


def _opened(descriptor: int) -> Identity | None:
    try:
        return _of(os.fstat(descriptor))
    except OSError:
        return None


def _check_standard_output(sources: Iterable[Path]) -> None:
    """Refuse standard output into an input file, as in ``textlrp report run.jsonl >> run.jsonl``."""
    place = _opened(1)
    for source in sources:
        if place is not None and _read(source) == place:
            raise InputError(f"standard output goes to {str(source)!r}, which is read: name another file")


def report_files(report: Path) -> list[Path]:
    """Return a report's file, and those beside it that may be its pages."""
    return [report, *_pages(report, _beside(report))]


def _is_page(report: Path, other: Path) -> bool:
    """Return whether a file may be a page of a report."""
    return any(identity(page) == identity(other) is not None for page in _pages(report, (*_beside(report), other.name)))


def _pages(report: Path, names: Iterable[str]) -> Iterator[Path]:
    pattern = re.compile(f"{re.escape(report.stem)}({_NUMBER}){re.escape(report.suffix)}", re.IGNORECASE)
    for name in names:
        match = pattern.fullmatch(name)
        if match:
            yield report.with_name(f"{report.stem}{match[1]}{report.suffix}")


def _beside(path: Path) -> list[str]:
    try:
        return os.listdir(path.parent)
    except OSError:
        return []


def _first_pages(report: Path) -> list[Path]:
    """Return the pages that every report of several files has, to check early whether they may be replaced."""
    return [report.with_name(f"{report.stem}-00{i}{report.suffix}") for i in (1, 2)]


def _is_read_in(folder: Path, path: Path, runs: bool) -> bool:
    """Return whether a file in a folder is read now, or would be read the next time."""
    status, target = os.stat(folder), Path(os.path.realpath(path))
    inside = [os.path.samestat(status, os.stat(parent)) for parent in target.parents if parent.exists()]
    if runs:
        return inside[:1] == [True] and target.name.lower().endswith(_RUNS)
    return any(inside) and target.is_file() and kind(target) is None
