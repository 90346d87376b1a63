"""Each way to spell an operation meets its rule, and what has no rule is refused by name."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
import twins
from torch import Tensor, nn
from twins import IDS, Probe

import textlrp
from textlrp.errors import InputError, LRPError, NonFiniteError, UnsupportedOperationError


def plain_gradient(operation, probe, x, c):
    """``R = x * J^T c`` by autograd, without textlrp: the rule of all that is linear but for constants."""
    x = x.detach().clone().requires_grad_()
    return x.detach() * torch.autograd.grad(operation(probe, x.clone()), x, c)[0]


def expected_relevance(probe, target, expectation):
    """What the tokens of `IDS` should receive, ``[batch, time]``, when the head sends its weights back."""
    x = probe.table(IDS).detach()
    y = probe.operation(probe, x.clone())
    c = probe.head.weight[target].detach().view(y.shape[1:]).expand(y.shape)
    if expectation is None:
        return plain_gradient(probe.operation, probe, x, c).sum(-1)
    return expectation(probe, x, c).expand(x.shape).sum(-1)


def check(operation, expectation=None, *, rules="attnlrp", posted=None, bitwise=True, **options):
    """An operation is accounted for to the ninth digit (`propagate` sees to that), and by the right rule."""
    probe = Probe(operation, **options)
    with torch.no_grad():
        plain = probe(IDS)
    found = textlrp.propagate(probe, 1, rules, input_ids=IDS)
    assert torch.equal(found.logits, plain) if bitwise else torch.allclose(found.logits, plain, rtol=1e-12)
    expected = expected_relevance(probe, 1, expectation)
    torch.testing.assert_close(found.relevance, expected, rtol=1e-9, atol=1e-10)
    if posted is not None:
        for ledger in found.ledgers:
            assert {heading for heading, value in ledger.items() if abs(value) > 1e-10} == {"tokens"} | posted
    return found


def table(*rows):
    return pytest.mark.parametrize("operation", [pytest.param(function, id=name) for name, function in rows])


# -- sums -------------------------------------------------------------------------------------------------------------


def added_in_place(probe, x):
    x += probe.row
    return x


def subtracted_in_place(probe, x):
    x -= probe.row
    return x


def added_to_a_constant_in_place(probe, x):
    y = probe.row.expand(x.shape).clone()
    y += x
    return y


def added_to_a_view_in_place(probe, x):
    x[:, 0] += probe.row
    return x


def added_then_scaled_in_place(probe, x):
    y = x + probe.row
    y.mul_(3.0)
    return y


def added_then_overwritten_in_part(probe, x):
    y = x + probe.row
    y[:, 0] = 0.0
    return y


def linear_then_written_in_place(probe, x):
    y = F.linear(x, probe.square, probe.row)
    y[:, 1:] *= 2.0
    return y


@table(
    ("x + a", lambda m, x: x + m.row),
    ("a + x", lambda m, x: m.row + x),
    ("x + 2", lambda m, x: x + 2),
    ("2 + x", lambda m, x: 2 + x),
    ("x - a", lambda m, x: x - m.row),
    ("a - x", lambda m, x: m.row - x),
    ("1 - x", lambda m, x: 1 - x),
    ("torch.add", lambda m, x: torch.add(x, m.row)),
    ("torch.add of keywords", lambda m, x: torch.add(input=x, other=m.row)),
    ("torch.add with alpha", lambda m, x: torch.add(x, m.row, alpha=-3)),
    ("torch.add of a constant with alpha", lambda m, x: torch.add(m.row, x, alpha=2)),
    ("torch.sub with alpha", lambda m, x: torch.sub(x, m.row, alpha=2)),
    ("torch.sub of a constant with alpha", lambda m, x: torch.sub(m.row, x, alpha=2)),
    ("torch.subtract", lambda m, x: torch.subtract(x, m.row)),
    ("torch.rsub", lambda m, x: torch.rsub(x, m.row)),
    ("torch.rsub with alpha", lambda m, x: torch.rsub(x, m.row, alpha=2)),
    ("Tensor.add", lambda m, x: x.add(m.row)),
    ("Tensor.add_", lambda m, x: x.add_(m.row)),
    ("Tensor.add_ with alpha", lambda m, x: x.add_(m.row, alpha=-2)),
    ("Tensor.sub_", lambda m, x: x.sub_(m.row, alpha=2)),
    ("Tensor.add_ of a number", lambda m, x: x.add_(1.5)),
    ("x += a", added_in_place),
    ("x -= a", subtracted_in_place),
    ("a += x", added_to_a_constant_in_place),
    ("x[:, 0] += a", added_to_a_view_in_place),
    ("x + a, then *= ", added_then_scaled_in_place),
    ("x + a, then [0] = 0", added_then_overwritten_in_part),
    ("broadcasting", lambda m, x: x[:, :1] + m.square),
    ("broadcasting x", lambda m, x: x.unsqueeze(1) + m.square[None, :3, None]),
    ("lerp to a constant", lambda m, x: torch.lerp(x, m.row.expand(x.shape), 0.3)),
    ("lerp from a constant", lambda m, x: torch.lerp(m.row.expand(x.shape), x, 0.3)),
    ("addcmul with constant base", lambda m, x: torch.addcmul(m.row, x, m.other, value=2)),
    ("addcmul of constants", lambda m, x: torch.addcmul(x, m.row, m.other, value=2)),
    ("addcmul_", lambda m, x: x.addcmul_(m.row, m.other, value=-1)),
    ("addmm", lambda m, x: torch.addmm(m.row, x.flatten(0, 1), m.square).view(x.shape)),
    ("addmm scaled", lambda m, x: torch.addmm(m.row, x.flatten(0, 1), m.square, beta=3, alpha=0.5).view(x.shape)),
    ("baddbmm", lambda m, x: torch.baddbmm(m.square[None], x, m.square.expand(2, 4, 4), beta=0.5, alpha=2)),
    ("baddbmm to x", lambda m, x: torch.baddbmm(x, m.square.expand(2, 4, 4), m.square.expand(2, 4, 4))),
    ("Tensor.baddbmm_", lambda m, x: x.baddbmm_(m.square.expand(2, 4, 4), m.square.expand(2, 4, 4), beta=2)),
)
def test_sums_with_constants(operation):
    check(operation, posted={"constants"})


@table(
    ("addmm to x", lambda m, x: torch.stack([torch.addmm(row, m.square, m.square) for row in x])),
    ("Tensor.addmm", lambda m, x: torch.stack([m.row.addmm(row, m.square) for row in x])),
    ("addmv", lambda m, x: torch.stack([torch.addmv(m.row, row, m.other) for row in x])),
    ("addr", lambda m, x: torch.stack([torch.addr(m.square, row[0], m.other) for row in x])),
    ("addbmm", lambda m, x: torch.stack([torch.addbmm(m.square, row[None], m.square[None]) for row in x])),
)
def test_sums_document_by_document(operation):
    """No row of such a tensor belongs to one document, so the documents are taken alone, which rounds differently."""
    check(operation, posted={"constants"}, bitwise=False)


@table(
    ("x + x", lambda m, x: x + x.flip(1)),
    ("x += x", lambda m, x: x.add_(x.flip(1))),
    ("sum", lambda m, x: sum([x[:, 0], x[:, 1], x[:, 2]])),
    ("lerp", lambda m, x: torch.lerp(x, x.flip(1), 0.3)),
    ("lerp by constants", lambda m, x: torch.lerp(x, x.flip(1), m.row.expand(x.shape))),
    ("mean", lambda m, x: x.mean(1)),
    ("cumsum", lambda m, x: x.cumsum(1)),
    ("diff", lambda m, x: torch.diff(x, dim=1)),
    ("masked mean", lambda m, x: (x * m.mask[:, None]).sum(1) / m.mask.sum()),
)
def test_sums_without_constants(operation):
    check(operation, posted=set())


def test_a_linear_map_that_is_written_in_place_later():
    check(linear_then_written_in_place, posted={"biases"})


def test_biases_are_parameters():
    class Shift(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.ones(4, dtype=torch.float64))

        def forward(self, probe, x):
            return x + self.shift

    check(Shift(), posted={"biases"})


def test_the_bias_of_a_linear_map():
    found = check(lambda m, x: F.linear(x, m.square, m.row), posted={"biases"})
    probe = Probe(lambda m, x: F.linear(x, m.square, m.row))
    x, c = probe.table(IDS).detach()[0], probe.head.weight[1].view(4, 4).detach()
    parts = [
        twins.linear(x[t], probe.square, probe.row, c[t] * F.linear(x[t], probe.square, probe.row)) for t in range(4)
    ]
    assert found.relevance[0].tolist() == pytest.approx([float(received.sum()) for received, _, _ in parts])
    assert found.ledgers[0]["biases"] == pytest.approx(sum(bias for _, bias, _ in parts))


def test_epsilon():
    rules = textlrp.Rules(linear=textlrp.Epsilon(0.3))
    probe = Probe(lambda m, x: F.linear(x, m.square, m.row))
    found = textlrp.propagate(probe, 1, rules, input_ids=IDS)
    x = probe.table(IDS).detach()
    y = F.linear(x, probe.square, probe.row)
    for b in range(2):
        at_head, _, taken = twins.linear(
            y[b].flatten(), probe.head.weight.detach(), None, found.logits[b] * one(1), 0.3
        )
        parts = [twins.linear(x[b, t], probe.square, probe.row, at_head.view(4, 4)[t], 0.3) for t in range(4)]
        assert found.relevance[b].tolist() == pytest.approx([float(received.sum()) for received, _, _ in parts])
        assert found.ledgers[b]["biases"] == pytest.approx(sum(bias for _, bias, _ in parts))
        assert found.ledgers[b]["stabilizer"] == pytest.approx(taken + sum(part for _, _, part in parts))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layer", [nn.Conv1d, nn.ConvTranspose1d, nn.Linear])
def test_every_linear_layer_is_stabilized_before_its_bias_is_paid(layer, bias):
    options = {"bias": bias, "dtype": torch.float64}

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer(4, 3, **options) if layer is nn.Linear else layer(4, 3, 2, **options)

        def forward(self, probe, x):
            return self.layer(x)

    found = textlrp.propagate(Probe(Layer()), 1, textlrp.Rules(linear=textlrp.Epsilon(0.3)), input_ids=IDS)
    for ledger in found.ledgers:
        assert abs(ledger["stabilizer"]) > 1e-3
        assert (abs(ledger["biases"]) > 1e-3) is bias


def one(target):
    return torch.eye(3, dtype=torch.float64)[target]


# -- products ---------------------------------------------------------------------------------------------------------


def scaled_in_place(probe, x):
    x *= probe.row
    return x


def divided_in_place(probe, x):
    x /= probe.row
    return x


@table(
    ("x * a", lambda m, x: x * m.row),
    ("a * x", lambda m, x: m.row * x),
    ("2 * x", lambda m, x: 2 * x),
    ("torch.mul", lambda m, x: torch.mul(x, m.row)),
    ("torch.multiply", lambda m, x: torch.multiply(m.row, x)),
    ("Tensor.mul_", lambda m, x: x.mul_(m.row)),
    ("x *= a", scaled_in_place),
    ("x @ a", lambda m, x: x @ m.square),
    ("a @ x", lambda m, x: m.square @ x),
    ("torch.matmul", lambda m, x: torch.matmul(m.square, x)),
    ("torch.bmm", lambda m, x: torch.bmm(x, m.square.expand(2, 4, 4))),
    ("torch.mv", lambda m, x: torch.stack([row.mv(m.row) for row in x])),
    ("torch.outer", lambda m, x: torch.stack([torch.outer(row[0], m.row) for row in x])),
    ("einsum", lambda m, x: torch.einsum("btd,de->bte", x, m.square)),
    ("einsum of a list", lambda m, x: torch.einsum("btd,de,e->bte", [x, m.square, m.row])),
    ("tensordot", lambda m, x: torch.tensordot(x, m.square, dims=1)),
    ("x / a", lambda m, x: x / m.row),
    ("x / 2", lambda m, x: x / 2),
    ("torch.div", lambda m, x: torch.div(x, m.row)),
    ("torch.div of keywords", lambda m, x: torch.div(input=x, other=m.row)),
    ("Tensor.div_", lambda m, x: x.div_(m.row)),
    ("x /= a", divided_in_place),
    ("linear", lambda m, x: F.linear(x, m.square)),
    ("linear of keywords", lambda m, x: F.linear(input=x, weight=m.square, bias=None)),
    ("conv1d", lambda m, x: F.conv1d(x, m.square[:, :, None].expand(4, 4, 2))),
    ("conv_transpose1d", lambda m, x: F.conv_transpose1d(x, m.square[:, :, None].expand(4, 4, 2))),
)
def test_products_with_constants(operation):
    check(operation, posted=set())


@table(
    ("x * x", lambda m, x: x * x),
    ("x * flip", lambda m, x: x * x.flip(2)),
    ("torch.mul", lambda m, x: torch.mul(x, x.cumsum(2))),
    ("Tensor.mul_", lambda m, x: (x * 2).mul_(x.flip(2))),
    ("einsum", lambda m, x: torch.einsum("btd,btd->btd", x, x.flip(2))),
    ("addcmul", lambda m, x: torch.addcmul(x * 0, x, x.flip(2))),
    ("of a view", lambda m, x: x.view(2, 2, 2, 4).mul(x.flip(2).view(2, 2, 2, 4)).view(x.shape)),
)
def test_products_within_a_token(operation):
    """The token holds both halves, so it holds all: ``R = x_1 x_2 c``."""
    check(operation, lambda m, x, c: operation(m, x.clone()) * c, posted=set())


def test_three_factors_get_a_third_each():
    def operation(m, x):
        return torch.einsum("bd,bd,bd->bd", x[:, 0], x[:, 1], x[:, 2])

    def thirds(m, x, c):
        share = operation(m, x) * c / 3
        return torch.stack([share, share, share, torch.zeros_like(share)], 1)

    check(operation, thirds, posted=set())


@table(
    ("@", lambda m, x: x @ x.mT),
    ("torch.matmul", lambda m, x: torch.matmul(x, x.transpose(1, 2))),
    ("torch.bmm", lambda m, x: torch.bmm(x, x.mT)),
    ("torch.matmul of keywords", lambda m, x: torch.matmul(input=x, other=x.mT)),
    ("einsum", lambda m, x: torch.einsum("btd,bsd->bts", x, x)),
    ("einsum of two orders", lambda m, x: torch.einsum("bsd,btd->bts", x, x)),
    ("baddbmm", lambda m, x: torch.baddbmm(torch.zeros(len(x), 4, 4, dtype=x.dtype), x, x.mT)),
    ("baddbmm_", lambda m, x: torch.zeros(len(x), 4, 4, dtype=x.dtype).baddbmm_(x, x.mT)),
    ("mm", lambda m, x: torch.stack([torch.mm(row, row.T) for row in x])),
    ("addmm", lambda m, x: torch.stack([torch.addmm(torch.zeros(4, 4, dtype=x.dtype), row, row.T) for row in x])),
    ("broadcast product", lambda m, x: (x[:, :, None] * x[:, None]).sum(-1)),
    ("by heads", lambda m, x: (lambda h: (h @ h.mT).sum(1))(x.view(2, 4, 2, 2).transpose(1, 2))),
)
def test_matrix_products(operation):
    def both_halves(m, x, c):
        rows = []
        for b in range(2):
            of_a, of_b = twins.matmul(x[b], x[b].T, x[b] @ x[b].T * c[b])
            rows.append(of_a + of_b.T)
        return torch.stack(rows)

    check(operation, both_halves, posted=set())


def test_baddbmm_with_a_bias_posts_the_bias():
    def operation(m, x):
        return torch.baddbmm(m.square, x, x.mT, beta=0.5, alpha=0.25)

    def scaled(m, x, c):
        product = x @ x.mT * c * 0.25
        return torch.stack([sum(twins.matmul(a, a.T, r)[0:1]) * 1.0 for a, r in zip(x, product, strict=True)]) + (
            torch.stack([twins.matmul(a, a.T, r)[1].T for a, r in zip(x, product, strict=True)])
        )

    check(operation, scaled, posted={"constants"})


def test_attention_scores_with_a_carrier_as_base():
    check(
        lambda m, x: torch.baddbmm(x, x, x.mT),
        lambda m, x, c: (
            x * c
            + torch.stack(
                [
                    (lambda parts: parts[0] + parts[1].T)(twins.matmul(a, a.T, a @ a.T * k))
                    for a, k in zip(x, c, strict=True)
                ]
            )
        ),
    )


def test_a_convolution_posts_its_bias():
    class Convolution(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv1d(4, 3, 2, padding=1, dtype=torch.float64)

        def forward(self, probe, x):
            return self.convolution(x)

    check(Convolution(), posted={"biases"})


@table(
    ("x + a / x", lambda m, x: x + m.row / x),
    ("x + 1 / x", lambda m, x: x + 1 / x),
    ("x + reciprocal", lambda m, x: x + torch.reciprocal(x)),
)
def test_a_denominator_is_a_constant(operation):
    check(operation, lambda m, x, c: x * c, posted={"constants"})


def test_rounding_division():
    check(lambda m, x: torch.div(x, 0.3, rounding_mode="floor"), lambda m, x, c: torch.floor(x / 0.3) * c)


# -- what is written over ---------------------------------------------------------------------------------------------


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
def test_what_holds_constants_posts_them(operation):
    found = check(operation)
    assert all(set(ledger) & {"constants", "biases"} for ledger in found.ledgers)


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


# -- elementwise functions --------------------------------------------------------------------------------------------


def identity(function):
    """``R = (f(x) - f(0)) c``."""
    zero = torch.zeros(1, dtype=torch.float64)
    return lambda m, x, c: (function(x.clone()) - function(zero.clone())) * c


FUNCTIONS = [
    ("gelu", F.gelu),
    ("gelu by tanh", lambda x: F.gelu(x, approximate="tanh")),
    ("silu", F.silu),
    ("mish", F.mish),
    ("torch.tanh", torch.tanh),
    ("Tensor.tanh", Tensor.tanh),
    ("Tensor.tanh_", Tensor.tanh_),
    ("sigmoid", torch.sigmoid),
    ("F.sigmoid", F.sigmoid),
    ("Tensor.sigmoid_", Tensor.sigmoid_),
    ("logsigmoid", F.logsigmoid),
    ("hardsigmoid", F.hardsigmoid),
    ("hardswish", F.hardswish),
    ("hardtanh", F.hardtanh),
    ("relu6", F.relu6),
    ("elu", lambda x: F.elu(x, 0.5)),
    ("selu", F.selu),
    ("celu", lambda x: F.celu(x, alpha=0.5)),
    ("softplus", lambda x: F.softplus(x, beta=2)),
    ("softsign", F.softsign),
    ("tanhshrink", F.tanhshrink),
    ("hardshrink", F.hardshrink),
    ("softshrink", F.softshrink),
    ("threshold", lambda x: F.threshold(x, 0.1, 2.0)),
    ("clamp", lambda x: x.clamp(-0.5, 0.5)),
    ("clamp above zero", lambda x: torch.clamp(x, min=0.25)),
    ("clip", lambda x: torch.clip(x, max=0.5)),
    ("clamp_", lambda x: x.clamp_(min=-0.5)),
    ("clamp_min", lambda x: x.clamp_min(0.1)),
    ("pow(2)", lambda x: x.pow(2)),
    ("torch.pow", lambda x: torch.pow(x, 2)),
    ("pow_", lambda x: x.pow_(2)),
    ("x ** 2", lambda x: x**2),
    ("x ** 3", lambda x: x**3),
    ("square", torch.square),
    ("Tensor.square_", Tensor.square_),
    ("exp", torch.exp),
    ("Tensor.exp_", Tensor.exp_),
    ("exp2", torch.exp2),
    ("expm1", torch.expm1),
    ("cos", torch.cos),
    ("sin", torch.sin),
    ("atan", torch.atan),
    ("asinh", torch.asinh),
    ("erf", torch.erf),
    ("special.erf", torch.special.erf),
    ("special.expit", torch.special.expit),
    ("round", torch.round),
    ("sign", torch.sign),
    ("prelu", lambda x: F.prelu(x, torch.tensor([0.3], dtype=x.dtype))),
]


@pytest.mark.parametrize("function", [pytest.param(function, id=name) for name, function in FUNCTIONS])
def test_elementwise_functions(function):
    posted = {"constants"} if float(function(torch.zeros(1, dtype=torch.float64))) else set()
    check(lambda m, x: function(x), identity(function), posted=posted)


MODULES = {
    "SiLU": nn.SiLU,
    "Mish": nn.Mish,
    "ELU": nn.ELU,
    "CELU": nn.CELU,
    "SELU": nn.SELU,
    "Hardtanh": nn.Hardtanh,
    "ReLU6": nn.ReLU6,
    "Hardswish": nn.Hardswish,
    "Hardsigmoid": nn.Hardsigmoid,
    "Threshold": lambda inplace: nn.Threshold(0.1, 2.0, inplace),
    "ReLU": nn.ReLU,
    "LeakyReLU": nn.LeakyReLU,
}


@pytest.mark.parametrize("used", [True, False], ids=["result used", "result dropped"])
@pytest.mark.parametrize("module", [pytest.param(cls(inplace=True), id=name) for name, cls in MODULES.items()])
def test_modules_that_write_in_place(module, used):
    def operation(m, x):
        y = module(x)
        return y if used else x

    check(operation, identity(module))


def test_an_activation_written_in_python_is_taken_whole():
    class Gelu(nn.Module):
        def forward(self, x):
            return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = Gelu()

        def forward(self, probe, x):
            return self.act(x)

    check(Wrapper(), identity(Gelu()), posted=set())


# -- statistics and norms ---------------------------------------------------------------------------------------------


def spread(x):
    return x.var(-1, unbiased=False, keepdim=True)


@table(
    ("rsqrt", lambda m, x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
    ("rsqrt of a square", lambda m, x: x * (x * x).mean(-1, keepdim=True).add(1e-6).rsqrt()),
    ("rsqrt_", lambda m, x: x * x.square().mean(-1, keepdim=True).rsqrt_()),
    ("pow(-0.5)", lambda m, x: x * x.pow(2).mean(-1, keepdim=True).pow(-0.5)),
    ("** 0.5", lambda m, x: x / (x**2).mean(-1, keepdim=True) ** 0.5),
    ("sqrt", lambda m, x: x / torch.sqrt((x**2).mean(-1, keepdim=True))),
    ("norm", lambda m, x: x / x.norm(dim=-1, keepdim=True)),
    ("vector_norm", lambda m, x: x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)),
    ("normalize", lambda m, x: F.normalize(x, dim=-1)),
    ("normalize by another power", lambda m, x: F.normalize(x, p=1.0, dim=1, eps=0.5)),
    ("rms_norm", lambda m, x: F.rms_norm(x, (4,), m.row, 1e-3)),
    ("rms_norm of keywords", lambda m, x: F.rms_norm(input=x, normalized_shape=(4,), weight=m.row, eps=None)),
    ("sum", lambda m, x: x / x.abs().sum(-1, keepdim=True)),
    ("div_", lambda m, x: x.div_(x.detach().clone().abs().sum(-1, keepdim=True))),
)
def test_a_scale_computed_from_activations_is_a_constant(operation):
    check(operation, lambda m, x, c: operation(m, x.clone()) * c, posted=set(), bitwise=False)


@table(
    ("layer_norm", lambda m, x: F.layer_norm(x, (4,))),
    ("layer_norm of keywords", lambda m, x: F.layer_norm(input=x, normalized_shape=[4], eps=1e-5)),
    ("torch.layer_norm", lambda m, x: torch.layer_norm(x, (4,))),
    ("var", lambda m, x: (x - x.mean(-1, keepdim=True)) / (spread(x) + 1e-5).sqrt()),
    ("std", lambda m, x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True, correction=0) ** 2 + 1e-5) ** 0.5),
    ("rsqrt", lambda m, x: (x - x.mean(-1, keepdim=True)) * torch.rsqrt(spread(x) + 1e-5)),
)
def test_layer_norm_in_many_spellings(operation):
    def rows(m, x, c):
        y = F.layer_norm(x, (4,))
        return torch.stack(
            [
                torch.stack([twins.layer_norm(x[b, t], None, None, 1e-5, (y * c)[b, t])[0] for t in range(4)])
                for b in (0, 1)
            ]
        )

    check(operation, rows, posted=set())


def test_var_mean_is_refused_by_name():
    def operation(m, x):
        var, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean) * torch.rsqrt(var + 1e-5)

    with pytest.raises(UnsupportedOperationError, match=r"torch\.var_mean"):
        textlrp.propagate(Probe(operation), 1, input_ids=IDS)


def test_the_shift_of_a_layer_norm_is_a_norm():
    check(
        lambda m, x: F.layer_norm(x, (4,), m.row, m.other),
        lambda m, x, c: torch.stack(
            [
                torch.stack(
                    [
                        twins.layer_norm(
                            x[b, t], m.row, m.other, 1e-5, (F.layer_norm(x, (4,), m.row, m.other) * c)[b, t]
                        )[0]
                        for t in range(4)
                    ]
                )
                for b in (0, 1)
            ]
        ),
        posted={"norms"},
    )


# -- gates, softmax, attention ----------------------------------------------------------------------------------------


def gate_shares(m, x, c):
    """``a sigmoid(b)``: half to ``a``; half to the sigmoid, which gives what exceeds its ``1/2`` to ``b``."""
    a, b = x.chunk(2, -1)
    half = a * b.sigmoid() * c / 2
    return torch.cat([half, half * (b.sigmoid() - 0.5) / b.sigmoid()], -1)


@table(
    ("glu", lambda m, x: F.glu(x)),
    ("glu along", lambda m, x: F.glu(x, dim=-1)),
    ("product", lambda m, x: x[..., :2] * x[..., 2:].sigmoid()),
    ("in place", lambda m, x: x[..., 2:].sigmoid().mul_(x[..., :2])),
    ("module", lambda m, x: nn.GLU()(x)),
)
def test_gated_linear_units(operation):
    check(operation, gate_shares, posted={"constants"})


@table(
    ("F.softmax", lambda m, x: F.softmax(x, -1)),
    ("F.softmax by keyword", lambda m, x: F.softmax(x, dim=-1)),
    ("F.softmax of a dtype", lambda m, x: F.softmax(x, dim=-1, dtype=torch.float64)),
    ("torch.softmax", lambda m, x: torch.softmax(x, -1)),
    ("torch.softmax of keywords", lambda m, x: torch.softmax(input=x, dim=-1)),
    ("Tensor.softmax", lambda m, x: x.softmax(-1)),
    ("nn.Softmax", lambda m, x: nn.Softmax(-1)(x)),
    ("special.softmax", lambda m, x: torch.special.softmax(x, -1)),
    ("along time", lambda m, x: x.mT.softmax(2 - 3).mT.mT.mT),
)
def test_softmax(operation):
    along_time = "mT" in operation.__code__.co_names

    def rows(m, x, c):
        if along_time:
            x, c = x.mT, c.mT
        r = x.softmax(-1) * c
        found = torch.stack([torch.stack([twins.softmax(x[b, t], r[b, t])[0] for t in range(4)]) for b in (0, 1)])
        return found.mT if along_time else found

    check(operation, rows, posted={"softmax"})


def test_a_frozen_softmax_gets_nothing():
    found = check(lambda m, x: x + F.softmax(x, -1), lambda m, x, c: x * c, rules="cp-lrp", posted={"constants"})
    assert found.ledgers[0]["softmax"] == 0.0


ATTENTIONS = [
    ("plain", lambda m, x: F.scaled_dot_product_attention(x, x, x), {}),
    ("causal", lambda m, x: F.scaled_dot_product_attention(x, x, x, is_causal=True), {}),
    ("scaled", lambda m, x: F.scaled_dot_product_attention(x, x, x, scale=0.7), {"scale": 0.7}),
    ("positional mask", lambda m, x: F.scaled_dot_product_attention(x, x, x, m.mask.expand(4, 4)), {}),
    (
        "additive mask",
        lambda m, x: F.scaled_dot_product_attention(
            x, x, x, attn_mask=torch.zeros(4, 4, dtype=x.dtype).masked_fill(~m.mask, -torch.inf)
        ),
        {},
    ),
    (
        "lowest mask",
        lambda m, x: F.scaled_dot_product_attention(
            query=x,
            key=x,
            value=x,
            attn_mask=torch.zeros(4, 4, dtype=x.dtype).masked_fill(~m.mask, torch.finfo(x.dtype).min),
        ),
        {},
    ),
    ("step by step", lambda m, x: (x @ x.mT / 2).softmax(-1) @ x, {}),
    (
        "step by step, masked",
        lambda m, x: (x @ x.mT / 2).masked_fill(~m.mask, -torch.inf).softmax(-1) @ x,
        {},
    ),
    ("step by step, causal", lambda m, x: ((x @ x.mT / 2) + causal_mask(x)).softmax(-1) @ x, {}),
    (
        "by einsum",
        lambda m, x: torch.einsum("bij,bjd->bid", (torch.einsum("bid,bjd->bij", x, x) / 2).softmax(-1), x),
        {},
    ),
    ("heads", lambda m, x: F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None]).squeeze(1), {}),
]


def causal_mask(x):
    return torch.full((4, 4), torch.finfo(x.dtype).min, dtype=x.dtype).triu(1)


def mask_of(name):
    if "causal" in name:
        return torch.ones(4, 4, dtype=torch.bool).tril()
    return (torch.arange(4) % 2 == 0).expand(4, 4) if "mask" in name else None


@pytest.mark.parametrize("rules", ["attnlrp", "cp-lrp"])
@pytest.mark.parametrize(("name", "operation", "options"), ATTENTIONS, ids=[name for name, _, _ in ATTENTIONS])
def test_attention(name, operation, options, rules):
    mask, scale = mask_of(name), options.get("scale", 0.5)

    def rows(m, x, c):
        found = []
        for a, k in zip(x, c, strict=True):
            scores = scale * a @ a.T
            weights = (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1)
            relevance = weights @ a * k
            if rules == "cp-lrp":
                found.append(twins.frozen_attention(weights, a, relevance))
            else:
                found.append(sum(twins.attention(a, a, a, mask, scale, relevance)[:3]))
        return torch.stack(found)

    found = check(operation, rows, rules=rules, posted={"softmax"} if rules == "attnlrp" else set())
    assert found.ledgers[0].tolerance == 1e-9


def test_a_bias_in_the_attention_mask_gets_its_row():
    def operation(m, x):
        return F.scaled_dot_product_attention(x, x, x, attn_mask=m.square)

    by_hand = Probe(lambda m, x: (x @ x.mT / 2 + m.square).softmax(-1) @ x)
    found, expected = (textlrp.propagate(p, 1, input_ids=IDS) for p in (Probe(operation), by_hand))
    torch.testing.assert_close(found.relevance, expected.relevance, rtol=1e-9, atol=1e-10)
    for left, right in zip(found.ledgers, expected.ledgers, strict=True):
        assert dict(left) == pytest.approx(dict(right), abs=1e-9)
        assert abs(left["constants"]) > 1e-3


@pytest.mark.parametrize("rules", ["attnlrp", "cp-lrp"])
def test_grouped_queries(rules):
    """Two heads of queries share one of keys and values: the same as repeating it."""

    def grouped(m, x):
        q = x.view(2, 4, 2, 2).transpose(1, 2)
        return F.scaled_dot_product_attention(q, q[:, :1], q[:, :1] * 2, enable_gqa=True).transpose(1, 2).flatten(2)

    def repeated(m, x):
        q = x.view(2, 4, 2, 2).transpose(1, 2)
        k, v = q[:, :1].repeat(1, 2, 1, 1), (q[:, :1] * 2).repeat(1, 2, 1, 1)
        return ((q @ k.mT / math.sqrt(2)).softmax(-1) @ v).transpose(1, 2).flatten(2)

    found, expected = (textlrp.propagate(Probe(o), 0, rules, input_ids=IDS) for o in (grouped, repeated))
    torch.testing.assert_close(found.relevance, expected.relevance, rtol=1e-9, atol=1e-10)


# -- fail closed ------------------------------------------------------------------------------------------------------


class Body(nn.Module):
    """Puts an operation into a module with a name, `operation.body`."""

    def __init__(self, function):
        super().__init__()
        self.body = Inner(function)

    def forward(self, probe, x):
        return self.body(x)


class Inner(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.register_buffer("nothing", torch.zeros(()))  # a module without tensors could be taken for an activation

    def forward(self, x):
        return self.function(x)


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, c):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * c


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        @torch.jit.script
        def function(x):
            return torch.tanh(x) * x

        return function


REFUSED = [
    ("cumprod", lambda x: torch.cumprod(x, 1), "torch.cumprod"),
    ("Tensor.prod", lambda x: x.prod(1), "prod"),
    ("log", lambda x: torch.log(x.abs() + 1), "log"),
    ("log_softmax", lambda x: F.log_softmax(x, -1), "log_softmax"),
    ("fmod", lambda x: torch.fmod(x, 0.7), "fmod"),
    ("atan2", lambda x: torch.atan2(x, x.flip(1)), "atan2"),
    ("pow of an activation", lambda x: torch.pow(2.0, x), "pow"),
    ("bilinear", lambda x: F.bilinear(x, x, torch.ones(2, 4, 4, dtype=x.dtype)), "bilinear"),
    ("group_norm", lambda x: F.group_norm(x, 2), "group_norm"),
    ("kernels from activations", lambda x: F.conv1d(x, x[0, :, :, None]), "F?.*conv1d with kernels computed"),
    ("norm weights from activations", lambda x: F.layer_norm(x, (4,), x[0, 0]), "F.layer_norm with weights computed"),
    ("out=", lambda x: torch.mul(x, 2, out=torch.empty(0, dtype=x.dtype)), "with out="),
    ("custom function", Cube.apply, "Cube"),
    ("scripted function", scripted(), "Tanh|Mul|scripted|jit"),
]


@pytest.mark.parametrize(("function", "words"), [pytest.param(f, words, id=name) for name, f, words in REFUSED])
def test_what_has_no_rule_is_refused_by_name_and_place(function, words):
    probe = Probe(lambda m, x: x)
    probe.operation = Body(function)
    with torch.no_grad():
        try:
            out = function(probe.table(IDS)).shape
        except RuntimeError:
            out = (2, 4, 4)
    probe.head = nn.Linear(math.prod(out[1:]), 3, dtype=torch.float64)
    with pytest.raises(UnsupportedOperationError, match=words) as refusal:
        textlrp.propagate(probe, 0, input_ids=IDS)
    assert "operation.body (Inner)" in str(refusal.value)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + torch.rand_like(x),
        lambda x: x + torch.randn_like(x) * 0.1,
        lambda x: x * torch.bernoulli(x.sigmoid()),
        lambda x: x * torch.bernoulli(torch.full_like(x, 0.5)),
        lambda x: F.gumbel_softmax(x, dim=-1),
        lambda x: x + torch.empty_like(x).normal_(),
        lambda x: (x * 1.0).normal_(),
    ],
    ids=["rand_like", "randn_like", "bernoulli", "bernoulli of constants", "gumbel_softmax", "normal_", "overwritten"],
)
def test_what_is_drawn_is_seeded_accounted_for_or_refused(function):
    """Random numbers that a model draws are constants; a sample that depends on relevance has no rule."""
    probe = Probe(lambda m, x: function(x))
    torch.manual_seed(3)
    with torch.no_grad():
        plain = probe(IDS[:1])
    torch.manual_seed(3)
    try:
        found = textlrp.propagate(probe, 0, input_ids=IDS[:1])
    except LRPError:
        return
    assert torch.equal(found.logits, plain)
    assert found.ledgers[0].balanced


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x + torch.func.grad(lambda r: (r**3).sum())(x.detach()), r"under torch\.func"),
        (lambda x: x * torch.autograd.functional.jacobian(lambda r: r**2, x.detach()).sum(), "a derivative by detached"),
        (lambda x: x + torch.autograd.grad((x * x).sum(), x)[0], r"torch\.autograd.*grad, a derivative"),
        (lambda x: torch.vmap(torch.tanh)(x), "no rule met Tanh"),
        (lambda x: x + torch.from_numpy(x.detach().numpy() * 2), r"Tensor\.numpy of activations"),
        (lambda x: x + x.sum().item(), r"Tensor\.item"),
        (lambda x: x + torch.tensor(x.detach().tolist()), r"Tensor\.tolist"),
        (lambda x: torch.ops.aten.tanh(x), r"torch\.ops\.aten\.tanh"),
    ],
    ids=["func.grad", "jacobian", "autograd.grad", "vmap", "numpy", "item", "tolist", "ops"],
)
def test_what_leaves_the_forward_pass_is_refused(function, words):
    """Derivatives would change with the rules; numbers that leave torch come back as constants without a source."""
    probe = Probe(lambda m, x: x)
    probe.operation = lambda m, x: function(x)
    with pytest.raises(UnsupportedOperationError, match=words):
        textlrp.propagate(probe, 0, input_ids=IDS)


def test_constants_are_mapped_over():
    """As transformers makes its masks."""
    check(lambda m, x: x * torch.vmap(lambda r: r * 2)(m.row))


def test_detached_activations_are_constants():
    check(lambda m, x: x + x.detach(), lambda m, x, c: x * c, posted={"constants"})


@table(
    ("maximum", lambda m, x: torch.maximum(x, m.row - 1)),
    ("minimum of a constant first", lambda m, x: torch.minimum(m.row - 1, x)),
    ("torch.max of two", lambda m, x: torch.max(x, m.row - 1)),
    ("Tensor.min of two", lambda m, x: x.min(other=m.row - 1)),
    ("clamp by tensors", lambda m, x: torch.clamp(x, -m.row, m.other)),
    ("clamp from below", lambda m, x: x.clamp(min=-m.row)),
)
def test_a_constant_that_wins_is_posted(operation):
    found = check(operation)
    assert all(abs(ledger["constants"]) > 1e-6 for ledger in found.ledgers)


def test_ties_are_shared():
    check(lambda m, x: torch.maximum(x, torch.zeros_like(x)) + torch.maximum(x, x), None)
    check(lambda m, x: torch.maximum(x * 0 + m.row, m.row), lambda m, x, c: 0 * x * c)


def test_slopes_by_channel():
    slopes = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    check(lambda m, x: F.prelu(x.mT, slopes).mT, lambda m, x, c: torch.where(x > 0, x, slopes * x) * c, posted=set())


def test_a_complex_constant():
    def operation(m, x):
        return torch.view_as_real(torch.view_as_complex(x.view(2, 4, 2, 2)) + (1 + 2j)).flatten(2)

    check(operation, posted={"constants"})


@pytest.mark.parametrize("bias", [True, False])
def test_weights_computed_from_activations(bias):
    """A hypernetwork: both sides get half, and the bias is posted."""
    found = check(
        lambda m, x: F.linear(m.square, x[0], m.row if bias else None).expand(2, 4, 4) * 0 + F.linear(x, m.square),
        lambda m, x, c: x * (c @ m.square),
    )
    assert found.ledgers[0].balanced
    probe = Probe(lambda m, x: F.linear(x[:1], x[0], m.row if bias else None))
    found = textlrp.propagate(probe, 1, input_ids=IDS[:1])
    assert found.ledgers[0].balanced


def test_a_scripted_submodule_is_refused_by_its_place():
    probe = Probe(lambda m, x: x)
    probe.operation = Body(torch.tanh)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        probe.operation.body.scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.Tanh()).double())
    probe.operation.body.function = lambda x: probe.operation.body.scripted(x)
    with pytest.raises(UnsupportedOperationError, match=r"operation.body \(Inner\)"):
        textlrp.propagate(probe, 0, input_ids=IDS)


class TableProbe(nn.Module):
    """A classifier whose lookup is handed in."""

    def __init__(self, look_up):
        super().__init__()
        self.table = nn.Embedding(12, 4)
        self.hashed = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 3)
        self.look_up = look_up

    def forward(self, input_ids):
        return self.head(self.look_up(self, input_ids).mean(1))


@pytest.mark.parametrize(
    ("look_up", "words"),
    [
        (lambda m, ids: F.embedding(ids, m.table.weight * 2), "F.embedding in a table that is computed on the fly"),
        (lambda m, ids: m.table.weight[ids], r"__getitem__ of a table by the input ids"),
        (lambda m, ids: m.table.weight.index_select(0, ids.flatten()).view(2, 4, 4), "index_select of a table"),
        (lambda m, ids: F.one_hot(ids, 12).float() @ m.table.weight, "never looked its input ids up"),
        (lambda m, ids: ids.float()[..., None].expand(2, 4, 4), "never looked its input ids up"),
        (lambda m, ids: m.table(torch.arange(4).expand(2, 4)), "never looked its input ids up"),
        (lambda m, ids: F.embedding(ids, m.table.weight, max_norm=1.0), "max_norm"),
        (lambda m, ids: F.embedding_bag(ids, m.table.weight)[:, None], "embedding_bag by the input ids"),
        (lambda m, ids: F.embedding(ids, F.linear(m.table(ids).flatten(0, 1), torch.ones(4, 4)).repeat(2, 1)), "table"),
    ],
    ids=[
        "scaled table",
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
    ],
)
def test_ids_are_followed_to_the_table(look_up):
    found = textlrp.propagate(TableProbe(look_up).double(), 0, input_ids=IDS)
    assert found.relevance.abs().sum() > 0


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
    """An encoder-decoder's right shift: what the decoder reads at ``t + 1`` belongs to the token at ``t``."""

    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(12, 3, dtype=torch.float64)

        def forward(self, input_ids):
            return self.table(shift(input_ids))[:, 1:].sum(1)

    model = Shifted()
    found = textlrp.propagate(model, 2, input_ids=IDS)
    expected = model.table.weight[IDS][..., 2].detach()
    expected[:, -1] = 0.0
    torch.testing.assert_close(found.relevance, expected)


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
def test_integers_of_the_shape_of_the_ids_are_no_ids(types):
    model = Tables(types)
    found = textlrp.propagate(model, 0, input_ids=IDS)
    torch.testing.assert_close(found.relevance, model.words.weight[IDS][..., 0].detach())
    assert found.ledgers[1]["token types"] == pytest.approx(4 * model.segment_types.weight[0, 0].item())


