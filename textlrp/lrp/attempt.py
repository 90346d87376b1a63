"""Attempts at an explanation: one forward pass and its backward passes, by the first of several plans that works."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from textlrp.errors import LRPError, NonFiniteError, UnbalancedLedgerError, UnsupportedOperationError
from textlrp.guard import torch_internals
from textlrp.lrp import coverage, diagnosis, pinning, reference
from textlrp.lrp.attention_scores import ScoreSizes
from textlrp.lrp.checkpointing import Checkpoints
from textlrp.lrp.context import Context, Observer
from textlrp.lrp.dispatch import Interception
from textlrp.lrp.hidden.capture import Capture
from textlrp.lrp.hidden.states import HiddenState, HiddenStates
from textlrp.lrp.module_rules import ModuleRules
from textlrp.lrp.request import Request, logits_of
from textlrp.lrp.result import Propagation
from textlrp.results.ledger import (
    OTHER_IDS,
    ROUNDOFF,
    SPECIAL_TOKENS,
    TOKENS,
    TOLERANCES,
    Ledger,
)

#: The most ids times targets in one backward pass: beyond a few hundred rows, matrix products run at full speed. The
#: pass holds their multipliers of one layer, tens of MiB in a base model; long documents go one by one.
_AT_ONCE = 1024

#: The dtypes whose rounding moves attention weights by more than a reader would expect.
_COARSE = ("float16", "bfloat16")
_SCALES = (2.0**8, 1.0, 2.0**-8)


@dataclass(frozen=True)
class Plan:
    """One way to explain a model; all give the same relevance where they work.

    Attributes:
        checkpointing: blocks drop their activations and run again in the backward pass.
        copies: all that is kept for the backward pass is copied, because the model overwrites its activations.
        fused: attention goes through the backward of the fused kernel.
        scales: factors of the multipliers in the backward pass. The first keeps float16 from losing their digits; the
            others are for multipliers that overflow.
    """

    checkpointing: bool
    copies: bool = False
    fused: bool = True
    scales: tuple[float, ...] = (1.0,)


class _BackwardFailed(Exception):
    """The backward pass raised the error that is its cause."""


class _Overflowed(Exception):
    """The ledger of the backward pass holds a NaN or an infinity, as the error that is its cause says."""


class _Unbalanced(Exception):
    """The ledger does not balance, as the error that is its cause says."""


def explained(request: Request) -> tuple[Propagation, ...] | None:
    """Explain a batch by the first plan that works, or return None if its documents must be explained one by one.

    Raises:
        LRPError: no plan works; the error is that of the last one.
    """
    plan = Plan(bool(request.options.checkpointing), scales=_SCALES if request.precision == "float16" else (1.0,))
    while True:
        try:
            return _attempt(request, plan)
        except (_BackwardFailed, _Overflowed, _Unbalanced) as failure:
            following = _next_plan(plan, failure)
            if following is None:
                raise failure.__cause__ from None  # type: ignore[misc]
            plan = following


def _next_plan(plan: Plan, failure: Exception) -> Plan | None:
    """Return the plan to try after a failure, or None if no other plan would help."""
    plans = (
        # A block cannot run again, or then computes something else.
        (plan.checkpointing and not isinstance(failure, _Overflowed), replace(plan, checkpointing=False)),
        # The model overwrites its activations.
        (not plan.copies and isinstance(failure, _BackwardFailed), replace(plan, copies=True)),
        (len(plan.scales) > 1 and isinstance(failure, _Overflowed), replace(plan, scales=plan.scales[1:])),
        # If scores are huge, the kernel's backward computes other weights than its forward.
        (plan.fused and isinstance(failure, _Unbalanced), replace(plan, fused=False)),
    )
    return next((following for helps, following in plans if helps), None)


def _interception(request: Request, plan: Plan, observers: tuple[Observer, ...] = ()) -> Interception:
    parts, rules = request.parts, request.options.rules
    double = request.precision == "float64"
    observers = (
        *((ModuleRules(parts.model, rules),) if rules.overrides else ()),
        *observers,
        *((Checkpoints(parts.model),) if plan.checkpointing else ()),
    )
    context = Context(
        parts,
        rules,
        request.input_ids,
        torch.float64 if double else torch.float32,
        request.draws,
        fused=plan.fused,
        whole_gates=not request.options.observes,
        observers=observers,
        reference=request.reference_run(),
        others=sum(ids.numel() for ids in request.other_ids.values()),
    )
    context.scale = plan.scales[0]
    if request.precision in _COARSE:
        context.scores = ScoreSizes(request.input_ids.shape[0])
    return Interception(context, {"input_ids": request.input_ids, **request.other_ids}, widen=double)


def _attempt(request: Request, plan: Plan) -> tuple[Propagation, ...] | None:
    model, model_inputs, batch = request.parts.model, request.model_inputs, request.input_ids.shape[0]
    options = request.options
    capture = Capture(model, options.capture, options.keep) if options.capture or options.keep else None
    hidden = HiddenStates(model) if options.layers else None
    interception = _interception(request, plan, tuple(o for o in (capture, hidden) if o is not None))
    context = interception.context
    propagations: list[Propagation] = []
    request.draws.rewind()  # every plan draws the same random numbers
    copies = torch.autograd.graph.saved_tensors_hooks(Tensor.clone, lambda x: x) if plan.copies else nullcontext()
    with torch.enable_grad(), interception, copies:
        output = model(**{**model_inputs, **interception.ids})
        with torch._C.DisableTorchFunction():
            logits = logits_of(output, batch)
            logits_r = None if context.reference is None else reference.value(logits).detach()
            del output  # caches and hidden states need not outlive the forward pass
            if context.sampled and batch > 1:
                return None
            # On an accelerator this waits for the end of the pass, where the host waits anyway.
            if (logits.is_cpu or callable(request.targets)) and not logits.isfinite().all():
                raise NonFiniteError(diagnosis.non_finite(model, model_inputs))
            if not context.looked_up:
                raise UnsupportedOperationError(
                    f"{type(model).__name__} never looked its input ids up in an embedding table of its own, so no "
                    f"relevance can reach a token"
                )
            if not logits.requires_grad and context.reference is None:
                raise UnsupportedOperationError(diagnosis.no_gradient(type(model).__name__, context.met))
            weights = request.weights(logits, context.postings.dtype)
            context.logits_of_reference = logits_r
            ruleless = logits.requires_grad and coverage.ruleless(logits.grad_fn, context.products)
        met = context.met  # before blocks run again in the backward pass
        at_once = 1 if hidden is not None else max(1, _AT_ONCE // request.input_ids.numel())
        while len(propagations) < len(weights) and not ruleless:
            chunk = weights[len(propagations) : len(propagations) + at_once]
            last = len(propagations) + len(chunk) == len(weights)
            try:
                arrived, rows = _backward(interception, logits, chunk, last)
            except LRPError:
                raise
            except Exception as error:
                if len(chunk) == 1 or not isinstance(error, RuntimeError):
                    if plan.checkpointing or (isinstance(error, RuntimeError) and not plan.copies):
                        raise _BackwardFailed from error
                    raise
                at_once = 1  # torch cannot map this pass over several targets; any other error comes again
                continue
            with torch._C.DisableTorchFunction():
                layers = () if hidden is None else hidden.states()
                propagations += _close(request, context, logits, chunk, arrived, rows, met, layers)
    if ruleless:
        raise _hidden_operations(request, plan) or UnsupportedOperationError(
            "an operation of the model has no rule, and a second run did not show which"
        )
    if not all(math.isfinite(ledger.logit) for propagation in propagations for ledger in propagation.ledgers):
        raise NonFiniteError(diagnosis.non_finite(model, model_inputs))
    if batch > 1 and (context.postings.mixed or not all(map(_balances, propagations))):
        return None
    for propagation in propagations:
        _check(request, plan, propagation)
    if context.reference is not None and logits_r is not None:
        pinned = pinning.pinned(request, context, logits, logits_r)
        if any(pinned):
            propagations = [pinning.renamed(propagation, pinned, context.beside.pinned) for propagation in propagations]
    more: dict[str, Any] = {} if capture is None else {"captured": capture.captured()}
    return tuple(replace(propagation, **more, reference_logits=logits_r) for propagation in propagations)


def _ledgers(propagation: Propagation) -> list[Ledger]:
    """Return the ledgers of the ids and of all layers."""
    return [*propagation.ledgers, *(ledger for layer in propagation.layers for ledger in layer.ledgers)]


def _balances(propagation: Propagation) -> bool:
    return all(ledger.balanced for ledger in _ledgers(propagation))


def _check(request: Request, plan: Plan, propagation: Propagation) -> None:
    """Check the ledgers of a propagation.

    Raises:
        _Overflowed, _Unbalanced: caused by the error to raise if no other plan helps.
    """
    for ledger in _ledgers(propagation):
        try:
            ledger.check()
        except NonFiniteError as error:
            wider = {"float32": "; try dtype=torch.float64", "float64": ""}
            advice = wider.get(request.precision, "; try dtype=torch.float32")
            overflow = NonFiniteError(f"the backward pass overflowed: {error}{advice}")
            raise _Overflowed from overflow
        except UnbalancedLedgerError as error:
            met = propagation.met
            if plan.checkpointing or (plan.fused and any("attention" in name for name, _ in met)):
                raise _Unbalanced from error
            listed = "; ".join(sorted({f"{name}: {rule}" for name, rule in met}))
            hidden: LRPError | None = _hidden_operations(request, plan)
            if hidden is None:
                interception = _interception(request, plan)
                cast = diagnosis.coarser_dtype(
                    request.parts.model, request.model_inputs, interception, request.precision
                )
                hidden = UnbalancedLedgerError(f"{error}{cast}. Rules by operation: {listed}")
            raise hidden from None


def _hidden_operations(request: Request, plan: Plan) -> UnsupportedOperationError | None:
    interception = _interception(request, plan)
    return diagnosis.hidden_operations(request.parts.model, request.model_inputs, interception)


def _backward(
    interception: Interception, logits: Tensor, weights: list[Tensor], last: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Carry the relevance of several targets back in one pass, mapped over the targets.

    Args:
        interception: the active interception.
        logits: ``[batch, labels]``.
        weights: the weights of the logits, ``[batch, labels]`` for each target.
        last: whether the pass may free the graph; a pass mapped over several targets keeps it.

    Returns:
        The relevance of each id, ``[targets, ids]``, and the sum of each heading, ``[targets, batch]``.

    Raises:
        RuntimeError: torch cannot map the pass over several targets. They can still go one by one.
    """
    context, mapped = interception.context, len(weights) > 1
    context.running = False

    def carry(multiplier: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        context.start()
        context.post_reference(multiplier)
        if logits.requires_grad:
            torch_internals.run_backward(logits, multiplier, context.root, keep_graph=mapped or not last)
        return context.relevance, context.postings.rows()

    multipliers = torch.stack(weights).mul_(context.scale).to(logits.dtype)
    if mapped:
        torch_internals.import_for_vmap()
    with torch._C.DisableTorchFunction():
        interception.mapping = mapped
        try:
            if mapped:
                relevance, rows = torch.vmap(carry)(multipliers)
            else:
                relevance, rows = carry(multipliers[0])
                relevance, rows = relevance[None], {heading: row[None] for heading, row in rows.items()}
        finally:
            interception.mapping = False
            if mapped:
                context.start()  # mapped tensors must not outlive the map
    if context.scale == 1.0:
        return relevance, rows
    return relevance / context.scale, {heading: row / context.scale for heading, row in rows.items()}


def _rounding(request: Request, context: Context) -> list[float]:
    """Return how much rounding changes the attention weights of each document, as a share of them."""
    scores = context.scores
    if scores is None or scores.largest is None:
        return [0.0] * request.input_ids.shape[0]
    return (scores.largest * ROUNDOFF[request.precision]).tolist()


def _close(
    request: Request,
    context: Context,
    logits: Tensor,
    weights: list[Tensor],
    arrived: Tensor,
    rows: dict[str, Tensor],
    met: dict[tuple[str, str], int],
    layers: tuple[HiddenState, ...],
) -> list[Propagation]:
    """Add up the relevance of the ids and the postings: for each target, one ledger for each document."""
    logits, rounding = logits.detach(), _rounding(request, context)
    others, at = {}, request.input_ids.numel()
    for name, ids in request.other_ids.items():
        others[name] = arrived[:, at : at + ids.numel()].reshape(-1, *ids.shape)
        rows[OTHER_IDS] = rows.get(OTHER_IDS, 0) + others[name].sum(-1)
        at += ids.numel()
    arrived = arrived[:, : request.input_ids.numel()].reshape(-1, *request.input_ids.shape)
    padding, special_tokens_mask = request.padding(), request.options.special_tokens_mask
    relevance, excluded = arrived, padding
    if padding is not None:
        rows[SPECIAL_TOKENS] = rows.get(SPECIAL_TOKENS, 0) + (arrived * padding).sum(-1)
        relevance = arrived.masked_fill(padding, 0.0)
    words = relevance
    if special_tokens_mask is not None:
        special = special_tokens_mask.to(relevance).bool()
        excluded = special if padding is None else padding | special
        words = relevance.masked_fill(special, 0.0)
        rows[SPECIAL_TOKENS] = rows.get(SPECIAL_TOKENS, 0) + (relevance * special).sum(-1)
    rows[TOKENS] = words.sum(-1)
    explained = torch.stack([(logits.to(arrived.dtype) * weight).sum(-1) for weight in weights])
    # All numbers are read at once: on an accelerator, the host would wait for each one.
    read = torch.stack([explained, words.abs().sum(-1), *rows.values()]).tolist()
    (explained_values, magnitudes), values = read[:2], dict(zip(rows, read[2:], strict=True))
    tolerance = TOLERANCES[request.precision]
    if layers:
        nowhere = torch.zeros_like(relevance[0], dtype=torch.bool)
        excluded = nowhere if excluded is None else excluded
        layers = tuple(layer.close(explained_values[0], tolerance, excluded) for layer in layers)
    return [
        Propagation(
            relevance[t],
            tuple(
                Ledger({key: row[t][i] for key, row in values.items()}, logit, tolerance, magnitudes[t][i], rounding[i])
                for i, logit in enumerate(explained_values[t])
            ),
            logits,
            weight,
            met,
            layers=layers,
            other_ids={name: relevance[t] for name, relevance in others.items()},
        )
        for t, weight in enumerate(weights)
    ]
