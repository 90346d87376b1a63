"""A model of one's own with a function in place of a tokenizer."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from tiny_bert import bert, fast_tokenizer
from torch import nn

import textlrp
from textlrp import Explainer, Explanation
from textlrp.errors import InputError, ModelError

WORDS = ["<pad>", "<start>", "the", "film", "is", "good", "bad"]
WEIGHTS = {"good": 2.0, "bad": -3.0, "<start>": 0.5}


class Sum(nn.Module):
    """Adds up a weight for each id; padding weighs nothing."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.table = nn.Embedding(len(WORDS), 1)
        self.config = SimpleNamespace(id2label={0: "NEG", 1: "POS"}, **config)
        with torch.no_grad():
            self.table.weight.copy_(torch.tensor([[WEIGHTS.get(word, 0.0)] for word in WORDS]))

    def get_input_embeddings(self) -> nn.Module:
        return self.table

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        read = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        score = (self.table(input_ids)[..., 0] * read).sum(1)
        return torch.stack([torch.zeros_like(score), score], 1)


def encode(text: str) -> dict[str, Any]:
    found = [match for match in re.finditer(r"\S+", text) if match.group() in WORDS]
    return {
        "input_ids": [1, *(WORDS.index(match.group()) for match in found)],
        "offset_mapping": [(0, 0), *(match.span() for match in found)],
    }


def relevances(e: Explanation) -> dict[str, float]:
    return {span.text: span.relevance for span in e.words if span.text.strip()}


def test_a_function_reads_the_text() -> None:
    explainer = Explainer(Sum(), encode=encode)
    e = explainer.explain("the film is good or bad", target="POS")
    assert relevances(e) == {"the": 0, "film": 0, "is": 0, "good": 2, "or": 0, "bad": -3}
    assert dict(e.ledger) == {"tokens": -1.0, "special tokens": 0.5, "residue": 0.0}
    assert [(span.piece, span.special) for span in e.tokens][:2] == [("<1>", True), ("the", False)]
    assert (explainer.labels, explainer.tokenizer) == (("NEG", "POS"), None)
    assert Explanation.from_json(e.to_json()) == e
    assert "good" in e.to_html()


def test_difference_rules_measure_from_the_mean_embedding() -> None:
    e = Explainer(Sum(), encode=encode).explain("good film", target="POS", rules="difference")
    mean = sum(WEIGHTS.values()) / len(WORDS)
    assert e.reference is not None
    assert e.reference.name == "mean embedding"
    assert relevances(e) == {"good": pytest.approx(2 - mean), "film": pytest.approx(-mean)}
    other = Explainer(Sum(), encode=encode).explain("good film", target="POS", rules="difference", reference="bad film")
    assert relevances(other) == {"good": 5, "film": 0}


@pytest.mark.parametrize("config", [{}, {"pad_token_id": 0}])
def test_many_texts_and_long_ones(config: dict[str, int]) -> None:
    explainer = Explainer(Sum(max_position_embeddings=4, **config), encode=encode)
    texts = ["good film", "bad", "the film is good and bad"]
    first, second, third = explainer.explain_batch(texts, target="POS")
    assert (first.logit, second.logit) == (2.5, -2.5)
    assert third.truncated == (11, 24)
    whole = explainer.explain(texts[2], long="windows", target="POS")
    assert whole.windows > 1
    assert math.fsum(word.relevance for word in whole.words) == pytest.approx(whole.ledger["tokens"])


def test_a_tokenizer_is_such_a_function() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    model = bert(len(tokenizer))

    def call(text: str) -> Any:
        return tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, return_tensors="pt")

    text = "A wonderful film."
    e, expected = Explainer(model, encode=call).explain(text), Explainer(model, tokenizer).explain(text)
    assert [s.relevance for s in e.tokens] == pytest.approx([s.relevance for s in expected.tokens], abs=1e-6)
    assert [(s.start, s.end, s.special) for s in e.tokens] == [(s.start, s.end, s.special) for s in expected.tokens]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (3, "encode returns a dict with input_ids, offset_mapping"),
        ({"input_ids": [1]}, "encode returns a dict with input_ids, offset_mapping"),
        ({"input_ids": [1.5], "offset_mapping": [(0, 1)]}, "and input_ids is \\[1.5\\]"),
        ({"input_ids": [1], "offset_mapping": [(0, 1, 2)]}, "and offset_mapping is"),
        ({"input_ids": [[1], [2]], "offset_mapping": [(0, 1)]}, "and input_ids is"),
        ({"input_ids": [1, [2]], "offset_mapping": [(0, 1)]}, "and input_ids is"),
        ({"input_ids": [2, 3], "offset_mapping": [(0, 1)]}, "input_ids has 2, offset_mapping has 1"),
        ({"input_ids": [2], "offset_mapping": [(0, 9)]}, "the characters 0 to 9 of a text of 4"),
        ({"input_ids": [2, 3], "offset_mapping": [(2, 3), (0, 1)]}, "characters that run backward"),
        ({"input_ids": [1], "offset_mapping": [(0, 0)]}, "the tokenizer finds no token in the text"),
        ({"input_ids": [], "offset_mapping": []}, "and input_ids is"),
    ],
)
def test_what_a_function_may_not_return(returned: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Explainer(Sum(), encode=lambda text: returned).explain("film")


def test_what_goes_wrong_in_a_function_is_said() -> None:
    with pytest.raises(ModelError, match="encode fails on this text: KeyError"):
        Explainer(Sum(), encode=lambda text: {}[text]).explain("film")
    with pytest.raises(ModelError, match="encode gives the id 99, and the model has a table of 7 ids, from 0 on"):
        Explainer(Sum(), encode=lambda text: {"input_ids": [99], "offset_mapping": [(0, 4)]}).explain("film")
    with pytest.raises(InputError, match="encode= reads one text"):
        Explainer(Sum(), encode=encode).explain("film", "good")
    with pytest.raises(InputError, match="in place of a tokenizer, not 3"):
        Explainer(Sum(), encode=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="in place of a tokenizer, not a tokenizer, too"):
        Explainer(Sum(), fast_tokenizer("wordpiece"), encode=encode)
    with pytest.raises(ModelError, match="if it has none, give a function as encode="):
        Explainer(Sum())


def test_arrays_are_taken() -> None:
    def arrays(text: str) -> dict[str, Any]:
        return {key: numpy.asarray(value) for key, value in encode(text).items()}

    assert relevances(Explainer(Sum(), encode=arrays).explain("good film", target="POS")) == {"good": 2, "film": 0}


def test_it_is_evaluated_without_a_mask_token_by_deletion() -> None:
    explainer = Explainer(Sum(), encode=encode)
    e = explainer.explain("the film is good or bad", target="POS")
    result = textlrp.faithfulness.assess(explainer, e, perturb="delete")
    assert result.morf.logits[-1] == 0.5
