"""Elementwise functions, norms, gates, softmax and attention get their rule however they are spelled."""

import math

import pytest
import reference_rules
import torch
import torch.nn.functional as F
from reference_rules import IDS, Probe
from single_operations import check, identity, table
from torch import Tensor, nn

import textlrp

# -- elementwise functions --------------------------------------------------------------------------------------------


FUNCTIONS = [
    ("gelu", F.gelu),
    ("gelu by tanh", lambda x: F.gelu(x, approximate="tanh")),
    ("silu", F.silu),
    ("mish", F.mish),
    ("torch.tanh", torch.tanh),
    ("Tensor.tanh", Tensor.tanh),
    ("Tensor.tanh_", Tensor.tanh_),
    ("sigmoid", torch.sigmoid),
    ("F.sigmoid", F.sigmoid),
    ("Tensor.sigmoid_", Tensor.sigmoid_),
    ("logsigmoid", F.logsigmoid),
    ("hardsigmoid", F.hardsigmoid),
    ("hardswish", F.hardswish),
    ("hardtanh", F.hardtanh),
    ("relu6", F.relu6),
    ("elu", lambda x: F.elu(x, 0.5)),
    ("selu", F.selu),
    ("celu", lambda x: F.celu(x, alpha=0.5)),
    ("softplus", lambda x: F.softplus(x, beta=2)),
    ("softsign", F.softsign),
    ("tanhshrink", F.tanhshrink),
    ("hardshrink", F.hardshrink),
    ("softshrink", F.softshrink),
    ("threshold", lambda x: F.threshold(x, 0.1, 2.0)),
    ("clamp", lambda x: x.clamp(-0.5, 0.5)),
    ("clamp above zero", lambda x: torch.clamp(x, min=0.25)),
    ("clip", lambda x: torch.clip(x, max=0.5)),
    ("clamp_", lambda x: x.clamp_(min=-0.5)),
    ("clamp_min", lambda x: x.clamp_min(0.1)),
    ("pow(2)", lambda x: x.pow(2)),
    ("torch.pow", lambda x: torch.pow(x, 2)),
    ("pow_", lambda x: x.pow_(2)),
    ("x ** 2", lambda x: x**2),
    ("x ** 3", lambda x: x**3),
    ("square", torch.square),
    ("Tensor.square_", Tensor.square_),
    ("exp", torch.exp),
    ("Tensor.exp_", Tensor.exp_),
    ("exp2", torch.exp2),
    ("expm1", torch.expm1),
    ("cos", torch.cos),
    ("sin", torch.sin),
    ("atan", torch.atan),
    ("asinh", torch.asinh),
    ("erf", torch.erf),
    ("special.erf", torch.special.erf),
    ("special.expit", torch.special.expit),
    ("special.ndtr", torch.special.ndtr),
    ("special.i0e", torch.special.i0e),
    ("round", torch.round),
    ("pow of a number", lambda x: torch.pow(2.0, x)),
    ("2 ** x", lambda x: 2.0**x),
    ("sign", torch.sign),
    ("prelu", lambda x: F.prelu(x, torch.tensor([0.3], dtype=x.dtype))),
]


@pytest.mark.parametrize("function", [pytest.param(function, id=name) for name, function in FUNCTIONS])
def test_elementwise_functions(function):
    posted = {"constants"} if float(function(torch.zeros(1, dtype=torch.float64))) else set()
    check(lambda m, x: function(x), identity(function), posted=posted)


MODULES = {
    "SiLU": nn.SiLU,
    "Mish": nn.Mish,
    "ELU": nn.ELU,
    "CELU": nn.CELU,
    "SELU": nn.SELU,
    "Hardtanh": nn.Hardtanh,
    "ReLU6": nn.ReLU6,
    "Hardswish": nn.Hardswish,
    "Hardsigmoid": nn.Hardsigmoid,
    "Threshold": lambda inplace: nn.Threshold(0.1, 2.0, inplace),
    "ReLU": nn.ReLU,
    "LeakyReLU": nn.LeakyReLU,
}


