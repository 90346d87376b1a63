"""A page in Chromium: it shows the text as typed, runs nothing, and everyone can read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hostile_strings
import pytest
from browser import complaints, contrasts, opened, scrolls_sideways, watch
from example_explanations import explanation, measured

from textlrp import Explanation, Span
from textlrp.render import palette
from textlrp.render.format import shown

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def batched(strings: list[str], size: int) -> Iterator[list[str]]:
    yield from (strings[at : at + size] for at in range(0, len(strings), size))


TEXT = "A wonderful film, dull at times.\n\n\tTwo  spaces, <b>no tags</b>; 映画 and 👩‍👩‍👧‍👦."


def every_color() -> Explanation:
    """All steps of the scale in one text, and a part that was not read."""
    weights = [*range(-10, 0), *range(1, 11), 0]
    text = " ".join(f"word{weight}" for weight in weights)
    unread = text + 20 * " and the rest"
    logits = {f"label {i}": float(i) for i in range(12)}
    probabilities = dict.fromkeys(logits, 1 / 12)
    return explanation(
        unread,
        [weight / 10 for weight in weights],
        truncated=(len(text), len(unread)),
        windows=3,
        logits=logits,
        probabilities=probabilities,
        predicted="label 11",
        target="label 11",
        contrast="label 10",
        model="some/very-long-name-of-a-model-that-does-not-fit-on-one-line-of-a-telephone-and-has-no-spaces-in-it",
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "e.html"
    every_color().to_html(path, by="token")
    return path


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_everyone_can_read_it(browser: Browser, place: Path, width: int, dark: bool) -> None:
    with opened(browser, place, width=width, dark=dark) as (page, seen):
        page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        assert complaints(page) == []
        assert not scrolls_sideways(page)
        colored = contrasts(page, ".text span")
        assert {name for name, _ in colored} == {f"{sign}{i}" for sign in "pn" for i in range(1, 11)} | {"unread end"}
        assert [(name, ratio) for name, ratio in contrasts(page, "main, main *") if ratio < 4.5] == []
    assert seen.nothing


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1400])
def test_everyone_can_read_what_a_text_is_measured_from(
    browser: Browser, tmp_path: Path, width: int, dark: bool
) -> None:
    name = "the text 'some-very-long-words-that-have-no-spaces-in-them-at-all ...'"
    e = measured("reference (pinned)", name, ("some words",), others={"masked": -0.25}, blocks=3)
    e.to_html(tmp_path / "e.html")
    with opened(browser, tmp_path / "e.html", width=width, dark=dark) as (page, seen):
        page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        assert complaints(page) == []
        assert not scrolls_sideways(page)
        said = page.locator(".lead").nth(1).inner_text()
        assert said.startswith(f"From the reference ({name}), run with the choices that the model makes for this ")
        assert "this text, POS starts at \u22120.50. " in said
        assert ' The words add +2.00, above all "wonderful" and ' in said
        assert said.endswith(" Other parts of the model add \u22120.25.")
        assert page.locator(".pinned").inner_text().startswith("Such choices are of experts")
        assert [(name, ratio) for name, ratio in contrasts(page, "main, main *") if ratio < 4.5] == []
    assert seen.nothing


def color_of(page: Any, selector: str, what: str = "backgroundColor") -> str:
    return str(page.evaluate(f"getComputedStyle(document.querySelector({selector!r})).{what}"))


def rgb(color: palette.Color | None) -> str:
    assert color is not None
    return f"rgb({color.red}, {color.green}, {color.blue})"


def test_colors_follow_the_system_and_the_choice_and_paper_is_light(browser: Browser, place: Path) -> None:
    light, dark = rgb(palette.background(1.0)), rgb(palette.background(1.0, dark=True))
    with opened(browser, place) as (page, _):
        assert color_of(page, ".text .p10") == light
        assert color_of(page, "body") == "rgb(255, 255, 255)"
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        assert color_of(page, ".text .p10") == dark
        assert color_of(page, "body") == "rgb(24, 24, 27)"
        page.emulate_media(media="print")
        assert color_of(page, ".text .p10") == light
        assert color_of(page, ".text .p10", "printColorAdjust") == "exact"
        assert color_of(page, "body") == "rgb(255, 255, 255)"
        assert "underline" in color_of(page, ".text .n10", "textDecorationLine")
        assert len(page.pdf()) > 10_000
    with opened(browser, place, dark=True) as (page, _):
        assert color_of(page, ".text .p10") == dark
        page.evaluate("document.documentElement.dataset.theme = 'light'")
        assert color_of(page, ".text .p10") == light


def test_screen_readers_are_told_what_stands_out(browser: Browser, tmp_path: Path) -> None:
    e = explanation("A wonderful film, dull at times.", [0.0, 1.0, 0.3, -0.8])
    e.to_html(tmp_path / "e.html")
    with opened(browser, tmp_path / "e.html") as (page, _):
        assert (
            "A (strongly for:) wonderful film, (strongly against:) dull at times."
            in page.locator(".text").aria_snapshot()
        )
        assert page.locator(".text").inner_text() == e.text
        assert page.locator("main h1").count() == 1


def test_the_keyboard_opens_the_list_of_all_words(browser: Browser, tmp_path: Path) -> None:
    explanation("A wonderful film", [0.0, 1.0, -2.0]).to_html(tmp_path / "e.html")
    with opened(browser, tmp_path / "e.html") as (page, _):
        table = page.locator("table.list")
        assert not table.is_visible()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert table.is_visible()
        assert table.inner_text().split() == "Word At character Relevance film 12 −2.00 wonderful 2 +1.00".split()


def test_it_is_whole_without_javascript(browser: Browser, place: Path, tmp_path: Path) -> None:
    with opened(browser, place) as (page, _):
        active = page.screenshot()
    with opened(browser, place, java_script_enabled=False) as (page, seen):
        assert page.screenshot() == active
    assert seen.nothing


def test_lines_spaces_and_tabs_stay_and_each_paragraph_has_its_direction(browser: Browser, tmp_path: Path) -> None:
    e = explanation(TEXT + "\nשלום wonderful", size=4)
    e.to_html(tmp_path / "e.html")
    with opened(browser, tmp_path / "e.html") as (page, _):
        text = page.locator(".text")
        assert text.inner_text() == text.text_content() == e.text
        assert color_of(page, ".text", "direction") == "ltr"
        assert color_of(page, ".text", "unicodeBidi") == "plaintext"
    explanation("فيلم wonderful", size=4).to_html(tmp_path / "e.html")
    with opened(browser, tmp_path / "e.html") as (page, _):
        assert color_of(page, ".text", "direction") == "rtl"


def test_hostile_strings_are_shown_as_typed_and_run_nothing(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "e.html"
    with browser.new_context() as context:
        page = context.new_page()
        seen = watch(page, path.as_uri())
        for group in batched(hostile_strings.STRINGS, 20):
            text, first = "\n".join(group), group[0]
            logits = {string: -float(i) for i, string in enumerate(group)}
            explanation(text, size=3, target=first, predicted=first, logits=logits, model=text).to_html(path)
            page.goto(path.as_uri())
            texts = page.evaluate("[...document.querySelectorAll('.labels .name')].map(e => e.textContent)")
            assert texts == [shown(string) for string in group]
            texts = page.evaluate(
                "['h1 .name', '.text', '.facts .name'].map(e => document.querySelector(e).textContent)"
            )
            assert texts == [shown(first), shown(text), shown(text)]
            assert page.evaluate("document.querySelector('main').children.length") == 6
            assert page.title().endswith("· explanation")
    assert seen.nothing


def test_hostile_strings_run_nothing_in_a_notebook_either(browser: Browser, tmp_path: Path) -> None:
    """A notebook has no policy that would stop them, and shows many explanations."""
    path = tmp_path / "notebook.html"
    fragments = [
        explanation(string, size=3, target=string, predicted=string, contrast=string, model=string)._repr_html_()
        for string in hostile_strings.STRINGS
    ]
    path.write_text(f"<!doctype html><meta charset=utf-8><title>n</title>{''.join(fragments)}", encoding="utf-8")
    with opened(browser, path) as (page, seen):
        texts = page.evaluate("[...document.querySelectorAll('.textlrp .text')].map(text => text.textContent)")
        assert texts == [shown(string) for string in hostile_strings.STRINGS]
        assert page.title() == "n"
        page.mouse.move(300, 200)
        page.keyboard.press("Tab")
    assert seen.nothing


@pytest.mark.parametrize(
    ("body", "dark"),
    [
        ("<body data-jp-theme-light=true>", False),
        ("<body data-jp-theme-light=false>", True),
        ("<body class='vscode-dark'>", True),
        ("<body>", False),
    ],
)
def test_a_notebook_s_theme_is_followed_and_its_page_left_alone(
    browser: Browser, tmp_path: Path, body: str, dark: bool
) -> None:
    path = tmp_path / "notebook.html"
    fragment = every_color()._repr_html_()
    head = "<!doctype html><html lang=en><meta charset=utf-8><title>n</title>"
    path.write_text(f"{head}{body}<main><h1>n</h1><p class=p10>Beside.</p>{fragment}</main>", encoding="utf-8")
    with opened(browser, path, width=600, dark=not dark) as (page, seen):
        assert color_of(page, ".textlrp .p10") == rgb(palette.background(1.0, dark=dark))
        assert color_of(page, "p.p10") == "rgba(0, 0, 0, 0)"
        page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        assert complaints(page) == []
        assert [(name, ratio) for name, ratio in contrasts(page, ".textlrp *") if ratio < 4.5] == []
        assert not scrolls_sideways(page)
    assert seen.nothing


@pytest.mark.slow
def test_a_hundred_thousand_words_are_written_and_opened(browser: Browser, tmp_path: Path) -> None:
    words = ["wonderful", "film,", "dull", "at", "times.\n"] * 20_000
    text = " ".join(words)
    tokens, at = [], 0
    for i, word in enumerate(words):
        tokens.append(Span(at, at + len(word), word, (i * 37 % 19 - 9) / 9))
        at += len(word) + 1
    e = explanation(text, tokens=tuple(tokens))
    e.to_html(tmp_path / "e.html")
    with opened(browser, tmp_path / "e.html") as (page, seen):
        assert page.evaluate("document.querySelector('.text').textContent.length") == len(text)
    assert seen.nothing
