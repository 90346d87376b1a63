"""Attention through fused kernels: any of torch's by its own backward, with constant weights, and the CPU's by name.

The general way hands queries, keys and values to whatever kernel torch chooses, and lets autograd find the way back.
Where torch would choose its flash kernel for CPUs, that is called by name: what a classifier makes of its last layer,
where it reads one position, then takes one query of the backward instead of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from textlrp.lrp import operations
from textlrp.lrp.linear import Sparsity
from textlrp.lrp.postings import Books
from textlrp.lrp.surrogates import Saved, Surrogate, plainly
from textlrp.results import ledger

if TYPE_CHECKING:
    from textlrp.lrp.dispatch import Interception


class AttentionPart(NamedTuple):
    """What becomes of the plain gradient of a query, key or value.

    Attributes:
        posts: whether it carries relevance.
        share: what it keeps of the gradient.
        sign: with which its relevance goes to the row of the softmax.
        left: the part of its relevance that the products leave over.
    """

    posts: bool
    share: float
    sign: float
    left: float


AttentionParts = tuple[AttentionPart, ...]

#: Queries, keys and values by the uniform rule, each of which carries relevance.
_UNIFORM = (
    AttentionPart(True, 0.25, -1.0, 0.0),
    AttentionPart(True, 0.25, -1.0, 0.0),
    AttentionPart(True, 0.5, 1.0, 0.0),
)

#: Largest block of attention weights that the frozen rule recomputes at once, in elements: what a cache holds, and what
#: keeps an accelerator busy.
_BLOCK, _BLOCK_OF_ACCELERATOR = 1 << 19, 1 << 26

_FLASH = 1
_forward = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
_backward = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu_backward", None)


class AttentionInputs(Surrogate):
    """Query, key and value on their way into the fused kernel, whose own backward gives them the plain gradient.

    With ``O = PV`` and ``S = QK^T``, the uniform rule leaves a share of that gradient: 1/4 to queries and keys, 1/2 to
    values (Achtibat et al. 2024, eqs. 13 and 14). The softmax row is ``sum(P c_P) - sum(S c_S)``, and because
    ``sum(V c_V) = sum(P c_P)`` and ``sum(Q c_Q) + sum(K c_K) = sum(S c_S)``, it is posted with the sign +1 at the
    values and -1 at the queries and keys: the weights themselves are never needed. The Taylor rule leaves all of the
    gradient; there ``sum(Q c_Q) = sum(K c_K) = sum(S c_S)``, each of which is posted by half, and what the products
    leave over is posted, too.

    ``parts`` are those of the three, in their order.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, root: Tensor, parts: AttentionParts, books: Books) -> Any:
        ctx.save_for_backward(q, k, v)
        ctx.parts, ctx.books = parts, books
        return q.view_as(q), k.view_as(k), v.view_as(v)

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, *multipliers: Tensor) -> Any:
        books = ctx.books
        arrived: list[Tensor | None] = []
        for x, c, part in zip(saved, multipliers, ctx.parts, strict=True):
            # The multiplier comes fresh from the kernel, for this node alone.
            passed = _share_of(x, c, part, books, fresh=books.final and not c._is_view())
            arrived.append(passed if ctx.needs_input_grad[len(arrived)] else None)
        return *arrived, None, None, None


def _share_of(x: Tensor, c: Tensor, part: AttentionPart, books: Books, fresh: bool) -> Tensor:
    """Post what is not for an input of the kernel, and return its share of the plain gradient ``c``.

    A multiplier that is ``fresh`` is written over.
    """
    if part.posts:
        books.post_inner(ledger.SOFTMAX, x, c, part.share * part.sign)
        if part.left:
            books.post_inner(ledger.PRODUCTS, x, c, part.share * part.left)
    if part.share == 1.0:
        return c
    return c.mul_(part.share) if fresh else c * part.share


