"""The words around a text: of a prompt, or of a hypothesis that it is tested for. It needs no torch."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from textlrp.results.saved import Fields
from textlrp.results.segmentation import words
from textlrp.results.spans import Span, gather

#: What stands in a prompt for the text, and for the second text of a pair.
FIELDS = ("{text}", "{text_pair}")
FIELD = re.compile(f"({'|'.join(map(re.escape, FIELDS))})")

#: The ``source`` of the spans of a prompt.
SOURCE = "prompt"


@dataclass(frozen=True)
class Prompt:
    """What a model read around a text, the same for every text, with its relevance.

    Attributes:
        text: the words, with ``{text}`` where the text stands; several hypotheses have a line each.
        tokens: one span for each id, whose characters are those of :attr:`text`.
    """

    text: str
    tokens: tuple[Span, ...]

    @property
    def words(self) -> tuple[Span, ...]:
        """The words, with the relevance of their tokens; they tile :attr:`text`, and a field is one word."""
        inside = {at for field in FIELD.finditer(self.text) for at in range(field.start() + 1, field.end())}
        boundaries = [at for at in words(self.text) if at not in inside]
        return gather(self.tokens, self.text, SOURCE, (0, len(self.text)), boundaries)

    @property
    def relevance(self) -> float:
        """The sum of the relevances: the ledger's row ``prompt``."""
        return math.fsum(span.relevance for span in self.tokens)

    def to_dict(self) -> dict[str, Any]:
        """Return the prompt as JSON-ready values."""
        return {"text": self.text, "tokens": [span.to_dict() for span in self.tokens]}

    @classmethod
    def from_dict(cls, values: object, where: str = "the prompt") -> Prompt:
        """Rebuild a prompt from :meth:`to_dict`; messages call it ``where``.

        Raises:
            InputError: the values are not a prompt.
        """
        fields = Fields(values, where)
        tokens = tuple(Span.from_dict(span, f"{where}.tokens[{i}]") for i, span in enumerate(fields.list("tokens")))
        prompt = cls(fields.text("text"), tokens)
        fields.end()
        return prompt
