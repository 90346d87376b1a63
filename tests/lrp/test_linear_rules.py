"""Each rule for linear maps against a plain float64 twin, and the law: relevance is neither made nor lost."""

from __future__ import annotations

import math

import architecture_sweep
import numpy
import pytest
import tiny_models
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import textlrp
from textlrp import Rules
from textlrp.lrp.linear_rules import LinearMap, multiplier
from textlrp.lrp.lookup import kept_by_lookup
from textlrp.lrp.postings import Postings
from textlrp.lrp.softmax import UniformSoftmax
from textlrp.rules import (
    AlphaBeta,
    Epsilon,
    Flat,
    Frozen,
    Gamma,
    Gradient,
    Pass,
    Plain,
    Taylor,
    Uniform,
    WSquare,
    ZPlus,
)

RULES = st.one_of(
    st.builds(Gamma, st.sampled_from([0.0, 0.25, 2.0, 100.0])),
    st.just(ZPlus()),
    st.sampled_from([AlphaBeta(2, 1), AlphaBeta(1, 0), AlphaBeta(3.5, 2.5)]),
    st.just(WSquare()),
    st.just(Flat()),
)
SEEDS = st.integers(0, 2**31)


def twin(rule, x, weight, bias, relevance):
    """Relevance of each input and of the bias, number by number, from the definitions; `weight` is [in, out]."""
    inputs, outputs = weight.shape
    at_inputs, at_bias = numpy.zeros(inputs), 0.0
    for j in range(outputs):
        z = sum(x[i] * weight[i, j] for i in range(inputs)) + bias[j]
        for factor, share, at in contributions(rule, x, weight[:, j], bias[j], z):
            total = sum(share) + at
            stable = total + (rule.epsilon if total >= 0 else -rule.epsilon)
            for i in range(inputs):
                at_inputs[i] += factor * share[i] / stable * relevance[j]
            at_bias += factor * at / stable * relevance[j]
    return at_inputs, at_bias


def contributions(rule, x, w, b, z):
    """The contributions of each input and of the bias to one output, with the factor of its relevance."""
    if isinstance(rule, Gamma) and z != 0:
        sign = math.copysign(1, z)

        def grown(value, product):
            return value + rule.gamma * value if product * sign > 0 else value

        yield 1.0, [grown(x[i] * w[i], x[i] * w[i]) for i in range(len(x))], grown(b, b)
    elif isinstance(rule, ZPlus | AlphaBeta):
        alpha, beta = (rule.alpha, rule.beta) if isinstance(rule, AlphaBeta) else (1.0, 0.0)
        yield alpha, [max(x[i] * w[i], 0.0) for i in range(len(x))], max(b, 0.0)
        if beta:
            yield -beta, [min(x[i] * w[i], 0.0) for i in range(len(x))], min(b, 0.0)
    elif isinstance(rule, WSquare):
        yield 1.0, [w[i] ** 2 for i in range(len(x))], b**2
    elif isinstance(rule, Flat):
        yield 1.0, [1.0] * len(x), 0.0


def case(seed, inputs, outputs):
    random = numpy.random.default_rng(seed)
    x, weight, bias, c = (random.normal(size=size) for size in (inputs, (inputs, outputs), outputs, outputs))
    for values in (x, weight, bias):
        values[random.random(values.shape) < 0.15] = 0.0
    return x, weight, bias, c


def shared_out(rule, apply, x, y, weight, bias, c):
    """The relevance of the inputs, and the posts, as a list of headings with tensors."""
    posts = []
    c_x = multiplier(
        rule, LinearMap(x, y, weight, bias, apply), c, lambda heading, values: posts.append((heading, values))
    )
    return x * c_x, posts


@settings(max_examples=1000)
@given(rule=RULES, seed=SEEDS, inputs=st.integers(1, 5), outputs=st.integers(1, 4), biased=st.booleans())
def test_a_rule_equals_its_plain_float64_twin(rule, seed, inputs, outputs, biased):
    x, weight, bias, c = case(seed, inputs, outputs)
    bias = bias if biased else numpy.zeros(outputs)
    y = x @ weight + bias
    expected, at_bias = twin(rule, x, weight, bias, y * c)
    tensors = [torch.from_numpy(value)[None] for value in (x, y, c)]
    added = torch.from_numpy(bias) if biased else None
    received, posts = shared_out(rule, F.linear, *tensors[:2], torch.from_numpy(weight.T.copy()), added, tensors[2])
    relevance = received[0].numpy()
    scale = numpy.abs(expected).max() + abs(at_bias) + 1e-30
    assert numpy.abs(relevance - expected)[x != 0].max(initial=0) <= 1e-9 * scale
    posted = {heading: sum(float(p.sum()) for h, p in posts if h == heading) for heading, _ in posts}
    assert abs(posted.get("biases", 0.0) - at_bias) <= 1e-9 * scale
    total = relevance.sum() + math.fsum(posted.values())
    assert abs(total - (y * c).sum()) <= 1e-9 * (numpy.abs(y * c).sum() + scale)


