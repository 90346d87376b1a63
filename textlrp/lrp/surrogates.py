"""Surrogates: operations with the value of the original and the gradient of an LRP rule.

The gradient that arrives at an activation is its multiplier ``c``; its relevance is ``x * c``. Each surrogate obeys one
law: the relevance of its inputs plus what it posts to the books equals the relevance of its output. The backward of
each stands right under the forward that it inverts. Tensors are kept with ``save_for_backward`` alone, so that
gradient checkpointing can drop and recompute them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textlrp.lrp.postings import Books
from textlrp.results import ledger

Saved = tuple[Any, ...]

_layer_norm_backward = torch.ops.aten.native_layer_norm_backward.default
_OF_INPUT = [True, False, False]

#: Entries of this size and below were set by a mask: no activation of a working model comes near.
MASKED = -1e4

_COARSE = (torch.float16, torch.bfloat16)

#: Where ``(f(x) - f(0)) / x`` has lost its digits, by dtype: about the square root of the rounding error.
_CLOSE = {torch.float64: 1e-7, torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 1e-2}


def plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a backward on what its forward saved, without the interception.

    That is active then for the sake of gradient checkpointing: where the saved tensors were dropped, to ask for them
    runs a part of the model again, and that part has to meet its rules again.
    """

    def wrapped(ctx: Any, *multipliers: Tensor) -> Any:
        saved = ctx.saved_tensors
        with torch._C.DisableTorchFunction():
            return function(ctx, saved, *multipliers)

    return wrapped


class Surrogate(torch.autograd.Function):
    """The base that tells textlrp's own nodes in the autograd graph from a model's custom functions."""

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Apply the surrogate, past what ``torch.autograd.Function.apply`` does for transforms that never get here."""
        return super(torch.autograd.Function, cls).apply(*args)  # type: ignore[misc]


class Lookup(Surrogate):
    """Rows of an embedding table: where relevance arrives at the tokens.

    ``R_t = sum_d x_td c_td``. The rows are looked up again in the backward, so that nothing but the ids is kept.
    """

    @staticmethod
    def forward(ctx: Any, root: Tensor, again: Callable[[], Tensor], arrive: Callable[[Tensor, Tensor], None]) -> Any:
        ctx.again, ctx.arrive = again, arrive
        return again()

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        ctx.arrive(ctx.again(), c)
        return None, None, None


def ratio(y: Tensor, x: Tensor, slope: float) -> Tensor:
    """Return ``y / x``, with the limit ``slope`` in place of 0/0; it is written over ``y``."""
    return _with_limit(y.div_(x), slope)


def _with_limit(ratio: Tensor, slope: float) -> Tensor:
    """Write the limit of a ratio where it is 0/0."""
    return ratio.nan_to_num_(nan=slope, posinf=torch.inf, neginf=-torch.inf)


class Elementwise(Surrogate):
    """The identity rule for ``y = f(x)``: ``c_x = c_y (y - f(0)) / x``, and ``f'(0)`` in place of 0/0.

    Achtibat et al. 2024, eq. 9 (proposition 3.2), extended to ``f(0) != 0``: the constant ``f(0)`` is posted. An entry
    that a mask set to minus infinity, or near it, is a constant altogether. Only the ratio is kept.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, at_zero: float, slope: float, books: Books) -> Any:
        constant: Tensor | float = at_zero
        if at_zero:
            ratio = (y - at_zero).div_(x)
            # Close to zero the difference has no correct digits left; the limit has.
            ratio = torch.where(x.abs() < _CLOSE[x.dtype], slope, ratio)
            masked = x <= MASKED
            if bool(masked.any()):
                ratio.masked_fill_(masked, 0.0)
                constant = torch.where(masked, y, at_zero)
        else:
            ratio = y / x
        _with_limit(ratio, slope)
        ctx.save_for_backward(ratio, constant if isinstance(constant, Tensor) else None)
        ctx.at_zero, ctx.books, ctx.dtype = at_zero, books, x.dtype
        ctx.mark_dirty(y)
        return y

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        ratio, constant = saved
        if ctx.at_zero:
            ctx.books.post_product(ledger.CONSTANTS, c, ctx.at_zero if constant is None else constant)
        # The ratio was made for this node alone: the last pass through the graph writes over it.
        c_x = ratio.mul_(c) if ctx.books.final and ratio.dtype == c.dtype else c * ratio
        return c_x.to(ctx.dtype), None, None, None, None


