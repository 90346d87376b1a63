"""What an explanation says in words: the score of its reference, how much of the score the words hold, and which."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from textlrp.basics.characters import HIDDEN
from textlrp.render.format import named, percent
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
        parts += [Part(f"The words add little{to}: {write(words, scale)}"), *_balance(e), Part(".")]
    else:
        parts += [Part(f"The words add {write(words, scale)}{to}"), *evidence(e), Part(".")]
    return (
        parts
        if abs(others) < _WORTH_SAYING * scale
        else [*parts, Part(f" Other parts of the model add {write(others, scale)}.")]
    )


def plain(parts: Iterable[Part]) -> str:
    """Return sentences as a line of text; names are shown as :func:`textlrp.render.format.named` shows them."""
    return "".join(named(part.text) if part.is_name else part.text for part in parts)


def none_reached(e: Explanation) -> list[Part]:
    """Return that no label is likely enough, and the likeliest, of a text that may have several; else nothing."""
    if e.predicted_labels:
        return []
    share = percent(e.probabilities[e.predicted])
    return [Part("No label reaches 50 %; the highest is "), Part(e.predicted, True), Part(f" ({share})")]


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
    sign = 1 if e.ledger[TOKENS] >= 0 else -1
    most, against = _strongest(e, sign), _strongest(e, -sign)
    if not most:
        return []
    listed = _listed(against) if against else [Part("nothing")]
    speak = " speak " if len(against) > 1 else " speaks "
    return [Part(", above all "), *_listed(most), Part("; "), *listed, Part(speak), *_side(e, -sign)]


def _balance(e: Explanation) -> list[Part]:
    """Return the words on both sides, if they are strong and cancel each other; else nothing."""
    both = [_strongest(e, sign) for sign in (1, -1)]
    if not all(both) or math.fsum(abs(word.relevance) for word in e.words) < abs(e.ledger.explained):
        return []
    parts = [Part(". ")]
    for sign, words in zip((1, -1), both, strict=True):
        speak = " speak " if len(words) > 1 else " speaks "
        parts += [Part(", ")] * (sign < 0) + [*_listed(words), Part(speak), *_side(e, sign)]
    return parts


def _strongest(e: Explanation, sign: int) -> list[str]:
    """Return the strongest words on one side, if they are strong enough to have a color."""
    least = THRESHOLD * max((abs(word.relevance) for word in e.words), default=0.0)
    ranked = sorted((word for word in e.words if _is_word(word.text)), key=lambda word: -abs(word.relevance))
    strong = (word.text for word in ranked if sign * word.relevance > 0 and abs(word.relevance) >= least)
    return list(strong)[:_NAMED]


def _side(e: Explanation, sign: int) -> list[Part]:
    """Return what words speak for: the label, or against it; or one label and the other."""
    if e.contrast is not None:
        return [Part("for "), Part(e.target if sign > 0 else e.contrast, True)]
    return [Part("for it" if sign > 0 else "against it")]


def _is_word(text: str) -> bool:
    return any(map(str.isalnum, text)) or HIDDEN in text


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
    return [Part("the scores of "), Part(target, True), Part(" and "), Part(contrast, True)]


def _windows(e: Explanation) -> list[Part]:
    return [Part(f" (mean of {e.windows:,} windows)")] if e.windows > 1 else []
