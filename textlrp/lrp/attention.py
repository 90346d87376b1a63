"""Attention as torch's fused kernel computes it: by the kernel's own backward, with constant weights, or step by step.

Queries, keys and values go to the kernel that torch chooses, and autograd finds its backward.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from textlrp.guard.randomness import draws
from textlrp.guard.trees import bind
from textlrp.lrp import operations
from textlrp.lrp.context import Context
from textlrp.lrp.postings import Postings
from textlrp.lrp.products import product
from textlrp.lrp.softmax import softmax
from textlrp.lrp.sums import additive
from textlrp.lrp.surrogate import Saved, Surrogate, is_blank, rule_backward, stand_in
from textlrp.results import ledger
from textlrp.rules import Frozen, Taylor, Uniform

_ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")

#: Largest block of attention weights that the frozen rule recomputes at once, in elements: a cache holds the first; the
#: second keeps an accelerator busy.
_BLOCK, _BLOCK_OF_ACCELERATOR = 1 << 19, 1 << 26


def block_of(x: Tensor) -> int:
    """Return the largest block of attention weights to compute at once on a tensor's device, in elements."""
    return _BLOCK if x.is_cpu else _BLOCK_OF_ACCELERATOR


def scores_of(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool, scale: float, start: int) -> Tensor:
    """Return the scores of a block of queries before the softmax.

    Args:
        q: the queries of the block, the first of which is the one of index ``start``.
        k: all keys.
        mask: the mask of all queries, or one for each of them.
        causal: whether later keys are masked.
        scale: the factor of the products.
        start: the index of the first query.
    """
    scores = (q * scale) @ k.mT
    if causal:
        queries = torch.arange(start, start + q.shape[-2], device=q.device)[:, None]
        scores.masked_fill_(torch.arange(k.shape[-2], device=q.device) > queries, -torch.inf)
    if mask is not None:
        part = mask[..., start : start + q.shape[-2], :] if mask.shape[-2] > 1 else mask
        scores = scores.masked_fill_(~part, -torch.inf) if part.dtype == torch.bool else scores.add_(part)
    return scores


class AttentionPart(NamedTuple):
    """How the relevance of a query, key or value is shared out.

    Attributes:
        posts: whether it carries relevance.
        share: its share of the plain gradient.
        sign: the sign of its relevance in the row of the softmax.
        left: the part of its relevance that goes to the row of the products.
    """

    posts: bool
    share: float
    sign: float
    left: float


class AttentionInputs(Surrogate):
    """The inputs of the fused kernel: query, key and value, to which its own backward gives the plain gradient.

    With ``O = PV`` and ``S = QK^T``, the uniform rule keeps a share of that gradient: 1/4 for queries and keys, 1/2 for
    values (Achtibat et al. 2024, eqs. 13 and 14). The softmax row is ``sum(P c_P) - sum(S c_S)``, and because
    ``sum(V c_V) = sum(P c_P)`` and ``sum(Q c_Q) + sum(K c_K) = sum(S c_S)``, it is posted with the sign +1 at the
    values and -1 at the queries and keys: the weights themselves are never needed. The Taylor rule keeps all of the
    gradient; there ``sum(Q c_Q) = sum(K c_K) = sum(S c_S)``, so half of each is posted, and the remainder of the
    products is posted, too.

    ``parts`` has one part for each of the three, in order.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, root: Tensor, parts: tuple[AttentionPart, ...], postings: Postings
    ) -> Any:
        ctx.save_for_backward(q, k, v)
        ctx.parts, ctx.postings = parts, postings
        return q.view_as(q), k.view_as(k), v.view_as(v)

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, *multipliers: Tensor) -> Any:
        arrived = [
            _share(x, c, part, ctx.postings) if needed else None
            for x, c, part, needed in zip(saved, multipliers, ctx.parts, ctx.needs_input_grad[:3], strict=True)
        ]
        return *arrived, None, None, None


def _share(x: Tensor, c: Tensor, part: AttentionPart, postings: Postings) -> Tensor:
    """Make the postings of an input of the kernel, and return its share of the plain gradient ``c``."""
    if part.posts:
        relevance = x.to(postings.dtype) * c.to(postings.dtype)
        postings.post(ledger.SOFTMAX, relevance, part.share * part.sign)
        if part.left:
            postings.post(ledger.PRODUCTS, relevance, part.share * part.left)
    return c if part.share == 1.0 else c * part.share


class FrozenAttention(Surrogate):
    """Attention with constant weights, ``c_V = P^T c_O`` (Ali et al. 2022, eq. 9): no query or key backward.

    The backward computes the weights again from the queries and keys, one block of queries at a time.
    """

    @staticmethod
    def forward(
        ctx: Any,
        v: Tensor,
        y: Tensor,
        q: Tensor,
        k: Tensor,
        mask: Tensor | None,
        causal: bool,
        scale: float,
    ) -> Any:
        ctx.save_for_backward(q, k, mask)
        ctx.causal, ctx.scale, ctx.shape = causal, scale, v.shape
        ctx.mark_dirty(y)
        return y

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        q, k, mask = saved
        groups = q.shape[-3] // k.shape[-3] if q.dim() > 3 else 1
        k = k.repeat_interleave(groups, -3) if groups > 1 else k
        c_v: Any = None
        step = max(1, block_of(q) // max(1, k.shape[-2] * c[..., 0, 0].numel()))
        for start in range(0, q.shape[-2], step):
            rows = slice(start, start + step)
            weights = scores_of(q[..., rows, :], k, mask, ctx.causal, ctx.scale, start).softmax(-1)
            if mask is not None:  # a query whose keys are all masked
                weights.nan_to_num_(0.0)
            part_c_v = weights.mT @ c[..., rows, :]
            c_v = part_c_v if c_v is None else c_v.add_(part_c_v)
        if groups > 1:
            c_v = c_v.unflatten(-3, (-1, groups)).sum(-3)
        return c_v.sum_to_size(ctx.shape), None, None, None, None, None, None


def scaled_dot_product_attention(context: Context, func: Any, args: Any, kwargs: Any) -> Tensor:
    """``O = softmax(QK^T scale + M) V``: Taylor or frozen softmax, uniform products, the kernel's own backward."""
    return context.attended(_attention(context, func, args, kwargs))


