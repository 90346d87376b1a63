"""The scores of the tokens of a text by any method, with their cost. It needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from textlrp.results.grouping import Grouped
from textlrp.results.spans import Span


@dataclass(frozen=True)
class Attribution(Grouped):
    """How much each token of a text speaks for a label, according to a method.

    Attributes:
        text: the original text.
        target: the label that the scores are for.
        contrast: the label that the target is compared with, or None.
        method: the name of the method, such as ``"occlusion"``, ``"integrated-gradients:50"`` or ``"attnlrp"``.
        tokens: one span for each id that the model read, special tokens included; ``relevance`` is the method's score,
            in the method's own unit.
        logit: the explained logit (or difference of logits) of the plain model.
        forwards: the cost in forward passes of this one text: a backward pass counts 2, an explanation 3.
        seconds: the cost in seconds.
        text_pair: the second text of a pair, or None.
        truncated: the characters ``[start, end)`` of the text that the model did not read, or None.
        truncated_pair: the same for the second text.
        reference_logits: the explained logit of each reference that difference rules measured from; empty for other
            methods.
    """

    text: str
    target: str
    contrast: str | None
    method: str
    tokens: tuple[Span, ...]
    logit: float
    forwards: float
    seconds: float
    text_pair: str | None = None
    truncated: tuple[int, int] | None = None
    truncated_pair: tuple[int, int] | None = None
    reference_logits: tuple[float, ...] = ()
