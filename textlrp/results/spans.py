"""A piece of text with its relevance. Offsets count characters (code points) of the original text."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from textlrp.results.saved import Fields, plain

TEXT, TEXT_PAIR = "text", "text_pair"

# The types of a span's values in JSON.
_TYPES = {"start": int, "end": int, "text": str, "relevance": float, "special": bool, "piece": str, "source": str}


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of text and its relevance.

    Attributes:
        start, end: half-open character range in its text; a special token has ``start == end``.
        text: exactly the characters ``[start, end)`` of that text.
        relevance: the share of the explained logit, in logit units; positive speaks for the target.
        special: whether the model's tokenizer added it (``[CLS]``, ``</s>``, ...).
        piece: the tokenizer's own symbol (``##ing``, ``[CLS]``); empty unless the span is a single token.
        source: its text: ``"text"``, or ``"text_pair"`` for the second text of a pair.
    """

    start: int
    end: int
    text: str
    relevance: float
    special: bool = False
    piece: str = ""
    source: str = TEXT

    def to_dict(self) -> dict[str, Any]:
        """Return the span as JSON-ready values."""
        return {
            "start": plain(self.start),
            "end": plain(self.end),
            "text": self.text,
            "relevance": plain(self.relevance),
            "special": self.special,
            "piece": self.piece,
            "source": self.source,
        }

    @classmethod
    def from_dict(cls, values: object, where: str = "a span") -> Span:
        """Rebuild a span from :meth:`to_dict`; messages call it ``where``.

        Raises:
            InputError: the values are not a span.
        """
        if type(values) is dict and all(type(value) is _TYPES.get(key) for key, value in values.items()):
            try:
                span = cls(**values)
                if 0 <= span.start <= span.end and math.isfinite(span.relevance):
                    return span
            except TypeError:  # a value is missing
                pass
        # Only faulty values are read one by one, for the message: there are many spans.
        fields = Fields(values, where)
        start = fields.whole("start", 0)
        span = cls(
            start,
            fields.whole("end", start),
            fields.text("text"),
            fields.number("relevance"),
            fields.flag("special", False),
            fields.text("piece", ""),
            fields.text("source", TEXT),
        )
        fields.end()
        return span


def read_range(text: str, truncated: tuple[int, int] | None) -> tuple[int, int]:
    """Return the characters ``[start, end)`` that a model read, given the unread ones."""
    if truncated is None:
        return 0, len(text)
    start, end = truncated
    return (end, len(text)) if start == 0 else (0, start)


def merge_overlaps(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Return text spans in reading order that never overlap, with the same total relevance.

    Byte-level tokenizers split one character into several tokens, all with that character's offsets; a renderer can
    color the character only once. Special and empty spans are left out; all are of one text.
    """
    merged: list[Span] = []
    for span in sorted((s for s in spans if not s.special and s.end > s.start), key=lambda s: (s.start, s.end)):
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            text = last.text + span.text[max(0, last.end - span.start) :]
            merged[-1] = Span(
                last.start, max(last.end, span.end), text, last.relevance + span.relevance, source=last.source
            )
        else:
            merged.append(span)
    return tuple(merged)


def gather(
    tokens: Iterable[Span], text: str, source: str, read: tuple[int, int], boundaries: Sequence[int]
) -> tuple[Span, ...]:
    """Return one span for each stretch between boundaries, with the relevance of the tokens in it.

    The spans tile the part that was read. The relevance of a token across a boundary is divided in proportion to its
    characters on each side, white space not counted; a token without characters belongs to the character at its place.
    Special tokens are left out. The total relevance stays.

    Args:
        tokens: tokens of one text.
        text: that text.
        source: its name in spans.
        read: the characters ``[start, end)`` that the model read.
        boundaries: places in the text in ascending order, as :mod:`textlrp.results.segmentation` returns them.
    """
    ordinary = [span for span in tokens if not span.special]
    # A character whose bytes were cut through is not read as a whole, but has relevance.
    start = min([read[0], *(span.start for span in ordinary)])
    end = max([read[1], *(span.end for span in ordinary)])
    edges = [start, *(at for at in boundaries if start < at < end), end]
    received: list[list[float]] = [[] for _ in edges[1:]]
    last = len(received) - 1
    for span in ordinary:
        first = min(bisect_right(edges, span.start) - 1, last)
        if span.end <= edges[first + 1]:
            received[first].append(span.relevance)
            continue
        shares = []
        for i in range(first, last + 1):
            if edges[i] >= span.end:
                break
            shares.append(_written(text[max(edges[i], span.start) : min(edges[i + 1], span.end)]))
        if not any(shares):
            shares = [1] * len(shares)
        for i, share in enumerate(shares, first):
            received[i].append(span.relevance * share / sum(shares))
    return tuple(
        Span(a, b, text[a:b], math.fsum(values), source=source)
        for (a, b), values in zip(pairwise(edges), received, strict=True)
    )


def _written(text: str) -> int:
    return sum(not char.isspace() for char in text)
