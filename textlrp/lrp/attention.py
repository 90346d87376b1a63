"""Attention as torch's own functionals compute it: the fused kernel, and ``torch.nn.MultiheadAttention``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textlrp.lrp import handlers, kernels, operations
from textlrp.rules import Frozen, Taylor, Uniform

if TYPE_CHECKING:
    from textlrp.lrp.dispatch import Interception

_SDPA = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


def scaled_dot_product_attention(met: Interception, func: Any, args: Any, kwargs: Any) -> Tensor:
    """``O = softmax(QK^T scale + M) V``: Taylor or frozen softmax, uniform products, the kernel's own backward."""
    out = _attention(met, func, args, kwargs)
    return out if met.inside is None else met.inside.attend(out)


def _attention(met: Interception, func: Any, args: Any, kwargs: Any) -> Tensor:
    named = dict(zip(_SDPA, args, strict=False)) | kwargs
    if operations.draws(func, args, kwargs):
        raise met.unsupported(f"{operations.name(func)} with dropout in evaluation mode")
    q, k, v, mask = named["query"], named["key"], named["value"], named.get("attn_mask")
    options = {key: value for key, value in named.items() if key not in ("query", "key", "value")}
    scale = 1.0 / math.sqrt(q.shape[-1]) if named.get("scale") is None else named["scale"]
    weights_carry = q.requires_grad or k.requires_grad or (mask is not None and mask.requires_grad)
    if met.scores is not None and (q.requires_grad or k.requires_grad):
        met.scores.look_at_factors(q, k, scale)
    if isinstance(met.rules.softmax, Frozen):
        met.count(func, "frozen")
        if not v.requires_grad:
            return _kernel(func, q.detach(), k.detach(), v, options)
        q, k, mask = q.detach(), k.detach(), None if mask is None else mask.detach()
        y = _kernel(func, q, k, v.detach(), options | {"attn_mask": mask})
        causal = bool(named.get("is_causal", False))
        out: Tensor = kernels.FrozenAttention.apply(v, y, q, k, mask, causal, scale, met.sparsity)
        return out
    if not weights_carry:
        met.count(func, "plain gradient")
        return _kernel(func, q, k, v, options)
    product = met.rules.product
    by_steps = not isinstance(met.rules.softmax, Taylor) or isinstance(product, Frozen)
    if not by_steps:
        met.count(func, f"Taylor, {'uniform' if isinstance(product, Uniform) else 'Taylor'}")
    biased = mask is not None and mask.is_floating_point() and (mask.requires_grad or not met.masks.is_blank(mask))
    if biased or by_steps or not met.fused:
        return _step_by_step(met, func, q, k, v, mask, scale, options)
    if isinstance(product, Uniform):
        flash = kernels.flash_attention(met, q, k, v, **options)
        if flash is not None:
            return flash
    half_qk = 0.5 if q.requires_grad and k.requires_grad else 1.0
    if isinstance(product, Uniform):
        half_v = 0.5 if v.requires_grad else 1.0
        of_qk, of_v = (half_v * half_qk, -1.0, 0.0), (half_v, 1.0, 0.0)
    else:  # each factor has all of the relevance; what that is too much, of PV and of QK^T, is posted
        of_qk = (1.0, -half_qk, -0.5 if half_qk == 0.5 else 0.0)
        of_v = (1.0, 1.0, -1.0 if v.requires_grad else 0.0)
    carry = ((q.requires_grad, of_qk), (k.requires_grad, of_qk), (True, of_v))
    parts = tuple(kernels.AttentionPart(posts, *rest) for posts, rest in carry)
    q, k, v = kernels.AttentionInputs.apply(q, k, v, met.root, parts, met.books)
    out = _kernel(func, q, k, v, options)
    met.mark_product(out, (q, k, v))
    return out


def _kernel(func: Any, q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any]) -> Tensor:
    out: Tensor = func(q, k, v, **options)
    return out


