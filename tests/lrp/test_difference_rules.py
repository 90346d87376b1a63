"""Each difference rule against its twin, and one law for all: ``sum(c_x d_x) = sum(c_y d_y)``."""

from __future__ import annotations

import math

import difference_twins as twins
import pytest
import tiny_models
import torch
import torch.nn.functional as F
from difference_probes import DISTANCES, measured, multipliers, pairs_of_texts

LEAST = torch.finfo(torch.float32).min  # what transformers adds to masked scores


def table(*rows):
    return pytest.mark.parametrize(("operation", "twin"), [pytest.param(*row, id=name) for name, *row in rows])


def halves(x):
    return x[..., :2], x[..., 2:]


def joined(parts):
    return torch.cat(parts, -1)


# -- twins, which take one document: `x` and `r`, `[time, width]`, and the multipliers of the result ------------------


def each(function, slope):
    return lambda x, r, c: twins.secant(function, slope, x, r, c)


def of_halves(twin):
    def found(x, r, c):
        (a, b), (a_r, b_r) = halves(x), halves(r)
        return joined(twin(a, a_r, b, b_r, c))

    return found


def by_row(twin):
    return lambda x, r, c: torch.stack([twin(*row) for row in zip(x, r, c, strict=True)])


def with_itself(x, r, c):
    a, b = twins.matmul(x, r, x.T, r.T, c)
    return a + b.T


def shifted_quotient(x, r, c):
    (a, b), (a_r, b_r) = halves(x), halves(r)
    of_a, of_b = twins.division(a, a_r, b.square() + 1, b_r.square() + 1, c)
    return joined([of_a, of_b * (b + b_r)])


def absolute_sum(x, r, c):
    return twins.secant(abs, lambda x: math.copysign(1.0, x), x, r, c.expand_as(x))


def masked_in(mask):
    return lambda x, r, c: torch.stack(
        [twins.softmax(*(row + mask for row in rows), m) for *rows, m in zip(x, r, c, strict=True)]
    )


