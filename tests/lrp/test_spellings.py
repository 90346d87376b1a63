"""Measured from zero, functions that a model writes out have the relevance of the same functions fused."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from reference_rules import IDS, Probe
from single_operations import Returns, check, identity, table
from spellings import FUNCTIONS, GATES, NORMS, SOFTMAX, steps_of_functions, whole_of
from torch import nn
from transformers.activations import ACT2FN

import textlrp
from textlrp.lrp.elementwise import anchor
from textlrp.rules import Gradient, Rules

PRESETS = pytest.mark.parametrize("rules", ["attnlrp", "cp-lrp", "ln-lrp"])


def relevance(operation, rules, **options):
    return textlrp.propagate(Probe(operation, **options), 1, rules, input_ids=IDS).relevance


def compared(written, fused, rules):
    # Weights multiply values, so that something is left where they are constant.
    found, expected = (relevance(lambda m, x, f=f: x + f(m, x) * (1 + x), rules) for f in (written, fused))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


@PRESETS
@table(*((name, (written, fused)) for name, written, fused in SOFTMAX))
def test_softmax_written_out_is_a_softmax(operation, rules):
    compared(*operation, rules)


def test_a_quotient_by_the_sums_of_other_rows_is_no_softmax():
    others = [1, 0, 3, 2]
    written = relevance(lambda m, x: x.exp() / x.exp().sum(-1, keepdim=True)[:, others], "cp-lrp")
    constant = relevance(lambda m, x: x.exp() / x.detach().exp().sum(-1, keepdim=True)[:, others], "cp-lrp")
    torch.testing.assert_close(written, constant)


@pytest.mark.parametrize("rules", ["attnlrp", "cp-lrp", "cp-lrp-gates", "ln-lrp", "difference"])
@table(*((name, (written, product)) for name, written, product in GATES))
def test_a_gate_is_a_gate_however_it_is_written(operation, rules):
    found, expected = (relevance(lambda m, x, f=f: f(x @ m.square, x), rules) for f in operation)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


@PRESETS
@table(
    ("by einsum", lambda e, v: torch.einsum("bqk,bkd->bqd", e, v)),
    ("values first", lambda e, v: torch.einsum("bkd,bqk->bqd", v, e)),
    ("by a product", lambda e, v: e @ v),
)
def test_exponentials_may_weigh_values_before_they_are_divided(operation, rules):
    seen = torch.ones(4, 4).tril().bool()

    def written(m, x):
        e = torch.einsum("bqd,bkd->bqk", x @ m.square, x).exp() * seen
        return operation(e, x) / torch.einsum("bqk->bq", e)[..., None]

    def fused(m, x):
        scores = torch.einsum("bqd,bkd->bqk", x @ m.square, x).masked_fill(~seen, -torch.inf)
        return torch.einsum("bqk,bkd->bqd", scores.softmax(-1), x)

    found, expected = (relevance(f, rules) for f in (written, fused))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


@PRESETS
@table(
    ("logarithm of the sum", lambda m, x: x - x.exp().sum(-1, keepdim=True).log()),
    ("of logsumexp", lambda m, x: x - x.logsumexp(-1, keepdim=True)),
    ("logarithm of the weights", lambda m, x: x.softmax(-1).log()),
)
def test_log_softmax_written_out_is_a_log_softmax(operation, rules):
    compared(operation, lambda m, x: x.log_softmax(-1), rules)


def test_logarithms_of_probabilities_have_the_relevance_of_their_logits():
    torch.manual_seed(0)
    model = Returns(lambda logits: logits).double()
    one = textlrp.propagate(model, 1, input_ids=IDS)
    model.form = lambda logits: logits.log_softmax(-1)
    other = textlrp.propagate(model, 1, input_ids=IDS)
    torch.testing.assert_close(one.relevance, other.relevance)
    assert other.ledgers[0]["softmax"] == pytest.approx(-float(one.logits[0].logsumexp(-1)))


@PRESETS
@pytest.mark.parametrize(("name", "written"), NORMS, ids=[name for name, _ in NORMS])
def test_norms_written_out_are_norms(name, written, rules):
    if name.startswith("rms"):
        compared(written, lambda m, x: F.rms_norm(x, (4,), m.row, 1e-6), rules)
    else:
        compared(written, lambda m, x: F.layer_norm(x, (4,), m.row, eps=1e-5), rules)


@PRESETS
@table(*((name, written) for name, written, _ in FUNCTIONS))
def test_activations_written_out_are_one_function(operation, rules):
    check(operation, identity(lambda x: operation(None, x)), rules=rules, bitwise=False)


@table(*((name, (written, fused)) for name, written, fused in FUNCTIONS if fused is not None))
def test_activations_written_out_have_the_gradient_of_the_whole(operation):
    rules = Rules(nonlinearity=Gradient())
    written, fused = (relevance(f, rules) for f in (operation[0], lambda m, x: operation[1](x)))
    torch.testing.assert_close(written, fused, rtol=1e-8, atol=1e-9)


@settings(max_examples=100)
@given(steps=steps_of_functions)
def test_steps_have_the_identity_rule_of_the_whole(steps):
    whole = whole_of(steps)
    check(lambda m, x: whole(x), identity(whole), bitwise=False)


@pytest.mark.parametrize("name", "gelu_new gelu_fast gelu_accurate quick_gelu gelu_10 laplace relu2".split())
def test_activations_of_transformers_are_one_function(name):
    check(lambda m, x: ACT2FN[name](x), identity(ACT2FN[name]), bitwise=False)


def silu_in_place(m, x):
    y = x * 1.0
    y.mul_(torch.sigmoid(y))
    return y


def sigmoid_in_place(m, x):
    return 1 / (-x).exp_().add_(1)


def by_a_learned_slope(m, x):
    return x * torch.sigmoid(nn.Parameter(torch.tensor(1.7, dtype=x.dtype)) * x)


@table(
    ("silu in place", silu_in_place),
    ("sigmoid in place", sigmoid_in_place),
    ("a learned slope", by_a_learned_slope),
    ("a root of the absolute value", lambda m, x: x.sign() * x.abs().sqrt()),
    ("softplus by log", lambda m, x: torch.log(1 + x.exp())),
    ("mish by log", lambda m, x: x * torch.tanh(torch.log(1 + torch.exp(x)))),
    ("absolute by a root", lambda m, x: (x * x).sqrt()),
    ("absolute by powers", lambda m, x: x.pow(2) ** 0.5),
    ("tanh by exponentials", lambda m, x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp())),
    ("relu6 by a minimum", lambda m, x: torch.minimum(F.relu(x), torch.tensor(0.5, dtype=x.dtype))),
    ("softsign", lambda m, x: x / (1 + x.abs())),
    ("hard swish", lambda m, x: x * F.relu6(x + 3) / 6),
)
def test_more_functions_written_out_are_one(operation):
    check(operation, identity(lambda x: operation(None, x)), bitwise=False)


def test_a_root_of_a_linear_map_is_a_function_of_each_element():
    """It is no statistic of a norm, which would be a constant."""
    check(
        lambda m, x: (x @ m.square).abs().sqrt(),
        lambda m, x, c: x * ((c * (x @ m.square).abs().sqrt() / (x @ m.square)) @ m.square.mT),
        bitwise=False,
    )


def test_a_function_of_what_was_overwritten_since_is_not_taken_together():
    def overwritten(m, x):
        y = x * 1.0
        gate = torch.sigmoid(y)
        y += m.row
        return y * gate

    def kept(m, x):
        return (x + m.row) * torch.sigmoid(x)

    torch.testing.assert_close(relevance(overwritten, "attnlrp"), relevance(kept, "attnlrp"))


@pytest.mark.parametrize("rules", ["attnlrp", "difference"])
def test_values_are_those_of_the_model_when_a_source_is_overwritten(rules):
    def operation(m, x):
        y = x * 1.0
        positive = y > 0
        y += m.row
        return torch.where(positive, y, 0.1 * y)

    probe = Probe(operation)
    options = {"reference": torch.zeros_like(IDS)} if rules == "difference" else {}
    found = textlrp.propagate(probe, 1, rules, input_ids=IDS, **options)
    with torch.no_grad():
        torch.testing.assert_close(found.logits, probe(IDS))


def test_close_to_zero_a_function_written_out_is_bounded():
    found = relevance(lambda m, x: 0.5 * (x * 0) * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x * 0))), "attnlrp")
    assert found.tolist() == [[0.0] * 4] * 2


def test_anchors_of_functions():
    like = torch.zeros(1, dtype=torch.float64)
    for function, expected in (
        (torch.sigmoid, (0.5, 0.25)),
        (F.gelu, (0.0, pytest.approx(0.5))),
        (lambda x: F.elu(x, 2.0), (0.0, 2.0)),
        (torch.log, (None, 0.0)),
        (torch.sign, (0.0, 0.0)),
        (lambda x: torch.clamp(x, torch.tensor(0.5)), (0.5, 0.0)),
    ):
        assert anchor(function, like, None) == expected
