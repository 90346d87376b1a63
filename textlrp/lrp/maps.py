"""Linear maps with constant weights: which rule they follow, and where their biases go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from textlrp.errors import InputError
from textlrp.lrp import operations, token_tracking
from textlrp.lrp.redistribution import Map, Redistribution
from textlrp.results import ledger
from textlrp.rules import LRP0, AlphaBeta, Epsilon, Flat, Gamma, Linear, Pass, WSquare, ZPlus

if TYPE_CHECKING:
    from textlrp.lrp.dispatch import Interception


def share_out(
    met: Interception,
    func: Any,
    x: Tensor,
    whole: Callable[[Tensor], Tensor],
    map: Map,
    weight: Tensor,
    bias: Tensor | None,
    heading: str = ledger.BIASES,
) -> Tensor:
    """Apply the linear rule to ``whole(x) = map(x, weight) + bias``; the bias, as it is added, is posted."""
    rule = met.rules.linear
    if isinstance(rule, (LRP0, Epsilon)):
        y = whole(x)
        if isinstance(rule, Epsilon) and y.requires_grad:  # not where a model computes a constant
            _stabilize(met, y, rule.epsilon)
        met.count(func, "LRP-0" if isinstance(rule, LRP0) else "LRP-epsilon")
        if bias is not None:
            met.post_constant(y, bias, heading)
        return y
    met.count(func, type(rule).__name__)
    if isinstance(rule, Pass) and whole(x.detach()).numel() != x.numel():
        raise InputError(
            f"the rule Pass() cannot pass over {operations.name(func)} in {met.module_path()}: it has another number "
            f"of outputs than of inputs; give that module another rule in overrides"
        )
    out: Tensor = Redistribution.apply(x, whole, map, weight, bias, rule, met.books)
    return out


def _stabilize(met: Interception, z: Tensor, epsilon: float) -> None:
    books, value = met.books, z.detach().clone()  # a model may write over it

    def absorb(c: Tensor) -> Tensor:
        taken = c * epsilon / (value.abs() + epsilon)
        books.post(ledger.STABILIZER, value * taken)
        return c - taken

    met.attach(z, absorb)


def convolution(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """A convolution with constant kernels, as a linear map."""
    named = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
    weight, bias = named["weight"], named.get("bias")
    if any(isinstance(each, Tensor) and each.requires_grad for each in (weight, bias)):
        raise met.unsupported(f"{operations.name(func)} with kernels computed from activations")
    settings = {key: value for key, value in kwargs.items() if key not in ("input", "weight", "bias")}

    def whole(x: Tensor) -> Tensor:
        y: Tensor = func(x, weight, bias, *args[3:], **settings)
        return y

    def map(x: Tensor, kernels: Tensor) -> Tensor:
        nothing = kernels.new_zeros(kernels.shape[-1]) if func is torch.conv_tbc else None  # its bias is no option
        y: Tensor = func(x, kernels, nothing, *args[3:], **settings)
        return y

    added = bias
    if bias is not None and func is not torch.conv_tbc:
        added = bias.view(-1, *[1] * (weight.dim() - 2))
    return share_out(met, func, named["input"], whole, map, weight, added)


def by_matmul(met: Interception, func: Any, args: Any) -> bool:
    """Whether a matrix product is a linear map by the model's own weights that does not follow the plain gradient."""
    if isinstance(met.rules.linear, LRP0) or len(args) != 2 or not all(isinstance(x, Tensor) for x in args):
        return False
    constants = [x for x in args if not x.requires_grad]
    return operations.multiplies_matrices(func) and len(constants) == 1 and owns(met, constants[0])


def matmul(met: Interception, func: Any, args: Any, base: Tensor | None = None) -> Any:
    """A matrix product with the model's own weights (``base + a @ b``), as a linear map."""
    at = 0 if args[0].requires_grad else 1
    weight = args[1 - at]

    def map(x: Tensor, weight: Tensor) -> Tensor:
        return torch.matmul(x, weight) if at == 0 else torch.matmul(weight, x)

    def whole(x: Tensor) -> Tensor:
        operands = (x, weight) if at == 0 else (weight, x)
        y: Tensor = func(*operands) if base is None else func(base, *operands)
        return y

    heading = ledger.BIASES if base is None else token_tracking.heading(base)
    return share_out(met, func, args[at], whole, map, weight, base, heading)


def arrival(met: Interception, origin: Tensor, table: Tensor) -> Callable[[Tensor, Tensor], None]:
    """Return what credits the ids of looked-up rows, given the rows and their multipliers, by the embedding's rule."""
    rule, books = met.rules.embedding, met.books

    def arrive(x: Tensor, c: Tensor) -> None:
        kept = kept_by_lookup(rule, x, table)
        met.arrive(origin, kept, c)
        if kept is not x:
            books.post(ledger.STABILIZER, (x - kept) * c)

    return arrive


def kept_by_lookup(rule: Linear, x: Tensor, table: Tensor) -> Tensor:
    """Return what a rule leaves of looked-up rows to their ids: the rows, or each entry's share of them."""
    if isinstance(rule, (LRP0, Pass)):
        return x
    if isinstance(rule, WSquare):
        return x * (x.square() / (table.square().sum(0) + rule.epsilon))
    if isinstance(rule, Flat):
        return x / (table.shape[0] + rule.epsilon)
    size = x.abs() * (1 + rule.gamma) if isinstance(rule, Gamma) else x.abs()
    stable = x * (size / (size + rule.epsilon))
    if isinstance(rule, ZPlus):
        return stable.clamp(min=0)
    if isinstance(rule, AlphaBeta):
        return rule.alpha * stable.clamp(min=0) - rule.beta * stable.clamp(max=0)
    return stable


def owns(met: Interception, table: Tensor) -> bool:
    """Whether a table is a parameter or a buffer of the model, or a view of one, and not a passing result."""
    table = table if table._base is None else table._base
    if isinstance(table, nn.Parameter) or any(table is own for own in met.parts.buffers):
        return True
    # A buffer that the model has replaced since it started (a quantized table).
    return any(table is own for module in met.parts.modules for own in module._buffers.values())
