"""Measures how well marked words agree: those of two people, or a model's relevance and a person's.

All measures count *words*, except those of only white space or punctuation
(:func:`textlrp.results.segmentation.is_word`). A word is marked if any of its characters is. The measures are those of
ERASER (DeYoung et al. 2020, "ERASER: A Benchmark to Evaluate Rationalized NLP Models", section 4.1), for one
document; the number of a corpus is the mean over documents.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import groupby

from textlrp.basics import extras, options
from textlrp.errors import InputError
from textlrp.results.spans import Span

#: The least intersection over union at which two spans count as the same (DeYoung et al. 2020).
THRESHOLD = 0.5

#: How often words are drawn at random for a document if the mean has no closed form.
DRAWS = 50


def marked_words(words: Sequence[Span], marks: Iterable[tuple[int, int, str]]) -> tuple[bool, ...]:
    """Return for each word whether any of its characters is marked.

    Args:
        words: the words of one text or of both texts of a pair; those of a text do not overlap.
        marks: half-open character ranges and the text (``"text"``, ``"text_pair"``) that they are in.
    """
    # A mark is only compared with the words around it.
    marked = [False] * len(words)
    for source, of_source in groupby(sorted(marks, key=lambda mark: (mark[2], mark[0])), key=lambda mark: mark[2]):
        ordered = sorted((i for i, word in enumerate(words) if word.source == source), key=lambda i: words[i].start)
        starts = [words[i].start for i in ordered]
        for start, end, _ in of_source:
            for at in range(max(0, bisect_right(starts, start) - 1), bisect_left(starts, end)):
                word = words[ordered[at]]
                marked[ordered[at]] |= start < word.end and word.start < end
    return tuple(marked)


def chosen_words(relevances: Sequence[float], count: int) -> tuple[bool, ...]:
    """Return which words a model would mark: the ``count`` of the highest relevance, of those above zero.

    A person marks reasons for a label; words against it are not reasons, however strong. ``count`` is the number of
    words that the person marked, so that marking more gains nothing (ERASER takes the mean length of a rationale in the
    corpus). Of equal relevances the first comes first.
    """
    count = options.whole(count, "count is a number of words, 0 or more", 0)
    order = sorted(range(len(relevances)), key=lambda i: -relevances[i])
    chosen = {i for i in order[:count] if relevances[i] > 0}
    return tuple(i in chosen for i in range(len(relevances)))


def runs(marked: Sequence[bool], breaks: Iterable[int] = ()) -> tuple[tuple[int, int], ...]:
    """Return the half-open ranges of neighbors that are marked.

    Args:
        marked: for each word, whether it is marked.
        breaks: words before which a range always ends: where the second text of a pair begins.
    """
    return tuple(_joined([i for i, value in enumerate(marked) if value], frozenset(breaks)))


def token_f1(one: Sequence[bool], other: Sequence[bool]) -> float:
    """Return the F1 of marked words, 0 to 1: ``2 |A & B| / (|A| + |B|)``; 1 if neither side marks any.

    Source: DeYoung et al. 2020, section 4.1 ("token-level F1").
    """
    total = sum(one) + sum(other)
    return 2 * sum(a and b for a, b in zip(one, other, strict=True)) / total if total else 1.0


def iou_f1(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]], threshold: float = THRESHOLD) -> float:
    """Return the F1 of spans, 0 to 1; a span matches if it overlaps enough with some span of the other side.

    Two spans overlap by ``IOU = |a & b| / |a | b|``; a span matches if its best IOU reaches the threshold. With the
    matching shares p and r of the two sides, ``F1 = 2 p r / (p + r)``; 1 if neither side has a span.

    Source: DeYoung et al. 2020, section 4.1 ("IOU F1", 0.5). There r counts the matching spans of the first side; here
    it counts those of the second, so that it never exceeds 1 and the order of the sides does not matter. They differ
    only if two spans each cover exactly half of a third.

    Args:
        one, other: half-open ranges of words or characters, not overlapping on one side.
        threshold: more than 0, at most 1.
    """
    threshold = options.real(threshold, "threshold is an intersection over union, from 0 to 1", 0, 1)
    if not one and not other:
        return 1.0
    if not one or not other:
        return 0.0
    first, second = sorted(one), sorted(other)
    matching: tuple[set[int], set[int]] = (set(), set())
    i = j = 0
    while i < len(first) and j < len(second):
        (start, end), (begin, stop) = first[i], second[j]
        common = min(end, stop) - max(start, begin)
        if common > 0 and common / (end - start + stop - begin - common) >= threshold:
            matching[0].add(i)
            matching[1].add(j)
        if end <= stop:
            i += 1
        else:
            j += 1
    precision, recall = len(matching[0]) / len(first), len(matching[1]) / len(second)
    return 2 * precision * recall / (precision + recall) if precision else 0.0


def span_f1(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> float:
    """Return the F1 of equal spans, 0 to 1: :func:`iou_f1` at a threshold of 1.

    As ranges of characters, spans differ by a space or a comma; as ranges of words (:func:`runs`) they do not.
    """
    return iou_f1(one, other, 1.0)


def auprc(relevances: Sequence[float], marked: Sequence[bool]) -> float:
    """Return the area under the curve of precision and recall, 0 to 1, as words are taken by falling relevance.

    This is average precision: ``sum((R_n - R_(n-1)) P_n)`` over the distinct relevances, ties taken at once; straight
    lines between points would overestimate (Davis and Goadrich 2006). Relevance below zero counts as zero, as in
    :func:`chosen_words`. scikit-learn computes it.

    Source: DeYoung et al. 2020, section 4.1 ("AUPRC").

    Raises:
        InputError: no word is marked, so recall is not defined (scikit-learn returns 0 there, and warns).
        LRPError: scikit-learn is not installed.
    """
    if not any(marked):
        raise InputError("no word is marked: the area under precision and recall is not defined")
    metrics = extras.load("sklearn.metrics", "evaluate", "the area under precision and recall")
    return float(metrics.average_precision_score(marked, [max(0.0, relevance) for relevance in relevances]))


def random_token_f1(marked: Sequence[bool]) -> float:
    """Return the mean :func:`token_f1` of as many words as are marked, chosen at random: the share of marked words.

    Of k words out of n, the mean overlap with k others is ``k k / n``, so the mean F1 is ``k / n``.
    """
    return sum(marked) / len(marked) if any(marked) else 1.0


def random_auprc(marked: Sequence[bool]) -> float:
    """Return the mean :func:`auprc` of words in random order: ``(H + (k - 1) / (n - 1) (n - H)) / n``.

    With k of n words marked, the word at rank i is marked with probability ``k / n``, and its mean precision is then
    ``(1 + (i - 1) (k - 1) / (n - 1)) / i``; H is the sum of ``1 / i`` (Bestgen 2015).

    Raises:
        InputError: no word is marked.
    """
    count, total = len(marked), sum(marked)
    if not total:
        raise InputError("no word is marked: the area under precision and recall is not defined")
    if count == 1:
        return 1.0
    harmonic = math.fsum(1 / i for i in range(1, count + 1))
    return (harmonic + (total - 1) / (count - 1) * (count - harmonic)) / count


def random_iou_f1(marked: Sequence[bool], breaks: Sequence[int] = (), draws: int = DRAWS) -> float:
    """Return the mean :func:`iou_f1` of as many words as are marked, chosen at random, over a number of draws.

    The draws depend only on the numbers of words and of marked words, so the same input gives the same number.
    """
    draws = options.whole(draws, "draws is how often words are chosen, 1 or more", 1)
    count, total = len(marked), sum(marked)
    target = runs(marked, breaks)
    generator = random.Random(f"{count} {total}")
    scores = [
        iou_f1(_joined(sorted(generator.sample(range(count), total)), frozenset(breaks)), target) for _ in range(draws)
    ]
    return math.fsum(scores) / draws


def _joined(places: Sequence[int], breaks: frozenset[int]) -> list[tuple[int, int]]:
    """Return the ranges of :func:`runs` from the marked indices: fast if few of many words are marked."""
    ranges: list[tuple[int, int]] = []
    for at in places:
        if ranges and ranges[-1][1] == at and at not in breaks:
            ranges[-1] = (ranges[-1][0], at + 1)
        else:
            ranges.append((at, at + 1))
    return ranges
