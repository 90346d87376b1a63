"""Counts, accuracy, calibration and words, by hand."""

from __future__ import annotations

import pytest
from example_reports import explanation, reviews, sure

from textlrp.data.records import Record
from textlrp.report.summary import Accuracy, Bin, summarize
from textlrp.report.words import Example


def test_counts_accuracy_and_confusion() -> None:
    found = summarize(reviews())
    assert (found.documents, found.labeled, found.truncated, found.unknown) == (4, 3, 0, ())
    assert found.words == 3 + 5 + 4 + 7  # an emoji counts, a comma does not
    assert found.labels == ("NEG", "POS")
    assert found.given == (1, 2)
    assert found.predicted == (2, 2)
    assert found.accuracy == Accuracy(2, 3)
    assert found.confusion == ((1, 0), (1, 1))
    assert found.confusions == (("POS", "NEG", 1),)


def test_the_interval_of_the_accuracy() -> None:
    assert Accuracy(246, 300).interval == pytest.approx((0.7726, 0.8594), abs=1e-4)
    assert Accuracy(5, 5).interval == pytest.approx((0.5655, 1.0), abs=1e-4)
    assert Accuracy(0, 5).interval == pytest.approx((0.0, 0.4345), abs=1e-4)


def test_bins_and_calibration_error() -> None:
    shares = [0.95, 0.91, 1.0, 0.62, 0.68]
    right = [True, True, False, True, False]
    records = [
        Record(str(i), (explanation("x", **sure("POS", share)),), "POS" if good else "NEG")
        for i, (share, good) in enumerate(zip(shares, right, strict=True))
    ]
    found = summarize(records)
    assert found.bins[9] == Bin(0.9, 1.0, 3, pytest.approx(2.86 / 3), 2)
    assert found.bins[6] == Bin(0.6, 0.7, 2, pytest.approx(0.65), 1)
    assert all(each.count == 0 and each.accuracy == 0 for i, each in enumerate(found.bins) if i not in (6, 9))
    assert found.calibration_error == pytest.approx((3 * abs(2 / 3 - 2.86 / 3) + 2 * abs(0.5 - 0.65)) / 5)


def test_without_labels_there_is_no_accuracy_but_confidence() -> None:
    records = [Record(r.id, r.explanations) for r in reviews()]
    found = summarize(records)
    assert (found.labeled, found.accuracy, found.confusion, found.calibration_error) == (0, None, (), None)
    assert [each.count for each in found.bins] == [0, 0, 0, 0, 0, 1, 0, 1, 1, 1]
    assert all(each.right is None for each in found.bins)


def test_a_model_without_probabilities_has_no_bins() -> None:
    found = summarize([Record("1", (explanation("x", probabilities={}),), "POS")])
    assert (found.bins, found.calibration_error) == ((), None)
    assert found.accuracy == Accuracy(1, 1)


def test_labels_that_the_model_does_not_know() -> None:
    one = summarize([Record("1", (explanation("x"),), "good"), Record("2", (explanation("y"),), "bad")])
    assert one.unknown == ("bad", "good")
    assert (one.accuracy, one.confusion) == (None, ())
    some = summarize([Record("1", (explanation("x"),), "good"), Record("2", (explanation("y"),), "POS")])
    assert some.unknown == ("good",)
    assert some.accuracy == Accuracy(1, 2)
    assert some.labels == ("POS", "good")
    assert some.confusion == ((1, 0), (1, 0))


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


def test_many_confusions_are_listed_by_their_number() -> None:
    records = []
    for i, (given, predicted, count) in enumerate([("A", "B", 3), ("B", "A", 1), ("C", "A", 2), ("A", "A", 9)]):
        logits = {label: float(label == predicted) for label in "ABC"}
        e = explanation("x", target=predicted, predicted=predicted, logits=logits, probabilities={})
        records += [Record(f"{i}-{n}", (e,), given) for n in range(count)]
    found = summarize(records)
    assert found.confusions == (("A", "B", 3), ("C", "A", 2), ("B", "A", 1))
    assert found.confusion == ((9, 3, 0), (1, 0, 0), (2, 0, 0))
