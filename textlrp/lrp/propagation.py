"""One forward, one backward: multipliers in, relevance and ledger out."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from textlrp.basics.options import brief
from textlrp.errors import InputError, LRPError, ModelError, error_summary, first_line
from textlrp.guard.model_guard import contained, copied
from textlrp.guard.randomness import Draws
from textlrp.lrp.attempt import explained
from textlrp.lrp.hidden import capture as captures
from textlrp.lrp.hidden import states
from textlrp.lrp.request import Options, Request, Target, Targets, references, several
from textlrp.lrp.result import Propagation
from textlrp.results.ledger import mean
from textlrp.rules import Rules, as_rules


def propagate(
    model: nn.Module,
    target: Target = None,
    rules: Rules | str = "attnlrp",
    *,
    special_tokens_mask: Tensor | None = None,
    capture: Sequence[str] = (),
    keep: Mapping[str, Any] | None = None,
    reference: Any = None,
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
        capture: the paths of modules whose output activations, multipliers and relevances to return (``captured``).
        keep: by the path of a module, the channels (of the last dimension of its output) or the mask whose relevance
            goes on from there; the rest of it goes to the ledger's row ``masked`` (concept relevance propagation,
            Achtibat et al. 2023).
        reference: what difference rules measure from: ``"mean"`` (the default: the mean of the embedding table at
            every position that is neither special nor padding), ``"zero"`` (zeros there), a token id there, the ids of
            another text of the same shape, or a list of several of these, over which relevance and ledgers are
            averaged; each costs a pass. Not for rules that measure from zero.
        layers: whether to return the relevance at the hidden states between the blocks (``layers``), with a balanced
            ledger at each.
        checkpointing: whether blocks drop their activations and compute them again in the backward pass, for less
            memory and half as much time again; default: whether the model is set to
            (``activation_checkpointing_enable()`` of transformers), and ``capture``, ``keep`` and ``layers`` are not
            used.
        **model_inputs: ``input_ids`` ``[batch, sequence]`` and the model's other inputs. Padding gets no relevance:
            relevance that reaches it all the same (by a convolution at the edge of a document, say) goes to the row for
            special tokens.

    Raises:
        InputError: the inputs or the target do not fit.
        ModelError: the model fails on the inputs with an error other than KeyError, TypeError or MemoryError.
        UnsupportedOperationError: the model runs an operation without a rule.
        UnbalancedLedgerError: the ledger of a document does not add up to its logit.
        NonFiniteError: a NaN or an infinity occurred.
    """
    options = Options(rules, special_tokens_mask, capture, keep or {}, layers, checkpointing, reference=reference)
    try:
        (propagation,) = run(model, (target,), options, model_inputs)
    except (LRPError, KeyError, TypeError, MemoryError):
        raise
    except IndexError as error:
        ids = "input ids" if reference is None else "input ids or of the reference's"
        raise InputError(
            f"{type(model).__name__} has no row for one of its {ids}, or for one of its positions or token types "
            f"({first_line(error)}): give ids of its own vocabulary, no more than it has positions"
        ) from error
    except Exception as error:  # a model may raise anything
        raise ModelError(f"{type(model).__name__} fails on these inputs: {error_summary(error)}") from error
    return propagation


def propagate_targets(
    model: nn.Module,
    targets: Targets,
    rules: Rules | str = "attnlrp",
    *,
    special_tokens_mask: Tensor | None = None,
    reference: Any = None,
    layers: bool = False,
    checkpointing: bool | None = None,
    **model_inputs: Any,
) -> tuple[Propagation, ...]:
    """Carry the relevance of several logits back to the input ids, in one forward pass.

    A backward pass takes as many targets as memory allows, or one where torch cannot map it over several.

    Args:
        model: as :func:`propagate` takes it.
        targets: several targets as :func:`propagate` takes one, or a function that is given the logits
            ``[batch, labels]`` and returns them.
        rules: as :func:`propagate` takes them.
        special_tokens_mask: as :func:`propagate` takes it.
        reference: as :func:`propagate` takes it; one pass of the model on it serves all targets.
        layers: as :func:`propagate` takes it; the targets then go back one by one.
        checkpointing: as :func:`propagate` takes it; the targets then go back one by one, and blocks run again for
            each.
        **model_inputs: as :func:`propagate` takes them.

    Returns:
        One propagation for each target, in order.

    Raises:
        LRPError: as :func:`propagate` raises it; an error that the model itself raises is not converted.
    """
    return run(
        model,
        targets,
        Options(rules, special_tokens_mask, layers=layers, checkpointing=checkpointing, reference=reference),
        model_inputs,
    )


