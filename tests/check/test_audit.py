"""The audit: what a good model shows, what each broken promise looks like, and that nothing of it crashes."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from click.testing import CliRunner, Result
from rich.cells import cell_len
from rich.console import Console
from strict_python import STRICT
from tiny_bert import bert, fast_tokenizer
from torch import Tensor, nn
from transformers import ByT5Tokenizer

from textlrp.check.audit import TEXTS, Audit, audit
from textlrp.check.checks import FORWARD_LIMITS, Check
from textlrp.check.cost import Cost
from textlrp.check.table import AuditView
from textlrp.cli import main
from textlrp.errors import InputError, UnbalancedLedgerError
from textlrp.explain.classifier import Classifier
from textlrp.explain.explainer import Explainer
from textlrp.results.ledger import TOLERANCES

SHORT = ["the film is dull.", "a wonderful, moving plot is never bad!"]
NAMES = (
    "tokenization", "explanation", "ledger balance", "forward equality", "batch equality", "padding", "repeatability",
    "model unchanged",
)  # fmt: skip
PROGRAM = [*STRICT, "-m", "textlrp.cli"]


def audited(model: Any = None, tokenizer: Any = None, texts: Any = SHORT, **options: Any) -> Audit:
    tokenizer = tokenizer or fast_tokenizer("wordpiece")
    explainer = Explainer(model or bert(len(tokenizer)), tokenizer, "tiny")
    return audit(explainer, texts, **{"repeats": 1, **options})


def answers(found: Audit) -> dict[str, bool | None]:
    return {check.name: check.passed for check in found.checks}


def check(found: Audit, name: str) -> Check:
    return next(check for check in found.checks if check.name == name)


def printed(found: Audit, width: int | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width or 80, color_system=None, highlight=False)
    console.print(AuditView(found), soft_wrap=width is None)
    written: str = console.file.getvalue()  # type: ignore[attr-defined]
    return written.splitlines()


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, arguments)], prog_name="textlrp")


def refused(result: Result, status: int = 2) -> str:
    assert (result.exit_code, result.stdout) == (status, ""), result.output
    return result.stderr


# -- a model that keeps every promise --------------------------------------------------------------------------------


def test_a_good_model_passes_every_check() -> None:
    found = audited()
    assert answers(found) == dict.fromkeys(NAMES, True)
    assert found.passed
    assert (found.model, found.architecture, found.model_type) == ("tiny", "BertForSequenceClassification", "bert")
    assert (found.parameters, found.labels, found.device, found.dtype) == (4818, 2, "cpu", "float32")
    assert found.attention == "sdpa"
    assert set(found.versions) == {"textlrp", "torch", "transformers", "tokenizers", "python", "platform"}
    assert [(d.text, d.tokens, d.truncated) for d in found.documents] == [(SHORT[0], 7, None), (SHORT[1], 12, None)]
    zero = audited(rules=("attnlrp", "cp-lrp"))
    assert check(zero, "forward equality").value == 0.0
    assert check(zero, "forward equality").detail == "bit by bit the logits of the plain model"
    assert check(found, "repeatability").detail == "asked again, bit by bit the same"
    assert isinstance(found.cost, Cost)
    assert (found.cost.batch, found.cost.sequence) == (1, 12)


def test_it_tells_which_operation_met_which_rule_and_where_the_logits_went() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    explainer = Explainer(bert(len(tokenizer)), tokenizer)
    attnlrp, cp, difference = audit(explainer, SHORT, repeats=1).presets
    assert (attnlrp.name, cp.name, difference.name) == ("attnlrp", "cp-lrp", "difference")
    assert (attnlrp.reference, cp.reference, difference.reference) == (None, None, "[MASK]")
    for preset, linear, norm, softmax in (
        (attnlrp, "LRP-0", "statistics constant", "Taylor, uniform"),
        (cp, "LRP-0", "statistics constant", "frozen"),
        (difference, "plain gradient", "midpoints", "midpoints, logarithmic mean"),
    ):
        met = {(operation, name): count for operation, name, count in preset.met}
        assert met["F.linear", linear] == 8
        assert met["F.layer_norm", norm] == 3
        assert met["F.scaled_dot_product_attention", softmax] == 1
        for text, books in zip(SHORT, preset.ledgers, strict=True):
            expected = explainer.explain(text, rules=preset.name).ledger
            assert books is not None
            assert dict(books.rows) == pytest.approx(dict(expected.rows), abs=1e-7)
    assert "softmax" in (attnlrp.ledgers[0] or {})
    assert "softmax" not in (cp.ledgers[0] or {})


def test_the_tables() -> None:
    lines = printed(audited())
    assert (
        lines[0] == "model     tiny: BertForSequenceClassification (bert), sdpa attention, 4,818 parameters, 2 labels"
    )
    assert lines[1] == "task      text classification"
    assert lines[2].startswith("tokenizer ")
    assert lines[3].startswith("computed  in float32 on cpu, ")
    assert re.match(r"versions  textlrp [\d.]+, torch .*, transformers .*, tokenizers .*, python ", lines[4])
    assert lines[6:8] == ["text 1     7 ids  the film is dull.", f"text 2    12 ids  {SHORT[1]}"]
    assert re.fullmatch(r"operation +rule +attnlrp  cp-lrp  difference", lines[9])
    assert any(re.fullmatch(r"F\.linear +LRP-0 +8 +8 +-", line) for line in lines)
    assert any(re.fullmatch(r"F\.scaled_dot_product_attention +frozen +- +1 +-", line) for line in lines)
    ledger = lines.index("ledger" + next(line[6:] for line in lines if line.startswith("ledger  ")))
    assert lines[ledger - 1].split() == ["attnlrp", "cp-lrp", "difference"]
    assert lines[ledger].split()[1:] == ["text", "1", "text", "2"] * 3
    assert re.fullmatch(r"logit( +[+-]\d+\.\d+){6}", lines[ledger + 1])
    assert re.fullmatch(r"reference( +-){4}( +[+-]\d+\.\d+){2}", lines[ledger + 2])
    assert re.fullmatch(r"tokens( +[+-]\d+\.\d+){6}", lines[ledger + 3])
    assert any(re.fullmatch(r"softmax( +[+-]\d+\.\d+){2}( +-){4}", line) for line in lines)
    assert any(re.fullmatch(r"words hold( +-?\d+ %){4}( +100 %){2}", line) for line in lines)
    assert (
        "The last row is what the words hold: a share of the logit, or by difference rules of the logit minus that of "
        "the reference ([MASK])."
    ) in lines
    special = next(line for line in lines if line.startswith("special tokens"))
    assert special.split()[-2:] == ["-", "-"]  # of the reference they are the same, so they hold exactly 0
    cost = next(i for i, line in enumerate(lines) if line.startswith("cost  "))
    assert re.fullmatch(r"gradient x input +\d+\.\d m?s +1\.00 +\d+ KiB +1\.00", lines[cost + 2])
    assert re.fullmatch(r"attnlrp +\d+\.\d\d? m?s +\d+\.\d\d +\S+ to \S+ +\d+ KiB +0\.\d\d", lines[cost + 3])
    assert lines[-10] == "passed   tokenization      7 to 12 ids a text"
    assert lines[-9] == "passed   explanation       every operation met a rule, every number is finite"
    assert lines[-5] == "passed   padding           0 (limit 0): largest relevance of padding"
    assert lines[-1] == "8 of 8 checks passed"


@pytest.mark.parametrize(
    ("rules", "of"), [("difference", "the logit minus that of the reference ([MASK])"), ("cp-lrp", "the logit")]
)
def test_the_tables_of_one_set_of_rules(rules: str, of: str) -> None:
    lines = printed(audited(texts=SHORT[:1], rules=[rules]))
    assert f"The last row is what the words hold: a share of {of}." in lines
    assert any(line.startswith("special tokens") for line in lines) == (rules == "cp-lrp")


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    texts = [f"{'the film ' * 20}{i}" for i in range(9)]
    lines = printed(audited(texts=texts), width)
    assert max(map(cell_len, lines)) <= width
    shown = " ".join(" ".join(lines).split())
    assert all(shown.count(f"text {i}") >= 3 for i in range(1, 10))  # the text itself, and a ledger by each rules
    assert all(line.isascii() for line in lines)


def test_nothing_in_a_text_or_a_name_commands_the_terminal() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    explainer = Explainer(bert(len(tokenizer)), tokenizer, "evil \x1b]0;owned\x07")
    lines = printed(audit(explainer, ["the film \x1b[2J is\ndull \x9b5n"], repeats=1))
    assert not re.search("[\x00-\x1f\x7f-\x9f]", "".join(lines))


def test_the_default_texts_differ_in_length_and_are_plain() -> None:
    assert len(TEXTS) == 4
    assert [len(text.split()) for text in TEXTS] == [5, 12, 22, 65]
    assert all(text.isascii() for text in TEXTS)


def test_every_dtype_has_its_limits() -> None:
    assert FORWARD_LIMITS.keys() == TOLERANCES.keys()
    tokenizer = fast_tokenizer("wordpiece")
    for dtype in (torch.float64, torch.bfloat16):
        found = audited(bert(len(tokenizer)).to(dtype), tokenizer)
        name = str(dtype).removeprefix("torch.")
        assert found.passed, printed(found)
        assert found.dtype == name
        assert check(found, "forward equality").limit == FORWARD_LIMITS[name]
        assert check(found, "ledger balance").limit == check(found, "batch equality").limit == TOLERANCES[name]


@pytest.mark.slow
def test_without_a_model_the_built_in_classifier_is_checked() -> None:
    command = [*PROGRAM, "check", "--json", "--text", "A fine film.", "--text", "Dull, and far too long."]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["passed"] is True
    assert found["model"] == "textlrp demo"
    assert [each["passed"] for each in found["checks"]] == [True] * 8


# -- other tokenizers and batches ------------------------------------------------------------------------------------


def test_a_slow_tokenizer_is_taken() -> None:
    found = audited(bert(400), ByT5Tokenizer(), ["A dull film", "Kein Wort zu viel: schön!"])
    assert answers(found) == dict.fromkeys(NAMES, True)
    assert [document.tokens for document in found.documents] == [12, 27]


def test_padding_goes_where_the_tokenizer_puts_it() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    tokenizer.padding_side = "left"
    found = audited(tiny_models.build("llama"), tokenizer)
    assert found.passed
    assert "in 2 texts padded on the left" in check(found, "batch equality").detail
    assert check(found, "padding").value == 0.0


def test_batches_that_cannot_be_compared_are_skipped_with_the_reason() -> None:
    unpadded = fast_tokenizer("wordpiece")
    unpadded.pad_token = None
    fnet, llama = (
        tiny_models.build("fnet"),
        tiny_models.build("llama"),
    )  # FNet mixes the tokens of a document, padding among them
    fnet.config.pad_token_id, llama.config.pad_token_id = 0, 5
    cases = [
        (audited(tokenizer=unpadded), r"\w+ has no padding token, so texts of different lengths cannot be read"),
        (audited(texts=SHORT[:1]), "a batch takes two texts that were explained"),
        (
            audited(fnet),
            r"the model itself gives other logits in a padded batch \(by [\d.e+-]+ of the largest\)$",
        ),
        (audited(llama), r".* of the largest\); its config says that padding is 5, and the tokenizer pads with 0$"),
    ]
    for found, reason in cases:
        assert found.passed
        assert answers(found)["batch equality"] is None
        assert answers(found)["padding"] is None
        assert re.match(reason, check(found, "batch equality").detail)
        assert printed(found)[-1] == "6 of 8 checks passed, 2 skipped"
    same = audited(texts=["the film", "is dull"])
    assert answers(same)["batch equality"] is True
    assert check(same, "padding") == Check("padding", None, detail="the texts have the same length")


def test_a_text_that_is_cut_is_said_so() -> None:
    found = audited(texts=["the film is dull. " * 30])
    assert (found.documents[0].tokens, found.documents[0].truncated) == (64, (224, 540))
    assert "text 1    64 ids, cut  the film is dull." in printed(found)[6]


def test_a_model_without_a_table_that_it_tells_is_explained_and_its_cost_not_measured() -> None:
    found = audited(tiny_models.build("canine"), ByT5Tokenizer(), ["the film " * 6])
    assert found.passed
    assert found.cost == (
        "CanineForSequenceClassification has no get_input_embeddings() that returns its table of input ids, so it has "
        "no gradient by a token"
    )
    assert f"cost      not measured: {found.cost}" in printed(found)
    values = found.to_dict()
    assert (values["cost"], values["cost_not_measured"]) == (None, found.cost)


def test_rules_that_hold_a_softmax_constant_say_where_none_was_recognized(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(found: Any, model: Any) -> Any:
        met = {key: count for key, count in found.met.items() if "attention" not in key[0]}
        return replace(found, met=met | {("torch.exp", "identity"): 2})

    spoil(monkeypatch, change)
    found = audited(texts=SHORT[:1])
    assert check(found, "frozen softmax") == Check(
        "frozen softmax",
        False,
        detail="cp-lrp holds a softmax constant, and none was recognized: torch.exp met the rule of elementwise "
        "functions",
    )
    assert not any(c.name == "frozen softmax" for c in audited(texts=SHORT[:1], rules=["attnlrp"]).checks)


# -- broken promises -------------------------------------------------------------------------------------------------


@pytest.fixture
def unruly(monkeypatch: pytest.MonkeyPatch) -> None:
    """BERT's pooler with an operation that has no rule."""
    from transformers.models.bert.modeling_bert import BertPooler

    plain = BertPooler.forward
    monkeypatch.setattr(BertPooler, "forward", lambda self, hidden: plain(self, hidden.cumprod(-1)))


