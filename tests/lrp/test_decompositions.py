"""Functions that run step by step have the relevance of a model that writes the same steps."""

import pytest
import torch
import torch.nn.functional as F
from difference_probes import OTHER
from reference_rules import IDS, Probe
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import textlrp
from textlrp.errors import UnsupportedOperationError

FAMILIES = pytest.mark.parametrize("rules", ["attnlrp", "difference"])


def explained(operation, rules):
    """The relevance and the logits of a probe, whose values are those of the plain model."""
    probe = Probe(operation)
    options = {"reference": OTHER} if rules == "difference" else {}
    found = textlrp.propagate(probe, 1, rules, input_ids=IDS, **options)
    with torch.no_grad():
        torch.testing.assert_close(found.logits, probe(IDS), rtol=1e-12, atol=1e-12)
        if options:
            torch.testing.assert_close(found.reference_logits, probe(OTHER))
    return found


def compared(whole, steps, rules):
    found, expected = explained(whole, rules), explained(steps, rules)
    torch.testing.assert_close(found.relevance, expected.relevance, rtol=1e-9, atol=1e-10)
    assert found.relevance.abs().max() > 1e-5


def normed(x, dim):
    return x / x.norm(dim=dim, keepdim=True)


def in_groups(x):
    apart = x.reshape(2, 2, 8)
    centered = apart - apart.mean(-1, keepdim=True)
    return (centered / (centered.square().mean(-1, keepdim=True) + 1e-5).sqrt()).reshape(x.shape)


def halves(x):
    """The mean of the first and of the last two times, at the places 0 and 1."""
    return torch.cat([x[:, :2].mean(1, keepdim=True), x[:, 2:].mean(1, keepdim=True), torch.zeros_like(x[:, 2:])], 1)


PLACES = torch.tensor([0, 0, 1, 1]).view(1, 4, 1)
torch.manual_seed(0)
BILINEAR = nn.Bilinear(4, 4, 3).double()

OPERATIONS = [
    (
        "cosine similarity",
        lambda m, x: F.cosine_similarity(x, x.flip(1), -1)[..., None] * x,
        lambda m, x: (normed(x, -1) * normed(x.flip(1), -1)).sum(-1)[..., None] * x,
    ),
    (
        "cosine similarity to a constant",
        lambda m, x: F.cosine_similarity(x, m.row.expand_as(x), -1),
        lambda m, x: (normed(x, -1) * normed(m.row, -1)).sum(-1),
    ),
    (
        "group norm",
        lambda m, x: F.group_norm(x.mT, 2, m.row, m.other),
        lambda m, x: in_groups(x.mT) * m.row[:, None] + m.other[:, None],
    ),
    ("instance norm", lambda m, x: F.instance_norm(x.mT).mT, lambda m, x: F.layer_norm(x.mT, (4,)).mT),
    (
        "bilinear",
        lambda m, x: BILINEAR(x, x.flip(1)),
        lambda m, x: torch.stack([((x @ w) * x.flip(1)).sum(-1) for w in BILINEAR.weight], -1) + BILINEAR.bias,
    ),
    (
        "bilinear with a constant",
        lambda m, x: F.bilinear(x, m.row.expand_as(x), BILINEAR.weight),
        lambda m, x: torch.stack([((x @ w) * m.row).sum(-1) for w in BILINEAR.weight], -1),
    ),
    (
        "var_mean",
        lambda m, x: (lambda v, mean: (x - mean) / (v + 1e-5).sqrt())(
            *torch.var_mean(x, -1, correction=0, keepdim=True)
        ),
        lambda m, x: F.layer_norm(x, (4,)),
    ),
    (
        "std_mean",
        lambda m, x: (lambda s, mean: (x - mean) / (s + 1e-5))(*torch.std_mean(x, dim=1, keepdim=True)),
        lambda m, x: (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-5),
    ),
    (
        "cdist",
        lambda m, x: torch.cdist(x, x.flip(1)) @ x,
        lambda m, x: (x[:, :, None] - x.flip(1)[:, None]).norm(dim=-1) @ x,
    ),
    (
        "pairwise distance",
        lambda m, x: F.pairwise_distance(x, m.row.expand_as(x), keepdim=True) * x,
        lambda m, x: (x - m.row + 1e-6).norm(dim=-1, keepdim=True) * x,
    ),
    ("addcdiv", lambda m, x: torch.addcdiv(x, x, m.row, value=0.5), lambda m, x: x + x / m.row * 0.5),
    (
        "logaddexp",
        lambda m, x: torch.logaddexp(x, x.flip(1) @ m.square),
        lambda m, x: (lambda y: (x + y) / 2 + ((x - y).exp().log1p() - (x - y) / 2))(x.flip(1) @ m.square),
    ),
    (
        "hypot",
        lambda m, x: torch.hypot(x, x.flip(1) @ m.square),
        lambda m, x: (x**2 + (x.flip(1) @ m.square) ** 2).sqrt(),
    ),
    ("float_power", lambda m, x: torch.float_power(x, 3).to(x.dtype), lambda m, x: x**3),
    ("softmin", lambda m, x: F.softmin(x, -1) * x, lambda m, x: (-x).softmax(-1) * x),
    (
        "scatter_reduce by the mean",
        lambda m, x: torch.zeros_like(x).scatter_reduce(1, PLACES.expand_as(x), x, "mean", include_self=False),
        lambda m, x: halves(x),
    ),
    (
        "scatter_reduce by the sum",
        lambda m, x: torch.zeros_like(x).scatter_reduce_(1, PLACES.expand_as(x), x, reduce="sum"),
        lambda m, x: halves(x) * 2,
    ),
]


