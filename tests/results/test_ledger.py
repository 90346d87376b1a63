"""The rows of a ledger add up to the logit, and the residue shows what is missing."""

import json
import math
from collections.abc import Mapping

import pytest

from textlrp.errors import InputError, NonFiniteError, UnbalancedLedgerError
from textlrp.results import ledger
from textlrp.results.ledger import Ledger

ROWS = {"biases": -0.25, "tokens": 1.5, "softmax": 0.125}


def test_rows_and_residue():
    book = Ledger(ROWS, logit=1.5)
    assert book["tokens"] == 1.5
    assert book["positions"] == 0.0
    assert book["residue"] == book.residue == 0.125
    assert book.scale == 1.875
    assert book.words == 1.5
    assert book.yardstick == pytest.approx(1.5 + 64 * 2**-24 / 1e-4 * (1.875 + 1.5))  # and 64 roundings of all
    assert book.imbalance == 0.125 / book.yardstick
    assert not book.balanced


def test_it_is_a_mapping_in_reading_order():
    book = Ledger(ROWS, logit=1.375)
    assert isinstance(book, Mapping)
    assert list(book) == ["tokens", "biases", "softmax", "residue"]
    assert dict(book) == {"tokens": 1.5, "biases": -0.25, "softmax": 0.125, "residue": 0.0}
    assert len(book) == 4
    assert sum(book.values()) == book.logit


def test_every_heading_can_be_asked_for_and_no_other():
    book = Ledger({}, logit=0.0)
    assert [book[heading] for heading in ledger.HEADINGS] == [0.0] * len(ledger.HEADINGS)
    with pytest.raises(KeyError, match="magic"):
        book["magic"]
    assert book.get("magic") is None
    assert "magic" not in book


def test_what_is_not_listed_is_not_contained():
    """A mapping must agree with itself: iteration yields the keys that `in` affirms."""
    book = Ledger(ROWS, logit=1.375)
    assert all(heading in book for heading in book)
    assert {heading for heading in (*ledger.HEADINGS, "residue") if heading in book} == set(book)


def test_a_balanced_ledger_checks_as_itself():
    book = Ledger(ROWS, logit=1.375)
    assert book.balanced
    assert book.check() is book


def test_the_tolerance_is_relative_to_the_words():
    """A large row hides nothing: as large as it is, only a few roundings of it are let through."""
    for rows in ({"tokens": 0.5}, {"tokens": 0.5, "biases": 0.25}):
        total = sum(rows.values())
        assert Ledger(rows, total + 0.00005).balanced
        assert not Ledger(rows, total + 0.00006).balanced
        assert Ledger(rows, total + 0.0005, tolerance=1e-3).balanced
    assert not Ledger({"tokens": 0.5, "biases": 500.0, "norms": -499.0}, 1.5 + 0.01).balanced


@pytest.mark.parametrize(("tolerance", "rounding"), [(1e-4, 2.0**-24), (1e-9, 2.0**-53)], ids=["float32", "float64"])
def test_where_the_words_hold_nearly_nothing_the_roundings_of_a_large_row_are_none_of_their_faults(tolerance, rounding):
    for words in (1e-3, 0.0):
        rows = {"tokens": words, "softmax": 1000.0}
        assert Ledger(rows, words + 1000.0 + 100 * 1000 * rounding, tolerance).check()
        assert not Ledger(rows, words + 1000.0 + 300 * 1000 * rounding + 1e-7, tolerance).balanced


@pytest.mark.parametrize("tolerance", [2e-2, 1e-1], ids=["float16", "bfloat16"])
def test_in_16_bits_a_residue_of_the_size_of_the_words_is_an_error_whatever_the_other_rows(tolerance):
    rows = {"tokens": 1.0, "norms": 300.0}
    assert Ledger(rows, 301.24, tolerance).check().exactness == pytest.approx(0.24)
    with pytest.raises(UnbalancedLedgerError, match=r"where the words hold 1 \(0\.25\); .* try dtype=torch.float32$"):
        Ledger(rows, 301.26, tolerance).check()
    assert not Ledger({"tokens": 0.0, "norms": 300.0}, 300.1, tolerance).balanced


def test_the_precision_is_what_the_tolerance_belongs_to():
    for name, tolerance in ledger.TOLERANCES.items():
        assert Ledger(ROWS, 1.375, tolerance).precision == name
    assert Ledger(ROWS, 1.375, 1e-3).precision == "float16"
    assert Ledger(ROWS, 1.375, 0.0).precision == "float64"
    assert Ledger(ROWS, 1.375, 1.0).precision == "bfloat16"