class Gradient(Surrogate):
    """The plain gradient of ``y = f(x)``, elementwise: ``c_x = f'(x) c_y``; ``(y - f'(x) x) c_y`` is posted."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor], books: Books) -> Any:
        with torch.enable_grad():
            start = x.detach().requires_grad_()
            y = function(start)
        (slope,) = torch.autograd.grad(y, start, torch.ones_like(y))
        y, masked = y.detach(), x <= MASKED  # what a mask set is a constant, as in the identity rule
        slope = slope.masked_fill(masked, 0.0)
        ctx.save_for_backward(slope, torch.where(masked, y, y - slope * x))
        ctx.books = books
        return y

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        slope, constant = saved
        ctx.books.post_product(ledger.CONSTANTS, c, constant)
        return c * slope, None, None


class PlainNorm(Surrogate):
    """The plain gradient of a norm, statistics and all; what it leaves over, ``sum(y c_y) - sum(x c_x)``, is posted.

    A norm does not change with the size of its input, so its gradient gives next to nothing to the input: this rule is
    there to show that (Ali et al. 2022).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor], books: Books) -> Any:
        ctx.save_for_backward(x.clone())
        ctx.function, ctx.books = function, books
        return function(x)

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (x,) = saved
        with torch.enable_grad():
            start = x.detach().requires_grad_()
            y = ctx.function(start)
        (c_x,) = torch.autograd.grad(y, start, c)
        ctx.books.post(ledger.NORMS, y.detach() * c)
        ctx.books.post(ledger.NORMS, -(x * c_x))
        return c_x, None, None


class Square(Surrogate):
    """The identity rule for ``y = x * x``, ``c_x = c_y x``: the ratio is ``x`` itself, so nothing new is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Any:
        ctx.save_for_backward(x)
        ctx.mark_dirty(y)
        return y

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (x,) = saved
        return c * x, None


class Softmax(Surrogate):
    """Softmax by its Taylor expansion: the plain gradient, ``c_s = p (c_p - sum(p c_p))``.

    Achtibat et al. 2024, eq. 13 (proposition 3.1). What the expansion leaves over, ``sum(p c_p) - sum(s c_s)``, goes
    to the ledger. Because ``sum(c_s) = 0`` in each row, ``sum(s c_s) = sum(log(p) c_s)``: only ``p`` is kept.
    """

    @staticmethod
    def forward(ctx: Any, s: Tensor, p: Tensor, dim: int, books: Books) -> Any:
        ctx.mark_dirty(p)
        ctx.save_for_backward(p)
        ctx.dim, ctx.books, ctx.dtype = dim, books, s.dtype
        return p

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (p,) = saved
        weighted = p * c
        c_s = torch.addcmul(weighted, p, weighted.sum(ctx.dim, keepdim=True), value=-1)
        tiny = torch.finfo(p.dtype).tiny
        ctx.books.post(ledger.SOFTMAX, weighted - c_s * p.clamp_min(tiny).log_())
        return c_s.to(ctx.dtype), None, None, None


class UniformSoftmax(Surrogate):
    """Softmax by the uniform rule: ``R_i = sum_j(p_j c_j) / n`` to each of the ``n`` scores that no mask has set.

    The multiplier is ``R_i / s_i``; what a score of exactly zero, or a row of nothing but masked ones, should have had
    goes to the stabilizer.
    """

    @staticmethod
    def forward(ctx: Any, s: Tensor, p: Tensor, dim: int, books: Books) -> Any:
        ctx.mark_dirty(p)
        ctx.save_for_backward(s, p)
        ctx.dim, ctx.books = dim, books
        return p

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        s, p = saved
        row = (p * c).sum(ctx.dim, keepdim=True)
        kept = s > MASKED
        share = row / kept.sum(ctx.dim, keepdim=True).clamp_min(1)
        received = kept & (s != 0)
        ctx.books.post(ledger.STABILIZER, row - (share * received).sum(ctx.dim, keepdim=True))
        return torch.where(received, share / torch.where(received, s, 1.0), 0.0).to(s.dtype), None, None, None


class LayerNorm(Surrogate):
    """LayerNorm with its standard deviation held constant: centering and scaling stay linear.

    Ali et al. 2022, eq. 10; ``c_x = rstd (w c_y - mean(w c_y))``. The shift ``b`` is posted; only ``rstd`` is kept.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        shape: tuple[int, ...],
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        books: Books,
    ) -> Any:
        y, _, rstd = torch.native_layer_norm(x, shape, weight, bias, eps)
        if rstd.dtype in _COARSE:  # the kernel rounds what it had exactly, and with it whole rows of relevance
            spread = x.float().var(tuple(range(-len(shape), 0)), correction=0, keepdim=True)
            rstd = spread.add_(eps).rsqrt_()
        ctx.save_for_backward(rstd)
        ctx.weight, ctx.bias, ctx.shape, ctx.books = weight, bias, shape, books
        return y

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (rstd,) = saved
        weight, books = ctx.weight, ctx.books
        if ctx.bias is not None:
            (books.post_rows if ctx.bias.dim() == 1 else books.post_product)(ledger.NORMS, c, ctx.bias)
        if not books.mapped and c.dtype == rstd.dtype and (weight is None or weight.dtype == c.dtype):
            # torch's own kernel, at an input that is its mean: what the spread would add is zero there.
            at_mean, mean = books.zeros(c), books.zeros(rstd)
            c_x = _layer_norm_backward(c, at_mean, ctx.shape, mean, rstd, weight, ctx.bias, _OF_INPUT)[0]
        else:
            dims = tuple(range(-len(ctx.shape), 0))
            wide = c.to(torch.promote_types(c.dtype, rstd.dtype))
            scaled = wide * weight if weight is not None else wide
            c_x = ((scaled - scaled.mean(dims, keepdim=True)) * rstd).to(c.dtype)
        return c_x, None, None, None, None, None


