"""The page of an evaluation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from browser import complaints, contrasts, opened, scrolls_sideways
from example_evaluations import faithful, plan, result, results
from hostile_strings import STRINGS

from textlrp.evaluate.page import Scale
from textlrp.evaluate.page import page as evaluation_page
from textlrp.evaluate.summary import summarize
from textlrp.render.format import shown

if TYPE_CHECKING:
    from playwright.sync_api import Browser


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
            "–",
            "0.062 0.062 to 0.062 3 of 4",
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
