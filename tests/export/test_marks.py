"""Marks of an export: strongest spans, labels by sign, offsets and tokens."""

from __future__ import annotations

from example_records import TRICKY, explanation, words

from textlrp.export.marks import Selection, label, select, tokenize
from textlrp.results.spans import Span


def test_the_strongest_are_marked_and_labeled_by_their_sign() -> None:
    e = words("a dull but wonderful, wonderful film", {"dull": -1.0, "wonderful": 2.0, "film": 0.1, "but": 0.3})
    marks = select(e, Selection())
    assert [(m.text, m.start, m.label, m.relevance, m.share) for m in marks] == [
        ("dull", 2, "against POS", -1.0, 0.5),
        ("but", 7, "for POS", 0.3, 0.15),
        ("wonderful", 11, "for POS", 2.0, 1.0),
        ("wonderful", 22, "for POS", 2.0, 1.0),
    ]
    assert [m.text for m in select(e, Selection(threshold=0.6))] == ["wonderful", "wonderful"]
    assert [m.text for m in select(e, Selection(top=3))] == ["dull", "wonderful", "wonderful"]
    assert [m.text for m in select(e, Selection(threshold=0))] == ["dull", "but", "wonderful", "wonderful", "film"]
    assert [m.text for m in select(e, Selection(by="sentence"))] == ["a dull but wonderful, wonderful film"]


def test_with_a_contrast_the_other_side_has_its_name() -> None:
    e = words("good bad", {"good": 1.0, "bad": -1.0}, contrast="NEG")
    assert [m.label for m in select(e, Selection())] == ["for POS", "for NEG"]
    assert label(e, 1) == "for POS"


def test_white_space_is_never_marked_and_never_at_an_end() -> None:
    e = explanation("a \n b", tokens=(Span(0, 2, "a ", 1.0), Span(1, 4, " \n ", 5.0), Span(4, 5, "b", -1.0)))
    marks = select(e, Selection(by="token", threshold=0))
    assert [(m.text, m.start, m.end) for m in marks] == [("a", 0, 1), ("b", 4, 5)]
    apart = explanation("a \n b", tokens=(Span(0, 2, "a ", 1.0), Span(2, 4, "\n ", 5.0), Span(4, 5, "b", -1.0)))
    assert [(m.text, m.share) for m in select(apart, Selection(by="token"))] == [("a", 1.0), ("b", 1.0)]


def test_nothing_is_marked_where_nothing_counts() -> None:
    assert select(words("so so", {}), Selection(threshold=0)) == ()


def test_pieces_of_a_tricky_text() -> None:
    assert [TRICKY[p.start : p.end] + " " * p.space for p in tokenize(TRICKY, ())] == [
        "A",
        "👩🏽‍🚒 ",
        "co\u0301te\u0301 ",
        "𝔊ood",
        "\r\n",
        "film",
        ",",
        "\t",
        "नमस्ते ",
        "🇩🇪",
        "🇫🇷 ",
        "\u2028",
        "end",
    ]