CONVOLUTIONS = {
    "conv1d": (F.conv1d, (2, 4, 7), (6, 2, 3), {"stride": 2, "padding": 1, "groups": 2}),
    "conv2d": (F.conv2d, (2, 2, 5, 4), (3, 2, 2, 3), {"padding": 1, "dilation": (2, 1)}),
    "conv_transpose1d": (F.conv_transpose1d, (1, 3, 4), (3, 2, 3), {"stride": 2}),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@settings(max_examples=60)
@given(rule=RULES, seed=SEEDS)
def test_a_convolution_equals_its_matrix(kind, rule, seed):
    """The matrix holds the results for all unit vectors."""
    function, shape, kernel, options = CONVOLUTIONS[kind]
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=random, dtype=torch.float64)[:1]
    weight = torch.randn(kernel, generator=random, dtype=torch.float64)

    def map(x, weight):
        return function(x, weight, None, **options)

    units = torch.eye(x.numel(), dtype=torch.float64).view(-1, *x.shape[1:])
    matrix, there = map(units, weight).flatten(1), map(units, torch.ones_like(weight)).flatten(1)
    y = map(x, weight)
    c = torch.randn(y.shape, generator=random, dtype=torch.float64)
    received, _ = shared_out(rule, map, x, y, weight, None, c)
    if isinstance(rule, Flat):
        # One for each input that a kernel reaches: a linear map of such weights.
        relevance = (there / (there.sum(0) + rule.epsilon)) @ (y * c).flatten()
    else:
        plain, _ = shared_out(rule, F.linear, x.flatten(1), y.flatten(1), matrix.T, None, c.flatten(1))
        relevance = plain[0]
    torch.testing.assert_close(received.flatten(), relevance, rtol=1e-9, atol=1e-9)


def test_a_map_is_passed_over():
    x, y = torch.tensor([[1.0, -2.0, 0.0]]), torch.tensor([[2.0, -4.0, 1.0]])
    c = torch.tensor([[0.25, -0.25, 3.0]])
    received, posts = shared_out(Pass(), F.linear, x, y, torch.eye(3), None, c)
    assert received.tolist() == [[0.5, 1.0, 0.0]]
    assert [(heading, float(values.sum())) for heading, values in posts] == [("stabilizer", 3.0)]


@settings(max_examples=200)
@given(rule=RULES | st.builds(Epsilon, st.sampled_from([1e-6, 0.1])), seed=SEEDS)
def test_a_lookup_is_a_linear_map_of_one_hot_vectors(rule, seed):
    random = torch.Generator().manual_seed(seed)
    table = torch.randn(5, 3, generator=random, dtype=torch.float64)
    c = torch.randn(3, generator=random, dtype=torch.float64)
    x = torch.zeros(1, 5, dtype=torch.float64)
    x[0, 2] = 1.0
    y = table[2]
    actual = float((kept_by_lookup(rule, y, table) * c).sum())
    if isinstance(rule, Epsilon):
        expected = float((y * y * c / (y + rule.epsilon * y.sign())).sum())
    else:
        expected = twin(rule, x[0].numpy(), table.numpy(), numpy.zeros(3), (y * c).numpy())[0][2]
    assert actual == pytest.approx(expected, rel=1e-9, abs=1e-12)


EVERYWHERE = [
    Rules(linear=Gamma()),
    Rules(linear=Epsilon(0.1)),
    Rules(linear=AlphaBeta(2, 1), embedding=ZPlus()),
    Rules(linear=WSquare(), embedding=WSquare()),
    Rules(linear=Flat(), embedding=Flat()),
    Rules(nonlinearity=Gradient()),
    Rules(product=Frozen()),
    Rules(product=Taylor(), nonlinearity=Gradient()),
    Rules(softmax=Uniform()),
    Rules(norm=Plain(), softmax=Frozen()),
]
MODELS = "bert gpt2 llama squeezebert t5 convbert modernbert longformer qwen2_moe jamba xlnet axk2 zamba2".split()


def examined(model_type):
    """The largest imbalance of each set of rules, on a padded batch."""
    model = tiny_models.build(model_type, dtype=torch.float64)
    inputs = tiny_models.inputs(model, model_type)
    return [max(e.imbalance for e in textlrp.propagate(model, 0, rules, **inputs).ledgers) for rules in EVERYWHERE]


@pytest.mark.parametrize("model_type", MODELS)
def test_the_ledgers_balance_by_every_rule(model_type):
    imbalances = tiny_models.in_child(examined, model_type)
    assert not isinstance(imbalances, tiny_models.Failure), imbalances
    assert max(imbalances) <= 1e-9, dict(zip(map(repr, EVERYWHERE), imbalances, strict=False))


