"""Difference rules at corners and jumps, their bounds, and the functions that have none."""

from __future__ import annotations

import pytest
import tiny_models
import torch
import torch.nn.functional as F
from difference_probes import measured, multipliers, pairs_of_texts
from torch import nn

import textlrp
from textlrp.errors import UnsupportedOperationError

LEAST = torch.finfo(torch.float32).min  # what transformers adds to masked scores


# -- corners and jumps ------------------------------------------------------------------------------------------------


def beside(operation, text, reference, dtype=torch.float64):
    """The multipliers where all values of a text are one number, and all of its reference another."""
    probe, ids, other = pairs_of_texts(operation, distances=(None,) * 4, dtype=dtype)
    values = [torch.full((16, 4), value, dtype=torch.float64) for value in (text, reference)]
    probe.table.weight = nn.Parameter(torch.cat(values).to(dtype))
    found, c_x, _, _ = multipliers(probe, ids, other)
    return found, c_x / probe.head.weight[1].detach().view(4, 4)


CORNERED = {
    "leaky relu": lambda m, x: F.leaky_relu(x, 0.2),
    "leaky relu by a maximum": lambda m, x: torch.maximum(x, 0.2 * x),
    "leaky relu by where": lambda m, x: torch.where(x > 0, x, 0.2 * x),
    "prelu": lambda m, x: F.prelu(x, torch.tensor([0.2], dtype=x.dtype)),
}


@pytest.mark.parametrize("distance", [1e-4, 1e-6, 1e-9])
@pytest.mark.parametrize("name", CORNERED)
def test_the_secant_across_a_corner_is_between_the_slopes(name, distance):
    _, ratio = beside(CORNERED[name], distance, -distance)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.6), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", CORNERED)
def test_values_that_differ_by_a_rounding_have_the_slope_there(name):
    _, ratio = beside(CORNERED[name], -1.0, -1.0 - 2**-23, torch.float32)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.2), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-9])
@pytest.mark.parametrize(
    "operation",
    [
        lambda m, x: x.masked_fill(x < 1, 0.5),
        lambda m, x: torch.where(x > 1, x, 0.0),
        lambda m, x: x * (x > 1),
        lambda m, x: x + (x > 1).to(x.dtype),
    ],
    ids=["masked", "where", "a product", "a sum"],
)
def test_a_jump_between_the_runs_is_a_choice_of_the_text(operation, distance):
    found, ratio = beside(operation, 1 + distance / 2, 1 - distance / 2)
    assert all("reference (pinned)" in ledger for ledger in found.ledgers)
    assert bool((ratio.abs() <= 100).all())


# -- softmax written out, and functions that have no rule -------------------------------------------------------------


class Scores(nn.Module):
    """A classifier whose softmax is computed as it is told, from scores that can be captured."""

    def __init__(self, weigh, factor):
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.table = nn.Embedding(24, 6, dtype=torch.float64)
        self.table.weight = nn.Parameter(torch.randn(24, 6, generator=generator, dtype=torch.float64))
        self.scores, self.weigh, self.factor = nn.Identity(), weigh, factor
        self.head = nn.Linear(6, 3, dtype=torch.float64)
        self.head.weight = nn.Parameter(torch.randn(3, 6, generator=generator, dtype=torch.float64))

    def forward(self, input_ids):
        return self.head(self.weigh(self.scores(self.table(input_ids) * self.factor)).mean(1))


def spelled(x):
    shifted = (x - x.amax(-1, keepdim=True)).exp()
    return shifted / shifted.sum(-1, keepdim=True)


@pytest.mark.parametrize("factor", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("weigh", [lambda x: x.softmax(-1), spelled], ids=["fused", "spelled"])
def test_multipliers_of_scores_are_no_larger_than_the_weights(weigh, factor):
    model = Scores(weigh, factor)
    ids = torch.arange(12).view(3, 4)
    found = measured(model, ids, ids + 12, capture=["scores"])
    (captured,) = found.captured["scores"]
    weights = torch.maximum(captured.activation.softmax(-1), captured.reference.softmax(-1))
    c = model.head.weight[1].detach() / 4  # of the mean over time
    assert bool((captured.multiplier.abs() <= weights * (c.max() - c.min()) * (1 + 1e-12)).all())


@pytest.mark.parametrize("factor", [30.0, 100.0])
@pytest.mark.parametrize(
    "weigh",
    [
        lambda x: x.exp() / x.exp().mean(-1, keepdim=True) / 6,
        lambda x: x.exp() / torch.einsum("btd->bt", x.exp())[..., None],
        lambda x: x.exp() * x.exp().sum(-1, keepdim=True).reciprocal(),
        lambda x: x.sigmoid() / x.sigmoid().sum(-1, keepdim=True),
        lambda x: x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt(),
    ],
    ids=["mean", "einsum", "reciprocal", "sigmoid", "norm"],
)
def test_no_quotient_explodes(weigh, factor):
    """Shares that are not taken for a softmax have other multipliers, but none is larger than the results allow."""
    model = Scores(weigh, factor)
    ids = torch.arange(12).view(3, 4)
    found = measured(model, ids, ids + 12, capture=["scores"])
    (captured,) = found.captured["scores"]
    assert bool((captured.multiplier.abs() <= 2 * model.head.weight[1].detach().abs().sum()).all())


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_a_reference_of_zeros_has_norms_without_a_scale(name):
    model = tiny_models.build(name, dtype=torch.float64)
    found = textlrp.propagate(model, 1, "difference", reference="zero", **tiny_models.inputs(model, name))
    assert bool((found.relevance.abs().sum(-1) < 100).all())


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (lambda m, x: x.round(), "round"),
        (lambda m, x: x.floor(), "floor"),
        (lambda m, x: x.sign(), "sign"),
        (lambda m, x: F.hardshrink(x), "hardshrink"),
        (lambda m, x: F.threshold(x, 0.1, 0.0), "threshold"),
        (lambda m, x: x.norm(p=3, dim=-1), "norm"),
        (lambda m, x: torch.linalg.pinv(x), "pinv"),
        (lambda m, x: torch.lerp(x, x.flip(1), x.sigmoid()), "Lerp"),
        (lambda m, x: x // 0.5, "floordiv"),
    ],
)
def test_functions_without_a_difference_rule_are_refused_by_name(operation, name):
    probe, ids, other = pairs_of_texts(operation)
    with pytest.raises(UnsupportedOperationError, match=name):
        textlrp.propagate(probe, 1, "difference", reference=other, input_ids=ids)
