"""Stability: the order of the words that two texts share."""

from __future__ import annotations

import pytest
from bag_of_words import explainer, scored

from textlrp import faithfulness
from textlrp.errors import InputError
from textlrp.evaluate.baselines import scorer
from textlrp.evaluate.scorers import Scorer, Task
from textlrp.results.attribution import Attribution

#: Relevances of each text, token by token.
SCORES = {
    "great film bad moving": [3.0, 0.0, -2.0, 1.0],
    "Great plot bad moving": [3.0, 9.0, -2.0, 1.0],
    "moving": [1.0],
    "great film , never bad moving": [5.0, 2.0, 9.0, -9.0, 3.0, 2.5],
    "great great": [1.0, 1.0],
}


def by_hand(targets: list[object]) -> Scorer:
    def score(task: Task) -> Attribution:
        targets.append(task.target)
        return scored(task.explainer, task.text, SCORES[task.text])

    return Scorer(score)


def test_the_words_that_differ_do_not_count() -> None:
    model, text, targets = explainer(), "great film bad moving", []
    method = by_hand(targets)
    assert faithfulness.stability(model, method, text, "Great plot bad moving") == 1.0
    assert targets == [None, "POS"]  # the second text is explained for the label of the first
    # 3, 0, -2, 1 and 5, 2, 3, 2.5: "great" comes first in both; of the other pairs one is alike and two are not
    assert faithfulness.stability(model, method, text, "great film , never bad moving") == pytest.approx((4 - 2) / 6)
    assert faithfulness.stability(model, method, "great great", "great great") is None
    with pytest.raises(InputError, match="the texts share 1 of the words that the model reads: stability compares"):
        faithfulness.stability(model, method, text, "moving")


def test_a_model_of_single_words_is_stable_and_random_scores_are_not() -> None:
    model = explainer()
    text, other = "great film bad moving never dull", "great film bad moving no dull"
    assert faithfulness.stability(model, scorer("occlusion"), text, other) == 1.0
    random = [faithfulness.stability(model, scorer("random"), text, other, seed=seed) for seed in range(40)]
    assert abs(sum(tau for tau in random if tau is not None) / 40) < 0.2
