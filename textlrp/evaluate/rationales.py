"""Compares relevance with people: with words they marked, the sign of their ratings, and words they edited.

All measures count words, as in :mod:`textlrp.evaluate.plausibility`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from itertools import pairwise, permutations
from typing import NamedTuple

from textlrp.errors import InputError
from textlrp.evaluate.plausibility import (
    auprc,
    chosen_words,
    iou_f1,
    marked_words,
    random_auprc,
    random_iou_f1,
    random_token_f1,
    runs,
    token_f1,
)
from textlrp.results import segmentation
from textlrp.results.attribution import Attribution
from textlrp.results.explanation import Explanation
from textlrp.results.spans import TEXT, Span, read_range

#: The label of a neutral phrase in the Stanford Sentiment Treebank, whose labels go from 0 to 4.
NEUTRAL = 2


def words(attribution: Attribution | Explanation) -> tuple[Span, ...]:
    """Return the words that count, among those that the model read."""
    return tuple(word for word in attribution.words if segmentation.is_word(word.text))


def pointing(relevances: Sequence[float], marked: Sequence[bool]) -> float:
    """Return whether the word of the highest relevance is marked: 1 or 0; of several, the marked share.

    The mean over documents is the accuracy ``hits / (hits + misses)``; chance gives the marked share of words.

    Source: Zhang et al. 2018, "Top-Down Neural Attention by Excitation Backprop", section 4.1 ("pointing game").

    Raises:
        InputError: there are no words.
    """
    if not len(relevances):
        raise InputError("there are no words to point at")
    highest = max(relevances)
    hits = [mark for relevance, mark in zip(relevances, marked, strict=True) if relevance == highest]
    return sum(hits) / len(hits)


class Phrase(NamedTuple):
    """A part of a text that people rated, with its relevance.

    Attributes:
        start, end: half-open character range in the text.
        relevance: the sum over its words, toward the positive label.
        positive: whether people rated it positive; otherwise, negative.
    """

    start: int
    end: int
    relevance: float
    positive: bool


@dataclass(frozen=True)
class SignAgreement:
    """The agreement of the sign of relevance with people's ratings.

    Attributes:
        balanced_accuracy: the mean of the shares of positive phrases with relevance above zero and of negative ones
            with relevance below; exactly zero counts half. Chance gives 0.5; None if a sign does not occur.
        ranking: the share of pairs of a positive and a negative phrase in which the positive one has more relevance,
            ties counted half (the area under the ROC curve). It does not depend on where zero is. Chance gives 0.5;
            None if a sign does not occur.
        positive, negative: how many phrases are rated so.
    """

    balanced_accuracy: float | None
    ranking: float | None
    positive: int
    negative: int


def phrases(
    attribution: Attribution | Explanation,
    ratings: Iterable[tuple[int, int, int]],
    *,
    positive: str = "POS",
    negative: str = "NEG",
    neutral: int = NEUTRAL,
) -> tuple[Phrase, ...]:
    """Return the rated phrases of a text, with the relevance of each toward the positive label.

    ``R(phrase) = sum of R(word)`` over its words; a word that crosses its edge counts by its characters inside.
    Relevance for the negative label counts with the other sign. Left out are neutral phrases, phrases that hold all
    words (their relevance is the whole decision, wherever it lies), and phrases that the model did not fully read.

    Args:
        attribution: the scores of a single text.
        ratings: half-open character ranges with a rating: above ``neutral`` is positive. A node of the Stanford
            Sentiment Treebank has one from 0 to 4 (Socher et al. 2013, "Recursive Deep Models for Semantic
            Compositionality Over a Sentiment Treebank").
        positive, negative: the model's names of the labels.
        neutral: the rating in the middle.

    Raises:
        InputError: the scores are for another label.
    """
    if attribution.target not in (positive, negative):
        raise InputError(
            f"the scores are for {attribution.target!r}, and the sign of a phrase needs them for {positive!r} or "
            f"{negative!r}"
        )
    sign = 1.0 if attribution.target == positive else -1.0
    counted = words(attribution)
    starts, ends = [word.start for word in counted], [word.end for word in counted]
    read = read_range(attribution.text, attribution.truncated)
    rated = []
    for start, end, rating in ratings:
        first, last = bisect_right(ends, start), bisect_left(starts, end)
        whole, unread = last - first == len(counted), start < read[0] or end > read[1]
        if rating == neutral or first >= last or whole or unread:
            continue
        total = math.fsum(word.relevance * _part(word, start, end) for word in counted[first:last])
        rated.append(Phrase(start, end, sign * total, rating > neutral))
    return tuple(rated)


def signed(rated: Sequence[Phrase]) -> SignAgreement:
    """Return the agreement of the sign of relevance with people's ratings, over the phrases of one or more texts.

    ``balanced accuracy = (P(R > 0 | positive) + P(R < 0 | negative)) / 2`` (Brodersen et al. 2010, "The Balanced
    Accuracy and Its Posterior Distribution"), so that calling everything positive gains nothing;
    ``ranking = P(R(positive) > R(negative)) + P(equal) / 2`` (Hanley and McNeil 1982, "The Meaning and Use of the Area
    under a Receiver Operating Characteristic (ROC) Curve").
    """
    high = [phrase.relevance for phrase in rated if phrase.positive]
    low = sorted(phrase.relevance for phrase in rated if not phrase.positive)
    if not high or not low:
        return SignAgreement(None, None, len(high), len(low))
    right = math.fsum((r > 0) + 0.5 * (r == 0) for r in high) / len(high)
    wrong = math.fsum((r < 0) + 0.5 * (r == 0) for r in low) / len(low)
    below = sum(bisect_left(low, r) + bisect_right(low, r) for r in high) / 2
    return SignAgreement((right + wrong) / 2, below / (len(high) * len(low)), len(high), len(low))


@dataclass(frozen=True)
class MarkAgreement:
    """The agreement of words with the marks of several annotators, by :mod:`textlrp.evaluate.plausibility`.

    Attributes:
        annotators: how many marked a word.
        token_f1, iou_f1, auprc, pointing: means over these, 0 to 1.
    """

    annotators: int
    token_f1: float
    iou_f1: float
    auprc: float
    pointing: float

    def to_dict(self) -> dict[str, float | int]:
        """Return the numbers as JSON-ready values."""
        return asdict(self)


def agreement(
    relevances: Sequence[float], votes: Sequence[Sequence[bool]], breaks: Sequence[int] = ()
) -> MarkAgreement | None:
    """Return the mean agreement of relevance with each annotator.

    Args:
        relevances: of the words.
        votes: for each annotator, which words are marked. Leave out annotators who marked reasons for another label
            than the explained one.
        breaks: words before which a span always ends: where the second text of a pair begins.

    Returns:
        None if no annotator marked a word.
    """
    return _mean(
        [
            (
                *_against(chosen_words(relevances, sum(marked)), marked, breaks),
                auprc(relevances, marked),
                pointing(relevances, marked),
            )
            for marked in votes
            if any(marked)
        ]
    )


def ceiling(votes: Sequence[Sequence[bool]], breaks: Sequence[int] = ()) -> MarkAgreement | None:
    """Return the mean agreement of each annotator with the others: the most to expect of a method.

    Token F1 and IOU F1 are means over all pairs of annotators who marked a word, marks against marks. AUPRC and
    pointing need a ranking: a word's relevance is the number of others who marked it. A method that finds the words
    that most people mark can exceed the first two.

    Source: DeYoung et al. 2020, which also reports how far annotators agree (sections 3 and 4.1).

    Returns:
        None if fewer than two annotators marked a word.
    """
    marking = [marked for marked in votes if any(marked)]
    if len(marking) < 2:
        return None
    pairs = [_against(one, other, breaks) for one, other in permutations(marking, 2)]
    ranked = []
    for i, marked in enumerate(marking):
        others = [float(sum(column)) for column in zip(*marking[:i], *marking[i + 1 :], strict=True)]
        ranked.append((auprc(others, marked), pointing(others, marked)))
    return MarkAgreement(len(marking), *_means(pairs), *_means(ranked))


def chance(votes: Sequence[Sequence[bool]], breaks: Sequence[int] = ()) -> MarkAgreement | None:
    """Return the expected :func:`agreement` of random relevance; None if no annotator marked a word."""
    return _mean(
        [
            (
                random_token_f1(marked),
                random_iou_f1(marked, breaks),
                random_auprc(marked),
                sum(marked) / len(marked),
            )
            for marked in votes
            if any(marked)
        ]
    )


@dataclass(frozen=True)
class EditShares:
    """The share of a text's relevance on the words that people edited to change its label.

    Attributes:
        absolute: ``sum of |R| over edited words / sum of |R| over all``; None if no word has relevance.
        positive: the same for relevance above zero, which supports the label before the edit; None if no word has any.
        chance: the edited share of the words, which random relevance has in both.
        edited, words: how many words are edited, and how many there are.
    """

    absolute: float | None
    positive: float | None
    chance: float
    edited: int
    words: int


def edits(text: str, other: str) -> tuple[tuple[int, int], ...]:
    """Return the words of a text that differ in another version of it, as character ranges.

    Words are compared in lower case, without punctuation, by the longest matching blocks of ``difflib``. Words that
    only the other version has are not counted.
    """
    ranges = _words(text)
    one = [text[start:end].casefold() for start, end in ranges]
    two = [other[start:end].casefold() for start, end in _words(other)]
    changes = SequenceMatcher(None, one, two, autojunk=False).get_opcodes()
    return tuple(ranges[i] for kind, start, end, _, _ in changes if kind != "equal" for i in range(start, end))


def counterfactual(attribution: Attribution | Explanation, other: str) -> EditShares | None:
    """Return the share of relevance on the words that people edited to change the label of a text.

    Compare both shares with ``chance``: if half of the words were edited, they prove little. For a corpus, take the
    mean of ``absolute - chance`` or ``positive - chance`` over its texts.

    Source: the pairs are those of Kaushik et al. 2020, "Learning the Difference That Makes a Difference with
    Counterfactually-Augmented Data"; the share of relevance inside the ground truth is the relevance mass accuracy of
    Arras et al. 2022, "CLEVR-XAI: A Benchmark Dataset for the Ground Truth Evaluation of Neural Network Explanations".

    Args:
        attribution: the scores of a single text, for its label before the edit.
        other: the edited text.

    Returns:
        None if none of the words that the model read are edited, or all are.
    """
    counted = words(attribution)
    marked = marked_words(counted, [(start, end, TEXT) for start, end in edits(attribution.text, other)])
    if not any(marked) or all(marked):
        return None
    relevances = [word.relevance for word in counted]
    return EditShares(
        _share([abs(r) for r in relevances], marked),
        _share([max(0.0, r) for r in relevances], marked),
        sum(marked) / len(marked),
        sum(marked),
        len(marked),
    )


def _part(word: Span, start: int, end: int) -> float:
    """Return the share of a word's characters in a range."""
    return (min(word.end, end) - max(word.start, start)) / (word.end - word.start)


def _against(one: Sequence[bool], other: Sequence[bool], breaks: Sequence[int]) -> tuple[float, float]:
    return token_f1(one, other), iou_f1(runs(one, breaks), runs(other, breaks))


def _mean(rows: Sequence[tuple[float, float, float, float]]) -> MarkAgreement | None:
    return MarkAgreement(len(rows), *_means(rows)) if rows else None


def _means(rows: Sequence[Sequence[float]]) -> list[float]:
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]


def _words(text: str) -> list[tuple[int, int]]:
    return [(start, end) for start, end in pairwise(segmentation.words(text)) if segmentation.is_word(text[start:end])]


def _share(sizes: Sequence[float], marked: Sequence[bool]) -> float | None:
    total = math.fsum(sizes)
    return math.fsum(size for size, mark in zip(sizes, marked, strict=True) if mark) / total if total else None
