"""Scorers hand their arguments to a method, with the seed checked."""

from __future__ import annotations

from typing import Any

import pytest

from textlrp.errors import InputError
from textlrp.evaluate.scorers import Scorer


def test_a_method_gets_every_argument_with_its_default() -> None:
    method: Any = lambda task: task  # noqa: E731
    task: Any = Scorer(method)("explainer", "a text", target="POS")  # type: ignore[arg-type]
    assert (task.explainer, task.text, task.text_pair) == ("explainer", "a text", None)
    assert (task.target, task.contrast, task.seed) == ("POS", None, 0)


def test_a_seed_is_a_whole_number() -> None:
    with pytest.raises(InputError, match="seed is a whole number"):
        Scorer(lambda task: pytest.fail("called"))("explainer", "a text", seed=0.5)  # type: ignore[arg-type]
