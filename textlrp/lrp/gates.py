"""Gated units, ``f(x) g``: the non-linearity and the product as one node that keeps ``x`` and ``g`` alone.

Taken apart, the product keeps ``f(x)`` and ``g``, and the non-linearity a ratio of the size of ``x``. Where ``x`` and
``g`` are halves of one tensor, as in most gated feed-forward layers, that tensor is there anyway for the sake of ``g``,
and ``f(x)`` is computed again in the backward in less time than a plain gradient takes there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from textlrp.lrp import operations, surrogates
from textlrp.lrp.surrogates import Saved, Surrogate, plainly

if TYPE_CHECKING:
    from textlrp.lrp.dispatch import Interception

_MARK = "_textlrp_gate"
#: The products of each element with its counterpart.
PRODUCTS = frozenset(
    function
    for function in operations.KINDS
    if operations.name(function).split(".")[-1] in ("mul", "multiply", "__mul__")
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
        with torch.no_grad():
            value = ctx.function(x)
        none = c.new_zeros(())
        c_g = torch.addcmul(none, c, value, value=0.5)
        ratio = surrogates.ratio(value, x, ctx.slope).mul_(g)
        return torch.addcmul(none, c, ratio, value=0.5), c_g, None, None, None


class Reopened(Surrogate):
    """The identity rule for ``y = f(x)`` with ``f(0) = 0`` where ``y`` is likely to become the gate of a unit.

    It keeps ``x`` and no ratio: what :class:`Gate` takes over, nobody asks it for.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, function: Callable[[Tensor], Tensor], slope: float) -> Any:
        ctx.save_for_backward(x)
        ctx.function, ctx.slope = function, slope
        ctx.mark_dirty(y)
        return y

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (x,) = saved
        with torch.no_grad():
            ratio = surrogates.ratio(ctx.function(x), x, ctx.slope)
        return c * ratio, None, None, None


def elementwise(met: Interception, x: Tensor, y: Tensor, function: Callable[[Tensor], Tensor], slope: float) -> Tensor:
    """Apply the identity rule to a function of each element that is zero at zero and may gate something."""
    if not met.gates:
        plain: Tensor = surrogates.Elementwise.apply(x, y, 0.0, slope, met.books)
        return plain
    out: Tensor
    # The one before did, and the layers of a model are alike. Where hooks keep the tensors (a checkpoint's), what runs
    # again has to keep the same ones, whatever came before it.
    if met.gating and y.dtype == x.dtype and torch._C._autograd._top_saved_tensors_default_hooks(True) is None:
        out = Reopened.apply(x, y, function, slope)
    else:
        out = surrogates.Elementwise.apply(x, y, 0.0, slope, met.books)
    met.gating = False
    setattr(out, _MARK, Opened(x, function, slope, out._version))
    return out


def unit(met: Interception, func: Any, args: Any, kwargs: Any) -> Tensor | None:
    """Apply its rules to a gated unit; None for any other product."""
    if not met.gates or kwargs or len(args) != 2 or func not in PRODUCTS or not torch.is_grad_enabled():
        return None
    for gate, gated in (args, args[::-1]):
        opened = getattr(gate, _MARK, None)
        if opened is None or gate._version != opened.version or not isinstance(gated, Tensor):
            continue
        if gated.requires_grad and gated.shape == gate.shape and gated.dtype == gate.dtype == opened.x.dtype:
            met.gating = True
            y = func(gate.detach(), gated.detach())
            out: Tensor = Gate.apply(opened.x, gated, y, opened.function, opened.slope)
            return out
    return None
