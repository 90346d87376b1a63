"""Records for the tests of exports: made by hand, without torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hostile_strings import STRINGS
from hypothesis import strategies as st

from textlrp.data.records import Record
from textlrp.results.explanation import Explanation
from textlrp.results.ledger import Ledger
from textlrp.results.spans import Span

#: Texts whose characters tools count in different ways.
TRICKY = "A👩🏽‍🚒 co\u0301te\u0301 𝔊ood\r\nfilm,\tनमस्ते 🇩🇪🇫🇷 \u2028end"

TEXTS = st.text(
    alphabet="ab .\n\r\t\u2028e\u0301é映画كتاب🧑\u200d🚀👩🇩🇪👍🏽न\u094dम\u0085\ud83d\x00<&",
    min_size=1,
    max_size=40,
).filter(lambda text: text.strip() != "")

HOSTILE_LABELS = [text for text in STRINGS if text.strip()]


def tokens(text: str, relevances: Sequence[float] | None = None, source: str = "text") -> tuple[Span, ...]:
    """Runs of up to three characters without white space, with relevances of either sign."""
    pieces = list(re.finditer(r"\S{1,3}", text))
    values = relevances or [(i * 37 % 19 - 9) / 9 for i in range(len(pieces))]
    return tuple(
        Span(each.start(), each.end(), each.group(), value, source=source)
        for each, value in zip(pieces, values, strict=False)
    )


def explanation(text: str, pair: str | None = None, **changes: Any) -> Explanation:
    spans = tokens(text) + (() if pair is None else tokens(pair, source="text_pair"))
    probabilities: Mapping[str, float] = {"NEG": 0.25, "POS": 0.75}
    values: dict[str, Any] = {
        "text": text,
        "text_pair": pair,
        "target": "POS",
        "contrast": None,
        "logit": 1.5,
        "logits": {"NEG": -1.0, "POS": 1.5},
        "probabilities": probabilities,
        "predicted": "POS",
        "tokens": spans,
        "ledger": Ledger({"tokens": sum(span.relevance for span in spans)}, 1.5),
        "model": "tiny",
    }
    return Explanation(**{**values, **changes})


def words(text: str, relevances: Mapping[str, float], **changes: Any) -> Explanation:
    """An explanation in which the named words have a relevance, and nothing else has."""
    spans = tuple(
        Span(each.start(), each.end(), each.group(), relevances.get(each.group(), 0.0))
        for each in re.finditer(r"\w+", text)
    )
    return explanation(text, tokens=spans, **changes)


def record(text: str, pair: str | None = None, identity: str = "1", **changes: Any) -> Record:
    return Record(identity, (explanation(text, pair, **changes),), "NEG")


def hostile(name: str, text: str) -> Record:
    """A record whose label is a hostile string, and whose only token is the text."""
    piece = text.strip()
    at = text.index(piece)
    spans = (Span(at, at + len(piece), piece, 1.0),)
    values = {"target": name, "predicted": name, "logits": {name: 1.0, "other": 0.0}}
    e = explanation(text, **values, probabilities={name: 0.7, "other": 0.3}, tokens=spans)
    return Record(name, (e,), name)
