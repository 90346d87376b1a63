"""Whether the reference run is that of the model alone, or what the text chose has changed it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from textlrp.errors import UnsupportedOperationError
from textlrp.guard import trees
from textlrp.lrp import decompositions, operations
from textlrp.lrp.context import Context
from textlrp.lrp.reference import ReferenceRun
from textlrp.lrp.request import Request, logits_of
from textlrp.lrp.result import Propagation
from textlrp.results.ledger import REFERENCE, REFERENCE_PINNED, Ledger


def pinned(request: Request, context: Context, logits: Tensor, logits_r: Tensor) -> list[bool]:
    """Return for each document whether the text's choices changed the logits of the reference.

    Raises:
        UnsupportedOperationError: the text made no choice, yet the model alone has other logits on the reference.
    """
    run = context.beside
    nowhere = [False] * len(logits)
    if not run.pinned and (request.precision not in ("float32", "float64") or context.sampled):
        return nowhere  # two runs differ by rounding, or by what they draw
    if not run.pinned and not run.cut and not _without_effect(request, run, logits, logits_r):
        return nowhere
    try:
        output = _alone(request, run)
    except Exception:  # without the text's choices it may fail: there is no end of the text among the reference's ids
        return [True] * len(logits) if run.pinned else nowhere
    own = logits_of(output, logits.shape[0])
    alike: list[bool] = torch.isclose(own, logits_r, rtol=1e-4, atol=1e-5).all(-1).tolist()
    if not run.pinned and not all(alike):
        with torch.no_grad():
            again = logits_of(request.parts.model(**request.model_inputs), logits.shape[0])
        if not torch.isclose(again, logits, rtol=1e-4, atol=1e-5).all():
            return nowhere  # the model is another one after each run
        raise UnsupportedOperationError(
            "the model copies activations in a way that textlrp cannot follow (into a parameter, a nested tensor or an "
            "array), so their values on the reference are not known; let the model compute with the activations "
            "themselves"
        )
    return [not same for same in alike]


def _alone(request: Request, run: ReferenceRun) -> Any:
    """Return the output of the model on the reference alone, without the text's choices.

    Raises:
        RuntimeError: the model looks its ids up in a way that cannot be given other rows than those of the ids.
    """
    # Ids that are the text's have other rows in the reference.
    lookups = _Lookups([] if run.rows is None else run.looked_up)
    with torch.no_grad(), lookups:
        output = request.parts.model(**{**request.model_inputs, "input_ids": run.ids})
    if lookups.left:
        raise RuntimeError("not every row of the reference was looked up")
    return output


class _Lookups(TorchFunctionMode):
    """Gives lookups in embedding tables the rows that they gave before, in the same order.

    Attributes:
        left: the table and the rows of each lookup that has not been met so far.
    """

    def __init__(self, looked_up: list[tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.left = list(looked_up)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        is_lookup = operations.KINDS.get(func) == operations.LOOKUP
        if self.left and is_lookup and "embedding_bag" in operations.stem(func):
            with self:
                return decompositions.steps(func, args, kwargs)
        out = func(*args, **kwargs)
        if self.left and (is_lookup or operations.stem(func) in ("__getitem__", "index_select")):
            table, rows = self.left[0]
            if out.shape == rows.shape and any(x is table for x in trees.tensors((args, kwargs))):
                return self.left.pop(0)[1].clone()
        return out


def _without_effect(request: Request, run: ReferenceRun, logits: Tensor, logits_r: Tensor) -> bool:
    """Return whether a document has the same logits as a reference of other ids, to the last digit."""
    same = (logits.detach() == logits_r).all(-1)
    return bool(same.any()) and bool((same & (request.input_ids != run.ids).any(-1)).any())


def renamed(propagation: Propagation, pinned: list[bool], functions: tuple[str, ...]) -> Propagation:
    """Return a propagation that says of which documents choices of the text, by which functions, changed the logit."""

    def of_one(ledger: Ledger, is_pinned: bool) -> Ledger:
        if not is_pinned:
            return ledger
        rows = {REFERENCE_PINNED if heading == REFERENCE else heading: row for heading, row in ledger.rows.items()}
        return replace(ledger, rows=rows)

    def all_of(ledgers: tuple[Ledger, ...]) -> tuple[Ledger, ...]:
        return tuple(map(of_one, ledgers, pinned))

    layers = tuple(replace(layer, ledgers=all_of(layer.ledgers)) for layer in propagation.layers)
    return replace(propagation, ledgers=all_of(propagation.ledgers), layers=layers, pinned_by=functions)
