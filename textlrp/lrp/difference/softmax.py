"""Softmax, log-softmax and logsumexp, between the text and the reference by logarithmic means.

With ``L(a, b) = (a - b) / (ln a - ln b)``, a weight changes by ``p - p_r = L (ln p - ln p_r)``, exactly, and because
the weights of a row add up to one in both runs, the change of the logarithm of its sum is the mean of the changes of
the scores, weighted by ``L``. So multipliers do not depend on a constant that is added to all scores, and are no larger
than the weights. (The steps of a softmax one by one, exponentials, a sum and a quotient, are exact as well, but their
multipliers have no bound; a softmax that a model writes out is therefore taken whole.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textlrp.guard.trees import bind
from textlrp.lrp import operations, reference
from textlrp.lrp.context import Context
from textlrp.lrp.surrogate import Saved, Surrogate, rule_backward

_TINY = 1e-30


def log_mean(log_p: Tensor, log_r: Tensor, larger: Tensor | None = None) -> Tensor:
    """Return the logarithmic mean of two weights, given their logarithms: 0 where both are masked.

    ``max(p, r) (1 - exp(-a)) / a`` with ``a = |ln p - ln r|`` keeps its digits where they are near-equal.

    Args:
        log_p, log_r: the logarithms.
        larger: ``max(p, r)`` if it is known, which is overwritten.
    """
    larger = torch.maximum(log_p, log_r).exp_() if larger is None else larger
    size = (log_p - log_r).abs_().clamp_min_(_TINY).neg_()
    # Not a number: both are masked, or all of their row.
    return larger.mul_(torch.expm1(size).div_(size)).nan_to_num_(nan=0.0)


class Softmax(Surrogate):
    """``c_s = L c - L sum(L c) / sum(L)``, and 0 in rows of masked scores alone. Only ``L`` is saved."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, p: Tensor, mean: Tensor, dim: int) -> Any:
        ctx.mark_dirty(p)
        ctx.save_for_backward(mean)
        ctx.dim, ctx.dtype = dim, s.dtype
        return p

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (mean,) = saved
        weighted = mean * c
        total = mean.sum(ctx.dim, keepdim=True).clamp_min(_TINY)
        c_s = torch.addcmul(weighted, mean, weighted.sum(ctx.dim, keepdim=True) / total, value=-1)
        return c_s.to(ctx.dtype), None, None, None


class LogSoftmax(Softmax):
    """``c_s = c - L sum(c) / sum(L)``."""

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (mean,) = saved
        share = c.sum(ctx.dim, keepdim=True) / mean.sum(ctx.dim, keepdim=True).clamp_min(_TINY)
        return (c - mean * share).to(ctx.dtype), None, None, None


class LogSumExp(Surrogate):
    """``c_s = c L / sum(L)``."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, y: Tensor, mean: Tensor, dims: tuple[int, ...], keepdim: bool) -> Any:
        ctx.mark_dirty(y)
        ctx.save_for_backward(mean / mean.sum(dims, keepdim=True).clamp_min(_TINY))
        ctx.dims, ctx.keepdim, ctx.dtype = dims, keepdim, s.dtype
        return y

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (share,) = saved
        if not ctx.keepdim:
            for dim in sorted(ctx.dims):
                c = c.unsqueeze(dim)
        return (share * c).to(ctx.dtype), None, None, None, None


def _means(scores: Tensor, dim: int) -> Tensor:
    """Return the logarithmic means of the weights of the two runs, in float32 or wider."""
    wide = torch.promote_types(scores.dtype, torch.float32)
    own, other = scores.detach().to(wide), reference.value(scores).to(wide)
    return log_mean(own.log_softmax(dim), other.log_softmax(dim))


def softmax(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """``softmax`` and ``log_softmax``."""
    named = bind(("input", "dim"), args, kwargs)
    scores, dim = named["input"], named["dim"]
    is_log = "log" in operations.stem(func)
    if context.scores is not None and not is_log:
        context.scores.record(scores, dim)
    context.count(func, "logarithmic mean")
    y, y_r = reference.run_both(func, args, kwargs)
    with torch.no_grad():
        mean = _means(scores, dim)
    out: Tensor = (LogSoftmax if is_log else Softmax).apply(scores, y, mean, dim)
    reference.attach(out, y_r)
    return out


def logsumexp(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """``logsumexp``."""
    named = bind(("input", "dim", "keepdim"), args, kwargs)
    scores = named["input"]
    dims = tuple(d % scores.dim() for d in (named["dim"] if not isinstance(named["dim"], int) else (named["dim"],)))
    context.count(func, "logarithmic mean")
    y, y_r = reference.run_both(func, args, kwargs)
    with torch.no_grad():
        wide = torch.promote_types(scores.dtype, torch.float32)
        own, other = scores.detach().to(wide), reference.value(scores).to(wide)
        mean = log_mean(own - own.logsumexp(dims, keepdim=True), other - other.logsumexp(dims, keepdim=True))
    out: Tensor = LogSumExp.apply(scores, y, mean, dims, bool(named.get("keepdim", False)))
    reference.attach(out, y_r)
    return out
