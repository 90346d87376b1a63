"""The relevance of each attention head, however a model computes attention.

Attention weights are results of a softmax over the keys; their product with the values, and the result of the fused
kernel, have an axis of heads. The relevance of a head is ``sum(o c)`` over its part of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from textlrp.guard.trees import tensors
from textlrp.lrp import operations

_MARK = "_textlrp_attention_weights"


@dataclass(eq=False)
class Heads:
    """The heads of one attention module.

    Attributes:
        path: the path of the module that runs them.
        relevance: ``[batch, heads]``, the sum so far in the backward pass.
    """

    path: str
    relevance: Tensor


def is_weights(value: Any) -> bool:
    """Return whether a tensor holds attention weights."""
    return isinstance(value, Tensor) and getattr(value, _MARK, False)


def follow(func: Any, args: Any, out: Any) -> Callable[[Tensor], Tensor] | None:
    """Keep track of attention weights through an operation.

    Returns:
        For a product of weights with values, a function that adds up a tensor of the shape of its result to
        ``[documents times heads, ...]``; else None.
    """
    if not isinstance(out, Tensor):
        return None
    kind = operations.KINDS.get(func)
    if kind == "softmax":
        if out.dim() > 2:
            setattr(out, _MARK, True)
        return None
    weights = next((x for x in tensors(args) if is_weights(x)), None)
    if weights is None:
        return None
    if operations.is_matmul(func):
        return by_matmul if args[0] is weights else None
    if kind == "product" and isinstance(args[0], str):
        return _by_einsum(args[0], args[1:], weights)
    if out.is_floating_point() and (out.numel() == weights.numel() or kind is operations.PLAIN):
        setattr(out, _MARK, True)  # masked, scaled, reshaped, rounded, or a part of them
    return None


def by_head(summed: Tensor, batch: int) -> Tensor | None:
    """Return ``[batch, heads]``, or None if the first axis is neither of documents nor of documents and heads."""
    if summed.dim() > 1 and summed.shape[0] == batch:
        return summed.flatten(2).sum(-1) if summed.dim() > 2 else summed
    if summed.dim() > 1:
        return None
    return summed.view(batch, -1) if summed.shape[0] % batch == 0 else None


def by_matmul(product: Tensor) -> Tensor:
    """Add up ``[batch, heads, queries, channels]`` and the like, or ``[batch * heads, queries, channels]``."""
    return product.sum((-1, -2)) if product.dim() < 5 else product.flatten(2).sum(-1)


def _by_einsum(equation: str, operands: Any, weights: Tensor) -> Callable[[Tensor], Tensor] | None:
    """Of the axes that weights, values and result share, the first is of documents and the second of heads."""
    equation = equation.replace(" ", "")
    sides = equation.split("->")
    operands = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else list(operands)
    terms = sides[0].split(",")
    if len(sides) != 2 or len(terms) != 2 or len(operands) != 2 or "." in equation:
        return None
    of_weights = terms[0] if operands[0] is weights else terms[1]
    of_values = terms[1] if operands[0] is weights else terms[0]
    shared = [axis for axis in of_weights if axis in of_values and axis in sides[1]]
    contracted = [axis for axis in of_weights if axis in of_values and axis not in sides[1]]
    if not shared or len(shared) > 2 or len(contracted) != 1:
        return None

    def add_up(product: Tensor) -> Tensor:
        return torch.einsum(f"{sides[1]}->{''.join(shared)}", product)

    return add_up
