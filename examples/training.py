"""What the scripts that train classifiers share: batches, cuts of long texts, and steps down a loss."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Encoded = tuple[list[int], Any]  # ids and their label
Batch = tuple[Tensor, Tensor, Tensor]  # ids, mask, labels


def batches(items: list[Encoded], tokens: int, pad: int) -> Iterator[Batch]:
    """Yield batches in random order, texts of like length together."""
    groups: list[list[Encoded]] = [[]]
    for item in sorted(items, key=lambda item: len(item[0]) + random.random()):
        if (groups[-1] and (len(groups[-1]) + 1) * len(item[0]) > tokens) or len(groups[-1]) >= 512:
            groups.append([])
        groups[-1].append(item)
    random.shuffle(groups)
    for group in groups:
        longest = max(len(ids) for ids, _ in group)
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row, _ in group])
        yield ids, (ids != pad).long(), torch.tensor([label for _, label in group])


def cut(ids: list[int], shortest: int, longest: int) -> list[int]:
    """Return a random stretch of a document, between its [CLS] and [SEP]; every other one from the beginning."""
    body, size = ids[1:-1], random.randint(min(shortest, longest), longest)
    start = random.choice((0, random.randint(0, max(0, len(body) - size))))
    return [ids[0], *body[start : start + size], ids[-1]]


def descent(parameters: list[Tensor], rate: float, count: int) -> Callable[[Tensor], float]:
    """Return a function that takes one step of AdamW down a loss, ``count`` times, with a warm-up and a cosine."""
    groups = [[p for p in parameters if p.dim() > 1], [p for p in parameters if p.dim() <= 1]]
    decays = [{"params": group, "weight_decay": decay} for group, decay in zip(groups, (0.05, 0.0), strict=True)]
    optimizer = torch.optim.AdamW(decays, lr=rate, betas=(0.9, 0.98))
    warm = max(1, count // 15)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min(1.0, (i + 1) / warm) * (0.51 + 0.49 * math.cos(math.pi * min(1.0, i / count)))
    )

    def step(loss: Tensor) -> float:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        return loss.item()

    return step


def word_vectors(texts: list[list[int]], size: int, width: int) -> Tensor:
    """Return vectors that factor the positive mutual information of neighbors (Levy and Goldberg 2014): they stand in
    for a long pretraining. Special tokens get zeros."""
    stream, counts = torch.tensor([i for ids in texts for i in ids]), torch.zeros(size * size)
    for distance in range(1, 6):
        counts += torch.bincount(stream[:-distance] * size + stream[distance:], minlength=size * size) / distance
    counts = counts.view(size, size) + counts.view(size, size).T
    counts[:5], counts[:, :5] = 0, 0
    word, context = counts.sum(1), counts.sum(0) ** 0.75
    information = (counts / (word[:, None] * (context / context.sum())).clamp_min(1e-9)).clamp_min(1).log()
    left, strength, _ = torch.svd_lowrank(information, q=min(width, size), niter=2)
    return F.normalize(left * strength.sqrt() * information.any(1, keepdim=True), dim=1)
