"""Rows of tables: CSV, JSON, Parquet, plain text, data sets in a folder or on the hub, files of annotation tools."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from textlrp.basics import options, readable
from textlrp.data import brat, corpora, spacy
from textlrp.data.csv_rows import csv_rows
from textlrp.data.json_rows import json_rows
from textlrp.data.row_values import Fault, Row, brief_value, columns_of
from textlrp.data.text_lines import GZIP_ERRORS, guessed_encoding, is_wide, text_lines
from textlrp.errors import InputError, first_line

#: Names that a column of the text often has.
TEXTS = ("text", "sentence", "review", "content", "document", "comment", "body", "tweet", "utterance", "question")

#: Names that the columns of a pair of texts often have.
PAIRS = {"text": "text_pair", "sentence1": "sentence2", "premise": "hypothesis", "question1": "question2"}

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")


@dataclass(frozen=True)
class Rows:
    """A table, as far as it was read.

    Attributes:
        name: its name in messages.
        columns: the names of the columns.
        rows: the rows in order, each with its place, and with its values or what is wrong with it.
        classes: for each column of class numbers, the names of the classes.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)


def read_rows(
    source: str,
    split: str | None = None,
    limit: int | None = None,
    encoding: str | None = None,
    only: Sequence[str] | None = None,
) -> Rows:
    """Read a bundled corpus, a file, a data set in a folder, or one on the hub, by its name.

    Args:
        source: a bundled name; a path that ends in ``.csv``, ``.tsv``, ``.jsonl``, ``.json`` or ``.txt`` (each also
            with ``.gz``), ``.parquet`` or ``.spacy``; a folder that ``datasets`` saved, or of brat; or a name on the
            hub, with ``:`` and its configuration if it has several. Every value of a CSV file is a string, maybe an
            empty one (:func:`textlrp.data.csv_rows.csv_rows`); JSON has many forms
            (:func:`textlrp.data.json_rows.json_rows`).
        split: the split of a data set, or the value of the column ``split``.
        limit: the most rows to read; later rows are not looked at.
        encoding: the encoding of a text file, by Python's name. Default: UTF-8, or what a byte order mark says.
        only: the columns that are needed, where others need not be read (Parquet, data sets). Default: all.

    Raises:
        InputError: the source does not exist, or cannot be read. A row that cannot be read alone is a
            :class:`textlrp.data.row_values.Fault`.
    """
    if limit is not None:
        limit = options.whole(limit, "limit is a number of rows, 1 or more", 1)
    if not isinstance(source, (str, Path)):
        raise InputError(f"a table is named by a file, a folder, a corpus or a data set, not {options.brief(source)}")
    if split is not None:
        split = options.text(split, "a split is chosen by its name")
    if encoding is not None:
        encoding = options.text(encoding, "an encoding is named by a text")
    source = str(source)
    if source in corpora.names():
        documents = corpora.load(source).documents
        rows = ((f"document {d.id!r}", {key: getattr(d, key) for key in d.__slots__}) for d in documents)
        return _taken(repr(source), (), rows, split, limit)
    path = Path(source)
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:  # a text, which is too long for a name; a NUL
        raise InputError(f"cannot read {source[:60]!r}: {getattr(error, 'strerror', None) or error}") from None
    if is_folder and brat.is_brat(path):
        return _taken(repr(source), (), brat.brat_rows(path), split, limit)
    if is_folder:
        return _saved(path, split, limit, only)
    form = path.name.lower().removesuffix(".gz")
    reader = next((read for suffix, read in _READERS.items() if form.endswith(suffix)), None)
    if not is_there and (form.endswith(_FILES) or not _HUB_NAME.fullmatch(source) or source.startswith(".")):
        raise InputError(f"there is no file {source!r}: check the path")
    if not is_there:
        return _from_hub(source, split, limit, only)
    if path.name.lower().endswith(_PARQUET):
        return _parquet(path, split, limit, only)
    if path.name.lower().endswith(_SPACY):
        return _taken(repr(source), (), spacy.spacy_rows(path), split, limit)
    if reader is None:
        known = ", ".join([*_READERS, _PARQUET, _SPACY])
        raise InputError(f"the ending of {source!r} is unknown: give a file that ends in {known}, or a folder")
    return _taken(repr(source), *reader(path, encoding), split, limit)


