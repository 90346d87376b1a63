"""Constants among activations, and constants written in place, are posted at the node where they enter."""

import pytest
import torch
import torch.nn.functional as F
from reference_rules import IDS, Probe
from single_operations import check, table

from textlrp import propagate

# -- overwritten activations ------------------------------------------------------------------------------------------


def assigned(value):
    def operation(probe, x):
        x[:, 0] = probe.row if value == "row" else value
        return x

    return operation


def assigned_from_elsewhere(probe, x):
    x[:, 0] = x[:, 1] * 2
    return x


def assigned_to_zeros(probe, x):
    y = torch.zeros_like(x)
    y[:] = x
    return y


def assigned_to_constants(probe, x):
    y = torch.ones_like(x)
    y[:, 1:] = x[:, 1:]
    return y


def assigned_by_mask(probe, x):
    x[:, probe.mask] = 3.0
    return x


def assigned_by_index(probe, x):
    x[:, torch.tensor([0, 2])] = probe.row
    return x


def copied(probe, x):
    y = torch.ones_like(x)
    y.copy_(x)
    return y


def copied_in_part(probe, x):
    y = torch.ones_like(x)
    y[:, 0].copy_(x[:, 1])
    return y


def added_to_a_constant_view_in_place(probe, x):
    y = torch.ones_like(x)
    y[:, 0] += x[:, 1]
    return y


def zeroed_in_part(probe, x):
    x[:, 0].zero_()
    return x


def filled_in_part(probe, x):
    x[:, 0].fill_(2.0)
    return x


WITH_CONSTANTS = [
    ("cat", lambda m, x: torch.cat([x, m.square.expand(2, 4, 4)], 1)),
    ("cat of keywords", lambda m, x: torch.cat(tensors=(m.row.expand(2, 1, 4), x), dim=1)),
    ("concat", lambda m, x: torch.concat([x, m.square.expand(2, 4, 4)], 1)),
    ("stack", lambda m, x: torch.stack([x, m.row.expand(x.shape)], 1)),
    ("hstack", lambda m, x: torch.hstack([x, m.square.expand(2, 4, 4)])),
    ("where", lambda m, x: torch.where(m.mask[:, None], x, m.row)),
    ("where of a constant first", lambda m, x: torch.where(m.mask[:, None], m.row, x)),
    ("where with a number", lambda m, x: torch.where(m.mask[:, None], x, 0.5)),
    ("Tensor.where", lambda m, x: x.where(m.mask[:, None], m.row)),
    ("masked_fill", lambda m, x: x.masked_fill(m.mask[:, None], 0.5)),
    ("torch.masked_fill", lambda m, x: torch.masked_fill(x, m.mask[:, None], 0.5)),
    ("masked_fill by keyword", lambda m, x: x.masked_fill(m.mask[:, None], value=0.5)),
    ("masked_fill_", lambda m, x: x.masked_fill_(m.mask[:, None], 2.0)),
    ("masked_scatter", lambda m, x: x.masked_scatter(m.mask[:, None], m.square.expand(2, 4, 4))),
    ("pad", lambda m, x: F.pad(x, (0, 0, 1, 1), value=0.7)),
    ("index_fill", lambda m, x: x.index_fill(1, torch.tensor([0, 3]), 1.5)),
    ("index_fill_", lambda m, x: x.index_fill_(1, torch.tensor([0, 3]), 1.5)),
    ("index_copy", lambda m, x: x.index_copy(1, torch.tensor([2]), m.row.expand(2, 1, 4))),
    ("index_add", lambda m, x: x.index_add(1, torch.tensor([2]), m.row.expand(2, 1, 4))),
    ("index_add to a constant", lambda m, x: m.square.expand(2, 4, 4).index_add(1, torch.tensor([2]), x[:, :1])),
    ("index_add_", lambda m, x: x.index_add_(1, torch.tensor([2, 2]), m.row.expand(2, 2, 4), alpha=2)),
    ("index_put", lambda m, x: x.index_put((torch.tensor([0, 1]), torch.tensor([2, 3])), m.row)),
    ("index_put_", lambda m, x: x.index_put_((torch.tensor([0, 1]), torch.tensor([2, 3])), m.row, accumulate=True)),
    ("scatter", lambda m, x: x.scatter(1, torch.zeros(2, 1, 4, dtype=torch.long), m.row.expand(2, 1, 4))),
    ("scatter of a number", lambda m, x: x.scatter(1, torch.zeros(2, 1, 4, dtype=torch.long), 2.5)),
    ("scatter_add", lambda m, x: x.scatter_add(1, torch.zeros(2, 1, 4, dtype=torch.long), m.row.expand(2, 1, 4))),
    ("scatter_add_ to a constant", lambda m, x: m.square.repeat(2, 1, 1).scatter_add_(1, (x > 0).long(), x)),
    ("x[:, 0] = 1", assigned(1.0)),
    ("x[:, 0] = a", assigned("row")),
    ("a[:, 1:] = x", assigned_to_constants),
    ("x[mask] = 3", assigned_by_mask),
    ("x[index] = a", assigned_by_index),
    ("a[:, 0].copy_(x)", copied_in_part),
    ("a[:, 0] += x", added_to_a_constant_view_in_place),
    ("x[:, 0] = 1 as a tensor of integers", assigned(torch.tensor(1))),
    ("where with integers", lambda m, x: torch.where(m.mask[:, None], x, torch.ones(4, dtype=torch.long))),
    ("cat with integers", lambda m, x: torch.cat([x, torch.ones(len(x), 1, 4, dtype=torch.long)], 1)),
    ("x[:, 0].fill_", filled_in_part),
    (
        "batch_norm",
        lambda m, x: F.batch_norm(x.mT, m.row, m.other, m.other, m.row).mT,
    ),
]


