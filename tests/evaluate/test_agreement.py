"""Agreement beyond chance: numbers from the literature, those of the definition, and no NaN."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textlrp.evaluate.agreement import alpha, kappa, majority, mean, shared

LABELS = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["X", "Y", "Z"]))


def coded(row: str) -> dict[str, str]:
    """One character a document; a star is a gap."""
    return {str(i): char for i, char in enumerate(row) if char != "*"}


def test_alpha_of_the_example_that_everyone_uses() -> None:
    # Krippendorff 2011, section D: four observers, twelve units, gaps; nominal alpha is 0.743
    rows = ["123321412***", "1233224125*3", "*3332342251*", "12332441251*"]
    assert alpha([coded(row) for row in rows]) == pytest.approx(0.743, abs=5e-4)


def test_alpha_by_hand() -> None:
    # Documents XX, XY, YY, YY: coincidences XX 2, XY 1, YX 1, YY 4 of 8; 3 X and 5 Y.
    # alpha = 1 - 7 * 1 / (3 * 5)
    assert alpha([coded("XXYY"), coded("XYYY")]) == pytest.approx(1 - 7 / 15)
    assert alpha([coded("XXYY"), coded("XXYY")]) == 1.0
    assert alpha([coded("XY"), coded("YX")]) == pytest.approx(-0.5)


def test_what_is_not_defined_is_none() -> None:
    assert alpha([coded("XYX")]) is None
    assert alpha([coded("X*"), coded("*Y")]) is None
    assert alpha([coded("XX"), coded("XX")]) is None
    assert alpha([]) is None
    assert kappa(coded("X*"), coded("*Y")) is None
    assert kappa(coded("XX"), coded("XX")) is None
    assert kappa({}, {}) is None
    assert mean([]) is None


def test_kappa_by_hand() -> None:
    # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: p_o 0.7, p_e 0.5
    one = coded("y" * 25 + "n" * 25)
    other = coded("y" * 20 + "n" * 5 + "y" * 10 + "n" * 15)
    assert kappa(one, other) == pytest.approx(0.4)
    assert kappa(coded("XY"), coded("YX")) == -1.0
    assert kappa(coded("XX"), coded("YY")) == 0.0


@given(LABELS, LABELS)
def test_kappa_is_that_of_its_definition(one: dict[str, str], other: dict[str, str]) -> None:
    documents = shared([one, other])
    found = kappa(one, other)
    if found is None:
        assert len({given[document] for given in (one, other) for document in documents}) <= 1
        return
    size = len(documents)
    observed = sum(one[document] == other[document] for document in documents) / size
    counts = [Counter(given[document] for document in documents) for given in (one, other)]
    expected = sum(counts[0][label] * counts[1][label] for label in counts[0]) / size**2
    assert found == pytest.approx((observed - expected) / (1 - expected), abs=1e-12)


@given(st.lists(LABELS, max_size=4))
def test_alpha_is_at_most_one_and_never_nan(given_labels: list[dict[str, str]]) -> None:
    found = alpha(given_labels)
    assert found is None or found <= 1.0
    assert found == alpha(given_labels[::-1]) or found == pytest.approx(alpha(given_labels[::-1]))


def test_the_majority_is_more_than_half() -> None:
    assert majority([[True, True, False], [True, False, False], [True, True, True]]) == (True, True, False)
    assert majority([[True, True, False], [True, False, False]]) == (True, False, False)
    assert majority([[True, False]]) == (True, False)
    assert mean([1.0, 2.0]) == 1.5
