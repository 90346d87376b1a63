"""Choices among activations: the winner gets the relevance, and a constant that wins is posted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textlrp.guard.trees import bind
from textlrp.lrp import token_tracking
from textlrp.lrp.context import Context


def winner(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """The larger or smaller of two tensors, or of the entries of one."""
    y = func(*args, **kwargs)
    context.count(func, "plain gradient")
    named = bind(("input", "other"), args, kwargs)
    if not isinstance(named.get("other"), Tensor):  # max and min of one tensor, along a dimension
        return y
    for value, other in ((named["input"], named["other"]), (named["other"], named["input"])):
        if not value.requires_grad:
            share = (y == value).to(y.dtype) / (1 + (value == other).to(y.dtype))  # a tie is shared
            context.post_constant(y, torch.where(share > 0, value * share, 0.0), token_tracking.heading(value))
    return y