@pytest.mark.parametrize("used", [True, False], ids=["result used", "result dropped"])
@pytest.mark.parametrize("module", [pytest.param(cls(inplace=True), id=name) for name, cls in MODULES.items()])
def test_modules_that_write_in_place(module, used):
    def operation(m, x):
        y = module(x)
        return y if used else x

    check(operation, identity(module))


def test_an_activation_written_in_python_gets_one_rule():
    class Gelu(nn.Module):
        def forward(self, x):
            return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = Gelu()

        def forward(self, probe, x):
            return self.act(x)

    check(Wrapper(), identity(Gelu()), posted=set())


# -- statistics and norms ---------------------------------------------------------------------------------------------


def spread(x):
    return x.var(-1, unbiased=False, keepdim=True)


@table(
    ("rsqrt", lambda m, x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
    ("rsqrt of a square", lambda m, x: x * (x * x).mean(-1, keepdim=True).add(1e-6).rsqrt()),
    ("rsqrt_", lambda m, x: x * x.square().mean(-1, keepdim=True).rsqrt_()),
    ("pow(-0.5)", lambda m, x: x * x.pow(2).mean(-1, keepdim=True).pow(-0.5)),
    ("** 0.5", lambda m, x: x / (x**2).mean(-1, keepdim=True) ** 0.5),
    ("sqrt", lambda m, x: x / torch.sqrt((x**2).mean(-1, keepdim=True))),
    ("norm", lambda m, x: x / x.norm(dim=-1, keepdim=True)),
    ("vector_norm", lambda m, x: x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)),
    ("normalize", lambda m, x: F.normalize(x, dim=-1)),
    ("normalize by another power", lambda m, x: F.normalize(x, p=1.0, dim=1, eps=0.5)),
    ("rms_norm", lambda m, x: F.rms_norm(x, (4,), m.row, 1e-3)),
    ("rms_norm of keywords", lambda m, x: F.rms_norm(input=x, normalized_shape=(4,), weight=m.row, eps=None)),
    ("sum", lambda m, x: x / x.abs().sum(-1, keepdim=True)),
    ("div_", lambda m, x: x.div_(x.detach().clone().abs().sum(-1, keepdim=True))),
)
def test_a_scale_computed_from_activations_is_a_constant(operation):
    check(operation, lambda m, x, c: operation(m, x.clone()) * c, posted=set(), bitwise=False)


@table(
    ("layer_norm", lambda m, x: F.layer_norm(x, (4,))),
    ("layer_norm of keywords", lambda m, x: F.layer_norm(input=x, normalized_shape=[4], eps=1e-5)),
    ("torch.layer_norm", lambda m, x: torch.layer_norm(x, (4,))),
    ("var", lambda m, x: (x - x.mean(-1, keepdim=True)) / (spread(x) + 1e-5).sqrt()),
    ("std", lambda m, x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True, correction=0) ** 2 + 1e-5) ** 0.5),
    ("rsqrt", lambda m, x: (x - x.mean(-1, keepdim=True)) * torch.rsqrt(spread(x) + 1e-5)),
)
def test_layer_norm_in_many_spellings(operation):
    def rows(m, x, c):
        y = F.layer_norm(x, (4,))
        return torch.stack(
            [
                torch.stack([reference_rules.layer_norm(x[b, t], None, None, 1e-5, (y * c)[b, t])[0] for t in range(4)])
                for b in (0, 1)
            ]
        )

    check(operation, rows, posted=set())


def test_the_shift_of_a_layer_norm_is_a_norm():
    check(
        lambda m, x: F.layer_norm(x, (4,), m.row, m.other),
        lambda m, x, c: torch.stack(
            [
                torch.stack(
                    [
                        reference_rules.layer_norm(
                            x[b, t], m.row, m.other, 1e-5, (F.layer_norm(x, (4,), m.row, m.other) * c)[b, t]
                        )[0]
                        for t in range(4)
                    ]
                )
                for b in (0, 1)
            ]
        ),
        posted={"norms"},
    )


