"""Quotients: the denominator is held constant, unless it is an activation function of another tensor, a gate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textlrp.guard.trees import carries, detached, replace
from textlrp.lrp import chains, norms, operations
from textlrp.lrp.context import Context
from textlrp.lrp.elementwise import identity
from textlrp.lrp.surrogate import stand_in
from textlrp.rules import Plain


def division(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """A quotient of two tensors, or of a tensor and a number."""
    operands = list(args)
    top, bottom = (1, 0) if func is Tensor.__rtruediv__ else (0, 1)
    denominator = operands[bottom]
    if isinstance(context.rules.norm, Plain) and norms.is_statistic(denominator):
        if not carries((operands[top],)):
            return norms.plain_statistic(context, func, args, kwargs, is_final=False)
        return norms.plain_product(context, func, args, kwargs, 1.0)
    if kwargs.get("rounding_mode") is None and carries((operands[top],)) and _is_gate(denominator):
        inverse = context.give(torch.reciprocal, (denominator,), {})
        return stand_in(
            context.give(torch.mul, (operands[top], inverse), {}), func(*detached(args), **detached(kwargs))
        )
    if isinstance(denominator, Tensor):
        operands[bottom] = denominator.detach()
    context.count(func, "denominator constant")
    if kwargs.get("rounding_mode") is not None and carries(operands):
        x = operands[top]
        y = func(*replace(operands, Tensor.detach), **kwargs)
        return identity(context, x, y, 0.0, 0.0, operations.name(func))
    return func(*operands, **kwargs)


def _is_gate(denominator: Any) -> bool:
    """Return whether a denominator is a function of each element of an activation: ``a / (1 + exp(-b))``."""
    return chains.is_activation(denominator) and denominator.requires_grad and not norms.is_reduced(denominator)


def solve(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """``X = A^-1 B``, a division by a matrix: ``A`` is held constant, as every denominator."""
    context.count(func, "denominator constant")
    return func(args[0].detach(), *args[1:], **kwargs)
