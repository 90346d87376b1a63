"""Tables of evaluations, from results made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from example_evaluations import faithful, plan, result, results

from textlrp.evaluate.intervals import mean_interval
from textlrp.evaluate.summary import summarize

if TYPE_CHECKING:
    pass


def test_means_differences_and_p_by_hand() -> None:
    (section,) = summarize(plan(), results()).sections
    faithfulness, plausibility = section.tables
    one, two = faithfulness.rows
    area = one.cells["area"]
    assert area.mean == mean_interval([0.1, 0.2, 0.3, 0.4])
    assert (area.difference, area.p) == (None, None)
    # The second is compared on the three documents that both have: by 0.2, 0.1 and 0.6.
    difference = two.cells["area"].difference
    assert difference is not None
    assert (difference.mean, difference.count) == (pytest.approx(0.3), 3)
    assert (difference.low, difference.high) == (pytest.approx(0.1), pytest.approx(0.6))
    # All of three signs are tried: p is 2/8; of six comparisons in the table it is the smallest.
    assert faithfulness.comparisons == 6
    assert two.cells["area"].p == 1.0
    assert two.cells["comprehensiveness"].p == 1.0
    # What tables do not show is not tested, and has its difference all the same.
    unscaled = two.cells["infidelity"]
    assert unscaled.p is None
    assert unscaled.difference is not None
    assert unscaled.difference.mean == 0.0
    assert two.cells["area_probability"].mean is None
    assert plausibility.comparisons == 4
    assert plausibility.rows[0].cells["auprc"].mean == mean_interval([0.5] * 4)
    assert (faithfulness.documents, plausibility.documents) == (4, 4)
    assert (section.documents, section.right, section.labeled) == (4, 4, 4)


def test_holm_counts_every_comparison_of_the_table() -> None:
    documents = [f"{i:02}" for i in range(10)]
    found = [result("one", each, 0.1) for each in documents]
    found += [result("two", each, 0.2) for each in documents]
    ((table,),) = [section.tables for section in summarize(plan(), found).sections]
    # 2 of 1,024 choices of signs, times six comparisons.
    assert table.rows[1].cells["area"].p == pytest.approx(6 * 2 / 1024)


def test_curves_are_means_of_changes() -> None:
    long = {"shares": [0.0, 0.25, 1.0], "logits": [4.0, 3.0, 3.0], "probabilities": []}
    found = [
        result("one", "a", 0.5),
        result("one", "b", faithfulness={"mask": faithful(0.0, logit=4.0, morf=long, lerf=long)}),
    ]
    row = summarize(plan(methods=("one",)), found).sections[0].tables[0].rows[0]
    # At the ends -2 and -1, at the half (0.5 - 2 + 3 - 4) / 2.
    assert (row.morf[0], row.morf[10], row.morf[20]) == (0.0, pytest.approx(-1.25), -1.5)
    assert (row.lerf[10], len(row.lerf)) == (pytest.approx(-0.75), 21)


def test_costs_and_failures() -> None:
    found = [*results(), result("one", "e", failures={"mask": "no mask token"})]
    section = summarize(plan(), found).sections[0]
    assert [(cost.method, cost.forwards, cost.seconds) for cost in section.costs] == [
        ("one", 3.0, 0.25),
        ("two", 40.0, 0.25),
    ]
    assert [(each.method, each.perturb, each.documents, each.example, each.reason) for each in section.failures] == [
        ("one", "mask", 1, "e", "no mask token"),
        ("two", "", 1, "d", "the model has no attention"),
    ]


def test_the_order_of_results_changes_nothing() -> None:
    assert summarize(plan(), results()) == summarize(plan(), reversed(results()))


def test_json_has_plan_intervals_and_curves(tmp_path: Path) -> None:
    summary = summarize(plan(), results())
    summary.to_json(tmp_path / "e.json")
    read = json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))
    assert (read["plan"]["seed"], read["plan"]["models"][0]["fingerprint"]) == (0, "m" * 64)
    two = read["sections"][0]["tables"][0]["rows"][1]
    assert two["cells"]["area"]["difference"]["count"] == 3
    assert len(two["morf"]) == 21
