"""A capture holds the relevance at a module's output, and ``keep=`` lets only the chosen part of it go on."""

from __future__ import annotations

import pytest
import tiny_models
import torch

import textlrp
from textlrp.errors import InputError


@pytest.fixture(scope="module")
def double():
    model = tiny_models.build("bert", dtype=torch.float64)
    return model, tiny_models.inputs(model, "bert")


def test_the_classifier_and_the_pooler_hold_the_whole_logit(double):
    model, inputs = double
    propagation = textlrp.propagate(model, 1, capture=["classifier", "dropout", "bert.pooler"], **inputs)
    assert list(propagation.captured) == ["classifier", "dropout", "bert.pooler"]
    (head,), (dropped,), (pooled,) = propagation.captured.values()
    torch.testing.assert_close(head.activation, propagation.logits)
    torch.testing.assert_close(head.relevance.sum(-1), propagation.logits[:, 1])
    assert torch.equal(head.multiplier[0], torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    # The relevance at the input of a linear map is the logit without its bias.
    torch.testing.assert_close(dropped.relevance.sum(-1), propagation.logits[:, 1] - model.classifier.bias[1])
    torch.testing.assert_close(dropped.multiplier, model.classifier.weight[1].expand_as(dropped.multiplier))
    torch.testing.assert_close(pooled.relevance, pooled.activation * pooled.multiplier)
    torch.testing.assert_close(pooled.relevance, dropped.relevance)


def test_capturing_changes_nothing(double):
    model, inputs = double
    hooks = [len(module._forward_hooks) for module in model.modules()]
    plain = textlrp.propagate(model, 0, **inputs)
    seen = textlrp.propagate(
        model, 0, capture=[path for path, _ in model.named_modules() if path.endswith("output")], **inputs
    )
    assert torch.equal(seen.relevance, plain.relevance)
    assert seen.ledgers == plain.ledgers
    assert len(seen.captured) == 2 * model.config.num_hidden_layers
    assert hooks == [len(module._forward_hooks) for module in model.modules()]


def test_a_condition_lets_the_chosen_channels_go_on(double):
    model, inputs = double
    width = model.config.hidden_size
    plain = textlrp.propagate(model, 1, **inputs)
    pooled = {"capture": ["bert.pooler"], **inputs}
    parts = [
        textlrp.propagate(model, 1, keep={"bert.pooler": channels}, **pooled) for channels in ([0, 3], range(width))
    ]
    rest = [i for i in range(width) if i not in (0, 3)]
    others = textlrp.propagate(model, 1, capture=["bert.pooler"], keep={"bert.pooler": rest}, **inputs)
    torch.testing.assert_close(parts[0].relevance + others.relevance, plain.relevance)
    torch.testing.assert_close(parts[1].relevance, plain.relevance)
    for propagation in (*parts, others):
        assert all(ledger.balanced for ledger in propagation.ledgers)
    latent = parts[0].captured["bert.pooler"][0].relevance
    expected = latent[:, rest].sum(-1)
    torch.testing.assert_close(
        torch.tensor([e["masked"] for e in parts[0].ledgers]), expected.float(), rtol=1e-5, atol=1e-6
    )
    assert all("masked" not in ledger.rows for ledger in plain.ledgers)


def test_a_mask_chooses_tokens_too(double):
    model, inputs = double
    mask = torch.zeros(inputs["input_ids"].shape, dtype=torch.bool)
    mask[:, 2] = True
    last = f"bert.encoder.layer.{model.config.num_hidden_layers - 1}.output"
    propagation = textlrp.propagate(model, 1, keep={last: mask[..., None]}, **inputs)
    assert all(ledger.balanced for ledger in propagation.ledgers)
    # The classifier reads the first token alone, so nothing comes by way of the third.
    assert float(propagation.relevance.abs().max()) == 0.0
    mask[:, 0] = True
    both = textlrp.propagate(model, 1, keep={last: mask[..., None], "classifier": [1]}, **inputs)
    torch.testing.assert_close(both.relevance, textlrp.propagate(model, 1, **inputs).relevance)


@pytest.mark.parametrize("name", ["albert", "gpt2", "llama", "reformer", "mixtral", "distilbert"])
def test_every_architecture_can_be_captured(name):
    model = tiny_models.build(name)
    inputs = tiny_models.inputs(model, name)
    table = model.get_input_embeddings()
    path = next(path for path, module in model.named_modules() if module is table)
    propagation = textlrp.propagate(model, 0, capture=[path], **inputs)
    (run,) = propagation.captured[path]
    total = run.relevance.flatten(1).sum(-1)
    tokens = torch.tensor([ledger["tokens"] + ledger["special tokens"] for ledger in propagation.ledgers])
    torch.testing.assert_close(total, tokens, rtol=1e-4, atol=1e-5)


def test_a_module_that_runs_several_times_is_captured_each_time():
    model = tiny_models.build("albert")
    (group,) = [path for path, module in model.named_modules() if type(module).__name__ == "AlbertLayer"]
    propagation = textlrp.propagate(model, 0, capture=[group], **tiny_models.inputs(model, "albert"))
    assert len(propagation.captured[group]) == model.config.num_hidden_layers


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capture": ["clasifier"]}, "has no module 'clasifier'; near are 'classifier'"),
        ({"keep": {"classifier": [3]}}, "keep at 'classifier' is a list of channels from 0 to 2, or a mask"),
        ({"keep": {"classifier": 0.5}}, "keep at 'classifier' is a list of channels"),
        ({"keep": {"classifier": []}}, "keep at 'classifier' is a list of channels"),
        (
            {"keep": {"classifier": torch.ones(7, dtype=torch.bool)}},
            r"the mask at 'classifier' has the shape \[7\]",
        ),
        ({"capture": ["bert.encoder.layer.0.attention.self.dropout"]}, "did not run, so nothing can be captured"),
        ({"keep": {"bert.encoder.layer.0.attention.self.dropout": [0]}}, "did not run, so nothing can be captured"),
        ({"capture": "classifier"}, "capture is a list of paths of modules, not 'classifier'"),
        ({"keep": ["classifier"]}, "keep is a mapping from paths of modules to channels or masks"),
    ],
)
def test_captures_that_are_impossible_are_refused(bert, options, message):
    model, inputs = bert
    with pytest.raises(InputError, match=message):
        textlrp.propagate(model, 0, **options, **inputs)