def test_the_taylor_rule_for_products_is_gradient_times_input():
    """With the plain gradient of non-linearities, in a model without norms."""
    torch.manual_seed(0)

    class Gated(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(7, 4, dtype=torch.float64)
            self.gate, self.up = (torch.nn.Linear(4, 5, dtype=torch.float64) for _ in range(2))
            self.head = torch.nn.Linear(5, 2, dtype=torch.float64)

        def get_input_embeddings(self):
            return self.table

        def forward(self, input_ids, rows=None):
            x = self.table(input_ids) if rows is None else rows
            return self.head(torch.tanh(self.gate(x)) * self.up(x) * torch.sigmoid(x[..., :1])).mean(1)

    model, ids = Gated(), torch.tensor([[1, 2, 3]])
    rows = model.table(ids).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model(ids, rows)[0, 1], rows)
    propagation = textlrp.propagate(model, 1, Rules(product=Taylor(), nonlinearity=Gradient()), input_ids=ids)
    torch.testing.assert_close(propagation.relevance, (rows * gradient).sum(-1))
    assert [count for (_, rule), count in propagation.met.items() if rule == "Taylor"] == [2]


def test_the_first_factor_of_a_frozen_product_is_a_constant():
    """The gate of ``act(gate) up`` gets nothing, and ``up`` gets everything."""
    a, b = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    class Product(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding.from_pretrained(torch.cat([a, b]))

        def forward(self, input_ids):
            x = self.table(input_ids)
            return (x[:, :3] * x[:, 3:]).sum((1, 2))[:, None] * torch.ones(2, dtype=torch.float64)

    ids = torch.arange(6)[None]
    product = (a * b).sum(-1)
    for rule, first, second, row in (
        (Frozen(), 0.0, 1.0, 0.0),
        (Taylor(), 1.0, 1.0, -1.0),
        (textlrp.rules.Uniform(), 0.5, 0.5, 0.0),
    ):
        propagation = textlrp.propagate(Product(), 1, Rules(product=rule), input_ids=ids)
        torch.testing.assert_close(propagation.relevance[0], torch.cat([first * product, second * product]))
        assert propagation.ledgers[0]["products"] == pytest.approx(row * float(product.sum()))


def test_a_plain_norm_is_its_gradient_and_leaves_little():
    torch.manual_seed(0)

    class Normed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(7, 4, dtype=torch.float64)
            self.norm = torch.nn.LayerNorm(4, dtype=torch.float64)
            self.head = torch.nn.Linear(4, 2, dtype=torch.float64)

        def get_input_embeddings(self):
            return self.table

        def forward(self, input_ids, rows=None):
            return self.head(self.norm(self.table(input_ids) if rows is None else rows)).mean(1)

    def Norm(width):
        return torch.nn.LayerNorm(width, dtype=torch.float64)

    model, ids = Normed(), torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        model.norm.bias.add_(0.5)
    rows = model.table(ids).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model(ids, rows)[0, 1], rows)
    propagation = textlrp.propagate(model, 1, Rules(norm=Plain()), input_ids=ids)
    torch.testing.assert_close(propagation.relevance, (rows * gradient).sum(-1))
    assert propagation.relevance.abs().max() < 1e-3
    assert propagation.ledgers[0].balanced


def by_hand(model_type):
    """The largest difference of the relevances by plain gradients to gradient x input, as autograd gives it."""
    model = tiny_models.build(model_type, dtype=torch.float64, attention="eager")
    inputs = tiny_models.inputs(model, model_type, batch=1)
    rules = Rules(product=Taylor(), nonlinearity=Gradient(), norm=Plain())
    propagation = textlrp.propagate(model, 1, rules, **inputs)
    rows = []

    def record(module, args, output):
        rows.append(output.detach().requires_grad_())
        return rows[-1]

    hook = model.get_input_embeddings().register_forward_hook(record)
    with architecture_sweep.Doubles():
        model(**inputs).logits[:, 1].sum().backward()
    hook.remove()
    expected = sum((row.detach() * row.grad).sum(-1) for row in rows)
    return float((propagation.relevance - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("model_type", "bert gpt2 llama gemma3_text qwen3 phi3 jamba zamba2 mpt deberta".split())
def test_plain_gradients_everywhere_are_gradient_times_input(model_type):
    """Norms that are written out included; the remainders of the gradients are in the ledgers."""
    difference = tiny_models.in_child(by_hand, model_type)
    assert not isinstance(difference, tiny_models.Failure), difference
    assert difference <= 1e-12


def test_the_uniform_rule_shares_the_relevance_of_a_softmax_out_in_equal_parts():
    s = torch.tensor([[0.5, -2.0, 1.5, -1e9], [0.0, 3.0, 1.0, -torch.inf]], dtype=torch.float64)
    c = torch.tensor([[1.0, -2.0, 0.5, 4.0], [2.0, 1.0, -1.0, 3.0]], dtype=torch.float64)
    postings = Postings(2, torch.float64)
    scores = s.clone().requires_grad_()
    p = s.softmax(-1)
    UniformSoftmax.apply(scores, p.clone(), -1, postings).backward(c)
    row = (p * c).sum(-1)
    relevance = torch.where(scores.grad == 0, 0.0, s * scores.grad)
    torch.testing.assert_close(relevance[0], torch.stack([row[0] / 3] * 3 + [torch.zeros(())]).double())
    torch.testing.assert_close(relevance[1, 1:], torch.stack([row[1] / 3] * 2 + [torch.zeros(())]).double())
    assert relevance[1, 0] == 0
    assert postings.rows()["stabilizer"].tolist() == pytest.approx([0.0, float(row[1]) / 3])
