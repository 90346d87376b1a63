"""The words that a report lists."""

from __future__ import annotations

import pytest
from example_reports import explanation

from textlrp.data.records import Record
from textlrp.report.summary import summarize
from textlrp.report.words import Example


def test_words_by_total_and_mean_with_counts_and_examples() -> None:
    records = [
        Record("1", (explanation("Good film. Really good!", [1.0, 0.1, 0.0, 0.4]),)),
        Record("2", (explanation("a GOOD plot", [0.2, 2.0, -3.0]),)),
        Record("3", (explanation("superb", [2.5]),)),
    ]
    (words,) = summarize(records).by_target
    assert (words.target, words.contrast, words.documents, words.least) == ("POS", None, 3, 1)
    assert [(w.text, round(w.total, 6), w.count, w.documents) for w in words.total] == [
        # "good!" gives a fifth of its relevance to the exclamation mark, which is no word
        ("GOOD", 3.32, 3, 2),
        ("superb", 2.5, 1, 1),
        ("a", 0.2, 1, 1),
        ("film", 0.08, 1, 1),
    ]
    assert [w.text for w in words.mean] == ["superb", "GOOD", "a", "film"]
    assert words.total[0].mean == pytest.approx(3.32 / 3)
    assert [w.text for w in words.against] == ["plot"]
    assert words.total[0].examples == (
        Example("2", "a ", "GOOD", " plot", 2.0),
        Example("1", "", "Good", " film.", 1.0),
    )


def test_the_form_of_a_word_that_is_most_frequent_is_shown() -> None:
    (words,) = summarize([Record("1", (explanation("Film film FILM film", [1.0, 1.0, 1.0, 1.0]),))]).by_target
    assert [(w.text, w.total, w.count, w.documents) for w in words.total] == [("film", 4.0, 4, 1)]
    assert len(words.total[0].examples) == 1  # two examples are of two documents


def test_rare_words_are_left_out_of_the_means() -> None:
    records = [Record(str(i), (explanation("fine" + (" once" if i == 5 else ""), [1.0, 9.0]),)) for i in range(12)]
    (words,) = summarize(records).by_target
    assert words.least == 2
    assert [w.text for w in words.mean] == ["fine"]
    assert [w.text for w in words.total] == ["fine", "once"]


def test_each_target_has_its_words_in_the_order_of_the_labels() -> None:
    both = (explanation("x", [1.0], "POS"), explanation("x", [-2.0], "NEG", contrast="POS"))
    found = summarize([Record("1", both)]).by_target
    assert [(w.target, w.contrast, len(w.total), len(w.against)) for w in found] == [
        ("NEG", "POS", 0, 1),
        ("POS", None, 1, 0),
    ]


def test_a_long_sentence_is_cut_between_words_and_lines_are_joined() -> None:
    text = "one\ntwo " + "very " * 30 + "odd" + " thing" * 30
    (words,) = summarize([Record("1", (explanation(text, [0.0] * 32 + [1.0]),))]).by_target
    (example,) = words.total[0].examples
    assert example.before == "…" + " very" * 11 + " "
    assert example.after == " thing" * 9 + " …"
    (short,) = summarize([Record("1", (explanation("one\ntwo odd", [0.0, 0.0, 1.0]),))]).by_target
    assert short.total[0].examples[0].before in ("one two ", "two ")


def test_the_clearest_words_are_neither_frequent_ones_nor_single_ones() -> None:
    """Of twenty documents, all have "and", which pulls a little, six "superb", and one a word that is stronger."""
    records = []
    for i in range(20):
        text, relevances = "the plot and the cast !", [0.0, 0.1 * (i % 3 - 1), 0.06, 0.01, -0.1 * (i % 3 - 1), 5.0]
        if i < 6:
            text, relevances = f"superb {text}", [0.15 + 0.01 * i, *relevances]
        if i == 19:
            text, relevances = f"once {text}", [0.3, *relevances]
        records.append(Record(str(i), (explanation(text, relevances),)))
    (words,) = summarize(records).by_target
    assert [w.text for w in words.total[:2]] == ["and", "superb"]
    assert [w.text for w in words.clearest] == ["superb", "and"]
    assert [(w.count, w.documents) for w in words.clearest] == [(6, 6), (20, 20)]


def test_signs_are_never_the_clearest() -> None:
    records = [Record(str(i), (explanation("so it goes on 👍", [0.0, 0.1, 0.0, -0.1, 3.0]),)) for i in range(12)]
    (words,) = summarize(records).by_target
    assert "👍" in [w.text for w in words.total]
    assert "👍" not in [w.text for w in words.clearest]
