"""Intervals and tests against cases that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textlrp.errors import InputError
from textlrp.evaluate.intervals import DRAWS, differences, holm, mean_interval, mean_intervals, paired_p

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20)


def test_two_documents_have_three_samples_by_mean() -> None:
    # 0 and 1: the means of samples are 0 (1/4), 1/2 (1/2) and 1 (1/4).
    found = mean_interval([0.0, 1.0])
    assert (found.mean, found.low, found.high, found.count) == (0.5, 0.0, 1.0, 2)
    middle = mean_interval([0.0, 1.0], level=0.4)  # from 30 % to 70 %: all of it at 1/2
    assert (middle.low, middle.high) == (0.5, 0.5)


def test_the_shares_of_samples_are_those_of_the_binomial() -> None:
    # Three documents 0, 0, 1: the mean is k/3 with k ~ B(3, 1/3): 8/27, 12/27, 6/27, 1/27.
    edges = [8 / 27, 20 / 27, 26 / 27]
    for edge, below, above in zip(edges, (0, 1 / 3, 2 / 3), (1 / 3, 2 / 3, 1), strict=True):
        for shift, expected in ((-0.02, below), (0.02, above)):
            if 0.5 < edge + shift < 1:
                found = mean_interval([0.0, 0.0, 1.0], level=2 * (edge + shift) - 1)
                assert found.high == pytest.approx(expected)


def test_with_many_documents_it_is_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    half = 1.96 * float(values.std()) / math.sqrt(400)
    found = mean_interval(values.tolist())
    assert found.low == pytest.approx(found.mean - half, abs=0.05 * half)
    assert found.high == pytest.approx(found.mean + half, abs=0.05 * half)


def test_it_covers_the_mean_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        found = mean_interval(generator.exponential(1.0, 50).tolist(), draws=1000)
        covered += found.low <= 1.0 <= found.high
    assert 0.88 <= covered / 300 <= 0.98


def test_samples_in_blocks_are_the_samples_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).normal(size=30).tolist()
    whole = mean_interval(values, seed=3, draws=500)
    monkeypatch.setattr("textlrp.evaluate.intervals._BLOCK", 100)
    assert mean_interval(values, seed=3, draws=500) == whole


def test_columns_together_are_the_columns_one_by_one() -> None:
    generator = np.random.default_rng(6)
    columns = [generator.normal(size=count).tolist() for count in (20, 7, 20, 1, 7)]
    together = mean_intervals(columns, seed=2, draws=300)
    for interval, column in zip(together, columns, strict=True):
        alone = mean_interval(column, seed=2, draws=300)
        assert (interval.mean, interval.count) == (alone.mean, alone.count)
        assert (interval.low, interval.high) == pytest.approx((alone.low, alone.high), rel=1e-12)
    assert mean_intervals([]) == ()


def test_very_large_values_have_an_interval_as_long_as_their_sum_is_finite() -> None:
    found = mean_interval([1e300, 3e300, 2e300], draws=50)
    assert 1e300 <= found.low <= found.mean <= found.high <= 3e300
    assert paired_p([1e300, 3e300], [0.0, 0.0]) == 2 / 4
    for measure in (mean_interval, lambda values: paired_p(values, [0.0] * len(values))):
        with pytest.raises(InputError, match="so large that their sum is infinite"):
            measure([1e308, 1e308])


def test_samples_are_two_or_more() -> None:
    with pytest.raises(InputError, match="draws is a number of samples from 2 to 10,000,000, not 1"):
        mean_interval([1.0, 2.0], draws=1)
    assert paired_p([1.0, 2.0, 4.0], [0.0] * 3, draws=1) in (0.5, 1.0)


@given(VALUES, st.integers(0, 5))
def test_the_mean_is_inside_and_the_same_seed_gives_the_same(values: list[float], seed: int) -> None:
    found = mean_interval(values, seed, draws=50)
    assert found == mean_interval(values, seed, draws=50)
    assert min(values) - 1e-6 <= found.low <= found.mean <= found.high <= max(values) + 1e-6


def test_a_constant_has_no_width_and_documents_count_in_pairs() -> None:
    found = mean_interval([0.25] * 7)
    assert (found.low, found.mean, found.high) == (0.25, 0.25, 0.25)
    # However different the documents are: the methods differ by 1 on each.
    found = mean_interval(differences([1.0, 101.0, 1001.0], [0.0, 100.0, 1000.0]))
    assert (found.mean, found.low, found.high) == (1.0, 1.0, 1.0)


def test_all_signs_of_a_few_documents_are_tried() -> None:
    # 1, 2, 3: only + + + and - - - are as far from zero.
    assert paired_p([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]) == 2 / 8
    # 1, 1, -1: the sum 1 is as far as any of the eight.
    assert paired_p([1.0, 1.0, -1.0], [0.0, 0.0, 0.0]) == 1.0
    # 3, 2, -1: the sum is 4; those of signs are 6, 4, 2, 0 and their negatives.
    assert paired_p([3.0, 2.0, 0.0], [0.0, 0.0, 1.0]) == 4 / 8
    assert paired_p([0.1 + 0.2, 0.3, 0.4], [0.0, 0.0, 0.0]) == 2 / 8
    assert paired_p([2.0] * 10, [1.0] * 10) == 2 / 1024


def test_documents_without_a_difference_count_for_neither() -> None:
    assert paired_p([1.0, 2.0, 3.0, 5.0, 5.0], [0.0, 0.0, 0.0, 5.0, 5.0]) == 2 / 8
    assert paired_p([1.0, 2.0], [1.0, 2.0]) == 1.0


def test_drawn_signs_come_near_all_signs() -> None:
    differences = np.random.default_rng(4).normal(0.4, 1.0, 16)
    signs = 1 - 2 * ((np.arange(2**16)[:, None] >> np.arange(16)) & 1)
    exact = float(np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9))
    assert 0.01 < exact < 0.5
    drawn = paired_p(differences.tolist(), [0.0] * 16)
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / DRAWS))
    assert drawn == paired_p([0.0] * 16, differences.tolist())


def test_drawn_signs_never_say_zero() -> None:
    assert paired_p([1.0] * 40, [0.0] * 40) == 1 / (DRAWS + 1)


def test_by_chance_p_is_small_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    found = [paired_p(generator.normal(size=12).tolist(), [0.0] * 12) for _ in range(200)]
    assert 0.02 <= sum(p <= 0.1 for p in found) / 200 <= 0.18


def test_holm_by_hand() -> None:
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1, none smaller than the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx((0.06, 0.04, 0.06, 0.06))
    assert holm([0.6, 0.5]) == (1.0, 1.0)
    assert holm([0.05]) == (0.05,)
    assert holm([]) == ()


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf]])
def test_what_has_no_mean_is_refused(values: list[float]) -> None:
    with pytest.raises(InputError, match="there is no mean"):
        mean_interval(values)


def test_what_cannot_be_paired_is_refused() -> None:
    with pytest.raises(InputError, match="3 values cannot be paired with 2"):
        paired_p([1.0, 2.0, 3.0], [1.0, 2.0])
