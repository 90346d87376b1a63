"""The sums that add a block's branches to the residual stream, and the relevance of each of these paths.

With norms held constant, the residual stream from a block's input to its output is linear: the output is the sum of the
input and of the branches, all passed through the same norms. So its relevance is a sum, too: ``sum(h c) = residual +
attention + feed-forward + other``, where each term is the path's own contribution to the hidden state, and ``other``
is that of norms and constants.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from textlrp.lrp import coverage, operations, reference
from textlrp.lrp.context import Context, Meet
from textlrp.lrp.sums import sign

ATTENTION, FEED_FORWARD, RESIDUAL = "attention", "feed-forward", "residual"

#: Operations that continue a residual stream: moves of values, norms with constant statistics, constant factors.
_STREAM = frozenset(
    """
    Clone Alias View UnsafeView ReshapeAlias AsStrided Transpose T Permute Expand Unsqueeze Squeeze ToCopy Slice Select
    Add Sub Mul Div Mean Sum LayerNorm RMSNorm StandIn
    DifferenceLayerNorm DifferenceRMSNorm CopyBackwards CopySlices MaskedFill Where Index
    """.split()
)
_MOST = 64  # nodes between two residual sums


class _Part(NamedTuple):
    kind: str
    value: Tensor


class _ResidualSum(NamedTuple):
    stream: Any  # the edge of the operand that is the stream
    out: Any  # the edge of the sum
    parts: list[_Part]


class ResidualSums:
    """The sums that add branches to the residual stream of one block.

    Args:
        copy: the hidden state that the block takes.
        value: its value.
    """

    def __init__(self, copy: Tensor, value: Tensor) -> None:
        self._value = value
        self._bottom = torch.autograd.graph.get_gradient_edge(copy)
        self._tops: list[Any] = [copy.grad_fn]  # the block's input and each residual sum
        self._residual_sums: list[_ResidualSum] = []
        self._branch_sums: dict[Any, list[_Part]] = {}
        self.attended: set[Any] = set()

    def meet(self, meet: Meet, func: Any, args: Any, kwargs: Any) -> Any:
        """Give a sum its rule, and record it if it adds to the stream."""
        operands = args[:2]
        plain = sign(func, 1) == sign(func, 0) == 1.0 and kwargs.get("alpha", 1) == 1
        if not plain or not all(
            isinstance(x, Tensor) and x.grad_fn is not None and x.numel() == self._value.numel() for x in operands
        ):
            return meet(func, args, kwargs)
        nodes = [x.grad_fn for x in operands]
        heights = [self._height(node) for node in nodes]
        if operands[0].shape != operands[1].shape or None not in heights:
            return meet(func, args, kwargs)
        with torch._C.DisableTorchFunction():
            height = next((height for height in heights if height is not None), None)
            oldest = self._tops[-1 if height is None else height]._sequence_nr()
            edges = [torch.autograd.graph.get_gradient_edge(x) for x in operands]
            written = operations.is_in_place(func)
            parts = [
                part
                for i, (x, node) in enumerate(zip(operands, nodes, strict=True))
                if heights[i] is None
                for part in self._parts(x, node, written and i == 0, oldest)
            ]
        out = meet(func, args, kwargs)
        if isinstance(out, Tensor) and out.grad_fn is not None:
            if height is None:
                self._branch_sums[out.grad_fn] = parts
            else:
                # Later sums were not part of the stream but of this branch.
                del self._residual_sums[height:], self._tops[height + 1 :]
                stream = edges[heights.index(height)]
                self._residual_sums.append(_ResidualSum(stream, torch.autograd.graph.get_gradient_edge(out), parts))
                self._tops.append(out.grad_fn)
                self._branch_sums.clear()
        return out

    def paths(self, context: Context, out: Any, c: Tensor) -> dict[str, Tensor]:
        """Return the share of each path in the relevance of the block's output, ``[batch]`` each.

        Args:
            context: the context.
            out: the edge of the output.
            c: its multiplier.

        Returns:
            No path if the block is not built of branches that are added to a stream.
        """
        if not self._residual_sums or self._height(out.node) != len(self._residual_sums):
            return {}
        postings = context.postings
        relevance = {RESIDUAL: c.new_zeros(postings.batch, dtype=postings.dtype)}
        postings.muted = True
        try:
            at = out
            for residual_sum in reversed(self._residual_sums):
                c = _back(at, residual_sum.out, c)
                for kind, value in residual_sum.parts:
                    share = postings.per_document(value.to(postings.dtype) * c.to(postings.dtype))
                    relevance[kind] = relevance[kind] + share if kind in relevance else share
                at = residual_sum.stream
            c = _back(at, self._bottom, c)
            relevance[RESIDUAL] = postings.per_document(self._value.to(postings.dtype) * c.to(postings.dtype))
        finally:
            postings.muted = False
        return relevance

    def _parts(self, x: Tensor, node: Any, written: bool, oldest: int) -> list[_Part]:
        """Return the branches that an operand is the sum of."""
        if node in self._branch_sums:
            return self._branch_sums[node]
        value = reference.difference(x)
        value = value.clone() if written else value
        return [_Part(ATTENTION if self._attends(node, oldest) else FEED_FORWARD, value)]

    def _height(self, node: Any) -> int | None:
        """Return after how many residual sums the stream reaches a node by norms and moves alone, or None."""
        seen, stack, height = {node}, [node], None
        while stack:
            node = stack.pop()
            if node in self._tops:
                if height not in (None, self._tops.index(node)):
                    return None
                height = self._tops.index(node)
                continue
            children = [child for child, _ in node.next_functions if child is not None]
            if not children or len(seen) > _MOST or coverage.kind(node) not in _STREAM:
                return None
            stack += [child for child in children if child not in seen]
            seen.update(children)
        return height

    def _attends(self, node: Any, oldest: int) -> bool:
        """Return whether there is attention between a node and the stream that it branched off."""
        seen, stack = {node}, [node]
        while stack:
            node = stack.pop()
            if node in self.attended:
                return True
            for child, _ in node.next_functions:
                if child is not None and child not in seen and child._sequence_nr() > oldest:
                    seen.add(child)
                    stack.append(child)
        return False


def _back(top: Any, bottom: Any, c: Tensor) -> Tensor:
    """Return the multiplier at one edge, given that at another one above it."""
    if top == bottom:
        return c
    (multiplier,) = torch.autograd.grad((top,), (bottom,), (c,), retain_graph=True)
    return multiplier
