"""Multipliers of relevance propagation at points between a reference and the text.

Integrated gradients average the plain gradient on the path from a reference to the text, and need many points for it.
The multipliers of the preset ``ln-lrp``, which holds the spread of norms constant, change far less on that path: one or
two points, in the middle of equal parts, give about the same as twenty of the gradient (and in small models two of the
gradient come close, see ``docs/evaluation.md``). The scores are ``(x - reference) c`` with the mean multiplier ``c``.
They do not add up to a logit, as the ledger of each point balances only at that point: this is a way to score tokens,
not a set of rules.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from textlrp.evaluate.methods.gradients import summed, way
from textlrp.evaluate.methods.passes import Passes
from textlrp.explain.embedding_tables import word_tables
from textlrp.lrp.propagation import propagate
from textlrp.rules import PRESETS


def lrp_path(passes: Passes, seed: int, points: int, reference: str | None) -> list[float]:
    """Return ``sum_d (x - r)_d c_d`` of each token, ``c`` the mean multiplier at points between ``r`` and ``x``.

    The reference ``r`` of a token is the mask token, the padding token or zero; special tokens stay, and get zero.
    """
    kind, replaced = passes.replacement(reference, ("mask", "zero"))
    with passes.running() as inputs:
        _, origin, differences = way(passes, inputs, kind, replaced)
        totals = [torch.zeros_like(difference, dtype=torch.float64) for difference in differences]
        weights = torch.tensor(
            passes.head.weights(passes.pick, passes.logits.shape[0]), device=inputs["input_ids"].device
        )
        for point in range(points):
            back = 1 - (point + 0.5) / points
            for total, c in zip(totals, _multipliers(passes, inputs, weights, differences, back), strict=True):
                total += c.double() / points
        products = [
            (difference.double() * total).sum(-1).flatten().cpu()
            for difference, total in zip(differences, totals, strict=True)
        ]
        return summed(passes, origin, products)


def _multipliers(
    passes: Passes, inputs: dict[str, Tensor], weights: Tensor, differences: list[Tensor], back: float
) -> list[Tensor]:
    """Return the multiplier of each lookup at a point between the text (``back`` 0) and the reference (1)."""
    multipliers = [torch.zeros_like(difference) for difference in differences]
    runs = 0

    def move(module: nn.Module, args: object, output: Tensor) -> Tensor:
        nonlocal runs
        lookup = runs % len(differences)
        runs += 1
        moved = output - back * differences[lookup].to(output.dtype)

        def note(c: Tensor) -> None:
            multipliers[lookup] = c.detach()

        with torch._C.DisableTorchFunction():
            if moved.requires_grad:
                moved.register_hook(note)
        return moved

    hooks = [module.register_forward_hook(move) for module in word_tables(passes.model)]
    try:
        arguments: dict[str, Any] = inputs
        propagate(passes.model, weights, PRESETS["ln-lrp"], **arguments)
    finally:
        for hook in hooks:
            hook.remove()
    passes.forwards += 3
    return multipliers
