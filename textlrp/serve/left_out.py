"""The score of a text without some of its words, by the plain model: what a reader can check relevance against."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from textlrp.errors import InputError
from textlrp.evaluate.text_units import tokens_of
from textlrp.render.format import named, number
from textlrp.render.page_parts import excerpt, place
from textlrp.results.explanation import Explanation
from textlrp.results.graphemes import whole_units
from textlrp.serve.worker import Message

if TYPE_CHECKING:
    from textlrp.explain.explainer import Explainer

#: A function of an explanation, token indices, and ``"delete"`` or ``"mask"``: the score of the whole text, and that of
#: the text without these tokens.
Without = Callable[[Explanation, Iterable[int], str], tuple[float, float]]

# The words whose order tells whether two models agree.
_STRONGEST = 5


class Unit(NamedTuple):
    """A word (or a sentence, or a token) that can be left out: its text, its relevance, and its tokens."""

    text: str
    relevance: float
    tokens: frozenset[int]


def scores(explainer: Explainer) -> Without:
    """Return the function that runs an explainer's model on texts without some tokens.

    Ids are taken away or masked; the text is not tokenized again.
    """

    def without(explanation: Explanation, tokens: Iterable[int], how: str) -> tuple[float, float]:
        from textlrp.evaluate.perturbation import Perturbed

        perturbed = Perturbed(
            explainer,
            explanation.text,
            target=explanation.target,
            contrast=explanation.contrast,
            text_pair=explanation.text_pair,
            perturb=how,
        )
        (outcome,) = perturbed.outcomes([tokens])
        return perturbed.original.logit, outcome.logit

    return without


def units(explanation: Explanation, by: str) -> dict[str, Unit]:
    """Return the units of a text that have tokens, as its page shows them, by the name of their place."""
    found = {}
    spans = explanation.units(by)
    for count, (source, text, _) in enumerate(explanation.texts, 1):
        shown = [
            replace(span, source=source)
            for span in whole_units(text, tuple(span for span in spans if span.source == source))
        ]
        if not shown:
            continue
        # The tokens of the other text belong to no unit of this one.
        own = [token if token.source == source else replace(token, special=True) for token in explanation.tokens]
        for span, tokens in zip(shown, tokens_of(own, shown), strict=True):
            if tokens and not span.text.isspace():
                found[place(count, span)] = Unit(span.text, span.relevance, tokens)
    return found


def places(explanation: Explanation, by: str) -> frozenset[str]:
    """Return the places of the units that can be left out; there are none in a text that was read in windows."""
    return frozenset(units(explanation, by)) if explanation.windows == 1 else frozenset()


def strongest(explanation: Explanation, by: str) -> list[str]:
    """Return the places of the units with the most relevance for or against the label."""
    ranked = sorted(units(explanation, by).items(), key=lambda item: -abs(item[1].relevance))
    return [name for name, unit in ranked[:_STRONGEST] if unit.relevance]


def told(explanation: Explanation, by: str, left_out: Sequence[str], how: str, without: Without) -> Message:
    """Return the scores of a text with and without some of its units, and what the units' relevance was.

    Raises:
        InputError: a place is none of the text, or the text was read in windows.
    """
    if explanation.windows > 1:
        raise InputError("words cannot be left out of a text that is read in windows")
    known = units(explanation, by)
    unknown = [name for name in left_out if name not in known]
    if unknown:
        raise InputError(f"the text has no {by} at {unknown[0]:.40}: explain the text again")
    chosen = [known[name] for name in left_out]
    before, after = without(explanation, frozenset().union(*(unit.tokens for unit in chosen)), how)
    change, relevance = after - before, math.fsum(unit.relevance for unit in chosen)
    scale = max(map(abs, (before, after, change, relevance)))
    return {
        "words": [excerpt(unit.text) for unit in chosen],
        "before": number(before, scale),
        "after": number(after, scale),
        "change": number(change, scale),
        "relevance": number(relevance, scale),
        "target": named(explanation.target),
        "contrast": None if explanation.contrast is None else named(explanation.contrast),
    }