@pytest.mark.parametrize(
    "positions",
    [
        lambda ids: ids.ne(1).int().cumsum(1),
        lambda ids: torch.ones_like(ids).cumsum(1),
        lambda ids: torch.arange(4).expand_as(ids),
        lambda ids: torch.arange(4, device=ids.device) + 0 * ids.new_ones(ids.shape),
    ],
    ids=["counted words", "counted ones", "range", "range of new_ones"],
)
def test_positions_counted_from_the_ids_are_no_ids(positions):
    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = (nn.Embedding(12, 3, dtype=torch.float64) for _ in range(2))

        def forward(self, input_ids):
            return (self.words(input_ids) + self.places(positions(input_ids))).sum(1)

    model = Counted()
    found = textlrp.propagate(model, 0, input_ids=IDS)
    torch.testing.assert_close(found.relevance, model.words.weight[IDS][..., 0].detach())


def test_positions_and_types_have_their_rows():
    model = Tables(lambda ids: torch.zeros(ids.shape, dtype=torch.long))
    ledger = textlrp.propagate(model, 0, input_ids=IDS).ledgers[1]
    assert ledger["positions"] == pytest.approx(model.positions.weight[:4, 0].sum().item())
    assert ledger["token types"] == pytest.approx(4 * model.segment_types.weight[0, 0].item())
    assert ledger["tokens"] == pytest.approx(model.words.weight[IDS[1], 0].sum().item())


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


