"""How texts become what a model reads. A classifier has one reader, which also puts texts into batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from textlrp.text.batch import Batch, pad
from textlrp.text.encoding import Encoding, encode


class Reader(Protocol):
    """Turns texts into ids, with the characters of each, and several of them into a batch."""

    @property
    def pads(self) -> bool:
        """Whether texts of different lengths can share a batch."""

    @property
    def runs(self) -> int:
        """The number of runs in which the model reads a text."""

    def encode(self, text: str, limit: int | None, text_pair: str | None) -> Encoding:
        """Return a text or a pair as the model reads it, cut at ``limit`` ids."""

    def pad(self, encodings: Sequence[Encoding]) -> Batch:
        """Put texts into one batch."""


class TokenizerReader:
    """Reads texts as their tokenizer does: alone, or in pairs.

    Args:
        tokenizer: the tokenizer.
    """

    runs = 1

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    @property
    def pads(self) -> bool:
        """Whether the tokenizer has a padding token."""
        return getattr(self.tokenizer, "pad_token_id", None) is not None

    def encode(self, text: str, limit: int | None, text_pair: str | None) -> Encoding:
        """Return a text or a pair; :func:`textlrp.text.encoding.encode` raises."""
        return encode(self.tokenizer, text, limit, text_pair)

    def pad(self, encodings: Sequence[Encoding]) -> Batch:
        """Put texts into one batch; :func:`textlrp.text.encoding.pad` raises."""
        return pad(self.tokenizer, encodings)
