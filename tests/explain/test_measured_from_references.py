"""Difference rules from end to end: the words add up to what the text's score is more than that of its reference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from measured_reference import PAIR, TEXT, tokenizer_of_pairs
from tiny_bert import bert

from textlrp import Explainer, Explanation
from textlrp.text.encoding import Encoding

LONG = "the film is dull a great film ! no plot , no wonder x"


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    tokenizer = tokenizer_of_pairs()
    return Explainer(bert(len(tokenizer)), tokenizer, "tiny")


def plain(explainer: Explainer, encoding: Encoding, ids: list[int]) -> list[float]:
    """The plain model's logits of other ids in the place of a text's."""
    inputs = explainer.classifier.inputs(explainer.classifier.pad([encoding]))
    with torch.no_grad():
        logits: list[float] = explainer.model(**{**inputs, "input_ids": torch.tensor([ids])}).logits[0].tolist()
    return logits


def filled(encoding: Encoding, token: int) -> list[int]:
    return [number if special else token for number, special in zip(encoding.input_ids, encoding.special, strict=True)]


def holds(e: Explanation) -> None:
    """The rows are the reference and the tokens, and all of it fits together when it is read back."""
    assert e.reference is not None
    assert e.ledger.reference == e.reference.logit(e.target, e.contrast)
    others = {row: value for row, value in e.ledger.rows.items() if row not in ("reference", "tokens")}
    assert all(abs(value) < 1e-6 for value in others.values()), others
    assert e.ledger["tokens"] == pytest.approx(e.logit - e.ledger["reference"], abs=1e-5)
    assert Explanation.from_json(e.to_json()) == e


@pytest.mark.parametrize("texts", [(TEXT,), PAIR], ids=["text", "pair"])
@pytest.mark.parametrize("reference", [None, "pad", "."])
def test_a_token_in_the_place_of_each_word(explainer: Explainer, texts: tuple[str, ...], reference: str | None) -> None:
    e = explainer.explain(*texts, rules="difference", reference=reference)
    holds(e)
    tokenizer, encoding = explainer.tokenizer, explainer.encode(*texts)
    token = {None: tokenizer.mask_token_id, "pad": tokenizer.pad_token_id}.get(reference)
    token = tokenizer.convert_tokens_to_ids(reference) if token is None else token
    assert e.reference is not None
    assert list(e.reference.logits.values()) == pytest.approx(
        plain(explainer, encoding, filled(encoding, token)), abs=1e-6
    )


def test_another_text_and_its_ids_are_the_same_reference(explainer: Explainer) -> None:
    text, pair = "a plot and wonder", ("a plot and wonder", "the film is bad")
    for texts, reference in (((TEXT,), text), (PAIR, pair)):
        ids = explainer.encode(*([reference] if isinstance(reference, str) else reference)).input_ids
        e = explainer.explain(*texts, rules="difference", reference=reference)
        same = explainer.explain(*texts, rules="difference", reference=torch.tensor(ids))
        holds(e)
        assert e.reference is not None
        assert same.reference is not None
        assert list(e.reference.logits.values()) == pytest.approx(
            plain(explainer, explainer.encode(*texts), ids), abs=1e-6
        )
        assert same.reference.logits == e.reference.logits
        assert same.tokens == e.tokens


@pytest.mark.parametrize("reference", ["mean", "zero"])
def test_an_embedding_in_the_place_of_each_word(explainer: Explainer, reference: str) -> None:
    e = explainer.explain(TEXT, rules="difference", reference=reference)
    holds(e)
    table = explainer.model.get_input_embeddings().weight
    row = table.mean(0) if reference == "mean" else torch.zeros(table.shape[1])
    encoding = explainer.encode(TEXT)
    rows = table[torch.tensor([encoding.input_ids])].clone()
    rows[0, ~torch.tensor(encoding.special)] = row
    with torch.no_grad():
        logits = explainer.model(inputs_embeds=rows, attention_mask=torch.ones(rows.shape[:2])).logits[0]
    assert e.reference is not None
    assert list(e.reference.logits.values()) == pytest.approx(logits.tolist(), abs=1e-6)


def test_several_references_are_averaged(explainer: Explainer) -> None:
    several: list[Any] = ["mean", ".", "a plot and wonder"]
    e = explainer.explain(TEXT, target="POS", rules="difference", reference=several)
    holds(e)
    alone = [explainer.explain(TEXT, target="POS", rules="difference", reference=one) for one in several]
    for i, span in enumerate(e.tokens):
        assert span.relevance == pytest.approx(sum(one.tokens[i].relevance for one in alone) / 3, abs=1e-6)
    assert e.ledger["reference"] == pytest.approx(sum(one.ledger["reference"] for one in alone) / 3)


def test_a_text_measured_from_itself_adds_nothing(explainer: Explainer) -> None:
    e = explainer.explain(TEXT, rules="difference", reference=TEXT)
    holds(e)
    assert e.ledger.explained == 0.0
    assert all(span.relevance == 0.0 for span in e.tokens)
    assert "The words add" in e.to_html()


@pytest.mark.parametrize("reference", [None, ["mean", "."]])
def test_a_batch_gives_what_each_text_gets_alone(explainer: Explainer, reference: Any) -> None:
    texts = ["the film is dull", "a great plot and wonder is the film !", "no", PAIR]
    options: dict[str, Any] = {"rules": "difference", "reference": reference, "target": "POS"}
    for e, text in zip(explainer.explain_batch(texts, **options), texts, strict=True):
        alone = explainer.explain(*([text] if isinstance(text, str) else text), **options)
        holds(e)
        assert e.reference is not None
        assert alone.reference is not None
        assert e.reference.logits == pytest.approx(alone.reference.logits, abs=1e-6)
        assert [s.relevance for s in e.tokens] == pytest.approx([s.relevance for s in alone.tokens], abs=1e-6)


def test_texts_of_references_are_padded_with_their_batch(explainer: Explainer) -> None:
    ids = explainer.encode("a plot and wonder").input_ids
    both = explainer.explain_batch(["the film is dull", "no great plot !"], rules="difference", reference=ids)
    for e in both:
        holds(e)
    assert both[0].reference == both[1].reference


def test_windows_are_measured_from_their_part(explainer: Explainer) -> None:
    ids = explainer.encode("a plot and wonder . , ! x great moving never bad the film").input_ids
    for reference in (None, ids, "mean"):
        e = explainer.explain(LONG, rules="difference", reference=reference, long="windows", window=8, layers=True)
        holds(e)
        assert e.windows > 2
        for layer in e.layers:
            assert layer.ledger.reference == e.ledger.reference


def test_layers_hold_what_the_words_hold(explainer: Explainer) -> None:
    e = explainer.explain(TEXT, target="NEG", contrast="POS", rules="difference", layers=True)
    holds(e)
    for layer in e.layers:
        held = layer.ledger["tokens"] + layer.ledger["special tokens"]
        assert held == pytest.approx(e.ledger.explained, abs=1e-5)
        assert layer.ledger.reference == e.ledger.reference


def test_several_labels(explainer: Explainer) -> None:
    by_label = explainer.explain_targets(TEXT, rules="difference", reference=["zero", "mask"])
    assert list(by_label) == ["NEG", "POS"]
    for e in by_label.values():
        holds(e)


@pytest.mark.parametrize("options", [{"problem_type": "regression"}, {"problem_type": "multi_label_classification"}])
def test_other_heads(options: dict[str, Any]) -> None:
    tokenizer = tokenizer_of_pairs()
    explainer = Explainer(bert(len(tokenizer)), tokenizer, **options)
    e = explainer.explain(TEXT, rules="difference")
    holds(e)
    said = "would return" if options["problem_type"] == "regression" else "would say"
    assert f"Without its words the model {said} " in e.to_html()
