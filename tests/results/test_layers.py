"""Layers in an explanation: by token and word, as JSON, in windows."""

from __future__ import annotations

import json
import math

import pytest
from tiny_bert import bert, fast_tokenizer

from textlrp import Explainer, Explanation
from textlrp.errors import InputError
from textlrp.results.layers import Layer
from textlrp.results.ledger import Ledger

TEXT = "A wonderful, moving film, never dull. "


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    tokenizer = fast_tokenizer("wordpiece")
    return Explainer(bert(len(tokenizer)), tokenizer)


def test_rows_of_embeddings_and_of_every_block(explainer: Explainer) -> None:
    e = explainer.explain(TEXT, layers=True)
    assert explainer.explain(TEXT).layers == ()
    assert [layer.name for layer in e.layers] == ["embeddings", "bert.encoder.layer.0"]
    for layer in e.layers:
        assert layer.aligned
        assert len(layer.relevance) == len(e.tokens)
        assert layer.ledger.balanced
        assert layer.ledger.logit == e.logit
        special = math.fsum(value for value, span in zip(layer.relevance, e.tokens, strict=True) if span.special)
        assert layer.ledger["tokens"] == pytest.approx(layer.total - special, abs=1e-6)
        words = e.layer_units(layer, "word")
        assert [word.text for word in words] == [word.text for word in e.words]
        assert math.fsum(word.relevance for word in words) == pytest.approx(layer.ledger["tokens"], abs=1e-9)
    for layer in e.layers[1:]:
        assert math.fsum(layer.paths.values()) == pytest.approx(layer.total, abs=1e-6)
        assert math.fsum(layer.shares.values()) == pytest.approx(1.0)
        assert set(layer.shares) == {"residual", "attention", "feed-forward", "other"}


def test_layers_survive_json(explainer: Explainer) -> None:
    e = explainer.explain(TEXT, layers=True, contrast="runner-up")
    assert Explanation.from_json(e.to_json()) == e
    old = {key: value for key, value in json.loads(e.to_json()).items() if key not in ("layers", "digest")}
    assert Explanation.from_dict(old).layers == ()


def test_windows_share_their_layers(explainer: Explainer) -> None:
    e = explainer.explain(TEXT * 4, layers=True, long="windows", window=20)
    assert e.windows > 1
    for layer in e.layers:
        assert len(layer.relevance) == len(e.tokens)
        assert layer.ledger.balanced
        assert layer.ledger.logit == e.logit
        assert layer.total == pytest.approx(layer.ledger["tokens"] + layer.ledger["special tokens"], abs=1e-5)
    alone = explainer.explain(TEXT, layers=True)
    same = explainer.explain(TEXT, layers=True, long="windows")
    assert same.layers == alone.layers


def test_a_layer_of_other_positions_has_no_words(explainer: Explainer) -> None:
    e = explainer.explain(TEXT)
    pooled = Layer("pooled", (0.5, 0.25), Ledger({"tokens": 0.75}, 0.75), aligned=False)
    with pytest.raises(InputError, match=r"'pooled' has 2 positions, which are not the 1\d tokens"):
        e.layer_units(pooled)
    assert pooled.shares == {}
    assert pooled.total == 0.75
