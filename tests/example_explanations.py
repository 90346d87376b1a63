"""Explanations made by hand: what shows them needs no model."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from textlrp import Explanation, Ledger, Span
from textlrp.results.layers import Layer
from textlrp.results.reference import Reference

#: A text for :func:`measured`.
REVIEW = "The plot is thin, but the cast is wonderful."


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


def held(words: float) -> Ledger:
    """The ledger of an explanation whose words hold all of the score, so that its colors do not fade."""
    return Ledger({"tokens": words}, words)


def measured(
    heading: str = "reference",
    name: str = "[MASK]",
    given: tuple[str, ...] = (),
    start: Mapping[str, float] | None = None,
    others: Mapping[str, float] | None = None,
    blocks: int = 0,
    **changes: Any,
) -> Explanation:
    """An explanation by difference rules, whose numbers fit together: POS has 1.25, of which the reference has -0.5."""
    relevances = (-0.0625, -0.5, 0.125, -0.875, 0.25, 0.0625, 0.25, 0.5, 2.0)
    logits = {"NEG": -1.0, "POS": 1.25, "MIXED": 0.25}
    target, contrast = changes.get("target", "POS"), changes.get("contrast")
    reference = Reference(name, start or {"NEG": 0.75, "POS": -0.5, "MIXED": 0.5}, given)
    logit = logits[target] - (0.0 if contrast is None else logits[contrast])
    other = dict(others or {})
    rows = {heading: reference.logit(target, contrast), **other}
    added = logit - math.fsum(rows.values())
    parts = [value * added / math.fsum(relevances) for value in relevances]
    book = Ledger({**rows, "tokens": math.fsum(parts)}, logit, magnitude=math.fsum(map(abs, parts)))
    size = math.fsum(math.exp(value) for value in logits.values())
    layers = tuple(
        Layer("embeddings" if not i else f"bert.encoder.layer.{i - 1}", tuple(parts), book) for i in range(blocks)
    )
    values: dict[str, Any] = {
        "contrast": contrast,
        "logit": logit,
        "logits": logits,
        "probabilities": {label: math.exp(value) / size for label, value in logits.items()},
        "ledger": book,
        "reference": reference,
        "rules": "difference",
        "layers": layers,
    }
    return explanation(REVIEW, parts, **{**values, **changes})
