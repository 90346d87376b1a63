"""The summary of a report, counted by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from example_reports import explanation, reviews, sure

from textlrp.data.records import Record
from textlrp.report.summary import Accuracy, Bin, summarize
from textlrp.report.writing import write_report


def test_counts_accuracy_and_confusion() -> None:
    found = summarize(reviews())
    assert (found.documents, found.labeled, found.truncated, found.reading.unknown) == (4, 3, 0, ())
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
    assert one.reading.unknown == ("bad", "good")
    assert (one.accuracy, one.confusion) == (None, ())
    some = summarize([Record("1", (explanation("x"),), "good"), Record("2", (explanation("y"),), "POS")])
    assert some.reading.unknown == ("good",)
    assert some.accuracy == Accuracy(1, 2)
    assert some.labels == ("POS", "good")
    assert some.confusion == ((1, 0), (1, 0))


def test_many_confusions_are_listed_by_their_number() -> None:
    records = []
    for i, (given, predicted, count) in enumerate([("A", "B", 3), ("B", "A", 1), ("C", "A", 2), ("A", "A", 9)]):
        logits = {label: float(label == predicted) for label in "ABC"}
        e = explanation("x", target=predicted, predicted=predicted, logits=logits, probabilities={})
        records += [Record(f"{i}-{n}", (e,), given) for n in range(count)]
    found = summarize(records)
    assert found.confusions == (("A", "B", 3), ("C", "A", 2), ("B", "A", 1))
    assert found.confusion == ((9, 3, 0), (1, 0, 0), (2, 0, 0))


def test_any_of_several_labels_is_right() -> None:
    e = (explanation("x"),)
    records = [Record("1", e, None, labels=("NEG", "POS")), Record("2", e, "NEG", given=("0",)), Record("3", e)]
    found = summarize(records)
    assert found.accuracy == Accuracy(1, 2)
    assert (found.confusion, found.given, found.confusions) == ((), (2, 1), (("NEG", "POS", 1),))
    assert found.reading.sentences == ("label 0 was read as NEG",)


def test_of_several_labels_all_must_be_right(tmp_path: Path) -> None:
    def record(identity: str, shares: dict[str, float], *right: str) -> Record:
        logits = {label: math.log(share / (1 - share)) for label, share in shares.items()}
        top = max(logits, key=logits.__getitem__)
        values = {"logits": logits, "probabilities": shares, "predicted": top, "multi_label": True}
        return Record(identity, (explanation("so", [1.0], top, **values),), labels=right)

    both, none = {"joy": 0.9, "love": 0.8, "anger": 0.1}, {"joy": 0.2, "love": 0.1, "anger": 0.3}
    found = summarize([record("1", both, "joy", "love"), record("2", both, "joy"), record("3", none, "anger")])
    assert (found.accuracy.right, found.accuracy.count, found.none_reached) == (1, 3, 1)  # type: ignore[union-attr]
    assert found.micro_f1 == pytest.approx(2 * 3 / (4 + 4))  # of 4 labels given and 4 predicted, 3 in common
    assert (found.labels, found.predicted, found.given, found.confusion) == (
        ("joy", "love", "anger"),
        (2, 2, 0),
        (2, 1, 1),
        (),
    )
    (path,) = write_report([record("3", none, "anger")], tmp_path / "none.html")  # no label is predicted at all
    assert "1 document has no label: none reaches 50" in path.read_text("utf-8")