@pytest.mark.usefixtures("unruly")
def test_an_operation_without_a_rule_is_named_and_the_rest_is_still_told(folder: Path, tmp_path: Path) -> None:
    result = run(folder, "--json")
    assert (result.exit_code, result.stderr) == (1, "")
    found = json.loads(result.stdout)
    (failed,) = [each for each in found["checks"] if each["passed"] is False]
    assert failed["name"] == "explanation"
    assert failed["detail"].startswith(
        "all texts by attnlrp, cp-lrp: Tensor.cumprod, called in bert.pooler (BertPooler), has no rule: "
    )
    assert (found["architecture"], found["parameters"], found["labels"]) == ("BertForSequenceClassification", 4818, 2)
    assert found["versions"]["torch"] == importlib.metadata.version("torch")
    assert [text["text"] for text in found["texts"]] == list(TEXTS)
    assert found["cost"] is None
    assert found["cost_not_measured"] == "no text was explained by all rules"
    shown = run(folder, "-o", tmp_path / "out.txt")
    assert (shown.exit_code, shown.output) == (1, "")
    lines = (tmp_path / "out.txt").read_text().splitlines()
    assert lines[0].startswith(f"model     {folder}"[:40])
    assert lines[-1] == "1 of 8 checks failed (explanation), 3 skipped"
    assert any(line.startswith("FAILED   explanation       all texts by attnlrp, cp-lrp: Tensor.") for line in lines)


