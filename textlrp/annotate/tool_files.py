"""Annotations that people made in an annotation tool, matched with the documents of a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textlrp.data.annotation_tools import by_annotator, understood
from textlrp.data.documents import InputDocument, documents_of
from textlrp.data.tables import read_rows
from textlrp.errors import InputError
from textlrp.explain.label_names import read_labels

if TYPE_CHECKING:
    from textlrp.report.reading import SentDocument, SentReport


@dataclass(frozen=True)
class ToolAnnotation:
    """What one person made of a document of a report.

    Attributes:
        annotator: the name that the tool gives, or else that of the file.
        document: the document's id in the report.
        label: the right label, or None if none or several were chosen.
        marked: half-open character ranges of the text, in reading order.
        place: the file and the row, for messages.
    """

    annotator: str
    document: str
    label: str | None
    marked: tuple[tuple[int, int], ...]
    place: str


def read_tool_file(path: Path, report: SentReport) -> list[ToolAnnotation] | None:
    """Read a file or a folder of an annotation tool (:mod:`textlrp.data.annotation_tools`).

    Label Studio, doccano and Prodigy may show labels of the data; they are not the annotator's.

    Returns:
        The annotations, or None if the file is not of such a tool.

    Raises:
        InputError: a row cannot be read, its text is not in the report, or its label is none of the report's.
    """
    try:
        rows = read_rows(str(path))
    except InputError:
        return None
    if understood(rows) is rows:
        return None
    by_text: dict[tuple[str, str | None], list[SentDocument]] = {}
    for sent in report.documents.values():
        by_text.setdefault((sent.text, sent.text_pair), []).append(sent)
    annotations = []
    for name, part in by_annotator(rows).items():
        table = documents_of(part)
        table.check()
        reading = read_labels(table.labels, report.labels)
        if reading.unknown:
            raise InputError(
                f"{table.name} has the label {reading.unknown[0]!r}: the report has {', '.join(report.labels)}"
            )
        for document in table.documents:
            place = f"{table.name}, document {document.id!r}"
            sent = _sent(document, report, by_text.get((document.text, document.text_pair), []), place)
            labels = reading.of(document.given)
            label = labels[0] if len(labels) == 1 else None
            annotations.append(ToolAnnotation(name or path.stem, sent.id, label, document.rationales, place))
    return annotations


def _sent(document: InputDocument, report: SentReport, found: list[SentDocument], place: str) -> SentDocument:
    """Return the document of a report that has the text and, if several have, the id of an annotated one."""
    by_id = report.documents.get(document.id)
    if by_id is not None and by_id in found:
        return by_id
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{place} has a text that {len(found)} documents of the report have, and none of them has its id: give "
            f"it the id of one"
        )
    raise InputError(f"{place} has a text that is in no document of the report: give the report it was made from")
