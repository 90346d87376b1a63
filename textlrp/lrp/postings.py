"""The postings of a backward pass: the ledger's rows beside the tokens, for each document."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor


class Postings:
    """Adds up the relevance of each heading of the ledger during the backward pass.

    Args:
        batch: how many documents the input holds.
        dtype: the dtype of the sums, float32 or wider.

    Attributes:
        mixed: some values could not be assigned to documents.
        muted: nothing is posted, because a backward pass through part of the graph serves another purpose.
    """

    def __init__(self, batch: int, dtype: torch.dtype) -> None:
        self.batch, self.dtype = batch, dtype
        self.mixed = self.muted = False
        self._posted: dict[str, list[Tensor]] = defaultdict(list)

    def clear(self) -> None:
        """Drop all postings."""
        self._posted.clear()

    def post(self, heading: str, values: Tensor, factor: float = 1.0) -> None:
        """Credit the heading with ``factor`` times the sum of ``values`` within each document."""
        if not self.muted:
            total = self._by_document(values).sum(-1, keepdim=True)
            self._posted[heading].append(total if factor == 1.0 else total * factor)

    def post_product(self, heading: str, multiplier: Tensor, constant: Tensor | float) -> None:
        """Credit the heading with ``sum(multiplier * constant)``: the relevance of an added constant."""
        if self.muted:
            return None
        if multiplier.is_complex():  # the gradient of a complex number is conjugate
            return self.post(heading, (multiplier.conj() * constant).real)
        multiplier = self._wide(multiplier)
        if not isinstance(constant, Tensor) or constant.dim() == 0:
            return self.post(heading, self._by_document(multiplier).sum(-1, keepdim=True) * constant)
        constant = self._wide(constant)
        if constant.dim() == 1 and multiplier.dim() > 1 and constant.shape[0] == multiplier.shape[-1]:
            # A bias: one matrix-vector product reads the multiplier once.
            sums = multiplier.reshape(-1, constant.shape[0]).mv(constant)
            self._posted[heading].append(
                sums if self.batch == 1 else self._by_document(sums.view(multiplier.shape[:-1]))
            )
        else:
            # Where the multiplier is 0, count 0, even if the constant is -inf or uninitialized: 0 * inf is NaN.
            self.post(heading, torch.where(multiplier == 0, 0.0, multiplier * constant))
        return None

    def per_document(self, values: Tensor) -> Tensor:
        """Sum ``values`` over everything but the document; shape ``[batch]``."""
        return self._by_document(values).sum(-1).reshape(self.batch)

    def rows(self) -> dict[str, Tensor]:
        """Return the sum of each heading, shape ``[batch]`` each."""
        return {heading: torch.cat(posts, -1).sum(-1).reshape(self.batch) for heading, posts in self._posted.items()}

    def _wide(self, values: Tensor) -> Tensor:
        return values if values.dtype == self.dtype else values.to(self.dtype)

    def _by_document(self, values: Tensor) -> Tensor:
        """Return ``values`` as a row for each document, ``[batch, values of a document]``; one document as a vector.

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
