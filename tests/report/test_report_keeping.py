"""Marks survive reloads, other tabs, other names, other machines, and browsers that keep nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import hostile_strings
import pytest
from browser import complaints, opened, watch
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


def test_a_reload_and_a_second_tab_lose_nothing(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, seen):
        call_me(page)
        press(page, "a", "Agree")
        page.reload()
        assert page.locator("#progress").inner_text() == "1 of 4 marked, 1 not downloaded"
        assert page.locator("#name").inner_text() == "Ada"
        second = page.context.new_page()
        seen_too = watch(second, path.absolute().as_uri())
        second.goto(path.absolute().as_uri())
        press(second, "b", "Unsure")
        second.keyboard.press("c")
        second.keyboard.type("two")
        page.locator("#progress", has_text="2 of 4 marked").wait_for()
        assert article(page, "b").locator("textarea").input_value() == "two"
        page.bring_to_front()
        press(page, "b", "NEG")  # one field of a document that the other tab has marked
        press(page, "c", "Disagree")
        second.bring_to_front()
        second.locator("#progress", has_text="3 of 4 marked").wait_for()
        found = {mark["document"]: mark for mark in download(second)}
        assert (found["b"]["verdict"], found["b"]["labels"], found["b"]["comment"]) == ("unsure", ["NEG"], "two")
        second.keyboard.press("Escape")
        second.locator("#undo").click()  # what this tab did was changed since: it is left
        assert "was changed in another tab" in second.locator("#toast").inner_text()
        page.bring_to_front()
        page.locator("#undo").click()
        page.locator("#undo").click()
        article(second, "b").locator("[aria-pressed=true]", has_text="Unsure").wait_for()
        assert article(second, "b").locator("[aria-pressed=true]").count() == 1
        assert seen_too.nothing
    assert seen.nothing


def test_another_name_takes_the_marks_along_or_starts_anew(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, seen):
        call_me(page, "Adda")
        press(page, "a", "Agree")
        page.locator("#name").click()
        assert page.locator("#name-keep legend").inner_text() == "1 document is marked as Adda"
        page.locator("#name-field").fill("a dda")
        assert "Adda is known here" in page.locator("#name-alike").inner_text()
        page.locator("#name-field").fill("Ada")
        assert page.locator("#name-alike").is_hidden()
        page.locator("#name-keep [value=same]").check()
        page.keyboard.press("Enter")
        assert page.locator("#progress").inner_text() == "1 of 4 marked, 1 not downloaded"
        assert [mark["annotator"] for mark in download(page)] == ["Ada"]
        assert page.locator("#progress").inner_text() == "1 of 4 marked"
        page.locator("#name").click()
        page.locator("#name-field").fill("Bo")
        assert page.locator("#name-keep [value=other]").is_checked()
        page.get_by_role("button", name="Continue").click()
        page.locator("#progress", has_text="0 of 4 marked").wait_for()
        page.locator("#name").click()
        page.locator("#name-field").fill("Ada")
        page.keyboard.press("Enter")
        page.locator("#progress", has_text="1 of 4 marked").wait_for()
        page.locator("#name").click()
        page.locator("#name-field").fill("Nobody")
        page.keyboard.press("Escape")
        page.locator("#name").click()
        page.locator("#name-field").fill("Nobody")
        page.get_by_role("button", name="Cancel").click()
        assert page.locator("#name").inner_text() == "Ada"
        assert page.locator("#progress").inner_text() == "1 of 4 marked"
    assert seen.nothing


def test_a_download_is_taken_up_on_another_machine(browser: Browser, path: Path, tmp_path: Path) -> None:
    with opened(browser, path) as (page, _):
        call_me(page)
        press(page, "a", "Agree")
        select(page, "d", 5, 10)
        page.locator("#float").get_by_role("button", name="Mark for POS", exact=True).click()
        marks = download(page)
    wrong = [
        {**marks[0], "report": "another", "text": "elsewhere"},
        {**marks[0], "document": "none"},
        {**marks[1], "rationales": [{"start": 3, "end": 8, "text": "loved", "source": "text"}]},
        {**marks[1], "verdict": "maybe"},
        {**marks[1], "rationales": [{"start": 0, "end": 99, "text": "x", "source": "text"}]},
        {**marks[1], "labels": ["<script>"]},
        {**marks[1], "changed": "soon"},
        [],
        None,
    ]
    lines = [json.dumps(mark) for mark in [*marks, *wrong]]
    (tmp_path / "marks.jsonl").write_text("\n".join([*lines, "{", ""]))
    with opened(browser, path) as (page, seen):
        page.locator("#import-file").set_input_files(tmp_path / "marks.jsonl")
        page.locator("#progress", has_text="2 of 4 marked").wait_for()
        assert page.locator("#toast").inner_text() == (
            "2 marks of Ada taken. Not usable: line 3 belongs to another report, and its text is not here, line 4 "
            "names a document that is not in this report, line 5 marks words that are not there and 7 more."
        )
        assert page.locator("#name").inner_text() == "Ada"
        expect_marks(page, "d", ["loved"])
        assert download(page) == marks
        press(page, "a", "Disagree")
        page.locator("#import-file").set_input_files(tmp_path / "marks.jsonl")  # the older state of "a" is left out
        page.locator("#toast", has_text="0 marks of Ada taken; 2 left as they were").wait_for()
        assert download(page)[0]["verdict"] == "disagree"
    assert seen.nothing


_BROKEN = {
    "full": "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }",
    "none": "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no') } })",
}


def test_hostile_names_comments_and_marks_are_text(browser: Browser, tmp_path: Path) -> None:
    rude = [text for text in hostile_strings.STRINGS if text.strip() and "\n" not in text and "\r" not in text][::12]
    records = [
        Record(text, (explanation(text, [1.0], target=text, predicted=text, logits={text: 1.0}),), text)
        for text in rude
    ]
    (path,) = write_report(records, tmp_path / "report.html", title=rude[0])
    sent = read_report(path)
    with opened(browser, path) as (page, seen):
        call_me(page, rude[3].strip())
        for i, text in enumerate(rude):
            page.evaluate(
                """([i, text]) => {
                  const article = document.querySelector(`article[data-index="${i}"]`);
                  article.querySelector('.marking select').selectedIndex = i + 1;
                  article.querySelector('.marking select').dispatchEvent(new Event('change'));
                  article.querySelector('textarea').value = text;
                  article.querySelector('textarea').dispatchEvent(new Event('input'));
                  getSelection().selectAllChildren(article.querySelector('.text'));
                }""",
                [i, text.encode("utf-8", "replace").decode()],
            )
            page.keyboard.press("m")
        found = download(page)
        page.reload()
        assert page.locator("#progress").inner_text() == f"{len(rude)} of {len(rude)} marked"
        assert download(page) == found
        assert page.evaluate("document.title") != "hacked"
    assert [mark["document"] for mark in found] == list(sent.documents)
    for mark in found:
        document = sent.documents[mark["document"]]
        assert mark["labels"] == [document.label]
        assert mark["annotator"] == rude[3].strip()
        for span in mark["rationales"]:
            assert document.text[span["start"] : span["end"]] == span["text"] != ""
    assert [mark["comment"] for mark in found] == [text.encode("utf-8", "replace").decode() for text in rude]
    assert seen.nothing


@pytest.mark.parametrize(("kind", "said"), [("full", "storage is full"), ("none", "keeps no storage")])
def test_where_the_browser_cannot_keep_marks_it_says_so(browser: Browser, path: Path, kind: str, said: str) -> None:
    with opened(browser, path) as (page, _):
        page.add_init_script(_BROKEN[kind])
        page.reload()
        call_me(page)
        press(page, "a", "Agree")
        page.locator("#trouble", has_text=said).wait_for()
        page.mouse.wheel(0, 2500)
        box = page.locator("#trouble").bounding_box()
        assert box is not None
        assert 0 <= box["y"] < 200
        assert [mark["verdict"] for mark in download(page)] == ["agree"]
        assert complaints(page) == []