def run(model: nn.Module, targets: Targets, options: Options, model_inputs: dict[str, Any]) -> tuple[Propagation, ...]:
    """Do the work of :func:`propagate_targets`."""
    if not isinstance(model, nn.Module):
        raise ModelError(f"the model must be a torch module, not {brief(model)}")
    targets = targets if callable(targets) else several(targets)
    options = replace(options, rules=as_rules(options.rules))
    _check_inputs(model, options.special_tokens_mask, model_inputs)
    if options.checkpointing and options.observes:
        raise InputError(
            "checkpointing=True drops the activations inside the blocks, which capture=, keep= and layers= need"
        )
    runs = [
        contained(partial(_propagate, model, targets, replace(options, reference=reference), model_inputs))
        for reference in references(options.reference, options.rules, model_inputs["input_ids"])
    ]
    return runs[0] if len(runs) == 1 else tuple(map(averaged, zip(*runs, strict=True)))


def _propagate(
    model: nn.Module, targets: Targets, options: Options, model_inputs: dict[str, Any]
) -> tuple[Propagation, ...]:
    model_inputs = _outside_inference(_without_labels(model, model_inputs))
    with copied(model) as parts:
        if options.checkpointing is None:  # activation_checkpointing_enable() of transformers sets it in the modules
            is_set = any(vars(module).get("gradient_checkpointing") is True for module in parts.modules)
            options = replace(options, checkpointing=is_set and not options.observes)
        request = Request(parts, Draws(options.seed), targets, options, model_inputs)
        propagations = explained(request)
    if propagations is not None:
        return propagations
    # The documents share random numbers, or a tensor whose rows cannot be assigned to them.
    alone = []
    for i in range(request.input_ids.shape[0]):
        with copied(model) as parts:
            propagations = explained(request.alone(i, parts))
        assert propagations is not None
        alone.append(propagations)
    return tuple(map(_joined, zip(*alone, strict=True)))


def _joined(alone: tuple[Propagation, ...]) -> Propagation:
    """Join the propagations of single documents."""
    return Propagation(
        torch.cat([part.relevance for part in alone]),
        tuple(ledger for part in alone for ledger in part.ledgers),
        torch.cat([part.logits for part in alone]),
        torch.cat([part.weights for part in alone]),
        alone[0].met,
        captures.join([part.captured for part in alone]),
        states.join([part.layers for part in alone]),
        None if alone[0].reference_logits is None else torch.cat([_reference_logits(part) for part in alone]),
        {name: torch.cat([part.other_ids[name] for part in alone]) for name in alone[0].other_ids},
        tuple(dict.fromkeys(name for part in alone for name in part.pinned_by)),
    )


def _reference_logits(propagation: Propagation) -> Tensor:
    assert propagation.reference_logits is not None
    return propagation.reference_logits


def averaged(runs: tuple[Propagation, ...]) -> Propagation:
    """Return the mean of propagations that measure from several references."""
    first = runs[0]
    return replace(
        first,
        relevance=torch.stack([run.relevance for run in runs]).mean(0),
        ledgers=tuple(map(mean, zip(*(run.ledgers for run in runs), strict=True))),
        captured=captures.averaged([run.captured for run in runs]),
        layers=states.averaged([run.layers for run in runs]),
        reference_logits=torch.stack([_reference_logits(run) for run in runs]).mean(0),
        pinned_by=tuple(dict.fromkeys(name for run in runs for name in run.pinned_by)),
    )


#: The names that a misspelled option may stand for; the model takes all others.
_OPTIONS = ("target", "rules", "special_tokens_mask", "reference", "capture", "keep", "layers", "checkpointing")


@cache
def _option_meant(name: str) -> str | None:
    """Return the option that a name is close to, or None: most names are those of inputs, the same in each call."""
    return "capture" if name == "at" else next(iter(difflib.get_close_matches(name, _OPTIONS, n=1, cutoff=0.75)), None)


def _check_inputs(model: nn.Module, special_tokens_mask: Tensor | None, model_inputs: dict[str, Any]) -> None:
    for name in model_inputs:
        option = _option_meant(name)
        if option is None or name in inspect.signature(model.forward).parameters:
            continue
        if name == "at":
            raise InputError("propagate takes capture=, paths of modules, and keep=, channels by path, in place of at=")
        raise InputError(f"propagate has the option {option}, and {type(model).__name__} takes no {name}")
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
            actual = list(special_tokens_mask.shape) if is_tensor else brief(special_tokens_mask)
            raise InputError(
                f"special_tokens_mask must have the shape of input_ids, {list(input_ids.shape)}, not {actual}"
            )


def _without_labels(model: nn.Module, model_inputs: dict[str, Any]) -> dict[str, Any]:
    """Leave out the labels of a batch, from which transformers computes a loss, unless the model cannot do without."""
    named = inspect.signature(model.forward).parameters.get("labels")
    if "labels" not in model_inputs or (named is not None and named.default is named.empty):
        return model_inputs
    return {key: value for key, value in model_inputs.items() if key != "labels"}


def _outside_inference(model_inputs: dict[str, Any]) -> dict[str, Any]:
    """Copy tensors that were made in inference mode, which autograd cannot save for the backward pass."""
    return {
        key: value.clone() if isinstance(value, Tensor) and value.is_inference() else value
        for key, value in model_inputs.items()
    }
