"""Custom ``autograd.Function`` classes, which a ``TorchFunctionMode`` cannot see.

The forward of such a function computes its value; its backward may be any gradient. If the function ships with
transformers or torch (YOSO's cumulation, Reformer's reversible layers, I-BERT's rounding, gradient checkpointing), its
forward runs operation by operation, so that each operation is given its own rule. A function of unknown origin stays
as it is, and :mod:`textlrp.lrp.coverage` refuses the graph that holds it.
"""

from __future__ import annotations

from typing import Any

import torch

from textlrp.guard import torch_internals

#: The packages whose custom functions are trusted.
TRUSTED = ("transformers.", "torch.utils.checkpoint")


class _SavesNothing:
    """Ignores the tensors that a forward saves for a backward that never runs."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.needs_input_grad = tuple(isinstance(x, torch.Tensor) and x.requires_grad for x in args)

    def _ignore(self, *args: Any, **kwargs: Any) -> None:
        pass

    save_for_backward = save_for_forward = mark_dirty = mark_non_differentiable = set_materialize_grads = _ignore


def trusted(cls: Any) -> bool:
    """Return whether the forward of a custom function is trusted to compute its value."""
    return bool(cls.__module__.startswith(TRUSTED)) and cls is not torch_internals.CHECKPOINT_INPUTS


def trace(session: Any, cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the forward of a custom function operation by operation; ``session.tracing`` counts how many are running."""
    session.tracing += 1
    try:
        with torch.enable_grad():
            if cls.setup_context is not torch.autograd.Function.setup_context:
                return cls.forward(*args, **kwargs)
            return cls.forward(_SavesNothing(args), *args, **kwargs)
    finally:
        session.tracing -= 1
