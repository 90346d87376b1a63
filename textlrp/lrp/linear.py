"""Linear maps with constant weights: linear layers, convolutions, matrix products with the model's own weights.

LRP-0 is the plain gradient, and LRP-epsilon deducts the stabilizer's share from the multiplier. All other rules, a
user's own included, share out the relevance of the outputs anew (:mod:`textlrp.lrp.linear_rules`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter

from textlrp.errors import InputError
from textlrp.guard import torch_internals
from textlrp.guard.quantized import Dequantized
from textlrp.guard.trees import bind
from textlrp.lrp import operations, token_tracking
from textlrp.lrp.context import Context
from textlrp.lrp.linear_rules import Apply, Redistribution
from textlrp.lrp.postings import Postings
from textlrp.lrp.surrogate import Saved, Surrogate, rule_backward
from textlrp.results import ledger
from textlrp.rules import LRP0, Epsilon, Pass

#: The largest share of nonzero rows or columns at which picking them out pays, how many rows are checked first, and the
#: fewest elements of a multiplier at which the check pays.
_SPARSE, _LOOKS, _WORTH = 0.75, 8, 1 << 13


#: The types of a model's own weights.
OWN = (Parameter, Dequantized)


class PlainLinear(Surrogate):
    """``y = W x + b`` by LRP-0, the plain gradient: ``c_x = W^T c_y``, and ``sum(b c_y)`` is posted.

    Montavon et al. 2019. A classifier that reads one position of its last layer gives all other rows of that layer the
    multiplier 0, and if attention weights are constant, a map that makes queries, keys and values at once has nonzero
    multipliers only at the values. Such rows and columns are left out of the product.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, postings: Postings | None) -> Any:
        ctx.weight, ctx.bias, ctx.postings, ctx.shape, ctx.dtype = weight, bias, postings, x.shape, x.dtype
        y = F.linear(x, weight, bias)
        # A model could not overwrite a view that was made in here; autograd does not take this one for a view.
        return torch.ops.aten._unsafe_view.default(y, y.shape) if y._is_view() else y

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        if ctx.bias is not None and ctx.postings is not None:
            ctx.postings.post_product(ledger.BIASES, c, ctx.bias)
        c_x = _without_zeros(c.reshape(-1, c.shape[-1]), ctx.weight.to(c.dtype))  # another dtype under autocast
        return c_x.view(ctx.shape).to(ctx.dtype), None, None, None


