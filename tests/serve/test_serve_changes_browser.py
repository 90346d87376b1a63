"""Words left out, the text before, links and two models, in Chromium: by pointer, by keyboard, and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from browser import complaints, opened, scrolls_sideways
from served_pages import COMMAND, explain, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("uvicorn", reason="needs uvicorn (pip install 'textlrp[serve]')")

SCORE = " The score is that for POS."
WITHOUT_BAD = "Without bad: +2.50 instead of +1.50, a change of +1.00; its relevance was −0.50."


@pytest.fixture(scope="module")
def address(browser: Browser) -> Iterator[str]:
    with running(str(Path(__file__).parents[1] / "served_models.py")) as (address, _):
        yield address


def click(page: Page, place: str, side: str = "") -> None:
    """Click the middle of a word."""
    word = page.locator(f"#result{side} [data-place='{place}']")
    word.scroll_into_view_if_needed()
    box = word.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def says(page: Page, selector: str, text: str) -> None:
    """Wait until an element says something."""
    page.wait_for_function(
        "([selector, text]) => document.querySelector(selector).innerText.trim() === text", arg=[selector, text]
    )


def struck(page: Page, side: str = "") -> list[str]:
    """The words that are shown struck through, which are those that are pressed."""
    out = page.locator(f"#result{side} [data-place][aria-pressed=true]")
    lines = out.evaluate_all("words => words.map(word => getComputedStyle(word).textDecorationLine)")
    assert set(lines) <= {"line-through"}
    return out.all_inner_texts()


def test_a_word_is_left_out_and_comes_back(browser: Browser, address: str) -> None:
    with opened(browser, address) as (page, seen):
        explain(page, "good bad")
        assert not page.is_visible("#outcome")
        click(page, "1:5-8")
        says(page, "#outcome", WITHOUT_BAD + SCORE)
        assert struck(page) == ["bad"]
        assert page.input_value("#text") == "good bad"
        click(page, "1:0-4")
        says(
            page,
            "#outcome",
            "Without good, bad: +0.50 instead of +1.50, a change of −1.00; the sum of their relevances was +0.50."
            + SCORE,
        )
        page.check("input[value=mask]")
        says(
            page,
            "#outcome",
            "With good, bad masked: +1.00 instead of +1.50, a change of −0.50; the sum of their relevances was +0.50."
            + SCORE,
        )
        assert page.inner_text("#mask-token").strip() == "([MASK])"
        assert complaints(page) == []
        click(page, "1:0-4")
        bad_masked = "With bad masked: +2.00 instead of +1.50, a change of +0.50; its relevance was −0.50."
        says(page, "#outcome", bad_masked + SCORE)
        page.click("#restore")
        page.wait_for_selector("#outcome", state="hidden")
        assert struck(page) == []
        assert page.is_disabled("#restore")
        click(page, "1:0-4")
        page.wait_for_selector("#outcome:not([hidden])")
        explain(page, "another text")  # its words are other words
        assert struck(page) == []
        assert not page.is_visible("#outcome")
        assert seen.nothing


def test_words_of_both_texts_of_a_pair(browser: Browser, address: str) -> None:
    with opened(browser, address) as (page, seen):
        page.click("#second summary")
        page.fill("#pair", "drei vier")
        explain(page, "one two")
        click(page, "1:4-7")
        click(page, "2:0-4")
        says(
            page,
            "#outcome",
            "Without two, drei: +0.50 instead of +1.50, a change of −1.00; the sum of their relevances was +0.50."
            + SCORE,
        )
        assert seen.nothing


def test_words_by_keyboard(browser: Browser, address: str) -> None:
    with opened(browser, address) as (page, seen):
        explain(page, "one two three")
        assert page.locator("#result [data-place][tabindex='0']").count() == 1  # one step for the Tab key
        page.focus("#result [data-place][tabindex='0']")
        for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "Enter"):
            page.keyboard.press(key)
        says(page, "#outcome", WITHOUT_BAD.replace("bad", "two") + SCORE)
        page.keyboard.press("End")
        page.keyboard.press("Space")
        page.keyboard.press("Home")
        assert page.evaluate("document.activeElement.textContent") == "one"
        assert struck(page) == ["two", "three"]
        assert page.get_attribute("#outcome", "role") == "status"
        assert page.get_attribute("[data-place='1:4-7']", "role") == "button"
        assert seen.nothing


def test_a_model_without_a_mask_or_without_words(browser: Browser, address: str) -> None:
    with opened(browser, address) as (page, seen):
        page.evaluate("document.getElementById('options').open = true")
        page.select_option("#model", index=1)
        page.wait_for_function("() => document.getElementById('how-mask').disabled")
        page.select_option("#model", index=2)
        explain(page, "good")
        assert page.locator("[data-place]").count() == 0
        assert not page.is_visible("#how-choice")
        assert seen.nothing


def test_the_text_before(browser: Browser) -> None:
    with running("-W", "error", "-c", COMMAND) as (address, _), opened(browser, address) as (page, seen):
        explain(page, "The film is good, really.")
        page.click("#keep")
        page.wait_for_selector("text=No word gained or lost relevance.")
        explain(page, "The film is bad, really.")
        page.wait_for_selector("#compared table")
        assert page.locator("#compared p").all_inner_texts() == [
            "The text before: The film is good, really.",
            "Its score for NEG was −0.85; now it is +0.71, a change of +1.56. The model said POS and now says NEG.",
        ]
        assert page.locator("#compared tr").all_inner_texts() == [
            "Word\tBefore\tNow\tChange",
            "bad\tnot there\t+0.639\t+0.639",
            "good\t−0.299\tgone\t+0.299",
        ]
        assert complaints(page) == []
        page.select_option("#compare", "last")
        explain(page, "The film is dull, really.")
        page.wait_for_selector("#compared bdi:text-is('The film is bad, really.')")
        page.select_option("#compare", "")
        page.wait_for_selector("#compared", state="hidden")
        assert seen.nothing


def test_a_link_brings_everything_back(browser: Browser, address: str) -> None:
    allowed = {"permissions": ["clipboard-read", "clipboard-write"]}
    text = "good & bad\n#second=line"
    with opened(browser, address, **allowed) as (page, seen):
        page.evaluate("document.getElementById('options').open = true")
        page.click("#second summary")
        page.fill("#pair", "drei vier")
        explain(page, "an older text")
        page.click("#keep")
        page.select_option("#target", "NEG")
        page.select_option("#contrast", "runner-up")
        page.fill("#rules", "gamma=0.25")
        page.select_option("#long", "windows")
        page.select_option("#model-2", index=4)
        explain(page, text)
        page.check("input[value=mask]")
        click(page, "1:7-10")
        click(page, "2:0-4")
        page.wait_for_selector("#outcome:not([hidden])")
        page.click("#link")
        says(page, "#copied", "The link is copied.")
        link = page.evaluate("navigator.clipboard.readText()")
        page.click("#link-others")
        says(page, "#copied", "What is put behind another address is copied.")
        others = page.evaluate("navigator.clipboard.readText()")
        said = [page.inner_text("#outcome"), page.inner_text("#outcome-2"), page.inner_text("#compared")]
        assert seen.nothing
    assert link == address + others
    token = parse_qs(urlsplit(address).query)["token"][0]
    assert token not in others
    assert others.startswith("#")
    held = {name: value for name, (value,) in parse_qs(others[1:]).items()}
    assert held == {
        "text": text,
        "pair": "drei vier",
        "model": "by hand",
        "second": "otherwise",
        "target": "NEG",
        "contrast": "runner-up",
        "rules": "gamma=0.25",
        "long": "windows",
        "by": "word",
        "before": "an older text",
        "before_pair": "drei vier",
        "out": "1:7-10 2:0-4",
        "how": "mask",
    }
    with opened(browser, link) as (page, seen):
        page.wait_for_selector("#outcome-2:not([hidden])")
        page.wait_for_selector("#outcome:not([hidden])")
        page.wait_for_selector("#compared table")
        assert [page.inner_text("#outcome"), page.inner_text("#outcome-2"), page.inner_text("#compared")] == said
        assert (page.input_value("#text"), page.input_value("#pair")) == (text, "drei vier")
        values = {name: page.input_value(f"#{name}") for name in ("target", "contrast", "rules", "long")}
        assert values == {"target": "NEG", "contrast": "runner-up", "rules": "gamma=0.25", "long": "windows"}
        assert struck(page) == struck(page, "-2") == ["bad", "drei"]
        assert not page.is_visible("#restored")
        assert complaints(page) == []
        assert seen.nothing


def test_a_link_from_elsewhere_says_what_is_missing(browser: Browser, address: str) -> None:
    with opened(browser, address) as (page, seen):
        page.evaluate("location.hash = '#text=good+bad&model=theirs&target=NEUTRAL'")
        says(page, "#restored", "The link asks for what this page does not have: the model theirs, the label NEUTRAL.")
        page.wait_for_selector("#result [data-place]")
        assert page.input_value("#text") == "good bad"
        assert complaints(page) == []
        assert seen.nothing


def test_a_browser_that_does_not_copy_shows_the_link(browser: Browser, address: str) -> None:
    with opened(browser, address) as (page, seen):
        explain(page, "good")
        page.evaluate("() => { navigator.clipboard.writeText = async () => { throw new Error('no'); }; }")
        page.click("#link-others")
        says(page, "#copied", "The browser does not let this page copy.")
        assert page.input_value("#copy").startswith("#model=by+hand&text=good&")
        assert complaints(page) == []
        assert seen.nothing


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_two_models(browser: Browser, address: str, width: int, dark: bool) -> None:
    with opened(browser, address, width=width, dark=dark) as (page, seen):
        page.evaluate("document.getElementById('options').open = true")
        explain(page, "good bad")
        assert not page.is_visible("#answer-2")
        assert not page.is_visible("#agreement")
        page.select_option("#model-2", index=4)
        says(
            page,
            "#agreement",
            "The models disagree: by hand says POS, otherwise says NEG. "
            "Their words are explained for different labels.",
        )
        click(page, "1:5-8", "-2")  # it is out of both
        says(page, "#outcome", WITHOUT_BAD + SCORE)
        says(
            page,
            "#outcome-2",
            WITHOUT_BAD + " The score is that for NEG.",
        )
        first, second = (page.locator(f"#answer{side}").bounding_box() for side in ("", "-2"))
        assert first is not None
        assert second is not None
        if width == 360:
            assert second["y"] >= first["y"] + first["height"]
        else:
            assert (second["y"], second["x"] > first["x"]) == (first["y"], True)
        assert not scrolls_sideways(page)
        assert complaints(page) == []
        page.select_option("#target", "POS")
        says(page, "#agreement", "The models agree: both say POS. Of their 2 strongest words, 2 are the same.")
        page.fill("#text", "unknown")
        page.wait_for_selector("#error-2:not([hidden])")
        page.wait_for_selector("#agreement", state="hidden")
        page.select_option("#model-2", "")
        page.wait_for_selector("#answer-2", state="hidden")
        assert seen.nothing
