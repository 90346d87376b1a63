"""Custom ``autograd.Function`` classes, which a ``TorchFunctionMode`` cannot see.

What such a function computes is its forward; its backward is somebody's choice of a gradient. Those that ship with
transformers or torch (YOSO's cumulation, Reformer's reversible layers, I-BERT's rounding, gradient checkpointing) are
run through their forward operation by operation, so that each operation meets its own rule. A function of unknown
origin stays as it is, and :mod:`textlrp.graph` refuses the graph that holds it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from textlrp.interception import Interception

#: Where custom functions come from whose forward is taken at its word.
TRUSTED = ("transformers.", "torch.utils.checkpoint")

_active: dict[int, list[Interception]] = {}
_lock = threading.Lock()
_original: Any = None


class Context:
    """Takes what a forward saves for a backward that is never called."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.needs_input_grad = tuple(isinstance(x, torch.Tensor) and x.requires_grad for x in args)

    def _ignore(self, *args: Any, **kwargs: Any) -> None:
        pass

    save_for_backward = save_for_forward = mark_dirty = mark_non_differentiable = set_materialize_grads = _ignore


def install(met: Interception) -> None:
    """Let custom functions that are called in this thread be traced, until :func:`remove`."""
    global _original
    with _lock:
        if not _active:
            _original = torch.autograd.Function.__dict__["apply"]
            torch.autograd.Function.apply = classmethod(_apply)  # type: ignore[assignment]
        _active.setdefault(threading.get_ident(), []).append(met)


def remove(met: Interception) -> None:
    """Undo :func:`install`; the last one out restores torch."""
    with _lock:
        thread = threading.get_ident()
        _active[thread].remove(met)
        if not _active[thread]:
            del _active[thread]
        if not _active:
            torch.autograd.Function.apply = _original  # type: ignore[method-assign]


def _apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
    stack = _active.get(threading.get_ident())
    if not stack or not cls.__module__.startswith(TRUSTED):
        return _original.__func__(cls, *args, **kwargs)
    met = stack[-1]
    met.tracing += 1
    try:
        with torch.enable_grad():
            if cls.setup_context is not torch.autograd.Function.setup_context:
                return cls.forward(*args, **kwargs)
            return cls.forward(Context(args), *args, **kwargs)
    finally:
        met.tracing -= 1