class RMSNorm(Surrogate):
    """RMSNorm with its root mean square held constant, ``c_x = rstd w c_y`` (as eq. 10 of Ali et al. 2022)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: tuple[int, ...], weight: Tensor | None, eps: float | None) -> Any:
        y = F.rms_norm(x, shape, weight, eps)
        dims = tuple(range(-len(shape), 0))
        wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
        epsilon = torch.finfo(x.dtype).eps if eps is None else eps
        ctx.save_for_backward(wide.square().mean(dims, keepdim=True).add_(epsilon).rsqrt_(), weight)
        return y

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        rstd, weight = saved
        scaled = c * rstd
        return (scaled * weight if weight is not None else scaled).to(c.dtype), None, None, None


class Matmul(Surrogate):
    """A matrix product of two activations, each of which gets half of the relevance (the uniform rule).

    Achtibat et al. 2024, eq. 14 (proposition 3.3): ``c_A = c B^T / 2``, ``c_B = A^T c / 2``. The factor goes to the
    operands, which are smaller than the attention weights.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Any:
        ctx.save_for_backward(a, b)
        return a.detach() @ b.detach()

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        a, b = saved
        if c.numel() < a.numel() + b.numel():
            half, left, right = c * 0.5, a, b
        else:
            half, left, right = c, a * 0.5, b * 0.5
        return (half @ right.mT).sum_to_size(a.shape), (left.mT @ half).sum_to_size(b.shape)


class Constant(Surrogate):
    """A constant that is written over relevance: it is posted from where it stands, ``sum(x c)``."""

    @staticmethod
    def forward(ctx: Any, root: Tensor, value: Tensor, heading: str, books: Books) -> Any:
        ctx.save_for_backward(value)
        ctx.heading, ctx.books = heading, books
        return value.clone()

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (value,) = saved
        ctx.books.post_product(ctx.heading, c, value)
        return None, None, None, None


class StandIn(Surrogate):
    """The value of a fused kernel with the gradient of its step-by-step twin."""

    @staticmethod
    def forward(ctx: Any, twin: Tensor, value: Tensor) -> Any:
        ctx.mark_dirty(value)
        return value

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        return c, None
