"""Formats numbers, names and texts for people, in a terminal and on a page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from textlrp.basics.characters import printable

if TYPE_CHECKING:
    from textlrp.results.explanation import Explanation
    from textlrp.results.ledger import Ledger

#: The smallest inexactness of the words that is reported.
_WORTH_SAYING = 0.01
#: Said where the tokenizer rewrites words.
_REWRITTEN = "The tokenizer rewrites some words: each token of such a word stands for the whole word."
_FINER = {"float16": "float32", "bfloat16": "float32", "float32": "float64"}


def percent(share: float) -> str:
    """Return a share of 1 as a percentage; only exactly 0 and 1 are written as 0 and 100."""
    hundredths = 100 * share
    if 0 < hundredths < 0.1:
        return "<0.1 %"
    if 99.9 < hundredths < 100:
        return ">99.9 %"
    return f"{hundredths:.1f} %"


def duration(seconds: float) -> str:
    """Return a time to wait, in words and roughly: ``"40 seconds"``, ``"12 minutes"``, ``"3 hours"``, ``"2 days"``."""
    units = (("second", 1, 90), ("minute", 60, 90), ("hour", 3600, 36), ("day", 86_400, math.inf))
    unit, size = next((unit, size) for unit, size, most in units if seconds < most * size)
    count = max(1, round(seconds / size))
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


def signed(value: float, scale: float | None = None) -> str:
    """Return a number with its sign, rounded to three digits of ``scale`` (default: of the number itself)."""
    size = abs(value) if scale is None else scale
    if size == 0:
        return "0"
    if not 1e-4 <= size < 1e6:
        return f"{value:+.1e}"
    digits = f"{value:+.{max(0, 2 - math.floor(math.log10(size)))}f}"
    return digits if float(digits) or not value else f"{value:+.0e}"


def number(value: float, scale: float | None = None) -> str:
    """Return a number with its sign and the digits of its scale (:func:`signed`), as pages show it.

    Small numbers keep one digit, and those below a thousandth of the scale are ``≈ 0``, so that readers of a page meet
    no powers of ten.
    """
    if not value:
        return "0"
    written = signed(value, scale)
    if scale and "e" in written and 1e-4 <= scale < 1e6:
        if abs(value) < scale / 1000:
            return "≈ 0"
        written = f"{value:+.{-math.floor(math.log10(abs(value)))}f}"
    return written.replace("-", "\u2212")


def rewriting(e: Explanation) -> str:
    """Return a sentence that says so if the tokenizer rewrites words of the text; empty if not."""
    return _REWRITTEN if e.reading.get("spans") == "words" else ""


def exactness(books: Ledger) -> str:
    """Return a sentence on how exact the relevances of the words are; empty if they are exact."""
    off, dtype = books.exactness, books.precision
    if off < _WORTH_SAYING:
        return ""
    said = f"exact to about {100 * off:.0f} %"
    if off >= 1:
        said = "not exact: rounding changes them by as much as they hold"
    finer = f"; load the model in {_FINER[dtype]} for exact ones" if dtype in _FINER else ""
    return f"In {dtype} the words are {said}{finer}."


def named(name: str) -> str:
    """Return the name of a label or a model on one line, cut if it is very long."""
    line = printable(name, "\n\t").replace("\n", " ").replace("\t", " ")
    return line if len(line) <= 60 else line[:57] + "..."


def shown(text: str) -> str:
    """Return a text as a page shows it: control characters are replaced by their pictures, newlines and tabs stay.

    Characters that change the direction of writing stay, since pages isolate foreign text. Terminals need
    :func:`printable`.
    """
    text = text.replace("\r\n", "\n")
    return "".join(char if char.isprintable() else _picture(char) for char in text)


def _picture(char: str) -> str:
    code = ord(char)
    if char in "\n\t":
        return char
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return "\ufffd" if code < 0xA0 or 0xD800 <= code < 0xE000 else char
