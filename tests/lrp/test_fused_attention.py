"""The fused kernel of attention: the same relevance step by step, whatever the mask, and in blocks."""

import pytest
import tiny_models
import torch
import torch.nn.functional as F
from single_operations import PRESETS
from torch import nn

import textlrp
from textlrp.lrp import attempt, attention
from textlrp.lrp.attempt import Plan
from textlrp.results.ledger import HEADINGS


class Attention(nn.Module):
    """A classifier around one attention; `pooling` selects the positions that it reads."""

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
def test_the_kernel_and_its_steps(monkeypatch, way, rules, pooling):
    model = Attention(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **WAYS[way]), pooling)
    fused = textlrp.propagate(model, 0, rules, input_ids=IDS_16)
    monkeypatch.setattr(attempt, "Plan", lambda *args, **options: Plan(*args, **options, fused=False))
    steps = textlrp.propagate(model, 0, rules, input_ids=IDS_16)
    assert torch.equal(fused.logits, steps.logits)
    torch.testing.assert_close(fused.relevance, steps.relevance, rtol=1e-4, atol=1e-7)
    for left, right in zip(fused.ledgers, steps.ledgers, strict=True):
        assert [left[row] for row in HEADINGS] == pytest.approx([right[row] for row in HEADINGS], abs=1e-6)


def test_a_mask_of_biases_gets_its_own_row():
    bias = torch.linspace(-1, 1, 16).expand(2, 1, 16, 16)
    model = Attention(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=bias))
    ledger = textlrp.propagate(model, 0, input_ids=IDS_16).ledgers[0]
    assert ledger["constants"] != 0
    assert ledger.balanced


@PRESETS
def test_long_causal_attention_by_blocks(monkeypatch, rules):
    model = tiny_models.build("llama")
    inputs = tiny_models.inputs(model, "llama")
    expected = textlrp.propagate(model, 0, rules, **inputs)
    monkeypatch.setattr(attention, "_BLOCK", 40)
    torch.testing.assert_close(textlrp.propagate(model, 0, rules, **inputs).relevance, expected.relevance)
