"""Functions that a model writes out in Python have the relevance of the same functions fused."""

from __future__ import annotations

import math
from functools import reduce

import pytest
import torch
import torch.nn.functional as F
from difference_probes import DISTANCES, measured, multipliers, pairs_of_texts, table
from hypothesis import given, settings
from hypothesis import strategies as st

import textlrp


def compared(written, fused, scale=1.0, distances=DISTANCES):
    """The multipliers of a function that is written out and of the fused one, for pairs of texts of six distances."""
    found = [
        multipliers(*pairs_of_texts(operation, scale=scale, distances=distances)) for operation in (written, fused)
    ]
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-7, atol=1e-9 * scale)
    torch.testing.assert_close(found[0][0].relevance, found[1][0].relevance, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[0][0].reference_logits, found[1][0].reference_logits, rtol=1e-9, atol=1e-10)
    return found[0]


# -- softmax ----------------------------------------------------------------------------------------------------------


def shares(e, **options):
    return e / e.sum(-1, keepdim=True, **options)


def shifted(x):
    return x - x.max(-1, keepdim=True).values


def without_last(x):
    return x.masked_fill(torch.tensor([False, False, False, True]), -torch.inf)


def with_sink(x, sink):
    return torch.cat([x, torch.full_like(x[..., :1], sink)], -1).softmax(-1)[..., :-1]


def exponential_in_place(m, x):
    e = shifted(x).exp_()
    return e / e.sum(-1, keepdim=True)


def all_in_place(m, x):
    e = x - x.detach().amax(-1, keepdim=True)
    e.exp_()
    e /= e.sum(-1, keepdim=True)
    return e


def masked_in_place(m, x):
    e = x.exp()
    e.mul_(torch.tensor([1.0, 1, 1, 0], dtype=x.dtype))
    return e.div_(e.sum(-1, keepdim=True))


def bounded(m, x):
    e = shifted(x).exp()
    return e / e.sum(-1, keepdim=True).clamp(min=1e-9)


def of_exp(function):
    return lambda m, x: function(x.exp())


def fused(m, x):
    return x.softmax(-1)


SOFTMAX = [
    ("exponentials over their sum", of_exp(shares), fused),
    ("shifted by the maximum", lambda m, x: shares(shifted(x).exp()), fused),
    ("shifted by amax", lambda m, x: shares(torch.exp(x - x.amax(-1, True))), fused),
    (
        "shifted by a detached maximum",
        lambda m, x: shares((x - x.detach().amax(-1, keepdim=True)).exp()),
        fused,
    ),
    ("two exponentials", lambda m, x: x.exp() / x.exp().sum(-1).unsqueeze(-1), fused),
    ("exponential in place", exponential_in_place, fused),
    ("all in place", all_in_place, fused),
    ("masked in place", masked_in_place, lambda m, x: without_last(x).softmax(-1)),
    ("expanded", of_exp(lambda e: e / e.sum(-1, True).expand(-1, -1, 4)), fused),
    (
        "bounded",
        bounded,
        fused,
    ),
    (
        "masked by where",
        lambda m, x: shares(torch.where(torch.tensor([True, True, True, False]), x.exp(), 0.0)),
        lambda m, x: without_last(x).softmax(-1),
    ),
    (
        "without keepdim, one exponential",
        of_exp(lambda e: e / e.sum(-1)[..., None]),
        fused,
    ),
    (
        "torch.div",
        of_exp(lambda e: torch.div(e, torch.sum(e, dim=-1, keepdim=True))),
        fused,
    ),
    ("over time", of_exp(lambda e: e / e.sum(1, keepdim=True)), lambda m, x: x.softmax(1)),
    ("over [-1]", of_exp(lambda e: e / e.sum([-1], keepdim=True)), fused),
    (
        "masked by zeros",
        lambda m, x: shares(x.exp() * torch.tensor([1.0, 1, 1, 0], dtype=x.dtype)),
        lambda m, x: without_last(x).softmax(-1),
    ),
    (
        "masked by masked_fill",
        lambda m, x: shares(x.exp().masked_fill(torch.tensor([False, False, False, True]), 0.0)),
        lambda m, x: without_last(x).softmax(-1),
    ),
    ("weighted", lambda m, x: shares(x.exp() * m.row), lambda m, x: (x + m.row.log()).softmax(-1)),
    (
        "one more in the sum",
        of_exp(lambda e: e / (1 + e.sum(-1, keepdim=True))),
        lambda m, x: with_sink(x, 0.0),
    ),
    (
        "a little more in the sum",
        of_exp(lambda e: e / (e.sum(-1, keepdim=True) + 1e-6)),
        lambda m, x: with_sink(x, math.log(1e-6)),
    ),
    (
        "a sink",
        lambda m, x: (lambda e: e / (e.sum(-1, keepdim=True) + x[:, :1, :1].exp()))(x.exp()),
        lambda m, x: torch.cat([x, x[:, :1, :1].expand(-1, 4, 1)], -1).softmax(-1)[..., :-1],
    ),
    ("in float64", lambda m, x: shares(x.double().exp()).to(x.dtype), fused),
]


