"""What was found between the layers, as plain numbers: relevance at the hidden states, with the books of each.

This module knows nothing of torch, as the explanation that holds it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from textlrp.results.ledger import Ledger
from textlrp.results.saved import Fields, plain


@dataclass(frozen=True)
class Layer:
    """A hidden state of the model: the embeddings, or what a block puts out.

    Attributes:
        name: the path of the block's module; ``embeddings`` for what the first block takes; the path of a list of
            blocks for what its first block takes, where a model has several (encoder and decoder).
        relevance: one value for each position, in logit units: for each of the explanation's ``tokens`` where
            ``aligned``, or for the positions of a model that pools or compresses the text in between.
        ledger: where the logit is when this state is reached on the way back: ``tokens`` and ``special tokens`` are in
            its positions, ``other paths`` go around it, and the other rows were posted above it.
        heads: by the path of the attention's module, the relevance that each head of the block hands on.
        paths: the sum of the relevance by the way that it takes through the block: ``residual``, ``attention``,
            ``feed-forward`` (every branch without attention) and ``other`` (shifts of norms); empty for embeddings, and
            where a block is not built of branches that are added to a stream.
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
        """The relevance in this hidden state, in logit units: what of the logit is still on its way to the tokens."""
        return math.fsum(self.relevance)

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
        """Rebuild a layer from :meth:`to_dict`; sentences call it ``where``.

        Raises:
            InputError: the values are no layer.
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
