"""Faithfulness of scores: literal numbers on a bag of words, and the built-in classifier."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import statistics
from dataclasses import replace
from typing import Any

import pytest
from bag_of_words import WEIGHTS, explainer, scored

from textlrp import Explainer, Explanation, Span
from textlrp.data import corpora
from textlrp.errors import InputError
from textlrp.evaluate.faithfulness import MEASURES, Faithfulness, TextUnit, assess, perturbed, units
from textlrp.evaluate.faithfulness_measures import PerturbationCurve
from textlrp.results.attribution import Attribution

TEXT = "great film bad moving"  # 3 + 0 - 2 + 1


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def approx(values: Any) -> Any:
    return pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize("kind", ["mask", "delete", "zero"])
def test_the_right_scores_of_a_bag_of_words(kind: str) -> None:
    bag = explainer()
    found = assess(bag, scored(bag, TEXT, WEIGHTS), perturb=kind)
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    most, least = (2.0, -1.0, -2.0, -2.0, 0.0), (2.0, 4.0, 4.0, 3.0, 0.0)
    assert found.morf == PerturbationCurve(shares, approx(most), approx(tuple(map(sigmoid, most))))
    assert found.lerf == PerturbationCurve(shares, approx(least), approx(tuple(map(sigmoid, least))))
    assert found.area == approx((5 + 6 + 5) / 4)
    chances = [sigmoid(4) - sigmoid(-1) + sigmoid(4) - sigmoid(-2) + sigmoid(3) - sigmoid(-2)]
    assert found.area_probability == approx(chances[0] / 4)
    # 1, 5, 10, 20 % of four units are one unit, 50 % are two
    assert found.comprehensiveness_logit == approx((4 * 3 + 4) / 5)
    assert found.sufficiency_logit == approx((4 * -1 + -2) / 5)
    assert found.comprehensiveness_at == approx([sigmoid(2) - sigmoid(-1)] * 4 + [sigmoid(2) - sigmoid(-2)])
    assert found.sufficiency_at == approx([sigmoid(2) - sigmoid(3)] * 4 + [sigmoid(2) - sigmoid(4)])
    assert found.comprehensiveness == approx(math.fsum(found.comprehensiveness_at) / 5)
    assert found.sufficiency == approx(math.fsum(found.sufficiency_at) / 5)
    assert found.leave_one_out == 1.0
    assert found.infidelity == found.infidelity_scaled == approx(0.0)
    assert (found.shapley, found.completeness, found.completeness_error) == (approx(1.0), approx(1.0), approx(0.0))
    assert (found.logit, found.empty_logit, found.units, found.left_out) == (2.0, 0.0, 4, 4)
    assert (found.probability, found.empty_probability) == (approx(sigmoid(2)), approx(0.5))
    assert (found.method, found.target, found.contrast, found.by) == ("by hand", "POS", None, "token")
    assert (found.perturbation, found.replacement) == (kind, "[MASK]" if kind == "mask" else "")
    assert set(found.scores) == set(MEASURES) == {name for name in MEASURES if hasattr(found, name)}


def test_wrong_scores_of_a_bag_of_words() -> None:
    bag = explainer()
    opposite = assess(bag, scored(bag, TEXT, {piece: -weight for piece, weight in WEIGHTS.items()}))
    assert (opposite.area, opposite.leave_one_out, opposite.infidelity_scaled) == (approx(-4.0), -1.0, 1.0)
    doubled = assess(bag, scored(bag, TEXT, {piece: 2 * weight for piece, weight in WEIGHTS.items()}))
    assert (doubled.area, doubled.leave_one_out, doubled.infidelity_scaled) == (approx(4.0), 1.0, approx(0.0))
    assert (doubled.shapley, doubled.completeness, doubled.completeness_error) == (
        approx(1.0),
        approx(2.0),
        approx(1.0),
    )
    assert (opposite.shapley, opposite.completeness, opposite.completeness_error) == (
        approx(-1.0),
        approx(-1.0),
        approx(2.0),
    )
    # twice the change is expected, so each error is the change itself
    equal = assess(bag, scored(bag, TEXT, {}))
    assert doubled.infidelity == approx(equal.infidelity)
    assert doubled.infidelity > 1
    assert (equal.leave_one_out, equal.infidelity_scaled) == (None, 1.0)
    assert (equal.shapley, equal.completeness, equal.completeness_error) == (None, 0.0, 1.0)
    # for the other label, whose logit is always 0, nothing counts
    other = assess(bag, scored(bag, TEXT, WEIGHTS, "NEG"))
    assert (other.area, other.leave_one_out, other.infidelity_scaled) == (0.0, None, None)
    assert (other.shapley, other.completeness, other.completeness_error) == (None, None, None)
    assert other.comprehensiveness == approx(1 - sigmoid(2) - (4 * sigmoid(1) + sigmoid(2)) / 5)


def test_the_perturbations_measure_different_things() -> None:
    bag = explainer(each=0.5, mask=10.0)
    scores = scored(bag, TEXT, WEIGHTS)
    mask, delete, zero = (assess(bag, scores, perturb=kind) for kind in ("mask", "delete", "zero"))
    assert (mask.empty_logit, delete.empty_logit, zero.empty_logit) == (approx(43.0), approx(1.0), approx(3.0))
    # what each id weighs whatever it is drops out of the difference of both curves, and so does what masks add
    assert mask.area == delete.area == zero.area == approx(4.0)
    assert zero.infidelity == approx(0.0)
    assert delete.infidelity > 0.5
    assert mask.infidelity > 50
    assert (mask.leave_one_out, delete.leave_one_out, zero.leave_one_out) == (1.0, 1.0, 1.0)


def test_tokens_of_other_texts_in_the_place_of_removed_ones() -> None:
    bag = explainer(each=0.5)
    scores = scored(bag, TEXT, WEIGHTS)
    found = assess(bag, scores, perturb="replace", background=["great", "great great"])
    # every token becomes "great": four of them, and six ids
    assert found.morf.logits == approx((5.0, 5.0, 7.0, 10.0, 15.0))
    assert found.lerf.logits == approx((5.0, 10.0, 13.0, 15.0, 15.0))
    assert (found.perturbation, found.replacement, found.empty_logit) == ("replace", "", approx(15.0))
    assert found.forwards % 5 in (1, 2)  # the text as it is, maybe a check of batches, and five draws for each set
    assert found.forwards > 5 * 10
    known = perturbed(bag, scores, "replace", background=["great"])
    assert assess(bag, scores, perturb="replace", known=known).area == found.area
    with pytest.raises(InputError, match="known= has drawn from the background with the seed 0, and seed= is 1"):
        assess(bag, scores, perturb="replace", known=known, seed=1)
    with pytest.raises(InputError, match="to perturb by 'replace', other texts must be given"):
        assess(bag, scores, perturb="replace")


def test_shapley_values_are_measured_for_up_to_nine_units() -> None:
    bag = explainer()
    nine = "great film bad moving great film bad moving great"
    found = assess(bag, scored(bag, nine, WEIGHTS), left_out=1, draws=1)
    assert (found.units, found.shapley) == (9, approx(1.0))
    assert 2**9 <= found.forwards <= 2**9 + 1
    scores = scored(bag, nine, [3.0, 0.0, -2.0, 1.0, 3.0, 0.0, -2.0, 1.0, 0.0])
    assert assess(bag, scores, left_out=1, draws=1).shapley == approx(
        statistics.correlation([3, 0, -2, 1, 3, 0, -2, 1, 3], [3, 0, -2, 1, 3, 0, -2, 1, 0])
    )
    ten = assess(bag, scored(bag, f"{nine} film", WEIGHTS), left_out=1, draws=1)
    assert (ten.units, ten.shapley) == (10, None)
    assert ten.forwards < 40


def test_equal_scores_are_not_ranked_by_position() -> None:
    bag = explainer()
    scores = scored(bag, "great film film film", {})
    areas = [assess(bag, scores, seed=seed, draws=1).area for seed in range(60)]
    assert {round(area, 5) for area in areas} == {2.25, 0.75, -0.75, -2.25}
    assert abs(math.fsum(areas) / 60) < 0.7  # by position it would be 2.25
    assert assess(bag, scores, seed=7) == assess(bag, scores, seed=7)


def test_long_texts_have_at_most_so_many_steps() -> None:
    bag = explainer()
    scores = scored(bag, "great film bad moving " * 25, WEIGHTS)
    found = assess(bag, scores, left_out=30, draws=8)
    assert (found.units, len(found.morf.shares), found.left_out, found.draws) == (100, 21, 30, 8)
    assert found.leave_one_out == 1.0
    assert found.morf.logits[:6] == approx((50, 35, 20, 5, -10, -25))
    assert found.forwards <= 1 + 2 * 20 + 10 + 30 + 8 + 1
    assert (found.shapley, found.completeness) == (None, approx(1.0))
    assert len(assess(bag, scores, steps=4, left_out=1, draws=1).lerf.logits) == 5
    one = assess(bag, scored(bag, "great", WEIGHTS))
    assert (one.area, one.leave_one_out, one.comprehensiveness_logit) == (0.0, None, 3.0)


def test_scores_of_the_same_text_share_what_the_model_reads() -> None:
    bag = explainer()
    right, wrong = scored(bag, TEXT, WEIGHTS), scored(bag, TEXT, {"film": 1.0, "bad": 0.5})
    known = perturbed(bag, right)
    first = assess(bag, right, known=known)
    second = assess(bag, wrong, known=known)
    again = assess(bag, right, known=known)
    assert first.forwards + 1 == assess(bag, right).forwards  # known= has read the text as it is
    assert second.forwards == 0  # all sets of four tokens were read for the first
    assert again == replace(first, forwards=0)
    assert second == replace(assess(bag, wrong), forwards=second.forwards)
    with pytest.raises(InputError, match="known= belongs to another text or to another perturbation"):
        assess(bag, right, known=known, perturb="zero")
    with pytest.raises(InputError, match="the scores are for 'NEG' against None, and known= is for 'POS' against None"):
        assess(bag, scored(bag, TEXT, WEIGHTS, "NEG"), known=known)


def test_words_are_perturbed_whole() -> None:
    bag = explainer()
    scores = scored(bag, "never wonderful, bad!", [1.0, 0.5, 0.25, 2.0, -3.0, 0.125])
    assert [span.piece for span in scores.tokens][1:-1] == ["never", "wonder", "##ful", ",", "bad", "!"]
    words = [TextUnit(frozenset(tokens), score) for tokens, score in (([1], 1), ([2, 3], 0.75), ([4], 2), ([5], -3))]
    assert units(scores, "word") == (*words, TextUnit(frozenset([6]), 0.125))
    assert len(units(scores)) == 6
    assert units(scores, "sentence") == (TextUnit(frozenset(range(1, 7)), approx(0.875)),)
    found = assess(bag, scores, by="word")
    assert (found.by, found.units, len(found.lerf.shares)) == ("word", 5, 6)
    with pytest.raises(InputError, match="token, word, sentence, not by 'letter'"):
        assess(bag, scores, by="letter")


def test_a_token_over_a_boundary_belongs_to_the_side_that_has_more_of_it() -> None:
    def token(start: int, end: int, source: str = "text") -> Span:
        text = {"text": "ab cdef, gh", "text_pair": "ij kl"}[source]
        return Span(start, end, text[start:end], 1.0, source=source)

    spans = [token(0, 4), token(4, 5), token(5, 11), token(2, 3), token(3, 3), token(0, 2, "text_pair")]
    scores = Attribution("ab cdef, gh", "POS", None, "", (*spans, token(3, 5, "text_pair")), 0, 0, 0, "ij kl")
    # "ab c" has more of "ab"; "ef, gh" two letters of either word, so the first; the space has a token of its own
    expected = [{0}, {1, 2, 4}, {3}, {5}, {6}]
    assert [set(unit.tokens) for unit in units(scores, "word")] == expected


@pytest.fixture(scope="module", name="demo")
def built_in() -> Explainer:
    return Explainer.demo()


def test_explanations_against_a_contrast_are_measured_as_such(demo: Explainer) -> None:
    e = demo.explain("The plot is thin.", target="NEG", contrast="POS")
    found = assess(demo, e, left_out=2, draws=2)
    assert (found.method, found.target, found.contrast) == ("attnlrp", "NEG", "POS")
    assert found.logit == pytest.approx(e.logit, abs=1e-4)
    assert found.morf.logits[0] == found.logit
    assert found.morf.logits[-1] == found.lerf.logits[-1] == found.empty_logit
    assert Faithfulness.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    newer = ("shapley", "completeness", "completeness_error")
    older = {key: value for key, value in found.to_dict().items() if key not in newer}
    assert Faithfulness.from_dict(older) == dataclasses.replace(found, **dict.fromkeys(newer))


@pytest.mark.parametrize("kind", ["mask", "delete", "zero"])
def test_attnlrp_beats_random_scores_on_the_built_in_classifier(demo: Explainer, kind: str) -> None:
    generator = random.Random(0)
    documents = list(corpora.load("reviews"))[:8]
    better: dict[str, list[float]] = {}
    for e in demo.explain_batch([document.text for document in documents]):
        assert isinstance(e, Explanation)
        tokens = tuple(replace(span, relevance=generator.gauss(0, 1)) for span in e.tokens)
        known = perturbed(demo, e, kind)
        ours, theirs = (
            assess(demo, each, perturb=kind, by="word", left_out=10, draws=10, known=known)
            for each in (e, replace(e, tokens=tokens))
        )
        for name, more in MEASURES.items():
            one, other = ours.scores[name], theirs.scores[name]
            if name == "shapley":  # the texts are longer
                assert one is other is None
                continue
            assert one is not None
            assert other is not None
            better.setdefault(name, []).append(one - other if more else other - one)
    assert {name for name, gains in better.items() if math.fsum(gains) <= 0} == set()
    assert min(better["area"]) > 0


def test_no_numbers_from_scores_that_are_not_those_of_the_model() -> None:
    bag = explainer()
    scores = scored(bag, TEXT, WEIGHTS)
    with pytest.raises(InputError, match="the scores are for 5 tokens, and they are not the 6 that the model reads"):
        assess(bag, replace(scores, tokens=scores.tokens[:-1]))
    with pytest.raises(InputError, match="the score of 'great' at character 0 is nan, no number"):
        assess(bag, scored(bag, TEXT, {"great": math.nan}))
    with pytest.raises(InputError, match="steps is a number of steps, 1 or more, not 0"):
        assess(bag, scores, steps=0)
    with pytest.raises(InputError, match="there is no label 'LABEL_7'"):
        assess(bag, replace(scores, target="LABEL_7"))


@pytest.mark.parametrize(
    "change", [{"format": 2}, {"area": None, "extra": 1}, {"morf": 3}, {"morf": {"x": []}}, {"sufficiency_at": None}]
)
def test_results_that_were_changed_are_no_results(change: dict[str, Any]) -> None:
    bag = explainer()
    values = assess(bag, scored(bag, TEXT, WEIGHTS)).to_dict()
    assert Faithfulness.from_dict(values).to_dict() == values
    with pytest.raises(InputError, match="this is not a result of faithfulness"):
        Faithfulness.from_dict(values | change)
    with pytest.raises(InputError, match="this is not a result of faithfulness"):
        Faithfulness.from_dict([])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"area": "0.5"}, "area is '0.5'"),
        ({"area": None}, "area is None"),
        ({"logit": math.nan}, "logit is nan"),
        ({"logit": True}, "logit is True"),
        ({"units": 1.5}, "units is 1.5"),
        ({"target": 3}, "target is 3"),
        ({"sufficiency_at": ["x"]}, "sufficiency_at is 'x'"),
        ({"morf": {"shares": [0.0], "logits": [None]}}, "morf.logits is None"),
        ({"morf": 3}, "it was changed"),
        ({"format": True}, "not a result of faithfulness of format 1"),
    ],
)
def test_a_result_that_was_changed_is_said_so(changed: dict[str, Any], says: str) -> None:
    values = assess(explainer(), scored(explainer(), TEXT, WEIGHTS)).to_dict()
    assert Faithfulness.from_dict(values).to_dict() == values
    with pytest.raises(InputError, match=says):
        Faithfulness.from_dict({**values, **changed})
