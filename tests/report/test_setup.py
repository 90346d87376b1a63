"""What a report asks of its annotators: guidelines, reason codes, queues, and marks to go on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import complaints, opened, scrolls_sideways
from click.testing import CliRunner
from example_reports import consistent_reviews, explanation, reviews
from report_marking import article, call_me, download, expect_marks, press, select

from textlrp.annotate.annotations import read_annotations
from textlrp.cli import main
from textlrp.data.records import Record, write_run
from textlrp.errors import InputError
from textlrp.report.reading import read_report
from textlrp.report.setup import Setup
from textlrp.report.writing import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

IDS = [f"d{i}" for i in range(20)]


def test_everyone_gets_the_shared_documents_and_a_part_of_the_others() -> None:
    queues = Setup(annotators=("ada", "ben", "eva"), shared=5, seed=1).queues(IDS)
    sets = list(map(set, queues.values()))
    assert list(queues) == ["ada", "ben", "eva"]
    assert [len(queue) for queue in queues.values()] == [10, 10, 10]
    assert len(set.intersection(*sets)) == 5
    assert set.union(*sets) == set(IDS)
    assert sum(map(len, sets)) == 3 * 5 + 15
    assert queues == Setup(annotators=("ada", "ben", "eva"), shared=5, seed=1).queues(IDS)
    assert queues != Setup(annotators=("ada", "ben", "eva"), shared=5, seed=2).queues(IDS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"reasons": ("irony", "")}, "a reason is empty, or is given twice"),
        ({"annotators": ("Ada", "ada")}, "an annotator is empty, or is given twice"),
        ({"shared": 3}, "shared documents need annotators"),
        ({"shared": -1}, "shared is a number of documents"),
    ],
)
def test_what_cannot_be_is_said(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Setup(**values)
    with pytest.raises(InputError, match="9 documents are to be shared, and the report has 2"):
        Setup(annotators=("ada",), shared=9).queues(["a", "b"])


def test_guidelines_are_text_without_scripts() -> None:
    written = (
        "# Rules\n\n<script>x</script> [no](javascript:x) ![i](http://a/b.png)\n\n| a | b |\n|---|---|\n| 1 | *2* |\n"
    )
    html = Setup(guidelines=written).guidelines_html
    assert "<h3>Rules</h3>" in html
    assert "&lt;script&gt;x&lt;/script&gt; [no](javascript:x) !<a" in html
    assert "<td><em>2</em></td>" in html
    assert "<script" not in html
    assert "<img" not in html


def test_queues_guidelines_and_reasons_in_the_page(browser: Browser, tmp_path: Path) -> None:
    setup = Setup("# Please\n\nMark *words*.", ("irony", "not enough text"), ("Ada", "Ben"), shared=1, seed=3)
    queue = setup.queues(["a", "b", "c", "d"])["Ben"]
    (path,) = write_report(reviews(), tmp_path / "report.html", setup=setup)
    with opened(browser, path, width=1400) as (page, seen):
        assert page.locator("#count").inner_text() == "4 documents"
        page.locator("#name").click()
        page.locator("#name-queues").get_by_role("button", name="Ben").click()
        page.get_by_role("button", name="Continue").click()
        page.locator("#count", has_text=f"{len(queue)} documents for you").wait_for()
        assert [page.locator("article h3").nth(i).inner_text() for i in range(len(queue))] == queue
        page.locator("#guide").click()
        assert page.locator("#guidelines h3").inner_text() == "Please"
        assert complaints(page) == []
        press(page, queue[0], "irony")
        press(page, queue[0], "not enough text")
        press(page, queue[0], "irony")
        page.locator("#progress", has_text=f"1 of {len(queue)} marked").wait_for()
        assert [(mark["document"], mark["reasons"]) for mark in download(page)] == [(queue[0], ["not enough text"])]
        page.keyboard.press("g")
        assert page.locator("#guidelines").is_hidden()
        page.locator("#more").evaluate("e => e.open = true")
        page.locator("[name=queue]").select_option("all")
        page.locator("#count", has_text="4 documents").wait_for()
        page.set_viewport_size({"width": 360, "height": 740})
        page.locator("#guide").click()
        assert not scrolls_sideways(page)
        assert seen.nothing


def test_marks_outlive_the_report(browser: Browser, tmp_path: Path) -> None:
    (old,) = write_report(reviews(), tmp_path / "old.html")
    with opened(browser, old) as (page, _):
        call_me(page)
        press(page, "a", "Agree")
        select(page, "d", 5, 10)
        page.locator("#float").get_by_role("button", name="Mark for POS", exact=True).click()
        press(page, "b", "Agree")
        marks = download(page)
    (tmp_path / "old.jsonl").write_text("".join(json.dumps(mark) + "\n" for mark in marks), encoding="utf-8")
    # A retrained model: other relevances, one label changed, one text changed, and one document under another id.
    texts = {record.id: record.text for record in reviews()}
    changed = [
        Record("A", (explanation(texts["a"], [0.5], predicted="NEG"),)),
        Record("b", (explanation(texts["b"] + "!", [0.5]),)),
        Record("d", (explanation(texts["d"], [0.5]),)),
    ]
    setup = Setup(marks=tuple(marks))
    (new,) = write_report(changed, tmp_path / "new.html", setup=setup)
    with opened(browser, new) as (page, seen):
        assert "2 of Ada" in page.locator("#toast").inner_text()
        call_me(page)
        page.locator("#progress", has_text="2 of 3 marked").wait_for()
        # Ada agreed with POS; the new model says NEG, so her label is kept and her verdict is not.
        pressed = article(page, "A").locator("[aria-pressed=true]")
        assert pressed.all_inner_texts() == ["POS"]
        expect_marks(page, "d", ["loved"])
        again = download(page)
        assert seen.nothing
    said: list[str] = []
    report = read_report(new)
    found = read_annotations([tmp_path / "old.jsonl"], report, said.append)
    assert [(each.document, each.verdict, each.labels) for each in found] == [("A", None, ("POS",)), ("d", None, None)]
    assert [(mark["document"], mark["verdict"], mark["labels"]) for mark in again] == [
        ("A", None, ["POS"]),
        ("d", None, None),
    ]
    assert len(said) == 1


def test_the_command_takes_files(tmp_path: Path) -> None:
    write_run(tmp_path / "run.jsonl", consistent_reviews())
    (tmp_path / "text.md").write_text("Mark **words**.", encoding="utf-8")
    options = ["--guidelines", str(tmp_path / "text.md"), "--reasons", "irony, mixed", "--annotators", "ada,ben"]
    arguments = ["report", str(tmp_path / "run.jsonl"), "-o", str(tmp_path / "report.html"), *options, "--shared", "1"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    written = (tmp_path / "report.html").read_text("utf-8")
    assert "<p>Mark <strong>words</strong>.</p>" in written
    assert '"reasons":["irony","mixed"]' in written
    (tmp_path / "bad.jsonl").write_text("{}\n")
    done = CliRunner().invoke(main, [*arguments, "--force", "--marks", str(tmp_path / "bad.jsonl")])
    assert done.exit_code == 2
    assert "line 1 is not an annotation" in done.output
