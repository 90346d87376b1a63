"""Linear maps as one node: the plain gradient, and what is left out where no multiplier arrives."""

import pytest
import tiny_models
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import textlrp
from textlrp.lrp import linear
from textlrp.lrp.linear import Linear, Sparsity
from textlrp.lrp.postings import Books


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def passed(c, weight, bias, by_columns=False, watched=True):
    """Send a multiplier through a map: what arrives at the input, and what is posted."""
    x = random(*c.shape[:-1], weight.shape[1], seed=9).requires_grad_()
    books, sparsity = Books(c.shape[0], torch.float64), Sparsity(by_columns)
    sparsity.start(watched)
    y = Linear.apply(x, weight, bias, books, sparsity)
    assert torch.equal(y, F.linear(x, weight, bias))
    y.backward(c)
    return x.grad, books.rows().get("biases")


@given(
    rows=st.integers(8, 40),
    live=st.sets(st.integers(0, 39)),
    low=st.integers(0, 60),
    high=st.integers(1, 64),
    batch=st.integers(1, 3),
    biased=st.booleans(),
)
def test_what_is_left_out_changes_nothing(rows, live, low, high, batch, biased):
    """Whatever rows and columns are zero, the multiplier and the bias's row are those of the whole product."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "_WORTH", 1)
        c = random(batch, rows, 64)
        kept = torch.tensor([row in live for row in range(rows)])
        c = c * kept[:, None]
        c[..., :low] = 0
        c[..., max(high, low) :] = 0
        weight, bias = random(64, 5, seed=1), random(64, seed=2) if biased else None
        found, row = passed(c, weight, bias, by_columns=True)
        torch.testing.assert_close(found, c @ weight)
        if biased:
            torch.testing.assert_close(row, (c * bias).sum((1, 2)))
        else:
            assert row is None


def products(monkeypatch, c, **options):
    """The shapes of the factors that are multiplied on the way back."""
    seen, mm = [], torch.Tensor.mm
    monkeypatch.setattr(linear, "_WORTH", 1)
    monkeypatch.setattr(torch.Tensor, "mm", lambda a, b: seen.append((tuple(a.shape), tuple(b.shape))) or mm(a, b))
    passed(c, random(64, 5, seed=1), None, **options)
    return seen


def test_rows_without_a_multiplier_are_not_multiplied(monkeypatch):
    c = torch.zeros(2, 20, 64, dtype=torch.float64)
    c[:, 0] = random(2, 64)
    assert products(monkeypatch, c) == [((2, 64), (64, 5))]
    assert products(monkeypatch, c, watched=False) == [((40, 64), (64, 5))]


def test_columns_without_a_multiplier_are_not_multiplied(monkeypatch):
    c = torch.zeros(2, 20, 64, dtype=torch.float64)
    c[..., 40:60] = random(2, 20, 20)
    assert products(monkeypatch, c, by_columns=True) == [((40, 20), (20, 5))]
    assert products(monkeypatch, c) == [((40, 64), (64, 5))]
    c[1, 3, 0] = 1e-30  # one number elsewhere is enough
    assert products(monkeypatch, c, by_columns=True) == [((40, 64), (64, 5))]


def test_dense_rows_are_looked_at_only_so_often():
    sparsity = Sparsity(False)
    sparsity.start(True)
    one, all_rows = torch.zeros(256, 64), torch.ones(256, 64)
    one[0] = 1
    assert sparsity.live(one).tolist() == [0]
    for _ in range(3):
        assert sparsity.live(all_rows) is None
    assert sparsity.live(one).tolist() == [0]
    assert sparsity.live(all_rows) is None
    assert sparsity.live(one) is None
    sparsity.start(True)
    assert sparsity.live(one).tolist() == [0]


def test_few_rows_are_not_looked_at():
    sparsity = Sparsity(True)
    sparsity.start(True)
    assert sparsity.live(torch.zeros(4, 5000)) is None
    assert sparsity.live(torch.zeros(16, 4)) is None
    assert sparsity.columns(torch.zeros(16, 4)) is None
    assert sparsity.queries(torch.zeros(1, 2, 4, 8)) is None


@pytest.mark.parametrize("rules", ["attnlrp", "cp-lrp"])
@pytest.mark.parametrize("name", ["bert", "modernbert", "gpt2", "llama"])
def test_a_model_with_and_without_what_is_left_out(monkeypatch, name, rules):
    model = tiny_models.build(name)
    inputs = tiny_models.inputs(model, name)
    monkeypatch.setattr(linear, "_FEW", 2)
    monkeypatch.setattr(linear, "_WORTH", 1)
    found = textlrp.propagate(model, 0, rules, **inputs)
    monkeypatch.setattr(Sparsity, "start", lambda self, watched: None)
    expected = textlrp.propagate(model, 0, rules, **inputs)
    torch.testing.assert_close(found.relevance, expected.relevance, rtol=1e-4, atol=1e-7)
    for left, right in zip(found.ledgers, expected.ledgers, strict=True):
        assert dict(left.rows) == pytest.approx(dict(right.rows), abs=1e-5)


def test_a_result_can_be_written_over():
    """A view that was made inside a custom function could not be."""
    x = torch.randn(1, 3, 4, requires_grad=True)
    y = Linear.apply(x * 1, torch.randn(5, 4), torch.randn(5), Books(1, torch.float32), Sparsity(False))
    y += 1
    y.sum().backward()
    assert x.grad.shape == x.shape
