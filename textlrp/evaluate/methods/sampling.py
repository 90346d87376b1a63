"""Methods that remove tokens and watch the logit: one token at a time, or samples by captum.

All work on ids: a token is replaced by the mask or the padding token, or left out; texts are not decoded and tokenized
again. Special tokens stay.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from textlrp.evaluate.methods.passes import ROWS, Passes
from textlrp.guard.model_guard import drawing_apart

#: LIME for texts: the width of the kernel on the cosine distance times 100, and the weight of the ridge penalty, as in
#: the authors' package (Ribeiro et al. 2016).
LIME_WIDTH, LIME_PENALTY = 25.0, 1.0


def occlusion(passes: Passes, seed: int, replacement: str | None) -> list[float]:
    """Return the fall of the logit as each token alone is removed."""
    kind, replaced = passes.replacement(replacement)
    texts = [passes.without([i], kind, replaced) for i in passes.words]
    logit = passes.logit
    return passes.at_words([logit - value for value in passes.values(texts)])


def lime(passes: Passes, seed: int, samples: int, replacement: str | None) -> list[float]:
    """Return the weights of a linear model of the logit around the text (Ribeiro et al. 2016), by captum.

    Each sample removes each token with probability one half, and has the weight ``sqrt(exp(-d^2 / 25^2))``, ``d`` the
    cosine distance times 100; the linear model has a ridge penalty of 1.
    """
    attr: Any = importlib.import_module("captum.attr")  # it has no types
    words = len(passes.words)
    model = Ridge(LIME_PENALTY)
    method = attr.Lime(_kept(passes, replacement), model, _similarity)
    with drawing_apart(passes.seed(seed)):
        method.attribute(
            torch.ones(1, words, dtype=torch.float64),
            baselines=torch.zeros(1, words, dtype=torch.float64),
            n_samples=samples,
            perturbations_per_eval=ROWS,
        )
    return passes.at_words(model.representation().tolist())


def shapley(passes: Passes, seed: int, permutations: int, replacement: str | None) -> list[float]:
    """Return sampled Shapley values of the tokens (Castro et al. 2009), by captum.

    They add up to the logit minus that of the text without its tokens.
    """
    attr: Any = importlib.import_module("captum.attr")  # it has no types
    words = len(passes.words)
    method = attr.ShapleyValueSampling(_kept(passes, replacement))
    with drawing_apart(passes.seed(seed)):
        values = method.attribute(
            torch.ones(1, words, dtype=torch.float64),
            baselines=torch.zeros(1, words, dtype=torch.float64),
            n_samples=permutations,
            perturbations_per_eval=ROWS,
        )
    return passes.at_words(values[0].tolist())


class Ridge:
    """A linear model with an intercept, fit by weighted least squares with a ridge penalty, as captum needs it."""

    def __init__(self, penalty: float) -> None:
        self._penalty = penalty
        self._weights = torch.zeros(0, dtype=torch.float64)

    def fit(self, loader: Any, **options: Any) -> None:
        """Fit the model to batches of inputs ``[rows, features]``, outputs ``[rows]`` and weights ``[rows]``."""
        x, y, weights = (torch.cat(parts).double() for parts in zip(*loader, strict=True))
        share = weights / weights.sum()
        x, y = x - share @ x, y.reshape(-1) - share @ y.reshape(-1)
        penalty = self._penalty * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        self._weights = torch.linalg.solve(x.T @ (weights[:, None] * x) + penalty, x.T @ (weights * y))

    def representation(self) -> Tensor:
        """Return the weights, ``[features]``."""
        return self._weights


def _similarity(original: Tensor, perturbed: Tensor, kept: Tensor, **options: Any) -> float:
    share = float(kept.double().mean())
    distance = 100 * (1 - math.sqrt(share))  # cosine to a vector of ones
    return math.sqrt(math.exp(-(distance**2) / LIME_WIDTH**2))


def _kept(passes: Passes, replacement: str | None) -> Callable[[Tensor], Tensor]:
    """Return a function from the tokens that are kept, ``[rows, words]`` of ones and zeros, to the explained logits."""
    kind, replaced = passes.replacement(replacement)

    def value(kept: Tensor) -> Tensor:
        texts = [
            passes.without([i for i, stays in zip(passes.words, row, strict=True) if not stays], kind, replaced)
            for row in kept.bool().tolist()
        ]
        return torch.tensor(passes.values(texts), dtype=torch.float64)

    return value
