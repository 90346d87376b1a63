"""Operations whose plain gradient is exact: linear in what depends on the ids, whatever constants they add."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textlrp.guard.trees import bind
from textlrp.lrp import operations, reference
from textlrp.lrp.context import Context
from textlrp.lrp.linear import OWN, PlainLinear

#: Functions whose nodes keep their input, though they are linear in it.
_KEEPS = ("conv", "avg_pool", "adaptive_avg_pool", "batch_norm")
#: The fewest and the most rows of a linear map whose two runs are stacked. For fewer, another kernel runs on twice as
#: many, and the text's results would not be those of the model to the last digit.
_FEWEST, _MOST = 16, 64


def plain(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """Call a function on both runs; its own gradient is its rule."""
    context.count(func, "plain gradient")
    if operations.stem(func).startswith(_KEEPS):
        out = func(*reference.without_partners(args), **reference.without_partners(kwargs))
    else:
        out = func(*args, **kwargs)
    with torch.no_grad():
        partners = func(*reference.of_floats(args), **reference.of_floats(kwargs))
    if func is not torch.zeros_like:
        reference.attach_all(out, partners)
    return out


def linear(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """``F.linear`` with constant weights: for few rows, one product on both runs reads the weights once."""
    named = bind(("input", "weight", "bias"), args, kwargs)
    x, weight, bias = named["input"], named["weight"], named.get("bias")
    if x.dim() < 2 or type(weight) not in OWN:
        return plain(context, func, args, kwargs)
    context.count(func, "plain gradient")
    r = reference.value(x)
    if not _FEWEST * x.shape[-1] <= x.numel() <= _MOST * x.shape[-1] or x.dtype != weight.dtype:
        y: Tensor = PlainLinear.apply(x, weight, bias, None)
        with torch.no_grad():
            y_r = F.linear(r, weight, bias)
    else:
        both = torch.cat((x.detach().reshape(-1, x.shape[-1]), r.reshape(-1, r.shape[-1])))
        y, y_r = Stacked.apply(x, F.linear(both, weight, bias), weight)
    reference.attach(y, y_r)
    return y


class Stacked(PlainLinear):
    """The same as :class:`PlainLinear`, for a product that was computed for both runs at once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, both: Tensor, weight: Tensor) -> Any:  # type: ignore[override]
        ctx.weight, ctx.bias, ctx.postings, ctx.shape, ctx.dtype = weight, None, None, x.shape, x.dtype
        rows = both.shape[0] // 2
        shape = (*x.shape[:-1], both.shape[1])
        y, y_r = (torch.ops.aten._unsafe_view.default(part, shape) for part in (both[:rows], both[rows:]))
        ctx.mark_non_differentiable(y_r)
        return y, y_r

    @staticmethod
    def backward(ctx: Any, c: Tensor, _: Any) -> Any:
        return PlainLinear.backward(ctx, c)[:3]
