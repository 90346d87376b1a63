"""Gated units as one node, against a product and a non-linearity."""

import pytest
import tiny_models
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from reference_rules import IDS
from torch import nn

import textlrp
from textlrp.check import cost
from textlrp.guard.model_guard import copied
from textlrp.lrp import products

FUNCTIONS = {"gelu": F.gelu, "silu": F.silu, "tanh": torch.tanh, "mish": F.mish, "relu": F.relu}


class Gated(nn.Module):
    """A classifier around gated units: `unit` combines two halves."""

    def __init__(self, unit, layers=2):
        super().__init__()
        torch.manual_seed(1)
        self.table = nn.Embedding(12, 4)
        self.up = nn.ModuleList(nn.Linear(4, 12) for _ in range(layers))
        self.down = nn.ModuleList(nn.Linear(6, 4) for _ in range(layers))
        self.head, self.unit = nn.Linear(4, 3), unit

    def forward(self, input_ids):
        x = self.table(input_ids)
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(self.unit(*up(x).chunk(2, -1)))
        return self.head(x.mean(1))


def both_ways(model, rules="attnlrp", ids=IDS):
    """Explain with gated units as one node, and as two."""
    with pytest.MonkeyPatch.context() as patch:
        as_one_node = textlrp.propagate(model, 0, rules, input_ids=ids)
        patch.setattr(products, "_gated_unit", lambda *args: None)
        return as_one_node, textlrp.propagate(model, 0, rules, input_ids=ids)


def assert_same(actual, expected):
    torch.testing.assert_close(actual.relevance, expected.relevance, rtol=1e-9, atol=1e-12)
    assert torch.equal(actual.logits, expected.logits)
    for left, right in zip(actual.ledgers, expected.ledgers, strict=True):
        assert dict(left) == pytest.approx(dict(right), abs=1e-12)


def swapped(function):
    return lambda x, g: g * function(x)


@pytest.mark.parametrize("rules", ["attnlrp", "cp-lrp"])
@pytest.mark.parametrize("order", [lambda f: lambda x, g: f(x) * g, swapped], ids=["gate first", "gate last"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gated_units(name, order, rules):
    model = Gated(order(FUNCTIONS[name])).double()
    assert_same(*both_ways(model, rules))


@given(
    x=st.lists(st.sampled_from([0.0, -0.0, 1e-30, -3.0, 0.5, 40.0]) | st.floats(-5, 5), min_size=1, max_size=6),
    name=st.sampled_from(["gelu", "silu", "tanh"]),
)
def test_relevance_is_neither_made_nor_lost(x, name):
    x = torch.tensor(x, dtype=torch.float64).requires_grad_()
    g = torch.linspace(-2, 2, len(x), dtype=torch.float64).requires_grad_()
    function = FUNCTIONS[name]
    y = products.GatedUnit.apply(x, g, function(x.detach()) * g.detach(), function, 0.5)
    c = torch.linspace(1, 3, len(x), dtype=torch.float64)
    y.backward(c)
    relevance = y.detach() * c
    torch.testing.assert_close(g.detach() * g.grad, relevance / 2)
    torch.testing.assert_close(x.detach() * x.grad, relevance / 2)
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", ["modernbert", "llama", "gemma3_text", "qwen3"])
def test_gated_models(name):
    model = tiny_models.build(name).double()
    inputs = tiny_models.inputs(model, name)
    with pytest.MonkeyPatch.context() as patch:
        as_one_node = textlrp.propagate(model, [0, 1, 2], **inputs)
        patch.setattr(products, "_gated_unit", lambda *args: None)
        assert_same(as_one_node, textlrp.propagate(model, [0, 1, 2], **inputs))


def several(x, g):
    gate = F.gelu(x)
    return gate * g + gate * 0.5 + gate.sin() * g


def halved(x, g):
    gate = F.silu(x)
    gate.mul_(0.5)  # no longer the non-linearity's result
    return gate * g


def broadcast(x, g):
    return F.gelu(x) * g[..., :1]


def squared(x, g):
    gate = F.gelu(x)
    return gate * gate + 0 * g


@pytest.mark.parametrize("unit", [several, halved, broadcast, squared])
def test_units_of_other_forms(unit):
    assert_same(*both_ways(Gated(unit).double()))


def overwritten(x, g):
    y = F.gelu(x) * g
    x.zero_()  # the unit has saved it
    return y


def test_a_model_may_overwrite_the_tensors_that_a_unit_saves():
    """The plain gradient would fail here, and so does a unit as one node; two nodes do not save these tensors."""

    class Copies(Gated):
        def forward(self, input_ids):
            x = self.table(input_ids)
            for up, down in zip(self.up, self.down, strict=True):
                x = x + down(self.unit(*(half.clone() for half in up(x).chunk(2, -1))))
            return self.head(x.mean(1))

    actual = textlrp.propagate(Copies(overwritten).double(), 0, input_ids=IDS)
    expected = textlrp.propagate(Copies(lambda x, g: F.gelu(x) * g).double(), 0, input_ids=IDS)
    assert_same(actual, expected)


def test_a_captured_gate_has_its_multiplier():
    model = tiny_models.build("modernbert")
    inputs = tiny_models.inputs(model, "modernbert")
    path = next(path for path, module in model.named_modules() if path.endswith("mlp.act"))
    propagation = textlrp.propagate(model, 0, capture=[path], **inputs)
    (seen,) = propagation.captured[path]
    assert seen.multiplier.abs().sum() > 0
    torch.testing.assert_close(propagation.relevance, textlrp.propagate(model, 0, **inputs).relevance)


def test_fewer_activations_are_saved_than_by_the_plain_gradient():
    model = tiny_models.build("modernbert")
    inputs = tiny_models.inputs(model, "modernbert")
    saved = cost.saved_bytes(model, lambda: textlrp.propagate(model, 0, **inputs))
    with copied(model) as parts:
        plain = cost.saved_bytes(model, lambda: cost.gradient_x_input(parts.model, inputs))
    assert saved < 0.9 * plain
