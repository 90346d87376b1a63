"""JSON lines for doccano and for Prodigy: one line for each text of each explanation."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

from textlrp.basics.characters import encodable
from textlrp.data.records import Record
from textlrp.export.marks import Entry, Selection, entries, graphemes, tokenize, utf16

_LINE_ENDS = re.compile("[\x85\u2028\u2029]")


def doccano(records: Iterable[Record], selection: Selection, by_grapheme: bool = False) -> str:
    """Return JSON lines for a sequence labeling project of doccano: ``text`` and ``label`` ``[[start, end, label]]``.

    doccano counts UTF-16 units, as JavaScript does; in a project with the option "Count grapheme clusters as one
    character", it counts those. Other values become metadata of the document. A text has one line for each target, as
    spans of a project must not overlap by default.

    Sources: https://doccano.github.io/doccano/tutorial/ (format), https://github.com/doccano/doccano/issues/2290
    (units).
    """
    lines = []
    for entry in entries(records, selection):
        at = graphemes(entry.text) if by_grapheme else utf16(entry.text)
        spans: list[list[Any]] = []
        for mark in entry.marks:
            start, end = at[mark.start], at[mark.end - 1] + 1 if by_grapheme else at[mark.end]
            if spans and start < spans[-1][1]:  # two tokens of one cluster can be marked once
                continue
            spans.append([start, end, mark.label])
        lines.append({"text": entry.text, "label": spans, **_about(entry)})
    return _lines(lines)


def prodigy(records: Iterable[Record], selection: Selection) -> str:
    """Return tasks for Prodigy's ``ner_manual`` and ``spans_manual``: text, tokens, spans and meta.

    Prodigy counts code points. ``token_end`` is the last token of a span, not the one after it.

    Source: https://prodi.gy/docs/api-interfaces#ner_manual
    """
    lines = []
    for entry in entries(records, selection):
        tokens = tokenize(entry.text, entry.marks)
        starts, ends = [token.start for token in tokens], [token.end for token in tokens]
        lines.append(
            {
                "text": entry.text,
                "tokens": [
                    {
                        "text": entry.text[token.start : token.end],
                        "start": token.start,
                        "end": token.end,
                        "id": i,
                        "ws": token.space,
                    }
                    for i, token in enumerate(tokens)
                ],
                "spans": [
                    {
                        "start": mark.start,
                        "end": mark.end,
                        "token_start": bisect_left(starts, mark.start),
                        "token_end": bisect_left(ends, mark.end),
                        "label": mark.label,
                        "text": mark.text,
                        "relevance": mark.relevance,
                    }
                    for mark in entry.marks
                ],
                "meta": _about(entry),
            }
        )
    return _lines(lines)


def _about(entry: Entry) -> dict[str, Any]:
    """Return the metadata of a line: the document, the explanation and the prediction."""
    explanation = entry.explanation
    about = {
        "id": entry.record.id,
        "source": entry.source,
        "target": explanation.target,
        "contrast": explanation.contrast,
        "logit": explanation.logit,
        "predicted": explanation.predicted,
        **({"predicted_labels": list(explanation.predicted_labels)} if explanation.multi_label else {}),
        "probability": explanation.probabilities.get(explanation.predicted),
        "given": entry.record.label or list(map(encodable, entry.record.labels)),
        "model": explanation.model,
        "reference": None if explanation.reference is None else explanation.reference.name,
        "reference_logit": None if explanation.reference is None else explanation.ledger.reference,
    }
    return {
        key: encodable(value) if isinstance(value, str) else value
        for key, value in about.items()
        if value is not None and value not in ("", [])
    }


def _lines(values: Iterable[dict[str, Any]]) -> str:
    written = (json.dumps(value, ensure_ascii=False, allow_nan=False) for value in values)
    # Some readers end a line at Unicode line ends, even inside a string.
    return "".join(_LINE_ENDS.sub(lambda end: f"\\u{ord(end.group()):04x}", line) + "\n" for line in written)
