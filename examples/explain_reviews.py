"""Explain three reviews with the built-in classifier, in the terminal: one good, one bad, one mixed with a negation."""

from __future__ import annotations

from rich.console import Console
from rich.rule import Rule

import textlrp

REVIEWS = (
    "A tender, funny film with two wonderful leads. I laughed, I cried, and I would happily watch it again tomorrow.",
    "The plot is a mess, the jokes fall flat, and after an hour I was so bored that I started counting ceiling tiles.",
    "I expected another dull sequel. It is not bad at all: the story takes its time, but the ending is brilliant.",
)


def main() -> None:
    """Print the three explanations."""
    console = Console(highlight=False)
    explainer = textlrp.Explainer.demo()
    for review in REVIEWS:
        console.print(explainer.explain(review), soft_wrap=not console.is_terminal)
        console.print(Rule(style="dim") if review != REVIEWS[-1] else "")


if __name__ == "__main__":
    main()
