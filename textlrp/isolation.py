"""A model is explained where it is, and left exactly as it was."""

from __future__ import annotations

import contextlib
import operator
import threading
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

_locks: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_guard = threading.Lock()

_CONTAINERS = (dict, list, set)


@contextlib.contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Hold a model for this thread, in evaluation mode with frozen parameters; afterwards everything is as it was.

    That holds for the random state, too, and for what a model rewrites while it runs: BigBird swaps its attention for
    good after one short document, Reformer notes a number of buckets in its config.
    """
    with _guard:
        lock = _locks.setdefault(model, threading.RLock())
    with lock:
        modules = list(model.modules())
        states = [(module, _snapshot(module)) for module in modules]
        config = getattr(model, "config", None)
        settings = dict(vars(config)) if hasattr(config, "__dict__") else None
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
        try:
            for module in modules:
                module.training = False
            for parameter in trainable:
                parameter.requires_grad_(False)
            with torch.random.fork_rng(devices=devices):
                yield
        finally:
            for parameter in trainable:
                parameter.requires_grad_(True)
            for module, state in states:
                _restore(module, state)
            if settings is not None:
                vars(config).clear()
                vars(config).update(settings)


def _snapshot(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Return each attribute of a module, and what it holds where it is a container: tables, hooks, caches."""
    own = vars(module).items()
    return {name: (value, value.copy() if isinstance(value, _CONTAINERS) else None) for name, value in own}


def _restore(module: nn.Module, state: dict[str, tuple[Any, Any]]) -> None:
    for value, held in state.values():
        if held is not None and not _holds(value, held):
            value.clear()
            (value.extend if isinstance(value, list) else value.update)(held)
    own = vars(module)
    own.clear()
    own.update((name, value) for name, (value, _) in state.items())


def _holds(container: Any, held: Any) -> bool:
    """Whether a container has the members that it had, by identity: tensors that are compared give tensors."""
    if len(container) != len(held):
        return False
    if isinstance(container, dict):
        return all(a is b and c is d for (a, c), (b, d) in zip(container.items(), held.items(), strict=True))
    return container == held if isinstance(container, set) else all(map(operator.is_, container, held))
