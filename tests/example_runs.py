"""Explanations for runs, made by hand."""

from __future__ import annotations

from typing import Any

from consistent_explanations import consistent

from textlrp import Explanation, Ledger, Span


def explained(text: str, target: str = "POS", **changes: Any) -> Explanation:
    """An explanation whose numbers fit together, whichever label it explains."""
    values: dict[str, Any] = {
        "text": text,
        "target": target,
        "contrast": None,
        "logit": 0.5,
        "logits": {"NEG": -0.25, "POS": 0.5},
        "probabilities": {"NEG": 0.3, "POS": 0.7},
        "predicted": "POS",
        "tokens": (Span(0, len(text), text, 0.5),),
        "ledger": Ledger({"tokens": 0.5}, 0.5),
    }
    return consistent(Explanation(**{**values, **changes}))
