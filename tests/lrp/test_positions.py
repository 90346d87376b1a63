"""Rules that credit the relevance of positions to the token at each position."""

import pytest
import tiny_models
import torch
from torch import nn

import textlrp
from textlrp import Rules

IDS = torch.tensor([[3, 5, 2, 7], [4, 4, 6, 1]])


class Positions(nn.Module):
    """Words plus positions, and a linear head on each position, so that every multiplier is a weight of the head."""

    def __init__(self, scale=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.position_embeddings = nn.Embedding(8, 3), nn.Embedding(6, 3)
        self.head, self.scale = nn.Linear(12, 2), scale

    def forward(self, input_ids):
        positions = self.position_embeddings(torch.arange(input_ids.shape[1])[None])
        return self.head((self.words(input_ids) * self.scale + positions).flatten(1))


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_each_token_gets_the_relevance_of_its_position(scale):
    model = Positions(scale)
    found = textlrp.propagate(model, 1, Rules(positions="tokens"), input_ids=IDS)
    multipliers = model.head.weight[1].detach().view(4, 3)
    words = model.words(IDS).detach() * scale
    positions = model.position_embeddings.weight[:4].detach()
    torch.testing.assert_close(found.relevance, ((words + positions) * multipliers).sum(-1))
    for ledger in found.ledgers:
        assert ledger["positions"] == 0
        assert ledger["biases"] == pytest.approx(float(model.head.bias.detach()[1]))


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2", "opt", "bart", "mbart"])
@pytest.mark.parametrize("rules", [Rules(), Rules.preset("cp-lrp")], ids=["attnlrp", "cp-lrp"])
def test_nothing_is_lost_when_positions_go_to_tokens(name, rules):
    model = tiny_models.build(name, dtype=torch.float64)
    inputs = tiny_models.inputs(model, name)
    by_row = textlrp.propagate(model, 1, rules, **inputs)
    by_token = textlrp.propagate(model, 1, Rules(softmax=rules.softmax, positions="tokens"), **inputs)
    for one, other in zip(by_row.ledgers, by_token.ledgers, strict=True):
        assert abs(one["positions"]) > 1e-6
        assert other["positions"] == 0
        held = ("tokens", "special tokens")
        moved = sum(other[row] - one[row] for row in held)
        assert moved == pytest.approx(one["positions"], rel=1e-9)
        rest = {row: value for row, value in one.rows.items() if row not in (*held, "positions")}
        assert {row: other[row] for row in rest} == pytest.approx(rest, rel=1e-9, abs=1e-12)


def test_a_decoder_credits_the_token_that_it_reads_at_a_position():
    """The ids of a decoder are shifted by one: its first position holds a start token, which is no id of the text."""

    class Shifted(Positions):
        def forward(self, input_ids):
            shifted = torch.full_like(input_ids, 0)
            shifted[:, 1:] = input_ids[:, :-1].clone()
            return super().forward(shifted)

    model = Shifted()
    by_row = textlrp.propagate(model, 1, input_ids=IDS)
    by_token = textlrp.propagate(model, 1, Rules(positions="tokens"), input_ids=IDS)
    multipliers = model.head.weight[1].detach().view(4, 3)
    at_each = (model.position_embeddings.weight[:4].detach() * multipliers).sum(-1)
    moved = by_token.relevance - by_row.relevance
    torch.testing.assert_close(moved[:, :3], at_each[1:].expand(2, 3))
    assert bool((moved[:, 3] == 0).all())
    for one, other in zip(by_row.ledgers, by_token.ledgers, strict=True):
        assert other["special tokens"] - one["special tokens"] == pytest.approx(float(at_each[0]), rel=1e-5)
