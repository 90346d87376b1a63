"""How far people agree: on labels, beyond chance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from textlrp.basics import extras


def alpha(given: Sequence[Mapping[str, str]]) -> float | None:
    """Return Krippendorff's alpha for nominal labels: 1 is full agreement, 0 what chance would give, less is worse.

    ``alpha = 1 - D_o / D_e``, the observed disagreement over the expected one, over the documents that have two labels
    or more; who labeled which of them does not matter, and gaps are allowed. Computed by the package ``krippendorff``.

    Source: Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability".

    Args:
        given: for each annotator, the label by document.

    Returns:
        None where it is not defined: no document has two labels, or those that have are all labeled the same.

    Raises:
        LRPError: krippendorff is not installed.
    """
    documents = shared(given)
    labels = sorted({each[document] for each in given for document in documents if document in each})
    if len(labels) < 2:
        return None
    counts = [[sum(each.get(document) == label for each in given) for label in labels] for document in documents]
    krippendorff = extras.load("krippendorff", "annotate", "Krippendorff's alpha")
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def kappa(one: Mapping[str, str], other: Mapping[str, str]) -> float | None:
    """Return Cohen's kappa of two annotators: 1 is full agreement, 0 what chance would give, less is worse.

    ``kappa = (p_o - p_e) / (1 - p_e)``, with ``p_o`` the share of documents that both label the same, and ``p_e`` the
    share to be expected if each gave its own labels at random.

    Source: Cohen 1960, "A Coefficient of Agreement for Nominal Scales".

    Computed by scikit-learn.

    Returns:
        None where it is not defined: no document has both labels, or both give one and the same label to all
        (scikit-learn returns NaN there, and warns).

    Raises:
        LRPError: scikit-learn is not installed.
    """
    documents = shared([one, other])
    labels = [[given[document] for document in documents] for given in (one, other)]
    if len({*labels[0], *labels[1]}) < 2:
        return None
    metrics = extras.load("sklearn.metrics", "annotate", "Cohen's kappa")
    return float(metrics.cohen_kappa_score(*labels))


def shared(given: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the documents that two annotators or more gave a label, sorted."""
    counts = Counter(document for each in given for document in each)
    return sorted(document for document, count in counts.items() if count > 1)


def majority(votes: Sequence[Sequence[bool]]) -> tuple[bool, ...]:
    """Return what more than half of the voters chose, at each place: of two, what both did."""
    return tuple(2 * sum(column) > len(votes) for column in zip(*votes, strict=True))


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, or None where there is nothing to take it of."""
    return math.fsum(values) / len(values) if values else None
