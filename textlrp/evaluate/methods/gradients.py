"""Gradients of a logit by the embeddings of the tokens.

The embedding rows that the model looks up for its ``input_ids`` become leaves of the graph. An encoder-decoder looks
its ids up twice; the scores of both lookups are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from textlrp.errors import ModelError
from textlrp.evaluate.methods.passes import IDS_BACK, ROWS, Passes
from textlrp.explain.embedding_tables import word_tables
from textlrp.lrp import operations, token_tracking


class EmbeddingLookup(NamedTuple):
    """One lookup of ids in an embedding table.

    Attributes:
        module: the table.
        ids: ``[batch, sequence]``, or transposed.
        rows: the leaf, ``[batch, sequence, width]``, or transposed.
        whole: the rows that the table returned, of the same shape.
    """

    module: nn.Module
    ids: Tensor
    rows: Tensor
    whole: Tensor


#: Returns the rows to use, given the number of the lookup, the table, its ids and its rows.
Change = Callable[[int, nn.Module, Tensor, Tensor], Tensor]


@contextmanager
def lookups(model: nn.Module, change: Change | None = None) -> Iterator[list[EmbeddingLookup]]:
    """Make the rows that a model looks up for its input ids leaves of the graph, listed in the order of the lookups.

    Raises:
        ModelError: the model does not name the module that looks its ids up, or uses it in another way.
    """
    tables = word_tables(model)
    if not tables:
        raise ModelError(
            f"{type(model).__name__} has no get_input_embeddings() that returns its table of input ids, so it has no "
            f"gradient by a token"
        )
    looked_up: list[EmbeddingLookup] = []

    def make_leaf(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Tensor:
        ids = next((x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)), None)
        if not isinstance(output, Tensor) or ids is None or output.shape[:-1] != ids.shape or output.dim() != 3:
            raise ModelError(f"the embedding table {type(module).__name__} does not return a row for each id")
        whole = output.detach()
        rows = whole if change is None else change(len(looked_up), module, ids, whole)
        leaf = rows.detach().requires_grad_(torch.is_grad_enabled())
        looked_up.append(EmbeddingLookup(module, ids, leaf, whole))
        return leaf.clone()  # some models scale it in place

    hooks = [module.register_forward_hook(make_leaf, with_kwargs=True) for module in tables]
    try:
        yield looked_up
    finally:
        for hook in hooks:
            hook.remove()
    if not looked_up:
        raise ModelError(
            f"{type(model).__name__} does not call the table that get_input_embeddings() names, so it has no gradient "
            f"by a token"
        )


def origins(passes: Passes, inputs: dict[str, Tensor], looked_up: list[EmbeddingLookup]) -> list[Tensor]:
    """Return for each lookup of one text the index of the id of each row, flat, or -1 for none.

    Lookups of other ids than the input ids (a decoder shifts them) are traced in a plain pass, which is counted.
    """
    ids = inputs["input_ids"]
    if all(torch.equal(lookup.ids, ids) for lookup in looked_up):
        return [torch.arange(ids.shape[1], device=ids.device)] * len(looked_up)
    traced: list[Tensor] = []

    def note(_: int, module: nn.Module, row_ids: Tensor, rows: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():
            known = token_tracking.origin(row_ids)
            traced.append((torch.full_like(row_ids, -1) if known is None else known).flatten())
        return rows

    with torch.no_grad(), lookups(passes.model, note), _Following():
        passes.ran(passes.model(**{**inputs, "input_ids": token_tracking.mark_ids(ids)}))
    return traced


class _Following(TorchFunctionMode):
    """Tracks which input ids integers come from while a model runs."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        written = args[0] if args and operations.is_in_place(func) else out
        if isinstance(written, Tensor):
            token_tracking.follow(func, operations.KINDS.get(func), args, kwargs, written)
        return out


def gradient_norm(passes: Passes, seed: int) -> list[float]:
    """Return the Euclidean norm of the gradient by each token's embedding, which has no sign."""
    with passes.running() as inputs:
        looked_up, gradients = _gradients(passes, inputs)
        total = torch.zeros(inputs["input_ids"].shape[1], looked_up[0].rows.shape[-1], dtype=torch.float64)
        for origin, gradient in zip(origins(passes, inputs, looked_up), gradients, strict=True):
            total += _credited(origin, gradient.double().flatten(0, 1).cpu(), total.shape[0])
    norms: list[float] = total.norm(dim=-1).tolist()
    return norms


def gradient_x_input(passes: Passes, seed: int) -> list[float]:
    """Return the gradient by each token's embedding times the embedding (Shrikumar et al. 2016; Denil et al. 2014)."""
    with passes.running() as inputs:
        looked_up, gradients = _gradients(passes, inputs)
        products = [
            (lookup.rows.detach().double() * gradient.double()).sum(-1).flatten().cpu()
            for lookup, gradient in zip(looked_up, gradients, strict=True)
        ]
        return summed(passes, origins(passes, inputs, looked_up), products)


