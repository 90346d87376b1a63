"""Custom ``autograd.Function`` classes, which a ``TorchFunctionMode`` cannot see.

What such a function computes is its forward; its backward is somebody's choice of a gradient. Those that ship with
transformers or torch (YOSO's cumulation, Reformer's reversible layers, I-BERT's rounding, gradient checkpointing) are
run through their forward operation by operation, so that each operation meets its own rule. A function of unknown
origin stays as it is, and :mod:`textlrp.lrp.coverage` refuses the graph that holds it.
"""

from __future__ import annotations

from typing import Any

import torch

#: Where custom functions come from whose forward is taken at its word.
TRUSTED = ("transformers.", "torch.utils.checkpoint")


class _SavesNothing:
    """Takes what a forward saves for a backward that is never called."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.needs_input_grad = tuple(isinstance(x, torch.Tensor) and x.requires_grad for x in args)

    def _ignore(self, *args: Any, **kwargs: Any) -> None:
        pass

    save_for_backward = save_for_forward = mark_dirty = mark_non_differentiable = set_materialize_grads = _ignore


def trusted(cls: Any) -> bool:
    """Whether the forward of a custom function is taken at its word."""
    return bool(cls.__module__.startswith(TRUSTED))


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