def _without_zeros(c: Tensor, weight: Tensor) -> Tensor:
    """Return ``c @ weight``; zero rows of ``c``, or zero columns at its sides, are left out where that pays.

    To find them, the host would have to wait for an accelerator, and a mapped pass cannot read its values.
    """
    rows, width = c.shape
    if not c.is_cpu or c.numel() < _WORTH or rows < _LOOKS or torch_internals.active_transform() is not None:
        return c.mm(weight)
    middle = c[rows // 2]
    if not bool(middle[0]) or not bool(middle[-1]):
        places = middle.nonzero()
        low, high = (int(places[0]), int(places[-1]) + 1) if places.numel() else (0, width)
        if high - low <= _SPARSE * width and not bool(c[:, :low].any()) and not bool(c[:, high:].any()):
            return c[:, low:high].mm(weight[low:high])
    # Some rows are checked first: if they are dense, the others need not be read.
    step = rows // _LOOKS
    if int(c[step // 2 :: step].abs().amax(1).count_nonzero()) <= _SPARSE * _LOOKS:
        live = c.abs().amax(1).nonzero().squeeze(1)
        if live.numel() <= _SPARSE * rows:
            return c.new_zeros(rows, weight.shape[1]).index_copy_(0, live, c.index_select(0, live).mm(weight))
    return c.mm(weight)


def linear(context: Context, func: Any, args: Any, kwargs: Any) -> Tensor:
    """``F.linear``."""
    named = bind(("input", "weight", "bias"), args, kwargs)
    x, weight = named["input"], named["weight"]
    if isinstance(context.rules.linear, LRP0) and torch.is_grad_enabled() and x.dim() > 1 and type(weight) in OWN:
        context.count(func, "LRP-0")
        out: Tensor = PlainLinear.apply(x, weight, named.get("bias"), context.postings)
        return out
    rest = {key: value for key, value in kwargs.items() if key != "input"}

    def whole(x: Tensor) -> Tensor:
        y: Tensor = func(x, *args[1:], **rest)
        return y

    return linear_map(context, func, x, whole, F.linear, weight, named.get("bias"))


def convolution(context: Context, func: Any, args: Any, kwargs: Any) -> Tensor:
    """A convolution with constant kernels, as a linear map."""
    named = bind(("input", "weight", "bias"), args, kwargs)
    weight, bias = named["weight"], named.get("bias")
    if any(isinstance(value, Tensor) and value.requires_grad for value in (weight, bias)):
        raise context.unsupported(f"{operations.name(func)} with kernels computed from activations")
    settings = {key: value for key, value in kwargs.items() if key not in ("input", "weight", "bias")}

    def whole(x: Tensor) -> Tensor:
        y: Tensor = func(x, weight, bias, *args[3:], **settings)
        return y

    def apply(x: Tensor, kernels: Tensor) -> Tensor:
        no_bias = kernels.new_zeros(kernels.shape[-1]) if func is torch.conv_tbc else None  # conv_tbc requires one
        y: Tensor = func(x, kernels, no_bias, *args[3:], **settings)
        return y

    added = bias
    if bias is not None and func is not torch.conv_tbc:
        added = bias.view(-1, *[1] * (weight.dim() - 2))
    return linear_map(context, func, named["input"], whole, apply, weight, added)


def is_linear_map(context: Context, func: Any, args: Any) -> bool:
    """Return whether a matrix product is a linear map with the model's own weights whose rule is not LRP-0."""
    if isinstance(context.rules.linear, LRP0) or len(args) != 2 or not all(isinstance(x, Tensor) for x in args):
        return False
    constants = [x for x in args if not x.requires_grad]
    multiplies = operations.is_matmul(func) or operations.stem(func) in ("addmm", "addmv", "baddbmm", "mv")
    return multiplies and len(constants) == 1 and context.owns(constants[0])


def matmul(context: Context, func: Any, args: Any, base: Tensor | None = None) -> Tensor:
    """A matrix product with the model's own weights (``base + a @ b``), as a linear map."""
    at = 0 if args[0].requires_grad else 1
    weight = args[1 - at]

    def apply(x: Tensor, weight: Tensor) -> Tensor:
        return torch.matmul(x, weight) if at == 0 else torch.matmul(weight, x)

    def whole(x: Tensor) -> Tensor:
        operands = (x, weight) if at == 0 else (weight, x)
        y: Tensor = func(*operands) if base is None else func(base, *operands)
        return y

    heading = ledger.BIASES if base is None else token_tracking.heading(base)
    return linear_map(context, func, args[at], whole, apply, weight, base, heading)


def linear_map(
    context: Context,
    func: Any,
    x: Tensor,
    whole: Callable[[Tensor], Tensor],
    apply: Apply,
    weight: Tensor,
    bias: Tensor | None,
    heading: str = ledger.BIASES,
) -> Tensor:
    """Give ``whole(x) = apply(x, weight) + bias`` the rule for linear maps; the added bias is posted."""
    rule = context.rules.linear
    if isinstance(rule, (LRP0, Epsilon)):
        y = whole(x)
        if isinstance(rule, Epsilon) and y.requires_grad:  # y may be a constant
            _stabilize(context, y, rule.epsilon)
        context.count(func, "LRP-0" if isinstance(rule, LRP0) else "LRP-epsilon")
        if bias is not None:
            context.post_constant(y, bias, heading)
        return y
    context.count(func, type(rule).__name__)
    if isinstance(rule, Pass) and whole(x.detach()).numel() != x.numel():
        raise InputError(
            f"the rule Pass() cannot pass over {operations.name(func)} in {context.module_path()}: it has another "
            f"number of outputs than of inputs; give that module another rule in overrides"
        )
    out: Tensor = Redistribution.apply(x, whole, apply, weight, bias, rule, context.postings)
    return out


def _stabilize(context: Context, z: Tensor, epsilon: float) -> None:
    """LRP-epsilon: ``c`` keeps the share ``|z| / (|z| + eps)``, and the rest is posted (Bach et al. 2015, eq. 58)."""
    postings, value = context.postings, z.detach().clone()  # a model may overwrite it

    def absorb(c: Tensor) -> Tensor:
        absorbed = c * epsilon / (value.abs() + epsilon)
        postings.post(ledger.STABILIZER, value * absorbed)
        return c - absorbed

    context.attach(z, absorb)
