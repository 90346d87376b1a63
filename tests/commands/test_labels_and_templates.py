"""Models without labels of their own, by name: labels and a template make classifiers of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import language_texts
import pytest
import transformers
from click.testing import CliRunner
from tiny_bert import bert

from textlrp import Explainer
from textlrp.cli import main
from textlrp.errors import InputError, ModelError

TEXT = "The train is late, and it rains."
RELATIONS = {"contradiction": 0, "neutral": 1, "entailment": 2}
TEMPLATE, WORDS = "Review: {text}\nSentiment:", {"POS": " good", "NEG": " bad"}


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(main, list(map(str, arguments)))


def saved(path: Path, model: Any, tokenizer: Any) -> Path:
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    words = [f"{TEMPLATE} {word}" for word in ("good", "bad")]
    return language_texts.train("bytelevel", [*language_texts.TEXTS.values(), *words * 20, TEXT], 700)


@pytest.fixture(scope="module")
def inference(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {i: name for name, i in RELATIONS.items()}
    model = bert(len(tokenizer), num_labels=3, id2label=names, label2id=RELATIONS)
    return saved(tmp_path_factory.mktemp("inference"), model, tokenizer)


@pytest.fixture(scope="module", params=["gpt2", "bart"])
def language_model(request: Any, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    ids = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    model: Any
    if request.param == "gpt2":
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, **ids))
    else:
        size = {f"{part}_{name}": 2 for part in ("encoder", "decoder") for name in ("layers", "attention_heads")}
        width = {"d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
        model = transformers.BartForConditionalGeneration(transformers.BartConfig(**size, **width, **ids))
    return saved(tmp_path_factory.mktemp(request.param), model, tokenizer)


def test_labels_of_natural_language_inference(inference: Path) -> None:
    done = run("explain", TEXT, "--model", inference, "--labels", "rain, trains", "--format", "json")
    found = json.loads(done.stdout)
    explainer = Explainer.from_pretrained(inference, labels=["rain", "trains"])
    assert list(found["logits"]) == list(explainer.labels) == ["rain", "trains"]
    assert found["logits"] == pytest.approx(explainer.explain(TEXT).logits)
    several = run(
        *("explain", TEXT, "--model", inference, "--labels", "rain,trains", "--format", "json"),
        *("--multi-label", "--template", "It is about {}."),
    )
    assert json.loads(several.stdout)["prompt"]["text"].startswith("It is about ")
    assert json.loads(several.stdout)["logits"] != found["logits"]


def test_the_words_for_labels_of_a_language_model(language_model: Path, tmp_path: Path) -> None:
    options = ["--model", language_model, "--template", TEMPLATE.replace("\n", "\\n"), "--format", "json"]
    found = json.loads(run("explain", TEXT, *options, "--labels", "POS= good,NEG= bad").stdout)
    explainer = Explainer.from_pretrained(language_model, labels=WORDS, template=TEMPLATE)
    assert found["logits"] == pytest.approx(explainer.explain(TEXT).logits)
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(WORDS), encoding="utf-8")
    assert json.loads(run("explain", TEXT, *options, "--labels", file).stdout)["logits"] == found["logits"]


def test_reports_and_checks_take_labels(inference: Path, tmp_path: Path) -> None:
    table = tmp_path / "texts.csv"
    table.write_text(f'text,label\n"{TEXT}",rain\n', encoding="utf-8")
    save, page = tmp_path / "run.jsonl", tmp_path / "report.html"
    command = ["report", table, "--model", inference, "-o", page, "--save", save]
    done = run(*command, "--labels", "rain,trains")
    assert done.exit_code == 0, done.output
    page.unlink()
    again = run(*command, "--labels", "rain,planes", "--template", "It is about {}.")
    assert again.exit_code == 2, again.output
    assert "is not what it was" in again.output
    checked = run("check", inference, "--labels", "rain,trains", "--text", TEXT, "--text", "Rain.", "--json")
    assert json.loads(checked.stdout)["task"] == "zero-shot classification"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"template": "About {}."}, "template goes with labels"),
        ({"multi_label": True}, "multi_label goes with labels"),
        ({"labels": WORDS}, "needs a template"),
        ({"labels": ["a"], "problem_type": "regression"}, "leave it out, or the labels"),
        ({"labels": WORDS, "template": TEMPLATE, "multi_label": True}, "asked for one label"),
    ],
)
def test_options_that_do_not_fit_together(inference: Path, options: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Explainer.from_pretrained(inference, **options)


def test_a_classifier_is_no_language_model(inference: Path) -> None:
    with pytest.raises(ModelError, match="is not a trained language model: its weights lack"):
        Explainer.from_pretrained(inference, labels=WORDS, template=TEMPLATE)


def test_the_built_in_classifier_has_its_own_labels() -> None:
    done = run("explain", TEXT, "--labels", "a,b")
    assert (done.exit_code, "--labels goes with --model" in done.output) == (2, True)
