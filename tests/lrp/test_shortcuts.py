"""The short way and the long way to a rule say the same."""

import pytest
import tiny_models
import torch
import torch.nn.functional as F
from reference_rules import IDS
from single_operations import PRESETS
from torch import nn

import textlrp
from textlrp import Rules
from textlrp.lrp import dispatch
from textlrp.lrp.shortcuts import SHORTCUTS
from textlrp.rules import Gradient, Plain, Taylor


def both_ways(monkeypatch, explain):
    short = explain()
    with monkeypatch.context() as patch:
        patch.setattr(dispatch, "SHORTCUTS", {})
        return short, explain()


def assert_same(short, long):
    assert torch.equal(short.relevance, long.relevance)
    assert torch.equal(short.logits, long.logits)
    assert short.ledgers == long.ledgers
    assert short.met == long.met


@PRESETS
@pytest.mark.parametrize("name", ["bert", "modernbert", "llama", "gpt2", "t5", "bart", "mixtral", "deberta-v2"])
def test_models(monkeypatch, name, rules):
    model = tiny_models.build(name)
    inputs = tiny_models.inputs(model, name)
    assert_same(*both_ways(monkeypatch, lambda: textlrp.propagate(model, [0, 1, 2], rules, **inputs)))


@pytest.mark.parametrize(
    "rules",
    [
        Rules(norm=Plain()),
        Rules(nonlinearity=Gradient()),
        Rules(product=Taylor()),
        Rules(overrides={"*.layer.0.*": Rules(nonlinearity=Gradient(), norm=Plain())}),
        "epsilon",
        "gamma",
    ],
    ids=str,
)
def test_other_rules(monkeypatch, rules):
    model = tiny_models.build("bert")
    inputs = tiny_models.inputs(model, "bert")
    assert_same(*both_ways(monkeypatch, lambda: textlrp.propagate(model, 0, rules, **inputs)))


class Small(nn.Module):
    def __init__(self, form):
        super().__init__()
        torch.manual_seed(2)
        self.table, self.layer, self.head = nn.Embedding(12, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.norm, self.form = nn.LayerNorm(4), form

    def forward(self, input_ids):
        return self.head(self.form(self, self.table(input_ids)).mean(1))


FORMS = {
    "keywords": lambda m, x: F.linear(input=x, weight=m.layer.weight, bias=m.layer.bias),
    "no bias": lambda m, x: F.linear(x, m.layer.weight),
    "weights computed on the way": lambda m, x: F.linear(x, m.layer.weight * 2, m.layer.bias + 1),
    "weights from activations": lambda m, x: F.linear(x, m.layer(x)[0], m.layer.bias),
    "norm without weights": lambda m, x: F.layer_norm(x, (4,)),
    "norm with a bias alone": lambda m, x: F.layer_norm(x, (4,), bias=m.norm.bias, eps=1e-3),
    "norm of two dimensions": lambda m, x: F.layer_norm(x[:, :3], (3, 4), eps=1e-5, weight=None, bias=None),
    "a sum with alpha": lambda m, x: torch.add(x, m.layer(x), alpha=0.5),
    "a sum with a constant": lambda m, x: x + m.layer.bias + 1,
    "a product with a number": lambda m, x: 2 * x * m.layer.bias * 0.5,
    "cat with a constant": lambda m, x: torch.cat([x, m.layer.bias.expand(len(x), 1, 4)], dim=1),
    "cat of activations": lambda m, x: torch.cat((x, m.layer(x)), 1),
    "gelu by tanh": lambda m, x: F.gelu(m.layer(x), approximate="tanh"),
    "silu in place": lambda m, x: F.silu(m.layer(x), inplace=True),
    "sigmoid": lambda m, x: torch.sigmoid(m.layer(x)) + m.layer(x).sigmoid(),
    "views of constants": lambda m, x: x + m.layer.bias.unsqueeze(0).expand(2, 4)[0].view(4),
    "written in place": lambda m, x: m.layer(x).transpose_(0, 1).unsqueeze(0).sum(2).expand(len(x), -1, -1),
    "detached": lambda m, x: x + m.layer(x).detach(),
    "without gradients": lambda m, x: x + torch.no_grad()(lambda: m.layer(x))(),
    "attention": lambda m, x: F.scaled_dot_product_attention(x[:, None], m.layer(x)[:, None], x[:, None])[:, 0],
    "attention, scaled": lambda m, x: F.scaled_dot_product_attention(
        x[:, None], m.layer(x)[:, None], x[:, None], scale=2.0, is_causal=True
    )[:, 0],
}


@PRESETS
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_call(monkeypatch, form, rules):
    model = Small(FORMS[form])
    assert_same(*both_ways(monkeypatch, lambda: textlrp.propagate(model, 0, rules, input_ids=IDS)))


def test_what_cuts_values_off_has_no_shortcut():
    assert torch.Tensor.detach not in SHORTCUTS
    assert torch.Tensor.item not in SHORTCUTS
