"""The search for the order with the largest area: that of all orders where the beam is wide enough."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest
from bag_of_words import WEIGHTS, explainer, scored
from tiny_bert import bert, fast_tokenizer

from textlrp import Explainer
from textlrp.errors import InputError
from textlrp.evaluate import baselines
from textlrp.evaluate.faithfulness import assess, perturbed

WORDS = "a the film plot is and wonderful moving never dull bad no great".split()
FIVE = "never dull , great plot"


@pytest.fixture(scope="module")
def encoder() -> Explainer:
    tokenizer = fast_tokenizer("wordpiece")
    return Explainer(bert(len(tokenizer), num_hidden_layers=2), tokenizer)


@pytest.mark.parametrize("kind", ["mask", "delete", "zero"])
def test_a_wide_beam_finds_the_best_of_all_orders(encoder: Explainer, kind: str) -> None:
    found = baselines.scorer(f"beam:50:{kind}")(encoder, FIVE, target="POS")
    scores = [span.relevance for span in found.tokens]
    assert sorted(scores) == [0, 0, 1, 2, 3, 4, 5]
    known = perturbed(encoder, found, kind)
    areas = []
    for order in itertools.permutations(range(1, 6)):
        logits = [o.logit for o in known.outcomes([set(order[:k]) for k in range(1, 5)])]
        others = [o.logit for o in known.outcomes([set(order[k:]) for k in range(1, 5)])]
        areas.append((math.fsum(others) - math.fsum(logits)) / 5)
    assert len(set(areas)) > 20
    assert assess(encoder, found, perturb=kind, known=known).area == pytest.approx(max(areas), abs=1e-5)
    assert found.forwards <= 1 + 2**5 + 2  # every set once, the text, and checks of batches
    assert found.logit == pytest.approx(encoder.explain(FIVE, target="POS").logit, abs=1e-5)


def test_no_area_is_below_that_of_occlusion(encoder: Explainer) -> None:
    generator = random.Random(0)
    gains = []
    for _ in range(6):
        text = " ".join(generator.sample(WORDS, 8))
        beam, occlusion = (baselines.scorer(name)(encoder, text) for name in ("beam", "occlusion"))
        gains.append(assess(encoder, beam).area - assess(encoder, occlusion).area)
    assert min(gains) > -1e-6
    assert max(gains) > 0.01


def test_tokens_are_ranked_and_ties_are_drawn() -> None:
    model = explainer()
    found = baselines.scorer("beam")(model, "bad film great moving", target="POS")
    assert {span.text: span.relevance for span in found.tokens if not span.special} == {
        "great": 4.0, "moving": 3.0, "film": 2.0, "bad": 1.0
    }  # fmt: skip
    assert assess(model, found).area == assess(model, scored(model, found.text, WEIGHTS)).area
    method = baselines.scorer("beam")
    firsts = [
        max(method(model, "film film film", seed=seed).tokens, key=lambda span: span.relevance).start
        for seed in range(20)
    ]
    assert set(firsts) == {0, 5, 10}
    first, second = (replace(method(model, "film film film", seed=3), seconds=0.0) for _ in range(2))
    assert first == second
    assert [span.relevance for span in method(model, "great").tokens] == [0.0, 1.0, 0.0]


def test_a_long_text_is_refused() -> None:
    baselines.scorer("beam:1")(explainer(), "great " * 24)
    with pytest.raises(InputError, match="beam searches texts of up to 24 tokens, and this one has 25: choose shorter"):
        baselines.scorer("beam:1")(explainer(), "great " * 25)
    with pytest.raises(InputError, match="beam takes a number of sets of each size and one of mask, delete, zero, not"):
        baselines.scorer("beam:pad")
