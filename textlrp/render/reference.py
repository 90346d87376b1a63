"""What an explanation says of its reference: the score without the words, and what the words add to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from textlrp.results.ledger import TOKENS

if TYPE_CHECKING:
    from textlrp.results.explanation import Explanation
    from textlrp.results.reference import Reference

#: Said below the sentences where the reference was run with the text's choices.
PINNED = (
    "Such choices are of experts, strongest entries or positions. By its own choices, the model may give the reference "
    "another score."
)

#: Other rows than the words are named from this share of the scale on.
_WORTH_SAYING = 1e-3


class Part(NamedTuple):
    """A part of a sentence; a name is shown as any name of a label or a reference is."""

    text: str
    is_name: bool = False


def sentences(e: Explanation, write: Callable[[float, float], str]) -> list[Part]:
    """Return the score of the reference and what the words add to it, in two sentences; none without a reference.

    Args:
        e: the explanation.
        write: writes a number, given the scale of its digits.
    """
    if e.reference is None:
        return []
    books = e.ledger
    start, added = books.reference, books.explained
    scale = max(map(abs, (books.logit, start, added)))
    others = added - books[TOKENS] - books.residue
    parts = [*_score(e, write(start, scale)), *_windows(e), Part(". ")]
    if abs(others) < _WORTH_SAYING * scale:
        return [*parts, Part(f"The words add {write(added, scale)}.")]
    return [*parts, Part(f"The words add {write(books[TOKENS], scale)}, and other parts {write(others, scale)}.")]


def _score(e: Explanation, score: str) -> list[Part]:
    assert e.reference is not None
    if e.ledger.pinned:
        return _start(e, e.reference, score)
    wordless = e.reference.wordless
    where = [Part("Without its words ")]
    if not wordless:
        where = [Part("For the reference ("), Part(e.reference.name, True), Part(") ")]
    target = Part(e.target, True)
    if e.contrast is not None:
        differ = "would differ" if wordless else "differ"
        return [*where, *_both(e.target, e.contrast), Part(f" {differ} by {score}")]
    if not e.probabilities:  # a number, not a label
        returns = "would return" if wordless else "returns"
        which = [Part(" for "), target] if len(e.logits) > 1 else []
        return [*where, Part(f"the model {returns} {score}"), *which]
    return [*where, Part(f"the model {'would say' if wordless else 'says'} "), target, Part(f" {score}")]


def _start(e: Explanation, reference: Reference, score: str) -> list[Part]:
    """Return where the words begin, if that is not what the model alone says of the reference."""
    run = "), run with the choices that the model makes for this text, "
    where = [Part("From the reference ("), Part(reference.name, True), Part(run)]
    target = Part(e.target, True)
    if e.contrast is not None:
        return [*where, Part("the difference of "), *_both(e.target, e.contrast), Part(f" starts at {score}")]
    if not e.probabilities:
        of = [Part(" for "), target] if len(e.logits) > 1 else []
        return [*where, Part("the model's number"), *of, Part(f" starts at {score}")]
    return [*where, target, Part(f" starts at {score}")]


def _both(target: str, contrast: str) -> list[Part]:
    return [Part("the logits of "), Part(target, True), Part(" and "), Part(contrast, True)]


def _windows(e: Explanation) -> list[Part]:
    return [Part(f" (mean of {e.windows:,} windows)")] if e.windows > 1 else []
