"""Rules that share out the relevance of a linear map's outputs anew to its inputs and its bias.

The forward value is the map's own. In the backward, ``R_j = y_j c_j`` is shared out in proportion to the contributions
that the inputs would make with other weights, or regardless of the inputs; the result is ``c_i = R_i / x_i``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from textlrp.basics.options import brief
from textlrp.errors import InputError, LRPError, NonFiniteError, error_summary
from textlrp.lrp.postings import Postings
from textlrp.lrp.surrogate import Saved, Surrogate, rule_backward
from textlrp.results import ledger
from textlrp.rules import AlphaBeta, Flat, Gamma, Pass, WSquare, ZPlus

#: A linear map without its bias, as a function of the input and the weight.
Apply = Callable[[Tensor, Tensor], Tensor]
#: Credits a heading of the ledger with the sum of a tensor.
Post = Callable[[str, Tensor], None]

_BUILT_IN = Gamma | ZPlus | AlphaBeta | WSquare | Flat | Pass


@dataclass(frozen=True)
class LinearMap:
    """A linear map ``y = apply(x, weight) + bias``, whatever torch function the model called.

    Attributes:
        x: the input, of any shape.
        y: the output, of the shape of ``apply(x, weight)``.
        weight: the weight, of the shape that ``apply`` takes.
        bias: the bias, which broadcasts to ``y``, or None.
        apply: the map without its bias: linear in ``x`` and in ``weight``, and torch can differentiate it.
    """

    x: Tensor
    y: Tensor
    weight: Tensor
    bias: Tensor | None
    apply: Apply

    def transposed(self, weight: Tensor, c: Tensor) -> Tensor:
        """Return ``sum_j c_j d y_j / d x_i`` of the map with another weight: ``c`` has the shape of ``y``."""
        with torch.enable_grad():
            x = self.x.detach().requires_grad_()
            (transposed,) = torch.autograd.grad(self.apply(x, weight), x, c)
        return transposed


class Redistribution(Surrogate):
    """A linear map ``y = apply(x, weight) + bias`` whose relevance is shared out by a rule.

    The rule posts the shares of the bias and of the stabilizer (everything if nothing contributes to an output, and the
    share of an input that is exactly 0, whose multiplier would be infinite), so that ``sum(x c_x)`` and the posts are
    ``sum(y c_y)``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        whole: Callable[[Tensor], Tensor],
        apply: Apply,
        weight: Tensor,
        bias: Tensor | None,
        rule: Any,
        postings: Postings,
    ) -> Any:
        y = whole(x)
        y = y.clone() if y._is_view() else y  # a model could not overwrite a view
        ctx.save_for_backward(x.clone(), y.clone())  # a model may overwrite them
        ctx.map, ctx.weight, ctx.bias, ctx.rule, ctx.postings = apply, weight, bias, rule, postings
        return y

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        x, y = saved
        linear_map, rule = LinearMap(x, y, ctx.weight, ctx.bias, ctx.map), ctx.rule
        if isinstance(rule, _BUILT_IN):
            c_x = multiplier(rule, linear_map, c, ctx.postings.post)
        else:
            c_x = _own_multiplier(rule, linear_map, c, ctx.postings)
        return c_x.to(x.dtype), None, None, None, None, None, None


def _own_multiplier(rule: Any, linear_map: LinearMap, c: Tensor, postings: Postings) -> Tensor:
    """Return the multipliers by a user's own rule.

    Raises:
        InputError: the rule fails, does not return a tensor of the input's shape, or posts to an unknown row.
        NonFiniteError: it returns a NaN or an infinity.
    """
    name = type(rule).__name__

    def post(heading: str, values: Tensor) -> None:
        if heading not in ledger.HEADINGS:
            raise InputError(
                f"{name} posts to {brief(heading)}, and the ledger's rows are {', '.join(ledger.HEADINGS)}"
            )
        if not isinstance(values, Tensor):
            raise InputError(f"{name} posts {brief(values)} to {heading}: post a tensor")
        postings.post(heading, values)

    try:
        c_x = rule.multiplier(linear_map, c, post)
    except LRPError:
        raise
    except Exception as error:  # a user's rule may raise anything
        raise InputError(f"{name}.multiplier fails: {error_summary(error)}") from error
    if not isinstance(c_x, Tensor) or c_x.shape != linear_map.x.shape:
        got = list(c_x.shape) if isinstance(c_x, Tensor) else type(c_x).__name__
        raise InputError(
            f"{name}.multiplier must return a tensor of the shape of the map's input, {list(linear_map.x.shape)}, not "
            f"{got}"
        )
    if not bool(c_x.isfinite().all()):
        raise NonFiniteError(f"{name}.multiplier returns a NaN or an infinity")
    return c_x


