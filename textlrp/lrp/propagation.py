"""One forward, one backward: multipliers in, relevance and ledger out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from textlrp.basics.options import brief
from textlrp.errors import (
    InputError,
    LRPError,
    ModelError,
    NonFiniteError,
    UnbalancedLedgerError,
    UnsupportedOperationError,
    first_line,
    said,
)
from textlrp.lrp import coverage, diagnosis
from textlrp.lrp.checkpointing import asked_for
from textlrp.lrp.dispatch import Interception
from textlrp.lrp.hidden import capture as latent
from textlrp.lrp.hidden import states
from textlrp.lrp.hidden.capture import At, Latent, Watch
from textlrp.lrp.hidden.states import Hidden, Inside
from textlrp.lrp.model_guard import contained, copied
from textlrp.lrp.randomness import Draws
from textlrp.lrp.request import Call, logits_of
from textlrp.lrp.targets import Target, Targets, several
from textlrp.results.ledger import ROUNDOFF, SPECIAL_TOKENS, TOKENS, TOLERANCES, Ledger
from textlrp.rules import Rules, as_rules

#: How many ids times targets pass back at once: beyond a few hundred rows, matrix products run at full speed. The pass
#: holds the multipliers of one layer for them, tens of MiB in a base model; long documents go back one by one.
_AT_ONCE = 1024

#: What autograd says where a model has written over what was kept for the backward pass.
_WRITTEN = "modified by an inplace operation"


@dataclass(frozen=True)
class Propagation:
    """What was found for one target.

    Attributes:
        relevance: ``[batch, sequence]``, one value per input id in logit units; float32 (float64 for float64 models).
        ledgers: one balanced ledger per document.
        logits: ``[batch, labels]``, as the model computed them.
        weights: ``[batch, labels]``: the explained quantity is ``sum(weights * logits)`` of each document.
        met: how often each operation met which rule.
        latent: by module path, what was seen at its output, one for each time that the module ran.
        layers: what was found at each hidden state, from the embeddings up, where that was asked for.
    """

    relevance: Tensor
    ledgers: tuple[Ledger, ...]
    logits: Tensor
    weights: Tensor
    met: dict[tuple[str, str], int] = field(default_factory=dict, repr=False)
    latent: dict[str, tuple[Latent, ...]] = field(default_factory=dict, repr=False)
    layers: tuple[Hidden, ...] = field(default=(), repr=False)


def propagate(
    model: nn.Module,
    target: Target = None,
    rules: Rules | str = "attnlrp",
    *,
    special_tokens_mask: Tensor | None = None,
    at: At = (),
    layers: bool = False,
    checkpointing: bool | None = None,
    **model_inputs: Any,
) -> Propagation:
    """Carry the relevance of a logit back to the input ids.

    Args:
        model: a classifier that takes ``input_ids`` and returns logits ``[batch, labels]``, as ``.logits``, first of a
            tuple, or alone. It is left exactly as it was, and other threads can use it meanwhile.
        target: a label index for all documents, one index per document, a float tensor ``[labels]`` or
            ``[batch, labels]`` that weighs the logits (``+1`` and ``-1`` explain a difference), or None for the
            predicted label. A function is given the logits and returns such weights.
        rules: a preset's name or :class:`textlrp.Rules`.
        special_tokens_mask: ``[batch, sequence]``, nonzero at special tokens, whose relevance has a row of its own.
        at: the paths of modules at whose outputs activation, multiplier and relevance are wanted (``latent``). In a
            mapping, each with the channels (of the last dimension) or the mask whose relevance goes on from there;
            the rest of it goes to the ledger's row ``masked`` (concept relevance propagation, Achtibat et al. 2023).
        layers: whether to look at the hidden states between the blocks (``layers``), with balanced books at each.
        checkpointing: whether blocks forget their activations and compute them again on the way back, for less memory
            and half as much time again; default: whether the model was told so
            (``activation_checkpointing_enable()`` of transformers), and neither ``at`` nor ``layers`` looks into them.
        **model_inputs: ``input_ids`` ``[batch, sequence]`` and whatever else the model takes. Padding gets no
            relevance: what a model takes from it all the same (a convolution at the edge of a document, say) goes to
            the row for special tokens.

    Raises:
        InputError: the inputs or the target do not fit.
        ModelError: the model fails on the inputs, in an error that is no KeyError, TypeError or MemoryError.
        UnsupportedOperationError: the model runs an operation without a rule.
        UnbalancedLedgerError: the ledger of a document does not add up to its logit.
        NonFiniteError: a NaN or an infinity turned up.
    """
    options = Options(rules, special_tokens_mask, at, layers, checkpointing)
    try:
        (found,) = run(model, (target,), options, model_inputs)
    except (LRPError, KeyError, TypeError, MemoryError):
        raise
    except IndexError as error:
        raise InputError(
            f"{type(model).__name__} has no row for one of its input ids, or for one of its positions or token types "
            f"({first_line(error)}): give ids of its own vocabulary, no more than it has positions"
        ) from error
    except Exception as error:  # whatever a model raises
        raise ModelError(f"{type(model).__name__} fails on these inputs: {said(error)}") from error
    return found


def propagate_targets(
    model: nn.Module,
    targets: Targets,
    rules: Rules | str = "attnlrp",
    *,
    special_tokens_mask: Tensor | None = None,
    layers: bool = False,
    checkpointing: bool | None = None,
    **model_inputs: Any,
) -> tuple[Propagation, ...]:
    """Carry the relevance of several logits back to the input ids, in one forward pass.

    A backward pass takes as many targets as memory allows, or one where torch cannot map it over several.

    Args:
        model: as :func:`propagate` takes it.
        targets: what :func:`propagate` takes as a target, several of them, or a function that is given the logits
            ``[batch, labels]`` and returns them.
        rules: as :func:`propagate` takes them.
        special_tokens_mask: as :func:`propagate` takes it.
        layers: as :func:`propagate` takes it; the targets then go back one by one.
        checkpointing: as :func:`propagate` takes it; the targets then go back one by one, and blocks run again for
            each.
        **model_inputs: as :func:`propagate` takes them.

    Returns:
        One propagation for each target, in order.

    Raises:
        LRPError: as :func:`propagate` raises it.
    """
    return run(model, targets, Options(rules, special_tokens_mask, (), layers, checkpointing), model_inputs)


@dataclass(frozen=True)
class Options:
    """How relevance is propagated: what :func:`propagate` takes, and what the model's random numbers start from."""

    rules: Rules | str
    special_tokens_mask: Tensor | None = None
    at: At = ()
    layers: bool = False
    checkpointing: bool | None = None
    seed: int | None = None


