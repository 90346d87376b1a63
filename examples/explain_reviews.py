"""Explain three reviews with the built-in classifier, in the terminal: one good, one bad, one mixed with a negation.

    python examples/explain_reviews.py [--svg FILE]

``--svg`` draws the same as a picture.
"""

from __future__ import annotations

import argparse
import io
import re
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.rule import Rule

import textlrp

REVIEWS = (
    "A tender, funny film with two wonderful leads. I laughed, I cried, and I would happily watch it again tomorrow.",
    "The plot is a mess, the jokes fall flat, and after an hour I was so bored that I started counting ceiling tiles.",
    "It is not a bad film. The plot is thin, but the performances are superb and I loved the ending.",
)


def main() -> None:
    """Print the three explanations."""
    parser = argparse.ArgumentParser(description="Explain three reviews with the built-in classifier.")
    parser.add_argument("--svg", type=Path, help="draw the explanations to this file as well")
    options = parser.parse_args()
    explainer = textlrp.Explainer.demo()
    explanations = [explainer.explain(review) for review in REVIEWS]
    show(Console(highlight=False), explanations)
    if options.svg is not None:
        options.svg.write_text(picture(explanations), encoding="utf-8")


def picture(explanations: list[textlrp.Explanation]) -> str:
    """Return what a terminal shows as SVG, without the fonts that rich would load from elsewhere."""
    options: dict[str, Any] = {"force_terminal": True, "color_system": "truecolor", "highlight": False}
    canvas = Console(record=True, width=100, file=io.StringIO(), **options)
    show(canvas, explanations)
    drawn = canvas.export_svg(title="make demo", unique_id="textlrp")
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)


def show(console: Console, explanations: list[textlrp.Explanation]) -> None:
    """Print explanations with a line between them."""
    for explanation in explanations:
        console.print(explanation, soft_wrap=not console.is_terminal)
        console.print(Rule(style="dim") if explanation is not explanations[-1] else "")


if __name__ == "__main__":
    main()
