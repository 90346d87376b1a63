"""A model is explained where it is, and left exactly as it was."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

_locks: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_guard = threading.Lock()

# The tables of a module that its forward could rewrite.
_TABLES = ("_modules", "_parameters", "_buffers")


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


def _snapshot(module: nn.Module) -> dict[str, Any]:
    return {**vars(module), **{table: dict(vars(module)[table]) for table in _TABLES}}


def _restore(module: nn.Module, state: dict[str, Any]) -> None:
    own = vars(module)
    for table in _TABLES:
        if own[table] != state[table]:
            own[table].clear()
            own[table].update(state[table])
        state[table] = own[table]
    own.clear()
    own.update(state)