def test_nothing_is_left_behind():
    probe = Probe(lambda m, x: torch.cumprod(x, 1))
    before = torch.autograd.Function.__dict__["apply"]
    with pytest.raises(LRPError):
        textlrp.propagate(probe, 0, input_ids=IDS)
    assert torch.autograd.Function.__dict__["apply"] is before
    assert torch.overrides._get_current_function_mode_stack() == []
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in probe.modules())


# -- numbers that are none --------------------------------------------------------------------------------------------


def test_a_parameter_that_is_no_number_is_named():
    probe = Probe(Body(lambda x: x * 1.0))
    with torch.no_grad():
        probe.table.weight[4, 0] = torch.nan
    with pytest.raises(NonFiniteError, match=r"first in the output of table \(Embedding\); the parameter table.weight"):
        textlrp.propagate(probe, 0, input_ids=IDS)


def test_a_forward_pass_that_overflows_is_located():
    probe = Probe(Body(lambda x: x * 6e4 * 6e4), dtype=torch.float16)
    with pytest.raises(NonFiniteError, match=r"first in the output of operation.body \(Inner\)"):
        textlrp.propagate(probe, 0, input_ids=IDS)


def test_a_backward_pass_that_overflows_is_an_error():
    probe = Probe(lambda m, x: x * 300 * 300, dtype=torch.float16)
    with torch.no_grad():
        probe.table.weight.mul_(1e-3)
        probe.head.weight.mul_(10)
        assert probe(IDS).isfinite().all()
    with pytest.raises(NonFiniteError, match="the backward pass overflowed"):
        textlrp.propagate(probe, 0, input_ids=IDS)


def test_embeddings_in_place_of_ids_are_refused():
    with pytest.raises(InputError, match="pass input_ids, not inputs_embeds"):
        textlrp.propagate(Probe(lambda m, x: x), inputs_embeds=torch.ones(1, 4, 4))