def run(model: nn.Module, targets: Targets, options: Options, model_inputs: dict[str, Any]) -> tuple[Propagation, ...]:
    """Do what :func:`propagate_targets` says."""
    if not isinstance(model, nn.Module):
        raise ModelError(f"what is explained is a torch module, not {brief(model)}")
    rules, targets = as_rules(options.rules), targets if callable(targets) else several(targets)
    _check_inputs(options.special_tokens_mask, model_inputs)
    if options.checkpointing and (options.at or options.layers):
        raise InputError("checkpointing=True lets go of what is inside the blocks, where at= and layers= look")
    return contained(partial(_propagate, model, targets, rules, options, model_inputs))


def _propagate(
    model: nn.Module, targets: Targets, rules: Rules, options: Options, model_inputs: dict[str, Any]
) -> tuple[Propagation, ...]:
    at, layers, checkpointing = options.at, options.layers, options.checkpointing
    inputs = _outside_inference(model_inputs)
    with copied(model) as parts:
        if checkpointing is None:
            checkpointing = not at and not layers and asked_for(parts)
        draws, special = Draws(options.seed), options.special_tokens_mask
        call = Call(parts, draws, targets, rules, special, inputs, at, layers, checkpointing)
        found = _run(call)
    if found is not None:
        return found
    # The documents share a tensor whose rows cannot be told apart, or random numbers: right before fast.
    alone = []
    for i in range(call.input_ids.shape[0]):
        with copied(model) as parts:
            part = _run(replace(call.alone(i), parts=parts))
        assert part is not None
        alone.append(part)
    return tuple(map(_joined, zip(*alone, strict=True)))