@pytest.mark.parametrize("scale", [1.0, 30.0])
@table(*SOFTMAX)
def test_softmax_written_out_is_a_softmax(row, scale):
    _, written, expected = row
    compared(written, expected, scale)


@table(
    ("logarithm of the sum", lambda m, x: x - x.exp().sum(-1, keepdim=True).log(), lambda m, x: x.log_softmax(-1)),
    ("of logsumexp", lambda m, x: x - x.logsumexp(-1, keepdim=True), lambda m, x: x.log_softmax(-1)),
    ("logarithm of the weights", lambda m, x: x.softmax(-1).log(), lambda m, x: x.log_softmax(-1)),
)
def test_log_softmax_written_out_obeys_the_law(row):
    name, written, expected = row
    found = measured(*pairs_of_texts(written))
    torch.testing.assert_close(found.logits, measured(*pairs_of_texts(expected)).logits, rtol=1e-10, atol=1e-10)
    if name != "logarithm of the sum":  # the logarithm's secant is the logarithmic mean of two sums, not of weights
        compared(written, expected)


# -- norms ------------------------------------------------------------------------------------------------------------


def centered(x):
    return x - x.mean(-1, keepdim=True)


NORMS = [
    ("rms norm", lambda m, x: x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt() * m.row),
    ("rms norm by a quotient", lambda m, x: m.row * (x / ((x * x).mean(-1, keepdim=True) + 1e-6).sqrt())),
    ("rms norm by a power", lambda m, x: m.row * x * (x.square().mean(-1, keepdim=True) + 1e-6) ** -0.5),
    ("rms norm by the length", lambda m, x: m.row * x / (x.norm(dim=-1, keepdim=True) / 2).square().add(1e-6).sqrt()),
    ("layer norm", lambda m, x: centered(x) * (centered(x).pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt() * m.row),
    ("layer norm by var", lambda m, x: centered(x) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt() * m.row),
    (
        "layer norm by var_mean",
        lambda m, x: centered(x) / torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-5) * m.row,
    ),
]


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@table(*NORMS)
def test_norms_written_out_are_norms(row, scale):
    name, written = row
    if name.startswith("rms"):
        compared(written, lambda m, x: F.rms_norm(x, (4,), m.row, 1e-6), scale)
    else:
        compared(written, lambda m, x: F.layer_norm(x, (4,), m.row, eps=1e-5), scale)


# -- functions of each element ----------------------------------------------------------------------------------------

ROOT = math.sqrt(2 / math.pi)
FUNCTIONS = [
    ("gelu", lambda m, x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))), F.gelu),
    (
        "tanh gelu",
        lambda m, x: 0.5 * x * (1.0 + torch.tanh(ROOT * (x + 0.044715 * torch.pow(x, 3.0)))),
        lambda x: F.gelu(x, approximate="tanh"),
    ),
    ("quick gelu", lambda m, x: x * torch.sigmoid(1.702 * x), lambda x: F.silu(1.702 * x) / 1.702),
    ("silu", lambda m, x: x * torch.sigmoid(x), F.silu),
    ("silu by exp", lambda m, x: x / (1 + torch.exp(-x)), F.silu),
    ("mish", lambda m, x: x * torch.tanh(F.softplus(x)), F.mish),
    ("mish by exp", lambda m, x: x * torch.tanh(torch.log1p(torch.exp(x))), F.mish),
    ("soft capping", lambda m, x: torch.tanh(x / 30.0) * 30.0, None),
    ("squared relu", lambda m, x: F.relu(x) ** 2, None),
    ("squared relu by a product", lambda m, x: F.relu(x) * F.relu(x), None),
    ("sigmoid by exp", lambda m, x: 1 / (1 + (-x).exp()), torch.sigmoid),
    ("tanh by sigmoid", lambda m, x: 2 * torch.sigmoid(2 * x) - 1, torch.tanh),
    ("softplus by log1p", lambda m, x: torch.log1p(x.exp()), F.softplus),
    ("elu by where", lambda m, x: torch.where(x > 0, x, torch.expm1(x)), F.elu),
    ("leaky relu by a maximum", lambda m, x: torch.maximum(x, 0.2 * x), lambda x: F.leaky_relu(x, 0.2)),
    ("relu by a condition", lambda m, x: x * (x > 0), F.relu),
    ("absolute by where", lambda m, x: torch.where(x < 0, -x, x), torch.abs),
    ("a root", lambda m, x: (x * x + 1).sqrt() - 1, None),
]


def secant_of(function):
    """The multipliers of a function of each element, by its definition."""

    def found(x, r, c):
        d = x - r
        near = d.abs() < 1e-5
        middle = ((x + r) / 2).requires_grad_()
        (slope,) = torch.autograd.grad(function(middle).sum(), middle)
        return c * torch.where(near, slope, (function(x) - function(r)) / torch.where(near, 1.0, d))

    return found


