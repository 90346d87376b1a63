"""A model is explained where it is, and left exactly as it was."""

from __future__ import annotations

import contextlib
import operator
import sys
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

_locks: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_guard = threading.Lock()

_CONTAINERS = (dict, list, set)


class Parts(NamedTuple):
    """What a model is made of, listed once: to walk through a deep model takes as long as one of its layers."""

    model: nn.Module
    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]
    buffers: tuple[Tensor, ...]


def parts_of(model: nn.Module) -> Parts:
    """List a model's parts."""
    modules = tuple(model.modules())
    parameters = {id(p): p for module in modules for p in module._parameters.values() if p is not None}
    buffers = {id(b): b for module in modules for b in module._buffers.values() if b is not None}
    return Parts(model, modules, tuple(parameters.values()), tuple(buffers.values()))


@contextlib.contextmanager
def undisturbed(model: nn.Module) -> Iterator[Parts]:
    """Hold a model for this thread, in evaluation mode with frozen parameters; afterwards everything is as it was.

    That holds for the random state, too, and for what a model rewrites while it runs: BigBird swaps its attention for
    good after one short document, Reformer notes a number of buckets in its config.

    Yields:
        The model's parts.
    """
    with _guard:
        lock = _locks.setdefault(model, threading.RLock())
    with lock:
        parts = parts_of(model)
        states = [_Snapshot(module) for module in parts.modules]
        config = getattr(model, "config", None)
        settings = dict(vars(config)) if hasattr(config, "__dict__") else None
        trainable = [parameter for parameter in parts.parameters if parameter.requires_grad]
        devices = sorted({p.device.index for p in parts.parameters if p.is_cuda})
        try:
            for module in parts.modules:
                if module.training:
                    module.training = False
            for parameter in trainable:
                parameter.requires_grad_(False)
            with torch.random.fork_rng(devices=devices):
                yield parts
        finally:
            for parameter in trainable:
                parameter.requires_grad_(True)
            for state in states:
                state.restore()
            if settings is not None:
                vars(config).clear()
                vars(config).update(settings)


def eagerly() -> contextlib.AbstractContextManager[object]:
    """Run what was compiled with ``torch.compile`` as it was written: inside a compiled graph no operation is seen."""
    if "torch._dynamo" not in sys.modules:  # nothing was compiled, and to import it takes seconds
        return contextlib.nullcontext()
    stance: contextlib.AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


class _Snapshot:
    """What a module was: its attributes, and what its containers held (tables, hooks, caches)."""

    __slots__ = ("attributes", "empty", "full", "module")

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.attributes = dict(vars(module))
        containers = [value for value in self.attributes.values() if isinstance(value, _CONTAINERS)]
        self.empty = [container for container in containers if not container]  # most: hooks that nobody has set
        self.full = [(container, container.copy()) for container in containers if container]

    def restore(self) -> None:
        """Give the module back what it had."""
        for container in self.empty:
            if container:
                container.clear()
        for container, held in self.full:
            if not _holds(container, held):
                container.clear()
                (container.extend if isinstance(container, list) else container.update)(held)
        own = vars(self.module)
        if list(own) != list(self.attributes) or not all(map(operator.is_, own.values(), self.attributes.values())):
            own.clear()
            own.update(self.attributes)


def _holds(container: Any, held: Any) -> bool:
    """Whether a container has the members that it had, by identity: tensors that are compared give tensors."""
    if len(container) != len(held):
        return False
    if isinstance(container, dict):
        return list(container) == list(held) and all(map(operator.is_, container.values(), held.values()))
    return container == held if isinstance(container, set) else all(map(operator.is_, container, held))
