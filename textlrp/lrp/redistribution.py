"""How a linear map shares out the relevance of its outputs to inputs and bias, by the rules that change its weights.

The forward value is the map's own. In the backward, ``R_j = y_j c_j`` is shared out in proportion to what the inputs
would contribute with other weights, or without looking at the inputs at all; what comes back is ``c_i = R_i / x_i``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from textlrp.lrp.postings import Books
from textlrp.lrp.surrogates import Saved, Surrogate, plainly
from textlrp.results import ledger
from textlrp.rules import AlphaBeta, Flat, Gamma, Pass, WSquare, ZPlus

Map = Callable[[Tensor, Tensor], Tensor]
Modified = Gamma | ZPlus | AlphaBeta | WSquare | Flat | Pass


class Redistribution(Surrogate):
    """A linear map ``y = map(x, weight) + bias`` whose relevance is shared out by a rule.

    What the stabilizer takes (all of it where nothing contributes to an output), and what arrives at an input that is
    exactly zero, whose multiplier would be infinite, is posted: ``sum(x c_x)`` and the posts are ``sum(y c_y)``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        whole: Callable[[Tensor], Tensor],
        map: Map,
        weight: Tensor,
        bias: Tensor | None,
        rule: Modified,
        books: Books,
    ) -> Any:
        y = whole(x)
        y = y.clone() if y._is_view() else y  # a model could not write over a view
        ctx.save_for_backward(x.clone(), y.clone())  # a model may write over them
        ctx.map, ctx.weight, ctx.bias, ctx.rule, ctx.books = map, weight, bias, rule, books
        return y

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        x, y = saved
        relevance = y * c
        found = share_out(ctx.rule, ctx.map, x, y, ctx.weight, ctx.bias, relevance)
        books: Books = ctx.books
        for heading, values in found.posts:
            books.post(heading, values)
        return found.multiplier, None, None, None, None, None, None


class Shares(NamedTuple):
    """What a rule makes of the relevance of the outputs.

    Attributes:
        multiplier: of each input.
        posts: headings, with what they receive at each output or input.
    """

    multiplier: Tensor
    posts: list[tuple[str, Tensor]]


class _Share(NamedTuple):
    """A part of the relevance, and the contributions in proportion to which it is shared out.

    Attributes:
        relevance: of each output.
        parts: inputs and weights whose products are added up; an input of None is one everywhere.
        bias: what is added to the products, or None.
    """

    relevance: Tensor
    parts: list[tuple[str | None, Tensor]]
    bias: Tensor | None


def share_out(
    rule: Modified, map: Map, x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None, relevance: Tensor
) -> Shares:
    """Return the multipliers of the inputs, and what goes to the bias and to the stabilizer."""
    if isinstance(rule, Pass):
        arrives = relevance.reshape(x.shape)
        return Shares(_over(arrives, x), [(ledger.STABILIZER, torch.where(x == 0, arrives, 0.0))])
    c_x = torch.zeros_like(x)
    posts: list[tuple[str, Tensor]] = []
    for share in _shares(rule, y, weight, bias, relevance):
        inputs = [x if side is None else x.clamp(min=0) if side == "+" else x.clamp(max=0) for side, _ in share.parts]
        with torch.enable_grad():
            starts = [
                (torch.ones_like(part) if side is None else part).detach().requires_grad_()
                for part, (side, _) in zip(inputs, share.parts, strict=True)
            ]
            ends = [map(start, each) for start, (_, each) in zip(starts, share.parts, strict=True)]
        total = torch.stack([end.detach() for end in ends]).sum(0)
        if share.bias is not None:
            total = total + share.bias
        quotient = share.relevance / (total + torch.where(total < 0, -rule.epsilon, rule.epsilon))
        for start, end, (side, _) in zip(starts, ends, share.parts, strict=True):
            (back,) = torch.autograd.grad(end, start, quotient)
            if side is None:
                c_x = c_x + _over(back, x)
                posts.append((ledger.STABILIZER, torch.where(x == 0, back, 0.0)))
            else:
                c_x = c_x + torch.where(x > 0 if side == "+" else x < 0, back, 0.0)
        posts.append((ledger.STABILIZER, share.relevance - total * quotient))
        if share.bias is not None:
            posts.append((ledger.BIASES, share.bias * quotient))
    return Shares(c_x, posts)


def _shares(rule: Modified, y: Tensor, weight: Tensor, bias: Tensor | None, relevance: Tensor) -> Iterator[_Share]:
    plus, minus = weight.clamp(min=0), weight.clamp(max=0)

    def biased(function: Callable[[Tensor], Tensor]) -> Tensor | None:
        return None if bias is None else function(bias)

    if isinstance(rule, Gamma):
        high, low, gamma = weight + rule.gamma * plus, weight + rule.gamma * minus, rule.gamma
        above = torch.where(y > 0, relevance, 0.0)
        yield _Share(above, [("+", high), ("-", low)], biased(lambda b: b + gamma * b.clamp(min=0)))
        yield _Share(
            torch.where(y < 0, relevance, 0.0), [("+", low), ("-", high)], biased(lambda b: b + gamma * b.clamp(max=0))
        )
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


def _over(relevance: Tensor, x: Tensor) -> Tensor:
    """Return the multipliers that give inputs their relevance; an input of zero can have none."""
    return torch.where(x == 0, 0.0, relevance / torch.where(x == 0, 1.0, x))
