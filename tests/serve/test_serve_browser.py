"""The page of the local server in Chromium: typed into, resized, in the dark, by keyboard, with hostile strings."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import served_models
from browser import complaints, opened, scrolls_sideways
from served_pages import COMMAND, explain, running

from textlrp.render.format import shown
from textlrp.results.explanation import Explanation

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest.importorskip("uvicorn", reason="needs uvicorn (pip install 'textlrp[serve]')")


@pytest.fixture(scope="module")
def address(browser: Browser) -> Iterator[str]:
    with running(str(Path(__file__).parents[1] / "served_models.py")) as (address, _):
        yield address


def test_the_built_in_classifier_as_you_type(browser: Browser, tmp_path: Path) -> None:
    with running("-W", "error", "-c", COMMAND) as (address, process):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}", address)
        with opened(browser, address) as (page, seen):
            page.wait_for_selector("#result .textlrp")  # the example
            page.fill("#text", "")
            page.locator("#text").press_sequentially("What a wonderful film", delay=5)
            page.wait_for_function("() => document.querySelector('#result .text')?.textContent.endsWith('film')")
            assert page.inner_text("#result .text") == "What a wonderful film"
            assert page.inner_text("#status").startswith("POS, ")
            colored = page.locator("#result .text span[title$='for POS']")
            assert "wonderful" in colored.all_inner_texts()
            page.select_option("#target", "NEG")
            page.wait_for_function("() => document.getElementById('status').textContent.includes('Explained: NEG.')")
            assert "wonderful" in page.locator("#result .text span[title$='against NEG']").all_inner_texts()
            for kind in ("json", "html"):
                with page.expect_download() as download:
                    page.click(f"#{kind}")
                assert download.value.suggested_filename == f"explanation.{kind}"
                download.value.save_as(tmp_path / f"saved.{kind}")
            assert seen.nothing
        e = Explanation.from_json(tmp_path / "saved.json")
        assert (e.text, e.target, e.predicted) == ("What a wonderful film", "NEG", "POS")
        with opened(browser, tmp_path / "saved.html") as (page, seen):
            assert page.inner_text(".text") == "What a wonderful film"
            assert seen.nothing
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=30)
        assert (process.returncode, out, error) == (0, "", "Ctrl-C ends it.\n")


#: Types each text under each label, and returns the text, the label and the title that are shown.
_TYPE_ALL = """async texts => {
  const at = id => document.getElementById(id);
  const answers = [];
  for (const [index, text] of texts) {
    at("target").selectedIndex = index;
    at("text").value = text;
    const before = at("json").getAttribute("href");
    at("form").requestSubmit();
    while (at("json").getAttribute("href") === before) await new Promise(go => setTimeout(go, 2));
    const shown = selector => document.querySelector(`#result ${selector}`).textContent;
    answers.push([at("text").value, shown(".text"), shown(".title .name"), document.title]);
  }
  return answers;
}"""


def test_hostile_strings_are_text(browser: Browser, address: str) -> None:
    given = [(i + 1, text) for i, text in enumerate(served_models.LABELS) if text.strip()]
    assert len(given) > 200
    with opened(browser, address) as (page, seen):
        shown_texts = page.evaluate(_TYPE_ALL, given)
        for (_, text), (typed, explained, label, title) in zip(given, shown_texts, strict=True):
            assert typed == text.replace("\r\n", "\n").replace("\r", "\n")
            assert (explained, label, title) == (shown(typed), shown(text), "textlrp")
        page.evaluate("document.getElementById('options').open = true")
        page.select_option("#model", index=2)
        explain(page, "again")
        assert (
            page.evaluate("document.querySelectorAll('#result :is(script, img, iframe, form, style, a)').length") == 0
        )
        assert seen.nothing


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_the_page_is_accessible_and_fits(browser: Browser, address: str, width: int, dark: bool) -> None:
    with opened(browser, address, width=width, dark=dark) as (page, seen):
        assert complaints(page) == []
        explain(page, "good بد word " + "long" * 60)
        page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        page.fill("#pair", "a second text")
        page.wait_for_selector("text=Second text >> nth=1")
        assert complaints(page) == []
        assert not scrolls_sideways(page)
        page.fill("#rules", "nonsense")
        page.wait_for_selector("#error:not([hidden])")
        assert page.inner_text("#error").startswith("No rules are called 'nonsense': ")
        assert complaints(page) == []
        assert seen.nothing


def test_only_difference_rules_ask_for_a_reference(browser: Browser, address: str) -> None:
    with opened(browser, address) as (page, seen):
        explain(page, "good")
        assert not page.is_visible("#reference")
        page.evaluate("document.getElementById('options').open = true")
        page.fill("#rules", "difference")
        page.wait_for_selector("text=Without its words the model would say")
        page.fill("#reference", "a film")
        page.wait_for_selector("text=For the reference (")
        assert "For the reference ([MASK]) the model says POS" in page.inner_text("#status")
        assert complaints(page) == []
        page.fill("#rules", "attnlrp")
        page.wait_for_function(
            "() => document.getElementById('status').textContent.startsWith('POS, 75.0 %. Explained: POS. The words ')"
        )
        assert not page.is_visible("#reference")
        assert seen.nothing


def test_by_keyboard_alone(browser: Browser, address: str) -> None:
    with opened(browser, address) as (page, seen):
        focused: list[Any] = []
        for _ in range(12):
            page.keyboard.press("Tab")
            focused.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        assert focused[:1] == ["text"]
        assert {"model", "target", "contrast", "rules", "long", "BUTTON"} <= set(focused)
        page.focus("#text")
        page.keyboard.type("good")
        page.keyboard.press("Control+Enter")
        page.wait_for_function(
            "() => document.getElementById('status').textContent.startsWith('POS, 75.0 %. Explained: POS. The words ')"
        )
        assert page.get_attribute("#status", "aria-live") == "polite"
        page.focus("input[value=word]")
        page.keyboard.press("ArrowRight")
        page.wait_for_function("() => document.querySelector('input[value=sentence]').checked")
        assert seen.nothing


def test_slow_work_shows_its_steps_and_stale_answers_are_dropped(browser: Browser, address: str) -> None:
    with opened(browser, address) as (page, seen):
        page.select_option("#model", index=1)
        page.fill("#text", "first")
        page.wait_for_selector("#work:not([hidden])")
        page.wait_for_function(
            "() => /^Explaining, step [1-4] of 5$/.test(document.getElementById('steps').textContent)"
        )
        assert page.get_attribute("#answer", "aria-busy") == "true"
        page.fill("#text", "second")
        page.wait_for_selector("#result .text")
        assert page.inner_text("#result .text") == "second"
        page.wait_for_selector("#work", state="hidden")
        page.fill("#text", "third")
        page.wait_for_selector("#work:not([hidden])")
        page.fill("#text", "")  # nothing is asked any more
        page.wait_for_selector("#hint:not([hidden])")
        page.wait_for_timeout(1500)
        assert page.locator("#result .text").count() == 0
        assert page.inner_text("#hint") == "The explanation appears here."
        assert seen.nothing


def test_too_long_a_text_is_a_sentence(browser: Browser, address: str) -> None:
    with opened(browser, address) as (page, seen):
        # To lay five million characters out takes Chromium half a minute.
        page.evaluate(
            "Object.defineProperty(document.getElementById('text'), 'value', {get: () => 'word '.repeat(1000001)})"
        )
        page.click("button[type=submit]")
        page.wait_for_selector("#error:not([hidden])")
        assert page.inner_text("#error") == "The text is too long: a request may have 5,000,000 bytes."
        assert seen.nothing


def test_a_server_that_is_gone_is_a_sentence(browser: Browser) -> None:
    program = str(Path(__file__).parents[1] / "served_models.py")
    with running(program) as (address, process), opened(browser, address) as (page, _):
        process.kill()
        process.wait(20)
        page.fill("#text", "hello")
        page.wait_for_selector("#error:not([hidden])")
        assert page.inner_text("#error") == "The server does not answer. Is textlrp serve still running?"


def test_nothing_can_be_learned_without_the_token(browser: Browser, address: str) -> None:
    with opened(browser, address.partition("?")[0]) as (page, _):
        assert page.inner_text("body").strip() == (
            "This address has no token: open the whole address that textlrp serve printed."
        )
