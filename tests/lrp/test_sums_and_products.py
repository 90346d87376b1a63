"""Every spelling of a sum or a product gets its rule."""

import pytest
import reference_rules
import torch
import torch.nn.functional as F
from reference_rules import IDS, Probe
from single_operations import check, one, table
from torch import nn

import textlrp

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
    """No row of such a tensor belongs to one document, so each one is explained alone, which rounds differently."""
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
    propagation = check(lambda m, x: F.linear(x, m.square, m.row), posted={"biases"})
    probe = Probe(lambda m, x: F.linear(x, m.square, m.row))
    x, c = probe.table(IDS).detach()[0], probe.head.weight[1].view(4, 4).detach()
    parts = [
        reference_rules.linear(x[t], probe.square, probe.row, c[t] * F.linear(x[t], probe.square, probe.row))
        for t in range(4)
    ]
    assert propagation.relevance[0].tolist() == pytest.approx([float(received.sum()) for received, _, _ in parts])
    assert propagation.ledgers[0]["biases"] == pytest.approx(sum(bias for _, bias, _ in parts))


def test_epsilon():
    rules = textlrp.Rules(linear=textlrp.rules.Epsilon(0.3))
    probe = Probe(lambda m, x: F.linear(x, m.square, m.row))
    propagation = textlrp.propagate(probe, 1, rules, input_ids=IDS)
    x = probe.table(IDS).detach()
    y = F.linear(x, probe.square, probe.row)
    for b in range(2):
        at_head, _, taken = reference_rules.linear(
            y[b].flatten(), probe.head.weight.detach(), None, propagation.logits[b] * one(1), 0.3
        )
        parts = [reference_rules.linear(x[b, t], probe.square, probe.row, at_head.view(4, 4)[t], 0.3) for t in range(4)]
        assert propagation.relevance[b].tolist() == pytest.approx([float(received.sum()) for received, _, _ in parts])
        assert propagation.ledgers[b]["biases"] == pytest.approx(sum(bias for _, bias, _ in parts))
        assert propagation.ledgers[b]["stabilizer"] == pytest.approx(taken + sum(part for _, _, part in parts))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layer", [nn.Conv1d, nn.ConvTranspose1d, nn.Linear])
def test_every_linear_layer_is_stabilized_before_its_bias_is_posted(layer, bias):
    options = {"bias": bias, "dtype": torch.float64}

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer(4, 3, **options) if layer is nn.Linear else layer(4, 3, 2, **options)

        def forward(self, probe, x):
            return self.layer(x)

    torch.manual_seed(0)
    propagation = textlrp.propagate(Probe(Layer()), 1, textlrp.Rules(linear=textlrp.rules.Epsilon(0.3)), input_ids=IDS)
    for ledger in propagation.ledgers:
        assert abs(ledger["stabilizer"]) > 1e-3
        assert (abs(ledger["biases"]) > 1e-3) is bias


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


def test_of_a_factor_that_stands_twice_one_is_held_constant():
    """``sum(x * x)``: one factor gets all of the relevance, as if the other one were detached."""
    found, expected = (
        textlrp.propagate(
            Probe(lambda m, x, f=f: torch.einsum("btd,btd->bt", x, f(x))), 1, "cp-lrp-gates", input_ids=IDS
        ).relevance
        for f in (lambda x: x, torch.Tensor.detach)
    )
    torch.testing.assert_close(found, expected)


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
            of_a, of_b = reference_rules.matmul(x[b], x[b].T, x[b] @ x[b].T * c[b])
            rows.append(of_a + of_b.T)
        return torch.stack(rows)

    check(operation, both_halves, posted=set())


def test_baddbmm_with_a_bias_posts_the_bias():
    def operation(m, x):
        return torch.baddbmm(m.square, x, x.mT, beta=0.5, alpha=0.25)

    def scaled(m, x, c):
        product = x @ x.mT * c * 0.25
        return torch.stack(
            [sum(reference_rules.matmul(a, a.T, r)[0:1]) * 1.0 for a, r in zip(x, product, strict=True)]
        ) + (torch.stack([reference_rules.matmul(a, a.T, r)[1].T for a, r in zip(x, product, strict=True)]))

    check(operation, scaled, posted={"constants"})


def test_attention_scores_with_a_carrier_as_base():
    check(
        lambda m, x: torch.baddbmm(x, x, x.mT),
        lambda m, x, c: (
            x * c
            + torch.stack(
                [
                    (lambda parts: parts[0] + parts[1].T)(reference_rules.matmul(a, a.T, a @ a.T * k))
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
