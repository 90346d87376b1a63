"""The result of a propagation."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from textlrp.lrp.hidden.capture import Captured
from textlrp.lrp.hidden.states import HiddenState
from textlrp.results.ledger import Ledger


@dataclass(frozen=True)
class Propagation:
    """The relevance of one target.

    Attributes:
        relevance: ``[batch, sequence]``, one value per input id in logit units; float32 (float64 for float64 models).
        ledgers: one balanced ledger per document.
        logits: ``[batch, labels]``, as the model computed them; of each document alone if the documents share a tensor
            that cannot be divided among them.
        weights: ``[batch, labels]``: the explained quantity is ``sum(weights * logits)`` of each document.
        met: how often each operation was given which rule.
        captured: by the path of a captured module, its output and the relevance there, for each run of the module.
        layers: the relevance at each hidden state, from the embeddings up, if ``layers=True``.
        reference_logits: ``[batch, labels]``, the logits of the reference, the mean over several; None under rules that
            measure from zero.
        other_ids: by the name of any other input of ids (``title_ids``), its relevance, of the shape of these ids.
            Their sum is the ledger's row ``other ids``. Difference rules keep these ids in both runs: they get none.
        pinned_by: the functions by which the texts chose otherwise than their references would have, by name.
    """

    relevance: Tensor
    ledgers: tuple[Ledger, ...]
    logits: Tensor
    weights: Tensor
    met: dict[tuple[str, str], int] = field(default_factory=dict, repr=False)
    captured: dict[str, tuple[Captured, ...]] = field(default_factory=dict, repr=False)
    layers: tuple[HiddenState, ...] = field(default=(), repr=False)
    reference_logits: Tensor | None = field(default=None, repr=False)
    other_ids: dict[str, Tensor] = field(default_factory=dict, repr=False)
    pinned_by: tuple[str, ...] = field(default=(), repr=False)
