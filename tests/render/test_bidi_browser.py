"""On every page, characters that change the direction of writing affect their own element alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from browser import opened
from example_annotations import document, line, sent, written
from example_evaluations import plan, results
from example_reports import explanation

from textlrp.annotate.annotations import read_annotations
from textlrp.annotate.comparison import compare
from textlrp.annotate.page import page as annotations_page
from textlrp.data.records import Record
from textlrp.evaluate.page import page as evaluation_page
from textlrp.evaluate.summary import summarize
from textlrp.report.writing import Failure, write_report
from textlrp.results.layers import Layer
from textlrp.results.ledger import Ledger
from textlrp.serve import page as serve_page
from textlrp.serve.server import Model

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: A name of right-to-left letters that overrides the direction and does not end it.
NAME = "שם\u202eevil\u2067"

#: The texts of a page with the name in them that could turn what stands beside them: those whose nearest isolating
#: element, or else whose nearest block, holds more than them.
_LOOSE = """name => {
  const loose = [];
  const walker = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const apart = ["SCRIPT", "STYLE", "OPTION", "TEXTAREA", "TITLE"].includes(node.parentElement.tagName);
    if (apart || !node.data.includes(name)) continue;
    let element = node.parentElement;
    const isolates = () => {
      const style = getComputedStyle(element);
      const inline = style.display.startsWith("inline") && style.display !== "inline-block";
      return style.unicodeBidi.includes("isolate") || !inline;
    };
    while (!isolates()) element = element.parentElement;
    if (element.matches(".text, .example a")) continue; // a document's own text
    const alone = element.textContent.trim() === node.data.trim() || element.matches("bdi");
    if (!alone) loose.push(element.outerHTML.slice(0, 200));
  }
  return loose;
}"""


def loose(page: Page) -> list[str]:
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert NAME[-6:-1] in page.content()  # "evil": it is there
    loose: list[str] = page.evaluate(_LOOSE, NAME)
    return loose


def hostile(text: str = f"good {NAME} film") -> Any:
    layer = Layer(NAME, (1.0, 1.0, 1.0), Ledger({"tokens": 3.0}, 3.0))
    return replace(
        explanation(text, [1.0, 2.0, -1.0]),
        predicted=NAME,
        target=NAME,
        contrast=f"{NAME}2",
        logits={NAME: 2.5, f"{NAME}2": 1.0},
        probabilities={NAME: 0.7, f"{NAME}2": 0.3},
        model=NAME,
        revision=NAME,
        rules=NAME,
        layers=(layer, replace(layer, name=f"{NAME}.1")),
    )


def saved(path: Path, html: str) -> Path:
    path.write_text(html, encoding="utf-8")
    return path


def test_an_explanation(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, saved(tmp_path / "e.html", hostile().to_html())) as (page, seen):
        assert loose(page) == []
        assert page.title() == "שם\\u202eevil\\u2067 70.0\u00a0% · explanation"
    assert seen.nothing


def test_a_report(browser: Browser, tmp_path: Path) -> None:
    records = [Record(NAME, (hostile(),), NAME), Record("b", (hostile("good film now"),), f"{NAME}2")]
    (path,) = write_report(records, tmp_path / "report.html", title=NAME, failures=[Failure(NAME, NAME)])
    with opened(browser, path) as (page, seen):
        page.locator("article").nth(1).wait_for()
        assert loose(page) == []
        page.locator("#name").click()
        page.locator("#name-field").fill("Ada")
        page.keyboard.press("Enter")
        page.evaluate("name => { location.hash = new URLSearchParams({ doc: name + '3' }) }", NAME)
        page.locator("#toast", has_text="There is no document").wait_for()
        assert page.locator("#toast").inner_text() == "There is no document “\u2068שם\\u202eevil\\u20673\u2069” here."
    assert seen.nothing


def test_annotations(browser: Browser, tmp_path: Path) -> None:
    report = replace(sent(document(NAME, f"good {NAME}", predicted=NAME), labels=(NAME, "POS")), id=NAME, model=NAME)
    files = [
        written(
            tmp_path / f"{who}.jsonl",
            line(annotator=f"{who} {NAME}", report=NAME, document=NAME, comment=NAME, label=label, verdict=verdict),
        )
        for who, label, verdict in (("Ada", None, "agree"), ("Ben", "POS", "disagree"))
    ]
    read = read_annotations(files, report)
    html = annotations_page(read, report, compare(read, report))
    with opened(browser, saved(tmp_path / "a.html", html)) as (page, seen):
        assert loose(page) == []
    assert seen.nothing


def test_an_evaluation(browser: Browser, tmp_path: Path) -> None:
    methods = (f"rules:{NAME}.json", f"rules:{NAME}2.json")
    renamed = dict(zip(("one", "two"), methods, strict=True))
    model = {**plan().models[0], "name": NAME, "architecture": NAME}
    planned = plan(
        methods=methods,
        models=(model,),
        corpora=({**plan().corpora[0], "name": NAME},),
        rules=dict.fromkeys(methods, "f" * 64),
        machine={"device": NAME, "threads": 2},
    )
    marked = [
        replace(
            result,
            method=renamed[result.method],
            model=NAME,
            corpus=NAME,
            document=f"{NAME}{result.document}",
            failures=dict.fromkeys(result.failures, NAME),
        )
        for result in results()
    ]
    html = evaluation_page(summarize(planned, marked))
    with opened(browser, saved(tmp_path / "evaluation.html", html)) as (page, seen):
        assert loose(page) == []
    assert seen.nothing


def test_the_page_of_the_server(browser: Browser, tmp_path: Path) -> None:
    html, _ = serve_page.page([Model(NAME, (NAME, "POS"), lambda *_, **__: hostile())])
    with opened(browser, saved(tmp_path / "serve.html", html)) as (page, _):
        assert loose(page) == []
