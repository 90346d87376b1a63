"""The reference run beside the text: what is written, moved, detached and chosen, in both runs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from difference_probes import OTHER, measured, runs_beside, table
from reference_rules import IDS, Probe
from torch import nn

import textlrp
from textlrp.errors import UnsupportedOperationError

# -- writes -----------------------------------------------------------------------------------------------------------


def written(write):
    """An operation that writes into a copy of its input."""

    def operation(m, x):
        y = x.clone()
        result = write(m, y, x)
        return y if result is None else result

    return operation


def into_zeros(m, x):
    y = torch.zeros_like(x)
    y[:, :2] = x[:, :2]
    y[:, 2:] = x[:, 2:].tanh()
    return y


def into_empty(m, x):
    y = torch.empty(x.shape[0], 8, x.shape[2], dtype=x.dtype)
    y[:, ::2], y[:, 1::2] = x, x.sigmoid()
    return y


def through_an_older_view(m, x):
    y = torch.zeros_like(x)
    first, transposed = y[:, 0], y.mT
    y[:, 0] = x[:, 1]
    y[:, 1].copy_(x[:, 2].exp())
    return torch.cat([first, transposed.flatten(1)], 1)


def into_a_constant(m, x):
    y = m.square.repeat(x.shape[0], 1, 1)
    y[:, 1] += x[:, 1]
    return y * x


def over_itself(m, y, x):
    y[:, 1:] += y[:, :-1].clone()
    y[:, 0] = 1.0
    y *= y.sigmoid()


WRITES = [
    ("add", written(lambda m, y, x: y.add_(x.flip(1))), lambda m, x: x + x.flip(1)),
    ("add, scaled", written(lambda m, y, x: y.add_(x.flip(1), alpha=0.5)), lambda m, x: x + 0.5 * x.flip(1)),
    ("multiply", written(lambda m, y, x: y.mul_(x.sigmoid())), lambda m, x: x * x.sigmoid()),
    ("multiply by a constant", written(lambda m, y, x: y.mul_(m.row)), lambda m, x: x * m.row),
    ("divide", written(lambda m, y, x: y.div_(x.square() + 1)), lambda m, x: x / (x.square() + 1)),
    ("subtract", written(lambda m, y, x: y.sub_(x.exp())), lambda m, x: x - x.exp()),
    ("combine", written(lambda m, y, x: y.addcmul_(x, x.tanh())), lambda m, x: x + x * x.tanh()),
    ("interpolate", written(lambda m, y, x: y.lerp_(x.tanh(), 0.3)), lambda m, x: x + 0.3 * (x.tanh() - x)),
    ("functions", written(lambda m, y, x: y.sigmoid_().exp_().sqrt_()), lambda m, x: x.sigmoid().exp().sqrt()),
    ("relu", written(lambda m, y, x: y.relu_()), lambda m, x: x.relu()),
    ("clamp", written(lambda m, y, x: y.clamp_(-0.4, 0.4)), lambda m, x: x.clamp(-0.4, 0.4)),
    (
        "inplace=True",
        written(lambda m, y, x: F.silu(F.relu(y, inplace=True), inplace=True)),
        lambda m, x: F.silu(F.relu(x)),
    ),
    ("negate", written(lambda m, y, x: y.neg_()), lambda m, x: -x),
    ("power", written(lambda m, y, x: y.pow_(3)), lambda m, x: x**3),
    ("copy", written(lambda m, y, x: y.copy_(x.flip(1))), lambda m, x: x.flip(1)),
    (
        "a part",
        written(lambda m, y, x: y.__setitem__((slice(None), 0), x[:, 3].tanh())),
        lambda m, x: torch.cat([x[:, 3:].tanh(), x[:, 1:]], 1),
    ),
    (
        "a part by a mask",
        written(lambda m, y, x: y.__setitem__((slice(None), m.mask), 0.0)),
        lambda m, x: x * ~m.mask[:, None],
    ),
    (
        "masked fill",
        written(lambda m, y, x: y.masked_fill_(m.mask[:, None], 2.0)),
        lambda m, x: torch.where(m.mask[:, None], 2.0, x),
    ),
    (
        "masked scatter",
        written(lambda m, y, x: y.masked_scatter_(m.mask[:, None], x[:, m.mask].exp())),
        lambda m, x: torch.where(m.mask[:, None], x.exp(), x),
    ),
    ("zero", written(lambda m, y, x: (y[:, 0].zero_(), None)[1]), lambda m, x: torch.cat([0 * x[:, :1], x[:, 1:]], 1)),
    ("fill", written(lambda m, y, x: y[:, 1:].fill_(1.5)), lambda m, x: torch.full_like(x[:, 1:], 1.5) + 0 * x[:, 1:]),
    (
        "index add",
        written(lambda m, y, x: y.index_add_(1, torch.tensor([0, 0]), x[:, 2:].tanh())),
        lambda m, x: torch.cat([x[:, :1] + x[:, 2:].tanh().sum(1, keepdim=True), x[:, 1:]], 1),
    ),
    (
        "index copy",
        written(lambda m, y, x: y.index_copy_(1, torch.tensor([3]), x[:, :1].exp())),
        lambda m, x: torch.cat([x[:, :3], x[:, :1].exp()], 1),
    ),
    (
        "scatter",
        written(lambda m, y, x: y.scatter_(1, torch.tensor([[[1] * 4]] * 2), x[:, :1].exp())),
        lambda m, x: torch.cat([x[:, :1], x[:, :1].exp(), x[:, 2:]], 1),
    ),
    (
        "scatter add",
        written(lambda m, y, x: y.scatter_add_(1, torch.tensor([[[1] * 4]] * 2), x[:, :1].exp())),
        lambda m, x: torch.cat([x[:, :1], x[:, 1:2] + x[:, :1].exp(), x[:, 2:]], 1),
    ),
    ("transpose", written(lambda m, y, x: y.transpose_(1, 2).mul_(m.row)), lambda m, x: x.mT * m.row),
    ("unsqueeze", written(lambda m, y, x: y.unsqueeze_(1).squeeze_(1).exp_()), lambda m, x: x.exp()),
    ("into zeros", into_zeros, lambda m, x: torch.cat([x[:, :2], x[:, 2:].tanh()], 1)),
    ("into empty", into_empty, lambda m, x: torch.stack([x, x.sigmoid()], 2).flatten(1, 2)),
    (
        "through an older view",
        through_an_older_view,
        lambda m, x: torch.cat(
            [x[:, 1], torch.stack([x[:, 1], x[:, 2].exp(), 0 * x[:, 0], 0 * x[:, 0]], -1).flatten(1)], 1
        ),
    ),
    ("into a constant", into_a_constant, lambda m, x: (m.square + x * torch.tensor([0.0, 1, 0, 0])[:, None]) * x),
    (
        "over itself",
        written(over_itself),
        lambda m, x: (lambda y: y * y.sigmoid())(torch.cat([1 + 0 * x[:, :1], x[:, 1:] + x[:, :-1]], 1)),
    ),
    (
        "view of a view",
        written(lambda m, y, x: (y[:, 1:].mT[..., 0].mul_(x[:, 0]), None)[1]),
        lambda m, x: torch.cat([x[:, :1], x[:, 1:2] * x[:, :1], x[:, 2:]], 1),
    ),
]


@table(*WRITES)
def test_writing_in_place_is_the_same_as_not(row):
    _, in_place, out_of_place = row
    found = runs_beside(Probe(in_place, width=4))
    expected = runs_beside(Probe(out_of_place, width=4))
    torch.testing.assert_close(found.relevance, expected.relevance, rtol=1e-11, atol=1e-12)
    assert bool(found.relevance.any()) or row[0] == "fill"


FILLS = [
    ("masked fill", written(lambda m, y, x: y.masked_fill_(y < 0, 0.0)), lambda m, x: x.relu()),
    ("masked fill by the source", written(lambda m, y, x: y.masked_fill_(x < 0, 0.0)), lambda m, x: x.relu()),
    ("by an index", written(lambda m, y, x: y.__setitem__(y < 0, 0.0)), lambda m, x: x.relu()),
    (
        "on both sides",
        written(lambda m, y, x: (y.masked_fill_(y > 0.4, 0.4), y.masked_fill_(y < -0.4, -0.4))[1]),
        lambda m, x: x.clamp(-0.4, 0.4),
    ),
]


@table(*FILLS)
def test_numbers_that_are_written_by_a_condition_make_an_activation(row):
    _, in_place, function = row
    found, expected = runs_beside(Probe(in_place)), runs_beside(Probe(function))
    torch.testing.assert_close(found.relevance, expected.relevance, rtol=1e-11, atol=1e-12)


# -- moves ------------------------------------------------------------------------------------------------------------


MOVES = [
    ("views", lambda m, x: x.view(2, 2, 2, 4).transpose(1, 2).reshape(2, 4, 4).mT.contiguous()),
    ("split", lambda m, x: torch.cat([part * i for i, part in enumerate(x.split(2, 1))], 1)),
    ("chunk", lambda m, x: (lambda a, b: a - b)(*x.chunk(2, -1))),
    ("unbind", lambda m, x: torch.stack(x.unbind(1)[::-1], 1)),
    ("tensor split", lambda m, x: torch.cat(x.tensor_split([1, 3], 1)[1:], 1)),
    ("iterated", lambda m, x: torch.stack([part[0] for part in x])),
    ("in tuples and dicts", lambda m, x: {"a": (x, [x.flip(1)])}["a"][1][0]),
    ("expanded", lambda m, x: x[:, :1].expand(-1, 4, -1) + x[:, 1:2].expand_as(x)),
    ("gathered", lambda m, x: x.gather(1, torch.tensor([[[0, 1, 2, 3]]] * 2)).repeat_interleave(2, 1)),
    ("indexed", lambda m, x: x[:, [0, 0, 3]] + x.index_select(1, torch.tensor([1, 2, 2]))),
    ("padded", lambda m, x: F.pad(x, (1, 0, 0, 2), value=3.0).roll(1, 1)),
    ("where", lambda m, x: torch.where(m.mask[:, None], x, x.flip(1))),
    ("summed", lambda m, x: x.cumsum(1) + x.mean(1, keepdim=True) - x.sum(-1, keepdim=True)),
    ("unfolded", lambda m, x: x.unfold(1, 3, 1).flatten(1)),
    ("triangles", lambda m, x: x.tril() - x.triu(1)),
    ("selected by a mask", lambda m, x: x[:, m.mask]),
    ("einsum", lambda m, x: torch.einsum("btd,de->bet", x, m.square)),
    ("reversed operators", lambda m, x: 2.0 - (m.square @ x) + (-x) / 3),
]


@table(*MOVES)
def test_moves_have_their_plain_gradient(row):
    _, operation = row
    probe = Probe(operation)
    found = runs_beside(probe)
    x, r = (probe.table(ids).detach() for ids in (IDS, OTHER))
    x.requires_grad_()
    (c,) = torch.autograd.grad(probe.head(operation(probe, x).flatten(1))[:, 1].sum(), x)
    torch.testing.assert_close(found.relevance, ((x.detach() - r) * c).sum(-1), rtol=1e-10, atol=1e-11)


# -- values that are detached -----------------------------------------------------------------------------------------


def without_grad(m, x):
    with torch.no_grad():
        cache = torch.zeros_like(x)
        cache.copy_(x.tanh())
        cache[:, 0] += x[:, 1]
        cache.mul_(2)
    return cache


@table(
    ("detach", lambda m, x: x.detach().tanh()),
    ("data", lambda m, x: x.data * 2),
    ("no_grad", without_grad),
    ("detach_", lambda m, x: (x * 1.0).detach_()),
    ("a factor", lambda m, x: x.square().mean(-1, keepdim=True).add(1).detach()),
)
def test_what_is_detached_has_a_row_of_its_own(row):
    _, cut = row
    probe = Probe(lambda m, x: x * 0.5 + cut(m, x) * m.row)
    found = runs_beside(probe)
    x, r = (probe.table(ids).detach() for ids in (IDS, OTHER))
    c = probe.head.weight[1].detach().view(4, 4)
    lost = ((cut(probe, x.clone()) - cut(probe, r.clone())) * probe.row * c).sum((1, 2))
    torch.testing.assert_close(torch.tensor([ledger["detached"] for ledger in found.ledgers]), lost.float())
    torch.testing.assert_close(found.relevance, ((x - r) * 0.5 * c).sum(-1), rtol=1e-10, atol=1e-11)


COPIES = [
    ("a parameter", lambda m, x: nn.Parameter(x.detach()) * 2),
    ("a tensor that shares its numbers", lambda m, x: torch.from_dlpack(x.detach()) * 2),
    ("a storage", lambda m, x: torch.empty(0, dtype=x.dtype).set_(x.detach()) * 2),
]


@table(*COPIES)
def test_copies_that_cannot_be_followed_are_refused(row):
    for operation in (row[1], lambda m, x: x + row[1](m, x)):
        with pytest.raises(UnsupportedOperationError, match="copies activations in a way that"):
            textlrp.propagate(Probe(operation), 1, "difference", reference=OTHER, input_ids=IDS)


def test_without_a_gradient_to_the_embeddings_the_cause_is_named():
    with pytest.raises(UnsupportedOperationError, match="no gradient back to its embeddings"):
        textlrp.propagate(Probe(COPIES[0][1]), 1, "attnlrp", input_ids=IDS)


def test_rules_that_hold_all_of_it_constant_are_named():
    with pytest.raises(UnsupportedOperationError, match=r"these rules hold Tensor\.std constant; difference rules"):
        textlrp.propagate(Probe(lambda m, x: x.std(1)), 1, "attnlrp", input_ids=IDS)


def test_a_detached_factor_is_measured_halfway():
    """``a`` gets ``(b + b_r) / 2``, whether or not ``b`` is detached: only the share of ``b`` is lost."""
    probe = Probe(lambda m, x: x * x.exp().detach())
    found = runs_beside(probe)
    x, r = (probe.table(ids).detach() for ids in (IDS, OTHER))
    c = probe.head.weight[1].detach().view(4, 4)
    torch.testing.assert_close(found.relevance, ((x - r) * c * (x.exp() + r.exp()) / 2).sum(-1))


# -- ids --------------------------------------------------------------------------------------------------------------


class OfIds(nn.Module):
    """A classifier that computes what it looks up from its ids."""

    def __init__(self, looked_up):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.table, self.places = nn.Embedding(12, 4, dtype=torch.float64), nn.Embedding(12, 4, dtype=torch.float64)
        for each in (self.table, self.places):
            each.weight = nn.Parameter(torch.randn(12, 4, generator=generator, dtype=torch.float64))
        self.head, self.looked_up = nn.Linear(4, 3, dtype=torch.float64), looked_up

    def forward(self, input_ids):
        return self.head(self.looked_up(self, input_ids).tanh().mean(1))


def shifted(m, ids):
    right = ids.new_zeros(ids.shape)
    right[:, 1:] = ids[:, :-1].clone()
    right[:, 0] = 2
    return m.table(right) + m.table(ids)


def moved_by_one(m, ids):
    ids = torch.cat([ids.new_full((ids.shape[0], 1), 3), ids[:, :-1]], 1)
    return m.table(ids.masked_fill(ids == 99, 1))


@table(
    ("shifted", shifted),
    ("moved by one", moved_by_one),
    ("padded", lambda m, ids: m.table(F.pad(ids, (1, 2), value=4))),
    ("hashed", lambda m, ids: m.table((ids * 31 + 7) % 12)),
    ("hashed twice", lambda m, ids: m.table(ids) * m.places((ids * 5 + 1) % 12)),
    ("clamped", lambda m, ids: m.table(ids.clamp(max=8))),
    ("turned", lambda m, ids: m.table(ids.flip(1).view(-1).view_as(ids).to(torch.int32))),
    ("pairs", lambda m, ids: m.table(ids[:, :-1]) * m.table(ids[:, 1:])),
    ("positions", lambda m, ids: m.table(ids) + m.places(torch.arange(ids.shape[1]))),
    ("positions beside padding", lambda m, ids: m.table(ids) + m.places((ids != 0).long().cumsum(1))),
)
def test_ids_are_moved_in_both_runs(row):
    found = runs_beside(OfIds(row[1]))
    assert bool(found.relevance.any())
    assert all("reference (pinned)" not in ledger for ledger in found.ledgers)


def test_what_is_counted_among_the_ids_is_counted_in_the_text():
    model = OfIds(lambda m, ids: m.table(ids) + m.places((ids != 7).long().cumsum(1)))
    found = measured(model, IDS, OTHER)
    assert all("reference (pinned)" in ledger for ledger in found.ledgers)
    positions = model.places(torch.arange(1, 5))
    expected = model.head((model.table(OTHER) + positions).tanh().mean(1)).detach()
    torch.testing.assert_close(found.reference_logits, expected)


# -- modules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [False, True], ids=["without weights", "with weights"])
@pytest.mark.parametrize("masked", [False, True], ids=["unmasked", "masked"])
def test_multi_head_attention(weights, masked):
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(4, 2, batch_first=True, dtype=torch.float64).eval()
    padding = torch.tensor([[False] * 4, [False, False, True, True]]) if masked else None

    def operation(m, x):
        y, shares = attention(x, x, x, key_padding_mask=padding, need_weights=weights)
        return torch.cat([y, shares], -1) if weights else y

    found = runs_beside(Probe(operation))
    assert all(("detached" in ledger.rows) == weights for ledger in found.ledgers)


def test_a_buffer_that_the_model_writes_to_starts_anew_in_each_explanation():
    class Averages(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.table, self.head = nn.Embedding(12, 4), nn.Linear(4, 3)
            self.register_buffer("average", torch.zeros(4))

        def forward(self, input_ids):
            x = self.table(input_ids)
            with torch.no_grad():
                self.average.mul_(0.9).add_(x.mean((0, 1)))
            return self.head((x + self.average).mean(1))

    model, ids = Averages(), torch.tensor([[1, 2, 3]])
    runs = [textlrp.propagate(model, 1, "difference", input_ids=ids, reference=5) for _ in range(3)]
    for run in runs[1:]:
        assert run.ledgers == runs[0].ledgers
    copy = Averages()
    with torch.no_grad():
        assert torch.equal(runs[0].reference_logits, copy(torch.tensor([[5, 5, 5]])))
