"""Input ids, positions and types are followed to the tables that they are looked up in."""

import pytest
import torch
import torch.nn.functional as F
from reference_rules import IDS
from torch import nn

import textlrp
from textlrp.errors import UnsupportedOperationError


class TableProbe(nn.Module):
    """A classifier whose lookup is an argument."""

    def __init__(self, look_up):
        super().__init__()
        self.table = nn.Embedding(12, 4)
        self.hashed = nn.Embedding(5, 4)
        self.turned = nn.Parameter(torch.randn(4, 12))  # as an adapter of an embedding keeps its table
        self.head = nn.Linear(4, 3)
        self.look_up = look_up

    def forward(self, input_ids):
        return self.head(self.look_up(self, input_ids).mean(1))


@pytest.mark.parametrize(
    ("look_up", "words"),
    [
        (lambda m, ids: F.embedding(ids, m.table(ids).detach()[0].repeat(3, 1)), "table computed from activations"),
        (lambda m, ids: m.table.weight[ids, :2].repeat(1, 1, 2), r"__getitem__ of a table by the input ids"),
        (lambda m, ids: m.turned.index_select(1, ids.flatten()).T.view(2, 4, 4), "index_select of a table"),
        (lambda m, ids: F.one_hot(ids, 12).float().clamp(max=0.5) @ m.table.weight, "never looked its input ids up"),
        (lambda m, ids: ids.float()[..., None].expand(2, 4, 4), "never looked its input ids up"),
        (lambda m, ids: m.table(torch.arange(4).expand(2, 4)), "never looked its input ids up"),
        (lambda m, ids: F.embedding(ids, m.table.weight, max_norm=1.0), "max_norm"),
        (lambda m, ids: F.embedding_bag(ids, m.table.weight, max_norm=1.0)[:, None], "max_norm"),
        (lambda m, ids: F.embedding(ids, F.linear(m.table(ids).flatten(0, 1), torch.ones(4, 4)).repeat(2, 1)), "table"),
    ],
    ids=[
        "table of detached activations",
        "indexing",
        "index_select",
        "one-hot",
        "the ids as numbers",
        "positions alone",
        "max_norm",
        "bag",
        "table of activations",
    ],
)
def test_only_a_lookup_in_an_own_table_reaches_the_tokens(look_up, words):
    with pytest.raises(UnsupportedOperationError, match=words):
        textlrp.propagate(TableProbe(look_up), 0, input_ids=IDS)


def one_hot(ids):
    return F.one_hot(ids, 12).double()


OTHER = torch.tensor([[7, 8, 9, 7], [8, 8, 1, 2]])
ROWS = [
    ("index", lambda m, ids: m.table.weight[ids]),
    ("a table made of others", lambda m, ids: F.embedding(ids, torch.cat([m.table.weight[:3], m.table.weight[3:]]))),
    ("flat index", lambda m, ids: m.table.weight[ids.view(-1)].view(-1, 4, 4)),
    ("index_select", lambda m, ids: m.table.weight.index_select(0, ids.flatten()).view(-1, 4, 4)),
    ("one-hot vectors", lambda m, ids: one_hot(ids) @ m.table.weight),
    ("one-hot vectors and a linear map", lambda m, ids: F.linear(one_hot(ids), m.table.weight.T)),
    ("counts", lambda m, ids: (one_hot(ids).sum(1) @ m.table.weight / 4)[:, None]),
    ("shares", lambda m, ids: (one_hot(ids).mean(1) @ m.table.weight)[:, None]),
    ("weighted counts", lambda m, ids: ((one_hot(ids) * (ids != 99)[..., None]).sum(1) / 4 @ m.table.weight)[:, None]),
    (
        "scattered counts",
        lambda m, ids: (
            torch.zeros(len(ids), 12).double().scatter_add_(1, ids, torch.ones(ids.shape).double()) @ m.table.weight / 4
        )[:, None],
    ),
    ("bag", lambda m, ids: F.embedding_bag(ids, m.table.weight)[:, None]),
    ("bag of sums", lambda m, ids: F.embedding_bag(ids, m.table.weight, mode="sum")[:, None] / 4),
    (
        "bags with offsets",
        lambda m, ids: F.embedding_bag(ids.view(-1), m.table.weight, torch.arange(0, ids.numel(), 4))[:, None],
    ),
]


@pytest.mark.parametrize("reference", [None, "mean", OTHER], ids=["none", "mean", "ids"])
@pytest.mark.parametrize("look_up", [row[1] for row in ROWS], ids=[row[0] for row in ROWS])
def test_rows_of_a_table_are_those_of_a_lookup(look_up, reference):
    model = TableProbe(lambda m, ids: m.table(ids)).double()
    rules, options = ("attnlrp", {}) if reference is None else ("difference", {"reference": reference})
    expected = textlrp.propagate(model, 1, rules, input_ids=IDS, **options)
    model.look_up = look_up
    found = textlrp.propagate(model, 1, rules, input_ids=IDS, **options)
    torch.testing.assert_close(found.relevance, expected.relevance)
    torch.testing.assert_close(found.logits, expected.logits)