def _taken(
    name: str,
    columns: Iterable[str],
    rows: Iterator[Row],
    split: str | None,
    limit: int | None,
    classes: Mapping[str, Sequence[str]] | None = None,
) -> Rows:
    """Return the rows of a split up to the limit; without ``columns``, the rows tell them."""
    with closing(_closable(rows)) as all_rows:
        wanted = all_rows if split is None else _only(all_rows, split, name)
        taken = tuple(islice(wanted, limit))
    if not taken and split is None:
        raise InputError(f"{name} has no rows: there is nothing to read")
    names = tuple(columns) or columns_of(taken)
    return Rows(name, names, taken, classes or {})


def _closable(rows: Iterator[Row]) -> Generator[Row, None, None]:
    yield from rows


def _only(rows: Iterable[Row], split: str, name: str) -> Iterator[Row]:
    splits: dict[str, None] = {}
    for where, values in rows:
        if isinstance(values, Fault):
            yield where, values
            continue
        if "split" not in values:
            raise InputError(f"{name}, {where}: there is no column 'split', so --split cannot choose {split!r}")
        splits[str(values["split"])] = None
        if str(values["split"]) == split:
            yield where, values
    if split not in splits:
        raise InputError(f"{name} has no rows of the split {split!r}; its splits: {', '.join(splits) or 'none'}")


# Text files


def _lines(path: Path, encoding: str | None) -> Iterator[tuple[int, str]]:
    """Yield each line with its number and its line end."""
    name, number = repr(str(path)), 0
    try:
        if encoding is None and is_wide(path):
            raise InputError(f"{name} is not UTF-8, but UTF-16 without a byte order mark: add --encoding utf-16-le")
        for number, line in text_lines(path, encoding):
            yield number, line
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise InputError(f"{name} cannot be read as {encoding}, after line {number}: {error.reason}") from None
        raise InputError(
            f"{name}, line {number + 1} is not UTF-8: its byte {error.start + 1} ({error.object[error.start]:#04x}) "
            f"cannot be read; {_guess(path)}"
        ) from None
    except UnicodeError as error:  # utf-16 without a byte order mark
        raise InputError(f"{name} cannot be read as {encoding}: {error}") from None
    except LookupError:
        raise InputError(f"there is no encoding {encoding!r}: utf-8, cp1252, utf-16 and shift-jis are some") from None
    except GZIP_ERRORS as error:
        raise InputError(f"{name} is not a whole gzip file ({error}): compress it again") from None
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror or error}") from None


def _guess(path: Path) -> str:
    guess = guessed_encoding(path)
    if guess is None:
        return "save the file as UTF-8, or say its --encoding"
    return f"it may be {guess[0]}, which reads {brief_value(guess[1])}: if that is right, add --encoding {guess[0]}"


def _text(path: Path, encoding: str | None) -> tuple[Iterable[str], Iterator[Row]]:
    lines = ((number, line.rstrip("\r\n")) for number, line in _lines(path, encoding))
    return ("text",), ((f"line {number}", {"text": line}) for number, line in lines if line.strip())


def _csv(path: Path, encoding: str | None, usual: str = ",") -> tuple[Iterable[str], Iterator[Row]]:
    return csv_rows(repr(str(path)), _lines(path, encoding), usual, (*TEXTS, *PAIRS))


def _tsv(path: Path, encoding: str | None) -> tuple[Iterable[str], Iterator[Row]]:
    return _csv(path, encoding, "\t")


def _json(path: Path, encoding: str | None) -> tuple[Iterable[str], Iterator[Row]]:
    return (), json_rows(repr(str(path)), lambda: _lines(path, encoding), (*TEXTS, *PAIRS))


