"""Models for the tests of the local server, made by hand, without torch; run as a program, it serves them.

python served.py [LIMITS]     prints the address and serves until it is interrupted; LIMITS are JSON
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Iterable
from typing import Any

from consistent_explanations import consistent
from example_explanations import measured
from example_records import explanation
from hostile_strings import STRINGS

from textlrp.errors import InputError
from textlrp.explain.progress import ProgressBar
from textlrp.results.explanation import Explanation
from textlrp.results.spans import Span
from textlrp.serve import server
from textlrp.serve.limits import Limits

LABELS = ("POS", "NEG", *dict.fromkeys(STRINGS))


def explain(text: str, pair: str | None = None, **options: Any) -> Explanation:
    """An explanation with a relevance for every word, or the error that the text asks for."""
    if text == "unknown":
        raise InputError("there is no label 'X': the model's labels are POS, NEG")
    if text == "stuck":
        time.sleep(10)  # nothing can stop it
    if text == "broken":
        raise RuntimeError("index out of range in self\nmore")
    if options["rules"].difference:
        return measured(given=(options["reference"],) if options["reference"] else (), target="POS")
    target = options.get("target") or "POS"
    other = options.get("contrast") or "other"
    spans = []
    for source, each in (("text", text), ("text_pair", pair or "")):
        for i, match in enumerate(re.finditer(r"\S+", each)):
            spans.append(Span(match.start(), match.end(), match.group(), (-1.0) ** i / (i + 1), source=source))
    made = explanation(
        text,
        pair,
        tokens=tuple(spans),
        target=target,
        contrast=options.get("contrast"),
        predicted=target,
        logits={target: 1.5, other: 1.5 - math.log(3)},
        probabilities={target: 0.75, other: 0.25},
        rules=options["rules"].name,
        model="by hand",
    )
    return consistent(made)


def explain_slowly(text: str, pair: str | None = None, **options: Any) -> Explanation:
    """The same in five steps of a quarter of a second."""
    with ProgressBar("explaining", 5, False) as bar:
        for _ in range(5):
            time.sleep(0.25)
            bar.advance()
    return explain(text, pair, **options)


def without(made: Explanation, tokens: Iterable[int], how: str) -> tuple[float, float]:
    """The score, and that without some tokens: they take twice their relevance along, or once if they are masked."""
    share = {"delete": 2.0, "mask": 1.0}[how]
    return made.logit, made.logit - share * sum(made.tokens[i].relevance for i in tokens)


def explain_otherwise(text: str, pair: str | None = None, **options: Any) -> Explanation:
    """The same for NEG, unless a label is asked for."""
    return explain(text, pair, **{**options, "target": options.get("target") or "NEG"})


MODELS = (
    server.Model("by hand", LABELS, explain, without, "[MASK]"),
    server.Model("slow", ("POS", "NEG"), explain_slowly, without),
    server.Model("<script>alert(1)</script>", ("A",), explain),
    server.Model("otherwise", ("POS", "NEG"), explain_otherwise, without),
)


if __name__ == "__main__":
    limits = Limits(**json.loads(sys.argv[1])) if len(sys.argv) > 1 else None
    server.run(MODELS, server.bind(0), lambda address: print(address, flush=True), limits)
    sys.exit(0)
