"""The agreement of annotators on labels, beyond chance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from textlrp.basics import extras


def alpha(annotators: Sequence[Mapping[str, Hashable]]) -> float | None:
    """Return Krippendorff's alpha for nominal labels: 1 is full agreement, 0 is chance, less is worse.

    ``alpha = 1 - D_o / D_e``, the observed disagreement over the expected one, on the documents with two labels or
    more. Not every annotator has to label every document. The package ``krippendorff`` computes it.

    Source: Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability".

    Args:
        annotators: for each annotator, the label by document.

    Returns:
        None if no document has two labels, or all labels of such documents are the same.

    Raises:
        LRPError: krippendorff is not installed.
    """
    documents = shared(annotators)
    labels = list(dict.fromkeys(given[document] for given in annotators for document in documents if document in given))
    if len(labels) < 2:
        return None
    counts = [[sum(given.get(document) == label for given in annotators) for label in labels] for document in documents]
    krippendorff = extras.load("krippendorff", "annotate", "Krippendorff's alpha")
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def alpha_of_sets(
    annotators: Sequence[Mapping[str, Sequence[str]]], labels: Sequence[str]
) -> tuple[float | None, dict[str, float | None]]:
    """Return Krippendorff's alpha of sets of labels, and that of each label by itself (given or not).

    The distance of two sets is ``1 - J M``: ``J`` is the size of what they share over that of their union, and ``M`` is
    1 for equal sets, 2/3 if one is part of the other, 1/3 if they overlap, and 0 otherwise; two empty sets are equal.

    Source: Passonneau 2006, "Measuring Agreement on Set-valued Items (MASI) for Semantic and Pragmatic Annotation".

    Args:
        annotators: for each annotator, the labels by document.
        labels: all labels.

    Raises:
        LRPError: krippendorff is not installed.
    """
    by_label = {
        label: alpha([{document: label in chosen for document, chosen in given.items()} for given in annotators])
        for label in labels
    }
    documents = shared(annotators)
    as_sets = [
        {document: frozenset(given[document]) for document in documents if document in given} for given in annotators
    ]
    sets = list(dict.fromkeys(chosen for given in as_sets for chosen in given.values()))
    if len(sets) < 2:
        return None, by_label
    counts = [[sum(given.get(document) == each for given in as_sets) for each in sets] for document in documents]
    krippendorff = extras.load("krippendorff", "annotate", "Krippendorff's alpha")

    def distances(v1: Any, v2: Any, i1: Any, i2: Any, n_v: Any, dtype: Any = float) -> Any:
        numpy = extras.load("numpy", "annotate", "Krippendorff's alpha")
        return numpy.vectorize(lambda i, j: masi(sets[i], sets[j]), otypes=[dtype])(i1, i2)

    return float(krippendorff.alpha(value_counts=counts, level_of_measurement=distances)), by_label


def masi(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the distance of two sets of labels, 0 to 1 (:func:`alpha_of_sets`)."""
    if one == other:
        return 0.0
    common = len(one & other)
    monotonic = 2 / 3 if one < other or other < one else 1 / 3
    return 1 - common / len(one | other) * monotonic


def kappa(one: Mapping[str, Hashable], other: Mapping[str, Hashable]) -> float | None:
    """Return Cohen's kappa of two annotators: 1 is full agreement, 0 is chance, less is worse.

    ``kappa = (p_o - p_e) / (1 - p_e)``, with ``p_o`` the share of documents that both label the same, and ``p_e`` the
    share expected if both gave their labels at random.

    Source: Cohen 1960, "A Coefficient of Agreement for Nominal Scales".

    scikit-learn computes it.

    Returns:
        None if no document has both labels, or both annotators give all documents the same label (scikit-learn returns
        NaN there, and warns).

    Raises:
        LRPError: scikit-learn is not installed.
    """
    documents = shared([one, other])
    numbers = {label: i for i, label in enumerate(dict.fromkeys([*one.values(), *other.values()]))}
    labels = [[numbers[annotator[document]] for document in documents] for annotator in (one, other)]
    if len({*labels[0], *labels[1]}) < 2:
        return None
    metrics = extras.load("sklearn.metrics", "annotate", "Cohen's kappa")
    return float(metrics.cohen_kappa_score(*labels))


def shared(annotators: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the documents that two or more annotators labeled, sorted."""
    counts = Counter(document for labels in annotators for document in labels)
    return sorted(document for document, count in counts.items() if count > 1)


def majority(votes: Sequence[Sequence[bool]]) -> tuple[bool, ...]:
    """Return for each place whether more than half of the voters chose it; of two voters, both must."""
    return tuple(2 * sum(column) > len(votes) for column in zip(*votes, strict=True))


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, or None without values."""
    return math.fsum(values) / len(values) if values else None
