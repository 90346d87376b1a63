"""Explanations made by hand: what shows them needs no model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from textlrp import Explanation, Ledger, Span


def explanation(text: str, relevances: Iterable[float] | None = None, size: int = 99, **changes: Any) -> Explanation:
    """An explanation whose tokens are runs of ``size`` characters without white space."""
    found = list(re.finditer(rf"\S{{1,{size}}}", text))
    if relevances is None:
        relevances = [(i * 37 % 19 - 9) / 9 for i in range(len(found))]
    tokens = tuple(Span(each.start(), each.end(), each.group(), r) for each, r in zip(found, relevances, strict=False))
    values: dict[str, Any] = {
        "text": text,
        "target": "POS",
        "contrast": None,
        "logit": 2.5,
        "logits": {"NEG": -1.0, "POS": 2.5},
        "probabilities": {"NEG": 0.029, "POS": 0.971},
        "predicted": "POS",
        "tokens": tokens,
        "ledger": Ledger({"tokens": 2.25, "special tokens": 0.2, "biases": 0.05, "norms": -0.0004}, 2.4996),
        "model": "tiny",
        "versions": {"textlrp": "0.1.0", "torch": "2.13.0"},
    }
    return Explanation(**{**values, **changes})
