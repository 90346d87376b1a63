"""Sums, and operations that move values: linear in values that carry relevance; an added constant is posted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textlrp.guard.trees import carries, replace, tensors
from textlrp.lrp import operations, token_tracking
from textlrp.lrp.context import Context
from textlrp.lrp.surrogate import is_blank

_REVERSED = (Tensor.__rsub__, torch.rsub)
_SUBTRACTIONS = ("sub", "subtract", "__sub__", "__isub__")


def sign(func: Any, position: int) -> float:
    """Return the sign of the operand at a position in a sum or a difference."""
    if func in _REVERSED:
        return -1.0 if position == 0 else 1.0
    return -1.0 if position == 1 and operations.stem(func) in _SUBTRACTIONS else 1.0


def additive(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """A sum or a difference: an operand that carries relevance gets the plain gradient, a constant is posted."""
    y = func(*args, **kwargs)
    context.count(func, "plain gradient")
    operands = args[:2]
    constants = [i for i, value in enumerate(operands) if not carries((value,))]
    if constants:
        (i,) = constants
        # alpha scales the operand that is added to the other, or subtracted from it.
        scaled = i == (0 if func in _REVERSED else 1)
        value = operands[i]
        if isinstance(value, Tensor) or value != 0:
            factor = sign(func, i) * (kwargs.get("alpha", 1) if scaled else 1)
            context.post_constant(y, value, token_tracking.heading(value), factor)
    return y


def affine(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """An operation that is linear in values that carry relevance, plus ``f(0)``, which is posted."""
    context.count(func, "plain gradient")
    if adds_nothing(func, args, kwargs):
        return func(*args, **kwargs)
    with torch.no_grad():
        zeroed = replace(args, lambda x: torch.zeros_like(x) if x.requires_grad else x)
        if func is Tensor.__setitem__ and zeroed[0] is args[0]:
            zeroed = (args[0].clone(), *zeroed[1:])
        constant = func(*zeroed, **replace(kwargs, lambda x: torch.zeros_like(x) if x.requires_grad else x))
        constant = zeroed[0] if func is Tensor.__setitem__ else constant
    y = func(*args, **kwargs)
    for part, const in zip(tensors(args[0] if func is Tensor.__setitem__ else y), tensors(constant), strict=True):
        if part.requires_grad and bool((const != 0).any()):
            context.post_constant(part, const, token_tracking.common_heading((args, kwargs)))
    return y


def adds_nothing(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether an affine operation has no constant part: each value carries relevance or is blank."""
    if operations.stem(func) == "batch_norm":
        return False
    positions, keywords = operations.value_places(func)
    values = [args[i] for i in positions if i < len(args)] + [kwargs[key] for key in keywords if key in kwargs]
    return all(map(_adds_nothing, values))


def _adds_nothing(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_adds_nothing, value))
    return (isinstance(value, Tensor) and value.requires_grad) or is_blank(value)
