"""The way back: the multipliers of the logits go through the graph, and what they leave behind is added up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from textlrp.lrp import coverage
from textlrp.lrp.hidden.states import Inside
from textlrp.lrp.linear import Sparsity
from textlrp.lrp.postings import Books
from textlrp.lrp.rounding import Scores
from textlrp.lrp.trees import tensors
from textlrp.results import ledger


class Pass:
    """What a backward pass needs and what it brings.

    Args:
        input_ids: shape ``[batch, sequence]``.
        dtype: the dtype of the relevance and of the sums.
        inside: what looks at the hidden states, or None.
        by_columns: whether maps may find that only some of their outputs have a multiplier.

    Attributes:
        root: what every looked-up row hangs on in the autograd graph; the backward pass goes there.
        relevance: what arrived at each id, flat.
        books: what arrived elsewhere.
        sparsity: what the pass has not reached.
        products: the autograd nodes of products that met their rule.
        running: whether the model is on its way up, in the pass that is explained.
        mapping: whether a pass is mapped over several targets.
        scale: what multipliers are larger by on their way back. Those of a wide model are so small that float16 would
            lose their digits; a power of two does not change them otherwise.
        scores: in 16 bits, how large attention scores are; None where that makes no difference.
    """

    relevance: Tensor
    scale: float = 1.0
    scores: Scores | None = None

    def __init__(self, input_ids: Tensor, dtype: torch.dtype, inside: Inside | None, by_columns: bool) -> None:
        self.inside = inside
        self.books = Books(input_ids.shape[0], dtype)
        self.root = torch.zeros((), dtype=dtype, device=input_ids.device, requires_grad=True)
        self.sparsity = Sparsity(by_columns)
        self.products: set[Any] = set()
        self.running = self.mapping = False
        self._ids = input_ids.numel()
        self._start()

    def _start(self) -> None:
        """Clear what an earlier backward pass brought."""
        self.relevance = torch.zeros(self._ids, dtype=self.books.dtype, device=self.root.device)
        self.books.clear()
        self.sparsity.start(watched=not self.mapping)
        if self.inside is not None:
            self.inside.start()

    def backward(self, logits: Tensor, weights: list[Tensor], last: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Carry the relevance of several targets back in one pass, whose operations are mapped over the targets.

        Args:
            logits: ``[batch, labels]``.
            weights: of the logits, ``[batch, labels]`` for each target.
            last: whether the graph can go as soon as it is passed; where several targets pass, it stays.

        Returns:
            What arrived at each id, ``[targets, ids]``, and what each heading received, ``[targets, batch]``.

        Raises:
            RuntimeError: torch cannot map the pass over several targets. They can still pass one by one.
        """
        several = len(weights) > 1
        self.running = False
        self.books.mapped, self.books.final = several, last and not several and self.inside is None

        def carry(multiplier: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            self._start()
            if logits.requires_grad:
                # Straight to autograd's engine: torch.autograd.backward would hand itself to the interception, which is
                # off while it handles a function, and checkpoints that run parts of the forward pass again need it.
                with torch._C._EnableTorchFunction():
                    torch.autograd.Variable._execution_engine.run_backward(
                        (logits,),
                        (multiplier,),
                        several or not last,
                        False,
                        (self.root,),
                        allow_unreachable=True,
                        accumulate_grad=False,
                    )
            return self.relevance, self.books.rows()

        with torch._C.DisableTorchFunction():
            if not several:
                relevance, rows = carry(self._scaled(weights[0]).to(logits.dtype))
                return self._plain(relevance[None], {heading: row[None] for heading, row in rows.items()})
            self.mapping = True
            try:
                relevance, rows = torch.vmap(carry)(self._scaled(torch.stack(weights)).to(logits.dtype))
                return self._plain(relevance, rows)
            finally:
                self.mapping = False
                self._start()  # nothing that was mapped outlives the map

    def _scaled(self, weights: Tensor) -> Tensor:
        return weights if self.scale == 1.0 else weights * self.scale

    def _plain(self, relevance: Tensor, rows: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if self.scale == 1.0:
            return relevance, rows
        return relevance / self.scale, {heading: row / self.scale for heading, row in rows.items()}

    def arrive(self, origin: Tensor, x: Tensor, c: Tensor) -> None:
        """Credit each input id with ``sum(x c)`` of its row; rows of no input id (a decoder's start) are special."""
        relevance = (x.to(self.relevance.dtype) * c.to(self.relevance.dtype)).sum(-1)
        known = origin >= 0
        where, what = origin.clamp_min(0).reshape(-1), (relevance * known).reshape(-1)
        self.relevance = self.relevance.index_add(0, where, what)
        self.books.post(ledger.SPECIAL_TOKENS, relevance * ~known)

    def post_constant(self, y: Tensor, constant: Any, heading: str, sign: float = 1.0) -> None:
        """Post the share of a constant that was added to ``y``, when the multiplier of ``y`` is known."""
        if not y.requires_grad:  # computed under no_grad: a constant itself
            return
        books = self.books
        value = constant if sign == 1.0 else constant * sign

        self.attach(y, lambda c: books.post_product(heading, c, value))

    def mark_product(self, y: Tensor, operands: Any) -> None:
        """Remember the nodes of a product as met by its rule."""
        self.products |= coverage.between(y.grad_fn, {x.grad_fn for x in tensors(operands) if x.requires_grad})

    def scale_multiplier(self, y: Tensor, share: float) -> None:
        """Scale the multiplier of ``y``."""
        self.attach(y, lambda c: c * share)

    def attach(self, y: Tensor, function: Callable[[Tensor], Tensor | None]) -> None:
        """Call a function with the multiplier of a fresh result; what it returns takes its place.

        Some functionals return a view of their result (``F.linear`` of three dimensions can). A hook on a view is lost
        when the view is written in place later, so it goes to the base, which nobody else knows.
        """
        base = y._base if y._is_view() else None
        if base is None or base.numel() != y.numel() or not base.is_contiguous() or not base.requires_grad:

            def hook(c: Tensor) -> Tensor | None:
                with torch._C.DisableTorchFunction():
                    return function(c)

            y.register_hook(hook)
            return
        size, stride = y.size(), y.stride()

        def on_base(c: Tensor) -> Tensor | None:
            with torch._C.DisableTorchFunction():
                plain = c.contiguous()
                changed = function(plain.as_strided(size, stride))
                if changed is None:
                    return None
                written = torch.empty_like(plain)
                written.as_strided(size, stride).copy_(changed)
                return written

        base.register_hook(on_base)
