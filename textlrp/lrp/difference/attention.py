"""Attention as torch's fused kernel computes it, between the text and the reference.

The forward pass calls the kernel once for each run. The backward computes the weights of both runs again, a block of
queries at a time, so that memory grows with the block and not with the square of the text.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textlrp.guard.trees import carries
from textlrp.lrp import reference
from textlrp.lrp.attention import arguments, block_of, scores_of
from textlrp.lrp.context import Context
from textlrp.lrp.difference.plain import plain
from textlrp.lrp.difference.softmax import log_mean
from textlrp.lrp.surrogate import Saved, Surrogate, rule_backward

_TINY = 1e-30


class DifferenceAttention(Surrogate):
    """``O = P V``, ``P = softmax(S)``, ``S = Q K^T scale + M``: products halfway between the runs, weights by ``L``.

    ``c_V = ((P + P_r) / 2)^T c``, ``c_P = c ((V + V_r) / 2)^T``, ``c_S = L c_P - L sum(L c_P) / sum(L)`` with ``L`` the
    logarithmic means of the weights (:mod:`textlrp.lrp.difference.softmax`), ``c_Q = scale c_S (K + K_r) / 2``, and
    ``c_K = scale c_S^T (Q + Q_r) / 2``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        y: Tensor,
        both: tuple[Tensor, Tensor, Tensor, Tensor | None],
        causal: bool,
        scale: float,
    ) -> Any:
        ctx.save_for_backward(*both)
        ctx.shapes = [None if x is None else x.shape for x in (q, k, v, mask)]
        ctx.causal, ctx.scale = causal, scale
        ctx.mark_dirty(y)
        return y

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        q, k, v, mask = saved
        dtype, needs = q.dtype, ctx.needs_input_grad
        if dtype in (torch.float16, torch.bfloat16):  # differences of 16-bit weights lose their digits
            q, k, v, c = (x.float() for x in (q, k, v, c))
        groups = q.shape[-3] // k.shape[-3] if q.dim() > 3 else 1
        if groups > 1:
            k, v = (x.repeat_interleave(groups, -3) for x in (k, v))
        k_half, v_half = _middle(k, ctx.scale), _middle(v)
        c_q: list[Tensor] = []
        c_mask: list[Tensor] = []
        c_k: Any = None
        c_v: Any = None
        step = max(1, block_of(q) // max(1, k.shape[-2] * q[..., 0, 0].numel()))
        for start in range(0, q.shape[-2], step):
            rows = slice(start, start + step)
            part, queries = c[..., rows, :], q[..., rows, :]
            scores = scores_of(queries, k, mask, ctx.causal, ctx.scale, start)
            logs = scores.log_softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))
            weights = logs.exp()
            own, other = _runs(weights)
            if needs[2]:
                middle = (own + other).mul_(0.5)
                part_v = (middle if mask is None else middle.nan_to_num_(nan=0.0)).mT @ part
                c_v = part_v if c_v is None else c_v + part_v
            if not (needs[0] or needs[1] or needs[3]):
                continue
            log_p, log_r = _runs(logs)
            mean = log_mean(log_p, log_r, torch.maximum(own, other))
            weighted = (part @ v_half.mT) * mean
            share = weighted.sum(-1, keepdim=True) / mean.sum(-1, keepdim=True).clamp_min(_TINY)
            c_s = torch.addcmul(weighted, mean, share, value=-1)
            if needs[0]:
                c_q.append(c_s @ k_half)
            if needs[1]:
                part_k = c_s.mT @ _middle(queries, ctx.scale)
                c_k = part_k if c_k is None else c_k + part_k
            if needs[3]:
                c_mask.append(c_s)
        if groups > 1:
            c_k, c_v = (None if x is None else x.unflatten(-3, (-1, groups)).sum(-3) for x in (c_k, c_v))
        parts = _joined(c_q), c_k, c_v, _joined(c_mask)
        of_inputs = (
            None if x is None else x.sum_to_size(shape).to(dtype) for x, shape in zip(parts, ctx.shapes, strict=True)
        )
        return *of_inputs, None, None, None, None


def _joined(blocks: list[Tensor]) -> Tensor | None:
    """Return what blocks of queries make together."""
    return None if not blocks else blocks[0] if len(blocks) == 1 else torch.cat(blocks, -2)


def _runs(both: Tensor) -> tuple[Tensor, Tensor]:
    """Return the parts of the text and of the reference."""
    half = both.shape[0] // 2
    return both[:half], both[half:]


def _middle(both: Tensor, factor: float = 1.0) -> Tensor:
    """Return the value halfway between the two runs, times a factor."""
    own, other = _runs(both)
    return torch.add(own, other).mul_(0.5 * factor)


def scaled_dot_product_attention(context: Context, func: Any, args: Any, kwargs: Any) -> Tensor:
    """``F.scaled_dot_product_attention``."""
    return context.attended(_attention(context, func, args, kwargs))


def _attention(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    named, scale = arguments(context, func, args, kwargs)
    q, k, v, mask = named["query"], named["key"], named["value"], named.get("attn_mask")
    if not carries((q, k, mask)):
        return plain(context, func, args, kwargs)
    options = {key: option for key, option in named.items() if key not in ("query", "key", "value", "attn_mask")}
    if context.scores is not None:
        context.scores.record_factors(q, k, scale)
    context.count(func, "midpoints, logarithmic mean")
    both = tuple(_stacked(x) for x in (q, k, v))
    masks = mask
    if mask is not None and (mask.requires_grad or (mask.dim() == q.dim() and mask.shape[0] > 1)):
        masks = _stacked(mask if mask.dim() == q.dim() and mask.shape[0] == q.shape[0] else _whole(mask, q))
    with torch.no_grad():
        y, y_r = _runs(func(*both, attn_mask=masks, **options))
    y = torch.ops.aten._unsafe_view.default(y, y.shape)  # autograd would take a chunk for a view
    out: Tensor = DifferenceAttention.apply(
        q, k, v, mask, y, (*both, masks), bool(named.get("is_causal", False)), scale
    )
    reference.attach(out, y_r)
    return out


def _stacked(x: Tensor) -> Tensor:
    """Return the values of the two runs, one after the other."""
    return torch.cat((x.detach(), reference.value(x)))


def _whole(mask: Tensor, q: Tensor) -> Tensor:
    """Return a mask with the dimensions of documents that queries have."""
    return reference.like(mask, lambda x: x.expand(q.shape[0], *q.shape[1:-2], *x.shape[-2:]))
