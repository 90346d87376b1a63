"""What a model names is what it gives by position."""

import pytest
import torch
from reference_rules import IDS, Probe

import textlrp

OTHER = torch.tensor([[7, 7, 2, 0], [8, 1, 0, 3]])
PAIRS = {
    "exp": (lambda m, x: torch.exp(x), lambda m, x: torch.exp(input=x)),
    "pow": (lambda m, x: torch.pow(x, 3), lambda m, x: torch.pow(input=x, exponent=3)),
    "softmax": (lambda m, x: torch.softmax(x, -1) * x, lambda m, x: torch.softmax(input=x, dim=-1) * x),
    "log_softmax": (lambda m, x: torch.log_softmax(x, -1), lambda m, x: torch.log_softmax(input=x, dim=-1)),
    "a softmax in steps": (
        lambda m, x: x * (x.exp() / x.exp().sum(-1, keepdim=True)),
        lambda m, x: x * torch.div(other=torch.sum(input=x.exp(), dim=-1, keepdim=True), input=torch.exp(input=x)),
    ),
    "add": (lambda m, x: torch.add(m.row, x, alpha=3), lambda m, x: torch.add(m.row, other=x, alpha=3)),
    "sub": (lambda m, x: x - m.row, lambda m, x: torch.sub(other=m.row, input=x)),
    "rsub": (lambda m, x: m.row - x, lambda m, x: torch.rsub(input=x, other=m.row)),
    "mul": (lambda m, x: x * x.flip(2), lambda m, x: torch.mul(input=x, other=x.flip(2))),
    "a gate": (lambda m, x: x * torch.sigmoid(x.flip(2)), lambda m, x: x.mul(other=torch.sigmoid(input=x.flip(2)))),
    "a quotient that is a gate": (lambda m, x: x / (1 + torch.exp(-x)), lambda m, x: x.div(other=1 + torch.exp(-x))),
    "matmul": (lambda m, x: x @ m.square, lambda m, x: torch.matmul(other=m.square, input=x)),
    "maximum": (lambda m, x: torch.maximum(x, m.row), lambda m, x: torch.maximum(input=x, other=m.row)),
    "where": (
        lambda m, x: torch.where(x > 0, x, 0.1 * x),
        lambda m, x: torch.where(other=0.1 * x, input=x, condition=torch.gt(input=x, other=0)),
    ),
    "where of a tensor": (lambda m, x: x.where(x > 0, m.row), lambda m, x: x.where(other=m.row, condition=x > 0)),
    "norm": (
        lambda m, x: x / torch.linalg.vector_norm(x, dim=-1, keepdim=True),
        lambda m, x: torch.div(input=x, other=torch.norm(input=x, p=2, dim=-1, keepdim=True)),
    ),
    "var": (
        lambda m, x: x * (x.var(-1, keepdim=True) + 1).rsqrt(),
        lambda m, x: x * torch.rsqrt(input=torch.var(input=x, dim=-1, keepdim=True) + 1),
    ),
    "cat": (lambda m, x: torch.cat([x, x], -1)[..., :4], lambda m, x: torch.cat(tensors=[x, x], dim=-1)[..., :4]),
    "in place": (lambda m, x: (x * 2).div_(m.row), lambda m, x: torch.mul(input=x, other=2).div_(other=m.row)),
}


@pytest.mark.parametrize("rules", ["attnlrp", "cp-lrp", "cp-lrp-gates", "ln-lrp", "difference"])
@pytest.mark.parametrize("name", PAIRS)
def test_arguments_by_name_have_the_rule_of_arguments_by_position(name, rules):
    by_position, by_name = PAIRS[name]
    options = {"reference": OTHER} if rules == "difference" else {}
    expected = textlrp.propagate(Probe(by_position), 1, rules, input_ids=IDS, **options)
    found = textlrp.propagate(Probe(by_name), 1, rules, input_ids=IDS, **options)
    torch.testing.assert_close(found.relevance, expected.relevance)
    torch.testing.assert_close(found.logits, expected.logits)
    for ledger, other in zip(found.ledgers, expected.ledgers, strict=True):
        assert {row: pytest.approx(value, abs=1e-9) for row, value in other.items()} == dict(ledger.items())