@table(*FUNCTIONS)
def test_activations_written_out_are_one_function(row):
    _, written, fused = row
    found, c_x, x, r = multipliers(*pairs_of_texts(written, distances=DISTANCES))
    probe, _, _ = pairs_of_texts(written, distances=DISTANCES)
    c = probe.head.weight[1].detach().view(4, 4)
    expected = secant_of(lambda at: written(probe, at))(x, r, c)
    corners = "relu" in row[0] or "absolute" in row[0]
    smooth = (x - r).abs() >= 1e-5 if corners else torch.ones_like(x, dtype=torch.bool)
    torch.testing.assert_close(c_x[smooth], expected[smooth], rtol=1e-7, atol=1e-7)
    if fused is not None:
        whole, _, _, _ = multipliers(*pairs_of_texts(lambda m, x: fused(x), distances=DISTANCES))
        torch.testing.assert_close(found.relevance, whole.relevance, rtol=1e-9, atol=1e-9)


STEPS = {
    "add": lambda y, x, a: y + a,
    "subtract from": lambda y, x, a: a - y,
    "scale": lambda y, x, a: y * a,
    "divide": lambda y, x, a: y / (1.5 + abs(a)),
    "tanh": lambda y, x, a: y.tanh(),
    "sigmoid": lambda y, x, a: torch.sigmoid(y),
    "gelu": lambda y, x, a: F.gelu(y),
    "softplus": lambda y, x, a: F.softplus(y),
    "sine": lambda y, x, a: (a * y).sin(),
    "arctangent": lambda y, x, a: y.atan(),
    "error function": lambda y, x, a: torch.erf(y),
    "bounded power": lambda y, x, a: torch.tanh(y) ** 3,
    "root": lambda y, x, a: (y * y + 1).sqrt(),
    "reciprocal": lambda y, x, a: 1 / (1 + y.square()),
    "add the start": lambda y, x, a: y + a * x,
    "times the start": lambda y, x, a: y * x.tanh(),
    "over the start": lambda y, x, a: y / (2 + x.sigmoid()),
    "times itself": lambda y, x, a: y.tanh() * y.sigmoid(),
}


@settings(max_examples=60)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(sorted(STEPS)), st.floats(-1.5, 1.5, allow_nan=False).map(lambda a: round(a, 2))),
        min_size=1,
        max_size=6,
    ),
    seed=st.integers(0, 1000),
)
def test_chains_of_functions_have_the_secant_of_the_whole(steps, seed):
    def whole(x):
        return reduce(lambda y, step: STEPS[step[0]](y, x, step[1]), steps, x)

    probe, ids, other = pairs_of_texts(lambda m, x: whole(x), distances=(None, 1e-3, 0.0, "mixed"), seed=seed)
    _, c_x, x, r = multipliers(probe, ids, other)
    c = probe.head.weight[1].detach().view(4, 4)
    torch.testing.assert_close(c_x, secant_of(whole)(x, r, c), rtol=1e-6, atol=1e-6)


def test_a_constant_of_one_entry_adds_no_dimensions():
    """A text of one id has one attention score, and a mask of one entry."""

    class OneScore(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.table, self.head = torch.nn.Embedding(8, 1), torch.nn.Linear(1, 3)

        def forward(self, input_ids):
            x = self.table(input_ids)
            kept = torch.where(torch.ones(1, 1, 1, 1, dtype=torch.bool), x[None], torch.full((1, 1, 1, 1), -9.0))
            return self.head(
                torch.where(kept > 5, kept, kept.masked_fill(torch.zeros(1, 1, 1, dtype=torch.bool), 0.0))[0, 0]
            )

    found = textlrp.propagate(OneScore(), 1, "difference", input_ids=torch.tensor([[3]]), reference=torch.tensor([[4]]))
    (ledger,) = found.ledgers
    assert ledger["tokens"] == pytest.approx(float(found.logits[0, 1] - found.reference_logits[0, 1]), rel=1e-5)


def test_a_product_of_a_square_matrix_with_itself_is_no_function_of_each_element():
    """Its result has the shape of its only source, but each entry depends on a row and a column."""

    class Squared(torch.nn.Module):
        def __init__(self, activate):
            super().__init__()
            torch.manual_seed(0)
            self.table, self.head = torch.nn.Embedding(16, 4), torch.nn.Linear(4, 3)
            self.activate = activate

        def forward(self, input_ids):
            x = self.table(input_ids)
            return self.head(self.activate(x @ x).mean(1))

    ids, others = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[1, 9, 8, 4]])
    written, fused = (
        textlrp.propagate(Squared(activate).double(), 1, "difference", input_ids=ids, reference=others)
        for activate in (lambda x: torch.where(x > 0, x, 0.1 * x), lambda x: F.leaky_relu(x, 0.1))
    )
    torch.testing.assert_close(written.relevance, fused.relevance, rtol=1e-9, atol=1e-12)
