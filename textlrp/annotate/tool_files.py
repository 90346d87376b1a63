"""Annotations that people made in an annotation tool, matched with the documents of a report."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from textlrp.annotate.annotations import Annotation, Rationale
from textlrp.data.annotation_tools import by_annotator, understood
from textlrp.data.documents import InputDocument, documents_of
from textlrp.data.tables import read_rows
from textlrp.errors import InputError
from textlrp.explain.label_names import read_labels
from textlrp.results.spans import TEXT

if TYPE_CHECKING:
    from textlrp.report.reading import SentDocument, SentReport


def read_tool_file(path: Path, report: SentReport) -> list[Annotation] | None:
    """Read a file or a folder of an annotation tool (:mod:`textlrp.data.annotation_tools`).

    An annotator has the name that the tool gives, or else that of the file. Nobody knows whether the model's relevance
    was hidden, so the annotations are not blind. Label Studio, doccano and Prodigy may show labels of the data; they
    are not the annotator's.

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
            marks = tuple(Rationale(TEXT, start, end, document.text[start:end]) for start, end in document.rationales)
            annotations.append(
                Annotation(
                    name or path.stem,
                    sent.id,
                    None,
                    labels[0] if len(labels) == 1 else None,
                    "",
                    marks,
                    False,
                    datetime.min.replace(tzinfo=UTC),
                    place,
                )
            )
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
