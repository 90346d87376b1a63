"""Softmax: by its Taylor expansion, in equal parts, or held constant."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textlrp.guard.trees import detached
from textlrp.lrp import operations
from textlrp.lrp.context import Context
from textlrp.lrp.postings import Postings
from textlrp.lrp.surrogate import MASKED, Saved, Surrogate, rule_backward, stand_in
from textlrp.results import ledger
from textlrp.rules import Frozen, Uniform


class TaylorSoftmax(Surrogate):
    """Softmax by its Taylor expansion: the plain gradient, ``c_s = p (c_p - sum(p c_p))``.

    Achtibat et al. 2024, eq. 13 (proposition 3.1). The remainder of the expansion, ``sum(p c_p) - sum(s c_s)``, goes to
    the ledger. Because ``sum(c_s) = 0`` in each row, ``sum(s c_s) = sum(log(p) c_s)``: only ``p`` is saved.
    """

    @staticmethod
    def forward(ctx: Any, s: Tensor, p: Tensor, dim: int, postings: Postings) -> Any:
        ctx.mark_dirty(p)
        ctx.save_for_backward(p)
        ctx.dim, ctx.postings, ctx.dtype, ctx.masked = dim, postings, s.dtype, _has_masked_rows(p, dim)
        return p

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (p,) = saved
        p, weighted = _times(p, c, ctx.masked)
        c_s = torch.addcmul(weighted, p, weighted.sum(ctx.dim, keepdim=True), value=-1)
        tiny = torch.finfo(p.dtype).tiny
        ctx.postings.post(ledger.SOFTMAX, weighted - c_s * p.clamp_min(tiny).log_())
        return c_s.to(ctx.dtype), None, None, None


class UniformSoftmax(Surrogate):
    """Softmax by the uniform rule: ``R_i = sum_j(p_j c_j) / n`` to each of the ``n`` scores that no mask has set.

    The multiplier is ``R_i / s_i``. The stabilizer gets the share of a score of exactly 0, and the relevance of a row
    of masked scores alone.
    """

    @staticmethod
    def forward(ctx: Any, s: Tensor, p: Tensor, dim: int, postings: Postings) -> Any:
        ctx.mark_dirty(p)
        ctx.save_for_backward(s, p)
        ctx.dim, ctx.postings, ctx.masked = dim, postings, _has_masked_rows(p, dim)
        return p

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        s, p = saved
        p, weighted = _times(p, c, ctx.masked)
        row = weighted.sum(ctx.dim, keepdim=True)
        unmasked = s > MASKED
        share = row / unmasked.sum(ctx.dim, keepdim=True).clamp_min(1)
        receives = unmasked & (s != 0)
        ctx.postings.post(ledger.STABILIZER, row - (share * receives).sum(ctx.dim, keepdim=True))
        return torch.where(receives, share / torch.where(receives, s, 1.0), 0.0).to(s.dtype), None, None, None


def _has_masked_rows(p: Tensor, dim: int) -> bool:
    """Return whether there are rows of scores that are all minus infinity: their weights are not numbers."""
    return p.shape[dim] > 0 and bool(p.select(dim, 0).isnan().any())


def _times(p: Tensor, c: Tensor, masked: bool) -> tuple[Tensor, Tensor]:
    """Return weights and their products with multipliers; both are 0 where the model leaves a masked row out."""
    if masked:
        p = p.masked_fill((c == 0) & p.isnan(), 0.0)
    return p, p * c


def softmax(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """Give a softmax its rule."""
    scores = args[0]
    dim = kwargs["dim"] if "dim" in kwargs else args[1]
    if context.scores is not None and "log" not in operations.stem(func):
        context.scores.record(scores, dim)
    rule = context.rules.softmax
    if "log" in operations.stem(func):
        return _log_softmax(context, func, scores, dim, args, kwargs)
    if isinstance(rule, Frozen):
        context.count(func, "frozen")
        return func(*detached(args), **kwargs)
    context.count(func, "uniform" if isinstance(rule, Uniform) else "Taylor")
    p = func(*detached(args), **detached(kwargs))
    surrogate = UniformSoftmax if isinstance(rule, Uniform) else TaylorSoftmax
    return surrogate.apply(scores, p, dim, context.postings)


def _log_softmax(context: Context, func: Any, scores: Tensor, dim: int, args: Any, kwargs: Any) -> Tensor:
    """``log_softmax``, scores less their logsumexp, which is a constant, as every statistic of a row is.

    So a model that returns logarithms of probabilities has the relevances of its logits.
    """
    context.count(func, "statistics constant")
    out = stand_in(scores, func(*detached(args), **detached(kwargs)))
    context.post_constant(out, scores.detach().logsumexp(dim, keepdim=True), ledger.SOFTMAX, -1.0)
    return out
