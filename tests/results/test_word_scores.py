"""The score that says how clearly a word pulls toward a label."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import pytest

from textlrp.results.word_scores import Moments, score


def moments(numbers: Iterable[float]) -> Moments:
    found = Moments()
    for number in numbers:
        found.add(number)
    return found


def test_moments_are_the_mean_and_the_deviation() -> None:
    numbers = [1e6 + 0.1, 1e6 - 0.3, 1e6 + 0.7]
    found = moments(numbers)
    assert (found.count, found.mean) == (3, pytest.approx(statistics.fmean(numbers)))
    assert found.deviation == pytest.approx(statistics.stdev(numbers))
    assert moments([]).deviation == moments([3.0]).deviation == 0.0


#: Of the mean 0.1 and the deviation 0.2.
CORPUS = moments([-0.1, 0.1, 0.3])


@pytest.mark.parametrize(
    ("word", "scored"),
    [
        ([0.5], 2.0),  # two deviations above the mean
        ([0.5] * 4, 4.0),  # in four documents, twice as clear
        ([0.1] * 400, 0.0),  # as any word: a large sum, and no score
        ([-0.3], -2.0),
        ([2.1, 0.1, 0.1, 0.1], 1.0),  # one strong document of four: its own spread, 1, counts
    ],
)
def test_a_score_is_the_distance_from_the_corpus_in_standard_errors(word: list[float], scored: float) -> None:
    assert score(moments(word), CORPUS) == pytest.approx(scored)


def test_there_is_no_score_without_a_spread() -> None:
    assert score(moments([0.2]), moments([0.2])) == 0.0
