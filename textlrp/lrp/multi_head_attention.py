"""``torch.nn.MultiheadAttention``: its projections, and the fused kernel in between."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textlrp.guard.trees import bind
from textlrp.lrp import reference
from textlrp.lrp.context import Context
from textlrp.lrp.surrogate import stand_in


def multi_head_attention(context: Context, func: Any, args: Any, kwargs: Any) -> tuple[Tensor, Tensor | None]:
    """``F.multi_head_attention_forward``: its projections, and the fused kernel in between."""
    names = tuple(func.__code__.co_varnames[: func.__code__.co_argcount])
    defaults = dict(zip(names[::-1], (func.__defaults__ or ())[::-1], strict=False))
    named = defaults | bind(names, args, kwargs)
    if named["bias_k"] is not None or named["static_k"] is not None or named["add_zero_attn"]:
        raise context.unsupported("torch.nn.MultiheadAttention with bias_k, static_k or add_zero_attn")
    if named["training"] and named["dropout_p"] > 0:
        raise context.unsupported("torch.nn.MultiheadAttention with dropout in evaluation mode")
    with torch.no_grad():
        value, weights = func(*args, **kwargs)
    query, key, val = named["query"], named["key"], named["value"]
    give, batched = context.give, query.dim() == 3
    if not batched:
        query, key, val = (give(Tensor.unsqueeze, (x, 1), {}) for x in (query, key, val))
    heads, width = named["num_heads"], query.shape[-1]
    if named["use_separate_proj_weight"]:
        matrices = (named["q_proj_weight"], named["k_proj_weight"], named["v_proj_weight"])
    else:
        matrices = named["in_proj_weight"].chunk(3)
    biases = named["in_proj_bias"].chunk(3) if named["in_proj_bias"] is not None else (None,) * 3

    def project(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
        apart = give(Tensor.unflatten, (give(F.linear, (x, matrix, bias), {}), -1, (heads, width // heads)), {})
        moved: Tensor = give(Tensor.permute, (apart, (1, 2, 0, 3)), {})  # time, batch, heads -> batch, heads, time
        return moved

    q, k, v = (project(*parts) for parts in zip((query, key, val), matrices, biases, strict=True))
    mask = _merge_masks(named["attn_mask"], named["key_padding_mask"], q, heads)
    attended = give(F.scaled_dot_product_attention, (q, k, v), {"attn_mask": mask})
    joined = give(Tensor.flatten, (give(Tensor.permute, (attended, (2, 0, 1, 3)), {}), -2), {})
    out = give(F.linear, (joined, named["out_proj_weight"], named["out_proj_bias"]), {})
    result = stand_in(out if batched else give(Tensor.squeeze, (out, 1), {}), value)
    if context.reference is not None:  # the weights carry no relevance, but other ones in the reference run
        with torch.no_grad():
            partners = func(*reference.of_floats(args), **reference.of_floats(kwargs))
        reference.attach_all((result, weights), partners)
    return result, weights


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
