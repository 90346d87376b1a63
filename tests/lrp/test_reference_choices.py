"""Choices: what the text chooses is chosen in both runs, and the ledger says where the reference would differ."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from difference_probes import logits, measured, runs_beside, table
from reference_rules import Probe

ALL_DIFFERENT = torch.tensor([[3, 1, 4, 0], [5, 9, 2, 6]]), torch.tensor([[7, 8, 10, 11], [8, 7, 11, 10]])


def of_text(select, chosen):
    """`select(values, choice)` with the choice that `chosen` makes on the text, for both runs."""
    return lambda x, r: (select(x, chosen(x)), select(r, chosen(x)))


def take(x, index):
    return x.gather(1, index)


def largest(x):
    return x.argmax(1, keepdim=True)


CHOICES = [
    ("amax", lambda m, x: x.amax(1, keepdim=True), of_text(take, largest)),
    ("max", lambda m, x: x.max(1, keepdim=True).values, of_text(take, largest)),
    ("min", lambda m, x: x.min(1, keepdim=True)[0], of_text(take, lambda x: x.argmin(1, keepdim=True))),
    ("argmax", lambda m, x: x.gather(1, x.argmax(1, keepdim=True)), of_text(take, largest)),
    ("topk", lambda m, x: x.topk(2, 1).values, of_text(take, lambda x: x.topk(2, 1).indices)),
    ("sort", lambda m, x: x.sort(1).values, of_text(take, lambda x: x.argsort(1))),
    (
        "sorted away",
        lambda m, x: x.gather(1, x.sort(1, descending=True).indices[:, :2]),
        of_text(take, lambda x: x.argsort(1, descending=True)[:, :2]),
    ),
    (
        "median",
        lambda m, x: x[:, :3].median(1, keepdim=True).values,
        of_text(take, lambda x: x[:, :3].median(1, keepdim=True).indices),
    ),
    ("cummax", lambda m, x: x.cummax(1).values, of_text(take, lambda x: x.cummax(1).indices)),
    (
        "where",
        lambda m, x: torch.where(x > 0.1, x, 2 * x.flip(1)),
        of_text(lambda x, chosen: torch.where(chosen, x, 2 * x.flip(1)), lambda x: x > 0.1),
    ),
    (
        "maximum",
        lambda m, x: torch.maximum(x, x.flip(1)),
        of_text(lambda x, chosen: torch.where(chosen, x, x.flip(1)), lambda x: x > x.flip(1)),
    ),
    (
        "masked",
        lambda m, x: x.masked_fill(x < x.flip(1), 0.5),
        of_text(lambda x, chosen: x.masked_fill(chosen, 0.5), lambda x: x < x.flip(1)),
    ),
    ("max pooling", lambda m, x: F.max_pool1d(x.mT, 4), lambda x, r: tuple(y.mT for y in of_text(take, largest)(x, r))),
    (
        "adaptive pooling",
        lambda m, x: F.adaptive_max_pool1d(x.mT, 1),
        lambda x, r: tuple(y.mT for y in of_text(take, largest)(x, r)),
    ),
    (
        "norm by the maximum",
        lambda m, x: x - x.amax(1, keepdim=True),
        lambda x, r: (x - take(x, largest(x)), r - take(r, largest(x))),
    ),
]


@table(*CHOICES)
def test_the_text_chooses_in_both_runs(row):
    _, operation, expected = row
    probe = Probe(operation)
    found = measured(probe, *ALL_DIFFERENT)
    values = expected(*(probe.table(ids).detach() for ids in ALL_DIFFERENT))
    own, other = (probe.head(y.flatten(1)).detach() for y in values)
    torch.testing.assert_close(found.logits, own, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(found.reference_logits, other, rtol=1e-12, atol=1e-13)
    assert not torch.allclose(other, logits(probe, ALL_DIFFERENT[1]))
    assert all("reference (pinned)" in ledger and "reference" not in ledger for ledger in found.ledgers)


@table(*CHOICES)
def test_a_reference_is_pinned_only_if_its_logit_is_not_its_own(row):
    """The reference is the text with values that are a little smaller: the same entries are the largest of both."""
    _, operation, _ = row
    probe = Probe(operation)
    with torch.no_grad():
        probe.table.weight[6:] = probe.table.weight[:6] * 0.9
        probe.table.weight[:6].add_((probe.table.weight[:6].abs() < 0.2) * 0.5)
        probe.table.weight[6:] = probe.table.weight[:6] * 0.99
    ids = torch.tensor([[3, 1, 4, 0], [5, 0, 2, 1]])
    found = runs_beside(probe, ids, ids + 6)
    assert all(ledger["reference"] for ledger in found.ledgers)


def test_ties_are_averaged_in_both_runs():
    probe = Probe(lambda m, x: x.amax(1))
    with torch.no_grad():
        probe.table.weight[1] = probe.table.weight[0] = 5.0
    ids, other = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[4, 5, 4, 4]])
    found = measured(probe, ids, other)
    r = probe.table(other).detach()
    mean = (r[:, 0] + r[:, 1]) / 2
    torch.testing.assert_close(found.reference_logits, probe.head(mean).detach())
    expected = (5.0 - r) / 2 * probe.head.weight[1].detach()
    expected[:, 2:] = 0
    torch.testing.assert_close(found.relevance, expected.sum(-1))
