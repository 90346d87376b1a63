"""From a model, a tokenizer and a text to an explanation that adds up, or to an error with advice."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from slow_tokenizer import canine
from tiny_bert import bert, fast_tokenizer

from textlrp import Explainer, Explanation, Rules
from textlrp.errors import InputError, LRPError, ModelError, NonFiniteError
from textlrp.rules import Epsilon

TEXT = "A wonderful, moving film.\nNever dull!"


@pytest.fixture(scope="module")
def explainer(folder: Path) -> Explainer:
    return Explainer.from_pretrained(folder)


def adds_up(e: Explanation) -> None:
    assert e.ledger.balanced
    assert e.logit == e.ledger.logit == e.logits[e.target] - (e.logits[e.contrast] if e.contrast else 0.0)
    words = math.fsum(span.relevance for span in e.tokens if not span.special)
    assert words == pytest.approx(e.ledger["tokens"], abs=1e-5)
    special = math.fsum(span.relevance for span in e.tokens if span.special)
    assert special == pytest.approx(e.ledger["special tokens"], abs=1e-5)
    assert math.fsum(e.ledger.values()) == pytest.approx(e.logit)
    assert all(span.text == e.text[span.start : span.end] for span in e.tokens)
    assert Explanation.from_json(e.to_json()) == e


def test_an_explanation_adds_up_and_says_what_the_model_says(explainer: Explainer, folder: Path) -> None:
    e = explainer.explain(TEXT)
    adds_up(e)
    assert [span.piece for span in e.tokens][:5] == ["[CLS]", "a", "wonder", "##ful", ","]
    assert [span.special for span in e.tokens] == [True, *[False] * (len(e.tokens) - 2), True]
    with torch.no_grad():
        logits = explainer.model(**explainer.tokenizer(TEXT, return_tensors="pt")).logits[0]
    assert list(e.logits) == ["NEG", "POS"]
    torch.testing.assert_close(torch.tensor(list(e.logits.values())), logits)
    assert e.predicted == e.target == ("NEG", "POS")[int(logits.argmax())]
    torch.testing.assert_close(torch.tensor(list(e.probabilities.values())), logits.softmax(-1))
    assert e.model == str(folder)
    assert set(e.versions) == {"textlrp", "torch", "transformers"}


def test_target_and_contrast_choose_what_is_explained(explainer: Explainer) -> None:
    for target in ("POS", "pos", 1, "1", torch.tensor(1)):
        e = explainer.explain(TEXT, target=target)  # type: ignore[arg-type]
        assert e.target == "POS"
        adds_up(e)
    for contrast in ("NEG", 0, "runner-up"):
        both = explainer.explain(TEXT, target="POS", contrast=contrast)
        adds_up(both)
        assert both.contrast == "NEG"
    neg, pos = (explainer.explain(TEXT, target=target) for target in (0, 1))
    for one, other, difference in zip(pos.tokens, neg.tokens, both.tokens, strict=True):
        assert difference.relevance == pytest.approx(one.relevance - other.relevance, abs=1e-5)


def test_the_rules_are_the_ones_asked_for(explainer: Explainer) -> None:
    frozen = explainer.explain(TEXT, rules="cp-lrp")
    assert frozen.rules == "cp-lrp"
    assert "softmax" not in frozen.ledger.rows
    assert "softmax" in explainer.explain(TEXT).ledger.rows
    assert explainer.explain(TEXT, rules=Rules.preset("cp-lrp")) == frozen
    adds_up(explainer.explain(TEXT, rules=Rules(linear=Epsilon(1e-3))))


def test_the_same_question_gets_the_same_answer_and_chance_is_left_alone(explainer: Explainer) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = explainer.explain(TEXT)
    assert torch.equal(torch.rand(3), expected)
    assert explainer.explain(TEXT) == first


@pytest.mark.parametrize("dtype", ["float64", torch.bfloat16, "auto"])
def test_the_dtype_is_the_one_asked_for(folder: Path, dtype: Any) -> None:
    e = Explainer.from_pretrained(folder, dtype=dtype).explain(TEXT)
    assert e.ledger.balanced
    assert e.logit == e.logits[e.target] == e.ledger.logit


def test_a_pipeline_is_taken_as_it_is(explainer: Explainer) -> None:
    pipe = transformers.pipeline(
        "text-classification", model=explainer.model, tokenizer=explainer.tokenizer, device="cpu"
    )
    e = Explainer.from_pipeline(pipe).explain(TEXT)
    scores = {row["label"]: row["score"] for row in pipe(TEXT, top_k=None)}
    assert {label: pytest.approx(share, abs=1e-6) for label, share in e.probabilities.items()} == scores


class Pretend:
    model = None


@pytest.mark.parametrize("pipe", [3, Pretend()])
def test_what_is_no_pipeline_is_said_so(pipe: Any) -> None:
    with pytest.raises(ModelError, match="has no torch model with a tokenizer: textlrp takes a text-classification"):
        Explainer.from_pipeline(pipe)


def test_a_long_text_is_cut_where_the_model_stops_reading(explainer: Explainer) -> None:
    text = "the film is wonderful, " * 40
    e = explainer.explain(text)
    adds_up(e)
    assert len(e.tokens) == 64
    assert e.text == text
    assert e.truncated is not None
    start, end = e.truncated
    assert (max(span.end for span in e.tokens), len(text)) == (start, end)


def tiny_roberta() -> Any:
    return transformers.RobertaForSequenceClassification(
        transformers.RobertaConfig(
            vocab_size=320, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            max_position_embeddings=34, pad_token_id=1,
        )
    )  # fmt: skip


def tiny_gpt2() -> Any:
    return transformers.GPT2ForSequenceClassification(
        transformers.GPT2Config(
            vocab_size=320, n_embd=16, n_layer=1, n_head=2, n_positions=32, pad_token_id=1, eos_token_id=2
        )
    )


def tiny_t5() -> Any:
    return transformers.T5ForSequenceClassification(
        transformers.T5Config(
            vocab_size=400, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
        )
    )


def tiny_xlnet() -> Any:
    return transformers.XLNetForSequenceClassification(
        transformers.XLNetConfig(vocab_size=160, d_model=16, n_layer=1, n_head=2, d_inner=16)
    )


def tiny_mpt() -> Any:
    return transformers.MptForSequenceClassification(
        transformers.MptConfig(vocab_size=320, d_model=16, n_heads=2, n_layers=1, max_seq_len=32, pad_token_id=1)
    )


@pytest.mark.parametrize(
    ("model", "tokenizer", "limit"),
    [
        (tiny_roberta, lambda: fast_tokenizer("roberta"), 32),
        (tiny_gpt2, lambda: fast_tokenizer("bytelevel"), 32),
        (tiny_t5, transformers.ByT5Tokenizer, None),
        (tiny_xlnet, lambda: fast_tokenizer("metaspace"), None),
        (tiny_mpt, lambda: fast_tokenizer("bytelevel"), 32),
    ],
    ids=["roberta", "gpt2", "t5", "xlnet", "mpt"],
)
def test_every_kind_of_limit_is_found(
    model: Callable[[], Any], tokenizer: Callable[[], transformers.PreTrainedTokenizerBase], limit: int | None
) -> None:
    torch.manual_seed(0)
    e = Explainer(model(), tokenizer()).explain("A wonderful film 😀 that never loses its way. " * 4)
    assert e.ledger.balanced
    assert (e.truncated is None) == (limit is None)
    assert limit is None or len(e.tokens) == limit


def test_the_tokenizer_may_read_less_than_the_model(explainer: Explainer) -> None:
    tokenizer = fast_tokenizer("wordpiece")
    tokenizer.model_max_length = 8
    assert len(Explainer(explainer.model, tokenizer).explain(TEXT).tokens) == 8


def test_labels_without_names_and_models_with_one_score() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    names = {"id2label": {0: "same", 1: "same", 2: "other"}, "label2id": {"same": 1, "other": 2}}
    twins = Explainer(bert(len(tokenizer), num_labels=3, **names), tokenizer).explain(TEXT, target="same (1)")
    assert list(twins.logits) == ["same (0)", "same (1)", "other"]
    one = {"id2label": {0: "stars"}, "label2id": {"stars": 0}, "num_labels": 1}
    score = Explainer(bert(len(tokenizer), problem_type="regression", **one), tokenizer).explain(TEXT)
    assert (score.predicted, score.target, score.probabilities) == ("stars", "stars", {})
    adds_up(score)
    with pytest.raises(InputError, match="contrast needs a second label, and the model has one"):
        Explainer(bert(len(tokenizer), **one), tokenizer).explain(TEXT, contrast="runner-up")
    many = Explainer(bert(len(tokenizer), problem_type="multi_label_classification"), tokenizer).explain(TEXT)
    assert {k: pytest.approx(v) for k, v in many.probabilities.items()} == {
        label: 1 / (1 + math.exp(-logit)) for label, logit in many.logits.items()
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "POSS"}, "did you mean 'POS'"),
        ({"contrast": "POSS"}, "did you mean 'POS'"),
        ({"target": "POS", "contrast": "pos"}, "contrast and target are both 'POS': their difference is zero"),
        ({"rules": "attn-lrp"}, "did you mean 'attnlrp'"),
        ({"rules": 3}, "rules takes the name of a preset"),
    ],
)
def test_options_that_cannot_be_used_are_said_so(explainer: Explainer, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        explainer.explain(TEXT, **options)


def without_tokenizer(path: Path) -> None:
    for file in path.glob("token*"):
        file.unlink()


def without_head(path: Path) -> None:
    bert(64).bert.save_pretrained(path)


def with_nan(path: Path) -> None:
    model = bert(len(fast_tokenizer("wordpiece")))
    with torch.no_grad():
        model.bert.encoder.layer[0].output.dense.weight[0, 0] = torch.nan
    model.save_pretrained(path)


def with_no_tokenizer_class(path: Path) -> None:
    settings = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps({**settings, "tokenizer_class": "BertModel"}))


def with_other_sizes(path: Path) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))


BROKEN: list[tuple[str, Callable[[Path], Any], type[LRPError], str]] = [
    ("no tokenizer", without_tokenizer, ModelError, "has no tokenizer"),
    (
        "a model for a tokenizer",
        with_no_tokenizer_class,
        ModelError,
        "names BertModel as its tokenizer, which is not one",
    ),
    ("no weights", lambda path: (path / "model.safetensors").unlink(), ModelError, "no file named .*model.safetensors"),
    ("no config", lambda path: (path / "config.json").unlink(), ModelError, "holds no model: it has no config.json"),
    ("junk weights", lambda path: (path / "model.safetensors").write_bytes(b"x" * 99), ModelError, "header"),
    ("junk config", lambda path: (path / "config.json").write_text("{"), ModelError, "is not a valid JSON"),
    ("junk tokenizer", lambda path: (path / "tokenizer.json").write_text("{}"), ModelError, "cannot load"),
    ("unknown type", lambda path: (path / "config.json").write_text('{"model_type": "blorp"}'), ModelError, "blorp"),
    ("no head", without_head, ModelError, "is not a trained text classifier: its weights lack classifier.bias"),
    ("other sizes", with_other_sizes, ModelError, "its weights have other sizes than its config.json says"),
    ("misfit", lambda path: bert(20).save_pretrained(path), ModelError, r"has ids up to \d+ \(.+ table of 20 ids"),
    ("nan", with_nan, NonFiniteError, r"bert\.encoder\.layer\.0\.output\.dense\.weight"),
]


@pytest.mark.parametrize(("damage", "kind", "message"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_model_is_said_so(
    folder: Path, tmp_path: Path, damage: Callable[[Path], Any], kind: type[LRPError], message: str
) -> None:
    path = tmp_path / "model"
    shutil.copytree(folder, path)
    damage(path)
    with pytest.raises(kind, match=message) as caught:
        Explainer.from_pretrained(path).explain("the film is wonderful, and never dull")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("/no/such/folder", InputError, "there is no folder '/no/such/folder': check the path"),
        ("./none", InputError, r"there is no folder '\./none'"),
        ("", InputError, "'' names no model"),
        ("a\0b", InputError, "names no model"),
        ("https://huggingface.co/owner/model", InputError, r"is an address: give a folder, or the hub name"),
        (__file__, InputError, "is a file: a model is a folder"),
        (
            "no-such-owner/no-such-model",
            ModelError,
            "there is no folder of that name, and the hub model cannot be read",
        ),
        ("two words", ModelError, "cannot load 'two words'"),
    ],
)
def test_a_name_of_no_model_is_said_so(name: str, kind: type[LRPError], message: str) -> None:
    with pytest.raises(kind, match=message):
        Explainer.from_pretrained(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float31"}, "'float31' is not a dtype of weights: use float32"),
        ({"dtype": torch.int8}, "is not a dtype of weights"),
        ({"device": "gpu"}, "'gpu' is not a device that computes: use cpu, cuda"),
        ({"device": "meta"}, "'meta' is not a device that computes"),
    ],
)
def test_a_device_or_dtype_that_is_none_is_said_so(folder: Path, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Explainer.from_pretrained(folder, **options)


def test_a_device_that_is_not_here_is_said_so(folder: Path) -> None:
    with pytest.raises(ModelError, match="cannot put the model on 'cuda:99'"):
        Explainer.from_pretrained(folder, device="cuda:99")


def test_what_is_no_model_or_no_tokenizer_is_said_so(explainer: Explainer) -> None:
    linear = torch.nn.Linear(2, 2)
    for model, tokenizer, message in [
        ("bert", explainer.tokenizer, "the model must be a torch module, .* not str; .* use Explainer.from_pretrained"),
        (explainer.tokenizer, explainer.model, "the model must be a torch module"),
        (explainer.model, None, "needs the tokenizer that the model was trained with, not NoneType"),
        (torch.nn.Linear(2, 2, device="meta"), explainer.tokenizer, "the model has no weights"),
        (torch.export.export(linear, (torch.ones(1, 2),)).module(), explainer.tokenizer, "an exported program hides"),
    ]:
        with pytest.raises(ModelError, match=message):
            Explainer(model, tokenizer)  # type: ignore[arg-type]
    for model in (
        explainer.model.bert,
        transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=90, hidden_size=12, num_hidden_layers=1)),
    ):
        with pytest.raises(
            ModelError, match=r"a text classifier returns logits \[batch, labels\]; this model returned"
        ):
            Explainer(model, explainer.tokenizer).explain("the film")


def test_a_character_model_explains_any_script() -> None:
    from transformers import CanineConfig, CanineForSequenceClassification

    torch.manual_seed(0)
    config = CanineConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, num_hash_buckets=64
    )
    text = "كتاب 映画 👩‍👧!"
    e = Explainer(CanineForSequenceClassification(config), canine()).explain(text)
    assert e.ledger.balanced
    assert "".join(span.text for span in e.tokens) == text


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("A wonderful, moving film.", "POS"),
        ("A dull and boring film.", "NEG"),
        ("I loved it, great acting and a beautiful story.", "POS"),
        ("The worst film of the year, a complete waste of time.", "NEG"),
    ],
)
def test_the_built_in_classifier_knows_good_from_bad(text: str, label: str) -> None:
    e = Explainer.demo().explain(text)
    adds_up(e)
    assert e.predicted == label
    assert e.model == "textlrp demo"
    assert set(e.logits) == {"NEG", "POS"}
    if label == "POS" and "wonderful" in text:
        strongest = max((span for span in e.tokens if not span.special), key=lambda span: span.relevance)
        assert strongest.text in text


def test_an_installation_without_the_built_in_classifier_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textlrp.explain.explainer.DEMO_FOLDER", tmp_path)
    with pytest.raises(ModelError, match="the built-in classifier is missing from this installation"):
        Explainer.demo()


def test_a_model_is_seen_through_what_spreads_it_over_devices(explainer: Explainer) -> None:
    wrapped = Explainer(torch.nn.DataParallel(explainer.model), explainer.tokenizer)
    assert wrapped.labels == explainer.labels
    assert wrapped.explain("the film").ledger.logit == explainer.explain("the film").ledger.logit


@pytest.mark.parametrize("id2label", [["NEG", "POS"], {"NEG": 0, "POS": 1}], ids=["list", "swapped"])
def test_a_folder_with_odd_names_of_labels_says_which(id2label: Any, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {"id2label": id2label}), "utf-8")
    with pytest.raises(ModelError, match=r"id2label of its config.json must map numbers to names"):
        Explainer.from_pretrained(tmp_path / "model")
