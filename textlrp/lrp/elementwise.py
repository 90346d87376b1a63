"""Functions of each element: the identity rule, or the plain gradient.

A function that a model spells out in several steps gets one rule as a whole (:mod:`textlrp.lrp.chains`), as if torch
had it under a name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from textlrp.guard.trees import bind, carriers, carries, detached, tensors
from textlrp.lrp import chains, norms, operations
from textlrp.lrp.context import Context
from textlrp.lrp.postings import Postings
from textlrp.lrp.surrogate import MASKED, Saved, Surrogate, rule_backward, stand_in
from textlrp.lrp.writes import overwrite
from textlrp.results import ledger
from textlrp.rules import Gradient, Plain

#: Below this ``|x|``, ``(f(x) - f(0)) / x`` has lost its digits: about the square root of the rounding error.
_CLOSE = {torch.float64: 1e-7, torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 1e-2}

#: A function of larger values at zero has a pole there, but for a stabilizer: nothing can be measured from zero.
_POLE = 100.0

#: ``f(0)`` and ``f'(0)`` by function, arguments, dtype and device.
_anchors: dict[Any, tuple[float | None, float]] = {}
_MOST_ANCHORS = 1000

_GATE = "_textlrp_gate"


class Gate(NamedTuple):
    """The function call that made a value which may be a gate.

    Attributes:
        x: its input.
        function: the function, which is 0 at 0.
        slope: its derivative at 0.
        version: how often its value had been written to.
    """

    x: Tensor
    function: Callable[[Tensor], Tensor]
    slope: float
    version: int


class Identity(Surrogate):
    """The identity rule for ``y = f(x)``: ``c_x = c_y (y - f(0)) / x``, and ``f'(0)`` in place of 0/0.

    Achtibat et al. 2024, eq. 9 (proposition 3.2), extended to ``f(0) != 0``: the constant ``f(0)`` is posted. An entry
    that a mask set to minus infinity, or near it, is a constant altogether. Only the ratio is saved.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, at_zero: float, slope: float, postings: Postings) -> Any:
        constant: Tensor | None = None
        if at_zero:
            ratio = (y - at_zero).div_(x)
            # Close to zero the difference has no correct digits left: use the limit.
            ratio = torch.where(x.abs() < _CLOSE[x.dtype], slope, ratio)
            masked = x <= MASKED
            if bool(masked.any()):
                ratio.masked_fill_(masked, 0.0)
                constant = torch.where(masked, y, at_zero)
        else:
            ratio = y / x
        ctx.save_for_backward(with_limit(ratio, slope), constant)
        ctx.at_zero, ctx.postings, ctx.dtype = at_zero, postings, x.dtype
        ctx.mark_dirty(y)
        return y

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        ratio, constant = saved
        if ctx.at_zero:
            ctx.postings.post_product(ledger.CONSTANTS, c, ctx.at_zero if constant is None else constant)
        return (c * ratio).to(ctx.dtype), None, None, None, None


class PlainGradient(Surrogate):
    """The plain gradient of ``y = f(x)``, elementwise: ``c_x = f'(x) c_y``; ``(y - f'(x) x) c_y`` is posted."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor], postings: Postings) -> Any:
        with torch.enable_grad():
            start = x.detach().requires_grad_()
            y = function(start)
        (slope,) = torch.autograd.grad(y, start, torch.ones_like(y))
        y, masked = y.detach(), x <= MASKED  # a score that a mask set is a constant, as in the identity rule
        slope = slope.masked_fill(masked, 0.0)
        ctx.save_for_backward(slope, torch.where(masked, y, y - slope * x))
        ctx.postings = postings
        return y

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        slope, constant = saved
        ctx.postings.post_product(ledger.CONSTANTS, c, constant)
        return c * slope, None, None


class Square(Surrogate):
    """The identity rule for ``y = x * x``, ``c_x = c_y x``: the ratio is ``x`` itself, so only ``x`` is saved."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Any:
        ctx.save_for_backward(x)
        ctx.mark_dirty(y)
        return y

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (x,) = saved
        return c * x, None


def with_limit(ratio: Tensor, slope: float) -> Tensor:
    """Write the limit of a ratio where it is 0/0."""
    return ratio.nan_to_num_(nan=slope, posinf=torch.inf, neginf=-torch.inf)


def identity(context: Context, x: Tensor, y: Tensor, at_zero: float, slope: float, name: str) -> Tensor:
    """Give ``y = f(x)`` the identity rule."""
    context.count(name, "identity")
    out: Tensor = Identity.apply(x, y, at_zero, slope, context.postings)
    return out


