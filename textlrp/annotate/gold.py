"""Gold: the right label and the reasons of each document, where annotators agree or an adjudicator has decided."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textlrp.annotate.adjudication import cases, labeled
from textlrp.annotate.annotations import Annotation, Rationale
from textlrp.basics.files import write_whole
from textlrp.errors import InputError
from textlrp.report.reading import SentDocument, SentReport
from textlrp.results.spans import TEXT

AGREED, MAJORITY, ADJUDICATED = "agreed", "majority", "adjudicated"

_NAMED = 10  # open documents in the sentence


@dataclass(frozen=True)
class GoldDocument:
    """A document whose label is settled.

    Attributes:
        document: the document of the report.
        labels: the right labels, one or several.
        rationales: the words that speak for them; an adjudicator may have marked others, too.
        annotators: who annotated the document.
        settled: ``"agreed"``: all gave the same labels, and all who marked words marked the same ones; ``"majority"``:
            all gave the same labels, and the words are those that more than half of them marked; ``"adjudicated"``: an
            adjudicator decided.
    """

    document: SentDocument
    labels: tuple[str, ...]
    rationales: tuple[Rationale, ...]
    annotators: tuple[str, ...]
    settled: str

    def to_dict(self, pairs: bool = False) -> dict[str, Any]:
        """Return the document as a row of a table; ``pairs``: with the second text, even if it is missing."""
        values: dict[str, Any] = {"id": self.document.id, "text": self.document.text}
        if pairs:
            values["text_pair"] = self.document.text_pair
        values["label"] = self.labels[0] if len(self.labels) == 1 else list(self.labels)
        values["rationales"] = [_span(mark) for mark in self.rationales]
        return {**values, "annotators": list(self.annotators), "settled": self.settled}


@dataclass(frozen=True)
class Gold:
    """The documents that are settled, and the ids of annotated ones that stay open; both in the report's order."""

    documents: tuple[GoldDocument, ...]
    open: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Return the settled documents as rows of a table, which has a column of second texts if any has one."""
        pairs = any(gold.document.text_pair is not None for gold in self.documents)
        return [gold.to_dict(pairs) for gold in self.documents]

    def to_jsonl(self) -> str:
        """Return the settled documents as JSON lines."""
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows())

    def to_csv(self) -> str:
        """Return the settled documents as CSV (RFC 4180 with ``\\n``); lists in it are JSON."""
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, lineterminator="\n")
        rows = self.rows()
        writer.writerow(rows[0] if rows else ())
        for row in rows:
            writer.writerow(
                json.dumps(cell, ensure_ascii=False) if isinstance(cell, list) else cell for cell in row.values()
            )
        return buffer.getvalue()

    def write(self, path: str | Path) -> None:
        """Write CSV if the name ends in ``.csv``, and else JSON lines.

        Raises:
            InputError: no document is settled.
            FileError: the file cannot be written.
        """
        if not self.documents:
            raise InputError(f"no document is settled, so there is no gold to write: {self.said()}")
        write_whole(path, self.to_csv() if str(path).lower().endswith(".csv") else self.to_jsonl())

    def said(self) -> str:
        """Return in words how many documents are settled and how, and which stay open."""
        counts = Counter(gold.settled for gold in self.documents)
        how = [f"{counts[name]:,} {name}" for name in (AGREED, MAJORITY, ADJUDICATED) if counts[name]]
        alone = sum(len(gold.annotators) == 1 and gold.settled != ADJUDICATED for gold in self.documents)
        single = f"; {alone:,} by one annotator alone" if alone else ""
        settled = _counted(len(self.documents)) + (f" settled ({', '.join(how)}{single})" if how else " settled")
        if not self.open:
            return f"{settled}, none open"
        more = f" and {len(self.open) - _NAMED:,} more" if len(self.open) > _NAMED else ""
        return f"{settled}, {len(self.open):,} open: {', '.join(map(repr, self.open[:_NAMED]))}{more}"


def make_gold(annotations: Iterable[Annotation], report: SentReport, decisions: Iterable[Annotation] = ()) -> Gold:
    """Settle the documents on whose label all annotators agree, and those that were decided.

    Annotators who say nothing of the label have no say in it; one who is unsure, or contradicts a label with a verdict,
    leaves a document open. A decision comes before all annotators; one without a label keeps the label on which they
    agree, if they do.

    Args:
        annotations: from :func:`textlrp.annotate.annotations.read_annotations`.
        report: their report.
        decisions: from the same function, with ``decisions=True``.

    Raises:
        InputError: two adjudicators decided on one document.
    """
    decided: dict[str, Annotation] = {}
    for decision in decisions:
        first = decided.setdefault(decision.document, decision)
        if first is not decision:
            raise InputError(
                f"document {decision.document!r} is decided by {first.annotator!r} in {first.place}, and by "
                f"{decision.annotator!r} in {decision.place}: keep one of the two"
            )
    annotated = {case.marked.document.id: case for case in cases(annotations, report)}
    documents: list[GoldDocument] = []
    still_open: list[str] = []
    for identity, document in report.documents.items():
        case, taken = annotated.get(identity), decided.get(identity)
        if case is None and taken is None:
            continue
        labels = case.labels if case is not None else None
        rationales = case.agreed if case is not None else ()
        settled = AGREED if case is None or case.same_words else MAJORITY
        if taken is not None:
            labels = labels if taken.labels is None else taken.labels
            rationales = labeled(taken.rationales, labels)
            settled = ADJUDICATED
        if not labels:
            still_open.append(identity)
            continue
        people = tuple(each.annotator for each in case.marked.annotations) if case is not None else ()
        documents.append(GoldDocument(document, labels, rationales, people, settled))
    return Gold(tuple(documents), tuple(still_open))


def _span(mark: Rationale) -> dict[str, Any]:
    values: dict[str, Any] = {"start": mark.start, "end": mark.end, "label": mark.label}
    if mark.against:
        values["against"] = True
    if mark.source != TEXT:
        values["source"] = mark.source
    return values


def _counted(count: int) -> str:
    return f"{count:,} document{'' if count == 1 else 's'}"