@FAMILIES
@pytest.mark.parametrize(("whole", "steps"), [pytest.param(*row[1:], id=row[0]) for row in OPERATIONS])
def test_an_operation_has_the_relevance_of_its_steps(whole, steps, rules):
    compared(whole, steps, rules)


# -- recurrent layers -------------------------------------------------------------------------------------------------


def lstm_over_time(layer, x, suffix="_l0", hidden=None):
    w_ih, w_hh, b_ih, b_hh = (
        getattr(layer, name + suffix) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    h = c = x.new_zeros(len(x), layer.hidden_size)
    found = []
    for t in range(x.shape[1]):
        i, f, g, o = (F.linear(x[:, t], w_ih, b_ih) + F.linear(h, w_hh, b_hh)).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        found.append(h)
    return torch.stack(found, 1)


def gru_over_time(layer, x):
    h = x.new_zeros(len(x), layer.hidden_size)
    found = []
    for t in range(x.shape[1]):
        own = F.linear(x[:, t], layer.weight_ih_l0, layer.bias_ih_l0).chunk(3, -1)
        old = F.linear(h, layer.weight_hh_l0, layer.bias_hh_l0).chunk(3, -1)
        r, z = (own[0] + old[0]).sigmoid(), (own[1] + old[1]).sigmoid()
        h = (1 - z) * (own[2] + r * old[2]).tanh() + z * h
        found.append(h)
    return torch.stack(found, 1)


def rnn_over_time(layer, x):
    h = x.new_zeros(len(x), layer.hidden_size)
    found = []
    for t in range(x.shape[1]):
        h = F.relu(
            F.linear(x[:, t], layer.weight_ih_l0, layer.bias_ih_l0) + F.linear(h, layer.weight_hh_l0, layer.bias_hh_l0)
        )
        found.append(h)
    return torch.stack(found, 1)


def both_ways(layer, x):
    return torch.cat([lstm_over_time(layer, x), lstm_over_time(layer, x.flip(1), "_l0_reverse").flip(1)], -1)


@pytest.mark.parametrize("rules", ["attnlrp", "difference", "cp-lrp-gates"])
@pytest.mark.parametrize(
    ("layer", "steps"),
    [
        (nn.LSTM(4, 5, batch_first=True), lstm_over_time),
        (nn.LSTM(4, 5, batch_first=True, bidirectional=True), both_ways),
        (nn.GRU(4, 5, batch_first=True), gru_over_time),
        (nn.RNN(4, 5, batch_first=True, nonlinearity="relu"), rnn_over_time),
    ],
    ids=["lstm", "both ways", "gru", "rnn"],
)
def test_a_recurrent_layer_has_the_relevance_of_its_equations(layer, steps, rules):
    layer = layer.double()
    compared(lambda m, x: layer(x)[0], lambda m, x: steps(layer, x), rules)


@FAMILIES
def test_time_may_come_first_and_the_last_state_be_used(rules):
    torch.manual_seed(1)
    layer = nn.LSTM(4, 3, num_layers=2, proj_size=2).double()
    turned = nn.LSTM(4, 3, num_layers=2, proj_size=2, batch_first=True).double()
    turned.load_state_dict(layer.state_dict())
    compared(lambda m, x: layer(x.mT.permute(2, 0, 1))[0].transpose(0, 1), lambda m, x: turned(x)[0], rules)
    compared(lambda m, x: layer(x.transpose(0, 1))[1][0][-1], lambda m, x: turned(x)[0][:, -1], rules)


@FAMILIES
def test_packed_sequences_have_the_relevance_of_documents_without_padding(rules):
    torch.manual_seed(1)

    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.layer = nn.Embedding(12, 4), nn.GRU(4, 3, batch_first=True, bidirectional=True)
            self.head = nn.Linear(6, 2)

        def forward(self, input_ids, attention_mask):
            lengths = attention_mask.sum(1).cpu()
            packed = pack_padded_sequence(self.table(input_ids), lengths, batch_first=True, enforce_sorted=False)
            out, _ = self.layer(packed)
            return self.head(pad_packed_sequence(out, batch_first=True)[0].sum(1))

    model = Packed().double()
    ids, mask = torch.tensor([[1, 2, 0, 0], [3, 4, 5, 6]]), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    options = {"reference": torch.tensor([[7, 8, 0, 0], [9, 7, 8, 9]])} if rules == "difference" else {}
    found = textlrp.propagate(model, 1, rules, input_ids=ids, attention_mask=mask, **options)
    if options:
        options = {"reference": torch.tensor([[7, 8]])}
    alone = textlrp.propagate(model, 1, rules, input_ids=ids[:1, :2], attention_mask=mask[:1, :2], **options)
    torch.testing.assert_close(found.relevance[0, :2], alone.relevance[0])
    assert found.relevance[0, 2:].tolist() == [0.0, 0.0]
    assert found.relevance[1].abs().min() > 1e-4


@FAMILIES
def test_cells_have_the_relevance_of_their_layers(rules):
    torch.manual_seed(1)
    layer, cell = nn.GRU(4, 3, batch_first=True).double(), nn.GRUCell(4, 3).double()
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    compared(lambda m, x: cell(x[:, 1], cell(x[:, 0])), lambda m, x: layer(x[:, :2])[0][:, -1], rules)
    layer, cell = nn.LSTM(4, 3, batch_first=True).double(), nn.LSTMCell(4, 3).double()
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    compared(lambda m, x: cell(x[:, 1], cell(x[:, 0]))[0], lambda m, x: layer(x[:, :2])[0][:, -1], rules)


def test_gates_held_constant_leave_all_relevance_to_the_signal():
    """Arras et al. 2017: what a cell keeps and what it takes in share its relevance; the gates get none."""
    torch.manual_seed(1)
    cell = nn.LSTMCell(4, 4, bias=False).double()
    met = textlrp.propagate(Probe(lambda m, x: cell(x[:, 0])[0]), 1, "cp-lrp-gates", input_ids=IDS).met
    assert not any(rule == "uniform" for _, rule in met)


def test_what_has_no_rule_is_named():
    probe = Probe(lambda m, x: torch.zeros_like(x).scatter_reduce(1, PLACES.expand_as(x), x, "amax"))
    with pytest.raises(UnsupportedOperationError, match=r"Tensor.scatter_reduce with reduce='amax', called in"):
        textlrp.propagate(probe, 1, input_ids=IDS)
