"""What 16 bits do to attention weights, which no ledger shows.

A score that is rounded moves its weight by as much as the rounding is large, ``d p / p = d s``, so where scores are
large, weights are off by a large share. The logit is then computed from these weights, and the rows add up to it; but
the words do not have the relevance that exact numbers would give them.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Scores from here down were set by a mask.
_MASKED = -1e4


class Scores:
    """Keeps how large the attention scores of each document are, of all layers the largest.

    Args:
        batch: how many documents the input holds.
    """

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self.largest: Tensor | None = None

    def look_at_factors(self, q: Tensor, k: Tensor, scale: float) -> None:
        """Note scores ``q k scale`` that a fused kernel keeps to itself, by the mean lengths of queries and keys."""
        sizes = [self._lengths(x.detach()) for x in (q, k)]
        self._keep(sizes[0] * sizes[1] * abs(scale))

    def look_at(self, scores: Tensor, dim: int) -> None:
        """Note scores before a softmax: the largest of a row is what its weights hang on."""
        top = scores.detach().amax(dim).float()
        self._keep(torch.where(top > _MASKED, top, 0.0).nan_to_num(posinf=0.0).abs())

    def _lengths(self, x: Tensor) -> Tensor:
        rows = x.shape[0] if x.dim() > 2 and x.shape[0] % self._batch == 0 else 1
        flat = x.reshape(rows, -1)
        length: Tensor = torch.linalg.vector_norm(flat, dim=1, dtype=torch.float32)
        return length.mul_((x.shape[-1] / flat.shape[1]) ** 0.5)

    def _keep(self, sizes: Tensor) -> None:
        """Keep the largest size of each document; what cannot be told apart counts for all."""
        if sizes.dim() and sizes.shape[0] % self._batch == 0:
            found = sizes.reshape(self._batch, -1).amax(1)
        else:
            found = sizes.amax().expand(self._batch)
        self.largest = found if self.largest is None else torch.maximum(self.largest, found)