def plain_gradient(context: Context, function: Callable[[Tensor], Tensor], x: Tensor, name: str) -> Tensor:
    """Give ``y = f(x)`` its plain gradient."""
    context.count(name, "plain gradient")
    out: Tensor = PlainGradient.apply(x, function, context.postings)
    return out


def gate_of(value: Any) -> Gate | None:
    """Return the call that made a value which may be a gate, or None if there is none or the value was overwritten."""
    gate: Gate | None = getattr(value, _GATE, None)
    return gate if gate is not None and value._version == gate.version else None


def nonlinearity(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """A function of each element of the first argument."""
    args, kwargs, writes = operations.without_inplace(func, args, kwargs)
    if writes:
        result = nonlinearity(context, func, (args[0].clone(), *args[1:]), kwargs)
        return overwrite(context, args[0], result, ledger.CONSTANTS)
    x, rest = args[0], args[1:]
    name, stem = operations.name(func), operations.stem(func)
    is_power = stem in ("pow", "__pow__", "__ipow__", "square")
    if is_power and len(args) == 2 and not carries(args[:1]):
        return nonlinearity(context, Tensor.__rpow__, args[::-1], {})
    if not isinstance(x, Tensor) or not x.requires_grad or carries(rest, kwargs):
        raise context.unsupported(f"{name} of several activations")
    if is_power:
        exponent = _exponent(args, kwargs)
        if isinstance(exponent, Tensor) or exponent <= 0 or exponent == 0.5:  # the powers of statistics
            return norms.statistic(context, func, args, kwargs)
        if exponent == 2 and isinstance(context.rules.norm, Plain):
            return norms.plain_statistic(context, func, args, kwargs, is_final=False)
        if exponent == 2:
            context.count(func, "identity")
            return Square.apply(x, func(x.detach(), *rest, **kwargs))

    def function(x: Tensor) -> Tensor:
        y: Tensor = func(x, *rest, **kwargs)
        return y

    if isinstance(context.rules.nonlinearity, Gradient):
        return plain_gradient(context, function, x, name)
    y = function(x.detach())
    if stem == "prelu":  # its slopes are by channel, and its value at zero is zero
        return identity(context, x, y, 0.0, 1.0, name)
    if stem in ("clamp", "clip", "clamp_min", "clamp_max") and any(b.numel() > 1 for b in tensors((rest, kwargs))):
        return _clamp(context, func, x, y, rest, kwargs)
    # A tensor among the arguments can change, so what is found with it is not remembered.
    key = None if any(True for _ in tensors((rest, kwargs))) else (func, rest, *kwargs.items())
    at_zero, slope = anchor(function, x, key)
    if at_zero is None:  # a logarithm: nothing can be measured from zero
        return plain_gradient(context, function, x, name)
    out = identity(context, x, y, at_zero, slope, func)
    if at_zero == 0 and context.whole_gates:
        setattr(out, _GATE, Gate(x, function, slope, out._version))
    return out


def of_chain(context: Context, func: Any, args: Any, kwargs: Any) -> Tensor | None:
    """Give a step of a chain the rule of the function that the whole chain is, measured from its source.

    Returns:
        The result of the step, or None if it has a rule of its own: it is linear, or no step of a chain, or a root or
        an inverse of a statistic.
    """
    if not _may_end_chain(context, func, args, kwargs):
        return None
    known = chains.joined(func, args, kwargs)
    if known is None:
        return None
    source, function = known
    if not source.is_floating_point() or not source.requires_grad:
        return None
    if isinstance(context.rules.nonlinearity, Gradient):
        return plain_gradient(context, function, source, operations.name(func))
    at_zero, slope = anchor(function, source, None)
    if at_zero is None or abs(at_zero) > _POLE:
        return None
    y = func(*detached(args), **detached(kwargs))
    if y.shape != source.shape:
        return None
    out = identity(context, source, y.clone() if y._is_view() else y, at_zero, slope, func)
    if at_zero == 0 and context.whole_gates:
        setattr(out, _GATE, Gate(source, function, slope, out._version))
    return out


def _may_end_chain(context: Context, func: Any, args: Any, kwargs: Any) -> bool:
    """Return whether a step makes a function of what has been linear, or joins the branches of a function."""
    role = _chain_role(func)
    if not role or not torch.is_grad_enabled() or kwargs.get("rounding_mode") is not None:
        return False
    operands = carriers(args, kwargs)
    if role == "power":
        exponent = _exponent(args, kwargs)
        if isinstance(exponent, Tensor):
            return False
        role = "inverse" if exponent <= 0 else "root" if exponent == 0.5 else "function"
        if role == "function" and exponent == 2 and isinstance(context.rules.norm, Plain):
            return False
    if role == "quotient":
        named = bind(("input", "other"), args, kwargs)
        top, bottom = named.get("input"), named.get("other")
        if func is Tensor.__rtruediv__:
            top, bottom = bottom, top
        if not isinstance(bottom, Tensor) or not bottom.requires_grad:
            return False
        role = "inverse" if not isinstance(top, Tensor) or top.numel() == 1 else "quotient"
    if role in ("root", "inverse"):
        return not isinstance(context.rules.norm, Plain) and not any(map(norms.is_reduced, operands))
    if role == "product":
        return len(operands) > 1 or any(chains.chain(x) for x in tensors((args, kwargs)) if not x.requires_grad)
    if role == "choice":
        return not (operations.stem(func) in ("max", "min") and not isinstance(next(iter(args[1:]), None), Tensor))
    return role == "quotient" or any(chains.chain(x) for x in operands)


def _exponent(args: Any, kwargs: Any) -> Any:
    """Return the exponent of a power, a tensor of a single number as that number."""
    exponent = args[1] if len(args) > 1 else kwargs.get("exponent", 2)
    single = isinstance(exponent, Tensor) and exponent.numel() == 1 and not exponent.requires_grad
    return exponent.item() if single else exponent


@cache
def _chain_role(func: Any) -> str:
    """Return what a function may be in a chain, or "" where the rule for each step is that for the whole."""
    stem = operations.stem(func)
    if not chains.is_step(func):
        return ""
    if operations.KINDS.get(func) == "division":
        return "quotient"
    if stem in ("pow", "__pow__", "square"):
        return "power"
    if stem in chains.PRODUCTS:
        return "product"
    if stem in chains.BRANCHES:
        return "choice"
    if stem in ("sqrt", "rsqrt", "reciprocal"):
        return "root" if stem == "sqrt" else "inverse"
    plain = operations.KINDS.get(func) == operations.PLAIN
    kinked = ("relu", "leaky_relu", "abs", "absolute", "__abs__")
    return "function" if operations.KINDS.get(func) == "nonlinearity" or (plain and stem in kinked) else ""


def _clamp(context: Context, func: Any, x: Tensor, y: Tensor, args: Any, kwargs: Any) -> Tensor:
    """A clamp between tensors: a value within the bounds passes, a bound that wins is a constant."""
    named = bind(("min", "max"), args, kwargs)
    low, high = (
        y.new_tensor(end) if bound is None else bound
        for bound, end in ((named.get("min"), -torch.inf), (named.get("max"), torch.inf))
    )
    inside = (x.detach() >= low) & (x.detach() <= high)
    context.count(func, "plain gradient")
    passed = x * inside
    context.post_constant(passed, torch.where(inside, 0.0, y), ledger.CONSTANTS)
    return stand_in(passed, y)


def anchor(function: Callable[[Tensor], Tensor], like: Tensor, key: Any) -> tuple[float | None, float]:
    """Return ``f(0)``, or None where it is not finite, and ``f'(0)``.

    Args:
        function: the function.
        like: a tensor of the dtype and device to try it with.
        key: equal only for calls of the same behavior; None if no such key can be made.
    """
    key = (key, like.dtype, like.device)
    try:
        known = _anchors.get(key) if key[0] is not None else None
    except TypeError:  # an argument that cannot be hashed
        known, key = None, (None,)
    if known is None:
        known = _try_at_zero(function, like)
        if key[0] is not None:
            if len(_anchors) >= _MOST_ANCHORS:
                _anchors.clear()
            _anchors[key] = known
    return known


def _try_at_zero(function: Callable[[Tensor], Tensor], like: Tensor) -> tuple[float | None, float]:
    keep = torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x)  # checkpointing's hooks count tensors
    with torch._C.DisableTorchFunction(), torch.enable_grad(), keep:
        zero = torch.zeros((1, 1), dtype=like.dtype, device=like.device, requires_grad=True)
        value, slope = function(zero), None
        if value.requires_grad:
            (slope,) = torch.autograd.grad(value, zero, torch.ones_like(value), allow_unused=True)
    at_zero = float(value.detach())
    steepness = 0.0 if slope is None else float(slope)
    return (at_zero if math.isfinite(at_zero) else None), (steepness if math.isfinite(steepness) else 0.0)