def arguments(context: Context, func: Any, args: Any, kwargs: Any) -> tuple[dict[str, Any], float]:
    """Return the arguments of the kernel by name, and the factor of the scores.

    Raises:
        UnsupportedOperationError: the kernel draws random numbers.
    """
    named = bind(_ARGUMENTS, args, kwargs)
    if draws(func, args, kwargs):
        raise context.unsupported(f"{operations.name(func)} with dropout in evaluation mode")
    width = named["query"].shape[-1]
    return named, 1.0 / math.sqrt(width) if named.get("scale") is None else named["scale"]


def _attention(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    named, scale = arguments(context, func, args, kwargs)
    q, k, v, mask = named["query"], named["key"], named["value"], named.get("attn_mask")
    options = {key: value for key, value in named.items() if key not in ("query", "key", "value")}
    weights_carry = q.requires_grad or k.requires_grad or (mask is not None and mask.requires_grad)
    if context.scores is not None and (q.requires_grad or k.requires_grad):
        context.scores.record_factors(q, k, scale)
    if isinstance(context.rules.softmax, Frozen):
        context.count(func, "frozen")
        if not v.requires_grad:
            return func(q.detach(), k.detach(), v, **options)
        q, k, mask = q.detach(), k.detach(), None if mask is None else mask.detach()
        y = func(q, k, v.detach(), **options | {"attn_mask": mask})
        causal = bool(named.get("is_causal", False))
        out: Tensor = FrozenAttention.apply(v, y, q, k, mask, causal, scale)
        return out
    if not weights_carry:
        context.count(func, "plain gradient")
        return func(q, k, v, **options)
    rule = context.rules.product
    by_steps = not isinstance(context.rules.softmax, Taylor) or isinstance(rule, Frozen)
    if not by_steps:
        context.count(func, f"Taylor, {'uniform' if isinstance(rule, Uniform) else 'Taylor'}")
    biased = mask is not None and mask.is_floating_point() and (mask.requires_grad or not is_blank(mask))
    if biased or by_steps or not context.fused:
        return _step_by_step(context, func, q, k, v, mask, scale, options)
    both = q.requires_grad and k.requires_grad
    half_qk, count = (0.5, 2.0) if both else (1.0, 1.0)  # sum(Q c_Q) = sum(K c_K): the queries post for both
    if isinstance(rule, Uniform):
        half_v = 0.5 if v.requires_grad else 1.0
        of_qk, of_v = (half_v * half_qk, -count, 0.0), (half_v, 1.0, 0.0)
    else:  # each factor gets all of the relevance; the excess of PV and of QK^T is posted
        of_qk, of_v = (1.0, -1.0, -1.0 if both else 0.0), (1.0, 1.0, -1.0 if v.requires_grad else 0.0)
    posting = ((q.requires_grad, of_qk), (k.requires_grad and not both, of_qk), (True, of_v))
    parts = tuple(AttentionPart(posts, *rest) for posts, rest in posting)
    q, k, v = AttentionInputs.apply(q, k, v, context.root, parts, context.postings)
    out = func(q, k, v, **options)
    context.mark_product(out, (q, k, v))
    return out


def _step_by_step(
    context: Context,
    func: Any,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    scale: float,
    options: dict[str, Any],
) -> Tensor:
    """Attention operation by operation, so that a mask that is a bias (relative positions) gets its own row.

    The fused kernel computes the weights again in its backward, and if scores are huge, they differ.
    """
    with torch.no_grad():
        value = func(q, k, v, **options)
    groups = q.shape[-3] // k.shape[-3] if q.dim() > 3 else 1
    if groups > 1:
        k, v = k.repeat_interleave(groups, -3), v.repeat_interleave(groups, -3)
    scores = product(context, torch.matmul, (q * scale, k.mT), {})
    blind = None  # queries whose keys are all masked (padding in a window of padding): the kernel returns zeros there
    if mask is not None and mask.dtype == torch.bool:
        blind = ~mask.any(-1, keepdim=True)
        scores = scores.masked_fill(~mask & ~blind, -torch.inf)
    elif mask is not None:
        blind = (mask.detach() == -torch.inf).all(-1, keepdim=True)
        mask = mask.masked_fill(blind, 0.0) if bool(blind.any()) else mask
        scores = additive(context, torch.add, (scores, mask), {})
    if options.get("is_causal"):
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu_(1)
        scores = scores.masked_fill(future, -torch.inf)
    weights = softmax(context, torch.softmax, (scores, -1), {})
    if blind is not None and bool(blind.any()):
        weights = weights.masked_fill(blind, 0.0)
    steps = product(context, torch.matmul, (weights, v), {})
    return stand_in(steps, value)
