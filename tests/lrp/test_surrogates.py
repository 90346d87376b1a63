"""Each surrogate against its twin, and one law for all: relevance is neither made nor lost."""

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import reference_rules
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from textlrp import rules
from textlrp.lrp import attention as fused
from textlrp.lrp import elementwise as elementwise_rules
from textlrp.lrp import lookup, norms, products, surrogate, writes
from textlrp.lrp import softmax as softmax_rules
from textlrp.lrp.linear_rules import Redistribution
from textlrp.lrp.postings import Postings

CPU = {"max_examples": 15, "deadline": None}


def total(postings):
    return sum(float(row.sum()) for row in postings.rows().values())


def leaf(x):
    return x.detach().clone().requires_grad_()


# -- the law ----------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """How to call a surrogate on inputs of random sizes: `call(inputs, postings)` returns its output."""

    name: str
    inputs: Any
    call: Any
    value: Any

    def __repr__(self):
        return self.name


def elementwise(function, at_zero, slope):
    return lambda s, postings: elementwise_rules.Identity.apply(s.x, function(s.x.detach()), at_zero, slope, postings)


def attention(s, postings, mask=None, **options):
    root = torch.zeros((), dtype=torch.float64, requires_grad=True)
    parts = [fused.AttentionPart(True, *rest) for rest in ((0.25, -1, 0.0), (0.25, -1, 0.0), (0.5, 1, 0.0))]
    q, k, v = fused.AttentionInputs.apply(s.q, s.k, s.v, root, parts, postings)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **options)


def frozen_attention(s, postings, mask=None, causal=False):
    with torch.no_grad():
        y = F.scaled_dot_product_attention(s.q, s.k, s.v, mask, is_causal=causal, enable_gqa=True)
    scale = 1 / math.sqrt(s.q.shape[-1])
    return fused.FrozenAttention.apply(s.v, y, s.q.detach(), s.k.detach(), mask, causal, scale)


def some_seen(s):
    """A mask in which each query sees at least the first key."""
    mask = torch.arange(s.k.shape[-2]) % 2 == 0
    return mask.expand(s.q.shape[-2], -1)


def one(random, batch, time, width):
    return {"x": random(batch, time, width)}


def pair(random, batch, time, width):
    return {"x": random(batch, time, width), "y": random(batch, width, time + 1)}


def pair_of_which_one_is_shared(random, batch, time, width):
    return {"x": random(batch, time, width), "y": random(width, 2)}


def heads(random, batch, time, width):
    return {"q": random(batch, 2, time, width), "k": random(batch, 2, time, width), "v": random(batch, 2, time, 3)}


def grouped_heads(random, batch, time, width):
    return {"q": random(batch, 4, time, width), "k": random(batch, 2, time, width), "v": random(batch, 2, time, width)}


def norm(random, batch, time, width):
    return {"x": random(batch, time, width), "constants": (random(width).detach(), random(width).detach())}


def mapped(random, batch, time, width):
    return {"x": random(batch, time, width), "constants": (random(width, width).detach(), random(width).detach())}


def redistributed(rule):
    def call(s, postings):
        weight, bias = s.constants
        return Redistribution.apply(s.x, lambda x: F.linear(x, weight, bias), F.linear, weight, bias, rule, postings)

    return call


