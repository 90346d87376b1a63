"""Lookups in embedding tables: where relevance arrives at the tokens, by the rule for embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textlrp.guard.trees import bind, carries
from textlrp.lrp import operations, reference, token_tracking
from textlrp.lrp.context import Context
from textlrp.lrp.decompositions import decomposed
from textlrp.lrp.difference.plain import plain
from textlrp.lrp.reference import ReferenceRun
from textlrp.lrp.surrogate import Saved, Surrogate, rule_backward
from textlrp.results import ledger
from textlrp.rules import LRP0, AlphaBeta, Flat, Gamma, Pass, WSquare, ZPlus

_ARGUMENTS: dict[Any, tuple[str, ...]] = {
    F.embedding: ("input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse"),
    torch.embedding: ("weight", "input", "padding_idx"),
    F.embedding_bag: ("input", "weight"),
    torch.embedding_bag: ("weight", "input"),
}


class Lookup(Surrogate):
    """Rows of an embedding table: ``R_t = sum_d x_td c_td``.

    The rows are looked up again in the backward, so that only the ids are saved.
    """

    @staticmethod
    def forward(ctx: Any, root: Tensor, again: Callable[[], Tensor], arrive: Callable[[Tensor, Tensor], None]) -> Any:
        ctx.again, ctx.arrive = again, arrive
        return again()

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        ctx.arrive(ctx.again(), c)
        return None, None, None


def lookup(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """A row of a table for each index: tokens if the indices come from the input ids."""
    named = bind(_ARGUMENTS[func], args, kwargs)
    index, table = named["input"], named["weight"]
    origin = token_tracking.origin(index)
    if origin is None:
        if context.reference is not None and carries((table,)):
            return plain(context, func, args, kwargs)
        out = func(*args, **kwargs)
        if carries((table,)):
            context.count(func, "plain gradient")
        else:
            token_tracking.mark_heading(out, token_tracking.table_heading(context.parts.model, table))
        return out
    name = operations.name(func)
    if carries((table,)) or token_tracking.is_cut(table):
        raise context.unsupported(f"{name} in a table computed from activations")
    if "embedding_bag" in name:
        return decomposed(context, func, args, kwargs)
    if named.get("max_norm") is not None:
        raise context.unsupported("F.embedding with max_norm, which rewrites the table,")
    if context.numbers == context.shape.numel() or bool((origin < context.shape.numel()).any()):
        context.looked_up, context.origin = True, origin  # otherwise these are the ids of another input
    context.count(func, "relevance of tokens")
    if context.reference is not None:
        return _beside_reference(context, context.reference, index, table)
    rule, postings = context.rules.embedding, context.postings

    def arrive(x: Tensor, c: Tensor) -> None:
        credited = kept_by_lookup(rule, x, table)
        _arrive(context, index, credited, c)
        if credited is not x:
            postings.post(ledger.STABILIZER, (x - credited) * c)

    return Lookup.apply(context.root, lambda: F.embedding(index, table), arrive)


def by_index(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """Return the rows of a table that are selected by input ids (``table[ids]``); None for all other functions."""
    stem = operations.stem(func)
    if stem not in ("__getitem__", "index_select") or not args or kwargs.get("out") is not None:
        return None
    table, index = args[0], args[-1] if stem == "__getitem__" else kwargs.get("index", args[-1])
    if stem == "index_select" and kwargs.get("dim", args[1] if len(args) > 2 else None) != 0:
        return None
    index = index[0] if isinstance(index, tuple) and len(index) == 1 else index
    if not isinstance(index, Tensor) or token_tracking.origin(index) is None:
        return None
    if not table.is_floating_point() or table.dim() != 2:
        return None
    return lookup(context, F.embedding, (index, table), {})


def _arrive(context: Context, index: Tensor, x: Tensor, c: Tensor) -> None:
    """Credit the ids of looked-up rows; ids that were computed from several input ids share equally among these."""
    sources = token_tracking.origins(index)
    for origin in sources:
        context.arrive(origin, x if len(sources) == 1 else x / len(sources), c)


def _beside_reference(context: Context, run: ReferenceRun, index: Tensor, table: Tensor) -> Tensor:
    """Rows of a table, from which the relevance of the ids is their difference to the reference's rows."""
    rows = run.lookup(table, reference.value(index), token_tracking.origins(index))

    def arrive(x: Tensor, c: Tensor) -> None:
        _arrive(context, index, x - rows(), c)

    out: Tensor = Lookup.apply(context.root, lambda: F.embedding(index, table), arrive)
    with torch.no_grad():
        found = rows()
    run.looked_up.append((table, found))
    reference.attach(out, found)
    return out


def kept_by_lookup(rule: Any, x: Tensor, table: Tensor) -> Tensor:
    """Return the part of looked-up rows that a rule credits to their ids: the rows, or a share of each entry.

    A lookup is a linear map of a vector that is 1 at its id and 0 at all others.
    """
    if isinstance(rule, (LRP0, Pass)):
        return x
    if isinstance(rule, WSquare):
        return x.mul(x.square() / (table.square().sum(0) + rule.epsilon))
    if isinstance(rule, Flat):
        return x.div(table.shape[0] + rule.epsilon)
    size: Tensor = x.abs() * (1 + rule.gamma) if isinstance(rule, Gamma) else x.abs()
    stable: Tensor = x * (size / (size + rule.epsilon))
    if isinstance(rule, ZPlus):
        return stable.clamp(min=0)
    if isinstance(rule, AlphaBeta):
        stable = rule.alpha * stable.clamp(min=0) - rule.beta * stable.clamp(max=0)
    return stable