TWINS = [
    ("gelu", lambda m, x: F.gelu(x), each(twins.gelu, twins.gelu_slope)),
    ("tanh", lambda m, x: x.tanh(), each(math.tanh, twins.tanh_slope)),
    ("exp", lambda m, x: x.exp(), each(math.exp, math.exp)),
    ("square", lambda m, x: x**2, each(lambda x: x * x, lambda x: 2 * x)),
    ("cube", lambda m, x: x**3, each(lambda x: x**3, lambda x: 3 * x * x)),
    ("relu", lambda m, x: F.relu(x), each(lambda x: max(x, 0.0), lambda x: float(x > 0))),
    ("abs", lambda m, x: x.abs(), each(abs, lambda x: math.copysign(1.0, x))),
    ("clamp", lambda m, x: x.clamp(-0.5, 0.5), each(lambda x: min(max(x, -0.5), 0.5), lambda x: float(abs(x) < 0.5))),
    ("sine", lambda m, x: x.sin(), each(math.sin, math.cos)),
    (
        "square root",
        lambda m, x: (x * x + 0.1).sqrt(),
        each(lambda x: math.sqrt(x * x + 0.1), lambda x: x / math.sqrt(x * x + 0.1)),
    ),
    (
        "logarithm",
        lambda m, x: (x * x + 0.1).log(),
        each(lambda x: math.log(x * x + 0.1), lambda x: 2 * x / (x * x + 0.1)),
    ),
    ("product", lambda m, x: x[..., :2] * x[..., 2:], of_halves(twins.product)),
    ("matrix product", lambda m, x: x @ x.mT, with_itself),
    ("einsum", lambda m, x: torch.einsum("btd,bsd->bts", x, x), with_itself),
    ("quotient", lambda m, x: x[..., :2] / (x[..., 2:] ** 2 + 1), shifted_quotient),
    ("softmax", lambda m, x: x.softmax(-1), by_row(twins.softmax)),
    ("softmax over time", lambda m, x: x.softmax(1), lambda x, r, c: by_row(twins.softmax)(x.T, r.T, c.T).T),
    (
        "softmax with a finite mask",
        lambda m, x: (x + numbers(0, -1e4, 0, LEAST).to(x)).softmax(-1),
        masked_in(torch.tensor([0, -1e4, 0, LEAST])),
    ),
    (
        "softmax with an infinite mask",
        lambda m, x: (x + numbers(0, 0, 0, -torch.inf).to(x)).softmax(-1),
        masked_in(torch.tensor([0, 0, 0, -torch.inf])),
    ),
    (
        "softmax masked but for one",
        lambda m, x: x.masked_fill(numbers(1, 0, 1, 1).bool(), -torch.inf).softmax(-1),
        masked_in(torch.tensor([-torch.inf, 0, -torch.inf, -torch.inf])),
    ),
    ("log-softmax", lambda m, x: x.log_softmax(-1), by_row(twins.log_softmax)),
    ("logsumexp", lambda m, x: x.logsumexp(-1), by_row(lambda x, r, c: twins.logsumexp(x, r, float(c)))),
    (
        "layer norm",
        lambda m, x: F.layer_norm(x, (4,), m.row, m.other),
        by_row(lambda x, r, c: twins.layer_norm(x, r, PROBE.row, 1e-5, c)),
    ),
    (
        "layer norm alone",
        lambda m, x: F.layer_norm(x, (4,)),
        by_row(lambda x, r, c: twins.layer_norm(x, r, None, 1e-5, c)),
    ),
    (
        "rms norm",
        lambda m, x: F.rms_norm(x, (4,), m.row, 1e-6),
        by_row(lambda x, r, c: twins.rms_norm(x, r, PROBE.row, 1e-6, c)),
    ),
    ("normalize", lambda m, x: F.normalize(x, dim=-1), by_row(twins.normalize)),
    ("norm", lambda m, x: x.norm(dim=-1), by_row(lambda x, r, c: twins.norm(x, r, float(c)))),
    ("length", lambda m, x: torch.linalg.vector_norm(x, dim=-1), by_row(lambda x, r, c: twins.norm(x, r, float(c)))),
    ("absolute sum", lambda m, x: x.norm(p=1, dim=-1, keepdim=True), absolute_sum),
    ("variance", lambda m, x: x.var(-1), by_row(lambda x, r, c: twins.variance(x, r, 1, float(c)))),
    (
        "biased variance",
        lambda m, x: x.var(-1, correction=0),
        by_row(lambda x, r, c: twins.variance(x, r, 0, float(c))),
    ),
    ("deviation", lambda m, x: x.std(-1), by_row(lambda x, r, c: twins.deviation(x, r, 1, float(c)))),
    (
        "solve",
        lambda m, x: torch.linalg.solve(x + 4 * torch.eye(4, dtype=x.dtype), x.mT),
        lambda x, r, c: (lambda a, b: a + b.T)(*twins.solve(x + 4 * torch.eye(4), r + 4 * torch.eye(4), x.T, r.T, c)),
    ),
    (
        "inverse",
        lambda m, x: torch.linalg.inv(x + 4 * torch.eye(4, dtype=x.dtype)),
        lambda x, r, c: twins.solve(*(y + 4 * torch.eye(4) for y in (x, r)), *2 * [torch.eye(4).double()], c)[0],
    ),
]
PROBE, _, _ = pairs_of_texts(lambda m, x: x)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def check(operation, twin, scale=1.0):
    probe, ids, other = pairs_of_texts(operation, scale=scale)
    found, c_x, x, r = multipliers(probe, ids, other)
    with torch.no_grad():
        y = operation(probe, x.clone())
        torch.testing.assert_close(found.logits, probe(ids), rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(found.reference_logits, probe(other), rtol=1e-12, atol=1e-13)
    c = probe.head.weight[1].detach().view(y.shape[1:])
    expected = torch.stack([twin(*document, c) for document in zip(x, r, strict=True)])
    assert bool(expected.isfinite().all())
    torch.testing.assert_close(c_x, expected, rtol=1e-8, atol=1e-9)


@table(*TWINS)
def test_rule_equals_its_twin(operation, twin):
    check(operation, twin)


@pytest.mark.parametrize("scale", [30.0, 1000.0])
@table(*(row for row in TWINS if "softmax" in row[0] or row[0] == "logsumexp"))
def test_saturated_softmax_equals_its_twin(operation, twin, scale):
    check(operation, twin, scale)


# -- attention --------------------------------------------------------------------------------------------------------


def heads(x, count):
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def fused(of, groups=2, **options):
    """Attention of two heads by the fused kernel: queries, keys and values are shares of `x`, `[batch, time, 8]`."""

    def operation(m, x):
        q, k, v = (heads(x @ m.square.roll(i, 0), 2) for i in range(3))
        given = {name: option(m, x) if callable(option) else option for name, option in options.items()}
        return F.scaled_dot_product_attention(q, k[:, :groups], v[:, :groups], **given).transpose(1, 2).flatten(2)

    return operation


def written_out(causal=False, bias=None):
    def operation(m, x):
        q, k, v = (heads(x @ m.square.roll(i, 0), 2) for i in range(3))
        scores = q @ k.mT / 2
        if bias is not None:
            scores = scores + bias.to(x.dtype)
        if causal:
            scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)

    return operation