def integrated_gradients(passes: Passes, seed: int, steps: int, reference: str | None) -> list[float]:
    """Return integrated gradients (Sundararajan et al. 2017) from a reference to the text, by Gauss-Legendre.

    In the reference, each token is the mask or the padding token, or its embedding is zero; special tokens stay, and
    get zero. The scores add up to the logit's gain from the reference to the text, up to the error of the steps.
    """
    kind, replaced = passes.replacement(reference, ("mask", "zero"))
    points, weights = numpy.polynomial.legendre.leggauss(steps)
    along = torch.tensor((points + 1) / 2)
    shares = torch.tensor(weights / 2)
    together = passes.reads_batches
    with passes.running() as inputs:
        ids = inputs["input_ids"]
        looked_up, origin, differences = way(passes, inputs, kind, replaced)
        totals = [torch.zeros_like(difference, dtype=torch.float64) for difference in differences]
        # Steps share a batch only if its first dimension is that of texts.
        together &= ids.shape[1] > 1 and all(lookup.ids.shape[0] == 1 for lookup in looked_up)
        size = max(1, min(ROWS, IDS_BACK // ids.shape[1])) if together else 1
        for chosen in torch.arange(steps).split(size):
            back, share = (x[chosen].to(ids.device)[:, None, None] for x in (1 - along, shares))

            def change(number: int, module: nn.Module, row_ids: Tensor, rows: Tensor, back: Tensor = back) -> Tensor:
                return rows - back.to(rows.dtype) * differences[number]

            rows = {key: value.expand(len(chosen), -1) for key, value in inputs.items()}
            _, gradients = _gradients(passes, rows, change)
            for total, gradient in zip(totals, gradients, strict=True):
                weighted = share * gradient.double()
                total += weighted.sum(0, keepdim=True) if together else weighted
        products = [
            (difference.double() * total).sum(-1).flatten().cpu()
            for difference, total in zip(differences, totals, strict=True)
        ]
        return summed(passes, origin, products)


def way(
    passes: Passes, inputs: dict[str, Tensor], kind: str, replaced: int | None
) -> tuple[list[EmbeddingLookup], list[Tensor], list[Tensor]]:
    """Run the model once, and return its lookups, the ids of their rows, and the rows less their references."""
    with torch.no_grad(), lookups(passes.model) as looked_up:
        passes.keep_logits(passes.ran(passes.model(**inputs))[0])
    origin = origins(passes, inputs, looked_up)
    fixed = torch.tensor(passes.encoding.special, device=inputs["input_ids"].device)
    pairs = zip(looked_up, origin, strict=True)
    return looked_up, origin, [_difference(lookup, at, fixed, kind, replaced) for lookup, at in pairs]


def _difference(lookup: EmbeddingLookup, origin: Tensor, fixed: Tensor, kind: str, replaced: int | None) -> Tensor:
    """Return the rows of a text less those of its reference."""
    moves = ((origin >= 0) & ~fixed[origin.clamp_min(0)]).view(*lookup.ids.shape, 1)
    reference = torch.zeros_like(lookup.whole)
    if kind != "zero":
        reference = lookup.module.forward(torch.full_like(lookup.ids, int(replaced or 0))).detach()
    return (lookup.whole - reference) * moves


def _gradients(
    passes: Passes, inputs: dict[str, Tensor], change: Change | None = None
) -> tuple[list[EmbeddingLookup], tuple[Tensor, ...]]:
    """Run the model forward and back, and return its lookups and the gradients of their rows."""
    batch = inputs["input_ids"].shape[0]
    with lookups(passes.model, change) as looked_up:
        logits = passes.ran(passes.model(**inputs), batch, back=True)
    if change is None:
        passes.keep_logits(logits[0])
    return looked_up, row_gradients(passes.model, passes.explained(logits).sum(), looked_up)


def row_gradients(model: nn.Module, explained: Tensor, looked_up: list[EmbeddingLookup]) -> tuple[Tensor, ...]:
    """Return the gradient of a sum of logits by the rows of each lookup, in the shape of the rows.

    Raises:
        ModelError: the logits do not depend on the rows.
    """
    if not explained.requires_grad:
        raise ModelError(
            f"the logits of {type(model).__name__} do not depend on the table that get_input_embeddings() names, so "
            f"they have no gradient by a token"
        )
    return torch.autograd.grad(explained, [lookup.rows for lookup in looked_up], materialize_grads=True)


def _credited(origin: Tensor, values: Tensor, count: int) -> Tensor:
    """Return the sum of values for each id, ``[count, ...]``; values without an id are left out."""
    origin = origin.cpu()
    known = origin >= 0
    return torch.zeros(count, *values.shape[1:], dtype=values.dtype).index_add(0, origin[known], values[known])


def summed(passes: Passes, origin: list[Tensor], products: list[Tensor]) -> list[float]:
    """Return the score of each id: the sum over the lookups."""
    total = torch.zeros(len(passes.encoding.input_ids), dtype=torch.float64)
    for at, values in zip(origin, products, strict=True):
        total += _credited(at, values, len(total))
    scores: list[float] = total.tolist()
    return scores
