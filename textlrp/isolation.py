"""A model is explained where it is, and left exactly as it was."""

from __future__ import annotations

import contextlib
import operator
import sys
import threading
from collections.abc import Iterator, Sequence
from itertools import chain, islice, starmap
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

_locks: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_guard = threading.Lock()


class _Holding(dict[type, bool]):
    """Whether values of a type hold others."""

    def __missing__(self, kind: type) -> bool:
        found = self[kind] = issubclass(kind, (dict, list, set))
        return found


_holding = _Holding()


class Parts(NamedTuple):
    """What a model is made of, listed once: to walk through a deep model takes as long as one of its layers."""

    model: nn.Module
    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]
    buffers: tuple[Tensor, ...]


def parts_of(model: nn.Module) -> Parts:
    """List a model's parts."""
    modules, seen = [model], {model}
    for module in modules:  # which grows on the way; nn.Module.modules() takes several times as long
        for child in module._modules.values():
            if child is not None and child not in seen:
                seen.add(child)
                modules.append(child)
    parameters = {id(p): p for module in modules for p in module._parameters.values() if p is not None}
    buffers = {id(b): b for module in modules if module._buffers for b in module._buffers.values() if b is not None}
    return Parts(model, tuple(modules), tuple(parameters.values()), tuple(buffers.values()))


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
        state = _Snapshot(parts.modules)
        config = getattr(model, "config", None)
        settings = dict(vars(config)) if hasattr(config, "__dict__") else None
        # Weights made in inference mode can be frozen, and never be made trainable again.
        trainable = [p for p in parts.parameters if p.requires_grad and not p.is_inference()]
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
    """What modules were: their attributes, and what these attributes' containers held (tables, hooks, caches).

    All that is taken down and compared is in flat lists: an explanation of a small model takes a millisecond or two,
    and a look at each attribute of each module would be a good part of it.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._owners = [vars(module) for module in modules]
        self._sizes, self._names, self._values = _look(self._owners)
        containers = [value for value in self._values if _holding[type(value)]]
        self._empty = [container for container in containers if not container]  # most: hooks that nobody has set
        self._full = [container for container in containers if container]
        self._held = [container.copy() for container in self._full]
        self._tables = [container for container in self._full if isinstance(container, dict)]
        self._others = [(x, held) for x, held in zip(self._full, self._held, strict=True) if not isinstance(x, dict)]
        self._inside = _look(self._tables)

    def restore(self) -> None:
        """Give the modules back what they had."""
        if any(self._empty):
            for container in self._empty:
                container.clear()
        if not _same(_look(self._tables), self._inside) or not all(starmap(_holds, self._others)):
            for container, held in zip(self._full, self._held, strict=True):
                if not _holds(container, held):
                    container.clear()
                    (container.extend if isinstance(container, list) else container.update)(held)
        before = self._sizes, self._names, self._values
        if _same(_look(self._owners), before):
            return
        pairs = zip(self._names, self._values, strict=True)
        for own, size in zip(self._owners, self._sizes, strict=True):
            mine = dict(islice(pairs, size))
            if not _holds(own, mine):
                own.clear()
                own.update(mine)


def _look(tables: list[dict[str, Any]]) -> tuple[list[int], list[Any], list[Any]]:
    """Return the sizes, the keys and the values of tables."""
    values = chain.from_iterable([table.values() for table in tables])
    return list(map(len, tables)), list(chain.from_iterable(tables)), list(values)


def _same(now: tuple[list[int], list[Any], list[Any]], before: tuple[list[int], list[Any], list[Any]]) -> bool:
    """Whether tables have the sizes, the keys and, by identity, the values that they had."""
    if now[0] != before[0] or now[1] != before[1]:
        return False
    return all(map(operator.is_, now[2], before[2]))


def _holds(container: Any, held: Any) -> bool:
    """Whether a container has the members that it had, by identity: tensors that are compared give tensors."""
    if len(container) != len(held):
        return False
    if isinstance(container, dict):
        return list(container) == list(held) and all(map(operator.is_, container.values(), held.values()))
    return container == held if isinstance(container, set) else all(map(operator.is_, container, held))