def of_attention(bias, groups=2):
    def twin(m, x, r, c):
        runs = torch.stack([x, r])
        q, k, v = (heads(runs @ m.square.roll(i, 0), 2).transpose(0, 1) for i in range(3))  # [heads, run, time, width]
        by_head = [
            twins.attention(q[i], k[i % groups], v[i % groups], bias, 0.5, c.unflatten(-1, (2, -1))[:, i])
            for i in range(2)
        ]
        received = torch.zeros_like(x)
        for i, parts in enumerate(by_head):
            for j, part in enumerate(parts):
                at = i if j == 0 else i % groups
                received += part @ m.square.roll(j, 0)[:, 4 * at : 4 * at + 4].T
        return received

    return twin


NONE = torch.zeros(5, 5, dtype=torch.float64)
CAUSAL = NONE.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
PADDED = NONE.masked_fill(torch.tensor([False, False, False, True, True]), -torch.inf)
ONE_ROW = NONE.clone().index_fill_(0, torch.tensor([2]), -torch.inf)
FINITE = PADDED.clamp_min(-1e4)
SMALLEST = PADDED.clamp_min(LEAST)
ATTENTION = [
    ("fused", fused(3), of_attention(NONE)),
    ("causal", fused(3, is_causal=True), of_attention(CAUSAL)),
    ("padded", fused(3, attn_mask=lambda m, x: PADDED == 0), of_attention(PADDED)),
    ("padded by numbers", fused(3, attn_mask=lambda m, x: FINITE.to(x.dtype)), of_attention(FINITE)),
    ("padded by the smallest number", fused(3, attn_mask=lambda m, x: SMALLEST.to(x.dtype)), of_attention(SMALLEST)),
    ("padded by infinity", fused(3, attn_mask=lambda m, x: PADDED.to(x.dtype)), of_attention(PADDED)),
    ("a row that is masked altogether", fused(3, attn_mask=lambda m, x: ONE_ROW == 0), of_attention(ONE_ROW)),
    ("grouped", fused(3, groups=1, enable_gqa=True), of_attention(NONE, groups=1)),
    ("written out", written_out(), of_attention(NONE)),
    ("causal, written out", written_out(causal=True), of_attention(CAUSAL)),
    ("padded, written out", written_out(bias=SMALLEST), of_attention(SMALLEST)),
]


@pytest.mark.parametrize("scale", [1.0, 6.0])  # 6: scores of about 100
@table(*ATTENTION)
def test_attention_equals_its_twin(operation, twin, scale):
    probe, ids, other = pairs_of_texts(operation, time=5, width=8, scale=scale)
    found, c_x, x, r = multipliers(probe, ids, other)
    c = probe.head.weight[1].detach().view(5, 8)
    expected = torch.stack([twin(probe, *document, c) for document in zip(x, r, strict=True)])
    torch.testing.assert_close(c_x, expected, rtol=1e-8, atol=1e-8)
    with torch.no_grad():
        torch.testing.assert_close(found.reference_logits, probe(other), rtol=1e-12, atol=1e-12)


