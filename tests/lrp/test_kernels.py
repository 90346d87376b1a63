"""Attention by the name of a kernel, against the general way; queries that no multiplier reaches."""

import pytest
import tiny_models
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from reference_rules import IDS
from single_operations import PRESETS
from torch import nn

import textlrp
from textlrp.lrp import kernels, linear
from textlrp.lrp.kernels import FlashAttention, FrozenAttention, Masks
from textlrp.lrp.linear import Sparsity


class Attention(nn.Module):
    """A classifier around one attention; `pooling` says which positions it reads."""

    def __init__(self, attend, pooling="first", width=8):
        super().__init__()
        torch.manual_seed(3)
        self.table = nn.Embedding(12, width)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.head, self.attend, self.pooling = nn.Linear(width, 3), attend, pooling

    def forward(self, input_ids):
        x = self.table(input_ids)
        q, k, v = (map(x).unflatten(-1, (2, -1)).transpose(1, 2) for map in (self.q, self.k, self.v))
        y = self.attend(q, k, v).transpose(1, 2).flatten(-2)
        return self.head({"first": y[:, 0], "last": y[:, -1], "mean": y.mean(1)}[self.pooling])


def hidden(rows, columns):
    """A mask of truth values, different for each document."""
    mask = torch.rand(2, 1, rows, columns, generator=torch.Generator().manual_seed(5)) > 0.4
    return mask | torch.eye(rows, columns, dtype=torch.bool)


WAYS = {
    "plain": {},
    "scaled": {"scale": 0.7},
    "causal": {"is_causal": True},
    "truth values": {"attn_mask": hidden(16, 16)},
    "truth values of keys": {"attn_mask": hidden(16, 16)[:, :, :1]},
    "numbers": {"attn_mask": torch.zeros(2, 1, 16, 16).masked_fill(~hidden(16, 16), torch.finfo(torch.float32).min)},
}
IDS_16 = torch.arange(32).view(2, 16) % 12


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
@pytest.mark.parametrize("rules", ["attnlrp", "cp-lrp"])
@pytest.mark.parametrize("way", WAYS)
def test_by_name_and_the_general_way(monkeypatch, way, rules, pooling):
    model = Attention(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **WAYS[way]), pooling)
    found = textlrp.propagate(model, 0, rules, input_ids=IDS_16)
    monkeypatch.setattr(kernels, "flash_attention", lambda *args, **options: None)
    monkeypatch.setattr(Sparsity, "queries", lambda self, c: None)
    general = textlrp.propagate(model, 0, rules, input_ids=IDS_16)
    assert torch.equal(found.logits, general.logits)
    torch.testing.assert_close(found.relevance, general.relevance, rtol=1e-4, atol=1e-7)
    for left, right in zip(found.ledgers, general.ledgers, strict=True):
        assert dict(left.rows) == pytest.approx(dict(right.rows), abs=1e-6)
    assert found.met == general.met


def node(model, ids=IDS):
    """The names of the autograd nodes of a model that is explained."""
    names, register = set(), textlrp.lrp.coverage.ruleless

    def look(root, products):
        names.update(each.name() for each in textlrp.lrp.coverage.between(root, set()))
        return register(root, products)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(textlrp.lrp.propagation.graph, "ruleless", look)
        textlrp.propagate(model, 0, input_ids=ids)
    return {name for name in names if "Attention" in name}


def test_which_kernel_is_called():
    def call(**options):
        return Attention(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options))

    assert node(call()) == {"FlashAttentionBackward"}
    constant = Attention(lambda q, k, v: F.scaled_dot_product_attention(q.detach(), k, v))
    assert "FlashAttentionBackward" not in node(constant)
    grouped = Attention(lambda q, k, v: F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], enable_gqa=True))
    assert "FlashAttentionBackward" not in node(grouped)
    flat = Attention(lambda q, k, v: F.scaled_dot_product_attention(q[:, 0], k[:, 0], v[:, 0]).repeat(1, 1, 2)[:, None])
    assert "FlashAttentionBackward" not in node(flat)


def test_a_mask_that_adds_something_gets_its_own_row():
    bias = torch.linspace(-1, 1, 16).expand(2, 1, 16, 16)
    model = Attention(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=bias))
    ledger = textlrp.propagate(model, 0, input_ids=IDS_16).ledgers[0]
    assert ledger["constants"] != 0
    assert ledger.balanced


def test_without_the_kernel_the_general_way_is_gone(monkeypatch):
    model = Attention(F.scaled_dot_product_attention)
    expected = textlrp.propagate(model, 0, input_ids=IDS)
    monkeypatch.setattr(kernels, "_forward", None)
    torch.testing.assert_close(textlrp.propagate(model, 0, input_ids=IDS).relevance, expected.relevance)


@given(live=st.sets(st.integers(0, 15)), causal=st.booleans(), masked=st.booleans(), seed=st.integers(0, 99))
def test_queries_without_a_multiplier_change_nothing(live, causal, masked, seed):
    generator = torch.Generator().manual_seed(seed)
    q, k, v, c = (torch.randn(2, 2, 16, 4, generator=generator, dtype=torch.float64) for _ in range(4))
    c = c * torch.tensor([i in live for i in range(16)])[:, None]
    mask = torch.zeros(2, 1, 16, 16, dtype=torch.float64).masked_fill_(~hidden(16, 16), -torch.inf)
    mask = mask if masked and not causal else None

    def back(watched, frozen):
        books = textlrp.lrp.postings.Books(2, torch.float64)
        sparsity = Sparsity(False)
        sparsity.start(watched)
        x = [each.clone().requires_grad_() for each in (q, k, v)]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        if frozen:
            y = FrozenAttention.apply(x[2], y, q, k, mask, causal, 0.5, sparsity)
        else:
            met = type("Met", (), {"books": books, "sparsity": sparsity})
            y = FlashAttention.apply(*x, mask, kernels.Setting(causal, None), met)
        y.backward(c)
        return [each.grad for each in x], books.rows()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "_FEW", 4)
        for frozen in (False, True):
            (found, rows), (expected, all_rows) = back(True, frozen), back(False, frozen)
            for left, right in zip(found, expected, strict=True):
                torch.testing.assert_close(left, right)
            torch.testing.assert_close(rows, all_rows)


def test_masks_are_looked_at_once_until_they_change():
    masks, mask = Masks(), torch.zeros(1, 1, 2, 2)
    assert masks.is_blank(mask)
    mask[0, 0, 0, 0] = 1.0
    assert not masks.is_blank(mask)
    seen = torch.tensor([[[[True, False]]]])
    first = masks.additive(seen, torch.float32)
    assert first.tolist() == [[[[0.0, -torch.inf]]]]
    assert masks.additive(seen, torch.float32) is first
    assert masks.additive(seen, torch.float64).dtype == torch.float64
    assert masks.is_blank(torch.full((1, 1, 2, 2), torch.finfo(torch.float32).min))


@PRESETS
def test_long_causal_attention_by_blocks(monkeypatch, rules):
    model = tiny_models.build("llama")
    inputs = tiny_models.inputs(model, "llama")
    expected = textlrp.propagate(model, 0, rules, **inputs)
    monkeypatch.setattr(kernels, "_BLOCK", 40)
    torch.testing.assert_close(textlrp.propagate(model, 0, rules, **inputs).relevance, expected.relevance)