# -- gates, softmax, attention ----------------------------------------------------------------------------------------


def gate_shares(m, x, c):
    """``a sigmoid(b)``: half to ``a``, half to the sigmoid, which gives the excess over its ``1/2`` to ``b``."""
    a, b = x.chunk(2, -1)
    half = a * b.sigmoid() * c / 2
    return torch.cat([half, half * (b.sigmoid() - 0.5) / b.sigmoid()], -1)


@table(
    ("glu", lambda m, x: F.glu(x)),
    ("glu along", lambda m, x: F.glu(x, dim=-1)),
    ("product", lambda m, x: x[..., :2] * x[..., 2:].sigmoid()),
    ("in place", lambda m, x: x[..., 2:].sigmoid().mul_(x[..., :2])),
    ("module", lambda m, x: nn.GLU()(x)),
)
def test_gated_linear_units(operation):
    check(operation, gate_shares, posted={"constants"})


@table(
    ("F.softmax", lambda m, x: F.softmax(x, -1)),
    ("F.softmax by keyword", lambda m, x: F.softmax(x, dim=-1)),
    ("F.softmax of a dtype", lambda m, x: F.softmax(x, dim=-1, dtype=torch.float64)),
    ("torch.softmax", lambda m, x: torch.softmax(x, -1)),
    ("torch.softmax of keywords", lambda m, x: torch.softmax(input=x, dim=-1)),
    ("Tensor.softmax", lambda m, x: x.softmax(-1)),
    ("nn.Softmax", lambda m, x: nn.Softmax(-1)(x)),
    ("special.softmax", lambda m, x: torch.special.softmax(x, -1)),
    ("along time", lambda m, x: x.mT.softmax(2 - 3).mT.mT.mT),
)
def test_softmax(operation):
    along_time = "mT" in operation.__code__.co_names

    def rows(m, x, c):
        if along_time:
            x, c = x.mT, c.mT
        r = x.softmax(-1) * c
        received = torch.stack(
            [torch.stack([reference_rules.softmax(x[b, t], r[b, t])[0] for t in range(4)]) for b in (0, 1)]
        )
        return received.mT if along_time else received

    check(operation, rows, posted={"softmax"})


def test_a_frozen_softmax_gets_nothing():
    propagation = check(lambda m, x: x + F.softmax(x, -1), lambda m, x, c: x * c, rules="cp-lrp", posted={"constants"})
    assert propagation.ledgers[0]["softmax"] == 0.0


ATTENTIONS = [
    ("plain", lambda m, x: F.scaled_dot_product_attention(x, x, x), {}),
    ("causal", lambda m, x: F.scaled_dot_product_attention(x, x, x, is_causal=True), {}),
    ("scaled", lambda m, x: F.scaled_dot_product_attention(x, x, x, scale=0.7), {"scale": 0.7}),
    ("positional mask", lambda m, x: F.scaled_dot_product_attention(x, x, x, m.mask.expand(4, 4)), {}),
    (
        "additive mask",
        lambda m, x: F.scaled_dot_product_attention(
            x, x, x, attn_mask=torch.zeros(4, 4, dtype=x.dtype).masked_fill(~m.mask, -torch.inf)
        ),
        {},
    ),
    (
        "lowest mask",
        lambda m, x: F.scaled_dot_product_attention(
            query=x,
            key=x,
            value=x,
            attn_mask=torch.zeros(4, 4, dtype=x.dtype).masked_fill(~m.mask, torch.finfo(x.dtype).min),
        ),
        {},
    ),
    ("step by step", lambda m, x: (x @ x.mT / 2).softmax(-1) @ x, {}),
    (
        "step by step, masked",
        lambda m, x: (x @ x.mT / 2).masked_fill(~m.mask, -torch.inf).softmax(-1) @ x,
        {},
    ),
    ("step by step, causal", lambda m, x: ((x @ x.mT / 2) + causal_mask(x)).softmax(-1) @ x, {}),
    (
        "by einsum",
        lambda m, x: torch.einsum("bij,bjd->bid", (torch.einsum("bid,bjd->bij", x, x) / 2).softmax(-1), x),
        {},
    ),
    ("heads", lambda m, x: F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None]).squeeze(1), {}),
]