@table(*WITH_CONSTANTS)
def test_operations_with_constants_post_them(operation):
    propagation = check(operation)
    assert all(set(ledger) & {"constants", "biases"} for ledger in propagation.ledgers)


@table(
    ("masked_fill with zero", lambda m, x: x.masked_fill(m.mask[:, None], 0.0)),
    ("where with zero", lambda m, x: torch.where(m.mask[:, None], x, 0.0)),
    ("cat with zeros", lambda m, x: torch.cat([x, torch.zeros_like(x)], 1)),
    ("x[:, 0] = 0", assigned(0.0)),
    ("x[:, 0].zero_()", zeroed_in_part),
    ("x[:, 0] = x", assigned_from_elsewhere),
    ("zeros[:] = x", assigned_to_zeros),
    ("ones.copy_", copied),
    ("pad", lambda m, x: F.pad(x, (1, 0))),
    ("cat", lambda m, x: torch.cat([x, x.flip(1)], -1)),
    ("where of two", lambda m, x: torch.where(x > 0, x, 0.1 * x)),
    ("unbind", lambda m, x: torch.stack(x.unbind(1)[::-1], 1)),
    ("iteration", lambda m, x: torch.stack(list(x))),
    ("split", lambda m, x: torch.cat(x.split([1, 3], -1)[::-1], -1)),
    ("chunk", lambda m, x: torch.cat(x.chunk(2, 1)[::-1], 1)),
    ("gather", lambda m, x: x.gather(1, torch.zeros(2, 2, 4, dtype=torch.long))),
    ("index_select", lambda m, x: x.index_select(1, torch.tensor([3, 0, 0]))),
    ("roll", lambda m, x: torch.roll(x, 1, 1)),
    ("T", lambda m, x: torch.stack([row.T for row in x])),
    ("mT", lambda m, x: x.mT),
    ("max", lambda m, x: x.max(1).values),
    ("amax", lambda m, x: x.amax(1)),
    ("topk", lambda m, x: x.topk(2, 1).values),
    ("sort", lambda m, x: x.sort(1).values),
    ("max_pool1d", lambda m, x: F.max_pool1d(x, 2)),
    ("relu", lambda m, x: F.relu(x)),
    ("relu_", lambda m, x: F.relu_(x)),
    ("relu in place", lambda m, x: F.relu(x, inplace=True)),
    ("leaky_relu", lambda m, x: F.leaky_relu(x, 0.2)),
    ("abs", lambda m, x: x.abs()),
    ("dropout", lambda m, x: F.dropout(x, 0.5, training=False)),
    ("unfold", lambda m, x: x.unfold(1, 2, 1)),
    ("as_strided", lambda m, x: x.contiguous().as_strided((2, 2, 4), (16, 4, 1))),
    ("fft", lambda m, x: torch.fft.fft(torch.fft.fft(x, dim=-1), dim=-2).real),
    ("to and back", lambda m, x: x.to(torch.float64).type_as(x).contiguous()),
    ("detached twin", lambda m, x: x + (x - x.detach()) * 0),
)
def test_moves_and_choices_post_nothing(operation):
    check(operation)


def test_a_rotation_by_complex_numbers():
    def operation(m, x):
        turn = torch.polar(torch.ones(4, 2, dtype=x.dtype), m.square[:, :2].to(x.dtype))
        return torch.view_as_real(torch.view_as_complex(x.view(2, 4, 2, 2)) * turn).flatten(2)

    check(operation, posted=set())


@pytest.mark.parametrize("rules", ["attnlrp", "ln-lrp", "difference"])
def test_a_recurrence_may_write_its_states_into_one_tensor(rules):
    """The product keeps a view of what is overwritten next."""

    def written(probe, x):
        states = torch.zeros_like(x)
        for t in range(4):
            before = states[:, t - 1] if t else torch.zeros_like(x[:, 0])
            states[:, t] = torch.sigmoid(x[:, t]) * before + x[:, t]
        return states

    def stacked(probe, x):
        states = [x[:, 0] + torch.sigmoid(x[:, 0]) * 0]
        for t in range(1, 4):
            states.append(torch.sigmoid(x[:, t]) * states[-1] + x[:, t])
        return torch.stack(states, 1)

    one, other = (propagate(Probe(f), 1, rules, input_ids=IDS) for f in (written, stacked))
    torch.testing.assert_close(one.relevance, other.relevance)
