"""Statistics of means over documents and their differences: bootstrap intervals, paired permutation tests, Holm.

Everything is seeded: the same values give the same numbers. scipy and statsmodels, which the extra ``evaluate``
contains, compute them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlrp.basics import extras, options
from textlrp.errors import InputError

Array = npt.NDArray[np.float64]

#: The samples of a bootstrap, and the sign choices that a permutation test draws if it cannot try all.
DRAWS = 10_000

#: More draws would take days, and not change the digits that are shown.
MOST = 10_000_000

#: The confidence level of an interval.
LEVEL = 0.95

_BLOCK = 2_000_000  # numbers drawn at once


@dataclass(frozen=True)
class Interval:
    """A mean over documents, its bootstrap interval, and the number of documents."""

    mean: float
    low: float
    high: float
    count: int


def mean_interval(values: Sequence[float], seed: int = 0, draws: int = DRAWS, level: float = LEVEL) -> Interval:
    """Return the mean of a value of some documents, with its bootstrap percentile interval.

    With very few documents the interval is too narrow: with one, it has no width.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3 (the percentile interval).

    Args:
        values: one number for each document, at least one, all finite.
        seed: of the samples, which also depend on the number of documents.
        draws: the number of samples, 2 or more.
        level: the share of them inside the interval.

    Raises:
        InputError: an option is invalid, there are no values, or one is not finite.
        LRPError: scipy is not installed.
    """
    return mean_intervals([values], seed, draws, level)[0]


def mean_intervals(
    columns: Sequence[Sequence[float]], seed: int = 0, draws: int = DRAWS, level: float = LEVEL
) -> tuple[Interval, ...]:
    """Return :func:`mean_interval` of several columns, faster than one after the other.

    Columns of the same length are resampled by the same draws.
    """
    seed, draws = _drawing(seed, draws, 2)
    level = options.real(level, "level is a share of the samples, from 0 to 1", 0, 1)
    arrays = [_checked(column) for column in columns]
    intervals: dict[int, Interval] = {}
    for count in dict.fromkeys(map(len, arrays)):
        chosen = [i for i, array in enumerate(arrays) if len(array) == count]
        together = np.stack([arrays[i] for i in chosen])
        intervals |= zip(chosen, _percentile_intervals(together, seed, draws, level), strict=True)
    return tuple(intervals[i] for i in range(len(arrays)))


def differences(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """Return ``one - other`` for each document, so that an interval can be taken.

    Documents are then drawn in pairs: a document that is easy for both does not widen the interval.

    Raises:
        InputError: one side has more values than the other, or a value is not finite.
    """
    if len(one) != len(other):
        raise InputError(f"{len(one)} values cannot be paired with {len(other)}")
    return [float(difference) for difference in _array(one) - _array(other)]


def paired_p(one: Sequence[float], other: Sequence[float], seed: int = 0, draws: int = DRAWS) -> float:
    """Return the two-sided p of the mean difference of two methods, by flipping signs.

    If the methods did not differ, each document's difference might as well have the other sign. The p is the share of
    all sign choices whose mean is at least as far from zero. If there are more than ``draws`` choices, that many are
    drawn, and the p is ``(1 + as far) / (1 + draws)``, which is never 0. Documents without a difference do not count;
    without any difference, the p is 1.

    Means that differ by at most 1e-9 of the mean absolute difference count as equal (scipy allows for rounding only
    relative to the mean difference, which can be far smaller).

    Source: Fisher 1935, "The Design of Experiments", section 21; Phipson and Smyth 2010 (the estimate of p).

    Args:
        one, other: a number for each document, the same documents in the same order, at least one.
        seed: of the drawn signs, which also depend on the number of documents.
        draws: the most sign choices to try.

    Raises:
        InputError: see :func:`differences` and :func:`mean_interval`.
        LRPError: scipy is not installed.
    """
    seed, draws = _drawing(seed, draws, 1)
    nonzero = _checked(differences(one, other))
    nonzero = nonzero[nonzero != 0]  # flipping the sign of 0 changes nothing
    count = len(nonzero)
    if count < 2:  # a single difference is as far from zero with either sign
        return 1.0
    least = abs(nonzero.sum()) - 1e-9 * np.abs(nonzero).sum()

    def as_far(signed: Array, axis: int) -> Array:
        return np.where(np.abs(signed.sum(axis)) >= least, 1.0, 0.0)

    def flipped(size: tuple[int, int]) -> Array:
        return np.where(generator.integers(0, 2, size, dtype=np.int8), -nonzero, nonzero)

    stats = extras.load("scipy.stats", "evaluate", "a paired test")
    generator = np.random.default_rng((seed, count))
    settings: dict[str, Any] = {"n_resamples": draws, "batch": _rows(count), "vectorized": True}
    settings["alternative"] = "greater"
    if 2**count <= draws:
        return float(stats.permutation_test((nonzero,), as_far, permutation_type="samples", **settings).pvalue)
    # permutation_test draws signs, too, but takes ten times as long.
    return float(stats.monte_carlo_test(nonzero, flipped, as_far, **settings).pvalue)


def holm(values: Sequence[float]) -> tuple[float, ...]:
    """Return the p of several comparisons, corrected for their number, in the same order.

    Of m comparisons, the smallest p is multiplied by m, the next by m - 1, and so on; none becomes smaller than the one
    before it, or larger than 1. If no methods differ, some p is at most 0.05 in at most 5 % of tables.

    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".

    Raises:
        LRPError: statsmodels is not installed.
    """
    if not values:
        return ()
    multitest = extras.load("statsmodels.stats.multitest", "evaluate", "Holm's correction")
    return tuple(map(float, multitest.multipletests(values, method="holm")[1]))


def _percentile_intervals(columns: Array, seed: int, draws: int, level: float) -> list[Interval]:
    """Return the interval of each row of ``[columns, documents]``."""
    count = columns.shape[1]
    averages = columns.mean(1)
    lows, highs = averages, averages
    if count > 1:  # scipy refuses a single document
        stats = extras.load("scipy.stats", "evaluate", "a bootstrap interval")

        def means(places: npt.NDArray[np.int64], axis: int) -> Array:
            """Return the mean of each column over drawn documents ``[draws, documents]``, by counting the draws."""
            rows = len(places)
            flat = (places + count * np.arange(rows)[:, None]).ravel()
            counts = np.bincount(flat, minlength=rows * count).reshape(rows, count).astype(np.float64)
            return columns @ counts.T / count

        with np.errstate(over="ignore"):  # the standard error of very large values, which is not used
            lows, highs = stats.bootstrap(
                (np.arange(count),),
                means,
                n_resamples=draws,
                batch=_rows(count),
                confidence_level=level,
                method="percentile",
                rng=np.random.default_rng((seed, count)),
            ).confidence_interval
    # Rounding must not put the mean of equal values outside its interval.
    return [
        Interval(float(mean), min(float(low), float(mean)), max(float(high), float(mean)), count)
        for mean, low, high in zip(averages, lows, highs, strict=True)
    ]


def _rows(count: int) -> int:
    return max(1, _BLOCK // count)


def _checked(values: Sequence[float]) -> Array:
    array = _array(values)
    if not array.size:
        raise InputError("there are no values, so there is no mean")
    with np.errstate(over="ignore"):
        if not np.isfinite(len(array) * np.abs(array).max()):
            raise InputError("the values are so large that their sum is infinite")
    return array


def _array(values: Sequence[float]) -> Array:
    numbers = [options.as_real(value) for value in values]
    if None in numbers:
        raise InputError("a value is not finite, so there is no mean")
    return np.asarray(numbers, dtype=np.float64)


def _drawing(seed: int, draws: int, least: int) -> tuple[int, int]:
    """Return the seed and the number of samples, checked."""
    seed = options.whole(seed, "seed is a whole number, 0 or more", 0)
    return seed, options.whole(draws, f"draws is a number of samples from {least} to {MOST:,}", least, MOST)
