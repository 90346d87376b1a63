"""Tables of evaluations, from results made by hand."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import complaints, contrasts, opened, scrolls_sideways
from example_evaluations import faithful, plan, result, results
from hostile_strings import STRINGS
from rich.console import Console

from textlrp.evaluate.intervals import mean_interval
from textlrp.evaluate.page import Scale
from textlrp.evaluate.page import page as evaluation_page
from textlrp.evaluate.summary import Summary, summarize
from textlrp.evaluate.table import render
from textlrp.render.format import shown

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def printed(summary: Summary, width: int = 80) -> list[str]:
    buffer = StringIO()
    Console(file=buffer, width=width, color_system=None).print(render(summary), soft_wrap=True)
    return [line.rstrip() for line in buffer.getvalue().splitlines()]


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
    # All of three signs are tried: p is 2/8; of five comparisons in the table it is the smallest.
    assert faithfulness.comparisons == 5
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
    # 2 of 1,024 choices of signs, times five comparisons.
    assert table.rows[1].cells["area"].p == pytest.approx(5 * 2 / 1024)


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


def test_in_the_terminal() -> None:
    lines = printed(summarize(plan(), results()))
    assert lines[: lines.index("plausibility, 4 documents with marked words")] == [
        "tiny on notes",
        "",
        "4 documents, 100.0 % of 4 labels right",
        "",
        "faithfulness, tokens masked ([MASK]), 4 documents",
        "method     area ↑      interval  vs one      interval     p",
        "───────────────────────────────────────────────────────────",
        "one         0.250  0.150, 0.350",
        "two     0.500 (3)  0.300, 0.900  +0.300  0.100, 0.600  1.00",
        "",
        "method    compreh. ↑     suffic. ↓     LOO tau ↑  infidelity ↓",
        "──────────────────────────────────────────────────────────────",
        "one            0.500         0.250         0.750         0.125",
        "        0.500, 0.500  0.250, 0.250  0.750, 0.750  0.125, 0.125",
        "two        0.500 (3)     0.250 (3)     0.750 (3)     0.125 (3)",
        "        0.500, 0.500  0.250, 0.250  0.750, 0.750  0.125, 0.125",
        "",
    ]
    assert "two                 40  250 ms" in lines
    assert "two: 1 document not measured; d: the model has no attention" in lines


def test_no_method_left_and_no_documents_measured() -> None:
    nothing = summarize(plan(), [])
    assert nothing.sections[0].tables[0].rows[0].cells["area"].mean is None
    assert "one          –" in printed(nothing)
    json.loads(nothing.to_json())
    assert "<svg" not in evaluation_page(nothing).partition("How to read it")[0]


def test_json_has_plan_intervals_and_curves(tmp_path: Path) -> None:
    summary = summarize(plan(), results())
    summary.to_json(tmp_path / "e.json")
    read = json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))
    assert (read["plan"]["seed"], read["plan"]["models"][0]["fingerprint"]) == (0, "m" * 64)
    two = read["sections"][0]["tables"][0]["rows"][1]
    assert two["cells"]["area"]["difference"]["count"] == 3
    assert len(two["morf"]) == 21


def test_scales_have_round_ticks_and_zero() -> None:
    assert Scale.over([-1.3, 0.8], 0, 90).ticks == (-2.0, -1.0, 0.0, 1.0)
    assert Scale.over([0.031, 0.08], 0, 90).ticks == (0.0, 0.02, 0.04, 0.06, 0.08)
    assert Scale.over([0.0], 0, 90, 2).ticks == (0.0, 0.5, 1.0)
    scale = Scale.over([-5.0, 15.0], 100, 0)
    assert (scale(-5.0), scale(0.0), scale(15.0)) == (100.0, 75.0, 0.0)


def test_the_same_results_give_the_same_bytes_and_a_strict_policy() -> None:
    html = evaluation_page(summarize(plan(), results()))
    assert html == evaluation_page(summarize(plan(), results()))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert re.fullmatch(
        r"default-src &#39;none&#39;; style-src &#39;sha256-[\w+/=]+&#39;; img-src data:; base-uri &#39;none&#39;; "
        r"form-action &#39;none&#39;",
        policy[1],
    )
    assert not re.search(r"<script|\sstyle=|\son\w+=|https?://", html)


def test_it_reads_well_on_a_phone_in_the_dark(browser: Browser, tmp_path: Path) -> None:
    place = tmp_path / "evaluation.html"
    place.write_text(evaluation_page(summarize(plan(), results())), encoding="utf-8")
    with opened(browser, place, width=360, dark=True) as (page, seen):
        assert complaints(page) == []
        assert not scrolls_sideways(page)
        ratios = contrasts(page, "p, th, td, dt, dd, li, figcaption, .interval, .hash")
        assert len(ratios) > 60
        assert [each for each in ratios if each[1] < 4.5] == []
        assert page.get_by_role("img").count() == 2
        name = page.get_by_role("img").first.get_attribute("aria-label")
        assert name == (
            "one: change of the logit with half of the text removed: −1.25 the most relevant first, "
            "−0.750 the least relevant first; area 0.250"
        )
        cells = page.locator("tbody").first.locator("tr").nth(1).locator("th, td:not(.bar)").all_inner_texts()
        assert [" ".join(cell.split()) for cell in cells] == [
            "two",
            "0.500 0.300 to 0.900 3 of 4",
            "+0.300 0.100 to 0.600 p = 1.00",
            "0.500 0.500 to 0.500 3 of 4",
            "0.250 0.250 to 0.250 3 of 4",
            "0.750 0.750 to 0.750 3 of 4",
            "0.125 0.125 to 0.125 3 of 4",
            "40",
            "250 ms",
        ]
        assert "two: 1 document not measured; d: the model has no attention" in page.locator(".notes").inner_text()
        assert seen.nothing


def test_hostile_names_are_shown_as_they_are_and_run_nothing(browser: Browser, tmp_path: Path) -> None:
    names = [text for text in dict.fromkeys(STRINGS) if text.strip() and shown(text) == text and "\n" not in text][:60]
    model: dict[str, Any] = {**plan().models[0], "name": names[0]}
    corpus = {**plan().corpora[0], "name": names[1]}
    named = plan(methods=tuple(names), models=(model,), corpora=(corpus,))
    which = {"model": names[0], "corpus": names[1], "failures": {"scores": names[2]}, "faithfulness": {}}
    found = [result(name, names[3], **which) for name in names]
    found += [result(name, "x", **{**which, "failures": {}, "faithfulness": {"mask": faithful(0.1)}}) for name in names]
    place = tmp_path / "hostile.html"
    place.write_text(evaluation_page(summarize(named, found)), encoding="utf-8")
    with opened(browser, place, width=360) as (page, seen):
        page.wait_for_timeout(100)
        assert page.locator("tbody th").all_text_contents() == names
        assert page.locator("figcaption").all_text_contents() == names
        assert page.locator("h2").first.text_content() == f"{names[0]} on {names[1]}"
        assert not scrolls_sideways(page)
        assert seen.nothing
