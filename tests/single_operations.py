"""One operation at a time: it must be accounted for, and by the right rule."""

import pytest
import torch
from reference_rules import IDS, Probe
from torch import nn

import textlrp

PRESETS = pytest.mark.parametrize("rules", ["attnlrp", "cp-lrp"])


def plain_gradient(operation, probe, x, c):
    """``R = x * J^T c`` by autograd, without textlrp: the rule of all that is linear but for constants."""
    x = x.detach().clone().requires_grad_()
    return x.detach() * torch.autograd.grad(operation(probe, x.clone()), x, c)[0]


def expected_relevance(probe, target, expectation):
    """What the tokens of `IDS` should receive, ``[batch, time]``, when the head sends its weights back."""
    x = probe.table(IDS).detach()
    y = probe.operation(probe, x.clone())
    c = probe.head.weight[target].detach().view(y.shape[1:]).expand(y.shape)
    if expectation is None:
        return plain_gradient(probe.operation, probe, x, c).sum(-1)
    return expectation(probe, x, c).expand(x.shape).sum(-1)


def check(operation, expectation=None, *, rules="attnlrp", posted=None, bitwise=True, **options):
    """An operation is accounted for to the ninth digit (`propagate` sees to that), and by the right rule."""
    probe = Probe(operation, **options)
    with torch.no_grad():
        plain = probe(IDS)
    found = textlrp.propagate(probe, 1, rules, input_ids=IDS)
    assert torch.equal(found.logits, plain) if bitwise else torch.allclose(found.logits, plain, rtol=1e-12)
    expected = expected_relevance(probe, 1, expectation)
    torch.testing.assert_close(found.relevance, expected, rtol=1e-9, atol=1e-10)
    if posted is not None:
        for ledger in found.ledgers:
            assert {heading for heading, value in ledger.items() if abs(value) > 1e-10} == {"tokens"} | posted
    return found


def table(*rows):
    return pytest.mark.parametrize("operation", [pytest.param(function, id=name) for name, function in rows])


def one(target):
    return torch.eye(3, dtype=torch.float64)[target]


def identity(function):
    """``R = (f(x) - f(0)) c``."""
    zero = torch.zeros(1, dtype=torch.float64)
    return lambda m, x, c: (function(x.clone()) - function(zero.clone())) * c


class Returns(nn.Module):
    """A classifier that returns its logits as it is told."""

    def __init__(self, form, labels=3):
        super().__init__()
        self.table, self.head, self.form = nn.Embedding(12, 4), nn.Linear(4, labels), form

    def forward(self, input_ids):
        return self.form(self.head(self.table(input_ids).mean(1)))


class Cube(torch.autograd.Function):
    """A custom function of unknown origin, which nothing sees into."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, c):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * c
