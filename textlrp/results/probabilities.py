"""What the probabilities of an explanation are: of labels that exclude each other, or of each label by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textlrp.results.contents import Contents

#: The probability from which on a text has a label, where it may have several.
REACHED = 0.5


def sigmoids(logits: Mapping[str, float]) -> dict[str, float]:
    """Return the probability of each label by itself."""
    return {label: _sigmoid(logit) for label, logit in logits.items()}


def softmax(logits: Mapping[str, float]) -> dict[str, float]:
    """Return the probabilities of labels that exclude each other."""
    highest = max(logits.values())
    powers = {label: math.exp(logit - highest) for label, logit in logits.items()}
    total = math.fsum(powers.values())
    return {label: power / total for label, power in powers.items()}


def independent(e: Contents) -> bool:
    """Return whether each label has a probability of its own, so that a text may have several labels, or none.

    An explanation does not say so, but its logits do: their sigmoids are then the probabilities, and their softmax is
    not.
    """
    if not e.probabilities:
        return False
    by_itself, together = (
        math.fsum(abs(share - expected[label]) for label, share in e.probabilities.items())
        for expected in (sigmoids(e.logits), softmax(e.logits))
    )
    return by_itself < together


def reaches_none(e: Contents) -> bool:
    """Return whether the text may have several labels, and none has a probability of :data:`REACHED`."""
    return max(e.probabilities.values(), default=1.0) < REACHED and independent(e)


def _sigmoid(logit: float) -> float:
    small = math.exp(-abs(logit))
    return (1.0 if logit >= 0 else small) / (1.0 + small)
