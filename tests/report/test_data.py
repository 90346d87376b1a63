"""The data of a report: columns, labels, ids and pages."""

from __future__ import annotations

import json
import re

import pytest
from example_explanations import measured
from example_reports import explanation, reviews

from textlrp import Ledger
from textlrp.data.records import Record
from textlrp.errors import InputError
from textlrp.report.data import build, dump, pages_of
from textlrp.results.explanation import Explanation
from textlrp.results.spans import Span


def test_the_columns_of_a_page() -> None:
    begins = ["The words add +2.50 to the score", ", above all ", '"']
    dull = [*begins, ["Dull"], '" and "', ["Never"], '"', "; ", "nothing", " speaks ", "against it", "."]
    bad = [*begins, ["bad"], '" and "', ["all"], '"', "; ", '"', ["Not"], '"', " speaks ", "against it", "."]
    data = build(reviews()[1:3])
    page = data.page(data.rows, title="Two")
    assert page.pop("id") == data.id
    assert re.fullmatch("[0-9a-f]{64}", data.id)
    assert page == {
        "format": 2,
        "model": "tiny",
        "rules": "attnlrp",
        "labels": ["NEG", "POS"],
        "views": [[0, None]],
        "steps": 10_000,
        "independent": False,
        "color_end": 1.5625,
        "title": "Two",
        "documents": {
            "id": ["b", "c"],
            "text": ["Dull at times. Never again.", "Not bad at all"],
            "text_pair": [None, None],
            "label": [0, 1],
            "predicted": [0, 0],
            "confidence": [0.85, 0.55],
            "words": [[[0, 4, 1, 2, 1, 5, 1, 1, 5, 1, 5, 1]], [[0, 3, 1, 3, 1, 2, 1, 3]]],
            "sentences": [[[7, 4]], [[7]]],
            "rationales": [[], []],
            "explained": [
                [[0, 2.5, 0.85, 0.00015, [10000, 0, 0, 0, 556, 111, 0, 5333, 0, 0, 0], 0.96, dull]],
                [[0, 2.5, 0.55, 0.0001, [-10000, 0, 9000, 0, 0, 0, 2000], 0.84, bad]],
            ],
        },
    }


def test_labels_that_the_model_lacks_come_last_and_views_are_sorted() -> None:
    both = (explanation("x y", [1.0], "POS"), explanation("x y", [0.5], "NEG", contrast="POS"))
    data = build([Record("1", both, "MIXED"), Record("2", both[:1], "GOOD")])
    assert data.labels == ("NEG", "POS", "GOOD", "MIXED")
    assert data.views == ((0, 1), (1, None))
    assert [row[3] for row in data.rows] == [3, 2]
    assert [row[9][0][0] for row in data.rows] == [1, 1]


def test_an_explanation_with_other_words_keeps_them() -> None:
    # The model that gave the second one read less of the text.
    less = Explanation(**{**vars(explanation("one two", [1.0], "NEG")), "tokens": (Span(0, 3, "one", 1.0),)})
    less = Explanation(**{k: v for k, v in vars(less).items() if k != "words"} | {"truncated": (3, 7)})
    row = build([Record("1", (explanation("one two", [0.0, 1.0]), less))]).rows[0]
    assert row[6] == [[0, 3, 1, 3]]
    assert row[9][1][4] == [10000]
    assert row[9][1][7:] == [[[0, 3]], [[1]]]


def test_the_id_changes_with_what_is_reported_and_only_then() -> None:
    assert build(reviews()).id == build(reviews()).id
    changed = reviews()
    changed[0] = Record("a", changed[0].explanations, "NEG")
    assert build(changed).id != build(reviews()).id
    assert build(reviews()[::-1]).id != build(reviews()).id


def test_nothing_and_twice_the_same_are_errors() -> None:
    with pytest.raises(InputError, match="nothing to report"):
        build([])
    with pytest.raises(InputError, match="two documents have the id 'a'"):
        build([reviews()[0], reviews()[0]])
    with pytest.raises(InputError, match="two documents have the id"):
        build([Record(name, reviews()[0].explanations) for name in ("\ud800", "\udbff")])


def test_json_cannot_end_the_element_that_it_stands_in() -> None:
    written = dump({"x": "</script><!--&\u2028\u2029é🚀"})
    assert written == '{"x":"\\u003c/script\\u003e\\u003c!--\\u0026\\u2028\\u2029é🚀"}'
    assert json.loads(written) == {"x": "</script><!--&\u2028\u2029é🚀"}


def test_pages_hold_no_more_than_they_may() -> None:
    data = build([Record(str(i), (explanation("word " * 20),)) for i in range(10)])
    size = len(dump(data.rows[0]))
    assert [len(page) for page in pages_of(data, 4, 10**9)] == [4, 4, 2]
    assert [len(page) for page in pages_of(data, 10**9, 3 * size)] == [3, 3, 3, 1]
    assert [len(page) for page in pages_of(data, 10**9, 1)] == [1] * 10
    assert [row for page in pages_of(data, 3, 10**9) for row in page] == list(data.rows)


def test_what_is_said_of_the_words_comes_after_their_colors() -> None:
    said = ["Without its words ", "the model would say ", ["POS"], " \u22120.50", ". ", "The words add +1.75"]
    e = measured()
    zero = measured(reference=None, ledger=Ledger({"tokens": 1.25}, 1.25))
    data = build([Record("1", (e,)), Record("2", (zero,))])
    (share, first), (_, second) = (row[9][0][5:] for row in data.rows)
    assert share == 1.0
    assert first[: len(said)] == said
    assert ["wonderful"] in first
    assert second[0] == "The words add +1.25 to the score"
    pinned = build([Record("1", (measured("reference (pinned)"),))])
    assert pinned.rows[0][9][0][6][:2] == ["From the reference (", ["[MASK]"]]
    assert pinned.rows[0][9][0][6][-1].startswith(" Such choices are of experts")


def test_what_is_said_begins_with_that_no_label_is_reached() -> None:
    logits, shares = {"toxic": -0.8, "rude": -2.0}, {"toxic": 0.31, "rude": 0.119}
    e = explanation("film", [1.0], target="toxic", predicted="toxic", logits=logits, probabilities=shares)
    data = build([Record("1", (e,))])
    assert data.independent
    said = data.page(data.rows)["documents"]["explained"][0][0][6]
    assert said[:4] == ["No label reaches 50 %; the highest is ", ["toxic"], " (31.0 %)", ". "]
