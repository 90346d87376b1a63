"""Words and sentences as people read them, in every script, on the characters of the text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textlrp.results import segmentation


def split(text: str, boundaries: list[int]) -> list[str]:
    return [text[start:end] for start, end in pairwise(boundaries)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I can't say 3.14, OK?", ["I", " ", "can't", " ", "say", " ", "3.14", ",", " ", "OK", "?"]),
        ("well-known e.g. U.S.", ["well", "-", "known", " ", "e.g", ".", " ", "U.S", "."]),
        ("a  b\t\nc\r\n", ["a", "  ", "b", "\t", "\n", "c", "\r\n"]),
        ("今天天气很好。", ["今天", "天气", "很好", "。"]),
        ("映画でした。", ["映画", "で", "した", "。"]),
        ("ฉันชอบหนัง", ["ฉัน", "ชอบ", "หนัง"]),
        ("فيلم رائع جدًا،", ["فيلم", " ", "رائع", " ", "جدًا", "،"]),
        ("यह फ़िल्म है।", ["यह", " ", "फ़िल्म", " ", "है", "।"]),
        ("ፊልሙ ጥሩ ነው።", ["ፊልሙ", " ", "ጥሩ", " ", "ነው", "።"]),
        ("영화는 좋다.", ["영화는", " ", "좋다", "."]),
        ("👩‍👩‍👧 🇩🇪👍🏽!", ["👩‍👩‍👧", " ", "🇩🇪", "👍🏽", "!"]),
        ("cafe\u0301 𝒳𝒴 x", ["cafe\u0301", " ", "𝒳𝒴", " ", "x"]),
        ("😀 a\ud800b", ["😀", " ", "a", "\ud800", "b"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert split(text, segmentation.words(text)) == expected


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("See https://example.org/a?b=c&d=1, now", "https://example.org/a?b=c&d=1"),
        ("(http://example.org/w_(y))", "http://example.org/w_(y)"),
        ("WWW.Example.com!", "WWW.Example.com"),
        ("ftp://example.org.", "ftp://example.org"),
        ("见https://example.org/a。好", "https://example.org/a"),
        ("mail me.too+1@x-y.example.org; or", "me.too+1@x-y.example.org"),
        ("https://de.example.org/Käse", "https://de.example.org/Käse"),
        ('"https://example.org/"', "https://example.org/"),
    ],
)
def test_an_address_is_one_word(text: str, address: str) -> None:
    assert address in split(text, segmentation.words(text))


@pytest.mark.parametrize("text", ["a@b", "http:/x.y", "me @home.org", "www. a", "5.x", "(.)"])
def test_what_only_looks_like_an_address_is_none(text: str) -> None:
    assert text not in split(text, segmentation.words(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is bad. Really! Is it?", ["It is bad. ", "Really! ", "Is it?"]),
        ('He said "No." Then he left.', ['He said "No." ', "Then he left."]),
        ("これは本です。それは？", ["これは本です。", "それは？"]),
        ("यह है। वह था।", ["यह है। ", "वह था।"]),
        ("ነው። ነበር።", ["ነው። ", "ነበር።"]),
        ("One\nTwo", ["One\n", "Two"]),
        ("At https://example.org/a?b=1 or. So", ["At https://example.org/a?b=1 or. ", "So"]),
        ("😀 Hm. 😀 Ja.", ["😀 Hm. ", "😀 Ja."]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert split(text, segmentation.sentences(text)) == expected


@given(st.text(st.characters(), max_size=60) | st.text(alphabet="a.@/:htpw (5)\n 。😀é\u0301", max_size=60))
def test_boundaries_rise_from_the_start_to_the_end(text: str) -> None:
    words, sentences = segmentation.words(text), segmentation.sentences(text)
    for boundaries in (words, sentences):
        assert (boundaries[0], boundaries[-1]) == (0, len(text))
        assert all(before < after for before, after in pairwise(boundaries))
    assert set(sentences) <= set(words)


@pytest.mark.parametrize("text", ["a." * 50_000, "a@a." * 25_000, "(http://a)" * 10_000, "http://" + ")" * 50_000])
def test_texts_made_to_be_slow_are_not(text: str) -> None:
    """Quadratic time would be minutes here."""
    assert segmentation.words(text)[-1] == len(text)


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        *(("a", True), ("I’m", True), ("7", True), ("😀", True), ("€", True), ("+", True), ("映画", True)),
        *(
            (" ", False),
            ("\u3000\n", False),
            (".", False),
            ("…", False),
            ("。", False),
            ("-", False),
            ("", False),
            ("\u200b", False),
            ("\x07", False),
        ),
    ],
)
def test_words_are_more_than_punctuation_and_space(text: str, counted: bool) -> None:
    assert segmentation.is_word(text) is counted
