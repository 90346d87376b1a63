"""Postings, kept apart by document."""

import pytest
import torch

from textlrp.lrp.postings import Postings


def rows(postings):
    return {heading: row.tolist() for heading, row in postings.rows().items()}


def test_nothing_posted_nothing_shown():
    assert Postings(2, torch.float32).rows() == {}


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((2,), "b"),
        ((2, 3), "batch first"),
        ((2, 3, 4), "batch first"),
        ((8, 3), "batch times heads"),
        ((3, 2, 5), "time first"),
        ((5, 2), "time first"),
    ],
    ids=str,
)
def test_documents_are_told_apart(shape, order):
    values = torch.arange(torch.tensor(shape).prod().item(), dtype=torch.float64).view(shape)
    postings = Postings(2, torch.float64)
    postings.post("biases", values)
    parts = values.transpose(0, 1) if order == "time first" else values.unflatten(0, (2, -1))
    assert rows(postings) == {"biases": [parts[0].sum().item(), parts[1].sum().item()]}
    assert not postings.mixed


@pytest.mark.parametrize("shape", [(), (3,), (5, 3), (3, 5, 2)], ids=str)
def test_values_of_no_document_are_noted(shape):
    postings = Postings(2, torch.float64)
    postings.post("biases", torch.ones(shape))
    assert postings.mixed


def test_a_single_document_owns_everything():
    postings = Postings(1, torch.float64)
    for shape in ((), (3,), (5, 3), (3, 5, 2)):
        postings.post("biases", torch.ones(shape))
    assert rows(postings) == {"biases": [1 + 3 + 15 + 30.0]}
    assert not postings.mixed


def test_postings_add_up_by_heading():
    postings = Postings(2, torch.float64)
    postings.post("biases", torch.tensor([1.0, 2.0]))
    postings.post("norms", torch.tensor([10.0, 20.0]))
    postings.post("biases", torch.tensor([[0.5], [0.25]]))
    assert rows(postings) == {"biases": [1.5, 2.25], "norms": [10.0, 20.0]}


@pytest.mark.parametrize(
    ("constant", "expected"),
    [
        (2.0, [30.0, 102.0]),
        (torch.tensor(2.0), [30.0, 102.0]),
        (torch.tensor([1.0, 10.0]), [96.0, 294.0]),
        (torch.tensor([[1.0], [10.0], [100.0]]), [951.0, 2283.0]),
        (torch.arange(12.0).view(2, 3, 2), [55.0, 451.0]),
    ],
    ids=["number", "scalar", "row", "column", "full"],
)
def test_a_constant_times_its_multiplier(constant, expected):
    multiplier = torch.arange(12.0).view(2, 3, 2)
    postings = Postings(2, torch.float64)
    postings.post_product("constants", multiplier, constant)
    assert rows(postings) == {"constants": expected}


def test_an_infinite_constant_without_multiplier_is_nothing():
    postings = Postings(1, torch.float32)
    postings.post_product("constants", torch.tensor([[0.0, 1.0]]), torch.tensor([[-torch.inf, 3.0]]))
    assert rows(postings) == {"constants": [3.0]}


def test_half_precision_is_summed_in_single():
    postings = Postings(1, torch.float32)
    postings.post("biases", torch.full((1, 4096), 1.0, dtype=torch.float16))
    postings.post("biases", torch.full((1, 1), 0.25, dtype=torch.float16))
    postings.post_product("norms", torch.full((1, 3, 2), 300.0, dtype=torch.float16), torch.full((2,), 300.0).half())
    assert rows(postings) == {"biases": [4096.25], "norms": [540000.0]}
    assert postings.rows()["norms"].dtype == torch.float32
