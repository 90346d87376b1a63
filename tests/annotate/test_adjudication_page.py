"""The page of an adjudicator, in a browser: from two people's files to an evaluation on gold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from browser import complaints, opened, scrolls_sideways
from click.testing import CliRunner
from example_annotations import REVIEWS, line, marks, second, written
from example_reports import reviews

from textlrp.annotate.adjudication_page import adjudication_page
from textlrp.annotate.annotations import read_annotations
from textlrp.cli import main
from textlrp.report.reading import read_report
from textlrp.report.writing import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Selects words in the text of a decision, as a pointer would.
SELECT = """([block, wanted]) => {
  const at = block.textContent.indexOf(wanted);
  const place = offset => {
    const walker = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
    for (let left = offset; walker.nextNode(); left -= walker.currentNode.length) {
      if (left <= walker.currentNode.length) return [walker.currentNode, left];
    }
  };
  getSelection().setBaseAndExtent(...place(at), ...place(at + wanted.length));
}"""


def said(report: str, text: str, document: str, labels: list[str], words: list[str], **changes: Any) -> str:
    rationales = [
        {"start": text.index(word), "end": text.index(word) + len(word), "text": word, "source": "text", "label": label}
        for word, label in zip(words, labels * len(words), strict=False)
    ]
    values = {"format": 2, "label": ..., "labels": labels, "verdict": None, "rationales": rationales}
    return line(report=report, document=document, **{**values, **changes})


def command(*arguments: Any) -> Any:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result


def press(page: Page, document: int, name: str) -> None:
    page.locator("article").nth(document).get_by_role("button", name=name, exact=True).click()


def words(page: Page, document: int) -> list[str]:
    return page.locator("article").nth(document).locator(".marks bdi").all_text_contents()


def test_from_two_files_to_an_evaluation_on_gold(browser: Browser, tmp_path: Path) -> None:
    report = write_report(reviews(), tmp_path / "report.html")[0]
    sent = read_report(report)
    texts = {each.id: each.text for each in sent.documents.values()}

    def by(name: str, document: str, labels: list[str], *words: str) -> str:
        return said(sent.id, texts[document], document, labels, [*words], annotator=name)

    ada = written(
        tmp_path / "ada.jsonl",
        by("Ada", "a", ["POS"], "wonderful"),
        by("Ada", "b", ["NEG"], "Dull", "Never again"),
        by("Ada", "c", ["POS"], "Not bad"),
        by("Ada", "d", ["POS"], "🚀 loved"),
    )
    ben = written(
        tmp_path / "ben.jsonl",
        by("Ben", "a", ["POS"], "wonderful"),
        by("Ben", "b", ["NEG"], "Never again"),
        by("Ben", "c", ["NEG"], "bad"),
        by("Ben", "d", ["POS"], "loved the 👩‍👩‍👧 film"),
    )
    people = ("annotations", ada, ben, "--report", report)
    page_path, gold_path = tmp_path / "adjudicate.html", tmp_path / "gold.jsonl"
    command(*people, "--adjudicate", "-o", page_path)
    with opened(browser, page_path) as (page, seen):
        assert page.locator("article h2").all_text_contents() == ["b", "c", "d"]
        assert not page.locator("details.model").first.get_by_text("It says").is_visible()
        press(page, 0, "Merge all words")
        page.locator("#name-field").fill("Cleo")
        page.keyboard.press("Enter")
        assert words(page, 0) == ["Dull", "Never again"]
        assert page.locator("#progress").text_content() == "1 of 3 decided, 1 not downloaded"
        press(page, 1, "Take the label of Ben")
        press(page, 1, "Take the words of Ada")
        page.keyboard.press("z")
        assert words(page, 1) == []
        page.keyboard.press("1")  # the label is taken back
        page.locator("#progress", has_text="1 of 3").wait_for()
        page.keyboard.press("2")
        press(page, 1, "Take the words of Ada")
        page.keyboard.press("j")
        page.locator("details.model summary").nth(2).click()
        block = page.locator("article").nth(2).locator(".own")
        page.evaluate(SELECT, [block.element_handle(), "loved the 👩‍👩‍👧 fi"])
        page.locator("#float").get_by_role("button", name="Mark for POS").click()
        page.locator("article").nth(2).locator("textarea").fill("the emoji is no reason")
        page.locator("#progress", has_text="3 of 3 decided, 3 not downloaded").wait_for()
        page.reload()
        assert [words(page, number) for number in range(3)] == [
            ["Dull", "Never again"],
            ["Not bad"],
            ["loved the 👩‍👩‍👧 film"],
        ]
        with page.expect_download() as download:
            page.locator("#download").click()
        assert download.value.suggested_filename == f"decisions-{sent.id[:8]}-Cleo.jsonl"
        download.value.save_as(tmp_path / "decisions.jsonl")
        assert page.locator("#progress").text_content() == "3 of 3 decided"
        assert complaints(page) == []
        assert seen.nothing
    lines = [json.loads(each) for each in (tmp_path / "decisions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(each["document"], each["labels"], each["blind"], each["comment"]) for each in lines] == [
        ("b", ["NEG"], True, ""),
        ("c", ["POS"], True, ""),
        ("d", ["POS"], False, "the emoji is no reason"),
    ]
    result = command(*people, "--gold", gold_path, "--decisions", tmp_path / "decisions.jsonl")
    assert result.stderr == f"{gold_path}: 4 documents settled (1 agreed, 3 adjudicated), none open\n"
    gold = [json.loads(each) for each in gold_path.read_text(encoding="utf-8").splitlines()]
    assert [(each["id"], each["label"], each["settled"], each["rationales"]) for each in gold] == [
        ("a", "POS", "agreed", [{"start": 2, "end": 11, "label": "POS"}]),
        ("b", "NEG", "adjudicated", [{"start": 0, "end": 4, "label": "NEG"}, {"start": 15, "end": 26, "label": "NEG"}]),
        ("c", "POS", "adjudicated", [{"start": 0, "end": 7, "label": "POS"}]),
        ("d", "POS", "adjudicated", [{"start": 4, "end": 24, "label": "POS"}]),
    ]
    evaluated = command("evaluate", "--corpus", gold_path, "--method", "attnlrp", "--format", "json").stdout
    (corpus,) = json.loads(evaluated)["plan"]["corpora"]
    assert (corpus["name"], corpus["documents"], corpus["labeled"], corpus["marked"]) == ("gold", 4, 4, 4)


def test_the_page_works_without_a_dispute_on_a_phone_and_in_the_dark(browser: Browser, tmp_path: Path) -> None:
    agree = read_annotations([written(tmp_path / "ada.jsonl", line())], REVIEWS)
    path = tmp_path / "page.html"
    path.write_text(adjudication_page(agree, REVIEWS), encoding="utf-8")
    with opened(browser, path) as (page, seen):
        assert page.get_by_text("There is nothing to decide").is_visible()
        assert seen.nothing
    lines = [line(rationales=marks("bad")), second(verdict="disagree", rationales=marks("Not"), comment="<b>no</b>")]
    path.write_text(adjudication_page(read_annotations([written(tmp_path / "both.jsonl", *lines)], REVIEWS), REVIEWS))
    with opened(browser, path, width=360, dark=True) as (page, seen):
        assert not scrolls_sideways(page)
        assert page.get_by_text("<b>no</b>").is_visible()
        assert complaints(page) == []
        assert seen.nothing