def _step_by_step(
    met: Interception,
    func: Any,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    scale: float,
    options: dict[str, Any],
) -> Tensor:
    """Attention operation by operation, so that a mask that is a bias (relative positions) gets its own row.

    The fused kernel computes the weights again in its backward, and where scores are huge, not the same ones.
    """
    with torch.no_grad():
        value = func(q, k, v, **options)
    groups = q.shape[-3] // k.shape[-3] if q.dim() > 3 else 1
    if groups > 1:
        k, v = k.repeat_interleave(groups, -3), v.repeat_interleave(groups, -3)
    scores = handlers.product(met, torch.matmul, (q * scale, k.mT), {})
    blind = None  # queries that see nothing: padding in a window of padding, which the kernel gives zeros
    if mask is not None and mask.dtype == torch.bool:
        blind = ~mask.any(-1, keepdim=True)
        scores = scores.masked_fill(~mask & ~blind, -torch.inf)
    elif mask is not None:
        blind = (mask.detach() == -torch.inf).all(-1, keepdim=True)
        mask = mask.masked_fill(blind, 0.0) if bool(blind.any()) else mask
        scores = handlers.additive(met, torch.add, (scores, mask), {})
    if options.get("is_causal"):
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu_(1)
        scores = scores.masked_fill(future, -torch.inf)
    weights = handlers.softmax(met, torch.softmax, (scores, -1), {})
    if blind is not None and bool(blind.any()):
        weights = weights.masked_fill(blind, 0.0)
    twin = handlers.product(met, torch.matmul, (weights, v), {})
    return handlers.stand_in(twin, value)


def multi_head_attention(met: Interception, func: Any, args: Any, kwargs: Any) -> tuple[Tensor, Tensor | None]:
    """``F.multi_head_attention_forward``: its projections, and the fused kernel in between."""
    names = tuple(func.__code__.co_varnames[: func.__code__.co_argcount])
    defaults = dict(zip(names[::-1], (func.__defaults__ or ())[::-1], strict=False))
    named = defaults | dict(zip(names, args, strict=False)) | kwargs
    if named["bias_k"] is not None or named["static_k"] is not None or named["add_zero_attn"]:
        raise met.unsupported("torch.nn.MultiheadAttention with bias_k, static_k or add_zero_attn")
    if named["training"] and named["dropout_p"] > 0:
        raise met.unsupported("torch.nn.MultiheadAttention with dropout in evaluation mode")
    with torch.no_grad():
        value, weights = func(*args, **kwargs)
    query, key, val = named["query"], named["key"], named["value"]
    batched = query.dim() == 3
    if not batched:
        query, key, val = query.unsqueeze(1), key.unsqueeze(1), val.unsqueeze(1)
    heads, width = named["num_heads"], query.shape[-1]
    if named["use_separate_proj_weight"]:
        matrices = (named["q_proj_weight"], named["k_proj_weight"], named["v_proj_weight"])
    else:
        matrices = named["in_proj_weight"].chunk(3)
    biases = named["in_proj_bias"].chunk(3) if named["in_proj_bias"] is not None else (None,) * 3

    def project(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
        y = handlers.linear(met, F.linear, (x, matrix, bias), {}) if x.requires_grad else F.linear(x, matrix, bias)
        apart: Tensor = y.unflatten(-1, (heads, width // heads))
        return apart.permute(1, 2, 0, 3)  # time, batch, heads -> batch, heads, time

    q, k, v = (project(*parts) for parts in zip((query, key, val), matrices, biases, strict=True))
    mask = _merge_masks(named["attn_mask"], named["key_padding_mask"], q, heads)
    attended = scaled_dot_product_attention(met, F.scaled_dot_product_attention, (q, k, v), {"attn_mask": mask})
    joined = attended.permute(2, 0, 1, 3).flatten(-2)
    out = handlers.linear(met, F.linear, (joined, named["out_proj_weight"], named["out_proj_bias"]), {})
    out = out if batched else out.squeeze(1)
    return handlers.stand_in(out, value), weights


def _merge_masks(mask: Tensor | None, padding: Tensor | None, q: Tensor, heads: int) -> Tensor | None:
    """Return the attention mask and the padding mask as one additive mask, ``[batch, heads or 1, time, time]``."""

    def additive(part: Tensor) -> Tensor:
        return (
            torch.zeros_like(part, dtype=q.dtype).masked_fill_(part, -torch.inf) if part.dtype == torch.bool else part
        )

    merged = None
    if mask is not None:
        merged = additive(mask)
        merged = merged.view(-1, heads, *merged.shape[-2:]) if merged.dim() == 3 else merged[None, None]
    if padding is not None:
        padding = additive(padding)[:, None, None, :]
        merged = padding if merged is None else merged + padding
    return merged