LAW = [
    Case("lookup", one, lambda s, postings: s.x.clone(), lambda s: s.x),
    Case("gelu", one, elementwise(F.gelu, 0.0, 0.5), lambda s: F.gelu(s.x)),
    Case("sigmoid", one, elementwise(torch.sigmoid, 0.5, 0.25), lambda s: s.x.sigmoid()),
    Case("exp", one, elementwise(torch.exp, 1.0, 1.0), lambda s: s.x.exp()),
    Case("square", one, lambda s, postings: elementwise_rules.Square.apply(s.x, s.x.detach() ** 2), lambda s: s.x**2),
    Case(
        "softmax",
        one,
        lambda s, postings: softmax_rules.TaylorSoftmax.apply(s.x, s.x.detach().softmax(-1), -1, postings),
        lambda s: s.x.softmax(-1),
    ),
    Case(
        "uniform softmax",
        one,
        lambda s, postings: softmax_rules.UniformSoftmax.apply(s.x, s.x.detach().softmax(-1), -1, postings),
        lambda s: s.x.softmax(-1),
    ),
    Case(
        "softmax over time",
        one,
        lambda s, postings: softmax_rules.TaylorSoftmax.apply(s.x, s.x.detach().softmax(1), 1, postings),
        lambda s: s.x.softmax(1),
    ),
    Case(
        "layer norm",
        norm,
        lambda s, postings: norms.LayerNorm.apply(s.x, s.x.shape[-1:], *s.constants, 1e-5, postings),
        lambda s: F.layer_norm(s.x, s.x.shape[-1:], *s.constants),
    ),
    Case(
        "layer norm without weight and bias",
        one,
        lambda s, postings: norms.LayerNorm.apply(s.x, s.x.shape[-1:], None, None, 1e-5, postings),
        lambda s: F.layer_norm(s.x, s.x.shape[-1:]),
    ),
    Case(
        "layer norm of two dimensions",
        one,
        lambda s, postings: norms.LayerNorm.apply(s.x, s.x.shape[-2:], None, s.x.detach()[0] + 1, 1e-5, postings),
        lambda s: F.layer_norm(s.x, s.x.shape[-2:], None, s.x.detach()[0] + 1),
    ),
    Case("matmul", pair, lambda s, postings: products.Matmul.apply(s.x, s.y), lambda s: s.x @ s.y),
    Case(
        "matmul with broadcasting",
        pair_of_which_one_is_shared,
        lambda s, postings: products.Matmul.apply(s.x, s.y),
        lambda s: s.x @ s.y,
    ),
    Case("attention", heads, attention, lambda s: F.scaled_dot_product_attention(s.q, s.k, s.v)),
    Case(
        "causal attention",
        heads,
        lambda s, postings: attention(s, postings, is_causal=True),
        lambda s: F.scaled_dot_product_attention(s.q, s.k, s.v, is_causal=True),
    ),
    Case(
        "masked attention",
        heads,
        lambda s, postings: attention(s, postings, some_seen(s)),
        lambda s: F.scaled_dot_product_attention(s.q, s.k, s.v, some_seen(s)),
    ),
    Case(
        "grouped attention",
        grouped_heads,
        lambda s, postings: attention(s, postings, enable_gqa=True),
        lambda s: F.scaled_dot_product_attention(s.q, s.k, s.v, enable_gqa=True),
    ),
    Case("stand-in", one, lambda s, postings: surrogate.StandIn.apply(s.x * 2, s.x.detach() * 2), lambda s: s.x * 2),
    Case("frozen attention", heads, frozen_attention, lambda s: F.scaled_dot_product_attention(s.q, s.k, s.v)),
    Case(
        "frozen causal attention",
        heads,
        lambda s, postings: frozen_attention(s, postings, causal=True),
        lambda s: F.scaled_dot_product_attention(s.q, s.k, s.v, is_causal=True),
    ),
    Case(
        "frozen masked attention",
        heads,
        lambda s, postings: frozen_attention(s, postings, some_seen(s)),
        lambda s: F.scaled_dot_product_attention(s.q, s.k, s.v, some_seen(s)),
    ),
    Case(
        "frozen grouped attention",
        grouped_heads,
        frozen_attention,
        lambda s: F.scaled_dot_product_attention(s.q, s.k, s.v, enable_gqa=True),
    ),
    Case(
        "rms norm",
        norm,
        lambda s, postings: norms.RMSNorm.apply(s.x, s.x.shape[-1:], s.constants[0], 1e-6),
        lambda s: F.rms_norm(s.x, s.x.shape[-1:], s.constants[0], 1e-6),
    ),
    Case(
        "rms norm without weight and epsilon",
        one,
        lambda s, postings: norms.RMSNorm.apply(s.x, s.x.shape[-1:], None, None),
        lambda s: F.rms_norm(s.x, s.x.shape[-1:]),
    ),
    Case(
        "plain gradient",
        one,
        lambda s, postings: elementwise_rules.PlainGradient.apply(s.x, F.gelu, postings),
        lambda s: F.gelu(s.x),
    ),
    Case(
        "plain norm",
        norm,
        lambda s, postings: norms.PlainNorm.apply(s.x, lambda x: F.layer_norm(x, x.shape[-1:], *s.constants), postings),
        lambda s: F.layer_norm(s.x, s.x.shape[-1:], *s.constants),
    ),
    *(
        Case(repr(rule), mapped, redistributed(rule), lambda s: F.linear(s.x, *s.constants))
        for rule in (rules.Gamma(), rules.ZPlus(), rules.AlphaBeta(), rules.WSquare(), rules.Flat(), rules.Pass())
    ),
]


