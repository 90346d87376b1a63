"""What an explanation says in words: the score of its reference, how much of the score the words hold, and which."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from textlrp.render.palette import THRESHOLD
from textlrp.results.ledger import TOKENS

if TYPE_CHECKING:
    from textlrp.results.explanation import Explanation
    from textlrp.results.reference import Reference
    from textlrp.results.spans import Span

#: Said below the sentences where the reference was run with the text's choices.
PINNED = (
    "Such choices are of experts, strongest entries or positions. By its own choices, the model may give the reference "
    "another score."
)

#: Other rows than the words are named from this share of the scale on.
_WORTH_SAYING = 1e-3
#: Words that add less than this share of the score are said to add little.
LITTLE = 0.1
_NAMED = 2  # words on each side


class Part(NamedTuple):
    """A part of a sentence; a name is shown as any name of a label or a reference is."""

    text: str
    is_name: bool = False


def sentences(e: Explanation, write: Callable[[float, float], str]) -> list[Part]:
    """Return what the words add to the score, or to that of the reference, and which words that are above all.

    Args:
        e: the explanation.
        write: writes a number, given the scale of its digits.
    """
    books = e.ledger
    words, others = books[TOKENS], books.explained - books[TOKENS] - books.residue
    scale = max(map(abs, (books.logit, books.reference, books.explained)))
    parts, to = [], ""
    if e.reference is not None:
        parts = [*_score(e, write(books.reference, scale)), *_windows(e), Part(". ")]
    else:
        to = f" to the {'score' if e.contrast is None else 'difference'}"
    if abs(words) < LITTLE * abs(books.explained):
        parts.append(Part(f"The words add little{to}: {write(words, scale)}."))
    else:
        parts += [Part(f"The words add {write(words, scale)}{to}"), *evidence(e), Part(".")]
    return parts if abs(others) < _WORTH_SAYING * scale else [*parts, Part(f" Other parts add {write(others, scale)}.")]


def color_end(e: Explanation, units: Iterable[Span]) -> float:
    """Return the relevance at the end of the color scale: that of the strongest unit, so that it has the full color.

    It is more where all units together are less than what is explained: the colors fade with the share of the words.

    Args:
        e: the explanation.
        units: its words, tokens or sentences.
    """
    sizes = [abs(span.relevance) for span in units]
    held = math.fsum(sizes)
    return max(sizes) * max(1.0, abs(e.ledger.explained) / held) if held else 0.0


def evidence(e: Explanation) -> list[Part]:
    """Return the words that hold most of what all words hold, and those that hold the opposite; none without any."""
    ranked = sorted((word for word in e.words if _is_word(word.text)), key=lambda word: -abs(word.relevance))
    least = THRESHOLD * max((abs(word.relevance) for word in e.words), default=0.0)
    sign = 1 if e.ledger[TOKENS] >= 0 else -1
    most, against = (
        [word.text for word in ranked if s * word.relevance > 0 and abs(word.relevance) >= least][:_NAMED]
        for s in (sign, -sign)
    )
    if not most:
        return []
    verb = "speaks" if len(against) < 2 else "speak"
    whom: list[Part] = [Part("for it" if sign < 0 else "against it")]
    if e.contrast is not None:
        whom = [Part("for "), Part(e.target if sign < 0 else e.contrast, True)]
    listed = _listed(against) if against else [Part("nothing")]
    return [Part(", above all "), *_listed(most), Part("; "), *listed, Part(f" {verb} "), *whom]


def _is_word(text: str) -> bool:
    return any(map(str.isalnum, text))


def _listed(words: list[str]) -> list[Part]:
    """Return words in quotation marks, joined by "and"."""
    parts = [Part('"')]
    for i, word in enumerate(words):
        parts += [*([Part('" and "')] if i else []), Part(" ".join(word.split()), True)]
    return [*parts, Part('"')]


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
