"""Spans never overlap after merging, and no relevance is lost."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from textlrp.results.spans import Span, gather, merge_overlaps, read_range

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


WORDS = [0, 3, 4, 8, 9, 12, 13, 14, 15, len(TEXT)]


def whole(text: str = TEXT) -> tuple[int, int]:
    return 0, len(text)


def test_tokens_are_gathered_into_what_lies_between_boundaries() -> None:
    tokens = [
        Span(0, 0, "", 4.0, True, "[CLS]"),
        Span(0, 2, "Ei", 0.5),
        Span(2, 3, "n", 0.25),
        Span(4, 8, "Satz", -1.0),
        Span(13, 14, "😀", 0.125),
        Span(13, 14, "😀", 0.125),
        Span(14, 14, "", 8.0, True, "[SEP]"),
    ]
    gathered = gather(tokens, TEXT[:14], "text", (0, 14), [0, 3, 4, 8, 9, 12, 13, 14])
    assert [(span.text, span.relevance) for span in gathered] == [
        ("Ein", 0.75),
        (" ", 0.0),
        ("Satz", -1.0),
        (" ", 0.0),
        ("mit", 0.0),
        (" ", 0.0),
        ("😀", 0.25),
    ]


def test_a_token_over_a_boundary_is_shared_by_its_written_characters() -> None:
    tokens = [Span(0, 8, "Ein Satz", 7.0), Span(8, 9, " ", 1.0)]
    gathered = gather(tokens, TEXT, "text", whole(), WORDS)
    assert [span.relevance for span in gathered[:4]] == [3.0, 0.0, 4.0, 1.0]
    blank = gather([Span(0, 4, "    ", 4.0)], "    a", "text", (0, 5), [0, 1, 4, 5])
    assert [(span.start, span.relevance) for span in blank] == [(0, 2.0), (1, 2.0), (4, 0.0)]


def test_a_token_without_characters_belongs_to_where_it_stands() -> None:
    tokens = [Span(0, 0, "", 0.5, piece="▁"), Span(4, 4, "", 0.25), Span(9, 9, "", 0.125)]
    gathered = gather(tokens, "ein Satz.", "text_pair", (0, 9), [0, 3, 4, 8, 9])
    assert [(span.text, span.relevance) for span in gathered] == [("ein", 0.5), (" ", 0), ("Satz", 0.25), (".", 0.125)]
    assert {span.source for span in gathered} == {"text_pair"}


def test_only_what_was_read_is_tiled_and_a_character_that_was_read_in_part_is() -> None:
    tokens = [Span(4, 8, "Satz", 1.0)]
    assert [s.text for s in gather(tokens, TEXT, "text", (3, 8), WORDS)] == [" ", "Satz"]
    assert [s.text for s in gather(tokens, TEXT, "text", (3, 6), WORDS)] == [" ", "Satz"]
    assert [s.text for s in gather([Span(0, 1, "😀", 1.0)], "😀", "text", (0, 0), [0, 1])] == ["😀"]
    assert read_range("abc", None) == (0, 3)
    assert read_range("abc", (1, 3)) == (0, 1)
    assert read_range("abc", (0, 2)) == (2, 3)


@given(st.lists(RANGES), st.sets(st.integers(0, len(TEXT))), st.tuples(st.integers(0, 10), st.integers(10, len(TEXT))))
def test_what_is_gathered_tiles_the_text_and_keeps_the_relevance(
    ranges: list[tuple[int, int, int, bool]], boundaries: set[int], read: tuple[int, int]
) -> None:
    tokens = [
        Span(start, min(start + size, len(TEXT)), TEXT[start : start + size], relevance / 4, special)
        for start, size, relevance, special in ranges
    ]
    gathered = gather(tokens, TEXT, "text", read, sorted(boundaries))
    own = [span for span in tokens if not span.special]
    start, end = min([read[0], *(s.start for s in own)]), max([read[1], *(s.end for s in own)])
    assert "".join(span.text for span in gathered) == TEXT[start:end]
    assert all(span.text == TEXT[span.start : span.end] for span in gathered)
    assert math.isclose(
        math.fsum(s.relevance for s in gathered), math.fsum(s.relevance for s in own), rel_tol=0, abs_tol=1e-12
    )
    assert {s.start for s in gathered} <= boundaries | {start}
