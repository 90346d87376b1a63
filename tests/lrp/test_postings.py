"""Postings, kept apart by document."""

import pytest
import torch

from textlrp.lrp.postings import Books


def rows(books):
    return {heading: row.tolist() for heading, row in books.rows().items()}


def test_nothing_posted_nothing_shown():
    assert Books(2, torch.float32).rows() == {}


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
    books = Books(2, torch.float64)
    books.post("biases", values)
    parts = values.transpose(0, 1) if order == "time first" else values.unflatten(0, (2, -1))
    assert rows(books) == {"biases": [parts[0].sum().item(), parts[1].sum().item()]}
    assert not books.mixed


@pytest.mark.parametrize("shape", [(), (3,), (5, 3), (3, 5, 2)], ids=str)
def test_what_belongs_to_no_document_is_noted(shape):
    books = Books(2, torch.float64)
    books.post("biases", torch.ones(shape))
    assert books.mixed


def test_a_single_document_owns_everything():
    books = Books(1, torch.float64)
    for shape in ((), (3,), (5, 3), (3, 5, 2)):
        books.post("biases", torch.ones(shape))
    assert rows(books) == {"biases": [1 + 3 + 15 + 30.0]}
    assert not books.mixed


def test_postings_add_up_by_heading():
    books = Books(2, torch.float64)
    books.post("biases", torch.tensor([1.0, 2.0]))
    books.post("norms", torch.tensor([10.0, 20.0]))
    books.post("biases", torch.tensor([[0.5], [0.25]]))
    assert rows(books) == {"biases": [1.5, 2.25], "norms": [10.0, 20.0]}


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
    books = Books(2, torch.float64)
    books.post_product("constants", multiplier, constant)
    assert rows(books) == {"constants": expected}


def test_an_infinite_constant_without_multiplier_is_nothing():
    books = Books(1, torch.float32)
    books.post_product("constants", torch.tensor([[0.0, 1.0]]), torch.tensor([[-torch.inf, 3.0]]))
    assert rows(books) == {"constants": [3.0]}


def test_half_precision_is_summed_in_single():
    books = Books(1, torch.float32)
    books.post("biases", torch.full((1, 4096), 1.0, dtype=torch.float16))
    books.post("biases", torch.full((1, 1), 0.25, dtype=torch.float16))
    books.post_product("norms", torch.full((1, 3, 2), 300.0, dtype=torch.float16), torch.full((2,), 300.0).half())
    assert rows(books) == {"biases": [4096.25], "norms": [540000.0]}
    assert books.rows()["norms"].dtype == torch.float32


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("width", [3, 5000], ids=["small", "large"])
@pytest.mark.parametrize("order", ["as it is", "heads behind positions", "different"])
def test_inner_products(batch, width, order):
    """Whatever lies where in memory, and however it is added up: ``share * sum(x c)`` of each document."""
    x, c = (torch.randn(batch, 2, 4, width, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    if order != "as it is":
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    if order == "heads behind positions":
        c = c.transpose(1, 2).contiguous().transpose(1, 2)
    books = Books(batch, torch.float32)
    books.post_inner("softmax", x, c, -0.25)
    books.muted = True
    books.post_inner("softmax", x, c, 100.0)
    expected = -0.25 * (x.double() * c.double()).sum((1, 2, 3))
    torch.testing.assert_close(books.rows()["softmax"].double(), expected, rtol=1e-4, atol=1e-3)


def test_zeros_are_made_once_a_pass_and_not_kept():
    books = Books(1, torch.float32)
    first = books.zeros(torch.ones(2, 3))
    assert first.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert books.zeros(torch.ones(2, 3)) is first
    assert books.zeros(torch.ones(2, 3, dtype=torch.float64)).dtype == torch.float64
    books.clear()
    assert books.zeros(torch.ones(2, 3)) is not first