def _joined(alone: tuple[Propagation, ...]) -> Propagation:
    """Put the propagations of single documents together."""
    return Propagation(
        torch.cat([part.relevance for part in alone]),
        tuple(ledger for part in alone for ledger in part.ledgers),
        torch.cat([part.logits for part in alone]),
        torch.cat([part.weights for part in alone]),
        alone[0].met,
        latent.join([part.latent for part in alone]),
        states.join([part.layers for part in alone]),
    )


def _check_inputs(special_tokens_mask: Tensor | None, model_inputs: dict[str, Any]) -> Tensor:
    if model_inputs.get("inputs_embeds") is not None:
        raise InputError("textlrp explains input ids: pass input_ids, not inputs_embeds")
    input_ids = model_inputs.get("input_ids")
    if (
        not isinstance(input_ids, Tensor)
        or input_ids.is_floating_point()
        or input_ids.dtype == torch.bool
        or input_ids.dim() != 2
        or not input_ids.numel()
    ):
        shape = f" of shape {list(input_ids.shape)}" if isinstance(input_ids, Tensor) else ""
        raise InputError(
            f"input_ids must be a tensor of integers [batch, sequence], not {type(input_ids).__name__}{shape}"
        )
    if special_tokens_mask is not None:
        is_tensor = isinstance(special_tokens_mask, Tensor)
        if not is_tensor or special_tokens_mask.shape != input_ids.shape:
            given = list(special_tokens_mask.shape) if is_tensor else brief(special_tokens_mask)
            raise InputError(
                f"special_tokens_mask must have the shape of input_ids, {list(input_ids.shape)}, not {given}"
            )
    return input_ids


def _outside_inference(model_inputs: dict[str, Any]) -> dict[str, Any]:
    """Copy what was made in inference mode, which autograd cannot keep for the backward pass."""
    return {
        key: value.clone() if isinstance(value, Tensor) and value.is_inference() else value
        for key, value in model_inputs.items()
    }


