"""Layers on a page: a curve, a table, and maps whose colors a browser shows and everyone can read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import hostile_strings
import pytest
from browser import complaints, contrasts, opened, scrolls_sideways
from layered_explanation import explanation

from textlrp.render.page_layers import layers

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_the_curve_runs_from_the_embeddings_to_the_logit() -> None:
    shown = layers(explanation(), "token")
    assert shown is not None
    # From -0.4 at the bottom to the logit, 2.0, at the top.
    assert shown.curve.points == "52.0,140.0 316.0,125.25 580.0,125.25"
    assert (shown.curve.zero, shown.curve.logit, shown.curve.whole) == (120.33, 22.0, "+2.00")
    assert [mark[2] for mark in shown.curve.marks] == ["0", "1", "2"]


def test_the_table_and_the_maps_have_the_numbers() -> None:
    shown = layers(explanation(), "token")
    assert shown is not None
    assert not shown.around
    first, second, _ = shown.table
    assert (first.name, first.held, first.posted, first.shares) == ("embeddings", "−0.40", "+2.40", ["", "", ""])
    assert (second.name, second.path) == ("layer 0", "bert.encoder.layer.0")
    assert second.shares == ["60 %", "30 %", "10 %"]
    assert [column.tick for column in shown.words.columns] == ["0", "1", "2"]
    rows = {row.name: [cell.css for cell in row.cells] for row in shown.words.rows}
    assert rows["Not"] == ["p5"] * 3
    assert rows["at"] == [""] * 3
    assert [row.name for row in shown.words.rows if row.muted] == ["[CLS]", "[SEP]"]
    assert [[cell.value for cell in row.cells] for row in shown.heads.rows] == [["+0.100", "−0.400"]] * 2
    assert [[cell.css for cell in row.cells] for row in shown.heads.rows] == [["p3", "n10"]] * 2


def test_no_layers_no_section() -> None:
    plain = replace(explanation(), layers=())
    assert layers(plain, "word") is None
    assert "Layer by layer" not in plain.to_html()
    assert "Layer by layer" not in plain._repr_html_()
    assert "Layer by layer" in explanation()._repr_html_()
    assert explanation().to_html() == explanation().to_html()
    assert "--layers" in explanation().to_html()


@pytest.mark.parametrize(("width", "blocks", "dark"), [(360, 4, True), (1400, 24, False)])
def test_everyone_can_read_it(browser: Browser, tmp_path: Path, width: int, blocks: int, dark: bool) -> None:
    place = tmp_path / "layers.html"
    explanation(blocks).to_html(place)
    with opened(browser, place, width=width, dark=dark) as (page, seen):
        assert complaints(page) == []
        assert not scrolls_sideways(page)
        assert [(name, ratio) for name, ratio in contrasts(page, "main, main *") if ratio < 4.5] == []
        colors = page.evaluate("[...document.querySelectorAll('.cell')].map(x => getComputedStyle(x).backgroundColor)")
        assert len(set(colors)) > 3
    assert seen.nothing


def test_hostile_modules_and_words_are_text(browser: Browser, tmp_path: Path) -> None:
    place = tmp_path / "layers.html"
    e = explanation()
    named = [replace(layer, name=name) for layer, name in zip(e.layers, hostile_strings.STRINGS[:3], strict=True)]
    named[1] = replace(named[1], heads=dict.fromkeys(hostile_strings.STRINGS, (0.1,)))
    replace(e, layers=tuple(named)).to_html(place)
    with opened(browser, place) as (page, seen):
        assert page.locator(".map").count() == 2
    assert seen.nothing
