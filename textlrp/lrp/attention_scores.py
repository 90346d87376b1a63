"""The effect of 16 bits on attention weights, which no ledger shows.

Rounding a score changes its weight by ``d p / p = d s``, so where scores are large, weights are off by a large share.
The logit is computed from these weights, and the rows add up to it, but the words do not get the relevance that exact
numbers would give them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from textlrp.lrp.surrogate import MASKED


class ScoreSizes:
    """Records the largest attention score of each document over all layers.

    Args:
        batch: how many documents the input holds.
    """

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self.largest: Tensor | None = None

    def record_factors(self, q: Tensor, k: Tensor, scale: float) -> None:
        """Estimate the scores ``q k scale`` inside a fused kernel from the mean lengths of queries and keys."""
        sizes = [self._lengths(x.detach()) for x in (q, k)]
        self._keep(sizes[0] * sizes[1] * abs(scale))

    def record(self, scores: Tensor, dim: int) -> None:
        """Record scores before a softmax: the weights of a row depend most on its largest score."""
        top = scores.detach().amax(dim).float()
        self._keep(torch.where(top > MASKED, top, 0.0).nan_to_num(posinf=0.0).abs())

    def _lengths(self, x: Tensor) -> Tensor:
        rows = x.shape[0] if x.dim() > 2 and x.shape[0] % self._batch == 0 else 1
        flat = x.reshape(rows, -1)
        length: Tensor = torch.linalg.vector_norm(flat, dim=1, dtype=torch.float32)
        return length.mul_((x.shape[-1] / flat.shape[1]) ** 0.5)

    def _keep(self, sizes: Tensor) -> None:
        """Keep the largest size of each document; sizes that cannot be assigned to documents count for all."""
        if sizes.dim() and sizes.shape[0] % self._batch == 0:
            largest = sizes.reshape(self._batch, -1).amax(1)
        else:
            largest = sizes.amax().expand(self._batch)
        self.largest = largest if self.largest is None else torch.maximum(self.largest, largest)
