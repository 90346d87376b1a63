"""Rows of attention scores that are masked altogether, and models that overwrite their attention weights."""

import pytest
import torch
from torch import nn

import textlrp
from textlrp.errors import NonFiniteError
from textlrp.lrp.propagation import propagate_targets
from textlrp.rules import Rules, Uniform

IDS, MASK = torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]]), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
OTHER = torch.tensor([[7, 8, 9, 1], [1, 2, 3, 3]])


class Masked(nn.Module):
    """Attention in which padding neither attends nor is attended to; ``clean`` takes its weights out."""

    def __init__(self, clean):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.head, self.clean = nn.Embedding(12, 8), nn.Linear(8, 3), clean
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, input_ids, attention_mask):
        x = self.table(input_ids)
        present = attention_mask.bool()
        both = present[:, None] & present[:, :, None]
        scores = self.query(x) @ self.key(x).mT / 8**0.5
        weights = self.clean(scores.masked_fill(~both, -torch.inf), both)
        return self.head(((weights @ self.value(x) + x) * present[..., None]).sum(1))


def by_exponentials(scores, both):
    e = (scores - scores.amax(-1, keepdim=True)).exp()
    return (e / e.sum(-1, keepdim=True)).nan_to_num(0)


def assigned(scores, both):
    weights = scores.softmax(-1)
    weights[~both] = 0.0
    return weights


CLEANED = [
    ("nan_to_num", lambda scores, both: scores.softmax(-1).nan_to_num(0)),
    ("masked_fill", lambda scores, both: scores.softmax(-1).masked_fill(~both, 0)),
    ("where", lambda scores, both: torch.where(both, scores.softmax(-1), 0.0)),
    ("exponentials", by_exponentials),
    ("in place", lambda scores, both: scores.softmax(-1).masked_fill_(~both, 0)),
    ("assigned", assigned),
]


@pytest.mark.parametrize("rules", ["attnlrp", "cp-lrp", "ln-lrp", "difference", Rules(softmax=Uniform())], ids=str)
@pytest.mark.parametrize("clean", [row[1] for row in CLEANED], ids=[row[0] for row in CLEANED])
def test_a_row_that_is_left_out_has_no_relevance(clean, rules):
    model = Masked(clean).double()
    options = {"reference": OTHER} if rules == "difference" else {}
    found = textlrp.propagate(model, 1, rules, input_ids=IDS, attention_mask=MASK, **options)
    options = {"reference": OTHER[:1, :3]} if rules == "difference" else {}
    alone = textlrp.propagate(model, 1, rules, input_ids=IDS[:1, :3], attention_mask=MASK[:1, :3], **options)
    torch.testing.assert_close(found.relevance[0, :3], alone.relevance[0])
    assert found.relevance[0, 3] == 0.0


def test_a_row_that_is_not_left_out_is_still_an_error():
    with pytest.raises(NonFiniteError, match="NaN"):
        textlrp.propagate(Masked(lambda scores, both: scores.softmax(-1)), 1, input_ids=IDS, attention_mask=MASK)


def test_several_targets_go_through_masked_rows_at_once():
    model = Masked(CLEANED[0][1]).double()
    each = propagate_targets(model, [0, 1, 2], input_ids=IDS, attention_mask=MASK)
    for target, found in enumerate(each):
        alone = textlrp.propagate(model, target, input_ids=IDS, attention_mask=MASK)
        torch.testing.assert_close(found.relevance, alone.relevance)
