"""Mistakes in a report: why the model did not predict the right label, one click away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from browser import complaints, opened
from click.testing import CliRunner, Result
from example_reports import explanation, reviews, sure

from textlrp.cli import main
from textlrp.data.documents import read_documents
from textlrp.data.explained_documents import explain_documents
from textlrp.data.records import Record, read_run
from textlrp.errors import LRPError
from textlrp.explain.explainer import Explainer
from textlrp.report.writing import write_report
from textlrp.rules import Rules

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TABLE = """text,label
A warm and funny film.,POS
"A warm, wonderful and funny film.",NEG
Dull and boring.,NEG
"""


def run(folder: Path, *options: str, table: str = TABLE) -> Result:
    (folder / "table.csv").write_text(table, "utf-8")
    output = ["-o", str(folder / "report.html"), "--save", str(folder / "run.jsonl")]
    return CliRunner().invoke(main, ["report", str(folder / "table.csv"), *output, *options])


def explained(folder: Path) -> list[list[tuple[str, str | None]]]:
    return [[(e.target, e.contrast) for e in record.explanations] for record in read_run(folder / "run.jsonl")]


def test_mistakes_alone_are_explained_against_the_right_label(tmp_path: Path) -> None:
    assert run(tmp_path).exit_code == 0
    assert explained(tmp_path) == [[("POS", None)], [("POS", None), ("POS", "NEG")], [("NEG", None)]]
    first, contrast = read_run(tmp_path / "run.jsonl")[1].explanations
    assert contrast.logit == pytest.approx(first.logits["POS"] - first.logits["NEG"])


@pytest.mark.parametrize(
    ("options", "of_the_mistake"),
    [
        (["--no-why-not"], [("POS", None)]),
        (["--label", ""], [("POS", None)]),
        (["--target", "all"], [("POS", None), ("NEG", None), ("POS", "NEG")]),
        (["--target", "NEG"], [("NEG", None), ("POS", "NEG")]),
        (["--contrast", "runner-up"], [("POS", "NEG")]),
    ],
)
def test_they_are_not_explained_twice_nor_if_nobody_asks(
    tmp_path: Path, options: list[str], of_the_mistake: list[tuple[str, str | None]]
) -> None:
    assert run(tmp_path, *options).exit_code == 0
    assert explained(tmp_path)[1] == of_the_mistake


def test_labels_that_the_model_does_not_have_ask_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, table="text,label\nA warm film.,odd\nA dull film.,NEG\n").exit_code == 0
    assert explained(tmp_path) == [[("POS", None)], [("NEG", None)]]


def test_a_run_goes_on_only_with_the_same_answer(tmp_path: Path) -> None:
    assert run(tmp_path).exit_code == 0
    again = run(tmp_path)
    assert again.exit_code == 0
    assert explained(tmp_path)[1] == [("POS", None), ("POS", "NEG")]
    other = run(tmp_path, "--no-why-not")
    assert other.exit_code == 2
    assert "why-not: each mistake then, the default now" in other.output


class OneOutput(torch.nn.Module):
    """Log-odds of the second of two labels."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    def get_input_embeddings(self) -> Any:
        return self.model.get_input_embeddings()

    def forward(self, input_ids: Any, attention_mask: Any = None) -> Any:
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits[:, 1:] - logits[:, :1]


class Unwilling(Explainer):
    """Explains no contrast of one text."""

    def explain(self, *texts: Any, **options: Any) -> Any:
        raise LRPError("there is no rule for it")


def records_of(explainer: Explainer, folder: Path) -> list[Record]:
    (folder / "table.csv").write_text(TABLE, "utf-8")
    table = read_documents(str(folder / "table.csv"))
    options = {"rules": Rules.parse("attnlrp")}
    done = explain_documents(explainer, table, [], options, None, why_not=True)
    return [each for each in done if isinstance(each, Record)]


def test_one_output_sets_its_two_labels_against_each_other_already(tmp_path: Path) -> None:
    demo = Explainer.demo()
    records = records_of(Explainer(OneOutput(demo.model), demo.tokenizer), tmp_path)
    assert [record.predicted for record in records] == ["POS", "POS", "NEG"]
    assert [len(record.explanations) for record in records] == [1, 1, 1]


def test_a_contrast_that_cannot_be_explained_costs_no_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = Explainer.demo()
    records = records_of(Unwilling(demo.model, demo.tokenizer), tmp_path)
    assert [len(record.explanations) for record in records] == [1, 1, 1]
    assert "not explained: why 2 is not NEG: there is no rule for it" in capsys.readouterr().err


def mistakes() -> list[Record]:
    """The reviews; the third, which is wrong, with the contrast of NEG to POS."""
    wrong: dict[str, Any] = {**sure("NEG", 0.55), "contrast": "POS", "logit": 2.0}
    contrast = explanation("Not bad at all", [2.0, -1.0], **wrong)
    third = reviews()[2]
    return [*reviews()[:2], Record(third.id, (*third.explanations, contrast), third.label), reviews()[3]]


@pytest.mark.parametrize("blind", [False, True])
def test_one_click_says_why_not_and_another_goes_back(browser: Browser, tmp_path: Path, blind: bool) -> None:
    (path,) = write_report(mistakes(), tmp_path / "report.html", blind=blind)
    with opened(browser, path) as (page, seen):
        viewing = page.locator("article .viewing:not([hidden])")
        if blind:
            assert viewing.count() == 0
            return
        assert viewing.count() == 1
        card = page.locator("article").nth(2)
        said, strongest = card.locator(".said"), card.locator(".text [title]").first
        own, asked = viewing.get_by_role("button").all()
        assert [own.inner_text(), asked.inner_text()] == ["NEG", "Why not POS?"]
        assert strongest.get_attribute("title") == "\u22121.00"
        assert said.inner_text() == "NEG 55.0\u00a0%\nwrong, given POS"
        asked.click()
        assert asked.get_attribute("aria-pressed") == "true"
        assert strongest.get_attribute("title") == "+2.00"
        assert complaints(page) == []
        own.click()
        assert asked.get_attribute("aria-pressed") == "false"
        assert strongest.get_attribute("title") == "\u22121.00"
        page.locator("#more").evaluate("e => e.open = true")
        assert page.locator("#filter [name=view]").is_hidden()
        page.locator("#filter [name=outcome]").select_option("wrong")
        assert page.locator("article h3").all_inner_texts() == ["c"]
    assert seen.nothing
