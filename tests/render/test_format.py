"""Numbers and texts have the same format in a terminal and on a page."""

from __future__ import annotations

import pytest

from textlrp.render.format import duration, exactness, named, number, percent, shown, signed
from textlrp.results.ledger import Ledger


@pytest.mark.parametrize(
    ("share", "written"),
    [(0.0, "0.0 %"), (0.0004, "<0.1 %"), (0.0294, "2.9 %"), (0.971, "97.1 %"), (0.99999, ">99.9 %"), (1.0, "100.0 %")],
)
def test_only_certainty_is_written_as_certainty(share: float, written: str) -> None:
    assert percent(share) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, "1 second"),
        (89.0, "89 seconds"),
        (90.0, "2 minutes"),
        (5000.0, "83 minutes"),
        (5400.0, "2 hours"),
        (200_000.0, "2 days"),
        (9e8, "10,417 days"),
    ],
)
def test_a_time_to_wait_is_rough(seconds: float, written: str) -> None:
    assert duration(seconds) == written


@pytest.mark.parametrize(
    ("value", "scale", "written"),
    [
        (0.0, None, "0"),
        (2.5, None, "+2.50"),
        (-0.0375, 2.5, "-0.04"),
        (-0.0004, 2.5, "-4e-04"),
        (123.4, 123.4, "+123"),
        (0.5, 20.0, "+0.5"),
        (3e8, None, "+3.0e+08"),
        (3.0, 1e7, "+3.0e+00"),
    ],
)
def test_numbers_have_the_digits_of_their_scale(value: float, scale: float | None, written: str) -> None:
    assert signed(value, scale) == written


@pytest.mark.parametrize(
    ("value", "scale", "written"),
    [
        (2.5, 2.5, "+2.50"),
        (-0.0375, 2.5, "−0.04"),
        (-0.004, 2.5, "−0.004"),
        (-0.0004, 2.5, "≈ 0"),
        (0.0, 2.5, "0"),
        (0.0, 0.0, "0"),
        (3e8, 3e8, "+3.0e+08"),
        (-2e-9, 3e-9, "−2.0e−09"),
    ],
)
def test_numbers_on_a_page_have_no_exponents_and_a_true_minus(value: float, scale: float, written: str) -> None:
    assert number(value, scale) == written


def test_control_characters_are_shown_as_pictures_and_lines_and_tabs_stay() -> None:
    assert shown("a\x00\x1b[31m\x7f\x9b\rb\r\nc\td\ud800") == "a␀␛[31m␡\ufffd␍b\nc\td\ufffd"
    assert shown("plain, \u202eturned\u202c, é, 映画") == "plain, \u202eturned\u202c, é, 映画"
    assert named("two\nlines\tand" + "x" * 99) == "two lines and" + "x" * 44 + "..."


@pytest.mark.parametrize(
    ("tolerance", "residue", "rounding", "said"),
    [
        (1e-4, 0.0, 0.0, ""),
        (1e-1, 0.009, 0.004, ""),
        (1e-1, 0.071, 0.02, "In bfloat16 the words are exact to about 7 %; load the model in float32 for exact ones."),
        (2e-2, 0.001, 0.15, "In float16 the words are exact to about 15 %; load the model in float32 for exact ones."),
        (1e-4, 0.02, 0.0, "In float32 the words are exact to about 2 %; load the model in float64 for exact ones."),
        (1e-9, 0.02, 0.0, "In float64 the words are exact to about 2 %."),
        (
            1e-1,
            0.0,
            1.8,
            "In bfloat16 the words are not exact: rounding changes them by as much as they hold; load the model in "
            "float32 for exact ones.",
        ),
    ],
)
def test_what_is_said_of_words_that_are_not_exact(tolerance: float, residue: float, rounding: float, said: str) -> None:
    assert exactness(Ledger({"tokens": 1.0}, 1.0 + residue, tolerance, 1.0, rounding)) == said