@pytest.mark.parametrize("case", LAW, ids=repr)
@settings(**CPU)
@given(
    batch=st.integers(1, 3),
    time=st.integers(1, 4),
    width=st.integers(1, 5),
    scale=st.sampled_from([1e-6, 1e-2, 1.0, 30.0]),
    seed=st.integers(0, 2**31),
)
def test_relevance_is_neither_made_nor_lost(case, batch, time, width, scale, seed):
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return leaf(scale * torch.randn(shape, generator=generator, dtype=torch.float64))

    s = SimpleNamespace(**case.inputs(random, batch, time, width))
    postings = Postings(batch, torch.float64)
    y = case.call(s, postings)
    assert torch.allclose(y, case.value(s), rtol=1e-12, atol=1e-300)
    c = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    y.backward(c)
    leaves = [x for x in vars(s).values() if isinstance(x, torch.Tensor) and x.grad is not None]
    assert leaves
    received = [x.detach() * x.grad for x in leaves]
    out = (y.detach() * c).sum()
    size = sum(float(r.abs().sum()) for r in received) + float((y.detach() * c).abs().sum())
    assert abs(sum(float(r.sum()) for r in received) + total(postings) - float(out)) <= 1e-9 * size
    assert not postings.mixed


# -- the twins --------------------------------------------------------------------------------------------------------


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relevance_of(x):
    return x.detach() * x.grad


def close(left, right):
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("function", "plain", "slope"),
    [
        (F.gelu, lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))), 0.5),
        (F.silu, lambda x: x / (1 + math.exp(-x)), 0.5),
        (torch.tanh, math.tanh, 1.0),
        (torch.sigmoid, lambda x: 1 / (1 + math.exp(-x)), 0.25),
        (torch.exp, math.exp, 1.0),
        (torch.cos, math.cos, 0.0),
        (F.softplus, lambda x: math.log1p(math.exp(x)), 0.5),
    ],
    ids=["gelu", "silu", "tanh", "sigmoid", "exp", "cos", "softplus"],
)
def test_elementwise(function, plain, slope):
    x, r = leaf(random(3, 5)), random(3, 5, seed=1)
    postings = Postings(1, torch.float64)
    y = elementwise_rules.Identity.apply(x, function(x.detach()), plain(0.0), slope, postings)
    y.backward(r / y.detach())
    received, of_constant = reference_rules.elementwise(plain, x.detach(), r)
    close(relevance_of(x), received)
    assert total(postings) == pytest.approx(of_constant, rel=1e-9, abs=1e-12)


def test_square():
    x, r = leaf(random(3, 5)), random(3, 5, seed=1)
    y = elementwise_rules.Square.apply(x, x.detach() ** 2)
    y.backward(r / y.detach())
    close(relevance_of(x), reference_rules.elementwise(lambda value: value**2, x.detach(), r)[0])


def test_softmax():
    x, r = leaf(random(2, 5)), random(2, 5, seed=1)
    postings = Postings(2, torch.float64)
    y = softmax_rules.TaylorSoftmax.apply(x, x.detach().softmax(-1), -1, postings)
    y.backward(r / y.detach())
    rows = [reference_rules.softmax(x.detach()[i], r[i]) for i in range(2)]
    close(relevance_of(x), torch.stack([received for received, _ in rows]))
    close(postings.rows()["softmax"], torch.tensor([left for _, left in rows], dtype=torch.float64))


