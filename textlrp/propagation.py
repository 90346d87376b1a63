"""One forward, one backward: multipliers in, relevance and ledger out."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from textlrp import graph
from textlrp.errors import InputError, ModelError, NonFiniteError, UnbalancedLedgerError, UnsupportedOperationError
from textlrp.interception import Interception
from textlrp.ledger import SPECIAL_TOKENS, TOKENS, TOLERANCES, Ledger
from textlrp.rules import Rules, as_rules

#: A label index, one for each document, weights of the logits, or a function from logits to such weights.
Target = int | Sequence[int] | Tensor | Callable[[Tensor], Tensor] | None

_locks: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_locks_guard = threading.Lock()


@dataclass(frozen=True)
class Propagation:
    """What one backward pass found.

    Attributes:
        relevance: ``[batch, sequence]``, one value per input id in logit units; float32 (float64 for float64 models).
        ledgers: one balanced ledger per document.
        logits: ``[batch, labels]``, as the model computed them.
        weights: ``[batch, labels]``: the explained quantity is ``sum(weights * logits)`` of each document.
        met: how often each operation met which rule.
    """

    relevance: Tensor
    ledgers: tuple[Ledger, ...]
    logits: Tensor
    weights: Tensor
    met: dict[tuple[str, str], int] = field(default_factory=dict, repr=False)


def propagate(
    model: nn.Module,
    target: Target = None,
    rules: Rules | str = "attnlrp",
    *,
    special_tokens_mask: Tensor | None = None,
    **model_inputs: Any,
) -> Propagation:
    """Carry the relevance of a logit back to the input ids.

    Args:
        model: a classifier that takes ``input_ids`` and returns logits ``[batch, labels]``, as ``.logits``, first of a
            tuple, or alone. It is left exactly as it was; while it runs, other threads wait.
        target: a label index for all documents, one index per document, a float tensor ``[labels]`` or
            ``[batch, labels]`` that weighs the logits (``+1`` and ``-1`` explain a difference), or None for the
            predicted label. A function is given the logits and returns such weights.
        rules: a preset's name or :class:`textlrp.Rules`.
        special_tokens_mask: ``[batch, sequence]``, nonzero at special tokens, whose relevance has a row of its own.
        **model_inputs: ``input_ids`` ``[batch, sequence]`` and whatever else the model takes.

    Raises:
        InputError: the inputs or the target do not fit.
        UnsupportedOperationError: the model runs an operation without a rule.
        UnbalancedLedgerError: the ledger of a document does not add up to its logit.
        NonFiniteError: a NaN or an infinity turned up.
    """
    rules = as_rules(rules)
    input_ids = _check_inputs(model_inputs)
    with _lock(model), _undisturbed(model):
        state = torch.get_rng_state()
        found = _run(model, target, rules, special_tokens_mask, model_inputs)
        if found is None:
            # The documents share a tensor whose rows cannot be told apart: right before fast.
            parts = []
            for i in range(input_ids.shape[0]):
                torch.set_rng_state(state)
                alone = {key: _row(value, i, input_ids.shape[0]) for key, value in model_inputs.items()}
                mask = None if special_tokens_mask is None else special_tokens_mask[i : i + 1]
                part = _run(model, _target_row(target, i, input_ids.shape[0]), rules, mask, alone)
                assert part is not None
                parts.append(part)
            found = Propagation(
                torch.cat([part.relevance for part in parts]),
                tuple(ledger for part in parts for ledger in part.ledgers),
                torch.cat([part.logits for part in parts]),
                torch.cat([part.weights for part in parts]),
                parts[0].met,
            )
    return found


def _check_inputs(model_inputs: dict[str, Any]) -> Tensor:
    if model_inputs.get("inputs_embeds") is not None:
        raise InputError("textlrp explains input ids: pass input_ids, not inputs_embeds")
    input_ids = model_inputs.get("input_ids")
    if not isinstance(input_ids, Tensor) or input_ids.is_floating_point() or input_ids.dim() != 2 or not input_ids.numel():
        shape = f" of shape {list(input_ids.shape)}" if isinstance(input_ids, Tensor) else ""
        raise InputError(f"input_ids must be a tensor of integers [batch, sequence], not {type(input_ids).__name__}{shape}")
    return input_ids


def _run(
    model: nn.Module, target: Target, rules: Rules, special_tokens_mask: Tensor | None, model_inputs: dict[str, Any]
) -> Propagation | None:
    """Explain a batch, or return None if its documents have to be taken one at a time."""
    input_ids = model_inputs["input_ids"]
    batch = input_ids.shape[0]
    precision = _precision(model)
    dtype = torch.float64 if precision == torch.float64 else torch.float32
    interception = Interception(model, rules, input_ids, dtype)
    with torch.enable_grad(), torch.inference_mode(False), interception:
        output = model(**{**model_inputs, "input_ids": interception.input_ids})
        with torch._C.DisableTorchFunction():
            logits = _logits(output, batch)
            if interception.sampled and batch > 1:
                return None
            if not bool(torch.isfinite(logits).all()):
                raise NonFiniteError(_name_non_finite(model, model_inputs))
            if not interception.looked_up:
                raise UnsupportedOperationError(
                    f"{type(model).__name__} never looked its input ids up in an embedding table of its own, so no "
                    f"relevance can reach a token"
                )
            weights = _weights(target, logits, dtype)
            ruleless = logits.requires_grad and graph.ruleless(logits.grad_fn, interception.products)
            if logits.requires_grad and not ruleless:
                torch.autograd.grad(logits, interception.root, weights.to(logits.dtype), allow_unused=True)
    if ruleless:
        raise _name_ruleless(model, rules, model_inputs, dtype)
    relevance = interception.relevance.view(input_ids.shape)
    books = interception.books
    explained = (logits.detach().to(dtype) * weights).sum(-1)
    rows = books.rows()
    special = special_tokens_mask.to(relevance).bool() if special_tokens_mask is not None else None
    rows[TOKENS] = relevance.sum(-1) if special is None else (relevance * ~special).sum(-1)
    if special is not None:
        rows[SPECIAL_TOKENS] = rows.get(SPECIAL_TOKENS, 0) + (relevance * special).sum(-1)
    values = {heading: row.tolist() for heading, row in rows.items()}
    tolerance = TOLERANCES[str(precision).removeprefix("torch.")]
    ledgers = tuple(
        Ledger({heading: row[i] for heading, row in values.items()}, logit, tolerance)
        for i, logit in enumerate(explained.tolist())
    )
    if batch > 1 and (books.mixed or not all(ledger.balanced for ledger in ledgers)):
        return None
    for ledger in ledgers:
        try:
            ledger.check()
        except NonFiniteError as error:
            raise NonFiniteError(f"the backward pass overflowed: {error}; try dtype=torch.float32") from None
        except UnbalancedLedgerError as error:
            rules_met = sorted({f"{name}: {rule}" for name, rule in interception.met})
            raise UnbalancedLedgerError(f"{error}. Operations met: {'; '.join(rules_met)}") from None
    return Propagation(relevance, ledgers, logits.detach(), weights, interception.met)


def _precision(model: nn.Module) -> torch.dtype:
    """Return the coarsest float dtype among the parameters: it decides the tolerance."""
    dtypes = {p.dtype for p in model.parameters() if p.is_floating_point()}
    known = [dtype for dtype in dtypes if str(dtype).removeprefix("torch.") in TOLERANCES]
    return max(known, key=lambda dtype: torch.finfo(dtype).eps, default=torch.float32)


def _logits(output: Any, batch: int) -> Tensor:
    logits = getattr(output, "logits", output)
    if isinstance(logits, dict):
        logits = logits.get("logits")
    if isinstance(logits, (list, tuple)):
        logits = logits[0]
    if isinstance(logits, Tensor) and logits.dim() == 1 and logits.shape[0] == batch:
        logits = logits.unsqueeze(-1)
    if not isinstance(logits, Tensor) or logits.dim() != 2 or logits.shape[0] != batch:
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"a text classifier returns logits [batch, labels]; this model returned {shape}")
    return logits


def _weights(target: Target, logits: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the weight of each logit in the explained quantity, ``[batch, labels]``."""
    batch, labels = logits.shape
    if callable(target) and not isinstance(target, Tensor):
        target = target(logits.detach())
    if isinstance(target, Tensor) and target.is_floating_point():
        if target.shape not in ((labels,), (batch, labels)):
            raise InputError(f"weights of the logits must have shape [{labels}] or [{batch}, {labels}], not {list(target.shape)}")
        return target.to(logits.device, dtype).expand(batch, labels).contiguous()
    if target is None:
        indices = logits.argmax(-1)
    else:
        indices = torch.as_tensor(target, device=logits.device)
        if indices.is_floating_point() or indices.dtype == torch.bool or indices.shape not in ((), (1,), (batch,)):
            raise InputError(f"target must be a label index or one index for each of the {batch} documents, not {target!r}")
        if bool((indices >= labels).any()) or bool((indices < 0).any()):
            raise InputError(f"target {target!r} is out of range: the model has labels 0 to {labels - 1}")
        indices = indices.long().expand(batch)
    return torch.zeros(batch, labels, dtype=dtype, device=logits.device).scatter_(1, indices[:, None], 1.0)


