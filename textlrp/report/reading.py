"""Reads a report back from its HTML, and checks that it is unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textlrp.basics import readable
from textlrp.errors import InputError
from textlrp.report import validation
from textlrp.report.data import COLUMNS, FORMAT, digest
from textlrp.results.saved import is_as_written, is_format
from textlrp.results.spans import TEXT, TEXT_PAIR, Span

_BLOCK = re.compile(r'<script type="application/json" id="textlrp-data">(.*?)</script>', re.DOTALL)


@dataclass(frozen=True)
class SentDocument:
    """A document of a report.

    Attributes:
        id: unique within the report.
        text, text_pair: the text, and the second one of a pair.
        label: the label given in the data, or None where it gives none or several.
        predicted: the label of the highest logit.
        words: the words of the first explanation, with four digits of their relevance.
        target: the label that this explanation explains.
        chosen: the labels that the model gave: one, or of a model that gives several, any number.
        others: the words of the explanations of other labels, by label; those of contrasts are left out.
    """

    id: str
    text: str
    text_pair: str | None
    label: str | None
    predicted: str
    words: tuple[Span, ...]
    target: str
    chosen: tuple[str, ...]
    others: Mapping[str, tuple[Span, ...]]


@dataclass(frozen=True)
class SentReport:
    """A report as annotators received it.

    Attributes:
        id: the id that its annotations name.
        model: the model's name.
        labels: the labels that annotators choose from.
        documents: by id, in the report's order.
        multi: whether a document can have several right labels, or none.
    """

    id: str
    model: str
    labels: tuple[str, ...]
    documents: Mapping[str, SentDocument]
    multi: bool = False


def read_report(path: str | Path) -> SentReport:
    """Read a report back from its one page, or from all pages of a split one, given its index.

    Raises:
        InputError: a file is missing, is not a report, or was changed.
    """
    path = Path(path)
    files = {path: _html(path)}
    data = _block(path, files[path])
    page = data.get("page")
    if page is not None:
        raise InputError(
            f"{str(path)!r} is page {page.get('number')} of a report of several: give its first file, "
            f"{page.get('index')!r}"
        )
    names = data.get("pages")
    pages = [data]
    if names is not None:
        files |= {path.with_name(name): _html(path.with_name(name)) for name in _names(names, path)}
        pages = [_page(path, path.with_name(name), files[path.with_name(name)], data) for name in names]
    try:
        rows = [list(row) for part in pages for row in zip(*_columns(part), strict=True)]
        if data["id"] != digest(data["model"], data["rules"], data["labels"], data["views"], rows):
            raise InputError("its data do not fit its id")
        documents = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        validation.check(data, [] if names is None else pages, documents)
        sent = _sent(data, documents)
    except InputError as error:
        raise InputError(f"{str(path)!r} was changed: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
        raise InputError(f"{str(path)!r} was changed: its data are not those of a report any more") from None
    for file, html in files.items():
        if not is_as_written(html):
            raise InputError(f"{str(file)!r} was changed: it is not as textlrp wrote it, for its digest does not fit")
    return sent


def _html(path: Path) -> str:
    try:
        readable.check(path)
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{str(path)!r} is not a report of textlrp: it is not UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None


def _block(path: Path, html: str) -> dict[str, Any]:
    block = _BLOCK.search(html)
    try:
        data = json.loads(block[1]) if block else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise InputError(f"{str(path)!r} is not a report of textlrp: it holds no data")
    if not is_format(data.get("format"), FORMAT):
        raise InputError(
            f"{str(path)!r} has format {data.get('format')}, and this version of textlrp reads reports of format "
            f"{FORMAT}"
        )
    return data


def _names(names: Any, path: Path) -> list[str]:
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise InputError(f"{str(path)!r} was changed: it does not list its pages")
    for name in names:
        if (
            name in ("", ".", "..") or Path(name).name != name or "\\" in name or "\0" in name
        ):  # only files in the report's folder are read
            raise InputError(f"{str(path)!r} was changed: its page {name!r} is not the name of a file beside it")
    return names


def _page(index: Path, path: Path, html: str, data: Mapping[str, Any]) -> dict[str, Any]:
    page = _block(path, html)
    if page.get("id") != data.get("id"):
        raise InputError(f"{str(path)!r} belongs to another report than {str(index)!r}")
    return page


def _columns(page: Mapping[str, Any]) -> list[list[Any]]:
    return [page["documents"][name] for name in COLUMNS]


def _sent(data: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> SentReport:
    labels, views = data["labels"], data["views"]
    documents = {}
    for row in rows:
        first, *others = row["explained"]
        chosen = [row["predicted"]] if row["chosen"] is None else row["chosen"]
        documents[row["id"]] = SentDocument(
            row["id"],
            row["text"],
            row["text_pair"],
            labels[row["label"]] if isinstance(row["label"], int) else None,
            labels[row["predicted"]],
            _words(row, first),
            labels[views[first[0]][0]],
            tuple(labels[number] for number in chosen),
            {labels[views[e[0]][0]]: _words(row, e) for e in others if views[e[0]][1] is None},
        )
    return SentReport(data["id"], data["model"], tuple(labels), documents, data["multi"])


def _words(values: Mapping[str, Any], explained: Sequence[Any]) -> tuple[Span, ...]:
    unit, relevances = explained[3:5]
    steps = iter(relevances)
    spans = []
    for source, words in zip((TEXT, TEXT_PAIR), explained[7] if len(explained) > 7 else values["words"], strict=False):
        start = words[0]
        for length in words[1:]:
            end = start + length
            spans.append(Span(start, end, values[source][start:end], next(steps) * unit, source=source))
            start = end
    return tuple(spans)
