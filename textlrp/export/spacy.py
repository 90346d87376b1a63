"""spaCy: spans for displaCy as JSON, or documents as a DocBin."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from textlrp.basics.characters import encodable
from textlrp.data.records import Record
from textlrp.errors import InputError
from textlrp.export.colors import colors
from textlrp.export.marks import Entry, Selection, entries, tokenize

#: The name of the span group that displaCy shows by default.
GROUP = "sc"


def displacy(records: Sequence[Record], selection: Selection) -> str:
    """Return JSON, a list that ``displacy.render(..., manual=True)`` takes in the styles ``"ent"`` and ``"span"``.

    displaCy does not escape labels and titles, so they are escaped for HTML here. Offsets are code points; each text of
    a pair, and each target, is a separate entry. All have the same ``"colors"``, which displaCy takes as an option:
    ``displacy.render(entries, style="ent", manual=True, options={"colors": entries[0]["colors"]})``.

    Source: https://spacy.io/usage/visualizers#manual-usage
    """
    shades = {escape(name).upper(): color.hex for name, color in colors(records).items()}  # as displaCy looks them up
    rendered = [{**_rendered(entry), "colors": shades} for entry in entries(records, selection)]
    return json.dumps(rendered, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def doc_bin(records: Iterable[Record], selection: Selection) -> bytes:
    """Return a ``DocBin`` with user data: marks as entities and as the span group ``"sc"``, probabilities as ``cats``.

    The group's attribute ``relevance`` has one number for each span.

    Source: https://spacy.io/api/docbin

    Raises:
        InputError: spaCy is not installed.
    """
    try:
        from spacy.tokens import Doc, DocBin, SpanGroup
        from spacy.vocab import Vocab
    except ImportError:
        raise InputError("a .spacy file needs spaCy: pip install spacy, or write JSON for displaCy (.json)") from None
    vocabulary, documents = Vocab(), DocBin(store_user_data=True)
    for entry in entries(records, selection):
        tokens = tokenize(entry.text, entry.marks)
        words = [entry.text[token.start : token.end] for token in tokens]
        document = Doc(vocabulary, words=words, spaces=[token.space for token in tokens])
        marked = (document.char_span(mark.start, mark.end, label=mark.label) for mark in entry.marks)
        spans = [span for span in marked if span is not None]
        assert len(spans) == len(entry.marks)  # marks are runs of tokens
        document.set_ents(spans)
        relevance = [mark.relevance for mark in entry.marks]
        document.spans[GROUP] = SpanGroup(document, name=GROUP, spans=spans, attrs={"relevance": relevance})
        probabilities = entry.explanation.probabilities
        document.cats = {encodable(name): value for name, value in probabilities.items()}
        document.user_data.update(_about(entry))
        documents.add(document)
    written: bytes = documents.to_bytes()
    return written


def _rendered(entry: Entry) -> dict[str, Any]:
    tokens = tokenize(entry.text, entry.marks)
    starts, ends = [token.start for token in tokens], [token.end for token in tokens]
    about = _about(entry)
    against = f" against {about['contrast']}" if about["contrast"] is not None else ""
    second = "" if entry.source == "text" else ", second text"
    return {
        "text": entry.text,
        "ents": [
            {"start": m.start, "end": m.end, "label": escape(m.label), "relevance": m.relevance} for m in entry.marks
        ],
        "tokens": [entry.text[token.start : token.end] for token in tokens],
        "spans": [
            {
                "start": mark.start,
                "end": mark.end,
                "start_token": bisect_left(starts, mark.start),
                "end_token": bisect_left(ends, mark.end) + 1,
                "label": escape(mark.label),
            }
            for mark in entry.marks
        ],
        "title": escape(f"{about['id']}{second}: {about['target']}{against}"),
        **about,
    }


def _about(entry: Entry) -> dict[str, Any]:
    explanation = entry.explanation
    about = {
        "id": entry.record.id,
        "source": entry.source,
        "target": explanation.target,
        "contrast": explanation.contrast,
        "predicted": explanation.predicted,
        "label": entry.record.label,
    }
    several = {"labels": list(map(encodable, entry.record.labels))} if entry.record.labels else {}
    return {key: None if value is None else encodable(value) for key, value in about.items()} | several
