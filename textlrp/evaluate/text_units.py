"""The units of a text that are perturbed at once: tokens, words or sentences. Needs no torch."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from textlrp.results.attribution import Attribution
from textlrp.results.explanation import Explanation
from textlrp.results.spans import Span


class TextUnit(NamedTuple):
    """Tokens that are perturbed at once: a token, a word or a sentence.

    Attributes:
        tokens: their indices.
        relevance: the sum of their relevances.
    """

    tokens: frozenset[int]
    relevance: float


def units(attribution: Attribution | Explanation, by: str = "token") -> tuple[TextUnit, ...]:
    """Return the units of a text, in reading order, without its special tokens.

    The unit of a word (or a sentence) holds its tokens. A token that crosses a boundary belongs to the side that has
    more of its characters, or to the first of equals; a span without a token of its own, such as a space, is left out.

    Raises:
        InputError: ``by`` is not ``"token"``, ``"word"`` or ``"sentence"``.
    """
    if by == "token":
        return tuple(
            TextUnit(frozenset([i]), token.relevance) for i, token in enumerate(attribution.tokens) if not token.special
        )
    groups = [group for group in tokens_of(attribution.tokens, attribution.units(by)) if group]
    return tuple(
        TextUnit(indices, math.fsum(attribution.tokens[i].relevance for i in indices))
        for indices in sorted(groups, key=min)
    )


def tokens_of(tokens: Sequence[Span], spans: Sequence[Span]) -> tuple[frozenset[int], ...]:
    """Return for each of some spans, which tile each text that was read, the indices of its tokens; none is special."""
    groups: list[set[int]] = [set() for _ in spans]
    for source in dict.fromkeys(token.source for token in tokens if not token.special):
        places = [place for place, span in enumerate(spans) if span.source == source]
        of_source = [spans[place] for place in places]
        starts = [span.start for span in of_source]
        for i, token in enumerate(tokens):
            if token.source == source and not token.special:
                groups[places[_span_of(token, of_source, starts)]].add(i)
    return tuple(map(frozenset, groups))


def _span_of(token: Span, spans: Sequence[Span], starts: Sequence[int]) -> int:
    """Return the index of the span that has most of a token's characters, white space not counted."""
    first = max(0, bisect_right(starts, token.start) - 1)
    shares = []
    for at in range(first, len(spans)):
        if at > first and starts[at] >= token.end:
            break
        common = token.text[max(0, starts[at] - token.start) : max(0, spans[at].end - token.start)]
        shares.append(sum(not char.isspace() for char in common))
    return first + shares.index(max(shares))
