"""Explanations made by hand whose numbers fit together, as those of a model do: what is read back is held to that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from textlrp import Explanation, Ledger


def consistent(e: Explanation) -> Explanation:
    """An explanation with the logit, the ledger and the probabilities that follow from its logits and its tokens."""
    logit = e.logits[e.target] - (0.0 if e.contrast is None else e.logits[e.contrast])
    tokens = math.fsum(span.relevance for span in e.tokens if not span.special)
    special = math.fsum(span.relevance for span in e.tokens if span.special)
    rows = {"tokens": tokens, "special tokens": special, "biases": math.fsum([logit, -tokens, -special])}
    books = Ledger({heading: value for heading, value in rows.items() if value}, logit)
    probabilities = softmax(e.logits) if e.probabilities else {}
    return replace(e, logit=logit, ledger=books, probabilities=probabilities)


def softmax(logits: Mapping[str, float]) -> dict[str, float]:
    highest = max(logits.values())
    powers = {label: math.exp(logit - highest) for label, logit in logits.items()}
    return {label: power / math.fsum(powers.values()) for label, power in powers.items()}
