"""Costs as lines of text; whole audits are shown in test_audit.py."""

from __future__ import annotations

import pytest

from textlrp.check.cost import GRADIENT, CandidateCost, Cost, Spread
from textlrp.check.table import cost_lines, size


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (2048, "2 KiB"), (2**20 - 1, "1024 KiB"), (3 * 2**19, "1.5 MiB")]
)
def test_a_size_has_its_unit(value: int, text: str) -> None:
    assert size(value) == text


def test_costs_are_columns_with_ratios() -> None:
    one, two = Spread(1.0, 1.0, 1.0), Spread(2.0, 1.5, 2.5)
    runs = (CandidateCost(GRADIENT, one, one, one, 2**20, 1.0), CandidateCost("attnlrp", two, two, two, 2**21, 2.0))
    lines = [line.plain for line in cost_lines(Cost(1, 8, 7, 1, runs), "price")]
    assert lines == [
        "price               time  ratio     quartiles  activations  ratio",
        "gradient x input  1.00 s   1.00                    1.0 MiB   1.00",
        "attnlrp           2.00 s   2.00  1.50 to 2.50      2.0 MiB   2.00",
        "1 x 8 ids, 1 thread, medians of 7 repeats, ratios to gradient x input",
    ]


def test_a_cost_that_was_not_measured_has_a_reason() -> None:
    assert [line.plain for line in cost_lines("no\x1btext")] == ["cost      not measured: no␛text"]