def test_a_bag_leaves_padding_out_and_takes_the_largest():
    model = TableProbe(lambda m, ids: F.embedding_bag(ids, m.table.weight, padding_idx=1)[:, None]).double()
    assert textlrp.propagate(model, 1, input_ids=IDS).relevance[0, [1, 3]].tolist() == [0.0, 0.0]
    model.look_up = lambda m, ids: F.embedding_bag(ids, m.table.weight, mode="max")[:, None]
    rows = model.table.weight.detach()[IDS]
    expected = ((rows == rows.amax(1, keepdim=True)) * rows * model.head.weight[1].detach()).sum(-1)
    expected[0, [1, 3]] = expected[0, [1, 3]] / 2  # id 1 stands twice, and a tie is shared
    torch.testing.assert_close(textlrp.propagate(model, 1, input_ids=IDS).relevance, expected)


@pytest.mark.parametrize("rules", ["attnlrp", "difference"])
def test_an_id_made_of_two_shares_its_relevance(rules):
    """Hashed pairs of words, as in fastText."""

    def pairs(m, ids):
        return m.hashed((ids[:, 1:] * 31 + ids[:, :-1]) % 5)

    model = TableProbe(pairs).double()
    options = {"reference": OTHER} if rules == "difference" else {}
    found = textlrp.propagate(model, 1, rules, input_ids=IDS, **options)
    rows = pairs(model, IDS).detach()
    rows = rows - pairs(model, options["reference"]).detach() if options else rows
    half = (rows * model.head.weight[1].detach()).sum(-1) / 6
    torch.testing.assert_close(found.relevance, F.pad(half, (1, 0)) + F.pad(half, (0, 1)))


@pytest.mark.parametrize(
    "look_up",
    [
        lambda m, ids: m.table(ids),
        lambda m, ids: torch.embedding(m.table.weight, ids),
        lambda m, ids: m.table(ids.clone().long().to(torch.int32)),
        lambda m, ids: m.table(ids.view(-1)).view(2, 4, 4),
        lambda m, ids: m.table(ids[:, 1:]),
        lambda m, ids: m.table(ids.masked_fill(ids == 1, 0)),
        lambda m, ids: m.table(torch.where(ids == 1, 0, ids)),
        lambda m, ids: m.table(F.pad(ids, (1, 0))),
        lambda m, ids: m.table(ids) + m.hashed(ids % 5),
        lambda m, ids: m.table(ids) * 3.0,
        lambda m, ids: m.table(ids) + m.table(torch.arange(4))[None],
        lambda m, ids: m.table(ids) + F.embedding(ids, m.turned.T),
    ],
    ids=[
        "module",
        "torch.embedding",
        "other integers",
        "flat",
        "part",
        "masked",
        "where",
        "padded",
        "hashed",
        "scaled",
        "positions from the same table",
        "a turned table",
    ],
)
def test_ids_are_followed_to_the_table(look_up):
    propagation = textlrp.propagate(TableProbe(look_up).double(), 0, input_ids=IDS)
    assert propagation.relevance.abs().sum() > 0


def shifted_by_assignment(ids):
    shifted = ids.new_zeros(ids.shape)
    shifted[:, 1:] = ids[:, :-1].clone()
    shifted[:, 0] = 7
    return shifted


def shifted_in_a_clone(ids):
    shifted = ids.clone()
    shifted[:, 1:] = ids[:, :-1]
    shifted[:, 0] = 7
    return shifted


def shifted_by_assignment_to_zeros_like(ids):
    shifted = torch.zeros_like(ids)
    shifted[..., 1:] = ids[..., :-1]
    return shifted


def shifted_by_copy(ids):
    shifted = torch.full_like(ids, 7)
    shifted[:, 1:].copy_(ids[:, :-1])
    return shifted


@pytest.mark.parametrize(
    "shift",
    [
        shifted_by_assignment,
        shifted_in_a_clone,
        shifted_by_assignment_to_zeros_like,
        shifted_by_copy,
        lambda ids: torch.cat([torch.full((len(ids), 1), 7), ids[:, :-1]], 1),
        lambda ids: F.pad(ids[:, :-1], (1, 0), value=7),
        lambda ids: torch.roll(ids, 1, 1).masked_fill(torch.arange(4) == 0, 7),
    ],
    ids=["new_zeros", "clone", "zeros_like", "copy_", "cat", "pad", "roll"],
)
def test_shifted_ids_credit_their_source(shift):
    """An encoder-decoder's right shift: the decoder's input at ``t + 1`` is the token at ``t``."""

    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(12, 3, dtype=torch.float64)

        def forward(self, input_ids):
            return self.table(shift(input_ids))[:, 1:].sum(1)

    model = Shifted()
    propagation = textlrp.propagate(model, 2, input_ids=IDS)
    expected = model.table.weight[IDS][..., 2].detach()
    expected[:, -1] = 0.0
    torch.testing.assert_close(propagation.relevance, expected)


