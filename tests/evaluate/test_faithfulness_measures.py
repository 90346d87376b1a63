"""The numbers of faithfulness, counted by hand."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textlrp.evaluate.faithfulness_measures import (
    PerturbationCurve,
    area,
    at_percent,
    completeness,
    counts,
    draws,
    infidelity,
    kendall,
    order,
    pearson,
    sample,
    scaled_infidelity,
    shapley_values,
)

WEIGHTS = st.lists(st.integers(-9, 9), min_size=1, max_size=7)


def area_of(weights: list[int], ranked: tuple[int, ...]) -> float:
    """Of an additive model: what is perturbed leaves the sum."""
    taken = [0, *itertools.accumulate(weights[i] for i in ranked)]
    others = [0, *itertools.accumulate(weights[i] for i in reversed(ranked))]
    shares = [i / len(weights) for i in range(len(weights) + 1)]
    return area([-each for each in taken], [-each for each in others], shares)


def test_the_highest_comes_first_and_position_breaks_no_tie() -> None:
    assert order([0.5, 2.0, -3.0, 1.0], "any") == (1, 3, 0, 2)
    first = [order([1.0, 1.0, 1.0, 0.0], str(seed))[0] for seed in range(300)]
    assert all(70 <= first.count(i) <= 130 for i in range(3))
    assert order([1.0] * 9, "one") == order([1.0] * 9, "one") != order([1.0] * 9, "two")


def test_steps_are_units_or_spread_evenly() -> None:
    assert counts(4, 20) == (0, 1, 2, 3, 4)
    assert counts(10, 4) == (0, 3, 5, 8, 10)
    assert counts(1, 1) == (0, 1)
    assert counts(100, 20) == tuple(range(0, 101, 5))


@given(st.integers(1, 600), st.integers(1, 40))
def test_steps_rise_from_none_to_all(size: int, steps: int) -> None:
    found = counts(size, steps)
    assert found[0] == 0
    assert found[-1] == size
    assert len(found) == min(size, steps) + 1
    gaps = {after - before for before, after in itertools.pairwise(found)}
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(
    ("size", "percent", "count"), [(4, 1, 1), (4, 50, 2), (5, 50, 3), (100, 1, 1), (101, 1, 2), (30, 10, 3), (1, 50, 1)]
)
def test_percents_are_rounded_up(size: int, percent: int, count: int) -> None:
    assert at_percent(size, percent) == count


def test_area_by_hand() -> None:
    # Steps of a quarter: (4 - -1) + (4 - -2) + (3 - -2), over 4
    assert area([2, -1, -2, -2, 0], [2, 4, 4, 3, 0], [0, 0.25, 0.5, 0.75, 1]) == 4.0
    # Steps of 3, 2, 3 and 2 units of ten: trapezes of 0.3, 0.2, 0.3 and 0.2
    assert area([0] * 5, [0, 1, 2, 1, 0], [0, 0.3, 0.5, 0.8, 1]) == pytest.approx(0.15 + 0.3 + 0.45 + 0.1)
    assert area([1.0, 0.0], [1.0, 0.0], [0.0, 1.0]) == 0.0


@given(WEIGHTS, st.randoms(use_true_random=False))
def test_no_order_beats_that_of_an_additive_model(weights: list[int], generator: random.Random) -> None:
    other = list(range(len(weights)))
    generator.shuffle(other)
    best = area_of(weights, order([float(weight) for weight in weights], "ties"))
    assert best >= area_of(weights, tuple(other)) - 1e-9
    assert best == pytest.approx(-area_of(weights, order([-float(weight) for weight in weights], "ties")))


def test_random_order_has_no_area_on_average() -> None:
    weights = [5, -2, 0, 1]
    areas = [area_of(weights, ranked) for ranked in itertools.permutations(range(4))]
    assert math.fsum(areas) == pytest.approx(0)
    # (5 + 2) + (6 + 2) + (6 + 1), over 4
    assert max(areas) == area_of(weights, (0, 3, 2, 1)) == 5.5


def test_a_text_twice_as_long_has_the_same_area() -> None:
    for weights in ([3, 0, -2, 1], [1, 1, 1, 0]):
        longer = [area_of(weights * times, order([float(each) for each in weights * times], "")) for times in (8, 16)]
        per_weight = [area / times for area, times in zip(longer, (8, 16), strict=True)]
        assert per_weight[0] == pytest.approx(per_weight[1], rel=0.03)


@pytest.mark.parametrize(
    ("one", "other", "tau"),
    [
        ([1, 2, 3, 4], [1, 3, 2, 4], 4 / 6),  # 5 pairs alike, 1 not
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 1, 2], [1, 2, 3], 2 / math.sqrt(2 * 3)),  # one pair tied on the left
        ([1, 1, 2, 2], [1, 2, 1, 2], 0.0),
        ([1, 1], [1, 2], None),
        ([1], [1], None),
        ([], [], None),
    ],
)
def test_kendall_by_hand(one: list[float], other: list[float], tau: float | None) -> None:
    assert kendall(one, other) == kendall(other, one) == (None if tau is None else pytest.approx(tau))


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), max_size=12))
def test_kendall_is_that_of_all_pairs(values: list[tuple[int, int]]) -> None:
    signs = [
        tuple((one > other) - (one < other) for one, other in zip(left, right, strict=True))
        for left, right in itertools.combinations(values, 2)
    ]
    concordant = sum(one * other for one, other in signs)
    untied = math.prod(sum(abs(sign[side]) for sign in signs) for side in (0, 1))
    tau = kendall([float(one) for one, _ in values], [float(other) for _, other in values])
    assert tau == (pytest.approx(concordant / math.sqrt(untied), abs=1e-12) if untied else None)


def test_infidelity_by_hand() -> None:
    assert infidelity([1, 2], [0, 4]) == 2.5
    assert infidelity([1, 2], [1, 2]) == 0.0
    # the best scale is 8 / 5; what is left is 1 - 8 * 8 / (5 * 16)
    assert scaled_infidelity([1, 2], [0, 4]) == pytest.approx(0.2)
    assert scaled_infidelity([3, 6], [1, 2]) == pytest.approx(0, abs=1e-12)
    assert scaled_infidelity([-1, -2], [1, 2]) == 1.0  # no positive scale is better than none
    assert scaled_infidelity([0, 0], [1, 2]) == 1.0
    assert scaled_infidelity([1, 2], [0, 0]) is None


@given(
    st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=6), st.floats(0, 5, allow_nan=False)
)
def test_no_positive_scale_is_better(pairs: list[tuple[float, float]], scale: float) -> None:
    expected, observed = ([a for a, _ in pairs], [b for _, b in pairs])
    found = scaled_infidelity(expected, observed)
    size = infidelity([0.0] * len(observed), observed)
    if found is not None and size > 1e-9:
        assert 0 <= found <= 1
        assert found <= infidelity([scale * a for a in expected], observed) / size + 1e-9


def test_shapley_values_by_hand() -> None:
    # f is 5 with both units, 3 with the first alone, 1 with the second alone, and 0 with none
    assert shapley_values([5.0, 1.0, 3.0, 0.0]) == [3.5, 1.5]
    assert shapley_values([5.0, 2.0]) == [3.0]


@given(st.lists(st.integers(-50, 50), min_size=16, max_size=16))
def test_shapley_values_are_those_of_all_orders(logits: list[int]) -> None:
    found = shapley_values([float(logit) for logit in logits])
    totals = [0.0] * 4
    for ranked in itertools.permutations(range(4)):
        removed = 0
        for unit in ranked:
            totals[unit] += logits[removed] - logits[removed | 1 << unit]
            removed |= 1 << unit
    assert found == pytest.approx([total / 24 for total in totals], abs=1e-9)
    assert math.fsum(found) == pytest.approx(logits[0] - logits[-1], abs=1e-9)


def test_correlation_by_hand() -> None:
    assert pearson([1, 2, 3], [2, 4, 6]) == pytest.approx(1.0)
    assert pearson([1, 2, 3], [1, 0, -1]) == pytest.approx(-1.0)
    assert pearson([0, 1, 2, 3], [0, 1, 1, 0]) == pytest.approx(0.0)
    assert pearson([0.1, 0.1, 0.1 + 1e-9], [1, 2, 3]) is pearson([1, 2, 3], [0.0] * 3) is pearson([1.0], [2.0]) is None


def test_completeness_by_hand() -> None:
    assert completeness([1.0, 2.0], 5.0, 2.0) == 1.0
    assert completeness([1.0, 2.0], 5.0, -1.0) == 0.5
    assert completeness([-1.0], 1.0, 3.0) == 0.5
    assert completeness([1.0], 5.0, 5.0 - 4e-6) is completeness([1.0], 0.0, 0.0) is None
    assert completeness([1.0], 0.0, 0.5) == -2.0


def test_draws_have_every_size_and_repeat_themselves() -> None:
    found = draws(4, 400, "seed")
    sizes = [len(each) for each in found]
    assert all(60 <= sizes.count(size) <= 140 for size in (1, 2, 3, 4))
    assert frozenset().union(*found) == {0, 1, 2, 3}
    assert found == draws(4, 400, "seed") != draws(4, 400, "other")
    assert draws(1, 2, "") == [frozenset([0])] * 2


def test_a_sample_is_all_where_all_fit() -> None:
    assert sample(3, 9, "seed") == (0, 1, 2)
    found = sample(1000, 5, "seed")
    assert len(set(found)) == 5
    assert list(found) == sorted(found)
    assert found != sample(1000, 5, "other")


def test_a_curve_goes_there_and_back() -> None:
    curve = PerturbationCurve((0.0, 1.0), (2.0, -1.0), (0.9, 0.2))
    assert curve.to_dict() == {"shares": [0.0, 1.0], "logits": [2.0, -1.0], "probabilities": [0.9, 0.2]}
    assert PerturbationCurve.from_dict(curve.to_dict()) == curve
