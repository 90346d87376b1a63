"""The measures of plausibility: numbers counted by hand, and those of the definitions."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textlrp import Span
from textlrp.errors import InputError
from textlrp.evaluate import plausibility
from textlrp.evaluate.plausibility import (
    auprc,
    chosen_words,
    iou_f1,
    marked_words,
    random_auprc,
    random_iou_f1,
    random_token_f1,
    runs,
    span_f1,
    token_f1,
)

MASKS = st.lists(st.booleans(), min_size=1, max_size=12)
PAIRS = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*(st.lists(st.booleans(), min_size=n, max_size=n) for _ in range(2)))
)


def mask(written: str) -> list[bool]:
    return [char == "x" for char in written]


def test_a_word_is_marked_if_any_of_its_characters_is() -> None:
    words = [Span(0, 3, "not", 0.0), Span(4, 7, "bad", 0.0), Span(0, 3, "yes", 0.0, source="text_pair")]
    assert marked_words(words, [(2, 4, "text")]) == (True, False, False)
    assert marked_words(words, [(3, 4, "text")]) == (False, False, False)
    assert marked_words(words, [(2, 5, "text")]) == (True, True, False)
    assert marked_words(words, [(0, 1, "text_pair")]) == (False, False, True)


@given(
    st.lists(st.integers(0, 30), min_size=2, max_size=12, unique=True).map(sorted),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6)), max_size=5),
)
def test_marked_words_are_those_that_share_a_character(edges: list[int], marks: list[tuple[int, int]]) -> None:
    words = [Span(a, b, "x" * (b - a), 0.0) for a, b in itertools.pairwise(edges)][::2]
    characters = {at for start, length in marks for at in range(start, start + length)}
    expected = tuple(bool(characters & set(range(word.start, word.end))) for word in words)
    assert marked_words(words, [(start, start + length, "text") for start, length in marks]) == expected


def test_a_model_marks_its_strongest_words_for_the_label() -> None:
    assert chosen_words([0.1, -9.0, 0.3, 0.3, 0.2], 2) == (False, False, True, True, False)
    assert chosen_words([0.3, 0.3, 0.3], 2) == (True, True, False)
    assert chosen_words([0.1, -1.0, 0.0], 3) == (True, False, False)
    assert chosen_words([0.1], 0) == (False,)


def test_neighbors_are_one_span_but_not_across_texts() -> None:
    assert runs(mask("xx.x..xx")) == ((0, 2), (3, 4), (6, 8))
    assert runs(mask("xxxx"), [2]) == ((0, 2), (2, 4))
    assert runs(mask("....")) == ()
    assert runs(mask("x"), [0, 1]) == ((0, 1),)


@pytest.mark.parametrize(
    ("one", "other", "f1"),
    [
        ("xx..", "xx..", 1.0),
        ("xx..", "..xx", 0.0),
        ("xx..", ".xx.", 0.5),  # 2 * 1 / (2 + 2)
        ("x...", "xxx.", 0.5),  # 2 * 1 / (1 + 3)
        ("xxxx", ".x..", 0.4),  # 2 * 1 / (4 + 1)
        ("....", "x...", 0.0),
        ("....", "....", 1.0),
    ],
)
def test_token_f1_by_hand(one: str, other: str, f1: float) -> None:
    assert token_f1(mask(one), mask(other)) == token_f1(mask(other), mask(one)) == f1


@given(PAIRS)
def test_token_f1_is_that_of_scikit_learn(pair: tuple[list[bool], list[bool]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn, to compare with")
    assert token_f1(*pair) == pytest.approx(metrics.f1_score(*pair, zero_division=1.0), abs=1e-12)


@pytest.mark.parametrize(
    ("one", "other", "f1"),
    [
        ([(0, 4)], [(0, 4)], 1.0),
        ([(0, 4)], [(0, 8)], 1.0),  # 4 of 8
        ([(0, 4)], [(0, 9)], 0.0),  # 4 of 9
        ([(0, 4)], [(2, 6)], 0.0),  # 2 of 6
        ([(0, 4)], [(1, 5)], 1.0),  # 3 of 5
        ([(0, 4), (6, 8)], [(0, 4)], 2 / 3),  # precision 1/2, recall 1
        ([(0, 4), (6, 8), (9, 12)], [(0, 3), (20, 30)], 0.4),  # precision 1/3, recall 1/2
        ([(0, 2), (2, 4)], [(0, 4)], 1.0),  # each half of it is enough: recall is 1, not 2
        ([(0, 4)], [(4, 8)], 0.0),
        ([], [(0, 1)], 0.0),
        ([], [], 1.0),
    ],
)
def test_iou_f1_by_hand(one: list[tuple[int, int]], other: list[tuple[int, int]], f1: float) -> None:
    assert iou_f1(one, other) == iou_f1(other, one) == pytest.approx(f1)


def test_the_threshold_moves() -> None:
    assert iou_f1([(0, 4)], [(1, 5)], 0.6) == 1.0
    assert iou_f1([(0, 4)], [(1, 5)], 0.61) == 0.0


def test_span_f1_counts_the_very_same_spans_only() -> None:
    assert span_f1([(0, 4), (6, 8)], [(0, 4), (6, 9)]) == 0.5
    assert span_f1([(0, 4)], [(0, 4)]) == 1.0
    assert span_f1([], []) == 1.0
    # "not bad" and "not bad," are one range of words, and two of characters
    assert span_f1([(4, 11)], [(4, 12)]) == 0.0


@given(PAIRS, st.sampled_from([0.2, 0.5, 0.7, 1.0]))
def test_iou_f1_is_that_of_all_pairs(pair: tuple[list[bool], list[bool]], threshold: float) -> None:
    one, other = ([set(range(*span)) for span in runs(each)] for each in pair)
    if not one or not other:
        return
    shares = [
        sum(any(len(a & b) / len(a | b) >= threshold for b in theirs) for a in own) / len(own)
        for own, theirs in ((one, other), (other, one))
    ]
    expected = 2 * shares[0] * shares[1] / sum(shares) if sum(shares) else 0.0
    assert iou_f1(runs(pair[0]), runs(pair[1]), threshold) == pytest.approx(expected)


@given(PAIRS)
def test_iou_f1_is_f1_and_symmetric(pair: tuple[list[bool], list[bool]]) -> None:
    one, other = runs(pair[0]), runs(pair[1])
    assert 0.0 <= span_f1(one, other) <= iou_f1(one, other) == iou_f1(other, one) <= 1.0
    assert iou_f1(one, one) == 1.0


@pytest.mark.parametrize(
    ("relevances", "marked", "area"),
    [
        ([3.0, 2.0, 1.0], "xx.", 1.0),
        ([3.0, 2.0, 1.0], ".xx", (1 / 2 + 2 / 3) / 2),
        ([3.0, 2.0, 1.0], "x.x", (1 + 2 / 3) / 2),
        ([1.0, 1.0, 1.0, 1.0], "x...", 0.25),  # all at once
        ([1.0, -5.0, -1.0, 0.0], "xx..", (1 + 2 / 4) / 2),  # below zero is as zero
    ],
)
def test_auprc_by_hand(relevances: list[float], marked: str, area: float) -> None:
    assert auprc(relevances, mask(marked)) == pytest.approx(area)


@given(MASKS.filter(any), st.data())
def test_auprc_is_the_mean_precision_at_marked_words(marked: list[bool], data: st.DataObject) -> None:
    values = st.sampled_from([-1.0, 0.0, 0.25, 0.5, 2.0]) | st.floats(-1, 10)
    relevances = data.draw(st.lists(values, min_size=len(marked), max_size=len(marked)))
    precisions = []
    for i in (i for i, mark in enumerate(marked) if mark):
        taken = [mark for relevance, mark in zip(relevances, marked, strict=True) if relevance >= max(0, relevances[i])]
        precisions.append(sum(taken) / len(taken) if relevances[i] > 0 else sum(marked) / len(marked))
    assert auprc(relevances, marked) == pytest.approx(math.fsum(precisions) / len(precisions), abs=1e-12)


def test_without_marks_there_is_no_area() -> None:
    for measure in (lambda: auprc([1.0], [False]), lambda: random_auprc([False])):
        with pytest.raises(InputError, match="no word is marked"):
            measure()


@pytest.mark.parametrize("marked", ["x....", "xx...", "x.x.x", "xxxxx", "x"])
def test_chance_is_the_mean_over_all_choices(marked: str) -> None:
    own = mask(marked)
    orders = list(itertools.permutations(range(len(own))))
    choices = list(itertools.combinations(range(len(own)), sum(own)))
    as_masks = [[i in chosen for i in range(len(own))] for chosen in choices]
    f1 = math.fsum(token_f1(choice, own) for choice in as_masks) / len(choices)
    assert random_token_f1(own) == pytest.approx(f1)
    area = math.fsum(auprc([float(i + 1) for i in order], own) for order in orders) / len(orders)
    assert random_auprc(own) == pytest.approx(area)
    exact = math.fsum(iou_f1(runs(choice), runs(own)) for choice in as_masks) / len(choices)
    assert random_iou_f1(own, draws=2000) == pytest.approx(exact, abs=0.03)
    assert random_iou_f1(own) == random_iou_f1(own)


def test_scores_are_where_the_paper_has_them() -> None:
    assert plausibility.THRESHOLD == 0.5
    assert all("DeYoung et al. 2020" in str(measure.__doc__) for measure in (token_f1, iou_f1, auprc))
