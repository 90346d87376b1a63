"""Classifiers of a few lines, written by hand."""

import pytest
import torch
import torch.utils.checkpoint
from torch import nn

ATTENTION = pytest.mark.parametrize("attention", ["eager", "sdpa"])


class Checkpointed(nn.Module):
    """Two layers that forget their activations and compute them again."""

    def __init__(self, use_reentrant):
        super().__init__()
        torch.manual_seed(2)
        self.table = nn.Embedding(12, 4)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4), nn.LayerNorm(4)) for _ in range(2)
        )
        self.head, self.use_reentrant = nn.Linear(4, 3), use_reentrant

    def mix(self, layer, x):
        weights = (x @ x.mT).softmax(-1)
        return layer(weights @ x + 0.5)

    def forward(self, input_ids):
        x = self.table(input_ids)
        for layer in self.layers:
            if self.use_reentrant is None:
                x = self.mix(layer, x)
            else:
                x = torch.utils.checkpoint.checkpoint(self.mix, layer, x, use_reentrant=self.use_reentrant)
        return self.head(x.mean(1))
