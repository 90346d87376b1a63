"""Gated units, ``f(x) g``: the non-linearity and the product as one node that keeps ``x`` and ``g`` alone.

Taken apart, the product keeps ``f(x)`` and ``g``, and the non-linearity a ratio of the size of ``x``. Where ``x`` and
``g`` are halves of one tensor, as in most gated feed-forward layers, that tensor is there anyway for the sake of ``g``,
and ``f(x)`` is computed again in the backward in less time than a plain gradient takes there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from textlrp import operations
from textlrp.surrogates import Saved, Surrogate, plainly

_MARK = "_textlrp_gate"
_PRODUCTS = frozenset(
    function for function in operations.KINDS if operations.name(function).split(".")[-1] in ("mul", "multiply", "__mul__")
)


class Opened(NamedTuple):
    """How the value of a non-linearity came about.

    Attributes:
        x: its input.
        function: the function, which is zero at zero.
        slope: its derivative at zero.
        version: how often its value had been written to.
    """

    x: Tensor
    function: Callable[[Tensor], Tensor]
    slope: float
    version: int


def note(y: Tensor, x: Tensor, function: Callable[[Tensor], Tensor], slope: float) -> None:
    """Remember that ``y = f(x)``, for the case that it gates something."""
    setattr(y, _MARK, Opened(x, function, slope, y._version))


def unit(func: Any, args: Any, kwargs: Any) -> tuple[Opened, Tensor, Tensor] | None:
    """Return how the gate of a gated unit came about, the gate, and what it gates; None for any other product."""
    if kwargs or len(args) != 2 or func not in _PRODUCTS:
        return None
    for gate, gated in (args, args[::-1]):
        opened = getattr(gate, _MARK, None)
        if opened is None or gate._version != opened.version or not isinstance(gated, Tensor):
            continue
        if gated.requires_grad and gated.shape == gate.shape and gated.dtype == gate.dtype == opened.x.dtype:
            return opened, gate, gated
    return None


class Gate(Surrogate):
    """``y = f(x) g``: half of the relevance to each, ``c_g = c f(x) / 2`` and ``c_x = c g / 2 f(x) / x``.

    Achtibat et al. 2024, eq. 14 for the product (proposition 3.3) and eq. 9 for the non-linearity (proposition 3.2).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor, y: Tensor, function: Callable[[Tensor], Tensor], slope: float) -> Any:
        ctx.save_for_backward(x, g)
        ctx.function, ctx.slope = function, slope
        ctx.mark_dirty(y)
        return y

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        x, g = saved
        half = c * 0.5
        with torch.no_grad():
            value = ctx.function(x)
        c_g = half * value
        ratio = value.div_(x).nan_to_num_(nan=ctx.slope, posinf=torch.inf, neginf=-torch.inf)
        return (ratio * g) * half, c_g, None, None, None
