"""Writes many explanations as one report: a page to read, search and annotate, or an index with pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from markupsafe import Markup

from textlrp.basics import options
from textlrp.basics.characters import HIDDEN, encodable
from textlrp.basics.files import write_together, write_whole
from textlrp.basics.version import __version__
from textlrp.data.records import Failure, Record
from textlrp.render import palette
from textlrp.render.format import number, percent
from textlrp.render.html import environment, policy, source, themes
from textlrp.report.data import Builder, ReportData, Row, dump, pages_of
from textlrp.report.redaction import Redaction
from textlrp.report.setup import Setup
from textlrp.report.summary import LABELS, ReportSummary, Summarizer
from textlrp.results.explanation import Explanation
from textlrp.results.saved import sealed_page

#: The most documents in a file, and the most bytes of data; a larger report is an index with several pages.
PAGE_DOCUMENTS = 10_000
PAGE_SIZE = 20_000_000

_SHEETS = ("report.css", "report_documents.css")
_SCRIPTS = ("text", "sides", "store", "transfer", "queue", "common", "card", "mark", "list", "filter", "main")
_INDEX_SCRIPTS = ("text", "sides", "store", "transfer", "queue", "common", "index")


def write_report(
    records: Iterable[Record | Failure],
    path: str | Path,
    *,
    title: str | None = None,
    blind: bool = False,
    setup: Setup | None = None,
    failures: Sequence[Failure] = (),
    page_documents: int = PAGE_DOCUMENTS,
    page_size: int = PAGE_SIZE,
    redaction: Redaction | None = None,
    check: Callable[[Sequence[Path]], None] | None = None,
) -> list[Path]:
    """Write a report: one HTML file that needs no others, or for a large one, an index and pages beside it.

    Args:
        records: the documents with their explanations, iterated once and not kept; failures may be among them.
        path: the file; the pages of ``report.html`` are ``report-001.html``, ``report-002.html``, ...
        title: the heading; default: "Report".
        blind: whether the model's view of a document is hidden until the reader has marked it.
        setup: what annotators are asked, and who gets which documents.
        failures: more documents that could not be explained, to list.
        page_documents: the most documents in a file.
        page_size: the most bytes of data in a file.
        redaction: hides words in the documents, failures and title; it serves one report.
        check: called with the files before the first one is written; it can raise to stop.

    Returns:
        The files written, the one to open first.

    Raises:
        InputError: there are no records, two have the same id, a limit is less than 1, more documents are shared than
            there are, a file cannot be written, or a label, a file's name or the setup has what the redaction hides.
    """
    page_documents = options.whole(page_documents, "page_documents is a number of documents, 1 or more", 1)
    page_size = options.whole(page_size, "page_size is a number of bytes, 1 or more", 1)
    path, title = Path(path), title or "Report"
    if redaction is not None:
        redaction.check_file(path)
        records, title = redaction.documents(chain(records, failures)), redaction.title(title)
        failures = ()
    builder, summarizer, made_with, failed = Builder(), Summarizer(), dict[str, None](), list[Failure]()
    for record in records:
        if isinstance(record, Failure):
            failed.append(record)
            continue
        builder.add(record)
        summarizer.add(record)
        made_with.update(dict.fromkeys(map(_made_with, record.explanations)))
    data, failures = builder.finish(), [*failed, *failures]
    parts = pages_of(data, page_documents, page_size)
    setup = setup or Setup()
    if redaction is not None:
        redaction.check_setup(setup)
    head = {"title": encodable(title), "blind": blind, **setup.head([row[0] for row in data.rows])}
    made = "; ".join(filter(None, made_with))
    common: dict[str, Any] = {"made": made, "title": title, "blind": blind, "data": data, "setup": setup}
    common["redacted"] = redaction is not None
    summary = summarizer.finish()
    names = [_name(path, number_, len(parts)) for number_ in range(1, len(parts) + 1)] if len(parts) > 1 else []
    written = [path, *(path.with_name(name) for name in names)]
    if check is not None:
        check(written)
    if not names:
        write_whole(path, _html(data.page(data.rows, **head), **common, summary=summary, failures=failures))
        return written
    links = _links(parts, names)

    def pages() -> Iterator[tuple[Path, str]]:
        for i, (rows, name) in enumerate(zip(parts, names, strict=True)):
            values = {"number": i + 1, "count": len(parts), "index": path.name}
            page = {
                **values,
                **links[i],
                "index_link": _address(path.name),
                "previous_link": _address(names[i - 1]) if i else None,
                "next_link": _address(names[i + 1]) if i + 1 < len(names) else None,
            }
            yield path.with_name(name), _html(data.page(rows, **head, page=values), **common, page=page)
        ids = [[row[0] for row in rows] for rows in parts]
        inside = {**data.head(), **head, "pages": names, "ids": ids}
        # The index comes last, so that it exists only with all its pages.
        yield path, _html(inside, **common, summary=summary, failures=failures, links=links)

    write_together(pages())
    return written


def _html(
    inside: Mapping[str, Any],
    *,
    made: str,
    title: str,
    blind: bool,
    redacted: bool,
    data: ReportData,
    setup: Setup,
    summary: ReportSummary | None = None,
    failures: Sequence[Failure] = (),
    page: Mapping[str, Any] | None = None,
    links: Sequence[Mapping[str, Any]] = (),
) -> str:
    sheet, script = _sheet(), _script(_INDEX_SCRIPTS if links else _SCRIPTS)
    html = (
        environment()
        .get_template("report.html")
        .render(
            policy=policy(sheet, script),
            sheet=Markup(sheet),
            script=Markup(script),
            block=Markup(dump(inside)),
            title=title,
            blind=blind,
            hidden=HIDDEN if redacted else "",
            data=data,
            setup=setup,
            summary=summary,
            failures=failures,
            page=page,
            links=links,
            version=__version__,
            made=made,
            most_labels=LABELS,
            counted=_counted,
            number=number,
            percent=percent,
            permalink=_permalink,
            shade=_shade,
        )
    )
    return sealed_page(html)


def _made_with(e: Explanation) -> str:
    """Return the rules, revision and versions needed to make the explanation again."""
    return ", ".join(
        [
            *([f"rules {e.rules}"] if e.rules else []),
            *([f"reference {e.reference.name}"] if e.reference is not None else []),
            *([f"revision {e.revision}"] if e.revision else []),
            *(f"{name} {version}" for name, version in e.versions.items()),
        ]
    )


def _name(path: Path, number_: int, count: int) -> str:
    digits = max(3, len(str(count)))
    return f"{path.stem}-{number_:0{digits}}{path.suffix}"


def _links(parts: Sequence[Sequence[Row]], names: Sequence[str]) -> list[dict[str, Any]]:
    links, first = [], 1
    for rows, name in zip(parts, names, strict=True):
        last = first + len(rows) - 1
        links.append(
            {"href": _address(name), "first": first, "last": last, "first_id": rows[0][0], "last_id": rows[-1][0]}
        )
        first = last + 1
    return links


def _address(name: str) -> str:
    """Return the relative address of a file beside the page; ``./`` keeps a colon in its name from being a scheme."""
    return f"./{quote(encodable(name))}"


def _permalink(identity: str) -> str:
    return "#" + urlencode({"doc": encodable(identity)})


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _shade(count: int, of: int) -> int:
    """Return the step of gray, 0 to 5, behind a share in a table."""
    return math.ceil(5 * count / of) if of else 0


@cache
def _sheet() -> str:
    return "\n".join([themes(), palette.stylesheet(), *map(source, _SHEETS)])


@cache
def _script(names: tuple[str, ...]) -> str:
    parts = "\n".join(source(f"report_{name}.js") for name in names)
    return f'(() => {{\n"use strict";\n{parts}}})();\n'
