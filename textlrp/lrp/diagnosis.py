"""Names of operations and modules for error messages, found by running a model once more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from textlrp.errors import UnsupportedOperationError
from textlrp.guard.trees import tensors
from textlrp.lrp import coverage
from textlrp.lrp.dispatch import Interception
from textlrp.results.ledger import TOLERANCES

#: What rules do that keeps relevance from the tokens where nothing else leads to them.
_CONSTANT = frozenset(("constant", "frozen", "statistics constant"))


def hidden_operations(
    model: nn.Module, model_inputs: dict[str, Any], interception: Interception
) -> UnsupportedOperationError | None:
    """Run a model once more to find out which operations have no rule, and in which module.

    These are the nodes of the graph without a rule, or else the nodes that no torch function seen by textlrp made.
    """
    context = interception.context
    with torch.enable_grad(), interception:
        interception.visible = set()
        owners = coverage.NodeOwners(model)
        try:
            output = model(**{**model_inputs, **interception.ids})
        finally:
            owners.close()
        result = next((x for x in tensors(getattr(output, "logits", output)) if x.grad_fn is not None), None)
        if result is None:
            return None
        visible = interception.visible | context.products
        nodes = coverage.ruleless(result.grad_fn, context.products) or coverage.unseen(result.grad_fn, visible)
    if not nodes:
        return None
    places = dict.fromkeys(
        f"{coverage.kind(node)} in {owners.owner.get(node, 'the model')}" for node in reversed(nodes)
    )
    return UnsupportedOperationError(
        f"no rule covers {'; '.join(list(places)[:5])}: a torch.jit.script function, a custom autograd.Function or a "
        f"compiled kernel hides it from textlrp, so its relevance cannot be accounted for and no explanation is shown"
    )


def coarser_dtype(model: nn.Module, inputs: dict[str, Any], interception: Interception, precision: str) -> str:
    """Return an end of a message that names the module that casts activations to a coarser dtype, or nothing."""
    found: list[str] = []

    class Casts(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if not found and isinstance(out, Tensor) and out.is_floating_point():
                name = str(out.dtype).removeprefix("torch.")
                if TOLERANCES.get(name, 0.0) > TOLERANCES[precision]:
                    found.append(f"{interception.context.module_path()} computes in {name}")
            return out

    with torch.no_grad(), Casts():
        model(**inputs)
    if not found:
        return ""
    return f". The model's weights are {precision}, but {found[0]}: load all of it in one dtype, or turn the cast off"


def non_finite(model: nn.Module, inputs: dict[str, Any]) -> str:
    """Return a message that names the module that first turned finite numbers into NaN or infinity."""
    first: list[str] = []
    hooks = []

    def finite(values: Any) -> bool:
        return all(bool(torch.isfinite(x).all()) for x in tensors(values) if x.is_floating_point())

    for name, module in model.named_modules():

        def note(module: nn.Module, args: Any, output: Any, name: str = name) -> None:
            if not first and not finite(output):
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


def no_gradient(name: str, met: Iterable[tuple[str, str]]) -> str:
    """Return a message that says why logits have no gradient back to the embeddings."""
    held = sorted({operation for operation, rule in met if rule in _CONSTANT})
    cause = (
        f"these rules hold {', '.join(held)} constant; difference rules (rules='difference') do not"
        if held
        else "the model detaches its activations, or copies them into a parameter, a nested tensor or an array"
    )
    return f"the logits of {name} have no gradient back to its embeddings, so no relevance can reach a token: {cause}"
