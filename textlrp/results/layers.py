"""The relevance at the hidden states between the layers, as plain numbers, with a ledger for each.

It needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from textlrp.results.ledger import PROMPT, Ledger
from textlrp.results.saved import Fields, plain


@dataclass(frozen=True)
class Layer:
    """A hidden state of the model: the embeddings, or the output of a block.

    Attributes:
        name: the path of the block's module; ``embeddings`` for the input of the first block; in a model with several
            lists of blocks (encoder and decoder), the path of a list for the input of its first block.
        relevance: one value for each position, in logit units: for each of the explanation's ``tokens`` if ``aligned``,
            else for the positions of a model that pools or compresses the text in between.
        ledger: the shares of the logit when the backward pass reaches this state: ``tokens``, ``prompt`` and
            ``special tokens`` are in its positions, ``other paths`` bypass it, and the other rows were posted above it.
        heads: by the path of the attention's module, the relevance that passes through each head of the block.
        paths: the sum of the relevance by its path through the block: ``residual``, ``attention``, ``feed-forward``
            (every branch without attention) and ``other`` (shifts of norms); empty for embeddings, and for a block that
            is not built of branches that are added to a stream.
        aligned: whether the positions are the explanation's tokens.
    """

    name: str
    relevance: tuple[float, ...]
    ledger: Ledger
    _: KW_ONLY
    heads: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    paths: Mapping[str, float] = field(default_factory=dict)
    aligned: bool = True

    @property
    def total(self) -> float:
        """The relevance in this hidden state, in logit units, at the words around the text, too."""
        return math.fsum((*self.relevance, self.ledger[PROMPT]))

    @property
    def shares(self) -> dict[str, float]:
        """Each path's part of the sum of the absolute relevances of the paths; the parts add up to 1."""
        size = math.fsum(map(abs, self.paths.values()))
        return {path: abs(value) / size if size else 0.0 for path, value in self.paths.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the layer as JSON-ready values."""
        return {
            "name": self.name,
            "relevance": list(map(plain, self.relevance)),
            "ledger": self.ledger.to_dict(),
            "heads": {path: list(map(plain, values)) for path, values in self.heads.items()},
            "paths": {path: plain(value) for path, value in self.paths.items()},
            "aligned": self.aligned,
        }

    @classmethod
    def from_dict(cls, values: object, where: str = "a layer") -> Layer:
        """Rebuild a layer from :meth:`to_dict`; messages call it ``where``.

        Raises:
            InputError: the values are not a layer.
        """
        fields = Fields(values, where)
        heads = Fields(fields.mapping("heads"), f"heads of {where}")
        layer = cls(
            fields.text("name"),
            fields.numbers("relevance"),
            Ledger.from_dict(fields.take("ledger"), f"the ledger of {where}"),
            heads={path: heads.numbers(path) for path in fields.mapping("heads")},
            paths=fields.numbered("paths"),
            aligned=fields.flag("aligned"),
        )
        fields.end()
        return layer
