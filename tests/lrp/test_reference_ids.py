"""What a model computes from the ids themselves, and what `reference=` may be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import textlrp
from textlrp.errors import InputError, UnsupportedOperationError

IDS, OTHERS = torch.tensor([[5, 35, 7, 9]]), torch.tensor([[8, 3, 36, 2]])


class Reads(nn.Module):
    """A classifier that is a function of its embeddings, its ids and its table."""

    def __init__(self, read, size=40):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.read = nn.Embedding(size, 3), read

    def forward(self, input_ids):
        return self.read(self.table(input_ids), input_ids, self.table)


def measured(read, reference=OTHERS, ids=IDS):
    model = Reads(read)
    found = textlrp.propagate(model, 0, "difference", input_ids=ids, reference=reference)
    with torch.no_grad():
        assert torch.equal(found.logits, model(ids))
    return model, found


def written_in_place(x, ids, table):
    known = ids.clone()
    known[known > 30] = 1
    return table(known).sum(1)


OF_THE_TEXT = [
    ("replaced by where", lambda x, i, e: e(torch.where(i > 30, 1, i)).sum(1)),
    ("replaced by masked_fill", lambda x, i, e: e(i.masked_fill(i > 30, 1)).sum(1)),
    ("replaced in place", written_in_place),
    ("as a float", lambda x, i, e: x.sum(1) + i.float().mean(1, keepdim=True)),
    ("as a factor", lambda x, i, e: (i[..., None] * x).sum(1)),
    ("as a base", lambda x, i, e: x.sum(1) * (0.9**i).mean()),
    ("as an index", lambda x, i, e: x.cumsum(1)[torch.arange(len(x)), i[:, 0] % 4]),
    ("gathered", lambda x, i, e: x.gather(1, (i % 4)[..., None].expand(-1, -1, 3)).sum(1)),
    (
        "scattered",
        lambda x, i, e: x.new_zeros(1, 40, 3).scatter_add(1, i[..., None].expand(-1, -1, 3), x).cumsum(1).mean(1),
    ),
    ("as a Python number", lambda x, i, e: x.sum(1) * int(i[0, 0])),
    ("as a condition", lambda x, i, e: x.sum(1) * (2 if i[0, 0] == 5 else 1)),
    ("in NumPy", lambda x, i, e: x.sum(1) * float(i.numpy()[0, 0])),
    ("in a list", lambda x, i, e: x.sum(1) + x.new_tensor(i.tolist()).mean()),
]


@pytest.mark.parametrize("read", [read for _, read in OF_THE_TEXT], ids=[name for name, _ in OF_THE_TEXT])
def test_ids_that_are_numbers_are_those_of_the_text(read):
    model, found = measured(read)
    (ledger,) = found.ledgers
    with torch.no_grad():
        assert not torch.allclose(found.reference_logits, model(OTHERS))
    assert "reference (pinned)" in ledger.rows


MOVED = [
    ("plain", lambda x, i, e: x.sum(1)),
    ("hashed", lambda x, i, e: e((i * 7 + 3) % 40).sum(1)),
    ("clamped", lambda x, i, e: e(i.clamp(max=30)).sum(1)),
    ("rolled", lambda x, i, e: e(i.roll(1, 1)).cumsum(1).mean(1)),
    ("counted, as many", lambda x, i, e: x.sum(1) / (i != 0).sum(1, keepdim=True)),
]


@pytest.mark.parametrize("read", [read for _, read in MOVED], ids=[name for name, _ in MOVED])
def test_ids_that_are_looked_up_are_those_of_the_reference(read):
    model, found = measured(read)
    with torch.no_grad():
        torch.testing.assert_close(found.reference_logits, model(OTHERS))
    assert "reference" in found.ledgers[0].rows


def test_each_document_is_pinned_by_itself():
    ids, other = torch.tensor([[5, 6, 7], [5, 6, 0]]), torch.full((2, 3), 8)
    _, found = measured(lambda x, i, e: x.sum(1) / (i != 0).sum(1, keepdim=True), other, ids)
    assert [ledger.pinned for ledger in found.ledgers] == [False, True]


def into_a_mask(x, ids, table):
    mask = torch.empty(ids.shape, dtype=torch.bool)
    torch.gt(ids, 10, out=mask)
    return (x * mask[..., None]).sum(1)


def into_a_factor(x, ids, table):
    factor = torch.empty(x.shape)
    torch.exp(x.detach(), out=factor)
    return (x * factor).sum(1)


@pytest.mark.parametrize("read", [into_a_mask, into_a_factor])
def test_a_result_that_is_written_to_out_is_refused(read):
    with pytest.raises(UnsupportedOperationError, match="with out="):
        measured(read)


@pytest.mark.parametrize("id_of_a_word", [7, np.int64(7), torch.tensor(7)], ids=["int", "NumPy", "torch"])
def test_a_token_id_is_any_whole_number(id_of_a_word):
    model, found = measured(lambda x, i, e: x.sum(1), id_of_a_word)
    with torch.no_grad():
        torch.testing.assert_close(found.reference_logits, model(torch.full_like(IDS, 7)))


def test_ids_of_one_text_are_the_reference_of_every_document():
    """Also where the documents are explained one at a time, because they share a number."""
    ids = torch.tensor([[5, 6, 7, 8], [1, 2, 3, 4], [9, 9, 1, 1], [2, 8, 2, 8]])
    one = torch.tensor([1, 2, 3, 4])
    model = Reads(lambda x, i, e: x.cumsum(1).mean(1) / x.detach().abs().max())
    for_all, for_each = (
        textlrp.propagate(model, 0, "difference", input_ids=ids, reference=reference)
        for reference in (one, one.expand(4, 4))
    )
    assert torch.equal(for_all.reference_logits, for_each.reference_logits)
    assert torch.equal(for_all.relevance, for_each.relevance)


def test_the_mean_embedding_is_that_of_the_table_as_it_is():
    model = Reads(lambda x, i, e: x.sum(1))
    before = textlrp.propagate(model, 0, "difference", input_ids=IDS).reference_logits
    torch.testing.assert_close(before, 4 * model.table.weight.detach().mean(0)[None])
    model.table.weight.data.mul_(10)
    torch.testing.assert_close(textlrp.propagate(model, 0, "difference", input_ids=IDS).reference_logits, 10 * before)


def test_an_id_of_the_reference_that_the_table_does_not_have_is_said_so():
    with pytest.raises(InputError, match="input ids or of the reference's"):
        measured(lambda x, i, e: x.sum(1), 100)


def test_a_fault_of_a_target_function_is_its_own():
    model = Reads(lambda x, i, e: x.sum(1))
    with pytest.raises(InputError, match="the target function fails on the logits: ZeroDivisionError"):
        textlrp.propagate(model, lambda logits: 1 / 0, input_ids=IDS)


def test_the_size_of_complex_numbers_has_a_rule():
    model, found = measured(lambda x, i, e: torch.fft.fft(x, dim=1).abs().mean(1))
    with torch.no_grad():
        torch.testing.assert_close(found.reference_logits, model(OTHERS))


@pytest.mark.parametrize("rules", ["difference", "attnlrp"])
def test_attention_that_divides_at_the_end_is_a_softmax(rules):
    """Its maximum is subtracted without a gradient; it cancels."""

    def attends(x, i, e):
        scores = 15 * x @ x.mT
        exponentials = (scores - scores.max(-1, keepdim=True).values.detach()).exp()
        return ((exponentials @ x) / exponentials.sum(-1, keepdim=True)).mean(1)

    options = {"reference": OTHERS} if rules == "difference" else {}
    found, expected = (
        textlrp.propagate(Reads(read).double(), 1, rules, input_ids=IDS, **options)
        for read in (attends, lambda x, i, e: ((15 * x @ x.mT).softmax(-1) @ x).mean(1))
    )
    torch.testing.assert_close(found.relevance, expected.relevance)
    assert abs(found.ledgers[0]["detached"]) < 1e-9


@pytest.mark.parametrize("rows", [1, 3, 8, 16, 33, 64, 65])
def test_logits_are_those_of_the_model_to_the_last_digit(rows):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(100, 64), nn.Linear(64, 96), nn.GELU(), nn.Linear(96, 3))

    class Averaged(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = model

        def forward(self, input_ids):
            return self.layers(input_ids).mean(1)

    ids = torch.randint(100, (1, rows))
    found = textlrp.propagate(Averaged(), 0, "difference", input_ids=ids, reference=5)
    with torch.no_grad():
        assert torch.equal(found.logits, Averaged()(ids))
