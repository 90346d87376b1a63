"""A linear map by LRP-0 as one node of the graph, which spares the rows that no multiplier reaches."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textlrp.lrp.postings import Books
from textlrp.lrp.surrogates import Surrogate
from textlrp.results import ledger

#: The largest share of rows with a multiplier that is worth picking them out.
_SPARSE = 0.75
#: How many rows are looked at first, and how many elements a multiplier has at least that is worth a look.
_FEW, _WORTH = 8, 1 << 13
#: How many maps may find their rows dense before no more are looked at.
_PATIENCE = 4


class Sparsity:
    """Which positions a backward pass has reached so far.

    A classifier that reads one position of its last layer (a first token, a last one) gives all others of that layer
    the multiplier zero, and padding keeps it throughout. Gradients are computed there all the same; here these rows are
    left out. On an accelerator they are not: to know them would make the host wait.
    """

    def __init__(self, by_columns: bool) -> None:
        self.by_columns = by_columns
        self.watched = False
        self._patience = 0

    def start(self, watched: bool) -> None:
        """Begin a backward pass; ``watched`` says whether single values may be looked at."""
        self.watched, self._patience = watched, _PATIENCE

    def live(self, c: Tensor) -> Tensor | None:
        """Return the indices of the rows of ``c`` ``[rows, channels]`` that are not zero, or None for all rows."""
        count = c.shape[0]
        if not self.watched or self._patience <= 0 or count < _FEW or c.numel() < _WORTH or not c.is_cpu:
            return None
        # A look at some rows first: where they are dense, the others need not be read.
        step = count // _FEW
        if int(c[step // 2 :: step].abs().amax(1).count_nonzero()) <= _SPARSE * _FEW:
            live = c.abs().amax(1).nonzero().squeeze(1)
            if live.numel() <= _SPARSE * count:
                return live
        self._patience -= 1
        return None

    def queries(self, c: Tensor) -> Tensor | None:
        """Return the places of the queries that ``c`` ``[batch, heads, queries, channels]`` reaches, None for all."""
        count = c.shape[2]
        if not self.watched or self._patience <= 0 or count < _FEW or not c.is_cpu:
            return None
        step = count // _FEW
        if int(c[:, :, step // 2 :: step].abs().amax((0, 1, 3)).count_nonzero()) > _SPARSE * _FEW:
            return None
        live = c.abs().amax((0, 1, 3)).nonzero().squeeze(1)
        return live if 0 < live.numel() <= _SPARSE * count else None

    def columns(self, c: Tensor) -> tuple[int, int] | None:
        """Return the range of the columns of ``c`` ``[rows, channels]`` that are not zero, or None for all columns.

        One map often makes queries, keys and values at once, and where attention weights are held constant, the
        multipliers of two of the three are zero.
        """
        if not self.watched or not self.by_columns or c.numel() < _WORTH or not c.is_cpu:
            return None
        width, row = c.shape[1], c[c.shape[0] // 2]
        if bool(row[0]) and bool(row[-1]):
            return None
        reached = row.nonzero()
        if not reached.numel():
            return None
        low, high = int(reached[0]), int(reached[-1]) + 1
        if high - low > _SPARSE * width:
            return None
        if any(part.numel() and bool(part.abs().max()) for part in (c[:, :low], c[:, high:])):
            return None
        return low, high


class Linear(Surrogate):
    """``y = W x + b`` with constant ``W`` and ``b`` by LRP-0: ``c_x = W^T c_y``, and ``sum(b c_y)`` is posted.

    That is the plain gradient (Montavon et al. 2019). Nothing is kept but the parameters.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, books: Books, sparsity: Sparsity) -> Any:
        ctx.weight, ctx.bias, ctx.books, ctx.sparsity = weight, bias, books, sparsity
        ctx.shape, ctx.dtype = x.shape, x.dtype
        y = F.linear(x, weight, bias)
        # A model could not write over a view that was made in here; this one passes for a tensor of its own.
        return torch.ops.aten._unsafe_view.default(y, y.shape) if y._is_view() else y

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        with torch._C.DisableTorchFunction():
            weight, bias = ctx.weight, ctx.bias
            if bias is not None:
                ctx.books.post_rows(ledger.BIASES, c, bias)
            c = c.reshape(-1, c.shape[-1])
            if weight.dtype != c.dtype:  # under autocast
                weight = weight.to(c.dtype)
            live = ctx.sparsity.live(c)
            if live is None:
                columns = ctx.sparsity.columns(c)
                c_x = c.mm(weight) if columns is None else c[:, slice(*columns)].mm(weight[slice(*columns)])
            else:
                c_x = c.new_zeros(c.shape[0], weight.shape[1])
                c_x.index_copy_(0, live, c.index_select(0, live).mm(weight))
            c_x = c_x.view(ctx.shape)
            return (c_x if c_x.dtype == ctx.dtype else c_x.to(ctx.dtype)), None, None, None, None
