"""The options behind the name of a method are read, or refused with a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from textlrp.errors import InputError
from textlrp.evaluate.methods.catalog import METHODS, read_options


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("random", [], ()),
        ("occlusion", [], (None,)),
        ("occlusion", ["pad"], ("pad",)),
        ("lime", [], (200, None)),
        ("lime", ["delete", "50"], (50, "delete")),
        ("integrated-gradients", ["007", "zero"], (7, "zero")),
    ],
)
def test_numbers_and_words_come_in_any_order(name: str, options: list[str], expected: tuple[Any, ...]) -> None:
    assert read_options(name, METHODS[name], options) == expected


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("random", ["5"], "random takes no options, not '5'"),
        ("occlusion", ["zero"], "occlusion takes one of mask, pad, delete, not 'zero'"),
        ("lime", ["0"], "lime takes a number of samples and one of mask, pad, delete, not '0'"),
        ("lime", ["5", "6"], "lime takes a number of samples and one of mask, pad, delete, not '5:6'"),
        ("lrp-path", ["1001"], "lrp-path takes up to 1,000 points, not 1001"),
    ],
)
def test_other_options_are_refused(name: str, options: list[str], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        read_options(name, METHODS[name], options)
