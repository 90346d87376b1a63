"""Intervals of agreement, and the tables for a paper."""

from __future__ import annotations

import csv
import io
import math
import random
from pathlib import Path

import pytest
from example_annotations import ADA, BEN, REVIEWS, line, reviewed, sent, written

from textlrp.annotate import papers
from textlrp.annotate.annotations import read_annotations
from textlrp.annotate.comparison import Comparison, compare
from textlrp.annotate.intervals import of_alpha, of_kappa, of_mean
from textlrp.evaluate import agreement

pytest.importorskip("krippendorff")


def drawn(count: int, seed: int = 1) -> list[dict[str, str]]:
    rng = random.Random(seed)
    truth = {f"d{i}": rng.choice("abc") for i in range(count)}
    people = []
    for _ in range(3):
        kept = {
            d: label if rng.random() < 0.8 else rng.choice("abc") for d, label in truth.items() if rng.random() < 0.9
        }
        people.append(kept)
    return people


def test_intervals_hold_the_number_and_shrink_with_documents() -> None:
    few, many = drawn(20), drawn(2000)
    for people in (few, many):
        alpha, kappa = agreement.alpha(people), agreement.kappa(people[0], people[1])
        for value, ends in ((alpha, of_alpha(people)), (kappa, of_kappa(people[0], people[1]))):
            assert ends is not None
            assert ends[0] < value < ends[1]
    wide, narrow = of_alpha(few), of_alpha(many)
    assert wide[1] - wide[0] > 5 * (narrow[1] - narrow[0])
    assert of_alpha(few) == of_alpha(few)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution_with_many_documents() -> None:
    values = [0.0, 1.0] * 500
    low, high = of_mean([[value] for value in values])
    half = 1.96 * 0.5 / math.sqrt(1000)
    assert (low, high) == (pytest.approx(0.5 - half, abs=0.004), pytest.approx(0.5 + half, abs=0.004))
    assert of_mean([[0.5]]) is None
    assert of_mean([[0.5], [0.5, 0.5]]) == (0.5, 0.5)


def test_a_single_draw_is_krippendorffs_alpha() -> None:
    """All documents alike: every draw is the sample itself, so both ends are the alpha of the package."""
    people = [{f"d{i}": label for i in range(8)} for label in ("a", "a", "b")]
    expected = agreement.alpha(people)
    assert of_alpha(people) == (pytest.approx(expected, abs=1e-9), pytest.approx(expected, abs=1e-9))
    sets = [{f"d{i}": frozenset(label) for i in range(8)} for label in ("ab", "a", "c")]
    expected, _ = agreement.alpha_of_sets(sets, "abc")
    assert of_alpha(sets, agreement.masi) == (pytest.approx(expected, abs=1e-9), pytest.approx(expected, abs=1e-9))


def test_draws_that_define_no_number_do_not_count() -> None:
    one = {f"d{i}": "a" for i in range(49)}
    assert of_kappa(one, {**one, "d0": "b"}) is None  # in a third of the draws, all labels are the same
    half = {f"d{i}": "ab"[i % 2] for i in range(50)}
    assert of_kappa(half, {**half, "d0": "b"})[1] <= 1.0


def test_what_has_no_interval() -> None:
    assert of_alpha([{"a": "x"}, {"a": "y"}]) is None
    assert of_alpha([{"a": "x", "b": "x"}, {"a": "x", "b": "x"}]) is None
    assert of_kappa({"a": "x"}, {"b": "x"}) is None


def compared(tmp_path: Path) -> Comparison:
    files = [written(tmp_path / f"{number}.jsonl", *lines) for number, lines in enumerate((ADA, BEN))]
    return compare(read_annotations(files, REVIEWS), REVIEWS)


def test_a_comparison_has_them_and_the_labels_of_each_document(tmp_path: Path) -> None:
    found = compared(tmp_path)
    # In many draws of the three labeled documents, all labels are the same: alpha and kappa have no interval.
    assert [(row.measure, row.annotators) for row in found.intervals] == [
        ("token F1", ("Ada", "Ben")),
        ("model token F1", ("Ada",)),
        ("model token F1", ("Ben",)),
    ]
    b = found.to_dict()["documents"][1]
    assert b["labels"] == {"Ada": ("NEG",), "Ben": ("POS",)}
    assert (b["predicted"], b["given"], b["majority"]) == (("NEG",), None, None)
    assert found.to_dict()["documents"][0]["majority"] == ("NEG",)


def test_tables_for_a_spreadsheet_and_a_paper(tmp_path: Path) -> None:
    found = compared(tmp_path)
    rows = list(csv.reader(io.StringIO(papers.comma_separated(found))))
    assert rows[0][:3] == ["table", "annotator", "documents"]
    assert ["agreement on labels", "Ada and Ben", "", "0.00", "0.67", "3"] in rows
    assert next(row[1:] for row in rows if row[0] == "95 % intervals")[:2] == ["Ada and Ben", "token F1"]
    written_latex = papers.latex(found)
    assert written_latex.count("\\begin{tabular}") == written_latex.count("\\bottomrule") == 6
    assert "Ada and Ben & -- & 0.00 & 0.67 & 3 \\\\" in written_latex
    report = sent(reviewed("a"))
    odd = read_annotations([written(tmp_path / "odd.jsonl", line(annotator="[R&D_50%"))], report)
    assert "{}[R\\&D\\_50\\%" in papers.latex(compare(odd, report))
