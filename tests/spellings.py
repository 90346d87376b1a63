"""Softmax, norms and activations as models write them out, beside the same functions of torch."""

from __future__ import annotations

import math
from functools import reduce

import torch
import torch.nn.functional as F
from hypothesis import strategies as st


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


def exponential_of_a_copy(m, x):
    e = x.clone().exp_()
    return e / e.sum(-1, keepdim=True)


def by_column(m, x):
    e = x.exp().transpose(1, 2)
    return (e / e.sum(1, keepdim=True)).transpose(1, 2)


def by_first_dimension(m, x):
    e = x.exp().permute(2, 0, 1)
    return (e / e.sum(0)).permute(1, 2, 0)


def less_the_maximum(m, x):
    largest = x.amax(-1, keepdim=True)
    return (x - (largest + (x - largest).exp().sum(-1, keepdim=True).log())).exp()


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
    ("shifted twice", lambda m, x: shifted(x).exp() / shifted(x).exp().sum(-1, keepdim=True), fused),
    ("less the logarithm of the sum", lambda m, x: (x - x.logsumexp(-1, keepdim=True)).exp(), fused),
    ("less that logarithm in steps", lambda m, x: (x - x.exp().sum(-1, keepdim=True).log()).exp(), fused),
    ("times the reciprocal of the sum", of_exp(lambda e: e * e.sum(-1, keepdim=True).reciprocal()), fused),
    ("times one over the sum", of_exp(lambda e: (1 / e.sum(-1, keepdim=True)) * e), fused),
    ("times the sum to the power of -1", of_exp(lambda e: e * e.sum(-1, keepdim=True) ** -1), fused),
    ("powers of two", lambda m, x: shares(torch.exp2(x / math.log(2))), fused),
    ("powers of e", lambda m, x: shares(math.e**x), fused),
    ("powers of three", lambda m, x: shares(torch.pow(3.0, x)), lambda m, x: (x * math.log(3)).softmax(-1)),
    ("summed by einsum", of_exp(lambda e: e / torch.einsum("bij->bi", e)[..., None]), fused),
    ("summed by a product with ones", of_exp(lambda e: e / (e @ torch.ones(4, 1, dtype=e.dtype))), fused),
    ("of log-softmax", lambda m, x: x.log_softmax(-1).exp(), fused),
    ("over an axis", of_exp(lambda e: e / e.sum(axis=-1, keepdim=True)), fused),
    ("exponential of a copy in place", exponential_of_a_copy, fused),
    ("transposed", by_column, fused),
    ("first dimension last", by_first_dimension, fused),
    ("reshaped", lambda m, x: shares(x.exp().reshape(-1, 4)).view_as(x), fused),
    ("exponentials cast", lambda m, x: shares(x.exp().to(torch.float64)), fused),
    (
        "bounded by a tensor",
        of_exp(lambda e: e / torch.maximum(e.sum(-1, keepdim=True), torch.tensor(1e-9, dtype=e.dtype))),
        fused,
    ),
    ("over the length of 1", of_exp(lambda e: e / e.norm(p=1, dim=-1, keepdim=True)), fused),
    ("less the logarithm and the maximum", less_the_maximum, fused),
    ("by F.normalize", of_exp(lambda e: F.normalize(e, p=1, dim=-1)), fused),
]


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
    ("gelu with ones", lambda m, x: 0.5 * x * (torch.ones_like(x) + torch.erf(x / math.sqrt(2))), F.gelu),
    ("relu by a maximum with zeros", lambda m, x: torch.maximum(x, torch.zeros_like(x)), F.relu),
    ("relu by where and zeros", lambda m, x: torch.where(x > 0, x, torch.zeros_like(x)), F.relu),
    (
        "hard tanh with ones",
        lambda m, x: torch.max(torch.min(x, torch.ones_like(x) * 0.5), -x.new_full(x.shape, 0.5)),
        lambda x: F.hardtanh(x, -0.5, 0.5),
    ),
    ("a square by a tensor", lambda m, x: x ** torch.tensor(2), torch.square),
    ("a root", lambda m, x: (x * x + 1).sqrt() - 1, None),
]


GATES = [
    ("a quotient", lambda a, b: a / (1 + torch.exp(-b)), lambda a, b: a * torch.sigmoid(b)),
    ("a quotient of a tensor", lambda a, b: torch.div(a, (-b).exp().add(1)), lambda a, b: a * torch.sigmoid(b)),
    ("einsum", lambda a, b: torch.einsum("bti,bti->bti", a, F.silu(b)), lambda a, b: a * F.silu(b)),
    ("a quotient by a root", lambda a, b: a / (b * b + 1).sqrt(), lambda a, b: a * (b * b + 1).rsqrt()),
]


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


steps_of_functions = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), st.floats(-1.5, 1.5, allow_nan=False).map(lambda a: round(a, 2))),
    min_size=1,
    max_size=6,
)


def whole_of(steps):
    """The function of each element that some steps make."""
    return lambda x: reduce(lambda y, step: STEPS[step[0]](y, x, step[1]), steps, x)
