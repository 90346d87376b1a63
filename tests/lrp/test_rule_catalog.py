"""Softmax, products and norms by every rule of the catalog, through the whole engine, against loops in float64.

A thousand random cases a rule: the smallest model around one operation, explained by :func:`textlrp.propagate`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import reference_rules
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import textlrp
from textlrp import Rules
from textlrp.rules import Constant, Frozen, Plain, Taylor, Uniform

EPS = 1e-5
SHAPES = st.tuples(st.integers(1, 3), st.integers(2, 4), st.integers(0, 2**31))
THOUSAND = settings(max_examples=1000, deadline=None)


class Around(nn.Module):
    """Rows of a table, one operation on all of them, and a logit that weighs its results."""

    def __init__(self, rows: Tensor, operation: Callable[[Tensor], Tensor], weights: Tensor) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(rows)
        self.operation, self.weights = operation, weights

    def forward(self, input_ids: Tensor) -> Tensor:
        y = self.operation(self.table(input_ids)[0])
        return (y * self.weights).sum().view(1, 1)


def explained(rows: Tensor, operation: Any, weights: Tensor, rules: Rules) -> tuple[Tensor, dict[str, float]]:
    """The relevance of each row, and the rest of the ledger."""
    ids = torch.arange(len(rows))[None]
    propagation = textlrp.propagate(Around(rows, operation, weights), 0, rules, input_ids=ids)
    return propagation.relevance[0], {key: value for key, value in propagation.ledgers[0].items() if key != "tokens"}


def numbers(seed: int, *shape: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    # Away from zero: papers divide by it.
    signs = torch.randint(0, 2, shape, generator=random) * 2 - 1
    return (0.2 + torch.rand(shape, generator=random, dtype=torch.float64) * 2) * signs


def close(actual: Tensor | float, expected: Tensor | float, scale: float) -> None:
    limit = 1e-9 * max(1.0, scale)
    actual, expected = (torch.as_tensor(value, dtype=torch.float64) for value in (actual, expected))
    assert float((actual - expected).abs().max()) <= limit


def uniform_softmax(x: Tensor, relevance: Tensor) -> tuple[Tensor, float]:
    """``R_i = sum_j R_j / n``."""
    return torch.full_like(x, float(relevance.sum()) / len(x)), 0.0


def frozen_softmax(x: Tensor, relevance: Tensor) -> tuple[Tensor, float]:
    """Nothing: all relevance belongs to a constant."""
    return torch.zeros_like(x), float(relevance.sum())


@pytest.mark.parametrize(
    ("rule", "twin"),
    [(Taylor(), reference_rules.softmax), (Uniform(), uniform_softmax), (Frozen(), frozen_softmax)],
    ids=["taylor", "uniform", "frozen"],
)
@THOUSAND
@given(case=SHAPES)
def test_softmax(rule: Any, twin: Any, case: tuple[int, int, int]) -> None:
    time, width, seed = case
    x, c = numbers(seed, time, width), numbers(seed + 1, time, width)
    # The rows are added, so that they get relevance when the softmax is a constant.
    of_rows, others = explained(x, lambda rows: rows.softmax(-1) + rows, c, Rules(softmax=rule))
    p = x.softmax(-1)
    expected = [twin(row, relevance) for row, relevance in zip(x, p * c, strict=True)]
    scale = float((p * c).abs().sum() + (x * c).abs().sum())
    close(of_rows, torch.stack([received.sum() for received, _ in expected]) + (x * c).sum(-1), scale)
    close(sum(others.values()), sum(left for _, left in expected), scale)


def taylor_product(a: Tensor, b: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """``R_(a) = R_(b) = R``: each factor by its own gradient."""
    of_a, of_b = reference_rules.matmul(a, b, relevance)
    return 2 * of_a, 2 * of_b


def frozen_product(a: Tensor, b: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """All to the second factor."""
    _, of_b = reference_rules.matmul(a, b, relevance)
    return torch.zeros_like(a), 2 * of_b


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "twin"),
    [(Uniform(), reference_rules.matmul), (Taylor(), taylor_product), (Frozen(), frozen_product)],
    ids=["uniform", "taylor", "frozen"],
)
@THOUSAND
@given(case=SHAPES)
def test_matmul(rule: Any, twin: Any, case: tuple[int, int, int]) -> None:
    time, width, seed = case
    rows, c = numbers(seed, 2 * time, width), numbers(seed + 1, time, time)
    a, b = rows[:time], rows[time:]
    relevance = (a @ b.mT) * c
    # A sum close to zero has no share in relevance that a paper could divide by.
    if bool(((a @ b.mT).abs() < 1e-3).any()):
        return
    of_rows, others = explained(rows, lambda x: x[:time] @ x[time:].mT, c, Rules(product=rule))
    of_a, of_b = twin(a, b.mT, relevance)
    expected = torch.cat([of_a.sum(-1), of_b.sum(0)])
    scale = float((a.abs() @ b.abs().mT * c.abs()).sum())
    close(of_rows, expected, scale)
    close(sum(others.values()), relevance.sum() - expected.sum(), scale)


def plain_layer_norm(x: Tensor, weight: Tensor, bias: Tensor, c: Tensor) -> Tensor:
    """``R_i = x_i sum_j w_j / sigma (delta_ij - 1/n - z_i z_j / n) c_j``, with ``z = (x - mean) / sigma``."""
    n = len(x)
    mean = sum(float(value) for value in x) / n
    sigma = (sum((float(value) - mean) ** 2 for value in x) / n + EPS) ** 0.5
    z = [(float(value) - mean) / sigma for value in x]
    received = torch.zeros_like(x)
    for i in range(n):
        for j in range(n):
            received[i] += x[i] * weight[j] / sigma * (float(i == j) - 1 / n - z[i] * z[j] / n) * c[j]
    return received


def plain_rms_norm(x: Tensor, weight: Tensor, bias: Tensor, c: Tensor) -> Tensor:
    """``R_i = x_i sum_j w_j / r (delta_ij - x_i x_j / (n r^2)) c_j``."""
    n = len(x)
    r = (sum(float(value) ** 2 for value in x) / n + EPS) ** 0.5
    received = torch.zeros_like(x)
    for i in range(n):
        for j in range(n):
            received[i] += x[i] * weight[j] / r * (float(i == j) - x[i] * x[j] / (n * r * r)) * c[j]
    return received


def constant_layer_norm(x: Tensor, weight: Tensor, bias: Tensor, c: Tensor) -> Tensor:
    y = F.layer_norm(x, x.shape, weight, bias, EPS)
    return reference_rules.layer_norm(x, weight, bias, EPS, y * c)[0]


def constant_rms_norm(x: Tensor, weight: Tensor, bias: Tensor, c: Tensor) -> Tensor:
    return reference_rules.rms_norm(x, F.rms_norm(x, x.shape, weight, EPS) * c)


def written_layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centered = x - x.mean(-1, keepdim=True)
    return centered / torch.sqrt(centered.pow(2).mean(-1, keepdim=True) + EPS) * weight + bias


def written_rms_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS))


@pytest.mark.parametrize(
    ("norm", "rule", "twin"),
    [
        (lambda x, w, b: F.layer_norm(x, x.shape[-1:], w, b, EPS), Constant(), constant_layer_norm),
        (lambda x, w, b: F.layer_norm(x, x.shape[-1:], w, b, EPS), Plain(), plain_layer_norm),
        (lambda x, w, b: F.rms_norm(x, x.shape[-1:], w, EPS), Constant(), constant_rms_norm),
        (lambda x, w, b: F.rms_norm(x, x.shape[-1:], w, EPS), Plain(), plain_rms_norm),
        (written_layer_norm, Plain(), plain_layer_norm),
        (written_rms_norm, Constant(), constant_rms_norm),
        (written_rms_norm, Plain(), plain_rms_norm),
    ],
    ids="layer layer-plain rms rms-plain written-layer-plain written-rms written-rms-plain".split(),
)
@settings(max_examples=250, deadline=None)
@given(case=SHAPES)
def test_norm(norm: Any, rule: Any, twin: Any, case: tuple[int, int, int]) -> None:
    time, width, seed = case
    x, c = numbers(seed, time, width), numbers(seed + 1, time, width)
    weight, bias = numbers(seed + 2, width), numbers(seed + 3, width)
    y = norm(x, weight, bias)
    if bool((y.abs() < 1e-3).any()):  # the twin divides by it
        return
    expected = torch.stack([twin(row, weight, bias, multiplier).sum() for row, multiplier in zip(x, c, strict=True)])
    scale = float((x * weight * c).abs().sum() / (x.var(-1, unbiased=False) + EPS).sqrt().min())
    if float(expected.abs().sum()) < 1e-6 * scale:  # terms that cancel leave little but rounding, which is refused
        return
    of_rows, others = explained(x, lambda rows: norm(rows, weight, bias), c, Rules(norm=rule))
    close(of_rows, expected, scale)
    close(sum(others.values()), (y * c).sum() - expected.sum(), scale)
