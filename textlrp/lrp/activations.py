"""Activation functions: which modules are one, and what the identity rule needs to know of each.

Activations written in Python (``gelu_new``, quick GELU, ...) reach torch as sums and products; rule by rule, the
product rule would halve what the identity rule keeps. So a module that is found to act on each element alone is taken
whole.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from textlrp.lrp import coverage, operations
from textlrp.lrp.trees import tensors

#: Whether modules of a signature are an elementwise function: a trial takes longer than a small layer.
_verdicts: dict[Any, bool] = {}
#: ``f(0)`` and ``f'(0)`` of functions and of modules of a signature.
_anchors: dict[Any, tuple[float | None, float]] = {}
_MOST = 1000


def composed_activations(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Return the modules that are an elementwise function written in Python.

    Modules that call a single torch function need no such care, as those of torch itself do: it has its rule.
    """
    return [module for module in modules if _may_be_elementwise(module) and _verdict(module)]


def _may_be_elementwise(module: nn.Module) -> bool:
    """Whether a module is worth a trial: it has no parts, and at most single numbers for parameters."""
    # A wrapper around one torch activation calls that function; its own module is seen in its turn.
    sort: Any = type(module)
    if module._modules or module._buffers or _excluded(sort):
        return False
    return not any(p is not None and p.numel() > 1 for p in module._parameters.values())


@cache
def _excluded(sort: Any) -> bool:
    """Whether modules of a type need no trial: those of torch itself, and those that cannot be tried."""
    return sort.__module__.startswith("torch.nn.") or issubclass(sort, torch.jit.ScriptModule)


def _verdict(module: nn.Module) -> bool:
    key = _signature(module)
    if key is None:
        return _is_elementwise(module)
    return bool(_remembered(_verdicts, key, lambda: _is_elementwise(module)))


def _signature(module: nn.Module) -> Any:
    """Return a key that two modules of the same behavior share, or None where that cannot be told."""
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
            if not probe(torch.zeros_like(x)).isfinite().all():  # no value to measure from: by its single functions
                return False
        return _is_composed(probe, x)
    except Exception:  # whatever a module that is no activation does with this input
        return False


def _halves(x: Tensor) -> Iterator[Tensor]:
    """Yield masks such that any element is left out of one of them that holds any other element."""
    places = torch.arange(x.numel(), device=x.device).view(x.shape)
    for bit in range((x.numel() - 1).bit_length()):
        half = (places >> bit & 1).bool()
        yield half
        yield ~half


def _reaches(module: nn.Module, x: Tensor, y: Tensor, others: Tensor) -> bool:
    """Whether elements reach the result of others: whether ``y`` changes where ``x`` does not."""
    changed = module(x.masked_fill(others, 7.0))
    return not torch.equal(changed[~others], y[~others])


def _is_composed(module: nn.Module, x: Tensor) -> bool:
    """Whether an elementwise module has to be taken whole, and can be.

    Where it calls one function that has its own rule, it need not be. Where it runs what no interception sees (a
    scripted function, a custom function of unknown origin), it cannot be.
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


def anchor_of_function(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], like: Tensor
) -> tuple[float | None, float]:
    """Return ``f(0)``, or None where it is not finite, and ``f'(0)`` of a torch function."""

    def find() -> tuple[float | None, float]:
        return _anchor(lambda zero: function(zero, *args, **kwargs), like)

    key = (function, args, tuple(sorted(kwargs.items())), like.dtype, like.device)
    try:
        hash(key)
    except TypeError:
        return find()
    # What is in a tensor can change.
    return find() if any(True for _ in tensors((args, kwargs))) else _remembered(_anchors, key, find)


def anchor_of_module(module: nn.Module, like: Tensor) -> tuple[float, float]:
    """Return ``f(0)`` and ``f'(0)`` of an activation module."""
    signature = _signature(module)
    if signature is None:
        at_zero, slope = _anchor(module.forward, like)
    else:
        key = (signature, like.dtype, like.device)
        at_zero, slope = _remembered(_anchors, key, lambda: _anchor(module.forward, like))
    return at_zero or 0.0, slope


def _remembered(known: dict[Any, Any], key: Any, find: Callable[[], Any]) -> Any:
    """Look up what was found under a key, or find it; a dict that has grown large begins again."""
    if key not in known:
        if len(known) >= _MOST:
            known.clear()
        known[key] = find()
    return known[key]


def _anchor(function: Callable[[Tensor], Tensor], like: Tensor) -> tuple[float | None, float]:
    keep = torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x)  # not the checkpointing's: it counts
    with torch._C.DisableTorchFunction(), torch.enable_grad(), keep:
        zero = torch.zeros((1, 1), dtype=like.dtype, device=like.device, requires_grad=True)
        value = function(zero)
        slope = (
            torch.autograd.grad(value, zero, torch.ones_like(value), allow_unused=True)[0]
            if value.requires_grad
            else None
        )
    at_zero = float(value.detach())
    steepness = 0.0 if slope is None else float(slope)
    return (at_zero if math.isfinite(at_zero) else None), (steepness if math.isfinite(steepness) else 0.0)
