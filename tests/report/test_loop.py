"""The whole loop: a report is written, two people mark it in a browser and send files back, and numbers come out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import opened
from click.testing import CliRunner
from example_reports import reviews

from textlrp.cli import main
from textlrp.report.writing import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Selects a stretch of a document's text, in UTF-16 units, as a pointer would.
SELECT = """([number, wanted]) => {
  const block = document.querySelectorAll("article")[number].querySelector(".text");
  let at = block.textContent.indexOf(wanted);
  const place = offset => {
    const walker = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
    for (let left = offset; walker.nextNode(); left -= walker.currentNode.length) {
      if (left <= walker.currentNode.length) return [walker.currentNode, left];
    }
  };
  getSelection().setBaseAndExtent(...place(at), ...place(at + wanted.length));
}"""


def mark(page: Page, number: int, words: str) -> None:
    page.evaluate(SELECT, [number, words])
    page.locator("#float button:visible", has_text="Mark for").first.click()


def judge(page: Page, number: int, verdict: str) -> None:
    page.locator("article").nth(number).get_by_role("button", name=verdict, exact=True).click()


def annotate(browser: Browser, report: Path, name: str, marked: dict[int, list[str]], verdicts: list[str]) -> Path:
    """What one person does: a name, verdicts, marks, a reload, the download."""
    with opened(browser, report) as (page, seen):
        judge(page, 0, verdicts[0])
        page.locator("#name-field").fill(name)
        page.keyboard.press("Enter")
        for number, verdict in enumerate(verdicts[1:], 1):
            judge(page, number, verdict)
        for number, several in marked.items():
            for words in several:
                mark(page, number, words)
        page.reload()
        with page.expect_download() as download:
            page.locator("#download").click()
        path = report.with_name(f"{name}.jsonl")
        download.value.save_as(path)
        assert seen.nothing
    return path


def test_from_the_report_to_the_numbers(browser: Browser, tmp_path: Path) -> None:
    report = write_report(reviews(), tmp_path / "report.html")[0]
    files = [
        annotate(
            browser,
            report,
            "Ada",
            {0: ["wonderful"], 1: ["Dull", "Never again"], 3: ["loved the 👩‍👩‍👧 film"]},
            ["Agree", "Agree", "Disagree", "Agree"],
        ),
        annotate(
            browser,
            report,
            "Ben",
            {0: ["wonderful film"], 2: ["Not bad"], 3: ["🚀 loved"]},
            ["Agree", "Unsure", "Disagree", "Agree"],
        ),
    ]
    last = json.loads(files[0].read_text(encoding="utf-8").splitlines()[-1])
    (rationale,) = last["rationales"]
    assert rationale == {
        "start": 4,
        "end": 24,
        "text": "loved the 👩‍👩‍👧 film",
        "source": "text",
        "label": "POS",
        "against": False,
    }
    arguments = ["annotations", *map(str, files), "--report", str(report), "--format", "json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [(each["name"], each["documents"], each["verdicts"]) for each in found["annotators"]] == [
        ("Ada", 4, {"agree": 3, "disagree": 1, "unsure": 0, "none": 0}),
        ("Ben", 4, {"agree": 2, "disagree": 1, "unsure": 1, "none": 0}),
    ]
    # Labels of a, c, d are the same: POS, POS (the other of two), POS.
    assert (found["alpha"], found["alpha_documents"], found["labels"][0]["equal"]) == (None, 3, 1.0)
    # a: {wonderful} and {wonderful film}: 2/3; d: {loved the family film} and {rocket loved}: 2 / (4 + 2)
    assert found["rationales"][0]["documents"] == 2
    assert found["rationales"][0]["token_f1"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    ada, ben, majority = found["rows"]
    assert (ada["against"], ada["documents"], ada["blind"], ada["left_out"]) == ("Ada", 3, 0, 0)
    # The model's words: a wonderful, 1; b Dull, Never, times of Dull, Never, again, 2/3; d loved, film, the family, the
    # rocket of loved, the, the family, film, 3/4
    assert ada["model"]["token_f1"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert (ben["documents"], ben["left_out"]) == (2, 1)
    assert (majority["documents"], majority["left_out"]) == (2, 0)
    assert found["documents"][0] == {
        "id": "a",
        "annotators": 2,
        "labels_equal": True,
        "people_f1": pytest.approx(2 / 3),
        "model_f1": 1.0,
        "labels": {"Ada": ["POS"], "Ben": ["POS"]},
        "predicted": ["POS"],
        "given": "POS",
        "majority": ["POS"],
    }
