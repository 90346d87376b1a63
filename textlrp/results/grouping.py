"""Scored tokens by word and by sentence, for explanations and other attributions."""

from __future__ import annotations

from collections.abc import Sequence

from textlrp.basics.lazy import lazy
from textlrp.basics.options import brief
from textlrp.errors import InputError
from textlrp.results import segmentation
from textlrp.results.spans import TEXT, TEXT_PAIR, Span, gather, read_range

#: The units that a text can be shown by.
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
        """One span for each word, punctuation mark and stretch of white space (UAX #29); no special tokens.

        The spans tile the part of the text that was read, and their relevance adds up to that of the tokens (in an
        explanation, to the ledger's row ``tokens``).
        """
        return self._gathered("word")

    @lazy
    def sentences(self) -> tuple[Span, ...]:
        """One span for each sentence, with the white space behind it (UAX #29); otherwise as :attr:`words`."""
        return self._gathered("sentence")

    def units(self, by: str) -> tuple[Span, ...]:
        """Return the spans of the text by ``"token"``, ``"word"`` or ``"sentence"``.

        Raises:
            InputError: ``by`` is another word.
        """
        if not isinstance(by, str) or by not in UNITS:
            raise InputError(f"a text is shown by {', '.join(UNITS)}, not by {brief(by)}")
        if by == "token":
            return self.tokens
        return self.words if by == "word" else self.sentences

    @property
    def texts(self) -> tuple[tuple[str, str, tuple[int, int] | None], ...]:
        """The text, or both of a pair: for each its name in spans (``source``), the text, and its unread characters."""
        first = (TEXT, self.text, self.truncated)
        return (first,) if self.text_pair is None else (first, (TEXT_PAIR, self.text_pair, self.truncated_pair))

    def _gathered(self, unit: str) -> tuple[Span, ...]:
        gathered: list[Span] = []
        for source, text, truncated in self.texts:
            tokens = [span for span in self.tokens if span.source == source]
            gathered += gather(tokens, text, source, read_range(text, truncated), self._boundaries(source, text, unit))
        return tuple(gathered)

    def _boundaries(self, source: str, text: str, unit: str) -> Sequence[int]:
        return segmentation.words(text) if unit == "word" else segmentation.sentences(text)