def _run(call: Call) -> tuple[Propagation, ...] | None:
    """Explain a batch, or return None if its documents have to be taken one at a time."""
    model, model_inputs, batch = call.parts.model, call.model_inputs, call.input_ids.shape[0]
    watch = Watch(model, call.at) if call.at else None
    looking = Inside(model) if call.layers else None
    interception = call.interception(watch, looking)
    found: list[Propagation] = []
    call.draws.rewind()  # where a batch is explained in another way, with the random numbers of the first
    with torch.enable_grad(), interception:
        output = model(**{**model_inputs, "input_ids": interception.input_ids})
        with torch._C.DisableTorchFunction():
            logits = logits_of(output, batch)
            del output  # caches and hidden states need not outlive the forward pass
            if interception.sampled and batch > 1:
                return None
            # On an accelerator this waits for the end of the pass, where the host waits anyway.
            if (logits.is_cpu or callable(call.targets)) and not logits.isfinite().all():
                raise NonFiniteError(diagnosis.non_finite(model, model_inputs))
            if not interception.looked_up:
                raise UnsupportedOperationError(
                    f"{type(model).__name__} never looked its input ids up in an embedding table of its own, so no "
                    f"relevance can reach a token"
                )
            weights = call.weights(logits, interception.relevance.dtype)
            ruleless = logits.requires_grad and coverage.ruleless(logits.grad_fn, interception.products)
        met = interception.met
        again = None
        at_once = 1 if call.layers else max(1, _AT_ONCE // call.input_ids.numel())
        while len(found) < len(weights) and not ruleless:
            several = weights[len(found) : len(found) + at_once]
            last = len(found) + len(several) == len(weights)
            try:
                arrived, rows = interception.backward(logits, several, last)
            except Exception as error:
                if len(several) == 1 and call.checkpointing:  # a block that cannot run again, whatever it says of it
                    again = replace(call, checkpointing=False)
                    break
                if len(several) == 1 and call.frugal and _WRITTEN in str(error):
                    again = replace(call, frugal=False)
                    break
                if len(several) == 1 or not isinstance(error, RuntimeError):
                    raise
                at_once = 1  # no number came of what torch could not map; an error of the pass itself comes again
                continue
            with torch._C.DisableTorchFunction():
                layers = () if looking is None else looking.found()
                rounding = _rounding(call, interception)
                found += _close(call, logits, several, arrived, rows, met, layers, rounding)
    if again is not None:
        return _run(again)
    if ruleless:
        raise diagnosis.hidden_operations(model, model_inputs, call.interception()) or UnsupportedOperationError(
            "an operation of the model met no rule, and a second run did not show which"
        )
    ledgers = [ledger for each in found for ledger in each.ledgers]
    if not all(math.isfinite(ledger.logit) for ledger in ledgers):
        raise NonFiniteError(diagnosis.non_finite(model, model_inputs))
    ledgers += [ledger for each in found for layer in each.layers for ledger in layer.ledgers]
    if batch > 1 and (interception.books.mixed or not all(ledger.balanced for ledger in ledgers)):
        return None
    for ledger in ledgers:
        try:
            ledger.check()
        except NonFiniteError as error:
            smaller = call.smaller()
            if smaller is not None:
                return _run(smaller)
            raise NonFiniteError(f"the backward pass overflowed: {error}; try dtype=torch.float32") from None
        except UnbalancedLedgerError as error:
            if call.checkpointing:  # a block that does something else when it runs again
                return _run(replace(call, checkpointing=False))
            if call.fused and any("attention" in name for name, _ in met):
                return _run(replace(call, fused=False))
            hidden = diagnosis.hidden_operations(model, model_inputs, call.interception())
            if hidden is not None:
                raise hidden from None
            rules_met = sorted({f"{name}: {rule}" for name, rule in met})
            raise UnbalancedLedgerError(f"{error}. Operations met: {'; '.join(rules_met)}") from None
    return tuple(found) if watch is None else tuple(replace(each, latent=watch.found()) for each in found)


def _rounding(call: Call, interception: Interception) -> list[float]:
    """Return how far rounding moves the attention weights of each document, as a share of them."""
    scores = interception.scores
    if scores is None or scores.largest is None:
        return [0.0] * call.input_ids.shape[0]
    return (scores.largest * ROUNDOFF[call.precision]).tolist()


def _close(
    call: Call,
    logits: Tensor,
    weights: list[Tensor],
    arrived: Tensor,
    rows: dict[str, Tensor],
    met: dict[tuple[str, str], int],
    layers: tuple[Hidden, ...],
    rounding: list[float],
) -> list[Propagation]:
    """Add up what arrived at the ids and what was posted: for each target, one ledger for each document."""
    logits = logits.detach()
    arrived = arrived.reshape(-1, *call.input_ids.shape)
    padding, special_tokens_mask = call.padding(), call.special_tokens_mask
    relevance, apart = arrived, padding
    if padding is not None:
        rows[SPECIAL_TOKENS] = rows.get(SPECIAL_TOKENS, 0) + (arrived * padding).sum(-1)
        relevance = arrived.masked_fill(padding, 0.0)
    words = relevance
    if special_tokens_mask is not None:
        special = special_tokens_mask.to(relevance).bool()
        apart = special if padding is None else padding | special
        words = relevance.masked_fill(special, 0.0)
        rows[SPECIAL_TOKENS] = rows.get(SPECIAL_TOKENS, 0) + (relevance * special).sum(-1)
    rows[TOKENS] = words.sum(-1)
    explained = torch.stack([(logits.to(arrived.dtype) * each).sum(-1) for each in weights])
    # What is read comes to the host in one piece: on an accelerator, each number by itself would be waited for.
    read = torch.stack([explained, words.abs().sum(-1), *rows.values()]).tolist()
    (explained_values, magnitudes), values = read[:2], dict(zip(rows, read[2:], strict=True))
    tolerance = TOLERANCES[call.precision]
    if layers:
        nowhere = torch.zeros_like(relevance[0], dtype=torch.bool)
        layers = tuple(
            each.close(explained_values[0], tolerance, nowhere if apart is None else apart) for each in layers
        )
    return [
        Propagation(
            relevance[t],
            tuple(
                Ledger({key: row[t][i] for key, row in values.items()}, logit, tolerance, magnitudes[t][i], rounding[i])
                for i, logit in enumerate(explained_values[t])
            ),
            logits,
            each,
            met,
            layers=layers,
        )
        for t, each in enumerate(weights)
    ]