def _row(value: Any, i: int, batch: int) -> Any:
    return value[i : i + 1] if isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == batch else value


def _target_row(target: Target, i: int, batch: int) -> Target:
    if isinstance(target, Tensor):
        per_document = target.dim() == 2 or (not target.is_floating_point() and target.dim() == 1)
        return target[i : i + 1] if per_document and target.shape[0] == batch else target
    if isinstance(target, Sequence):
        return [target[i]] if len(target) == batch else target
    return target


def _lock(model: nn.Module) -> threading.RLock:
    with _locks_guard:
        return _locks.setdefault(model, threading.RLock())


@contextlib.contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode with frozen parameters, and everything back as it was afterwards."""
    training = [module for module in model.modules() if module.training]
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    try:
        for module in training:
            module.training = False
        for parameter in trainable:
            parameter.requires_grad_(False)
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
        for module in training:
            module.training = True


def _name_ruleless(model: nn.Module, rules: Rules, model_inputs: dict[str, Any], dtype: torch.dtype) -> UnsupportedOperationError:
    """Run the model once more to find out where the operation without a rule was called."""
    interception = Interception(model, rules, model_inputs["input_ids"], dtype)
    with torch.enable_grad(), interception:
        trail = graph.Trail(model)
        try:
            output = model(**{**model_inputs, "input_ids": interception.input_ids})
        finally:
            trail.close()
        with torch._C.DisableTorchFunction():
            logits = _logits(output, model_inputs["input_ids"].shape[0])
            nodes = graph.ruleless(logits.grad_fn, interception.products)
    places = dict.fromkeys(f"{graph.kind(node)} in {trail.owner.get(node, 'the model')}" for node in reversed(nodes))
    listed = "; ".join(list(places)[:5])
    return UnsupportedOperationError(
        f"no rule met {listed}: a torch.jit.script function, a custom autograd.Function or a compiled kernel hides it from "
        f"textlrp, so its relevance cannot be accounted for and no explanation is shown"
    )


def _name_non_finite(model: nn.Module, inputs: dict[str, Any]) -> str:
    """Say which module first turned finite numbers into NaN or infinity."""
    first: list[str] = []
    hooks = []

    def finite(values: Any) -> bool:
        items = values if isinstance(values, (list, tuple)) else [values]
        return all(bool(torch.isfinite(x).all()) for x in items if isinstance(x, Tensor) and x.is_floating_point())

    for name, module in model.named_modules():

        def note(module: nn.Module, args: Any, output: Any, name: str = name) -> None:
            values = list(output.values()) if isinstance(output, dict) else output
            if not first and not finite(values):
                first.append(f"{name or 'the model'} ({type(module).__name__})")

        hooks.append(module.register_forward_hook(note))
    try:
        with torch.no_grad(), torch._C.DisableTorchFunction():
            model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    bad = [name for name, p in model.named_parameters() if not bool(torch.isfinite(p).all())]
    where = f"first in the output of {first[0]}" if first else "in the logits"
    cause = f"; the parameter {bad[0]} holds one itself" if bad else ""
    return f"the forward pass gives a NaN or an infinity, {where}{cause}; no explanation is shown"
