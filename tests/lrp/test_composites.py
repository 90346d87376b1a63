"""Functions that a model writes out in Python have the relevance of the same functions fused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from difference_probes import DISTANCES, measured, multipliers, pairs_of_texts, table
from hypothesis import given, settings
from hypothesis import strategies as st
from spellings import FUNCTIONS, NORMS, SOFTMAX, steps_of_functions, whole_of

import textlrp


def compared(written, fused, scale=1.0, distances=DISTANCES):
    """The multipliers of a function that is written out and of the fused one, for pairs of texts of six distances."""
    found = [
        multipliers(*pairs_of_texts(operation, scale=scale, distances=distances)) for operation in (written, fused)
    ]
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-7, atol=1e-9 * scale)
    torch.testing.assert_close(found[0][0].relevance, found[1][0].relevance, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[0][0].reference_logits, found[1][0].reference_logits, rtol=1e-9, atol=1e-10)
    return found[0]


# -- softmax ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 30.0])
@table(*SOFTMAX)
def test_softmax_written_out_is_a_softmax(row, scale):
    _, written, expected = row
    compared(written, expected, scale)


@table(
    ("logarithm of the sum", lambda m, x: x - x.exp().sum(-1, keepdim=True).log(), lambda m, x: x.log_softmax(-1)),
    ("of logsumexp", lambda m, x: x - x.logsumexp(-1, keepdim=True), lambda m, x: x.log_softmax(-1)),
    ("logarithm of the weights", lambda m, x: x.softmax(-1).log(), lambda m, x: x.log_softmax(-1)),
)
def test_log_softmax_written_out_obeys_the_law(row):
    name, written, expected = row
    found = measured(*pairs_of_texts(written))
    torch.testing.assert_close(found.logits, measured(*pairs_of_texts(expected)).logits, rtol=1e-10, atol=1e-10)
    if name != "logarithm of the sum":  # the logarithm's secant is the logarithmic mean of two sums, not of weights
        compared(written, expected)


# -- norms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@table(*NORMS)
def test_norms_written_out_are_norms(row, scale):
    name, written = row
    if name.startswith("rms"):
        compared(written, lambda m, x: F.rms_norm(x, (4,), m.row, 1e-6), scale)
    else:
        compared(written, lambda m, x: F.layer_norm(x, (4,), m.row, eps=1e-5), scale)


# -- functions of each element ----------------------------------------------------------------------------------------


def secant_of(function):
    """The multipliers of a function of each element, by its definition."""

    def found(x, r, c):
        d = x - r
        near = d.abs() < 1e-5
        middle = ((x + r) / 2).requires_grad_()
        (slope,) = torch.autograd.grad(function(middle).sum(), middle)
        return c * torch.where(near, slope, (function(x) - function(r)) / torch.where(near, 1.0, d))

    return found


@table(*FUNCTIONS)
def test_activations_written_out_are_one_function(row):
    _, written, fused = row
    found, c_x, x, r = multipliers(*pairs_of_texts(written, distances=DISTANCES))
    probe, _, _ = pairs_of_texts(written, distances=DISTANCES)
    c = probe.head.weight[1].detach().view(4, 4)
    expected = secant_of(lambda at: written(probe, at))(x, r, c)
    corners = "relu" in row[0] or "absolute" in row[0]
    smooth = (x - r).abs() >= 1e-5 if corners else torch.ones_like(x, dtype=torch.bool)
    torch.testing.assert_close(c_x[smooth], expected[smooth], rtol=1e-7, atol=1e-7)
    if fused is not None:
        whole, _, _, _ = multipliers(*pairs_of_texts(lambda m, x: fused(x), distances=DISTANCES))
        torch.testing.assert_close(found.relevance, whole.relevance, rtol=1e-9, atol=1e-9)


@settings(max_examples=60)
@given(steps=steps_of_functions, seed=st.integers(0, 1000))
def test_chains_of_functions_have_the_secant_of_the_whole(steps, seed):
    whole = whole_of(steps)
    probe, ids, other = pairs_of_texts(lambda m, x: whole(x), distances=(None, 1e-3, 0.0, "mixed"), seed=seed)
    _, c_x, x, r = multipliers(probe, ids, other)
    c = probe.head.weight[1].detach().view(4, 4)
    torch.testing.assert_close(c_x, secant_of(whole)(x, r, c), rtol=1e-6, atol=1e-6)


def test_a_constant_of_one_entry_adds_no_dimensions():
    """A text of one id has one attention score, and a mask of one entry."""

    class OneScore(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.table, self.head = torch.nn.Embedding(8, 1), torch.nn.Linear(1, 3)

        def forward(self, input_ids):
            x = self.table(input_ids)
            kept = torch.where(torch.ones(1, 1, 1, 1, dtype=torch.bool), x[None], torch.full((1, 1, 1, 1), -9.0))
            return self.head(
                torch.where(kept > 5, kept, kept.masked_fill(torch.zeros(1, 1, 1, dtype=torch.bool), 0.0))[0, 0]
            )

    found = textlrp.propagate(OneScore(), 1, "difference", input_ids=torch.tensor([[3]]), reference=torch.tensor([[4]]))
    (ledger,) = found.ledgers
    assert ledger["tokens"] == pytest.approx(float(found.logits[0, 1] - found.reference_logits[0, 1]), rel=1e-5)


def test_a_product_of_a_square_matrix_with_itself_is_no_function_of_each_element():
    """Its result has the shape of its only source, but each entry depends on a row and a column."""

    class Squared(torch.nn.Module):
        def __init__(self, activate):
            super().__init__()
            torch.manual_seed(0)
            self.table, self.head = torch.nn.Embedding(16, 4), torch.nn.Linear(4, 3)
            self.activate = activate

        def forward(self, input_ids):
            x = self.table(input_ids)
            return self.head(self.activate(x @ x).mean(1))

    ids, others = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[1, 9, 8, 4]])
    written, fused = (
        textlrp.propagate(Squared(activate).double(), 1, "difference", input_ids=ids, reference=others)
        for activate in (lambda x: torch.where(x > 0, x, 0.1 * x), lambda x: F.leaky_relu(x, 0.1))
    )
    torch.testing.assert_close(written.relevance, fused.relevance, rtol=1e-9, atol=1e-12)
