"""A working copy of a model: new modules that share the model's weights.

An explanation runs on the copy, so the run changes nothing in the model: no hook, no training mode, no frozen
parameter, no cache, no setting in a config. A thread that trains the model or calls its ``train()`` is not disturbed,
two threads do not wait for each other, and an interrupt has nothing to restore. A parameter of the copy is another
tensor on the same memory. Buffers and other tensors are small, and the copy has its own; they are read again for each
use.
"""

from __future__ import annotations

import copy
import functools
import operator
import types
import weakref
from collections import OrderedDict, defaultdict
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from textlrp.errors import ModelError
from textlrp.guard import quantized

#: Copies share values of these types; most attributes of modules are of one.
_PLAIN = (type(None), bool, int, float, str, bytes, type, torch.dtype, torch.device, torch.Size)
_DICTS = (dict, OrderedDict, defaultdict)


class Parts(NamedTuple):
    """The parts of a model, listed once: walking through a deep model takes as long as running one of its layers."""

    model: nn.Module
    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]
    buffers: tuple[Tensor, ...]


def parts_of(model: nn.Module) -> Parts:
    """List a model's parts."""
    modules, seen = [model], {model}
    for module in modules:  # the loop extends the list; nn.Module.modules() takes several times as long
        for child in module._modules.values():
            if child is not None and child not in seen:
                seen.add(child)
                modules.append(child)
    parameters = {id(p): p for module in modules for p in module._parameters.values() if p is not None}
    buffers = {id(b): b for module in modules if module._buffers for b in module._buffers.values() if b is not None}
    return Parts(model, tuple(modules), tuple(parameters.values()), tuple(buffers.values()))


class WorkingCopy:
    """A copy of a model that can be used again and again, until the model or the copy is changed.

    Attributes:
        parts: the parts of the copy: in evaluation mode, without a parameter that requires grad, without a cache of
            keys and values.
        keeps_model: whether the copy refers to the model itself, so that it must not outlive the model.

    Raises:
        ModelError: the weights were made in ``torch.inference_mode``.
    """

    def __init__(self, model: nn.Module) -> None:
        copier = _Copier(model)
        self.parts = parts_of(copier.module(model))
        self.keeps_model = copier.refers_to_root
        self._weights, self._own_weights = copier.weights, copier.own_weights
        self._tensors, self._own_tensors = copier.tensors, copier.own_tensors
        self._model_state = _State(copier.tables, copier.lists)
        self._own_state = _State(copier.own_tables, copier.own_lists)

    def renew(self) -> bool:
        """Read the model's buffers again; return False if the model has changed since it was copied."""
        if not self._model_state.unchanged() or not all(map(Tensor.is_set_to, self._own_weights, self._weights)):
            return False
        for own, tensor in zip(self._own_tensors, self._tensors, strict=True):
            if own.shape != tensor.shape or own.dtype != tensor.dtype or own.device != tensor.device:
                return False
            own.copy_(tensor.detach())
            vars(own).clear()  # marks of the last explanation
            vars(own).update(vars(tensor))
        return True

    def unchanged(self) -> bool:
        """Return whether the copy is unchanged: some models replace parts while they run (BigBird's attention)."""
        return self._own_state.unchanged()

    def versions(self) -> list[int]:
        """Return how often each weight was written to."""
        return list(map(_version, self._own_weights))


_version = operator.attrgetter("_version")


class _State:
    """The contents of tables and lists when they were copied.

    They are compared as flat lists: an explanation of a small model takes a millisecond or two, and comparing attribute
    by attribute would be a good part of it.
    """

    def __init__(self, tables: list[dict[Any, Any]], lists: list[Any]) -> None:
        self._empty = [held for held in (*tables, *lists) if not held]  # most: hooks that are not set
        self._tables = [table for table in tables if table]
        self._sizes, self._keys, self._values = _contents(self._tables)
        self._lists = [(members, members.copy()) for members in lists if members]

    def unchanged(self) -> bool:
        """Return whether all contents are as they were: equal keys, and the same objects."""
        if any(self._empty):
            return False
        sizes, keys, values = _contents(self._tables)
        if sizes != self._sizes or keys != self._keys or not all(map(operator.is_, values, self._values)):
            return False
        return all(_same_members(members, held) for members, held in self._lists)


def _contents(tables: list[dict[Any, Any]]) -> tuple[list[int], list[Any], list[Any]]:
    """Return the sizes, the keys and the values of tables."""
    values = chain.from_iterable([table.values() for table in tables])
    return list(map(len, tables)), list(chain.from_iterable(tables)), list(values)


