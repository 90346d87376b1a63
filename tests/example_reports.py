"""Records and reports for tests, without a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from consistent_explanations import consistent

from textlrp.data.records import Record
from textlrp.results.explanation import Explanation
from textlrp.results.ledger import Ledger
from textlrp.results.spans import Span


def explanation(text: str, relevances: Sequence[float] = (), target: str = "POS", **changes: Any) -> Explanation:
    """An explanation whose tokens are runs without white space, with these relevances, the rest 0."""
    tokens = []
    for number, piece in enumerate(re.finditer(r"\S+", text)):
        relevance = relevances[number] if number < len(relevances) else 0.0
        tokens.append(Span(piece.start(), piece.end(), piece.group(), relevance))
    values: dict[str, Any] = {
        "text": text,
        "target": target,
        "contrast": None,
        "logit": 2.5,
        "logits": {"NEG": -1.0, "POS": 2.5},
        "probabilities": {"NEG": 0.1, "POS": 0.9},
        "predicted": "POS",
        "tokens": tuple(tokens),
        "ledger": Ledger({"tokens": 2.5}, 2.5),
        "model": "tiny",
    }
    return Explanation(**{**values, **changes})


def sure(predicted: str, share: float) -> dict[str, Any]:
    """What an explanation says where a label of two is predicted with a probability."""
    other = {"NEG": "POS", "POS": "NEG"}[predicted]
    return {
        "predicted": predicted,
        "target": predicted,
        "probabilities": {predicted: share, other: 1 - share},
        "logits": {label: 1.0 if label == predicted else -1.0 for label in ("NEG", "POS")},
    }


def reviews() -> list[Record]:
    """Four short reviews: two right, one wrong, one without a label; the last has an emoji."""
    return [
        Record("a", (explanation("A wonderful film", [0.0, 2.0, 0.5], **sure("POS", 0.95)),), "POS"),
        Record("b", (explanation("Dull at times. Never again.", [1.5, 0.0, 0.1, 0.8], **sure("NEG", 0.85)),), "NEG"),
        Record("c", (explanation("Not bad at all", [-1.0, 0.9, 0.0, 0.2], **sure("NEG", 0.55)),), "POS"),
        Record(
            "d",
            (explanation("I 🚀 loved the 👩‍👩‍👧 film, really", [0.1, 0.2, 1.0, 0.0, 0.3, 0.4], **sure("POS", 0.75)),),
        ),
    ]


def consistent_reviews() -> list[Record]:
    """The same with numbers that fit together, as they must to be read back from a run."""
    return [replace(each, explanations=tuple(map(consistent, each.explanations))) for each in reviews()]
