"""Multipliers between a reference and a text: by plain gradients they are integrated gradients at the same points."""

from __future__ import annotations

from typing import Any

import batch_sweep
import pytest
import tiny_models
import torch
from tiny_bert import bert, fast_tokenizer

from textlrp import Explainer, Rules, rules
from textlrp.evaluate import baselines
from textlrp.rules import Gradient, Plain, Taylor

TEXT = "A wonderful, moving film, never dull!"
GRADIENT = Rules(nonlinearity=Gradient(), product=Taylor(), norm=Plain())


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    tokenizer = fast_tokenizer("wordpiece")
    return Explainer(bert(len(tokenizer), num_hidden_layers=2), tokenizer)


def scores(name: str, explainer: Explainer, text: str = TEXT, **options: Any) -> torch.Tensor:
    return torch.tensor([span.relevance for span in baselines.scorer(name)(explainer, text, **options).tokens])


@pytest.mark.parametrize("reference", ["mask", "pad", "zero"])
def test_by_plain_gradients_it_is_integrated_gradients_by_midpoints(
    explainer: Explainer, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rules.PRESETS, "ln-lrp", GRADIENT)
    found = scores(f"lrp-path:3:{reference}", explainer, target="POS")
    encoding = explainer.encode(TEXT)
    table = explainer.model.get_input_embeddings()
    rows = table(torch.tensor([encoding.input_ids])).detach()
    special = torch.tensor(encoding.special)
    start = torch.zeros_like(rows)
    if reference != "zero":
        start += table(torch.tensor(getattr(explainer.tokenizer, f"{reference}_token_id"))).detach()
    start[:, special] = rows[:, special]
    total = torch.zeros_like(rows)
    for share in (1 / 6, 3 / 6, 5 / 6):
        point = (start + share * (rows - start)).requires_grad_()
        logits = explainer.model(inputs_embeds=point).logits
        total += torch.autograd.grad(logits[0, 1], point)[0] / 3
    torch.testing.assert_close(found, ((rows - start) * total).sum(-1)[0], rtol=1e-4, atol=1e-6)


def test_it_costs_one_explanation_a_point(explainer: Explainer) -> None:
    a = baselines.scorer("lrp-path")(explainer, TEXT)
    assert a.forwards == 1 + 2 * 3
    assert a.logit == pytest.approx(explainer.explain(TEXT).logit, abs=1e-5)
    assert all(span.relevance == 0 for span in a.tokens if span.special)
    assert torch.equal(scores("lrp-path:2:mask", explainer), torch.tensor([span.relevance for span in a.tokens]))


@pytest.mark.parametrize("name", ["bart", "t5", "xlnet", "llama"])
def test_every_lookup_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_models.build(name)
    tokenizer, words = batch_sweep.word_tokenizer(model, name)
    explainer = Explainer(model, tokenizer)
    text = " ".join(f"w{word}" for word in words[:9])
    monkeypatch.setitem(rules.PRESETS, "ln-lrp", GRADIENT)

    gauss = scores("integrated-gradients:60:pad", explainer, text, target=0)
    halves = scores("lrp-path:60:pad", explainer, text, target=0)
    torch.testing.assert_close(halves, gauss, rtol=0.05, atol=0.02 * float(gauss.abs().max()))
