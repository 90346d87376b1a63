"""Marks are made with mouse, keys and fingers, and leave in the form that is read back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import complaints, opened, scrolls_sideways
from example_reports import explanation, reviews
from report_marking import article, call_me, download, expect_marks, press, select

from textlrp.data.records import Record
from textlrp.report.reading import read_report
from textlrp.report.writing import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(reviews(), tmp_path_factory.mktemp("reports") / "report.html", title="Reviews")[0]


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(reviews(), tmp_path_factory.mktemp("reports") / "report.html", blind=True)[0]


def test_the_mouse_marks_whole_words_and_the_file_has_them_by_code_points(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, seen):
        select(page, "d", 6, 8)  # "ov" of "loved", behind an emoji of two units
        page.locator("#float").get_by_role("button", name="Mark for POS", exact=True).click()
        page.locator("#name-field").fill("Ada")  # the name is asked for once
        page.keyboard.press("Enter")
        expect_marks(page, "d", ["loved"])
        select(page, "d", 15, 36)
        page.locator("#float").get_by_role("button", name="Mark for NEG", exact=True).click()
        expect_marks(page, "d", ["loved", "👩‍👩‍👧 film, really"])
        press(page, "d", "Disagree")
        press(page, "d", "NEG")
        press(page, "d", "Comment")
        page.keyboard.type("Why  “so”?\n<b>")
        press(page, "a", "Agree")
        page.locator("#progress", has_text="2 of 4 marked").wait_for()
        found = download(page)
        changed = [mark.pop("changed") for mark in found]
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", each) for each in changed)
        text = reviews()[3].text
        common = {
            "textlrp": "annotation",
            "format": 2,
            "report": read_report(path).id,
            "annotator": "Ada",
            "text_pair": None,
            "predicted": ["POS"],
            "reasons": [],
            "blind": False,
        }
        start = text.index("👩")
        for_neg = {"label": "NEG", "against": False}
        assert found == [
            {
                **common,
                "document": "a",
                "text": reviews()[0].text,
                "verdict": "agree",
                "labels": None,
                "comment": "",
                "rationales": [],
            },
            {
                **common,
                "document": "d",
                "text": text,
                "verdict": "disagree",
                "labels": ["NEG"],
                "comment": "Why  “so”?\n<b>",
                "rationales": [
                    {"start": 4, "end": 9, "text": "loved", "source": "text", "label": "POS", "against": False},
                    {"start": start, "end": len(text), "text": text[start:], "source": "text", **for_neg},
                ],
            },
        ]
    assert seen.nothing


def test_a_mark_is_removed_undone_and_redone(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, seen):
        call_me(page)
        select(page, "b", 0, 13)
        page.locator("#float").get_by_role("button", name="Mark for POS", exact=True).click()
        expect_marks(page, "b", ["Dull at times"])
        select(page, "b", 5, 7)
        page.locator("#float").get_by_role("button", name="Remove mark", exact=True).click()
        expect_marks(page, "b", ["Dull", "times"])
        page.keyboard.press("z")
        expect_marks(page, "b", ["Dull at times"])
        page.keyboard.press("Shift+z")
        expect_marks(page, "b", ["Dull", "times"])
        article(page, "b").get_by_role("button", name="Remove the mark of Dull").click()
        expect_marks(page, "b", ["times"])
        article(page, "b").locator(".mine").click()
        page.locator("#float").get_by_role("button", name="Remove mark", exact=True).click()
        expect_marks(page, "b", [])
        page.locator("#download:disabled").wait_for()
        for _ in range(4):
            page.keyboard.press("Control+z")
        expect_marks(page, "b", [])
        page.locator("#undo:disabled").wait_for()
        page.keyboard.press("z")
        assert page.locator("#toast").inner_text() == "There is nothing to undo."
    assert seen.nothing


def test_everything_can_be_done_by_keys(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, seen):
        page.keyboard.press("j")
        page.keyboard.press("a")
        page.keyboard.type("Ada")
        page.keyboard.press("Enter")
        page.keyboard.press("2")
        page.keyboard.press("m")
        for key in ("ArrowRight", "Shift+ArrowRight", "Enter"):
            page.keyboard.press(key)
        assert page.locator("#whisper").inner_text() == "film, marked for POS"
        page.keyboard.press("Escape")
        expect_marks(page, "a", ["wonderful film"])
        page.keyboard.press("n")
        page.keyboard.press("c")
        page.keyboard.type("a d u")
        page.keyboard.press("Escape")
        page.keyboard.press("m")
        page.keyboard.press("End")
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        expect_marks(page, "b", ["again."])
        page.keyboard.press("Delete")
        expect_marks(page, "b", ["."])
        page.keyboard.press("m")  # a letter is no key for words: the mode ends
        found = download(page)
        assert [(m["document"], m["verdict"], m["labels"], m["comment"]) for m in found] == [
            ("a", "agree", ["POS"], ""),
            ("b", None, None, "a d u"),
        ]
    assert seen.nothing


def test_fingers_mark_by_tapping_on_words(browser: Browser, path: Path) -> None:
    with opened(browser, path, width=360, height=740, has_touch=True, is_mobile=True) as (page, seen):
        article(page, "c").scroll_into_view_if_needed()
        article(page, "c").get_by_role("button", name="Mark words").tap()
        page.locator("#name-field").fill("Ada")
        page.get_by_role("button", name="Continue").tap()
        for word in ("Not", "bad", "all"):
            article(page, "c").locator("[data-piece]", has_text=word).tap()
        expect_marks(page, "c", ["Not bad", "all"])
        article(page, "c").locator("[data-piece]", has_text="Not").tap()
        expect_marks(page, "c", ["bad", "all"])
        article(page, "c").get_by_role("button", name="Done marking").tap()
        # Selecting as the system does it works, too.
        article(page, "a").locator(".text").evaluate(
            "b => getSelection().setBaseAndExtent(b.firstChild, 0, b.childNodes[1].firstChild, 4)"
        )
        page.locator("#float").get_by_role("button", name="Mark for POS", exact=True).tap()
        expect_marks(page, "a", ["A wonderful"])
        assert not scrolls_sideways(page)
        assert complaints(page) == []
    assert seen.nothing


def test_a_blind_report_shows_the_model_after_the_mark(browser: Browser, blind: Path) -> None:
    with opened(browser, blind) as (page, seen):
        call_me(page)
        assert page.locator(".text [title], .predicted, #model-summary:visible").count() == 0
        assert "Strongest" not in page.locator("article .aloud").first.text_content()
        page.locator("#more").evaluate("e => e.open = true")
        assert (
            page.locator("[name=predicted], [name=outcome], [name=from], [name=view]").locator("visible=true").count()
            == 0
        )
        page.goto(blind.as_uri() + "#predicted=1&sort=wrong")
        page.reload()
        assert page.locator("article").count() == 4
        first = article(page, "a")
        assert first.get_by_role("button", name="Agree", exact=True).count() == 0
        assert first.locator(".reveal").is_disabled()
        page.keyboard.press("j")
        page.keyboard.press("a")  # there is nothing to agree with yet
        assert "answer is hidden: choose the right label" in page.locator("#toast").inner_text()
        page.keyboard.press("s")
        assert "Mark this document first" in page.locator("#toast").inner_text()
        page.keyboard.press("9")
        assert page.locator("#toast").inner_text() == "There are 2 labels."
        press(page, "a", "NEG")
        select(page, "a", 2, 11)
        page.locator("#float").get_by_role("button", name="Mark for NEG", exact=True).click()
        assert first.locator(".predicted").count() == 0
        first.locator(".reveal").click()
        assert first.locator(".predicted").inner_text() == "POS 95.0\u00a0%"
        assert first.locator(".p10").inner_text() == "wonderful"
        press(page, "a", "Disagree")
        press(page, "b", "NEG")
        article(page, "b").locator(".reveal").click()
        press(page, "b", "POS")  # a change after the model was seen
        page.reload()
        assert first.locator(".predicted").count() == 1
        assert [(m["document"], m["verdict"], m["labels"], m["blind"]) for m in download(page)] == [
            ("a", "disagree", ["NEG"], True),
            ("b", None, ["POS"], False),
        ]
        assert page.locator("#model-summary").is_hidden()
        page.locator("#peek").click()
        page.get_by_role("button", name="Cancel").click()
        assert page.locator("#model-summary").is_hidden()
        page.locator("#peek").click()
        page.get_by_role("button", name="Show it all", exact=True).click()
        page.locator("#model-summary").wait_for()
        page.locator("#hide").click()
        page.locator("#blind-note").wait_for()
        assert page.locator("#model-summary").is_hidden()
        page.locator("#peek").click()
        page.get_by_role("button", name="Show it all", exact=True).click()
        page.locator("#model-summary").wait_for()
        press(page, "c", "Agree")
        assert download(page)[2]["blind"] is False
        assert complaints(page) == []
    assert seen.nothing


def test_the_summary_of_a_blind_report_appears_at_the_end(browser: Browser, blind: Path) -> None:
    with opened(browser, blind) as (page, seen):
        call_me(page)
        for record in reviews():
            assert page.locator("#model-summary").is_hidden()
            press(page, record.id, "Unsure")
            article(page, record.id).locator(".reveal").click()
        page.locator("#model-summary").wait_for()
        assert all(mark["blind"] for mark in download(page))
    assert seen.nothing


def test_what_the_answers_leave_open_is_asked_at_once(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, seen):
        call_me(page)
        question = article(page, "a").locator(".question")
        press(page, "a", "Agree")
        press(page, "a", "NEG")
        assert question.inner_text().startswith("You agree with POS, and give NEG as the right label.")
        page.locator("#more").evaluate("e => e.open = true")
        page.locator("[name=marks]").select_option("question")
        page.locator("#count", has_text="1 of 4 documents").wait_for()
        assert complaints(page) == []
        question.get_by_role("button", name="NEG is right: disagree").click()
        assert question.is_hidden()
        page.locator("[name=marks]").select_option("")
        # Words that are marked by keys, with no answer given.
        article(page, "b").get_by_role("heading").click()
        page.keyboard.press("m")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        asked = article(page, "b").locator(".question")
        assert asked.inner_text().startswith("What do the marked words speak for?")
        asked.get_by_role("button", name="for NEG").click()
        assert asked.is_hidden()
        # An answer that is given afterwards settles marks without a side; the others stay.
        select(page, "b", 5, 7)
        page.locator("#float").get_by_role("button", name="Mark for POS", exact=True).click()
        expect_marks(page, "b", ["Dull", "at"])
        article(page, "b").locator(".marks select").nth(1).select_option(label="for NEG")
        article(page, "c").get_by_role("heading").click()
        page.keyboard.press("m")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        press(page, "c", "POS")
        found = {mark["document"]: mark for mark in download(page)}
        assert (found["a"]["verdict"], found["a"]["labels"]) == ("disagree", ["NEG"])
        assert [(each["text"], each["label"]) for each in found["b"]["rationales"]] == [("Dull", "NEG"), ("at", "NEG")]
        assert [(each["text"], each["label"]) for each in found["c"]["rationales"]] == [("Not", "POS")]
    assert seen.nothing


def test_words_may_speak_against_a_label_of_three(browser: Browser, tmp_path: Path) -> None:
    records = [Record("a", (explanation("so so", [1.0, 1.0], logits={"NEG": 0.0, "POS": 1.0, "MIXED": 0.5}),))]
    with opened(browser, write_report(records, tmp_path / "report.html")[0]) as (page, seen):
        call_me(page)
        press(page, "a", "Mark words")
        article(page, "a").locator(".marking .side").select_option(label="against POS")
        page.locator("article .text").focus()
        page.keyboard.press("Enter")
        assert page.locator("#whisper").inner_text() == "so, marked against POS"
        assert [(m["text"], m["label"], m["against"]) for m in download(page)[0]["rationales"]] == [("so", "POS", True)]
    assert seen.nothing
