"""The attributes of an explanation, which :mod:`textlrp.results.explanation` saves and shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from textlrp.errors import InputError
from textlrp.results.grouping import Grouped
from textlrp.results.layers import Layer
from textlrp.results.ledger import Ledger
from textlrp.results.prompt import Prompt
from textlrp.results.reference import Reference
from textlrp.results.spans import Span


@dataclass(frozen=True, kw_only=True)
class Contents(Grouped):
    """The attributes of an explanation; :class:`textlrp.Explanation` describes them."""

    text: str
    target: str
    contrast: str | None
    logit: float
    logits: Mapping[str, float]
    probabilities: Mapping[str, float]
    predicted: str
    tokens: tuple[Span, ...]
    ledger: Ledger
    truncated: tuple[int, int] | None = None
    rules: str = "attnlrp"
    model: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    text_pair: str | None = None
    truncated_pair: tuple[int, int] | None = None
    windows: int = 1
    revision: str = ""
    reading: Mapping[str, str | int] = field(default_factory=dict)
    layers: tuple[Layer, ...] = ()
    reference: Reference | None = None
    prompt: Prompt | None = None
    multi_label: bool = False

    @property
    def predicted_labels(self) -> tuple[str, ...]:
        """The labels that the model gives: :attr:`predicted`; of a model that gives several, all whose probability
        reaches one half, which may be none."""
        if not self.multi_label:
            return (self.predicted,)
        return tuple(label for label in self.logits if self.probabilities.get(label, 0.0) >= 0.5)

    #: Whether characters of the text are hidden.
    redacted: ClassVar[bool] = False

    def layer_units(self, layer: Layer, by: str = "word") -> tuple[Span, ...]:
        """Return the spans of the text by ``"token"``, ``"word"`` or ``"sentence"`` with their relevance at a layer.

        Raises:
            InputError: the positions of the layer are not the tokens of the text, or ``by`` is another word.
        """
        if not layer.aligned or len(layer.relevance) != len(self.tokens):
            raise InputError(
                f"the layer {layer.name!r} has {len(layer.relevance)} positions, which are not the {len(self.tokens)} "
                f"tokens of the text"
            )
        tokens = tuple(replace(span, relevance=value) for span, value in zip(self.tokens, layer.relevance, strict=True))
        return replace(self, tokens=tokens, layers=()).units(by)
