"""How sure a mean over documents is, and a difference of two: bootstrap intervals, paired permutation tests, Holm.

Everything is seeded: the same values give the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from textlrp.basics import options
from textlrp.errors import InputError

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.uint16]

#: How many samples a bootstrap draws, and how many signs a permutation test, where it cannot try all.
DRAWS = 10_000

#: More would take days, and change no digit that is shown.
MOST = 10_000_000

#: The share of repeated samples whose interval covers the mean.
LEVEL = 0.95

_KEPT = 50_000_000  # numbers of one set of samples that are kept for the next mean over as many documents
_BLOCK = 2_000_000  # numbers that are drawn at once


@dataclass(frozen=True)
class Interval:
    """A mean over documents with its bootstrap interval, and how many documents there were."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is on one side of the interval."""
        return self.low > 0 or self.high < 0


def mean_interval(values: Sequence[float], seed: int = 0, draws: int = DRAWS, level: float = LEVEL) -> Interval:
    """Return the mean of some documents' values with its percentile interval over samples with replacement.

    Means over the same number of documents are taken over the same samples. With very few documents the interval is
    too narrow: that of a single one has no width.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3 (the percentile interval).

    Args:
        values: one number for each document, at least one, all finite.
        seed: what the samples depend on, with the number of documents.
        draws: how many samples are drawn.
        level: the share of them that the interval holds.

    Raises:
        InputError: an option cannot be used as given, there are no values, or one is not finite.
    """
    array = _checked(values)
    seed, draws = _drawing(seed, draws)
    level = options.real(level, "level is a share of the samples, from 0 to 1", 0, 1)
    with np.errstate(over="ignore", invalid="ignore"):
        means = np.concatenate([counts @ array for counts in _samples(len(array), seed, draws)]) / len(array)
    if not np.isfinite(means).all():
        raise InputError("the values are so large that their sum is infinite")
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    mean = float(array.mean())
    # Rounding must not put the mean of equal values outside.
    return Interval(mean, min(float(low), mean), max(float(high), mean), len(array))


def difference_interval(
    one: Sequence[float], other: Sequence[float], seed: int = 0, draws: int = DRAWS, level: float = LEVEL
) -> Interval:
    """Return the mean of ``one - other`` on the same documents, in the same order, with its interval.

    Documents are drawn in pairs, so that what makes a document easy for both does not widen the interval.

    Raises:
        InputError: as :func:`mean_interval`, or one side has more values than the other.
    """
    return mean_interval(_differences(one, other).tolist(), seed, draws, level)


def paired_p(one: Sequence[float], other: Sequence[float], seed: int = 0, draws: int = DRAWS) -> float:
    """Return how often a mean difference as large as that of two methods comes by chance: a two-sided p.

    If the methods did not differ, each document's difference might as well have the other sign. The p is the share of
    all choices of signs whose mean is at least as far from zero; where there are more than ``draws`` choices, that many
    are drawn, and the p is ``(1 + as far) / (1 + draws)``, which never says 0.

    Source: Fisher 1935, "The Design of Experiments", section 21; Phipson and Smyth 2010 (the estimate of p).

    Args:
        one, other: a number for each document, the same documents in the same order, at least one.
        seed: what the drawn signs depend on, with the number of documents.
        draws: the most choices of signs that are tried.

    Raises:
        InputError: as :func:`difference_interval`.
    """
    seed, draws = _drawing(seed, draws)
    differences = _checked(_differences(one, other).tolist())
    differences = differences[differences != 0]  # their sign changes nothing
    count = len(differences)
    if not count:
        return 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        observed, size = abs(float(differences.sum())), float(np.abs(differences).sum())
    if not np.isfinite(size):
        raise InputError("the values are so large that their sum is infinite")
    # Sums in another order differ by rounding: equal ones must count as equal.
    least = observed - 1e-9 * size
    if 2**count <= draws:
        signs = 1.0 - 2.0 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return float(np.mean(np.abs(signs @ differences) >= least))
    generator = np.random.default_rng((seed, count))
    far = 0
    for start in range(0, draws, _rows(count)):
        rows = min(_rows(count), draws - start)
        signs = 1.0 - 2.0 * generator.integers(0, 2, (rows, count), dtype=np.int8)
        far += int(np.sum(np.abs(signs @ differences) >= least))
    return (1 + far) / (1 + draws)


def holm(values: Sequence[float]) -> tuple[float, ...]:
    """Return the p of several comparisons, each corrected for all of them, in order.

    Of m comparisons, the smallest p counts m times, the next m - 1 times, and so on; none is smaller than one before
    it, or larger than 1. If no method differs from any other, one of the results is at most 0.05 in 5 % of the tables.

    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
    """
    order = sorted(range(len(values)), key=lambda i: values[i])
    corrected = [0.0] * len(values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[i]))
        corrected[i] = largest
    return tuple(corrected)


def _samples(count: int, seed: int, draws: int) -> Iterator[Counts]:
    """Yield blocks of samples with replacement: how often each document is in each, ``[samples, documents]``."""
    if count * draws <= _KEPT:
        kept = _kept(count, seed, draws)
        yield from (kept[start : start + _rows(count)] for start in range(0, draws, _rows(count)))
    else:
        yield from _drawn(count, seed, draws)


@lru_cache(maxsize=2)
def _kept(count: int, seed: int, draws: int) -> Counts:
    return np.concatenate(list(_drawn(count, seed, draws)))


def _drawn(count: int, seed: int, draws: int) -> Iterator[Counts]:
    generator = np.random.default_rng((seed, count))
    for start in range(0, draws, _rows(count)):
        rows = min(_rows(count), draws - start)
        chosen = generator.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(chosen.ravel(), minlength=rows * count).reshape(rows, count).astype(np.uint16)


def _rows(count: int) -> int:
    return max(1, _BLOCK // count)


def _differences(one: Sequence[float], other: Sequence[float]) -> Array:
    if len(one) != len(other):
        raise InputError(f"{len(one)} values cannot be paired with {len(other)}")
    return _array(one) - _array(other)


def _checked(values: Sequence[float]) -> Array:
    array = _array(values)
    if not array.size:
        raise InputError("there are no values, so there is no mean")
    return array


def _array(values: Sequence[float]) -> Array:
    numbers = [options.as_real(value) for value in values]
    if None in numbers:
        raise InputError("a value is not finite, so there is no mean")
    return np.asarray(numbers, dtype=np.float64)


def _drawing(seed: int, draws: int) -> tuple[int, int]:
    """Return what samples depend on, and how many there are, checked."""
    seed = options.whole(seed, "seed is a whole number, 0 or more", 0)
    return seed, options.whole(draws, f"draws is a number of samples from 1 to {MOST:,}", 1, MOST)