def _same_members(now: Any, before: Any) -> bool:
    if len(now) != len(before):
        return False
    return now == before if isinstance(now, set) else all(map(operator.is_, now, before))


class _Copier:
    """Copies modules and the objects that they refer to, each once.

    Attributes:
        weights, own_weights: the parameters, and their counterparts in the copy.
        tensors, own_tensors: the other tensors, in the same way.
        tables, own_tables: the attributes of modules and configs, and dicts among them.
        lists, own_lists: lists and sets among them.
        refers_to_root: whether something in the model refers to the model itself.
    """

    def __init__(self, model: nn.Module) -> None:
        self._root = model
        self._modules = {id(module) for module in parts_of(model).modules}
        self._copies: dict[int, Any] = {}
        self.weights: list[Tensor] = []
        self.own_weights: list[Tensor] = []
        self.tensors: list[Tensor] = []
        self.own_tensors: list[Tensor] = []
        self.tables: list[dict[Any, Any]] = []
        self.own_tables: list[dict[Any, Any]] = []
        self.lists: list[Any] = []
        self.own_lists: list[Any] = []
        self.refers_to_root = False

    def module(self, module: nn.Module) -> nn.Module:
        """Return the copy of a module."""
        known: nn.Module | None = self._copies.get(id(module))
        if known is not None:
            self.refers_to_root |= module is self._root
            return known
        if isinstance(module, torch.jit.ScriptModule):  # its parts are not Python objects
            return module
        try:
            own: nn.Module = object.__new__(type(module))
        except TypeError:  # a class written in C
            return module
        self._copies[id(module)] = own
        attributes = {name: self._attribute(name, value) for name, value in vars(module).items()}
        attributes["training"] = False
        if "_compiled_call_impl" in attributes:  # the compiled call would run the original module
            attributes["_compiled_call_impl"] = None
        vars(own).update(attributes)
        dequantized = quantized.forward_of(own)
        if dequantized is not None:
            vars(own)["forward"] = dequantized
        self._note(vars(module), vars(own))
        return own

    def _attribute(self, name: str, value: Any) -> Any:
        if name == "config" and hasattr(value, "__dict__") and not isinstance(value, nn.Module):
            return self._config(value)
        if name in ("_backward_hooks", "_backward_pre_hooks"):
            return OrderedDict()  # they are for gradients, and none is computed
        if name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")) and isinstance(value, dict):
            return self._hooks(value)
        return self._value(value)

    def _hooks(self, hooks: Any) -> Any:
        """Return the hooks themselves, whose results are for the user; only a module's method becomes its copy's."""
        own = copy.copy(hooks)
        for key, hook in hooks.items():
            if self._refers(hook):
                own[key] = self._reference(hook)
        self._note(hooks, own)
        return own

    def _config(self, config: Any) -> Any:
        """Return the copy of a config: models write to it while they run, and read it in every layer."""
        known = self._copies.get(id(config))
        if known is None:
            known = self._copies[id(config)] = copy.copy(config)
            if getattr(known, "use_cache", None) is True:
                # No tokens are generated, so none needs the cache; a block that runs again would add to it twice.
                known.use_cache = False
            for name, part in vars(config).items():
                if isinstance(part, type(config).__mro__[-2]):  # the configs of an encoder and a decoder
                    vars(known)[name] = self._config(part)
            self._note(vars(config), vars(known))
        return known

    def _value(self, value: Any) -> Any:
        """Return the copy's counterpart of an attribute's value."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind in _DICTS or (isinstance(value, dict) and kind.__setitem__ is dict.__setitem__):
            return self._dict(value)
        if kind is list or kind is set:
            own = kind(map(self._value, value))
            self.lists.append(value)
            self.own_lists.append(own)
            return own
        if kind is tuple:
            return tuple(map(self._value, value))
        if isinstance(value, nn.Module):
            return self.module(value)
        if kind is nn.Parameter or kind is Tensor:
            return self._tensor(value)
        return self._reference(value)

    def _dict(self, table: Any) -> Any:
        own = copy.copy(table)
        for key, value in table.items():
            own[key] = self._value(value)
        self._note(table, own)
        return own

    def _note(self, table: dict[Any, Any], own: dict[Any, Any]) -> None:
        self.tables.append(table)
        self.own_tables.append(own)

    def _tensor(self, tensor: Tensor) -> Tensor:
        known: Tensor | None = self._copies.get(id(tensor))
        if known is not None:
            return known
        own: Tensor
        if type(tensor) is nn.Parameter:
            if tensor.is_inference():
                raise ModelError(
                    "the model's weights were made in torch.inference_mode, where nothing can be explained: load it "
                    "outside"
                )
            own = nn.Parameter(tensor.detach(), requires_grad=False)
            if tensor.layout is torch.strided:
                self.weights.append(tensor)
                self.own_weights.append(own)
        else:
            own = tensor.detach().clone()
            self.tensors.append(tensor)
            self.own_tensors.append(own)
        self._copies[id(tensor)] = own
        vars(own).update(vars(tensor))
        return own

    def _reference(self, value: Any) -> Any:
        """Return a value that refers to the copies of modules, or the value itself if it refers to no module."""
        known = self._copies.get(id(value))
        if known is not None and not isinstance(value, nn.Module):
            return known
        if isinstance(value, nn.Module):
            return self.module(value) if id(value) in self._modules else value
        if isinstance(value, types.MethodType):
            owner = self._reference(value.__self__)
            return value if owner is value.__self__ else types.MethodType(value.__func__, owner)
        if isinstance(value, functools.partial):
            function, args = self._reference(value.func), tuple(map(self._reference, value.args))
            keywords = {key: self._reference(item) for key, item in value.keywords.items()}
            return functools.partial(function, *args, **keywords)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, weakref.ReferenceType):
            target = value()
            if isinstance(target, nn.Module):
                return weakref.ref(self._reference(target))
            return weakref.ref(self._copies[id(target)]) if id(target) in self._copies else value
        return self._object(value)

    def _function(self, function: Any) -> Any:
        """Return a function whose closure refers to the copies, such as a wrapped forward."""
        plain = vars(function).get("_torchdynamo_orig_callable")
        if plain is not None:  # the function that torch.compile wraps
            return self._reference(plain)
        if function.__closure__ is None:
            return function
        self._copies[id(function)] = function  # it may refer to itself
        cells = []
        for cell in function.__closure__:
            try:
                inside = cell.cell_contents
            except ValueError:  # not filled yet
                cells.append(cell)
                continue
            own = self._reference(inside) if callable(inside) else inside
            cells.append(cell if own is inside else types.CellType(own))
        if all(map(operator.is_, cells, function.__closure__)):
            return function
        code, names, defaults = function.__code__, function.__globals__, function.__defaults__
        own = types.FunctionType(code, names, function.__name__, defaults, tuple(cells))
        own.__kwdefaults__, own.__qualname__ = function.__kwdefaults__, function.__qualname__
        vars(own).update(vars(function))
        self._copies[id(function)] = own
        return own

    def _object(self, value: Any) -> Any:
        """Return an object whose attributes refer to the copies of modules; itself if none is a module or a method."""
        state = getattr(value, "__dict__", None)
        if not isinstance(state, dict) or isinstance(value, (type, types.ModuleType)):
            return value
        if not any(map(self._refers, state.values())):
            return value
        try:
            own = copy.copy(value)
        except Exception:  # an object that cannot be copied stays as it is
            return value
        self._copies[id(value)] = own
        changed = {key: self._reference(item) for key, item in state.items() if self._refers(item)}
        vars(own).update(changed)
        return own

    def _refers(self, value: Any) -> bool:
        owner = getattr(value, "__self__", None) if isinstance(value, types.MethodType) else value
        return isinstance(owner, nn.Module) and id(owner) in self._modules


_idle: weakref.WeakKeyDictionary[nn.Module, list[WorkingCopy]] = weakref.WeakKeyDictionary()
#: How many copies of a model are kept for the next explanation: one for each thread that explains it at once.
_MOST = 8


def take(model: nn.Module) -> WorkingCopy:
    """Return a copy of a model that is not in use elsewhere."""
    idle = _idle.get(model, [])
    while idle:
        idle_copy = _popped(idle)
        if idle_copy is not None and idle_copy.renew():
            return idle_copy
    return WorkingCopy(model)


def _popped(idle: list[WorkingCopy]) -> WorkingCopy | None:
    try:
        return idle.pop()
    except IndexError:  # another thread was faster
        return None


def give_back(model: nn.Module, used: WorkingCopy) -> None:
    """Keep a copy for the next explanation, if it is unchanged."""
    if used.keeps_model or not used.unchanged():
        return
    idle = _idle.get(model)
    if idle is None:
        idle = _idle.setdefault(model, [])
    if len(idle) < _MOST:
        idle.append(used)
