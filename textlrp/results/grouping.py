"""Scored tokens by word and by sentence: what explanations and other attributions have in common."""

from __future__ import annotations

from collections.abc import Callable

from textlrp.basics.lazy import lazy
from textlrp.basics.options import brief
from textlrp.errors import InputError
from textlrp.results import segmentation
from textlrp.results.spans import TEXT, TEXT_PAIR, Span, gather, read_range

#: What a text can be shown by.
UNITS = ("token", "word", "sentence")


class Grouped:
    """A text, or a pair, with one scored span for each id that a model read, gathered into words and sentences."""

    text: str
    text_pair: str | None
    tokens: tuple[Span, ...]
    truncated: tuple[int, int] | None
    truncated_pair: tuple[int, int] | None

    @lazy
    def words(self) -> tuple[Span, ...]:
        """What was read as words, one span each, punctuation and white space too (UAX #29); special tokens left out.

        The spans tile what was read, and their relevance adds up to that of the tokens (in an explanation, to the
        ledger's row ``tokens``).
        """
        return self._gathered(segmentation.words)

    @lazy
    def sentences(self) -> tuple[Span, ...]:
        """What was read as sentences, with the white space behind each (UAX #29); special tokens left out.

        The spans tile what was read, and their relevance adds up to that of the tokens (in an explanation, to the
        ledger's row ``tokens``).
        """
        return self._gathered(segmentation.sentences)

    def units(self, by: str) -> tuple[Span, ...]:
        """Return the spans of the text by ``"token"``, ``"word"`` or ``"sentence"``.

        Raises:
            InputError: ``by`` is none of them.
        """
        if not isinstance(by, str) or by not in UNITS:
            raise InputError(f"a text is shown by {', '.join(UNITS)}, not by {brief(by)}")
        if by == "token":
            return self.tokens
        return self.words if by == "word" else self.sentences

    @property
    def texts(self) -> tuple[tuple[str, str, tuple[int, int] | None], ...]:
        """Each text with what a span calls it (``source``) and what of it was not read: one, or two of a pair."""
        first = (TEXT, self.text, self.truncated)
        return (first,) if self.text_pair is None else (first, (TEXT_PAIR, self.text_pair, self.truncated_pair))

    def _gathered(self, boundaries: Callable[[str], list[int]]) -> tuple[Span, ...]:
        gathered: list[Span] = []
        for source, text, truncated in self.texts:
            tokens = [span for span in self.tokens if span.source == source]
            gathered += gather(tokens, text, source, read_range(text, truncated), boundaries(text))
        return tuple(gathered)
