"""The postings of one backward pass, kept apart for each document of the batch."""

from __future__ import annotations

import torch
from torch import Tensor


class Books:
    """Collects what each heading received, one number a document, while the multipliers flow back.

    Args:
        batch: how many documents the input holds.
        dtype: the dtype of the sums, float32 or wider whatever the model computes in.

    Attributes:
        mixed: whether something could not be told apart by document.
        muted: whether nothing is posted, while a part of the graph is passed for another purpose.
    """

    def __init__(self, batch: int, dtype: torch.dtype) -> None:
        self.batch = batch
        self.dtype = dtype
        self.mixed = False
        self.muted = False
        self._posted: dict[str, list[Tensor]] = {}

    def clear(self) -> None:
        """Forget what was posted."""
        self._posted.clear()

    def post(self, heading: str, values: Tensor) -> None:
        """Add up ``values`` within each document and credit the heading with it."""
        if not self.muted:
            self._posted.setdefault(heading, []).append(self.per_document(values))

    def post_product(self, heading: str, multiplier: Tensor, constant: Tensor | float) -> None:
        """Credit the heading with ``sum(multiplier * constant)``: the relevance of an added constant."""
        if self.muted:
            return
        if multiplier.is_complex():  # the gradient of a complex number is conjugate
            self.post(heading, (multiplier.conj() * constant).real)
            return
        multiplier = multiplier.to(self.dtype)
        if not isinstance(constant, Tensor) or constant.dim() == 0:
            total = self.per_document(multiplier) * constant
            self._posted.setdefault(heading, []).append(total.to(self.dtype))
            return
        constant = constant.to(self.dtype)
        if constant.dim() == 1 and multiplier.dim() > 1 and constant.shape[0] == multiplier.shape[-1]:
            # One matrix-vector product reads the multiplier once and allocates a value a row.
            rows = multiplier.reshape(-1, constant.shape[0]).mv(constant)
            self.post(heading, rows if self.batch == 1 else rows.reshape(multiplier.shape[:-1]))
        else:
            # What has the multiplier zero has no relevance, be it the infinity of a mask or memory never written to.
            self.post(heading, torch.where(multiplier == 0, 0.0, multiplier * constant))

    def per_document(self, values: Tensor) -> Tensor:
        """Sum ``values`` over everything but the document; shape ``[batch]``.

        The document is the first dimension, alone or merged with others behind it (``batch * heads``), or the second
        one where time comes first. A wrong guess cannot stay hidden: the ledgers of the documents would not balance,
        and propagation then takes the documents one at a time.
        """
        values = values.to(self.dtype)
        if self.batch == 1:
            return values.sum().reshape(1)
        if values.dim() > 1 and values.shape[0] != self.batch and values.shape[1] == self.batch:
            return values.transpose(0, 1).flatten(1).sum(1)
        if values.dim() > 0 and values.shape[0] % self.batch == 0:
            return values.reshape(self.batch, -1).sum(1)
        self.mixed = True
        return values.new_zeros(self.batch)

    def rows(self) -> dict[str, Tensor]:
        """Return what each heading received, shape ``[batch]`` each."""
        return {heading: torch.stack(posts).sum(0) for heading, posts in self._posted.items()}
