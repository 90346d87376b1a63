"""An audit says what a model is asked about a text, and what the text pins of its reference."""

from __future__ import annotations

from typing import Any

import language_texts
import pytest
import tiny_models
import transformers
from rich.console import Console
from tiny_bert import bert, fast_tokenizer

from textlrp import Explainer
from textlrp.check.audit import Audit, audit
from textlrp.check.table import AuditView

TEXTS = ["The train is late.", "It rains in the mountains, and the sun shines on the sea."]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return language_texts.train("bytelevel", [*language_texts.TEXTS.values(), *TEXTS * 20, "good bad" * 20], 700)


def audited(explainer: Explainer) -> Audit:
    found = audit(explainer, TEXTS, repeats=1)
    assert found.passed, [check for check in found.checks if not check.passed]
    return found


def lines(found: Audit) -> list[str]:
    console = Console(width=200, color_system=None, no_color=True, record=True, file=None)
    with console.capture() as captured:
        console.print(AuditView(found))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_zero_shot(tokenizer: Any) -> None:
    relations = {"contradiction": 0, "neutral": 1, "entailment": 2}
    model = bert(len(tokenizer), num_labels=3, id2label={i: name for name, i in relations.items()}, label2id=relations)
    found = audited(Explainer.zero_shot(model, tokenizer, labels=["rain", "trains"]))
    assert (found.task, found.runs, found.labels) == ("zero-shot classification", 2, 2)
    said = "zero-shot classification, in 2 runs a text, beside 'This example is rain.'; 'This example is trains.'"
    assert lines(found)[1] == f"task      {said}"


@pytest.mark.parametrize("pairs", [False, True], ids=["a text", "a pair"])
def test_a_prompted_language_model(tokenizer: Any, pairs: bool) -> None:
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    template = "{text} Then: {text_pair} So:" if pairs else "{text} So:"
    model = transformers.GPT2LMHeadModel(config).eval()
    explainer = Explainer.prompted(model, tokenizer, template=template, labels={"GOOD": " good", "BAD": " bad"})
    found = audited(explainer)
    assert (found.task, found.runs) == ("prompted classification", 1)
    assert found.beside == (template, " good", " bad")
    assert [document.text_pair for document in found.documents] == (TEXTS[::-1] if pairs else [None, None])
    shown = [line for line in lines(found) if line.startswith("text 1 ")]
    assert shown[0].endswith(" | ".join(TEXTS) if pairs else TEXTS[0])


def test_what_is_pinned_and_by_what_is_said() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    model = tiny_models.build("mixtral")
    explainer = Explainer(model, tokenizer)
    found = audit(explainer, ["the film is dull and never great", "wonderful"], ["attnlrp", "difference"], repeats=1)
    from_zero, difference = found.presets
    assert from_zero.pinned_by == ()
    assert any("topk" in name for name in difference.pinned_by)
    assert any("reference (pinned)" in ledger.rows for ledger in difference.ledgers if ledger is not None)
    assert any(line.startswith("The reference is pinned: it keeps what the text chose by ") for line in lines(found))
    assert found.to_dict()["rules"][1]["pinned_by"] == list(difference.pinned_by)