def causal_mask(x):
    return torch.full((4, 4), torch.finfo(x.dtype).min, dtype=x.dtype).triu(1)


def mask_of(name):
    if "causal" in name:
        return torch.ones(4, 4, dtype=torch.bool).tril()
    return (torch.arange(4) % 2 == 0).expand(4, 4) if "mask" in name else None


@pytest.mark.parametrize("rules", ["attnlrp", "cp-lrp"])
@pytest.mark.parametrize(("name", "operation", "options"), ATTENTIONS, ids=[name for name, _, _ in ATTENTIONS])
def test_attention(name, operation, options, rules):
    mask, scale = mask_of(name), options.get("scale", 0.5)

    def rows(m, x, c):
        received = []
        for a, k in zip(x, c, strict=True):
            scores = scale * a @ a.T
            weights = (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1)
            relevance = weights @ a * k
            if rules == "cp-lrp":
                received.append(reference_rules.frozen_attention(weights, a, relevance))
            else:
                received.append(sum(reference_rules.attention(a, a, a, mask, scale, relevance)[:3]))
        return torch.stack(received)

    propagation = check(operation, rows, rules=rules, posted={"softmax"} if rules == "attnlrp" else set())
    assert propagation.ledgers[0].tolerance == 1e-9


def test_a_bias_in_the_attention_mask_gets_its_row():
    def operation(m, x):
        return F.scaled_dot_product_attention(x, x, x, attn_mask=m.square)

    by_hand = Probe(lambda m, x: (x @ x.mT / 2 + m.square).softmax(-1) @ x)
    actual, expected = (textlrp.propagate(p, 1, input_ids=IDS) for p in (Probe(operation), by_hand))
    torch.testing.assert_close(actual.relevance, expected.relevance, rtol=1e-9, atol=1e-10)
    for left, right in zip(actual.ledgers, expected.ledgers, strict=True):
        assert dict(left) == pytest.approx(dict(right), abs=1e-9)
        assert abs(left["constants"]) > 1e-3


@pytest.mark.parametrize("rules", ["attnlrp", "cp-lrp"])
def test_grouped_queries(rules):
    """Two heads of queries share one of keys and values: the same as repeating it."""

    def grouped(m, x):
        q = x.view(2, 4, 2, 2).transpose(1, 2)
        return F.scaled_dot_product_attention(q, q[:, :1], q[:, :1] * 2, enable_gqa=True).transpose(1, 2).flatten(2)

    def repeated(m, x):
        q = x.view(2, 4, 2, 2).transpose(1, 2)
        k, v = q[:, :1].repeat(1, 2, 1, 1), (q[:, :1] * 2).repeat(1, 2, 1, 1)
        return ((q @ k.mT / math.sqrt(2)).softmax(-1) @ v).transpose(1, 2).flatten(2)

    actual, expected = (textlrp.propagate(Probe(o), 0, rules, input_ids=IDS) for o in (grouped, repeated))
    torch.testing.assert_close(actual.relevance, expected.relevance, rtol=1e-9, atol=1e-10)


def test_an_expert_that_no_token_was_sent_to_changes_nothing():
    def with_idle_expert(m, x):
        none = torch.zeros(x.shape[:-1], dtype=torch.bool)
        idle = F.silu(x[none]) * torch.ones(0, 1, dtype=x.dtype)
        return x.flatten(0, 1).index_add(0, torch.zeros(0, dtype=torch.long), idle).view_as(x)

    found = [
        textlrp.propagate(Probe(operation), 1, input_ids=IDS) for operation in (with_idle_expert, lambda m, x: x * 1.0)
    ]
    torch.testing.assert_close(found[0].relevance, found[1].relevance)
    assert all(ledger.balanced for ledger in found[0].ledgers)
