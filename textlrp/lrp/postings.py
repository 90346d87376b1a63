"""The postings of one backward pass, kept apart for each document of the batch."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

#: From so many elements a document on, products are added up document by document, without a tensor of them.
_LARGE = 4096
#: How many kinds of zeros are kept.
_MOST_ZEROS = 3


class Books:
    """Collects what each heading received, one number a document, while the multipliers flow back.

    Args:
        batch: how many documents the input holds.
        dtype: the dtype of the sums, float32 or wider whatever the model computes in.

    Attributes:
        mixed: whether something could not be told apart by document.
        muted: whether nothing is posted, while a part of the graph is passed for another purpose.
        mapped: whether the pass is mapped over several targets.
        final: whether no other pass comes through the graph, so that what was kept for this one may be written over.
    """

    def __init__(self, batch: int, dtype: torch.dtype) -> None:
        self.batch = batch
        self.dtype = dtype
        self.mixed = self.muted = self.mapped = self.final = False
        self._posted: dict[str, list[Tensor]] = defaultdict(list)
        self._zeros: dict[tuple[torch.Size, torch.dtype], Tensor] = {}

    def clear(self) -> None:
        """Forget what was posted."""
        self._posted.clear()
        self._zeros.clear()

    def post(self, heading: str, values: Tensor) -> None:
        """Add up ``values`` within each document and credit the heading with it."""
        if not self.muted:
            self._posted[heading].append(self._rows(values).sum(-1, keepdim=True))

    def post_product(self, heading: str, multiplier: Tensor, constant: Tensor | float) -> None:
        """Credit the heading with ``sum(multiplier * constant)``: the relevance of an added constant."""
        if self.muted:
            return
        if multiplier.is_complex():  # the gradient of a complex number is conjugate
            self.post(heading, (multiplier.conj() * constant).real)
            return
        multiplier = self._wide(multiplier)
        if not isinstance(constant, Tensor) or constant.dim() == 0:
            total = self._rows(multiplier).sum(-1, keepdim=True) * constant
            self._posted[heading].append(self._wide(total))
            return
        constant = self._wide(constant)
        if constant.dim() == 1 and multiplier.dim() > 1 and constant.shape[0] == multiplier.shape[-1]:
            self.post_rows(heading, multiplier, constant)
        else:
            # What has the multiplier zero has no relevance, be it the infinity of a mask or memory never written to.
            self.post(heading, torch.where(multiplier == 0, 0.0, multiplier * constant))

    def post_rows(self, heading: str, multiplier: Tensor, constant: Tensor) -> None:
        """Credit the heading with ``sum(multiplier * constant)`` for a constant of each channel, the last dimension."""
        if self.muted:
            return
        # One matrix-vector product reads the multiplier once; its rows are added up at the end, with all others.
        width = multiplier.shape[-1]
        rows = self._wide(multiplier).reshape(-1, width).mv(self._wide(constant))
        if self.batch > 1:
            rows = self._rows(rows.view(multiplier.shape[:-1]))
        self._posted[heading].append(rows)

    def post_inner(self, heading: str, x: Tensor, c: Tensor, share: float) -> None:
        """Credit the heading with ``share * sum(x c)``: a part of the relevance of activations."""
        if self.muted:
            return
        flat = None if self.mapped or x.dtype != self.dtype or c.dtype != self.dtype else _flat(x, c)
        if flat is not None and self.batch == 1:
            total = torch.dot(*flat)
        elif flat is not None and x.shape[0] == self.batch and x.is_cpu and x.numel() >= _LARGE * self.batch:
            pairs = zip(*(each.view(self.batch, -1) for each in flat), strict=True)
            total = torch.stack([torch.dot(left, right) for left, right in pairs])
        elif x.shape[0] == self.batch and x.dim() > 1:  # no reshape, which would copy what lies in another order
            total = (self._wide(x) * self._wide(c)).sum(tuple(range(1, x.dim())))
        else:
            total = self._rows(self._wide(x) * self._wide(c)).sum(-1)
        self._posted[heading].append((total * share).reshape(1 if self.batch == 1 else (self.batch, 1)))

    def zeros(self, like: Tensor) -> Tensor:
        """Return zeros to read from, of the shape and dtype of ``like``; they are made once a pass."""
        key = (like.shape, like.dtype)
        found = self._zeros.get(key)
        if found is None:
            if len(self._zeros) > _MOST_ZEROS:
                self._zeros.clear()
            found = self._zeros[key] = torch.zeros(like.shape, dtype=like.dtype, device=like.device)
        return found

    def per_document(self, values: Tensor) -> Tensor:
        """Sum ``values`` over everything but the document; shape ``[batch]``."""
        return self._rows(values).sum(-1).reshape(self.batch)

    def rows(self) -> dict[str, Tensor]:
        """Return what each heading received, shape ``[batch]`` each."""
        return {heading: torch.cat(posts, -1).sum(-1).reshape(self.batch) for heading, posts in self._posted.items()}

    def _wide(self, values: Tensor) -> Tensor:
        return values if values.dtype == self.dtype else values.to(self.dtype)

    def _rows(self, values: Tensor) -> Tensor:
        """Return ``values`` as a row for each document, ``[batch, values of a document]``; a single one as a vector.

        The document is the first dimension, alone or merged with others behind it (``batch * heads``), or the second
        one where time comes first. A wrong guess cannot stay hidden: the ledgers of the documents would not balance,
        and propagation then takes the documents one at a time.
        """
        values = self._wide(values)
        if self.batch == 1:
            return values.reshape(-1)
        if values.dim() > 1 and values.shape[0] != self.batch and values.shape[1] == self.batch:
            return values.transpose(0, 1).flatten(1)
        if values.dim() > 0 and values.shape[0] % self.batch == 0:
            return values.reshape(self.batch, -1)
        self.mixed = True
        return values.new_zeros(self.batch, 1)


def _flat(x: Tensor, c: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return two tensors of one shape as vectors in the same order without a copy, or None where that cannot be."""
    if x.is_contiguous() and c.is_contiguous():
        return x.view(-1), c.view(-1)
    if x.dim() == 4:  # heads apart, but behind the positions in memory
        x, c = x.transpose(1, 2), c.transpose(1, 2)
        if x.is_contiguous() and c.is_contiguous():
            return x.view(-1), c.view(-1)
    return None
