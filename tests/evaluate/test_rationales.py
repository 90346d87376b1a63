"""Relevance against what people say: literal cases, and real texts where they are there."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textlrp import Explainer, Span
from textlrp.errors import InputError
from textlrp.evaluate.plausibility import auprc, marked_words, random_auprc
from textlrp.evaluate.rationales import (
    EditShares,
    Phrase,
    SignAgreement,
    agreement,
    ceiling,
    chance,
    counterfactual,
    edits,
    phrases,
    pointing,
    signed,
    words,
)
from textlrp.results import segmentation
from textlrp.results.attribution import Attribution

DATA = Path(__file__).parents[3] / "shared" / "data"
MASKS = st.lists(st.booleans(), min_size=1, max_size=8)


def mask(written: str) -> list[bool]:
    return [char == "x" for char in written]


def scored(text: str, scores: Sequence[float], target: str = "POS", **more: Any) -> Attribution:
    """A token for each word, with the scores in order; the marks between words have 50 each."""
    listed, tokens = iter(scores), [Span(0, 0, "", 9.0, True, "[CLS]")]
    for start, end in itertools.pairwise(segmentation.words(text)):
        if not text[start:end].isspace():
            score = next(listed, 0.0) if segmentation.is_word(text[start:end]) else 50.0
            tokens.append(Span(start, end, text[start:end], score))
    return Attribution(text, target, None, "by hand", tuple(tokens), 0.0, 0.0, 0.0, **more)


def found(text: str, part: str, rating: int) -> tuple[int, int, int]:
    return text.index(part), text.index(part) + len(part), rating


def test_words_are_more_than_punctuation() -> None:
    assert [word.text for word in words(scored("Not bad, is it?", [1, 2]))] == ["Not", "bad", "is", "it"]


@pytest.mark.parametrize(
    ("relevances", "marked", "hit"),
    [
        ([1, 3, 2], ".x.", 1.0),
        ([1, 3, 2], "x.x", 0.0),
        ([3, 3, 2], ".x.", 0.5),
        ([0, 0, 0, 0], "x...", 0.25),
        ([-3, -1], ".x", 1.0),
        ([-9, 1], "x.", 0.0),  # strong, but against the label
    ],
)
def test_pointing_by_hand(relevances: list[float], marked: str, hit: float) -> None:
    assert pointing(relevances, mask(marked)) == hit


@given(MASKS)
def test_pointing_at_random_is_the_share_of_marked_words(marked: list[bool]) -> None:
    places = range(len(marked))
    hits = [pointing([float(i == at) for i in places], marked) for at in places]
    assert sum(hits) / len(hits) == pytest.approx(sum(marked) / len(marked)) == pointing([0.0] * len(marked), marked)


SENTENCE = "A great film, but a dull plot."


def test_phrases_carry_the_sum_of_their_words() -> None:
    e = scored(SENTENCE, [0.5, 3, 1, 0, 0.25, -2, -1])
    ratings = [
        found(SENTENCE, "great", 4),
        found(SENTENCE, "great film,", 3),
        found(SENTENCE, "but", 2),
        found(SENTENCE, "a dull plot", 1),
        found(SENTENCE, "ull pl", 0),
        found(SENTENCE, ",", 1),
        found(SENTENCE, SENTENCE[:-1], 4),
        found(SENTENCE, SENTENCE, 4),
    ]
    expected = (
        Phrase(2, 7, 3.0, True),
        Phrase(2, 13, 4.0, True),
        Phrase(18, 29, -2.75, False),
        Phrase(21, 27, -2 * 3 / 4 - 1 * 2 / 4, False),
    )
    assert phrases(e, ratings) == expected
    against = phrases(replace(e, target="NEG"), ratings)
    assert [each.relevance for each in against] == [-3.0, -4.0, 2.75, 2.0]
    assert phrases(e, [(2, 7, 6)], neutral=5)[0].positive
    with pytest.raises(InputError, match="the scores are for 'joy', and the sign of a phrase needs them for 'POS' or"):
        phrases(replace(e, target="joy"), ratings)
    assert phrases(replace(e, target="joy"), ratings, positive="joy", negative="grief") == expected


def test_phrases_that_were_not_read_are_left_out() -> None:
    e = scored("A great film", [0.5, 3, 1])
    e = replace(e, text=SENTENCE, truncated=(12, 30))
    assert phrases(e, [found(SENTENCE, "great", 4), found(SENTENCE, "film, but", 4), found(SENTENCE, "dull", 0)]) == (
        Phrase(2, 7, 3.0, True),
    )


def sums(*values: float) -> list[Phrase]:
    """Positive phrases come first: those before the None."""
    at = values.index(None)  # type: ignore[arg-type]
    return [Phrase(0, 1, value, i < at) for i, value in enumerate(values) if value is not None]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((2.0, 1.0, None, -1.0), SignAgreement(1.0, 1.0, 2, 1)),
        ((-2.0, None, 1.0), SignAgreement(0.0, 0.0, 1, 1)),
        ((3.0, 3.0, 3.0, None, 2.0), SignAgreement(0.5, 1.0, 3, 1)),  # all is called positive: no better than chance
        ((1.0, -1.0, None, -3.0, 0.0), SignAgreement(0.625, 0.75, 2, 2)),  # (1/2 + 3/4) / 2; 3 of 4 pairs
        ((0.0, None, 0.0), SignAgreement(0.5, 0.5, 1, 1)),
        ((1.0, None), SignAgreement(None, None, 1, 0)),
        ((None, 1.0), SignAgreement(None, None, 0, 1)),
    ],
)
def test_signed_agreement_by_hand(values: Any, expected: SignAgreement) -> None:
    assert signed(sums(*values)) == expected


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=12))
def test_signed_agreement_is_that_of_scikit_learn(values: list[tuple[int, bool]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn, to compare with")
    relevances, truth = [float(r) for r, _ in values], [positive for _, positive in values]
    if len(set(truth)) < 2:
        return
    both = signed([Phrase(0, 1, r, positive) for r, positive in zip(relevances, truth, strict=True)])
    assert both.ranking == pytest.approx(metrics.roc_auc_score(truth, relevances))
    if 0.0 not in relevances:
        accuracy = metrics.balanced_accuracy_score(truth, [r > 0 for r in relevances])
        assert both.balanced_accuracy == pytest.approx(accuracy)


def test_agreement_with_several_annotators_by_hand() -> None:
    votes = [mask("xx.."), mask("x..."), mask("....")]
    both = agreement([3.0, -1.0, 2.0, 1.0], votes)
    assert both is not None
    # two words of highest relevance: 0 and 2; one: 0. The third annotator marked nothing.
    # Of spans 0-1 and 2-3, half are found in span 0-2, which is found itself.
    assert both.to_dict() == {
        "annotators": 2,
        "token_f1": (0.5 + 1.0) / 2,
        "iou_f1": pytest.approx((2 / 3 + 1.0) / 2),
        "auprc": pytest.approx(((1 + 2 / 4) / 2 + 1.0) / 2),
        "pointing": 1.0,
    }
    assert agreement([1.0], [mask(".")]) is None


def test_a_ceiling_by_hand() -> None:
    votes = [mask("xx.."), mask("x..."), mask("..x."), mask("....")]
    found = ceiling(votes)
    assert found is not None
    # Pairs: 2/3 between the first two, 0 with the third. Spans 0-2 and 0-1 overlap by half.
    assert (found.annotators, found.token_f1, found.iou_f1) == (3, pytest.approx(2 / 9), pytest.approx(1 / 3))
    # Votes of the others: 1 0 1 0 against xx..; 1 1 1 0 against x...; 2 1 0 0 against ..x.
    areas = [auprc([1, 0, 1, 0], votes[0]), auprc([1, 1, 1, 0], votes[1]), auprc([2, 1, 0, 0], votes[2])]
    assert areas == [pytest.approx(0.5 * 0.5 + 0.5 * 0.5), pytest.approx(1 / 3), pytest.approx(1 / 4)]
    assert found.auprc == pytest.approx(sum(areas) / 3)
    assert found.pointing == pytest.approx((0.5 + 1 / 3 + 0) / 3)
    assert ceiling([mask("x."), mask("..")]) is None
    assert ceiling([]) is None


def test_what_random_relevance_would_have() -> None:
    marked = mask("x.x.....")
    found = chance([marked, mask("........")])
    assert found is not None
    assert (found.annotators, found.token_f1, found.pointing) == (1, 0.25, 0.25)
    assert found.auprc == random_auprc(marked)
    assert 0 < found.iou_f1 < 0.5
    assert chance([]) is None


@given(st.integers(2, 6).flatmap(lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), max_size=4)))
def test_annotators_who_say_the_same_are_perfect(votes: list[list[bool]]) -> None:
    same = ceiling([votes[0], votes[0]]) if votes else None
    if same is not None:
        assert (same.token_f1, same.iou_f1, same.auprc, same.pointing) == (1.0, 1.0, pytest.approx(1.0), 1.0)
    for found in (ceiling(votes), agreement([float(i) for i in range(len(votes[0]))], votes) if votes else None):
        if found is not None:
            numbers = (found.token_f1, found.iou_f1, found.auprc, found.pointing)
            assert all(0 <= number <= 1 + 1e-12 for number in numbers)
            assert found.annotators == sum(map(any, votes))


def marked(text: str, other: str) -> list[str]:
    return [text[start:end] for start, end in edits(text, other)]


@pytest.mark.parametrize(
    ("text", "other", "edited"),
    [
        ("Long, boring film.", "Long, moving film!", ["boring"]),
        ("not good", "good", ["not"]),
        ("good", "not good", []),
        ("It is DULL", "it is dull", []),
        ("bad bad good", "bad good", ["bad"]),
        ("all of it", "nothing here", ["all", "of", "it"]),
        ("same", "same", []),
        ("映画は最高", "映画は最低", ["最高"]),
        ("😀 great", "😀 awful", ["great"]),
    ],
)
def test_edits_by_hand(text: str, other: str, edited: list[str]) -> None:
    assert marked(text, other) == edited


@given(
    st.lists(st.sampled_from("a b c d".split()), max_size=9), st.lists(st.sampled_from("a b c d".split()), max_size=9)
)
def test_what_is_not_edited_stands_in_both_texts_in_order(one: list[str], other: list[str]) -> None:
    text, version = " ".join(one), " ".join(other)
    changed = edits(text, version)
    rest = iter(other)
    kept = [text[i] for i in range(0, len(text), 2) if (i, i + 1) not in changed]
    assert all(word in rest for word in kept)  # `in` goes on from where it found the last one
    assert len(kept) + len(changed) == len(one)


def test_counterfactual_shares_by_hand() -> None:
    e = scored("A dull film, not great.", [0.5, 3, -1, -0.5, 1], "NEG")
    assert counterfactual(e, "A moving film, and great.") == EditShares(3.5 / 6, 3 / 4.5, 2 / 5, 2, 5)
    assert counterfactual(scored("A dull film", []), "A fine film") == EditShares(None, None, 1 / 3, 1, 3)
    assert counterfactual(scored("A dull film", [-1, -2, -3]), "A fine film") == EditShares(2 / 6, None, 1 / 3, 1, 3)
    assert counterfactual(e, "A dull film, not great, never.") is None
    assert counterfactual(e, "Wow!") is None
    short = replace(scored("A dull film", [1, 3, 1]), text="A dull film, not great.", truncated=(11, 23))
    assert counterfactual(short, "A fine film, so great.") == EditShares(0.6, 0.6, 1 / 3, 1, 3)


def rows(name: str, count: int) -> list[dict[str, Any]]:
    path = DATA / f"{name}.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"needs {path.name}, which is not part of the repository")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = (json.loads(line) for line in file)
        return list(itertools.islice((line for line in lines if line["split"] == "test"), count))


@pytest.fixture(scope="module", name="demo")
def built_in() -> Explainer:
    return Explainer.demo()


def test_signs_of_real_phrases(demo: Explainer) -> None:
    generator, ours, random_ones = random.Random(0), [], []
    for row in rows("sst", 25):
        e = demo.explain(row["text"], target="POS", contrast="NEG")
        noise = tuple(replace(span, relevance=generator.gauss(0, 1)) for span in e.tokens)
        ours += phrases(e, row["phrases"])
        random_ones += phrases(replace(e, tokens=noise), row["phrases"])
    found, nothing = signed(ours), signed(random_ones)
    assert found.ranking is not None
    assert found.balanced_accuracy is not None
    assert nothing.ranking is not None
    assert found.ranking > 0.75
    assert found.balanced_accuracy > 0.65
    assert 0.3 < nothing.ranking < 0.7


def test_people_agree_more_than_the_model_and_both_more_than_chance(demo: Explainer) -> None:
    names, measured = {"POS": "positive", "NEG": "negative"}, []
    for row in rows("sst_rationales", 25):
        e = demo.explain(row["text"], target=row["label"])
        counted = words(e)
        votes = [
            marked_words(counted, [(start, end, "text") for start, end in person["rationales"]])
            for person in row["annotators"]
            if person["label"] == names.get(row["label"])
        ]
        three = agreement([word.relevance for word in counted], votes), ceiling(votes), chance(votes)
        if three[1] is not None:
            measured.append(three)
    means = [sum(each.auprc for each in column if each) / len(measured) for column in zip(*measured, strict=True)]
    assert means[1] > means[0] > means[2]


def test_edited_words_carry_relevance(demo: Explainer) -> None:
    shares = []
    pairs = rows("counterfactual_movies", 24)
    for row in pairs:
        other = next((each for each in pairs if each["pair"] == row["pair"] and each["id"] != row["id"]), None)
        if other is not None and len(row["text"]) < 900:
            shares.append(counterfactual(demo.explain(row["text"], target=row["label"]), other["text"]))
    gains = [each.positive - each.chance for each in shares if each is not None and each.positive is not None]
    assert len(gains) > 8
    assert sum(gains) / len(gains) > 0.1
