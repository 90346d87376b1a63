"""No page runs off the screen, whatever its texts and labels are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import layered_explanation
import pytest
from browser import opened, scrolls_sideways
from example_annotations import ADA, BEN, REVIEWS, written
from example_evaluations import plan, results
from example_explanations import explanation
from example_reports import reviews

from textlrp import Span
from textlrp.annotate.annotations import read_annotations
from textlrp.annotate.comparison import compare
from textlrp.annotate.page import page as annotations_page
from textlrp.data.records import Record
from textlrp.evaluate.page import page as evaluation_page
from textlrp.evaluate.summary import summarize
from textlrp.report.setup import Setup
from textlrp.report.writing import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LONG = "Donaudampfschifffahrtsgesellschaft" * 6
NAMES = ("Extremely_dissatisfied_customer", "Neither satisfied nor dissatisfied", "Overwhelmingly enthusiastic", LONG)


def many_labels(target: str = NAMES[0], text: str = f"good {LONG}") -> dict[str, object]:
    logits = {name: float(i) for i, name in enumerate((*NAMES, *map(str, range(20))))}
    return {"text": text, "target": target, "logits": logits, "predicted": "19", "probabilities": {}}


def explained(path: Path) -> list[Path]:
    pages = {
        "long": explanation(**many_labels()),
        "truncated": explanation("A film " + "word " * 2000, truncated=(7, 10_007)),
        "pair": explanation("A film", text_pair=LONG, tokens=(Span(0, 6, "A film", 1.0),)),
        "layers": layered_explanation.explanation(),
    }
    for name, e in pages.items():
        e.to_html(path / f"{name}.html")
    return [path / f"{name}.html" for name in pages]


def reported(path: Path) -> list[Path]:
    records = [Record(str(i), (explanation(**many_labels(name)),), NAMES[i - 1]) for i, name in enumerate(NAMES)]
    setup = Setup(f"# {LONG}\n\n{LONG}", (LONG,), (LONG, "Ada"))
    return [
        *write_report(records, path / "labels.html", title=LONG, setup=setup),
        *write_report(reviews(), path / "blind.html", blind=True),
        *write_report(reviews(), path / "split.html", page_documents=3),
    ]


def compared(path: Path) -> list[Path]:
    files = [written(path / f"{number}.jsonl", *lines) for number, lines in enumerate((ADA, BEN))]
    found = read_annotations(files, REVIEWS)
    (path / "side.html").write_text(annotations_page(found, REVIEWS, compare(found, REVIEWS)), encoding="utf-8")
    return [path / "side.html"]


def evaluated(path: Path) -> list[Path]:
    (path / "evaluation.html").write_text(evaluation_page(summarize(plan(), results())), encoding="utf-8")
    return [path / "evaluation.html"]


@pytest.mark.parametrize("make", [explained, reported, compared, evaluated])
def test_nothing_runs_off_the_screen(browser: Browser, tmp_path: Path, make: Callable[[Path], list[Path]]) -> None:
    for path in make(tmp_path):
        with opened(browser, path, width=1400) as (page, seen):
            page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
            for width in (360, 768, 1400):
                page.set_viewport_size({"width": width, "height": 900})
                assert not scrolls_sideways(page), (path.name, width)
            page.emulate_media(media="print")
            landscape = make is evaluated
            page.set_viewport_size({"width": 1010 if landscape else 670, "height": 900})  # A4 without its margins
            assert not scrolls_sideways(page), (path.name, "print")
            assert seen.nothing


def test_on_a_phone_the_documents_are_near_and_a_high_zoom_shows_them(browser: Browser, tmp_path: Path) -> None:
    (path,) = write_report(reviews(), tmp_path / "report.html")
    with opened(browser, path, width=360) as (page, seen):
        assert page.locator(".fold").get_attribute("open") is None
        assert page.locator("#documents").bounding_box()["y"] < 1500  # type: ignore[index]
        page.locator(".jump a").click()
        page.set_viewport_size({"width": 320, "height": 256})  # 400 % of 1280 by 1024
        assert page.locator("#bar .row").first.evaluate("e => getComputedStyle(e).position") == "static"
        page.set_viewport_size({"width": 1280, "height": 900})
        page.locator(".fold[open]").wait_for()
        assert page.locator("#bar").evaluate("e => getComputedStyle(e).position") == "sticky"
        assert seen.nothing
