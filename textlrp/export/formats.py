"""Exports explanations to annotation tools and as tables. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textlrp.basics.files import check_folder, write_folder, write_whole
from textlrp.data.records import Record
from textlrp.errors import InputError
from textlrp.export.brat import brat
from textlrp.export.json_lines import doccano, prodigy
from textlrp.export.label_studio import label_studio
from textlrp.export.marks import THRESHOLD, Selection
from textlrp.export.spacy import displacy, doc_bin
from textlrp.export.tables import comma_separated, parquet

#: The formats of an export.
FORMATS = ("label-studio", "doccano", "prodigy", "brat", "spacy", "csv", "parquet")

#: The formats that are folders.
FOLDERS = ("label-studio", "brat")

_TABLES = ("csv", "parquet")


def export(
    records: Sequence[Record],
    to: str,
    output: str | Path | None = None,
    *,
    by: str = "word",
    threshold: float | None = None,
    top: int | None = None,
    graphemes: bool = False,
    spreadsheet: bool = False,
) -> str | None:
    """Write explanations for an annotation tool, or as a table.

    Args:
        records: the documents with their explanations.
        to: one of :data:`FORMATS`. ``"label-studio"`` and ``"brat"`` are new folders; ``"spacy"`` is JSON for displaCy,
            or a DocBin if ``output`` ends in ``.spacy``; the others are files.
        output: the file or folder, written whole or not at all; default: the text is returned (formats of one text).
        by: the units that are marked, or the rows: ``"word"``, ``"token"`` or ``"sentence"``.
        threshold: mark spans with at least this share of the explanation's strongest relevance; default: 0.1.
        top: mark this many of the strongest spans instead.
        graphemes: for a doccano project that counts grapheme clusters as one character.
        spreadsheet: CSV that no spreadsheet runs as a formula; see :func:`textlrp.export.tables.comma_separated`.

    Returns:
        The text, or None if it was written to ``output``.

    Raises:
        InputError: there are no records, an option does not fit the format, or the output cannot be written.
    """
    _check(records, to, threshold, top, graphemes, spreadsheet)
    path = None if output is None else Path(output)
    check_output(to, path)
    selection = Selection(by, THRESHOLD if threshold is None else threshold, top)
    content: str | bytes | dict[str, str]
    if to == "label-studio":
        content = label_studio(records, selection)
    elif to == "brat":
        content = brat(records, selection)
    elif to == "doccano":
        content = doccano(records, selection, graphemes)
    elif to == "prodigy":
        content = prodigy(records, selection)
    elif to == "csv":
        content = comma_separated(records, by, spreadsheet)
    elif to == "parquet":
        content = parquet(records, by)
    else:
        binary = path is not None and path.suffix == ".spacy"
        content = doc_bin(records, selection) if binary else displacy(records, selection)
    if path is None:
        assert isinstance(content, str)
        return content
    if isinstance(content, (str, bytes)):
        write_whole(path, content)
    else:
        write_folder(path, content.items())
    return None


def check_output(to: str, output: Path | None) -> None:
    """Check early that an export can be written.

    Raises:
        InputError: a folder or a binary file has no name, or the folder exists.
    """
    if output is None and (to in FOLDERS or to == "parquet"):
        kind = "is a folder" if to in FOLDERS else "is not a text"
        raise InputError(f"{to} {kind}: name its path with -o")
    if output is not None and to in FOLDERS:
        check_folder(output)


def _check(
    records: Sequence[Record], to: str, threshold: float | None, top: int | None, graphemes: bool, spreadsheet: bool
) -> None:
    if to not in FORMATS:
        raise InputError(f"there is no export to {to!r}: choose {', '.join(FORMATS)}")
    if not records:
        raise InputError("there is nothing to export: the run has no document")
    if threshold is not None and top is not None:
        raise InputError("give threshold or top, not both")
    if to in _TABLES and (threshold is not None or top is not None):
        raise InputError(f"{to} has every unit with its relevance: leave threshold and top out")
    if graphemes and to != "doccano":
        raise InputError("graphemes goes with doccano: the other tools count characters in one way")
    if spreadsheet and to != "csv":
        raise InputError("spreadsheet goes with csv")
