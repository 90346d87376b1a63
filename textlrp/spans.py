"""A piece of text with its weight. Offsets count characters (code points) of the text as the user wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of text and the relevance that it carries.

    Attributes:
        start, end: half-open character range in the explained text; a special token has ``start == end``.
        text: exactly ``explained_text[start:end]``.
        relevance: the share of the explained logit, in logit units; positive speaks for the target.
        special: whether the model's tokenizer added it (``[CLS]``, ``</s>``, ...).
        piece: the tokenizer's own symbol (``##ing``, ``[CLS]``), empty where a span is no single token.
    """

    start: int
    end: int
    text: str
    relevance: float
    special: bool = False
    piece: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the span as JSON-ready values."""
        return {
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "relevance": self.relevance,
            "special": self.special,
            "piece": self.piece,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Span:
        """Rebuild a span from :meth:`to_dict`."""
        return cls(**values)


def merge_overlaps(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Return text spans in reading order that never overlap, with the same total relevance.

    Byte-level tokenizers split one character into several tokens, all with that character's offsets; a renderer that
    walks the text can color the character only once. Special and empty spans are left out.
    """
    merged: list[Span] = []
    for span in sorted((s for s in spans if not s.special and s.end > s.start), key=lambda s: (s.start, s.end)):
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            text = last.text + span.text[max(0, last.end - span.start) :]
            merged[-1] = Span(last.start, max(last.end, span.end), text, last.relevance + span.relevance)
        else:
            merged.append(span)
    return tuple(merged)
