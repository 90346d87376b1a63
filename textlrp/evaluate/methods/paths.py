"""Multipliers of relevance propagation at points between a reference and the text.

Integrated gradients average the plain gradient on the way from a reference to the text, and need many points for it.
The multipliers of the preset ``ln-lrp``, which hold the spread of norms constant, change far less on that way: one or
two points, in the middle of equal parts, give about what twenty points of the gradient give (and in small models two of
the gradient's come close, see ``docs/evaluation.md``). The scores are ``(x - reference) c`` with the mean multiplier
``c``. They add up to no logit, as the books of each point close at that point: this is a way to score tokens, and no
set of rules.
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
        totals = [torch.zeros_like(each, dtype=torch.float64) for each in differences]
        weights = torch.tensor(
            passes.head.weights(passes.pick, passes.logits.shape[0]), device=inputs["input_ids"].device
        )
        for point in range(points):
            back = 1 - (point + 0.5) / points
            for total, c in zip(totals, _multipliers(passes, inputs, weights, differences, back), strict=True):
                total += c.double() / points
        products = [
            (each.double() * total).sum(-1).flatten().cpu() for each, total in zip(differences, totals, strict=True)
        ]
        return summed(passes, origin, products)


def _multipliers(
    passes: Passes, inputs: dict[str, Tensor], weights: Tensor, differences: list[Tensor], back: float
) -> list[Tensor]:
    """Return the multiplier at each lookup, with all of them moved back towards the reference."""
    found = [torch.zeros_like(each) for each in differences]
    runs = 0

    def move(module: nn.Module, args: object, output: Tensor) -> Tensor:
        nonlocal runs
        which = runs % len(differences)
        runs += 1
        moved = output - back * differences[which].to(output.dtype)

        def note(c: Tensor) -> None:
            found[which] = c.detach()

        with torch._C.DisableTorchFunction():
            if moved.requires_grad:
                moved.register_hook(note)
        return moved

    hooks = [module.register_forward_hook(move) for module in word_tables(passes.model)]
    try:
        given: dict[str, Any] = inputs
        propagate(passes.model, weights, PRESETS["ln-lrp"], **given)
    finally:
        for hook in hooks:
            hook.remove()
    passes.forwards += 3
    return found