def test_how_exact_the_words_are():
    assert Ledger({"tokens": 0.5, "biases": 7.0}, 7.54, 1e-1, magnitude=2.0).exactness == pytest.approx(0.02)
    assert Ledger({"tokens": 0.5, "biases": 7.0}, 7.54, 1e-1, 2.0, rounding=0.07).exactness == 0.07
    assert Ledger({"biases": 7.0}, 7.0, 1e-1).exactness == 0.0
    assert Ledger({"biases": 7.0}, 7.5, 1e-1).exactness == math.inf


def test_a_wrong_ledger_says_by_how_much():
    message = (
        "the ledger does not balance: the logit is 2, the rows add up to 1.375, and the residue of 0.62 is more than "
        r"rounding leaves in float32 where the words hold 1.5 \(0.00016\); no explanation is shown$"
    )
    with pytest.raises(UnbalancedLedgerError, match=message):
        Ledger(ROWS, logit=2.0).check()


def test_a_logit_without_any_row_is_unbalanced():
    assert Ledger({}, logit=1.0).imbalance > 1.0
    with pytest.raises(UnbalancedLedgerError):
        Ledger({}, logit=1.0).check()


def test_zero_is_balanced():
    assert Ledger({}, logit=0.0).imbalance == 0.0
    assert Ledger({"tokens": 0.0}, logit=0.0).check().balanced


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_never_balanced(bad):
    for book in (Ledger({"tokens": bad}, logit=1.0), Ledger({"tokens": 1.0}, logit=bad)):
        assert book.imbalance == math.inf
        assert not book.balanced
        with pytest.raises(NonFiniteError, match="NaN or an infinity"):
            book.check()


def test_infinities_of_both_signs_are_not_finite():
    book = Ledger({"tokens": math.inf, "biases": -math.inf}, logit=0.0)
    with pytest.raises(NonFiniteError):
        book.check()


def test_rounding_is_measured_by_what_was_added_up():
    """Tokens of +100 and -100 round to the fifth digit, however little is left of them."""
    book = Ledger({"tokens": 0.003}, logit=0.0031, magnitude=200.0)
    assert book.scale == book.words == 200.0
    assert book.balanced
    assert not Ledger({"tokens": 0.003}, logit=0.0031).balanced
    assert not Ledger({"tokens": 0.003}, logit=0.5, magnitude=200.0).balanced


def test_many_small_rows_are_summed_exactly():
    book = Ledger({"tokens": 1e16, "biases": 1.0, "norms": -1e16}, logit=1.0)
    assert book.residue == 0.0


def test_the_books_of_a_document_are_the_mean_of_its_windows():
    first = Ledger({"tokens": 1.0, "biases": 0.5}, 1.5, 1e-9, 3.0, 0.25)
    second = Ledger({"tokens": 2.0, "softmax": -1.0}, 1.0, 1e-9, 1.0)
    book = ledger.mean([first, second])
    assert book == Ledger({"tokens": 1.5, "biases": 0.25, "softmax": -0.5}, 1.25, 1e-9, 2.0, 0.25)
    assert list(book) == ["tokens", "biases", "softmax", "residue"]
    assert book.balanced
    assert ledger.mean([first]) is first


def test_it_goes_through_json():
    book = Ledger(ROWS, logit=1.375)
    written = {"rows": ROWS, "logit": 1.375, "tolerance": 1e-4, "magnitude": 0.0, "residue": book.residue}
    assert book.to_dict() == written
    assert Ledger.from_dict(json.loads(json.dumps(book.to_dict()))) == book
    assert Ledger.from_dict({key: value for key, value in written.items() if key != "residue"}) == book
    with pytest.raises(InputError, match=r"the rows of the ledger leave .* of its logit 1.375, and its residue is 0.5"):
        Ledger.from_dict({**written, "residue": 0.5})
    book = Ledger(ROWS, 1.375, 1e-1, 2.0, 0.07)
    assert book.to_dict()["rounding"] == 0.07
    assert Ledger.from_dict(json.loads(json.dumps(book.to_dict()))) == book


def test_tolerances_by_dtype():
    assert ledger.TOLERANCES == {"float64": 1e-9, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
