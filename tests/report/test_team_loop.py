"""A team in one file: queues, a contradiction, a second download, a retrained model, adjudication and gold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from browser import opened
from click.testing import CliRunner, Result
from example_reports import explanation, sure
from report_marking import article, press

from textlrp.cli import main
from textlrp.data.records import Record
from textlrp.report.reading import read_report
from textlrp.report.setup import Setup
from textlrp.report.writing import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TEXTS = {
    f"d{i}": f"The {noun} is {word}"
    for i, (noun, word) in enumerate(
        [("plot", "good"), ("end", "dull"), ("cast", "fine"), ("score", "bad"), ("pace", "slow"), ("joke", "fun")]
    )
}
PEOPLE = ("Ada", "Ben", "Eva")


def records(predicted: str, strongest: int) -> list[Record]:
    relevances = [2.0 if place == strongest else 0.1 for place in range(4)]
    values = {**sure(predicted, 0.9), "target": predicted}
    return [Record(identity, (explanation(text, relevances, **values),)) for identity, text in TEXTS.items()]


def become(page: Page, name: str) -> list[str]:
    """Choose a name of the queues, and return the documents that it has."""
    page.locator("#name").click()
    page.locator("#name-queues").get_by_role("button", name=name).click()
    page.get_by_role("button", name="Continue").click()
    page.locator("#count", has_text="for you").wait_for()
    return page.locator("article h3").all_inner_texts()


def save(page: Page, path: Path) -> Path:
    with page.expect_download() as started:
        page.locator("#download").click()
    started.value.save_as(path)
    return path


def mark(page: Page, document: str, word: int, label: str) -> None:
    """Tap on a word of a document."""
    press(page, document, "Mark words")
    chooser = article(page, document).locator(".marking .side")
    chooser.select_option(label=f"for {label}")
    article(page, document).locator("[data-piece]").nth(word).click()
    press(page, document, "Done marking")


def command(*arguments: Any) -> Result:
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done


def test_a_team_from_queues_to_gold(browser: Browser, tmp_path: Path) -> None:
    setup = Setup(annotators=PEOPLE, shared=3, seed=1)
    (report,) = write_report(records("POS", 3), tmp_path / "report.html", setup=setup)
    queues = setup.queues(list(TEXTS))
    shared = sorted(set.intersection(*map(set, queues.values())))
    assert [len(queue) for queue in queues.values()] == [4, 4, 4]
    first, second, third = shared
    files: dict[str, list[Path]] = {}
    for name in PEOPLE:
        with opened(browser, report) as (page, seen):
            assert become(page, name) == queues[name]
            for document in queues[name]:
                press(page, document, "Disagree" if document == second and name != "Ada" else "Agree")
            mark(page, first, 3, "POS")
            mark(page, third, 3 if name == "Ada" else 1, "POS")
            if name == "Eva":  # a contradiction, which the page asks about, and which she leaves
                press(page, first, "NEG")
                assert article(page, first).locator(".question").is_visible()
            page.locator("#progress", has_text="4 of 4 marked, 4 not downloaded").wait_for()
            files[name] = [save(page, tmp_path / f"{name}.jsonl")]
            if name == "Ben":  # on Friday, he changes his mind about one document
                press(page, second, "Agree")
                page.locator("#progress", has_text="4 of 4 marked, 1 not downloaded").wait_for()
                files[name].append(save(page, tmp_path / "Ben-friday.jsonl"))
            assert seen.nothing
    sent = [path for paths in files.values() for path in paths]
    done = command("annotations", *sent, "--report", report, "--format", "json")
    assert "1 document is marked otherwise in two files of 'Ben': the later marks count" in done.stderr
    found = json.loads(done.stdout)
    assert found["covered"] == {"1": 3, "3": 3}
    assert [(each["annotator"], each["document"]) for each in found["contradictions"]] == [("Eva", first)]
    # first: POS POS -; second: POS POS NEG; third: POS POS POS
    assert found["alpha_documents"] == 3
    assert [row["documents"] for row in found["rows"]] == [2, 2, 2, 2]

    # A retrained model says NEG of everything: marks go on, and what followed from verdicts stays.
    (newer,) = write_report(records("NEG", 1), tmp_path / "newer.html")
    command(
        "annotations",
        *[paths[-1] for paths in files.values()],
        "--report",
        newer,
        "--adjudicate",
        "-o",
        tmp_path / "adjudicate.html",
    )
    assert read_report(newer).id != read_report(report).id
    with opened(browser, tmp_path / "adjudicate.html") as (page, seen):
        decided = page.locator("article h2").all_inner_texts()
        assert first in decided
        assert second in decided
        for number, document in enumerate(decided):
            if document in (first, second):
                page.locator("article").nth(number).get_by_role("button", name="POS", exact=True).click()
                if page.locator("#name-dialog[open]").count():
                    page.locator("#name-field").fill("Cleo")
                    page.keyboard.press("Enter")
            if document == first:
                page.locator("article").nth(number).get_by_role("button", name="Take the words of Ada").click()
        decisions = save(page, tmp_path / "decisions.jsonl")
        assert seen.nothing
    gold = tmp_path / "gold.jsonl"
    everyone = [paths[-1] for paths in files.values()]
    command("annotations", *everyone, "--report", newer, "--gold", gold, "--decisions", decisions)
    rows = {row["id"]: row for row in map(json.loads, gold.read_text("utf-8").splitlines())}
    assert rows.keys() == TEXTS.keys()
    assert {row["label"] for row in rows.values()} == {"POS"}
    assert (rows[first]["settled"], rows[third]["settled"]) == ("adjudicated", "majority")
    word = TEXTS[first].split()[3]
    start = TEXTS[first].index(word)
    assert rows[first]["rationales"] == [{"start": start, "end": start + len(word), "label": "POS"}]
    assert [row["label"] for row in rows[third]["rationales"]] == ["POS"]