_READERS: dict[str, Callable[[Path, str | None], tuple[Iterable[str], Iterator[Row]]]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _json,
    ".ndjson": _json,
    ".json": _json,
    ".txt": _text,
}
_PARQUET, _SPACY = ".parquet", ".spacy"

#: A source that ends like this is meant to be a file, not a data set on the hub.
_OTHERS = (".arrow", ".feather", ".html", ".md", ".ods", ".pdf", ".xls", ".xlsx", ".xml", ".zip")
_FILES = (*_READERS, _PARQUET, _SPACY, *_OTHERS)


# Parquet and data sets


def _parquet(path: Path, split: str | None, limit: int | None, only: Sequence[str] | None) -> Rows:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet as parquet  # type: ignore[import-untyped]

    try:
        readable.check(path)
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
            features = described.get("info", {}).get("features") or {}
            classes = {column: names for column, feature in features.items() if (names := _written_names(feature))}
            size = min(limit or 1024, 1024)
            values = (
                row
                for batch in file.iter_batches(batch_size=size, columns=None if only is None else list(only))
                for row in batch.to_pylist()
            )
            rows = ((f"row {number}", row) for number, row in enumerate(values, 1))
            return _taken(repr(str(path)), schema.names, rows, split, limit, classes)
    except InputError:  # a ValueError with a message of its own
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(f"cannot read {str(path)!r} as Parquet: {_reason(error)}") from None


def _written_names(feature: Any) -> list[str] | None:
    """Return the names of a ClassLabel, or of a list of them, as ``datasets`` writes features into a file."""
    if not isinstance(feature, dict):
        return None
    return feature.get("names") if feature.get("_type") == "ClassLabel" else _written_names(feature.get("feature"))


def _saved(path: Path, split: str | None, limit: int | None, only: Sequence[str] | None) -> Rows:
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except FileNotFoundError:
        raise InputError(
            f"the folder {str(path)!r} holds no data set saved by datasets' save_to_disk: give one of its files"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot read the data set in {str(path)!r}: {_reason(error)}") from None
    return _data_set(loaded, repr(str(path)), split, limit, only)


def _from_hub(source: str, split: str | None, limit: int | None, only: Sequence[str] | None) -> Rows:
    import datasets

    name, _, configuration = source.partition(":")
    try:
        # Streaming downloads only the rows and columns that are read.
        streaming = limit is not None or only is not None
        loaded = datasets.load_dataset(name, configuration or None, streaming=streaming)
        return _data_set(loaded, repr(source), split, limit, only)
    except InputError:  # a ValueError with a message of its own
        raise
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        near = f", nor a bundled corpus (those are {', '.join(corpora.names())})" if "/" not in source else ""
        raise InputError(
            f"there is no file {source!r}{near}, and the hub gives no data set of that name: {_reason(error)}"
        ) from None


def _data_set(loaded: Any, name: str, split: str | None, limit: int | None, only: Sequence[str] | None) -> Rows:
    if isinstance(loaded, dict):  # a DatasetDict
        if split is None and len(loaded) != 1:
            raise InputError(f"{name} has the splits {', '.join(loaded)}: choose one with --split")
        if split is not None and split not in loaded:
            raise InputError(f"{name} has no split {split!r}; its splits: {', '.join(loaded)}")
        loaded, split = loaded[split if split is not None else next(iter(loaded))], None
    features = loaded.features or {}
    if only is not None:
        loaded = loaded.select_columns([column for column in only if not features or column in features])
    classes = {column: names for column, feature in features.items() if (names := _names(feature))}
    rows = ((f"row {number}", values) for number, values in enumerate(loaded, 1))
    return _taken(name, features, rows, split, limit, classes)


def _names(feature: Any) -> list[str] | None:
    inner = getattr(feature, "feature", None)
    return list(feature.names) if getattr(feature, "names", None) else _names(inner) if inner is not None else None


def _reason(error: Exception) -> str:
    return first_line(error) or type(error).__name__