class Tables(nn.Module):
    """Words, positions and segment types."""

    def __init__(self, types):
        super().__init__()
        self.words, self.positions, self.segment_types = (nn.Embedding(12, 3, dtype=torch.float64) for _ in range(3))
        self.types = types

    def forward(self, input_ids):
        places = torch.arange(input_ids.shape[1])[None]
        return (self.words(input_ids) + self.positions(places) + self.segment_types(self.types(input_ids))).sum(1)


@pytest.mark.parametrize(
    "types",
    [
        lambda ids: torch.zeros(ids.shape, dtype=torch.long),
        lambda ids: torch.zeros_like(ids),
        lambda ids: torch.ones_like(ids) - 1,
        lambda ids: torch.full_like(ids, 0),
        lambda ids: ids.new_zeros(ids.shape),
        lambda ids: (ids < 0).long(),
        lambda ids: ids.ne(ids).int(),
    ],
    ids=["zeros", "zeros_like", "ones_like", "full_like", "new_zeros", "comparison", "ne"],
)
def test_integers_of_the_shape_of_the_ids_are_not_ids(types):
    model = Tables(types)
    propagation = textlrp.propagate(model, 0, input_ids=IDS)
    torch.testing.assert_close(propagation.relevance, model.words.weight[IDS][..., 0].detach())
    assert propagation.ledgers[1]["token types"] == pytest.approx(4 * model.segment_types.weight[0, 0].item())


@pytest.mark.parametrize(
    "positions",
    [
        lambda ids: ids.ne(1).int().cumsum(1),
        lambda ids: (ids.argmax(1, keepdim=True) + ids.count_nonzero(1)[:, None]).expand(2, 4),
        lambda ids: (ids.sum(1) % 12)[:, None].expand(2, 4),
        lambda ids: torch.ones_like(ids).cumsum(1),
        lambda ids: torch.arange(4).expand_as(ids),
        lambda ids: torch.arange(4, device=ids.device) + 0 * ids.new_ones(ids.shape),
    ],
    ids=["counted words", "chosen", "summed", "counted ones", "range", "range of new_ones"],
)
def test_positions_counted_from_the_ids_are_not_ids(positions):
    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = (nn.Embedding(12, 3, dtype=torch.float64) for _ in range(2))

        def forward(self, input_ids):
            return (self.words(input_ids) + self.places(positions(input_ids))).sum(1)

    model = Counted()
    propagation = textlrp.propagate(model, 0, input_ids=IDS)
    torch.testing.assert_close(propagation.relevance, model.words.weight[IDS][..., 0].detach())


def test_positions_and_types_have_their_rows():
    model = Tables(lambda ids: torch.zeros(ids.shape, dtype=torch.long))
    ledger = textlrp.propagate(model, 0, input_ids=IDS).ledgers[1]
    assert ledger["positions"] == pytest.approx(model.positions.weight[:4, 0].sum().item())
    assert ledger["token types"] == pytest.approx(4 * model.segment_types.weight[0, 0].item())
    assert ledger["tokens"] == pytest.approx(model.words.weight[IDS[1], 0].sum().item())


def test_ids_of_another_input_have_relevance_of_their_own():
    class Titled(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(12, 4), nn.Linear(4, 3)

        def forward(self, input_ids, title_ids):
            return self.head(self.words(input_ids).mean(1) + self.words(title_ids).mean(1))

    model, titles = Titled().double(), torch.tensor([[7, 8], [9, 7]])
    found = textlrp.propagate(model, 1, input_ids=IDS, title_ids=titles)
    shares = (model.words.weight @ model.head.weight[1]).detach()
    torch.testing.assert_close(found.relevance, shares[IDS] / 4)
    torch.testing.assert_close(found.other_ids["title_ids"], shares[titles] / 2)
    assert found.ledgers[1]["other ids"] == pytest.approx(float(shares[titles[1]].sum() / 2))
    assert found.ledgers[1]["positions"] == 0.0
    against = textlrp.propagate(model, 1, "difference", input_ids=IDS, title_ids=titles, reference=OTHER)
    torch.testing.assert_close(against.relevance, (shares[IDS] - shares[OTHER]) / 4)
    assert against.other_ids["title_ids"].tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_parameters_without_tokens_are_biases():
    class Start(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(12, 3, dtype=torch.float64)
            self.start = nn.Parameter(torch.ones(1, 1, 3, dtype=torch.float64))

        def forward(self, input_ids):
            x = torch.cat([self.start.expand(len(input_ids), -1, -1), self.table(input_ids)], 1)
            return x.sum(1)

    ledger = textlrp.propagate(Start(), 0, input_ids=IDS).ledgers[0]
    assert sum(ledger[heading] for heading in ("biases", "constants")) == pytest.approx(1.0)