class FrozenAttention(Surrogate):
    """Attention with constant weights, ``c_V = P^T c_O`` (Ali et al. 2022, eq. 9): no query or key backward.

    The weights are computed again in the backward, block by block of queries, from the queries and keys.
    """

    @staticmethod
    def forward(
        ctx: Any,
        v: Tensor,
        y: Tensor,
        q: Tensor,
        k: Tensor,
        mask: Tensor | None,
        causal: bool,
        scale: float,
        sparsity: Sparsity,
    ) -> Any:
        ctx.save_for_backward(q, k, mask)
        ctx.causal, ctx.scale, ctx.shape, ctx.sparsity = causal, scale, v.shape, sparsity
        ctx.mark_dirty(y)
        return y

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        q, k, mask = saved
        queries = torch.arange(q.shape[-2], device=q.device)
        live = ctx.sparsity.queries(c) if c.dim() == 4 else None
        if live is not None:
            queries, q, c = live, q.index_select(2, live), c.index_select(2, live)
            mask = mask.index_select(-2, live) if mask is not None and mask.shape[-2] > 1 else mask
        groups = q.shape[-3] // k.shape[-3] if q.dim() > 3 else 1
        k = k.repeat_interleave(groups, -3) if groups > 1 else k
        c_v: Any = None
        block = _BLOCK if q.is_cpu else _BLOCK_OF_ACCELERATOR
        step = max(1, block // max(1, k.shape[-2] * c[..., 0, 0].numel()))
        for start in range(0, q.shape[-2], step):
            rows = slice(start, start + step)
            scores = (q[..., rows, :] * ctx.scale) @ k.mT
            if ctx.causal:
                future = torch.arange(k.shape[-2], device=q.device) > queries[rows, None]
                scores.masked_fill_(future, -torch.inf)
            if mask is not None:
                part = mask[..., rows, :] if mask.shape[-2] > 1 else mask
                scores = scores.masked_fill_(~part, -torch.inf) if part.dtype == torch.bool else scores.add_(part)
            weights = scores.softmax(-1)
            if mask is not None:  # a query that sees nothing
                weights.nan_to_num_(0.0)
            part_c_v = weights.mT @ c[..., rows, :]
            c_v = part_c_v if c_v is None else c_v.add_(part_c_v)
        if groups > 1:
            c_v = c_v.unflatten(-3, (-1, groups)).sum(-3)
        return c_v.sum_to_size(ctx.shape), None, None, None, None, None, None, None


class Setting(NamedTuple):
    """How the kernel is called."""

    causal: bool
    scale: float | None


class FlashAttention(Surrogate):
    """``O = softmax(QK^T scale + M) V``: Taylor softmax and uniform products, by the kernel's own backward.

    Achtibat et al. 2024, eqs. 13 and 14: queries and keys get 1/4 of the plain gradient, values 1/2; the row of the
    softmax is ``sum(P c_P) - sum(S c_S)``, see :class:`AttentionInputs`.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, setting: Setting, met: Interception
    ) -> Any:
        assert _forward is not None
        y, norm = _forward(q, k, v, 0.0, setting.causal, attn_mask=mask, scale=setting.scale)
        ctx.save_for_backward(q, k, v, y, norm, mask)
        ctx.setting, ctx.books, ctx.sparsity = setting, met.books, met.sparsity
        return y

    @staticmethod
    @plainly
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        q, k, v, y, norm, mask = saved
        books: Books = ctx.books
        live = ctx.sparsity.queries(c)
        if live is None:
            c_q, c_k, c_v = _pass(c, q, k, v, y, norm, mask, ctx.setting)
        else:
            some, c_k, c_v = _pass(*_rows(live, c, q, k, v, y, norm, mask, ctx.setting))
            c_q = torch.zeros_like(q).index_copy_(2, live, some)
        arrived = zip((q, k, v), (c_q, c_k, c_v), _UNIFORM, strict=True)
        return *(_share_of(x, each, part, books, fresh=True) for x, each, part in arrived), None, None, None


def _pass(
    c: Tensor, q: Tensor, k: Tensor, v: Tensor, y: Tensor, norm: Tensor, mask: Tensor | None, setting: Setting
) -> Any:
    assert _backward is not None
    return _backward(c, q, k, v, y, norm, 0.0, setting.causal, attn_mask=mask, scale=setting.scale)


def _rows(
    live: Tensor, c: Tensor, q: Tensor, k: Tensor, v: Tensor, y: Tensor, norm: Tensor, mask: Tensor | None, by: Setting
) -> Any:
    """Return what the kernel's backward takes, for some of the queries."""
    if by.causal:  # which keys a query sees is counted from the first query: written out for those that are left
        future = torch.arange(k.shape[2]) > live[:, None]
        mask = torch.zeros(future.shape, dtype=q.dtype).masked_fill_(future, -torch.inf)[None, None]
    elif mask is not None and mask.shape[2] > 1:
        mask = mask.index_select(2, live)
    c, q, y, norm = (each.index_select(2, live) for each in (c, q, y, norm))
    return c, q, k, v, y, norm, mask, by._replace(causal=False)


def flash_attention(
    met: Interception,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor | None:
    """Call the CPU's kernel; return None where torch would choose another one, or something is unusual."""
    mask = attn_mask
    if not (met.fused and q.is_cpu and q.requires_grad and k.requires_grad and v.requires_grad) or dropout_p:
        return None
    if mask is not None and (
        is_causal
        or mask.dim() != 4
        or mask.requires_grad
        or not (mask.dtype == torch.bool or (mask.dtype == q.dtype and met.masks.is_blank(mask)))
    ):
        return None
    if (
        _forward is None
        or q.dim() != 4
        or not q.shape[:2] == k.shape[:2] == v.shape[:2]
        or not torch.is_grad_enabled()
        or torch._fused_sdp_choice(q, k, v, mask, 0.0, is_causal, scale=scale) != _FLASH
    ):
        return None
    if mask is not None and mask.dtype == torch.bool:
        mask = met.masks.additive(mask, q.dtype)
    out: Tensor = FlashAttention.apply(q, k, v, mask, Setting(is_causal, scale), met)
    return out


class Masks:
    """What is known of the attention mask that was used last: layers share theirs."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Let go of the mask."""
        self._last: tuple[Tensor, int] | None = None
        self._additive: Tensor | None = None
        self._blank: bool | None = None

    def additive(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        """Return a mask of truth values as numbers to add, minus infinity where nothing is seen."""
        self._look(mask)
        if self._additive is None or self._additive.dtype != dtype:
            self._additive = torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, -torch.inf)
        return self._additive

    def is_blank(self, mask: Tensor) -> bool:
        """Whether a mask of numbers hides or shows, and adds nothing else."""
        self._look(mask)
        if self._blank is None:
            self._blank = operations.is_blank(mask)
        return self._blank

    def _look(self, mask: Tensor) -> None:
        if self._last is None or self._last[0] is not mask or self._last[1] != mask._version:
            self.forget()
            self._last = mask, mask._version
