"""The reference of an explanation, and its row in ledgers."""

from __future__ import annotations

import pytest
from example_explanations import measured

from textlrp import InputError, Ledger
from textlrp.results.reference import Reference, at_reference


def test_the_logit_of_a_label_or_of_a_difference() -> None:
    reference = Reference("[MASK]", {"NEG": 0.75, "POS": -0.5})
    assert reference.logit("POS") == -0.5
    assert reference.logit("POS", "NEG") == -1.25


@pytest.mark.parametrize(
    ("given", "wordless"),
    [((), True), (("mask",), True), (("mean", "zero", "pad"), True), ((".",), False), (("mask", "."), False)],
)
def test_whether_it_has_words(given: tuple[str, ...], wordless: bool) -> None:
    assert Reference("it", {}, given).wordless is wordless


def test_it_is_read_back() -> None:
    reference = Reference("mean of 2 references", {"NEG": 0.75, "POS": -0.5}, ("mean", "."))
    assert Reference.from_dict(reference.to_dict()) == reference
    with pytest.raises(InputError, match="an object was expected"):
        Reference.from_dict({"name": "it", "logits": "high"})


def test_a_ledger_has_one_row_of_the_reference() -> None:
    both = Ledger({"reference": 1.0, "reference (pinned)": 2.0, "tokens": 3.0}, 6.0)
    assert both.reference == 3.0
    assert at_reference(both, 3.5) == {"reference (pinned)": 3.5, "tokens": 3.0}
    assert at_reference(Ledger({"tokens": 3.0}, 3.0), 0.5) == {"reference": 0.5, "tokens": 3.0}


def test_what_is_explained_starts_at_the_reference() -> None:
    book = measured().ledger
    assert (book.logit, book.reference, book.explained) == (1.25, -0.5, 1.75)
    assert not book.pinned
    assert book.scale == book.words > 1.75  # the reference does not count
    assert list(book) == ["reference", "tokens", "residue"]
    from_zero = Ledger({"tokens": 1.0, "biases": 0.25}, 1.25)
    assert from_zero.reference == 0.0
    assert from_zero.explained == from_zero.logit


def test_the_share_that_the_words_hold() -> None:
    assert measured().ledger.held == 1.0
    assert measured(others={"masked": 0.4375}).ledger.held == pytest.approx(0.75)
    assert Ledger({"tokens": 1.0, "biases": 0.25}, 1.25).held == 0.8
    assert Ledger({"tokens": -1.0, "biases": 0.5}, -0.5).held == 2.0
    assert Ledger({"reference": 1.0}, 1.0).held is None
