"""Activations that a model writes in Python: a module that acts on each element alone gets one rule as a whole.

``gelu_new``, quick GELU and similar functions reach torch as sums and products; one by one, the product rule would
halve the relevance that the identity rule keeps.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from textlrp.lrp import coverage, elementwise, operations
from textlrp.lrp.context import Context, Observer
from textlrp.rules import Gradient

#: Whether modules of a signature are an elementwise function: a trial takes longer than a small layer.
_verdicts: dict[Any, bool] = {}
_MOST_VERDICTS = 1000


class ComposedActivations(Observer):
    """Gives composed activations the rule for elementwise functions.

    Args:
        modules: all modules of the model.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._modules = composed_activations(modules)
        self._inputs: list[Tensor | None] = []

    def install(self, context: Context) -> list[Any]:
        """Start observing, and return the hooks."""
        hooks: list[Any] = []
        for module in self._modules:
            hooks.append(module.register_forward_pre_hook(self._before))
            hooks.append(module.register_forward_hook(lambda module, args, y: self._after(context, module, args, y)))
        return hooks

    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> Any:
        if not args or not isinstance(args[0], Tensor):
            return None
        x = args[0]
        self._inputs.append(x if x.requires_grad and torch.is_grad_enabled() else None)
        return (x.detach(), *args[1:]) if self._inputs[-1] is not None else None

    def _after(self, context: Context, module: nn.Module, args: tuple[Any, ...], y: Any) -> Any:
        if not args or not isinstance(args[0], Tensor):
            return None
        x = self._inputs.pop()
        if x is None:
            return None
        with torch._C.DisableTorchFunction():
            if y.data_ptr() == x.data_ptr() and y.shape == x.shape:
                return x
            y = y.clone() if y._is_view() else y
            name = type(module).__name__
            if isinstance(context.rules.nonlinearity, Gradient):
                return elementwise.plain_gradient(context, module.forward, x, name)
            at_zero, slope = elementwise.anchor(module.forward, x, signature(module))
            return elementwise.identity(context, x, y, at_zero or 0.0, slope, name)


def composed_activations(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Return the modules that are an elementwise function written in Python.

    A module that calls a single torch function, as torch's own do, is not among them: that function has its rule.
    """
    return [module for module in modules if _may_be_elementwise(module) and _verdict(module)]


def _may_be_elementwise(module: nn.Module) -> bool:
    """Return whether a module is worth a trial: it has no submodules, and only single numbers as parameters."""
    # A module that wraps an activation is not tried: the wrapped module is, in its turn.
    module_type: Any = type(module)
    if module._modules or module._buffers or _excluded(module_type):
        return False
    return not any(p is not None and p.numel() > 1 for p in module._parameters.values())


@cache
def _excluded(module_class: Any) -> bool:
    """Return whether modules of a class need no trial: torch's own modules, and modules that cannot be tried."""
    return module_class.__module__.startswith("torch.nn.") or issubclass(module_class, torch.jit.ScriptModule)


def _verdict(module: nn.Module) -> bool:
    key = signature(module)
    if key is None:
        return _is_elementwise(module)
    if key not in _verdicts:
        if len(_verdicts) >= _MOST_VERDICTS:
            _verdicts.clear()
        _verdicts[key] = _is_elementwise(module)
    return _verdicts[key]


def signature(module: nn.Module) -> Any:
    """Return a key that only modules of the same behavior share, or None if no such key can be made."""
    if module._parameters:
        return None
    state = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    # A bound method differs from module to module; the function behind it does not.
    state = {key: getattr(value, "__func__", value) for key, value in state.items()}
    try:
        key = (type(module), tuple(sorted(state.items())))
        hash(key)
    except TypeError:
        return None
    return key


def _is_elementwise(module: nn.Module) -> bool:
    """Try a module on small inputs: each output element must depend on its own input element alone, wherever it is."""
    parameter = next(module.parameters(), None)
    dtype = parameter.dtype if parameter is not None else torch.float32
    device = parameter.device if parameter is not None else torch.device("cpu")
    x = torch.linspace(-3.0, 3.0, 24, dtype=dtype, device=device).view(2, 3, 4)
    try:
        with torch._C.DisableTorchFunction(), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            probe = copy.deepcopy(module).eval()
            y, turned = probe(x.clone()), probe(x.flip(0, 1, 2))
            same = isinstance(y, Tensor) and y.shape == x.shape and y.is_floating_point()
            if not same or torch.equal(y, x) or not torch.allclose(turned.flip(0, 1, 2), y, atol=1e-6):
                return False
            if any(_reaches(probe, x, y, others) for others in _halves(x)):
                return False
            if not probe(torch.zeros_like(x)).isfinite().all():  # without f(0), its single functions get their rules
                return False
        return _is_composed(probe, x)
    except Exception:  # a module that is not an activation may raise anything on this input
        return False


def _halves(x: Tensor) -> Iterator[Tensor]:
    """Yield masks such that for any two elements, one mask holds the first and not the second."""
    places = torch.arange(x.numel(), device=x.device).view(x.shape)
    for bit in range((x.numel() - 1).bit_length()):
        half = (places >> bit & 1).bool()
        yield half
        yield ~half


def _reaches(module: nn.Module, x: Tensor, y: Tensor, others: Tensor) -> bool:
    """Return whether elements influence the results of others: whether ``y`` changes where ``x`` does not."""
    changed = module(x.masked_fill(others, 7.0))
    return not torch.equal(changed[~others], y[~others])


def _is_composed(module: nn.Module, x: Tensor) -> bool:
    """Return whether an elementwise module needs one rule as a whole, and can get it.

    If it calls a single function with a rule of its own, it does not need it. If it runs a scripted function, or a
    custom function of unknown origin, which the interception cannot see, it cannot get it.
    """
    with torch._C.DisableTorchFunction(), torch.enable_grad():
        start = x.clone().requires_grad_()
        x = start * 1.0
    recorder = coverage.Recorder()
    with torch.enable_grad(), recorder:
        y = module(x)
    if y.grad_fn is None:
        return False
    calls = [operations.KINDS.get(func) for func in recorder.calls if func not in operations.READ]
    if calls == ["nonlinearity"]:
        return False
    known = recorder.visible | coverage.between(x.grad_fn, set())
    return not coverage.unseen(y.grad_fn, known)