@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm(affine):
    x, r = leaf(random(2, 5)), random(2, 5, seed=1)
    weight, bias = (random(5, seed=2), random(5, seed=3)) if affine else (None, None)
    postings = Postings(2, torch.float64)
    y = norms.LayerNorm.apply(x, (5,), weight, bias, 1e-3, postings)
    y.backward(r / y.detach())
    rows = [reference_rules.layer_norm(x.detach()[i], weight, bias, 1e-3, r[i]) for i in range(2)]
    close(relevance_of(x), torch.stack([received for received, _ in rows]))
    if affine:
        close(postings.rows()["norms"], torch.tensor([shift for _, shift in rows], dtype=torch.float64))
    else:
        assert postings.rows() == {}


def test_rms_norm():
    x, r = leaf(random(2, 5)), random(2, 5, seed=1)
    y = norms.RMSNorm.apply(x, (5,), random(5, seed=2), 1e-3)
    y.backward(r / y.detach())
    close(relevance_of(x), reference_rules.rms_norm(x.detach(), r))


@pytest.mark.parametrize("shape", [(3, 4, 2), (2, 2, 20), (20, 2, 3)], ids=str)
def test_matmul(shape):
    """On both sides of the choice which factor is halved."""
    n, inner, m = shape
    a, b, r = leaf(random(n, inner)), leaf(random(inner, m, seed=1)), random(n, m, seed=2)
    y = products.Matmul.apply(a, b)
    y.backward(r / y.detach())
    of_a, of_b = reference_rules.matmul(a.detach(), b.detach(), r)
    close(relevance_of(a), of_a)
    close(relevance_of(b), of_b)


@pytest.mark.parametrize("causal", [False, True])
def test_attention(causal):
    q, k, v, r = leaf(random(4, 3)), leaf(random(4, 3, seed=1)), leaf(random(4, 2, seed=2)), random(4, 2, seed=3)
    s = SimpleNamespace(q=q, k=k, v=v)
    postings = Postings(1, torch.float64)
    y = attention(s, postings, is_causal=causal, scale=0.7)
    y.backward(r / y.detach())
    seen = torch.ones(4, 4, dtype=torch.bool).tril() if causal else None
    of_q, of_k, of_v, remainder = reference_rules.attention(q.detach(), k.detach(), v.detach(), seen, 0.7, r)
    close(relevance_of(q), of_q)
    close(relevance_of(k), of_k)
    close(relevance_of(v), of_v)
    assert total(postings) == pytest.approx(remainder, rel=1e-9)


@pytest.mark.parametrize(
    "kind", ["full", "causal", "boolean mask", "additive mask", "mask of keys", "a query whose keys are all masked"]
)
def test_frozen_attention(kind, monkeypatch):
    monkeypatch.setattr(fused, "_BLOCK", 8)  # two queries at a time
    q, k, v, r = leaf(random(1, 5, 3)), leaf(random(1, 4, 3, seed=1)), leaf(random(1, 4, 2, seed=2)), random(1, 5, 2)
    mask = {
        "boolean mask": random(5, 4, seed=4) > -0.5,
        "additive mask": random(5, 4, seed=4),
        "mask of keys": torch.tensor([[True, False, True, True]]),
        "a query whose keys are all masked": torch.ones(5, 4, dtype=torch.bool).index_fill(0, torch.tensor([2]), False),
    }.get(kind)
    scores = 0.5 * (q @ k.mT).detach()[0]
    if kind == "causal":
        scores = scores.masked_fill(~torch.ones(5, 4, dtype=torch.bool).tril(), -torch.inf)
    elif mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    weights = scores.softmax(-1).nan_to_num(0.0)
    y = fused.FrozenAttention.apply(v, weights @ v.detach(), q, k, mask, kind == "causal", 0.5)
    safe = torch.where(y.detach() == 0, 1.0, y.detach())
    y.backward(r / safe)
    seen = weights.sum(-1) > 0
    close(relevance_of(v)[0], reference_rules.frozen_attention(weights[seen], v.detach()[0], r[0][seen]))
    assert q.grad is None
    assert k.grad is None


