"""Visible forms of characters that are invisible or that control a terminal.

Texts, labels, file names and errors are untrusted. In a terminal and in plain text:

- control characters are shown by their pictures (U+2400 to U+2421);
- characters that are invisible or change the direction of writing (bidirectional embeddings, overrides and isolates,
  tags, the soft hyphen, the byte order mark, word joiners, invisible operators, annotation marks, fillers), separators
  of lines and paragraphs, halves of surrogate pairs, private and unassigned characters are shown as escapes:
  ``\\u202e``;
- characters that a script needs stay: joiners (up to three in a row), one variation selector behind a character, the
  signs of Arabic, Syriac and Kaithi that enclose numbers and years, the layout of hieroglyphs; and if the text has
  letters of the script, direction marks (right-to-left scripts), zero-width spaces (scripts without spaces), the
  Mongolian vowel separator, and the controls of shorthand and of music.

Pages have rules of their own (:func:`textlrp.render.format.shown`), since a browser isolates directions. JSON keeps the
text as it is.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import cache
from typing import Any

# Visible format characters: signs of Arabic, Syriac and Kaithi, and the layout of hieroglyphs.
_SEEN = r"\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\U00013430-\U0001343f"
_JOINERS = r"\u200c\u200d"
_SELECTORS = r"\ufe00-\ufe0f\U000e0100-\U000e01ef"
_FILLERS = r"\u3164\uffa0"  # letters without a shape
_UNSEEN = (
    rf"\r\n|[[\p{{C}}\p{{Zl}}\p{{Zp}}{_FILLERS}]--[{_SEEN}{_JOINERS}]]"
    rf"|(?<=[{_JOINERS}]{{3}})[{_JOINERS}]|(?<![^\s{_SELECTORS}])[{_SELECTORS}]"
)

# Characters that stay if the text has a character that needs them.
_NEEDED = {
    "\u200b": r"[\p{Thai}\p{Lao}\p{Khmr}\p{Mymr}\p{Tibt}\p{Java}\p{Bali}\p{Lana}\p{Tavt}\p{Tale}\p{Talu}]",
    **dict.fromkeys("\u061c\u200e\u200f", r"[\p{Bidi_Class=R}\p{Bidi_Class=AL}--\p{Cf}]"),
    "\u180e": r"[\p{Mong}--\p{Cf}]",
    **dict.fromkeys("\U0001bca0\U0001bca1\U0001bca2\U0001bca3", r"[\p{Dupl}--\p{Cf}]"),
    **{chr(code): r"[\U0001d100-\U0001d1ff--\p{Cf}]" for code in range(0x1D173, 0x1D17B)},
}

_HALF_PAIR = re.compile("[\ud800-\udfff]")

#: What stands for each hidden character of a redacted text: a block that leaves the color of a word in sight.
HIDDEN = "\u2584"


def encodable(text: str) -> str:
    """Return a text of the same length that UTF-8 can encode: halves of surrogate pairs become U+FFFD."""
    return _HALF_PAIR.sub("\ufffd", text)


def printable(text: str, keep: str = "") -> str:
    """Return a text with visible forms of its invisible and control characters.

    Args:
        text: any text.
        keep: the line feed, the tab, or both, which then stay.
    """
    return "".join(piece for piece, _ in Printable(text, keep).pieces(0, len(text)))


class Printable:
    """A text that is shown in pieces: the whole text tells which characters its scripts need.

    Args:
        text: the whole text.
        keep: the line feed, the tab, or both, which then stay.
    """

    def __init__(self, text: str, keep: str = "\n\t") -> None:
        self._text = text
        self._replaced = [] if text.isascii() and text.isprintable() else list(_replacements(text, keep))
        self._starts = [start for start, _, _ in self._replaced]

    def pieces(self, start: int, end: int) -> Iterator[tuple[str, bool]]:
        """Yield the pieces to show of the characters ``[start, end)``, each with whether it replaces a character."""
        at = start
        for first, last, shown in self._replaced[bisect_left(self._starts, start) : bisect_left(self._starts, end)]:
            if at < first:
                yield self._text[at:first], False
            if shown:
                yield shown, shown not in ("\n", "\t")
            at = min(last, end)
        if at < end:
            yield self._text[at:end], False


def _replacements(text: str, keep: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and replacement of each character that is not shown as it is."""
    staying = {char for char in _NEEDED if char in text and _compiled(_NEEDED[char]).search(text)}
    for match in _compiled(_UNSEEN).finditer(text):
        char = match.group()
        if char == "\r\n":
            yield match.start(), match.end(), "\n" if "\n" in keep else "\u240d\u240a"
        elif char not in keep and char not in staying:
            yield match.start(), match.end(), _visible(char)


def _visible(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@cache
def _compiled(pattern: str) -> Any:
    import regex  # type: ignore[import-untyped]  # late: to report a wrong option needs no regex

    return regex.compile(pattern, regex.V1)
