"""Linear maps with constant weights: linear layers, convolutions, matrix products with the model's own weights.

LRP-0 is the plain gradient, and LRP-epsilon takes its share of the multiplier. All other rules share out the relevance
of the outputs anew (:mod:`textlrp.lrp.linear_rules`); a rule of one's own is one of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textlrp.errors import InputError
from textlrp.lrp import operations, token_tracking
from textlrp.lrp.context import Context
from textlrp.lrp.linear_rules import Apply, Redistribution
from textlrp.results import ledger
from textlrp.rules import LRP0, Epsilon, Pass


def linear(context: Context, func: Any, args: Any, kwargs: Any) -> Tensor:
    """``F.linear``."""
    named = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
    rest = {key: value for key, value in kwargs.items() if key != "input"}

    def whole(x: Tensor) -> Tensor:
        y: Tensor = func(x, *args[1:], **rest)
        return y

    return linear_map(context, func, named["input"], whole, F.linear, named["weight"], named.get("bias"))


def convolution(context: Context, func: Any, args: Any, kwargs: Any) -> Tensor:
    """A convolution with constant kernels, as a linear map."""
    named = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
    weight, bias = named["weight"], named.get("bias")
    if any(isinstance(value, Tensor) and value.requires_grad for value in (weight, bias)):
        raise context.unsupported(f"{operations.name(func)} with kernels computed from activations")
    settings = {key: value for key, value in kwargs.items() if key not in ("input", "weight", "bias")}

    def whole(x: Tensor) -> Tensor:
        y: Tensor = func(x, weight, bias, *args[3:], **settings)
        return y

    def apply(x: Tensor, kernels: Tensor) -> Tensor:
        no_bias = kernels.new_zeros(kernels.shape[-1]) if func is torch.conv_tbc else None  # which requires one
        y: Tensor = func(x, kernels, no_bias, *args[3:], **settings)
        return y

    added = bias
    if bias is not None and func is not torch.conv_tbc:
        added = bias.view(-1, *[1] * (weight.dim() - 2))
    return linear_map(context, func, named["input"], whole, apply, weight, added)


def is_linear_map(context: Context, func: Any, args: Any) -> bool:
    """Return whether a matrix product is a linear map by the model's own weights that has another rule than LRP-0."""
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
    """Give ``whole(x) = apply(x, weight) + bias`` the rule for linear maps; the bias, as it is added, is posted."""
    rule = context.rules.linear
    if isinstance(rule, (LRP0, Epsilon)):
        y = whole(x)
        if isinstance(rule, Epsilon) and y.requires_grad:  # not where a model computes a constant
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
    postings, value = context.postings, z.detach().clone()  # a model may write over it

    def absorb(c: Tensor) -> Tensor:
        taken = c * epsilon / (value.abs() + epsilon)
        postings.post(ledger.STABILIZER, value * taken)
        return c - taken

    context.attach(z, absorb)
