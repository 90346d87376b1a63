"""What a model's outputs mean is read from its config, or said by the user; labels are found or an error lists them."""

from __future__ import annotations

from typing import Any

import pytest

from textlrp.errors import InputError
from textlrp.heads import find_label

LABELS = ("negative", "neutral", "positive")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("postive", r"there is no label 'postive': .* are negative, neutral, positive; did you mean 'positive'\?"),
        ("xyz", "there is no label 'xyz': the model's labels are negative, neutral, positive$"),
        (3, r"there is no label 3: the model has 3, 0 to 2 \(negative, neutral, positive\)"),
        (-1, "there is no label -1"),
        ("7", "there is no label '7'"),
        (True, "a label is a name or an index, not True"),
        (1.0, "a label is a name or an index, not 1.0"),
    ],
)
def test_a_label_that_is_not_there_is_said_so(label: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_label(LABELS, label)


def test_a_long_list_of_labels_is_cut() -> None:
    with pytest.raises(InputError, match=r"label 19, \.\.\. \(500 in all\)"):
        find_label(tuple(f"label {i}" for i in range(500)), "x")


def test_a_name_comes_before_an_index() -> None:
    assert find_label(("1", "0"), "0") == 1
    assert find_label(("1", "0"), 0) == 0
    assert find_label(("a", "A"), "A") == 1
