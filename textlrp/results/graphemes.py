"""The smallest pieces of a text that can be colored one by one: a renderer must not split them."""

from __future__ import annotations

import unicodedata

import regex  # type: ignore[import-untyped]

from textlrp.results.spans import Span, merge_overlaps

_GRAPHEME = regex.compile(r"\X")
_CURSIVE = regex.compile(  # letters that are joined to their neighbors
    r"(?=\p{L})[\p{Arab}\p{Syrc}\p{Mong}\p{Nkoo}\p{Mand}\p{Mani}\p{Adlm}\p{Phag}\p{Rohg}\p{Sogd}\p{Ougr}\p{Chrs}\u0640]"
)


def whole_units(text: str, spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Return spans in reading order that a renderer can color one by one; the total relevance stays.

    Spans of one text that share characters are merged and special tokens left out, as in :func:`merge_overlaps`; then
    they are widened to whole graphemes, since a color that begins inside an emoji, or between a letter and its accent,
    would split it. In Arabic and other cursive scripts, whose letters are joined, they are widened to whole words.
    """
    edges: list[int] = []
    before = False
    for match in _GRAPHEME.finditer(text):
        cursive = _CURSIVE.search(match.group()) is not None
        if cursive and before:
            edges.pop()
        edges.append(match.end())
        before = cursive
    starts = [0, *edges[:-1]]
    widened: list[Span] = []
    i = 0
    for span in merge_overlaps(spans):
        while edges[i] <= span.start:
            i += 1
        j = i
        while edges[j] < span.end:
            j += 1
        start, end, relevance = starts[i], edges[j], span.relevance
        if widened and start < widened[-1].end:
            last = widened.pop()
            start, end, relevance = last.start, max(last.end, end), last.relevance + relevance
        widened.append(Span(start, end, text[start:end], relevance))
    return tuple(widened)


def direction(text: str) -> str:
    """Return ``"rtl"`` if a text is written from right to left, else ``"ltr"``: its first letter decides.

    Browsers can do this (``dir="auto"``), but need minutes for a text of many spans.

    Source: Unicode Standard Annex #9, rules P2 and P3.
    """
    isolates = 0
    for char in text:
        kind = unicodedata.bidirectional(char)
        if kind in ("LRI", "RLI", "FSI"):
            isolates += 1
        elif kind == "PDI":
            isolates = max(0, isolates - 1)
        elif not isolates and kind in ("L", "R", "AL"):
            return "ltr" if kind == "L" else "rtl"
    return "ltr"
