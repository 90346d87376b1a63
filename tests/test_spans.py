"""Spans never overlap after merging, and no relevance is lost."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from textlrp.spans import Span, merge_overlaps

TEXT = "Ein Satz mit 😀 und ein paar Wörtern."
RANGES = st.tuples(st.integers(0, len(TEXT)), st.integers(0, 6), st.integers(-8, 8), st.booleans())


def test_a_span_goes_through_a_dict_unchanged() -> None:
    span = Span(3, 5, "ab", -0.25, False, "##ab")
    assert Span.from_dict(span.to_dict()) == span


def test_the_bytes_of_one_character_become_one_span() -> None:
    spans = (Span(13, 14, "😀", 0.5), Span(13, 14, "😀", 0.25), Span(15, 18, "und", 1.0, piece="und"))
    assert merge_overlaps(spans) == (Span(13, 14, "😀", 0.75), Span(15, 18, "und", 1.0, piece="und"))


@given(st.lists(RANGES))
def test_merged_spans_are_in_order_and_keep_the_relevance(ranges: list[tuple[int, int, int, bool]]) -> None:
    spans = tuple(
        Span(start, min(start + size, len(TEXT)), TEXT[start : start + size], relevance / 4, special)
        for start, size, relevance, special in ranges
    )
    merged = merge_overlaps(spans)
    assert all(span.text == TEXT[span.start : span.end] and span.start < span.end for span in merged)
    assert all(before.end <= after.start for before, after in pairwise(merged))
    shown = math.fsum(s.relevance for s in spans if not s.special and s.end > s.start)
    assert math.fsum(s.relevance for s in merged) == shown
    covered = {i for s in spans if not s.special for i in range(s.start, s.end)}
    assert covered == {i for s in merged for i in range(s.start, s.end)}
