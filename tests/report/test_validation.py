"""The data of a report that contradict themselves are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from example_explanations import measured
from example_reports import reviews

from textlrp.data.records import Record
from textlrp.errors import InputError
from textlrp.report.data import COLUMNS, build
from textlrp.report.validation import check


def data_and_rows() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    data = build(reviews())
    return data.head(), [dict(zip(COLUMNS, row, strict=True)) for row in data.rows]


def test_the_data_of_a_report_hold() -> None:
    data, rows = data_and_rows()
    check(data, [], rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data, rows: data.update(labels=["NEG", "NEG"]), "a list of different names was expected"),
        (lambda data, rows: data.update(views=[[True, None]]), "has true for a view's target, and numbers go from 0"),
        (lambda data, rows: data.update(color_end=-1), "its colors end at the relevance -1"),
        (lambda data, rows: rows[0]["explained"][0].__setitem__(5, 0), "has the share 0 of the full color"),
        (lambda data, rows: rows[0]["explained"][0].append(0), "has an explanation of 8 values"),
        (lambda data, rows: data.update(steps=100), "in steps of 100, and textlrp writes 10000"),
        (lambda data, rows: rows[1].update(id="a"), "two of its documents have the same id"),
        (lambda data, rows: rows[0].update(text=None), "document 'a' has a text that is not a string"),
        (lambda data, rows: rows[0].update(label=7), "document 'a' has 7 for its label"),
        (lambda data, rows: rows[0].update(label=[0, None]), "document 'a' has null for its label"),
        (lambda data, rows: rows[0].update(confidence=1.5), "document 'a' has the confidence 1.5"),
        (lambda data, rows: rows[0].update(explained=[]), "document 'a' has no explanation"),
        (lambda data, rows: rows[0]["words"][0].append(99), "document 'a' has words from character 0 to"),
        (lambda data, rows: rows[0]["sentences"][0].append(1), "document 'a' has sentences of"),
        (lambda data, rows: rows[0]["explained"][0][4].append(0), "whole numbers up to 10000 were expected"),
    ],
)
def test_a_contradiction_is_named(change: Callable[[Any, Any], None], message: str) -> None:
    data, rows = data_and_rows()
    change(data, rows)
    with pytest.raises(InputError, match=message):
        check(data, [], rows)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([], "document 'a' says \\[\\] of its words"),
        ("Without words", "document 'a' says \"Without words\" of its words"),
        (["POS", ["POS", "NEG"]], "of its words"),
        (["POS", 1.5], "document 'a' says 1.5 of its words"),
    ],
)
def test_what_is_said_of_the_words_is_checked(said: Any, message: str) -> None:
    data = build([Record("a", (measured(),))])
    (row,) = [dict(zip(COLUMNS, row, strict=True)) for row in data.rows]
    check(data.head(), [], [row])
    row["explained"][0][6] = said
    with pytest.raises(InputError, match=message):
        check(data.head(), [], [row])