def test_weights_that_are_nan_are_a_failed_check(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "model"
    shutil.copytree(folder, path)
    model = bert(len(fast_tokenizer("wordpiece")))
    with torch.no_grad():
        model.classifier.weight[0, 0] = torch.nan
    model.save_pretrained(path)
    result = run(path, "--json", "--text", "the film")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    detail = next(each["detail"] for each in found["checks"] if each["name"] == "explanation")
    assert detail.startswith("text 1: the forward pass gives a NaN or an infinity")
    assert "the parameter classifier.weight holds one itself" in detail
    assert found["checks"][-1] == {
        "name": "model unchanged",
        "passed": True,
        "value": None,
        "limit": None,
        "detail": "parameters and buffers, requires_grad, gradients, training mode, modules, hooks, config",
    }


class Failing(nn.Module):
    """A model that raises an exception of its own on documents of some length."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length, self.inner = length, bert(len(fast_tokenizer("wordpiece")))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        if input_ids.shape[1] == self.length:
            raise ValueError(f"no documents of {self.length} ids, please\nreally")
        return self.inner(input_ids=input_ids, attention_mask=attention_mask)


def test_what_a_model_raises_itself_is_a_failed_check() -> None:
    found = audited(Failing(7))
    assert answers(found)["explanation"] is False
    assert re.fullmatch(
        r"text 1: the model fails without textlrp, too: ValueError in test_audit\.py, line \d+: no documents of 7 ids, "
        r"please",
        check(found, "explanation").detail,
    )
    assert found.presets[0].ledgers[0] is None
    assert found.presets[0].ledgers[1] is not None
    assert answers(found)["ledger balance"] is True
    assert any(re.fullmatch(r"logit( +- +[+-][\d.]+){3}", line) for line in printed(found))


def test_a_model_that_takes_no_batch_is_skipped() -> None:
    class Single(Failing):
        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
            if len(input_ids) > 1:
                raise ValueError("one at a time")
            return self.inner(input_ids=input_ids, attention_mask=attention_mask)

    found = audited(Single(0))
    assert found.passed
    assert check(found, "batch equality").passed is None
    assert re.fullmatch(
        r"the model itself fails on such a batch: ValueError in test_audit\.py, line \d+: one at a time",
        check(found, "batch equality").detail,
    )


def test_a_tokenizer_that_does_not_fit_is_a_failed_check() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    size = len(tokenizer)
    tokenizer.add_tokens(["delightful"])
    found = audited(bert(size), tokenizer, ["a delightful film", "a film that is delightful"])
    assert answers(found)["tokenization"] is False
    assert re.search(r"all texts: the tokenizer does not fit the model: .* a table of \d+ ids", found.checks[0].detail)
    assert answers(found)["explanation"] is None
    assert [document.tokens for document in found.documents] == [None, None]
    assert "text 1    unread  a delightful film" in printed(found)


def test_other_logits_under_interception_are_a_failed_check() -> None:
    class Shifty(Failing):
        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
            logits = self.inner(input_ids=input_ids, attention_mask=attention_mask).logits
            return logits * 1.5 if torch.is_grad_enabled() else logits

    found = audited(Shifty(0), texts=SHORT[:1])
    assert [name for name, passed in answers(found).items() if passed is False] == ["forward equality"]
    assert check(found, "forward equality").value == pytest.approx(0.5)
    assert re.search(r"^FAILED   forward equality  5e-01 \(limit 1e-05\): ", "\n".join(printed(found)), re.MULTILINE)


def spoil(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any, Any], Any]) -> None:
    """Let ``change`` have the last word on every explanation."""
    plain = Classifier.propagate

    def spoiled(self: Classifier, *args: Any) -> Any:
        return tuple(change(found, self.model) for found in plain(self, *args))

    monkeypatch.setattr(Classifier, "propagate", spoiled)


def test_a_relevance_that_depends_on_the_batch_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(found: Any, model: Any) -> Any:
        return found if len(found.relevance) == 1 else replace(found, relevance=found.relevance * 1.01)

    spoil(monkeypatch, change)
    found = audited()
    assert [name for name, passed in answers(found).items() if passed is False] == ["batch equality"]
    assert 1e-4 < (check(found, "batch equality").value or 0) <= 0.01


def test_relevance_of_padding_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(found: Any, model: Any) -> Any:
        if len(found.relevance) > 1:
            found.relevance[0, -1] = 2.0
        return found

    spoil(monkeypatch, change)
    found = audited()
    assert [name for name, passed in answers(found).items() if passed is False] == ["padding"]
    assert (check(found, "padding").value, check(found, "padding").limit) == (2.0, 0.0)


def test_another_answer_to_the_same_question_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def change(found: Any, model: Any) -> Any:
        asked.append(found)
        return replace(found, relevance=found.relevance * (1 + len(asked) / 100))

    spoil(monkeypatch, change)
    assert answers(audited(texts=SHORT[:1]))["repeatability"] is False


def test_a_model_that_was_changed_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(found: Any, model: Any) -> Any:
        with torch.no_grad():
            model.classifier.bias[0] = 3.0
        model.classifier.bias.requires_grad_(False)
        model.register_forward_hook(lambda *args: None)
        return found

    spoil(monkeypatch, change)
    found = audited(texts=SHORT[:1])
    assert answers(found)["model unchanged"] is False
    detail = check(found, "model unchanged").detail
    assert detail == "explaining changed its parameters and buffers, its requires_grad, its hooks"


def test_reasons_are_told_with_the_texts_and_rules_that_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    count = [0]

    def change(found: Any, model: Any) -> Any:
        count[0] += 1
        if found.relevance.shape == (1, 7) or "frozen" in {rule for _, rule in found.met}:
            raise UnbalancedLedgerError("it does not add up")
        return found

    spoil(monkeypatch, change)
    found = audited()
    assert check(found, "explanation").detail == "all texts: it does not add up"
    assert found.presets[0].ledgers[1] is not None
    assert check(found, "repeatability").detail == "no text was explained by all rules"
    many = audited(texts=[f"film {i}" for i in range(7)], rules=["attnlrp", "cp-lrp"])
    assert check(many, "explanation").detail == "all texts by cp-lrp: it does not add up"


def test_no_more_than_three_reasons_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(found: Any, model: Any) -> Any:
        raise UnbalancedLedgerError(f"{found.relevance.shape[1]} ids do not add up")

    spoil(monkeypatch, change)
    detail = check(audited(texts=["film " * i for i in range(1, 6)]), "explanation").detail
    assert detail == (
        "text 1: 3 ids do not add up; text 2: 4 ids do not add up; text 3: 5 ids do not add up; and 2 more reasons"
    )


# -- usage -----------------------------------------------------------------------------------------------------------


def test_json_has_every_part(folder: Path, tmp_path: Path) -> None:
    written = tmp_path / "audit.json"
    result = run(folder, "--json", "-o", written, "--text", SHORT[0], "--text", SHORT[1], "--rules", "cp-lrp")
    assert (result.exit_code, result.output) == (0, "")
    assert os.listdir(tmp_path) == ["audit.json"]
    found = json.loads(written.read_text(encoding="utf-8"))
    assert list(found) == [
        "passed", "model", "architecture", "task", "beside", "runs", "model_type", "attention", "parameters", "labels",
        "tokenizer", "device", "dtype", "quantized", "versions", "texts", "checks", "rules", "cost",
        "cost_not_measured",
    ]  # fmt: skip
    assert found["model"] == str(folder)
    assert found["texts"] == [
        {"text": SHORT[0], "text_pair": None, "tokens": 7, "truncated": None},
        {"text": SHORT[1], "text_pair": None, "tokens": 12, "truncated": None},
    ]
    assert [each["name"] for each in found["checks"]] == list(NAMES)
    assert set(found["checks"][0]) == {"name", "passed", "value", "limit", "detail"}
    (rules,) = found["rules"]
    assert rules["name"] == "cp-lrp"
    assert {"operation": "F.linear", "rule": "LRP-0", "count": 8} in rules["operations"]
    assert rules["reference"] is None
    numbers = {"rows", "logit", "tolerance", "magnitude", "residue", "imbalance", "words_hold"}
    assert set(rules["ledgers"][0]) == numbers
    assert [run["name"] for run in found["cost"]["runs"]] == ["forward pass", "gradient x input", "cp-lrp"]


def test_texts_come_from_options_and_from_a_file(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(b"\xef\xbb\xbfthe film\r\n\n  \nis dull\n")
    result = run(folder, "--json", "--file", path, "--text", "a plot", "--rules", "attnlrp")
    assert [text["text"] for text in json.loads(result.stdout)["texts"]] == ["a plot", "the film", "is dull"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", ""], "the text is empty"),
        (["--text", "film", "--text", " "], "the text is blank"),
        (["--rules", "lrp"], "no rules are called 'lrp': the presets are attnlrp, cp-lrp"),
        (["--file", "no/such.txt"], "cannot read 'no/such.txt': No such file or directory"),
        (["-o", "no/such/out.txt"], "there is no folder 'no/such'; make it first"),
        (["--dtype", "float31"], "'float31' is not a dtype of weights"),
        (["--device", "gpu"], "'gpu' is not a device that computes"),
        (["--frob"], "--frob"),
        (["other"], "unexpected extra argument"),
    ],
)
def test_bad_usage_gets_a_sentence_and_status_2(folder: Path, arguments: list[str], message: str) -> None:
    assert message in refused(run(folder, *arguments))


def test_a_file_without_texts_is_said_so(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n  \n")
    assert "there is no text in" in refused(run(folder, "--file", tmp_path / "texts.txt"))


def test_a_model_that_cannot_be_loaded_is_said_so_as_explain_does(tmp_path: Path) -> None:
    assert "there is no folder '/no/such/model'" in refused(run("/no/such/model"))
    assert "has no config.json" in refused(run(tmp_path), status=1)
    assert "--revision goes with MODEL: the built-in classifier has one form" in refused(run("--revision", "main"))
    assert "cannot write" in refused(run(tmp_path, "-o", tmp_path))
    assert os.listdir(tmp_path) == []


def test_audits_of_nothing_are_an_error() -> None:
    for options in ({"texts": []}, {"rules": []}, {"repeats": 0}):
        with pytest.raises(
            InputError, match=r"takes one text or more, and one set of rules|is timed, 1 or more, not 0"
        ):
            audited(**options)
    with pytest.raises(InputError, match="the text is blank"):
        audited(texts=["film", " "])


def test_help_loads_no_torch() -> None:
    script = (
        "import sys\nfrom textlrp.cli import main\n"
        "main(['check', '--help'], prog_name='textlrp', standalone_mode=False)\n"
        "assert not {'torch', 'transformers', 'numpy', 'rich'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert "Please add the output to an issue" in " ".join(done.stdout.split())