class _Share(NamedTuple):
    """A part of the relevance, and the contributions in proportion to which it is shared out.

    Attributes:
        relevance: of each output.
        parts: inputs and weights whose products are added up: the positive (``+``) or the negative (``-``) part of the
            input, or 1 in its place (None).
        bias: the bias that is added to the products, or None.
    """

    relevance: Tensor
    parts: list[tuple[str | None, Tensor]]
    bias: Tensor | None


def multiplier(rule: _BUILT_IN, linear_map: LinearMap, c: Tensor, post: Post) -> Tensor:
    """Return the multipliers of the inputs by a rule of :mod:`textlrp.rules`, and post the rest."""
    x, relevance = linear_map.x, linear_map.y * c
    if isinstance(rule, Pass):
        arrived = relevance.reshape(x.shape)
        post(ledger.STABILIZER, torch.where(x == 0, arrived, 0.0))
        return _divided(arrived, x)
    c_x = torch.zeros_like(x)
    for share in _shares(rule, linear_map, relevance):
        inputs = [x if side is None else x.clamp(min=0) if side == "+" else x.clamp(max=0) for side, _ in share.parts]
        with torch.enable_grad():
            starts = [
                (torch.ones_like(part) if side is None else part).detach().requires_grad_()
                for part, (side, _) in zip(inputs, share.parts, strict=True)
            ]
            ends = [linear_map.apply(start, weight) for start, (_, weight) in zip(starts, share.parts, strict=True)]
        total = torch.stack([end.detach() for end in ends]).sum(0)
        if share.bias is not None:
            total = total + share.bias
        quotient = share.relevance / (total + torch.where(total < 0, -rule.epsilon, rule.epsilon))
        for start, end, (side, _) in zip(starts, ends, share.parts, strict=True):
            (back,) = torch.autograd.grad(end, start, quotient)
            if side is None:
                c_x = c_x + _divided(back, x)
                post(ledger.STABILIZER, torch.where(x == 0, back, 0.0))
            else:
                c_x = c_x + torch.where(x > 0 if side == "+" else x < 0, back, 0.0)
        post(ledger.STABILIZER, share.relevance - total * quotient)
        if share.bias is not None:
            post(ledger.BIASES, share.bias * quotient)
    return c_x


def _shares(rule: _BUILT_IN, linear_map: LinearMap, relevance: Tensor) -> Iterator[_Share]:
    y, weight, bias = linear_map.y, linear_map.weight, linear_map.bias
    plus, minus = weight.clamp(min=0), weight.clamp(max=0)

    def biased(function: Callable[[Tensor], Tensor]) -> Tensor | None:
        return None if bias is None else function(bias)

    if isinstance(rule, Gamma):
        high, low, gamma = weight + rule.gamma * plus, weight + rule.gamma * minus, rule.gamma
        above, below = torch.where(y > 0, relevance, 0.0), torch.where(y < 0, relevance, 0.0)
        yield _Share(above, [("+", high), ("-", low)], biased(lambda b: b + gamma * b.clamp(min=0)))
        yield _Share(below, [("+", low), ("-", high)], biased(lambda b: b + gamma * b.clamp(max=0)))
    elif isinstance(rule, ZPlus):
        yield _Share(relevance, [("+", plus), ("-", minus)], biased(lambda b: b.clamp(min=0)))
    elif isinstance(rule, AlphaBeta):
        yield _Share(rule.alpha * relevance, [("+", plus), ("-", minus)], biased(lambda b: b.clamp(min=0)))
        if rule.beta:
            yield _Share(-rule.beta * relevance, [("+", minus), ("-", plus)], biased(lambda b: b.clamp(max=0)))
    elif isinstance(rule, WSquare):
        yield _Share(relevance, [(None, weight.square())], biased(torch.square))
    else:
        yield _Share(relevance, [(None, torch.ones_like(weight))], None)


def _divided(relevance: Tensor, x: Tensor) -> Tensor:
    """Return the multipliers that give inputs their relevance; an input of 0 can have none."""
    return torch.where(x == 0, 0.0, relevance / torch.where(x == 0, 1.0, x))
