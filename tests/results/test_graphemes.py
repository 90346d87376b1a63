"""No renderer tears a character apart, or two letters that join hands."""

from __future__ import annotations

import math

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from textlrp.results.graphemes import whole_units
from textlrp.results.spans import Span

GRAPHEME = regex.compile(r"\X")


def letters(text: str) -> tuple[Span, ...]:
    """A span of relevance 1 for each character but white space."""
    return tuple(Span(i, i + 1, char, 1.0) for i, char in enumerate(text) if not char.isspace())


def test_a_cursive_word_is_colored_whole_and_its_relevance_added() -> None:
    assert [(span.text, span.relevance) for span in whole_units("كتاب جدا، ab", letters("كتاب جدا، ab"))] == [
        ("كتاب", 4.0),
        ("جدا", 3.0),
        ("،", 1.0),
        ("a", 1.0),
        ("b", 1.0),
    ]


@pytest.mark.parametrize("cluster", ["👩‍👩‍👧‍👦", "🇩🇪", "👍🏽", "e\u0301", "नि", "각", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "\r\n"])
def test_a_cluster_is_colored_whole(cluster: str) -> None:
    spans = tuple(Span(i, i + 1, char, 1.0) for i, char in enumerate(cluster + cluster))
    assert [span.text for span in whole_units(cluster + cluster, spans)] == [cluster, cluster]


def test_special_tokens_and_empty_spans_are_left_out_and_shared_characters_colored_once() -> None:
    spans = (Span(0, 0, "", 9.0, True, "[CLS]"), Span(0, 1, "😀", 0.5), Span(0, 1, "😀", 0.25), Span(1, 1, "", 7.0))
    assert whole_units("😀!", spans) == (Span(0, 1, "😀", 0.75),)


@given(
    st.text(alphabet="ab \n\r\té\u0301映画كتاب🧑\u200d🚀🇩🇪👍🏽नि\u0300", max_size=40),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5), st.integers(-8, 8)), max_size=20),
)
def test_the_total_stays_and_no_cluster_is_torn(text: str, ranges: list[tuple[int, int, int]]) -> None:
    spans = tuple(
        Span(start, min(len(text), start + size), text[start : start + size], relevance / 8)
        for start, size, relevance in ranges
        if start < len(text)
    )
    units = whole_units(text, spans)
    assert math.fsum(span.relevance for span in units) == math.fsum(span.relevance for span in spans)
    edges = {0} | {match.end() for match in GRAPHEME.finditer(text)}
    end = 0
    for span in units:
        assert end <= span.start < span.end
        assert {span.start, span.end} <= edges
        assert span.text == text[span.start : span.end]
        end = span.end
