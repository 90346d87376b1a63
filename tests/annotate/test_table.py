"""Numbers and names in the tables of a comparison; whole tables are in test_comparison.py."""

from __future__ import annotations

import pytest

from textlrp.annotate.table import number, together


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0.125, "0.12"), (1, "1.00"), (-0.001, "0.00")])
def test_a_number_has_two_decimals(value: float | None, text: str) -> None:
    assert number(value) == text


def test_two_names_are_one() -> None:
    assert together(("Ada", "Ben")) == "Ada and Ben"
