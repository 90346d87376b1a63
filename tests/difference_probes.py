"""The smallest classifiers on two texts whose embeddings are as far apart as a test asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from reference_rules import IDS, Probe
from torch import Tensor, nn

import textlrp

#: How far apart the two runs are: anywhere, near-equal (to both sides of what counts as that), equal, or all of these.
DISTANCES = (None, 1e-3, 1e-5, 1e-8, 0.0, "mixed")

OTHER = torch.tensor([[7, 8, 7, 7], [7, 7, 10, 7]])


def table(*rows: Any) -> Any:
    """A test of each row, whose first value names it."""
    return pytest.mark.parametrize("row", [pytest.param(row, id=row[0]) for row in rows])


def _apart(count: int, width: int, distance: Any, scale: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random rows, and others at a distance of them."""

    def random() -> Tensor:
        return torch.randn(count, width, generator=generator, dtype=torch.float64)

    x, other = scale * random(), random()
    if distance is None:
        return x, scale * other
    if distance == "mixed":
        sizes = torch.tensor([0.0, 1e-8, 1e-5, 1e-3, 1.0], dtype=torch.float64)
        return x, x + scale * sizes[torch.randint(5, (count, width), generator=generator)] * other
    return x, x + distance * other


def pairs_of_texts(
    operation: Callable[[Probe, Tensor], Tensor],
    *,
    distances: tuple[Any, ...] = 2 * DISTANCES,
    time: int = 4,
    width: int = 4,
    scale: float = 1.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Probe, Tensor, Tensor]:
    """A classifier around one operation, and the ids of texts and of references.

    Of each document, the rows of the table for the two runs are at one of the distances.
    """
    probe = Probe(operation, time=time, width=width)
    count = len(distances) * time
    generator = torch.Generator().manual_seed(seed)
    rows = [_apart(time, width, distance, scale, generator) for distance in distances]
    probe.table = nn.Embedding(2 * count, width, dtype=torch.float64)
    probe.table.weight = nn.Parameter(torch.cat([torch.cat(run) for run in zip(*rows, strict=True)]))
    probe.head.bias = nn.Parameter(torch.full((3,), 32.0 * scale, dtype=torch.float64))  # the yardstick of roundings
    ids = torch.arange(count).view(len(distances), time)
    return probe.to(dtype), ids, ids + count


def measured(model: nn.Module, ids: Tensor, other: Tensor, target: int = 1, **options: Any) -> Any:
    """The propagation by difference rules, whose law is checked."""
    found = textlrp.propagate(model, target, "difference", reference=other, input_ids=ids, **options)
    obeys(found, target)
    return found


def obeys(found: Any, target: int = 1, slack: float = 64) -> None:
    """``sum(c d) = logit - reference``, but for what is detached: to a few roundings of the two logits."""
    logit, other = found.logits[:, target], found.reference_logits[:, target]
    lost = torch.tensor([ledger["detached"] for ledger in found.ledgers], dtype=torch.float64)
    eps = torch.finfo(logit.dtype).eps
    rounded = (1e-9 if logit.dtype is torch.float64 else 1e-4) * found.relevance.abs().sum(-1)
    left = (logit - other - found.relevance.sum(-1) - lost.to(logit)).abs()
    assert bool((left <= rounded + slack * eps * (logit.abs() + other.abs())).all()), left


def multipliers(model: nn.Module, ids: Tensor, other: Tensor, **options: Any) -> tuple[Any, Tensor, Tensor, Tensor]:
    """The propagation, and at the table: multipliers, values, and values in the reference run."""
    found = measured(model, ids, other, capture=["table"], **options)
    (captured,) = found.captured["table"]
    return found, captured.multiplier, captured.activation, captured.reference


def logits(model: nn.Module, ids: Tensor) -> Tensor:
    """The logits of the plain model."""
    with torch.no_grad():
        found: Tensor = model(ids)
    return found


def runs_beside(model: nn.Module, ids: Tensor = IDS, other: Tensor = OTHER, **options: Any) -> Any:
    """The propagation of a model whose reference run must be its own run on the reference's ids."""
    found = measured(model, ids, other, **options)
    torch.testing.assert_close(found.logits, logits(model, ids), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(found.reference_logits, logits(model, other), rtol=1e-12, atol=1e-13)
    assert {heading for ledger in found.ledgers for heading in ledger.rows if ledger[heading]} <= {
        "reference",
        "tokens",
        "detached",
    }
    return found
