"""Intervals of agreement: percentiles of the bootstrap over documents (Efron and Tibshirani 1993, chapter 13)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textlrp.annotate.document import MarkedDocument

Interval = tuple[float, float]
#: Returns the distance of two labels, 0 to 1.
Distance = Callable[[Any, Any], float]

#: How often documents are drawn with replacement, and the seed of the drawing.
DRAWS, SEED = 1000, 0
_LEVELS = (2.5, 97.5)
_DEFINED = 0.95  # the share of draws that must have a number


@dataclass(frozen=True)
class IntervalRow:
    """The 95 % interval of a number.

    Attributes:
        measure: ``"alpha"``, ``"kappa"``, ``"token F1"`` of people, or ``"model token F1"``.
        annotators: whose; empty for all.
        low, high: the ends.
    """

    measure: str
    annotators: tuple[str, ...]
    low: float
    high: float


def intervals(
    right: Mapping[str, Mapping[str, Hashable]],
    documents: Sequence[MarkedDocument],
    views: Sequence[MarkedDocument],
    distance: Distance | None,
) -> tuple[IntervalRow, ...]:
    """Return the intervals of a comparison, of those numbers that have one.

    Args:
        right: for each annotator, the right label, or the set of them, by document.
        documents: the documents with marks.
        views: the same for each label that is compared with the model.
        distance: of two sets of labels; None for single labels, which have kappa, too.
    """
    names, rows = list(right), list[tuple[str, tuple[str, ...], Interval | None]]()
    rows.append(("alpha", (), of_alpha(list(right.values()), distance)))
    for one, other in combinations(names, 2):
        if distance is None:
            rows.append(("kappa", (one, other), of_kappa(right[one], right[other])))
        pairs = [document.pair(one, other) for document in documents]
        rows.append(("token F1", (one, other), of_mean([[pair[2]] for pair in pairs if pair is not None])))
    for name in names:
        f1: dict[str, list[float]] = {}
        for view in views:
            if name in view.scores:
                f1.setdefault(view.document.id, []).append(view.scores[name].model.token_f1)
        rows.append(("model token F1", (name,), of_mean(list(f1.values()))))
    return tuple(IntervalRow(measure, people, *ends) for measure, people, ends in rows if ends is not None)


def of_mean(values: Sequence[Sequence[float]]) -> Interval | None:
    """Return the 95 % interval of the mean of all values; None with fewer than two documents.

    Args:
        values: for each document, its values, one or several.
    """
    if len(values) < 2:
        return None
    drawn = _draws(len(values))
    sums, counts = (np.array([function(each) for each in values], dtype=float) for function in (sum, len))
    return _interval(drawn @ sums / (drawn @ counts))


def of_alpha(annotators: Sequence[Mapping[str, Hashable]], distance: Distance | None = None) -> Interval | None:
    """Return the 95 % interval of Krippendorff's alpha (:func:`textlrp.evaluate.agreement.alpha`).

    Draws in which alpha is not defined, because all labels are the same, are left out; it is None if these are many.

    Args:
        annotators: for each annotator, the label by document.
        distance: of two labels; default: 0 for equal ones, else 1.

    Returns:
        None with fewer than two documents that have two labels or more, or fewer than two different labels.
    """
    documents = sorted({document for given in annotators for document in given})
    listed = [[given[document] for given in annotators if document in given] for document in documents]
    listed = [labels for labels in listed if len(labels) > 1]
    kinds = list(dict.fromkeys(label for labels in listed for label in labels))
    if len(listed) < 2 or len(kinds) < 2:
        return None
    counts = np.array([[labels.count(kind) for kind in kinds] for labels in listed], dtype=float)
    between = distance or (lambda one, other: float(one != other))
    apart = np.array([[between(one, other) for other in kinds] for one in kinds])
    sizes = counts.sum(1)
    observed = np.einsum("dk,kl,dl->d", counts, apart, counts) / (sizes - 1)
    drawn = _draws(len(listed))
    totals, number = drawn @ counts, drawn @ sizes
    expected = np.einsum("bk,kl,bl->b", totals, apart, totals)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _interval(1 - (number - 1) * (drawn @ observed) / expected)


def of_kappa(one: Mapping[str, Hashable], other: Mapping[str, Hashable]) -> Interval | None:
    """Return the 95 % interval of Cohen's kappa (:func:`textlrp.evaluate.agreement.kappa`).

    It is None where that of alpha is. Draws in which kappa is not defined are left out.
    """
    documents = sorted(set(one) & set(other))
    kinds = list(dict.fromkeys([*one.values(), *other.values()]))
    if len(documents) < 2 or len({label for given in (one, other) for d in documents for label in [given[d]]}) < 2:
        return None
    first, second = (
        np.array([[given[document] == kind for kind in kinds] for document in documents], dtype=float)
        for given in (one, other)
    )
    drawn, number = _draws(len(documents)), len(documents)
    # Whole numbers: with shares, rounding would give draws of a single label a kappa.
    equal, by_chance = drawn @ (first * second).sum(1), ((drawn @ first) * (drawn @ second)).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _interval((number * equal - by_chance) / (number**2 - by_chance))


def _draws(documents: int) -> NDArray[np.float64]:
    """Return how often each document is drawn, ``[draws, documents]``."""
    shares = np.full(documents, 1 / documents)
    return np.random.default_rng(SEED).multinomial(documents, shares, size=DRAWS).astype(float)


def _interval(values: NDArray[np.float64]) -> Interval | None:
    finite = values[np.isfinite(values)]
    if len(finite) < _DEFINED * len(values):
        return None
    low, high = np.percentile(finite, _LEVELS)
    return float(low), float(high)