def test_lookup_credits_each_place():
    table, ids = random(6, 4), torch.tensor([[1, 5, 1]])
    root = torch.zeros((), dtype=torch.float64, requires_grad=True)
    arrived = []
    x = lookup.Lookup.apply(root, lambda: table[ids], lambda rows, c: arrived.append(rows * c))
    r = random(1, 3, 4, seed=1)
    assert torch.equal(x, table[ids])
    x.backward(r / x.detach())
    close(arrived[0][0].sum(-1), reference_rules.lookup(r[0]))


# -- points that are not smooth ---------------------------------------------------------------------------------------


def multiplier(function, x, at_zero, slope):
    x = leaf(x)
    postings = Postings(1, x.dtype)
    y = elementwise_rules.Identity.apply(x, function(x.detach()), at_zero, slope, postings)
    y.backward(torch.ones_like(y))
    return x.grad, total(postings)


def test_zero_gets_the_slope():
    assert multiplier(F.gelu, torch.zeros(1, 2), 0.0, 0.5)[0].tolist() == [[0.5, 0.5]]
    assert multiplier(torch.sigmoid, torch.zeros(1, 1), 0.5, 0.25)[0].item() == 0.25


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_close_to_zero_the_ratio_keeps_its_digits(dtype):
    """``(sigmoid(x) - 1/2) / x`` for ``x`` of every size: the ratio is near 1/4."""
    x = torch.tensor([[s * 2.0**-k for k in range(6, 24) for s in (1, -1)]], dtype=dtype)
    c, _ = multiplier(torch.sigmoid, x, 0.5, 0.25)
    assert (c.double() - 0.25).abs().max() < (1e-3 if dtype in (torch.float32, torch.float64) else 0.05)


def test_a_masked_entry_is_a_constant():
    x = torch.tensor([[1.0, -1e4, -3e38, -torch.inf]], dtype=torch.float64)
    c, posted = multiplier(torch.sigmoid, x, 0.5, 0.25)
    assert c.isfinite().all()
    assert c[0, 1:].tolist() == [0.0, 0.0, 0.0]
    assert posted == pytest.approx(0.5)


def test_the_constant_of_a_masked_entry_is_its_value():
    """It is not ``f(0)``: ``softplus(-inf) = 0``, ``cos(-1e4)`` is not."""
    x = torch.tensor([[2.0, -1e4]], dtype=torch.float64)
    c, posted = multiplier(torch.cos, x, 1.0, 0.0)
    assert c[0, 1] == 0.0
    assert posted == pytest.approx(1.0 + math.cos(1e4))


def test_softmax_with_masked_entries():
    x = leaf(torch.tensor([[1.0, -torch.inf, 2.0, -3e38]], dtype=torch.float64))
    postings = Postings(1, torch.float64)
    y = softmax_rules.TaylorSoftmax.apply(x, x.detach().softmax(-1), -1, postings)
    y.backward(torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64))
    assert x.grad.isfinite().all()
    assert x.grad[0, 1] == x.grad[0, 3] == 0.0
    seen = torch.tensor([0, 2])
    received = (x.detach() * x.grad)[0, seen].sum()
    assert float(received) + total(postings) == pytest.approx(
        float((y.detach()[0, seen] * torch.tensor([1.0, 3.0])).sum())
    )


def test_a_constant_is_posted_at_its_node():
    root = torch.zeros((), dtype=torch.float64, requires_grad=True)
    postings, value, c = Postings(2, torch.float64), random(2, 3), random(2, 3, seed=1)
    y = writes.Constant.apply(root, value, "positions", postings)
    assert torch.equal(y, value)
    y.backward(c)
    close(postings.rows()["positions"], (value * c).sum(1))
    assert root.grad is None


def test_values_are_bitwise_those_of_the_original():
    x = leaf(torch.randn(3, 7, generator=torch.Generator().manual_seed(0)))
    postings = Postings(3, torch.float32)
    weight, bias = torch.rand(7), torch.rand(7)
    for y, original in (
        (norms.LayerNorm.apply(x, (7,), weight, bias, 1e-5, postings), F.layer_norm(x, (7,), weight, bias)),
        (norms.RMSNorm.apply(x, (7,), weight, 1e-5), F.rms_norm(x, (7,), weight, 1e-5)),
        (products.Matmul.apply(x, x.mT), x @ x.mT),
    ):
        assert torch.equal(y, original)
