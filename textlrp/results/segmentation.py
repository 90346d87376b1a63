"""The boundaries of words and sentences by Unicode (UAX #29), which ICU finds in every script.

In Thai, Lao, Khmer, Burmese, Chinese and Japanese, which write no spaces, ICU looks words up in dictionaries.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import regex  # type: ignore[import-untyped]

# An address is one word to readers; UAX #29 breaks it at every sign. Only its ASCII part is matched: Chinese or
# Japanese text may follow it without a space.
# The quantifiers are possessive, so that the time stays linear in hostile texts.
_ADDRESS = regex.compile(
    r"(?:(?:https?|ftp)://|(?<![\w.])www\.)[!-~]{1,2000}+|(?<![\w.+-])[\w.+-]++@[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++",
    regex.IGNORECASE,
)
_CLOSING = ".,;:!?'\"*"
_BRACKETS = {")": "(", "]": "[", "}": "{", ">": "<"}

_HALF_PAIR = regex.compile("[\ud800-\udfff]")

_ROOT = "root"  # no language: the boundaries must not depend on where textlrp runs


def words(text: str) -> list[int]:
    """Return the word boundaries of a text, 0 and its length included, in characters.

    White space and punctuation have boundaries of their own; the address of a page or a mailbox is one word.

    Source: Unicode Standard Annex #29, section 4.
    """
    from icu4py.breakers import WordBreaker

    boundaries = _boundaries(text, WordBreaker)
    joined = {at for start, end in _addresses(text) for at in range(start + 1, end)}
    return [at for at in boundaries if at not in joined] if joined else boundaries


@lru_cache(maxsize=100_000)
def is_word(text: str) -> bool:
    """Return whether a stretch of text counts as a word: it holds a letter, a digit or a symbol, such as an emoji."""
    return any(unicodedata.category(char)[0] in "LNMS" for char in text)


def sentences(text: str) -> list[int]:
    """Return the sentence boundaries of a text, 0 and its length included; none of them lies inside a word.

    Source: Unicode Standard Annex #29, section 5.
    """
    from icu4py.breakers import SentenceBreaker

    whole = set(words(text))
    return [at for at in _boundaries(text, SentenceBreaker) if at in whole]


def _boundaries(text: str, breaker: Callable[[str, str], Any]) -> list[int]:
    """Return the boundaries that ICU finds, in characters; ICU counts units of UTF-16."""
    # ICU refuses half of a surrogate pair, but a text that holds one still has words.
    valid = text if text.isascii() else _HALF_PAIR.sub("\ufffd", text)
    ends = [0, *(end for _, end in breaker(valid, _ROOT).segments())]
    if text.isascii() or max(text) <= "\uffff":
        return ends
    units = [0]
    for char in text:
        units.append(units[-1] + (2 if char > "\uffff" else 1))
    places = {unit: at for at, unit in enumerate(units)}
    return [places[end] for end in ends]


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    for match in _ADDRESS.finditer(text):
        start, end = match.span()
        while end > start and (text[end - 1] in _CLOSING or _closes_nothing(text[start:end])):
            end -= 1
        yield start, end


def _closes_nothing(address: str) -> bool:
    """Return whether an address ends with a bracket that it did not open, as an address in brackets does."""
    opening = _BRACKETS.get(address[-1])
    return opening is not None and address.count(opening) < address.count(address[-1])
