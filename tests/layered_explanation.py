"""An explanation with layers, made by hand."""

from __future__ import annotations

from dataclasses import replace

from textlrp.results.explanation import Explanation
from textlrp.results.layers import Layer
from textlrp.results.ledger import Ledger
from textlrp.results.spans import Span

TEXT = "Not bad\x1b[31m 好好 at all"


WORDS = ["Not", "bad\x1b[31m", "好好", "at", "all"]


def explanation(blocks: int = 2, path: str = "bert.encoder.layer") -> Explanation:
    starts = [TEXT.index(word) for word in WORDS]
    tokens = [Span(0, 0, "", 0.5, True, "[CLS]")]
    tokens += [Span(a, a + len(w), w, 0.1) for a, w in zip(starts, WORDS, strict=True)]
    tokens += [Span(len(TEXT), len(TEXT), "", 0.0, True, "[SEP]")]
    relevance = (0.5, 1.0, -2.0, 0.2, 0.0, 0.1, 0.0)

    def layer(name: str, factor: float) -> Layer:
        values = tuple(factor * value for value in relevance)
        rows = {"tokens": factor * -0.7, "special tokens": factor * 0.5, "biases": 2.0 + 0.2 * factor}
        paths = {"residual": 0.6, "attention": -0.3, "feed-forward": 0.1, "other": 0.0}
        return Layer(name, values, Ledger(rows, 2.0), heads={} if factor > 1 else {"a": (0.1, -0.4)}, paths=paths)

    layers = (replace(layer("embeddings", 2.0), paths={}), *(layer(f"{path}.{i}", 0.5) for i in range(blocks)))
    return Explanation(
        text=TEXT,
        target="POS",
        contrast=None,
        logit=2.0,
        logits={"POS": 2.0, "NEG": -1.0},
        probabilities={},
        predicted="POS",
        tokens=tuple(tokens),
        ledger=Ledger({"tokens": 0.5, "special tokens": 0.5, "biases": 1.0}, 2.0),
        layers=layers,
    )
