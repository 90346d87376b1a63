"""The measures of faithfulness, computed from a model's outputs for perturbed texts. Needs no torch."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from textlrp.basics import extras

#: The shares of a text, in percent, at which comprehensiveness and sufficiency are taken (DeYoung et al. 2020).
BINS = (1, 5, 10, 20, 50)

#: A change of the logit, or a spread of values, below this share of it is rounding.
ROUNDING = 1e-6


@dataclass(frozen=True)
class PerturbationCurve:
    """The outputs of a model as more and more of a text is perturbed.

    Attributes:
        shares: the share of the text's units that is perturbed, rising from 0 to 1.
        logits: the target's logit at each share.
        probabilities: the target's probability at each share; empty for regression.
    """

    shares: tuple[float, ...]
    logits: tuple[float, ...]
    probabilities: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the curve as JSON-ready values."""
        return {
            "shares": list(self.shares),
            "logits": list(self.logits),
            "probabilities": list(self.probabilities),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PerturbationCurve:
        """Rebuild a curve from :meth:`to_dict`."""
        return cls(**{key: tuple(numbers) for key, numbers in values.items()})


def order(relevances: Sequence[float], seed: str) -> tuple[int, ...]:
    """Return the indices of the relevances, the highest first; ties are in random order, the same for the same seed.

    Breaking ties by position would favor texts that begin (or end) with the important words.
    """
    places = list(range(len(relevances)))
    random.Random(seed).shuffle(places)
    return tuple(sorted(places, key=lambda i: -relevances[i]))


def counts(size: int, steps: int) -> tuple[int, ...]:
    """Return how many of ``size`` units are perturbed at each step, from 0 to all: one more each time, or evenly spread
    over ``steps`` steps if there are more units."""
    number = min(size, steps)
    return tuple((2 * i * size + number) // (2 * number) for i in range(number + 1))


def at_percent(size: int, percent: int) -> int:
    """Return how many of ``size`` units are that many percent, rounded up: at least one."""
    return max(1, -(-size * percent // 100))


def area(morf: Sequence[float], lerf: Sequence[float], shares: Sequence[float]) -> float:
    """Return the area between two perturbation curves; more is better, and random relevance gets zero on average.

    ``A = integral of (LeRF(x) - MoRF(x)) dx`` over the perturbed share x from 0 to 1, with straight lines between the
    steps; for equal steps, ``A = 1/S sum_(k=1)^(S-1) (LeRF_k - MoRF_k)``, the mean difference, in the unit of the
    curves. x is a share rather than a count, so that short and long texts compare; a text of one unit gets 0.

    Source: Samek et al. 2017, "Evaluating the Visualization of What a Deep Neural Network Has Learned": the curves, and
    the area between them (appendix, "ABPC"). There it is a mean over the steps from 0 to L, both ends included, where
    the curves meet: ``S / (S + 1)`` of this one, which would make texts of few units look worse.

    Args:
        morf: the logit (or probability) as the most relevant units are perturbed first.
        lerf: the same for the least relevant ones.
        shares: the share of units perturbed at each step, for both curves.
    """
    gaps = [low - high for low, high in zip(lerf, morf, strict=True)]
    return math.fsum(
        (one + other) / 2 * (after - before)
        for (one, other), (before, after) in zip(pairwise(gaps), pairwise(shares), strict=True)
    )


def kendall(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Kendall's tau-b of two rankings, -1 to 1: how many pairs they put in the same order.

    ``tau_b = (C - D) / sqrt((P - T_1) (P - T_2))``, with C concordant and D discordant of P pairs, and T_1 and T_2
    pairs tied on the first and second side.

    Source: Kendall 1945, "The Treatment of Ties in Ranking Problems".

    Args:
        one, other: the values of both sides, none of them NaN.

    Returns:
        None if all values of a side are equal, or there are fewer than two (scipy, which computes it, returns NaN
        there).

    Raises:
        LRPError: scipy is not installed.
    """
    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    stats = extras.load("scipy.stats", "evaluate", "Kendall's tau")
    return float(stats.kendalltau(one, other, variant="b").statistic)


def infidelity(expected: Sequence[float], observed: Sequence[float]) -> float:
    """Return the infidelity: ``mean((I . R - (f(x) - f(x_I)))^2)``, in squared logits; less is better, 0 is perfect.

    ``I . R`` is the relevance of the perturbed units, and the bracket the resulting fall of the logit.

    Source: Yeh et al. 2019, "On the (In)fidelity and Sensitivity of Explanations", definition 2.1, with a removal to a
    reference value as the perturbation: relevance is in logits, so its sum stands for the product of gradient and
    change.

    Args:
        expected: for each random perturbation, the sum of the perturbed units' relevance.
        observed: for each, the fall of the logit.
    """
    return math.fsum((a - b) ** 2 for a, b in zip(expected, observed, strict=True)) / len(expected)


def scaled_infidelity(expected: Sequence[float], observed: Sequence[float]) -> float | None:
    """Return the infidelity at the best positive scale of the relevance, as a share of the change: 0 (perfect) to 1.

    ``min_(b >= 0) mean((b I . R - d)^2) / mean(d^2)`` with ``d = f(x) - f(x_I)``, so that methods whose scores are not
    in logits (attention, norms of gradients) can be compared. A negative scale would reward scores of the wrong sign.
    If the logit falls with the number of perturbed units, whichever they are, a constant score gets well below 1:
    compare with that number, not with 1.

    Source: Yeh et al. 2019, whose published code allows a scale of any sign and has no denominator (captum:
    ``normalize=True``).

    Returns:
        None if no perturbation changes the logit.
    """
    size = math.fsum(b * b for b in observed)
    if not size:
        return None
    length = math.fsum(a * a for a in expected)
    common = max(0.0, math.fsum(a * b for a, b in zip(expected, observed, strict=True)))
    # Rounding must not make a perfect score negative.
    return max(0.0, 1 - common * common / (length * size)) if length * size else 1.0


def shapley_values(logits: Sequence[float]) -> list[float]:
    """Return the exact Shapley value of each of n units; they add up to the logit less that of the empty text.

    ``phi_i = sum_R |R|! (n - |R| - 1)! / n! (f(x without R) - f(x without R and i))`` over all sets ``R`` of other
    units.

    Source: Shapley 1953, "A Value for n-Person Games".

    Args:
        logits: ``[2^n]``, that of the text without each set of its units: unit ``i`` is removed where bit ``i`` of the
            index is set.
    """
    count = len(logits).bit_length() - 1
    weights = [1 / (count * math.comb(count - 1, others)) for others in range(count)]
    return [
        math.fsum(
            weights[removed.bit_count()] * (logits[removed] - logits[removed | 1 << unit])
            for removed in range(len(logits))
            if not removed >> unit & 1
        )
        for unit in range(count)
    ]


def pearson(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Pearson's correlation, -1 to 1, or None if the values of a side do not differ by more than rounding."""
    if any(max(side) - min(side) <= ROUNDING * max(map(abs, side)) for side in (one, other)):
        return None
    return statistics.correlation(one, other)


def completeness(relevances: Sequence[float], logit: float, empty_logit: float) -> float | None:
    """Return the share of the logit's change, as all units are perturbed, that the relevances add up to; 1 is whole.

    Source: Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks", the axiom of completeness.

    Returns:
        None if that change is no more than rounding.
    """
    change = logit - empty_logit
    return None if abs(change) <= ROUNDING * abs(logit) else math.fsum(relevances) / change


def sample(size: int, number: int, seed: str) -> tuple[int, ...]:
    """Return the indices of at most ``number`` of ``size`` units: all, or a random sample, in order."""
    return tuple(sorted(random.Random(seed).sample(range(size), min(size, number))))


def draws(size: int, number: int, seed: str) -> list[frozenset[int]]:
    """Return random sets of units to perturb: a size from 1 to all, each as likely, and then that many units.

    A coin toss for each unit would give long texts only sets of about half of their units.
    """
    generator = random.Random(seed)
    return [frozenset(generator.sample(range(size), generator.randint(1, size))) for _ in range(number)]