# -- a whole model ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("attention", "target"), [("eager", 0), ("sdpa", 2)])
def test_bert_equals_its_twin_by_hand(attention, target):
    model = tiny_models.build("bert", dtype=torch.float64, attention=attention)
    ids = tiny_models.inputs(model, "bert", batch=1, lengths=(7,))["input_ids"]
    other = ids.clone()
    other[0, 1:-1] = 5
    other[0, 3] = ids[0, 3]
    words = "bert.embeddings.word_embeddings"
    found = measured(model, ids, other, target, capture=[words])
    c, tokens, logits = twins.bert(model.state_dict(), model.config, torch.cat([ids, other]), target)
    torch.testing.assert_close(found.captured[words][0].multiplier[0], c, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.relevance[0], ((tokens[0] - tokens[1]) * c).sum(-1), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(torch.cat([found.logits, found.reference_logits]), logits, rtol=1e-12, atol=1e-13)


# -- the law ----------------------------------------------------------------------------------------------------------


def gate(function):
    return lambda m, x: function(x[..., :2]) * x[..., 2:]


LAW = {
    **{row[0]: row[1] for row in TWINS},
    "silu": lambda m, x: F.silu(x),
    "mish": lambda m, x: F.mish(x),
    "sigmoid": lambda m, x: x.sigmoid(),
    "hardswish": lambda m, x: F.hardswish(x),
    "softplus": lambda m, x: F.softplus(x),
    "leaky relu": lambda m, x: F.leaky_relu(x, 0.2),
    "prelu": lambda m, x: F.prelu(x.mT, m.row).mT,
    "elu": lambda m, x: F.elu(x),
    "error function": lambda m, x: x.erf(),
    "arctangent": lambda m, x: x.atan(),
    "power of a constant": lambda m, x: 2.0**x,
    "roots of squares": lambda m, x: (x * x + 0.1).pow(-0.5) + (x * x + 0.1).rsqrt() + (x * x + 1).reciprocal(),
    "gate": gate(F.silu),
    "gated unit": lambda m, x: F.glu(x),
    "three factors": lambda m, x: torch.einsum("btd,bsd,bsd->bts", x, x, x),
    "product of all": lambda m, x: x.prod(-1),
    "products so far": lambda m, x: x.cumprod(1),
    "outer products": lambda m, x: torch.einsum("bi,bj->bij", x[:, 0], x[:, 1]),
    "sum and product": lambda m, x: torch.baddbmm(x, x, x, beta=0.5, alpha=2.0),
    "weighted sum and product": lambda m, x: torch.addcmul(x, x, x.flip(-1), value=0.5),
    "computed weights": lambda m, x: torch.stack([F.linear(document, document, document[0]) for document in x]),
    "convolution": lambda m, x: F.conv1d(x.mT, m.square[..., None], m.row),
    "interpolation": lambda m, x: torch.lerp(x, x.flip(1), 0.3),
    "softmax of two dimensions": lambda m, x: x.flatten(1).softmax(-1),
    "attention": lambda m, x: (x @ x.mT / 2).softmax(-1) @ x,
    "fused attention": lambda m, x: F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None]),
    "polynomial": lambda m, x: x * x * x - 3 * x * x + x,
    "cosine similarity": lambda m, x: F.normalize(x, dim=-1) @ F.normalize(x, dim=-1).mT,
    "moving mean": lambda m, x: F.avg_pool1d(x.mT, 2),
    "cumulative sums": lambda m, x: x.cumsum(1) / torch.arange(1, 5)[:, None],
    "fourier": lambda m, x: torch.fft.fft(x, dim=1).real,
    "interleaved": lambda m, x: torch.stack([x[..., ::2], -x[..., 1::2]], -1).flatten(-2),
    "shares of absolute sums": lambda m, x: F.normalize(x, p=1, dim=1),
    "shares of one sum": lambda m, x: x / torch.linalg.vector_norm(x, ord=1, dim=(1, 2), keepdim=True),
    "maximum over time": lambda m, x: x.amax(1),
}


#: Beside a corner there is no one slope for near-equal inputs.
CORNERS = {"relu", "leaky relu", "prelu", "abs", "clamp", "hardswish", "absolute sum", "shares of absolute sums"}
CORNERS |= {"shares of one sum", "maximum over time"}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", LAW)
def test_differences_of_the_result_are_on_the_inputs(name, dtype):
    """Twelve pairs of texts of six distances, for each rule and type: more than a thousand."""
    probe, ids, other = pairs_of_texts(LAW[name], dtype=dtype, seed=len(name))
    found, c, _, _ = multipliers(probe, ids, other)
    equal = torch.tensor([distance == 0.0 for distance in 2 * DISTANCES])
    assert not bool(found.relevance[equal].any())
    assert torch.equal(found.logits[equal], found.reference_logits[equal])
    if dtype is torch.float32:
        # Near-equal inputs leave a secant no digits, so its multipliers show what they are worth.
        _, exact, x, r = multipliers(probe.double(), ids, other)
        compared = (x - r).abs() > 1e-3 if name in CORNERS else torch.ones_like(x, dtype=torch.bool)
        torch.testing.assert_close(c.double()[compared], exact[compared], rtol=3e-3, atol=3e-3)
