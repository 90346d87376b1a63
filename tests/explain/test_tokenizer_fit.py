"""A tokenizer that was made for another model is refused with a sentence, and one that fits never is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import tiny_models
from slow_tokenizer import canine
from tiny_bert import bert, fast_tokenizer
from torch import nn
from transformers import ByT5Tokenizer

from textlrp.errors import ModelError
from textlrp.explain.explainer import Explainer

TEXT = "the film is dull"


def test_a_tokenizer_with_more_ids_than_the_model_has_rows_is_refused() -> None:
    tokenizer = fast_tokenizer("bytelevel")
    count = len(tokenizer)
    message = rf"it has ids up to {count - 1} \('.+'\), and the model has a table of {count - 9} ids; load both from"
    with pytest.raises(ModelError, match=message):
        Explainer(bert(count - 9), tokenizer)
    assert Explainer(bert(count), tokenizer).explain(TEXT).words


@pytest.mark.parametrize("rows", [0, 3, 64, 1000])
def test_a_table_may_have_more_rows_than_the_tokenizer_has_ids(rows: int) -> None:
    tokenizer = fast_tokenizer("wordpiece")
    assert Explainer(bert(len(tokenizer) + rows), tokenizer).explain(TEXT).words


def test_special_tokens_that_were_added_need_rows() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    count = len(tokenizer)
    model = bert(count)
    tokenizer.add_special_tokens({"pad_token": "<padding>"})
    message = (
        rf"it has special tokens up to {count} \('<padding>'\), and the model has a table of {count} ids; load both "
        rf"from the same place, or if the tokens were added, .* model\.resize_token_embeddings\({count + 1}\)$"
    )
    with pytest.raises(ModelError, match=message):
        Explainer(model, tokenizer)
    model.resize_token_embeddings(count + 1)
    assert Explainer(model, tokenizer).explain(TEXT).words


def test_other_tokens_that_were_added_are_refused_where_a_text_has_them() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    count = len(tokenizer)
    model = bert(count)
    tokenizer.add_tokens(["zebra"])
    explainer = Explainer(model, tokenizer)
    runs: list[Any] = []
    model.register_forward_pre_hook(lambda module, args: runs.append(1))
    with pytest.raises(ModelError, match=rf"it gives 'zebra' the id {count}, and the model has a table of {count} ids"):
        explainer.explain("a zebra")
    assert runs == []
    assert explainer.explain(TEXT).words


def test_types_that_the_model_does_not_know_are_refused() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    explainer = Explainer(bert(len(tokenizer), type_vocab_size=1), tokenizer)
    explainer.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    encoding = explainer.encode(TEXT)
    encoding.inputs["token_type_ids"] = [0, *[1] * (len(encoding.input_ids) - 1)]
    with pytest.raises(ModelError, match=r"it calls a part of the text type 1, and the model knows 1 type, from 0 on"):
        explainer.classifier.inputs(explainer.classifier.pad([encoding]))


class Other:
    """The attributes of a tokenizer that the check reads."""

    def __init__(self, **ids: int | None) -> None:
        for name, number in ids.items():
            setattr(self, f"{name}_token_id", number)
            setattr(self, f"{name}_token", f"<{name}>")

    def __call__(self) -> None:
        """A tokenizer is called."""


def roberta(padding: int | None = 1, **settings: Any) -> nn.Module:
    """A model that counts positions from padding, and a config."""
    model = nn.Module()
    model.positions = nn.Embedding(200, 1, padding_idx=padding)
    model.config = SimpleNamespace(**{"bos_token_id": 0, "eos_token_id": 2, **settings})
    return model


BERT = {"pad": 0, "cls": 101, "sep": 102, "bos": None, "eos": None, "unk": 100, "mask": 103}


def test_special_tokens_of_another_model_are_refused() -> None:
    """As BERT's tokenizer has them, and RoBERTa: all ids have rows, and nothing would crash."""
    message = (
        r"their special tokens have other ids \(pad 0 and 1, bos 101 and 0, eos 102 and 2\); .* say so: "
        r"model.config.bos_token_id = 101, model.config.eos_token_id = 102$"
    )
    with pytest.raises(ModelError, match=message):
        Explainer(roberta(), Other(**BERT))
    real = tiny_models.build("roberta")
    with pytest.raises(ModelError, match=r"\(pad 0 and 1, bos 2 and 0, eos 3 and 2\)"):
        Explainer(real, fast_tokenizer("wordpiece"))
    real.config.bos_token_id = 2
    assert Explainer(real, fast_tokenizer("wordpiece"))


@pytest.mark.parametrize(
    ("settings", "ids"),
    [
        ({}, {**BERT, "pad": 1}),
        ({}, {**BERT, "cls": 0}),
        ({}, {**BERT, "eos": 2}),
        ({"padding": None}, BERT),
        ({"bos_token_id": None}, BERT),
        ({"eos_token_id": None}, BERT),
        ({"eos_token_id": [7, 102]}, BERT),
        ({}, {**BERT, "pad": None}),
        ({}, {"unk": 3}),
    ],
)
def test_special_tokens_that_say_nothing_are_no_reason(settings: dict[str, Any], ids: dict[str, int | None]) -> None:
    assert Explainer(roberta(**settings), Other(**ids))


@pytest.mark.parametrize("name", ["gpt2", "llama", "roberta", "bart"])
@pytest.mark.parametrize("kind", ["wordpiece", "bytelevel", "roberta", "unigram"])
def test_no_tokenizer_whose_padding_is_the_models_is_refused(name: str, kind: str) -> None:
    tokenizer = fast_tokenizer(kind)
    model = tiny_models.build(name, vocab_size=400, pad_token_id=tokenizer.pad_token_id)
    assert Explainer(model, tokenizer).encode(TEXT).input_ids


def test_tokenizers_of_characters_and_bytes_fit_their_models() -> None:
    assert Explainer(tiny_models.build("canine", num_hash_buckets=128), canine()).encode(TEXT).input_ids
    assert Explainer(tiny_models.build("t5", vocab_size=384), ByT5Tokenizer()).encode(TEXT).input_ids
    with pytest.raises(ModelError, match=r"it has ids up to 258 .* and the model has a table of 128 ids"):
        Explainer(tiny_models.build("t5"), ByT5Tokenizer())
