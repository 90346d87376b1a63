"""The measures of a document, counted by hand."""

from __future__ import annotations

import pytest
from bag_of_words import explainer, scored
from example_evaluations import plan

from textlrp.evaluate.measures import FAITHFUL, PLAUSIBLE, faithfulness, plausibility, score
from textlrp.evaluate.perturbation import Perturbed

WEIGHTS = [3.0, 0.0, -2.0]


def test_plausibility_of_a_document() -> None:
    attribution = scored(explainer(), "great film bad", WEIGHTS)
    values = plausibility(attribution, [(0, 10)])
    assert values == {"auprc": pytest.approx(5 / 6), "token_f1": pytest.approx(2 / 3), "iou_f1": 1.0, "pointing": 1.0}
    assert list(values) == [measure.key for measure in PLAUSIBLE]
    assert plausibility(attribution, []) == plausibility(attribution, [(5, 6)]) == {}


def test_outputs_are_shared_by_perturbation() -> None:
    known: dict[str, Perturbed] = {}
    model = explainer()
    attribution = scored(model, "great film bad", WEIGHTS)
    first, second = (faithfulness(model, attribution, "mask", plan(by="token", seed=0), known) for _ in range(2))
    assert list(known) == ["mask"]
    assert first["forwards"] > second["forwards"] == 0
    assert {measure.key for measure in FAITHFUL} <= set(first)


def test_a_measure_can_be_undefined() -> None:
    assert score({"area": 2}, FAITHFUL[0]) == 2.0
    assert score({"area": None}, FAITHFUL[0]) is score({}, FAITHFUL[0]) is None
