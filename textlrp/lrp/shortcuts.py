"""The short way to a rule, for the calls that a model makes most.

An explanation of a short text is a thousand small steps, and to look at each call with all that could be unusual about
it would take longer than the model. A shortcut takes the usual form of a call, where nothing else is going on, and
turns down any other, which then goes the long way to the same rule.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textlrp.lrp import gates, kernels, operations, token_tracking
from textlrp.lrp.activations import anchor_of_function
from textlrp.lrp.linear import Linear
from textlrp.lrp.surrogates import Elementwise, LayerNorm

if TYPE_CHECKING:
    from textlrp.lrp.dispatch import Interception

_WRITES = frozenset(func for func in operations.KINDS if operations.is_in_place(func))
#: The types of arguments that hold no tensor.
_SINGLE = frozenset({int, float, bool, type(None), str, torch.dtype, torch.device})


def carries(x: Any) -> bool:
    """Whether a tensor carries relevance for sure: it came of activations, and is no parameter."""
    return isinstance(x, Tensor) and x.requires_grad and not x.is_leaf


def move(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """A function that moves the values of its first argument, of activations or of a constant that nobody follows."""
    if not args:
        return NotImplemented
    x = args[0]
    if carries(x):
        met.counts[func, "plain gradient"] += 1
        return func(*args, **kwargs)
    if kwargs or not isinstance(x, Tensor) or x.requires_grad or hasattr(x, token_tracking.MARK) or func in _WRITES:
        return NotImplemented
    return func(*args) if all(type(each) in _SINGLE for each in args[1:]) else NotImplemented


def add(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """A sum of two activations."""
    if kwargs or len(args) != 2 or not carries(args[0]) or not carries(args[1]):
        return NotImplemented
    met.counts[func, "plain gradient"] += 1
    return func(*args)


def linear(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """``F.linear`` with the model's own weights by LRP-0."""
    if kwargs or len(args) != 3 or not met.usual.linear:
        return NotImplemented
    x, weight, bias = args
    constants = met.constants
    if not carries(x) or constants.get(id(weight)) != 2 or (bias is not None and id(bias) not in constants):
        return NotImplemented
    if x.dim() < 2:
        return NotImplemented
    met.counts[func, "LRP-0"] += 1
    return Linear.apply(x, weight, bias, met.books, met.sparsity)


def layer_norm(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """``F.layer_norm`` as ``nn.LayerNorm`` calls it, with constant statistics."""
    if len(args) != 2 or len(kwargs) != 3 or not met.usual.norm or not carries(args[0]):
        return NotImplemented
    weight, bias, constants = kwargs.get("weight"), kwargs.get("bias"), met.constants
    known = (weight is None or id(weight) in constants) and (bias is None or id(bias) in constants)
    if not known or "eps" not in kwargs:
        return NotImplemented
    met.counts[func, "statistics constant"] += 1
    return LayerNorm.apply(args[0], tuple(args[1]), weight, bias, kwargs["eps"], met.books)


def elementwise(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """A function of each element of one activation, by the identity rule."""
    if len(args) != 1 or not carries(args[0]) or not met.usual.nonlinearity or kwargs.get("inplace"):
        return NotImplemented
    x = args[0]
    if "inplace" in kwargs:
        kwargs = {key: value for key, value in kwargs.items() if key != "inplace"}
    key = (func, x.dtype, *kwargs.items())
    anchor = met.anchors.get(key)
    if anchor is None:
        anchor = met.anchors[key] = anchor_of_function(func, (), kwargs, x)
    at_zero, slope = anchor
    if at_zero is None:
        return NotImplemented
    met.counts[func, "identity"] += 1
    y = func(x.detach(), **kwargs)
    if at_zero == 0:
        return gates.elementwise(met, x, y, partial(func, **kwargs) if kwargs else func, slope)
    return Elementwise.apply(x, y, at_zero, slope, met.books)


def product(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """A product with a constant, or a gated unit by the uniform rule."""
    if kwargs or len(args) != 2:
        return NotImplemented
    x, y = args
    if carries(x):
        if not isinstance(y, Tensor) or not y.requires_grad:
            met.counts[func, "plain gradient"] += 1
            return func(x, y)
        if not met.usual.product or y.is_leaf:
            return NotImplemented
        out = gates.unit(met, func, args, kwargs)
        if out is not None:
            met.counts[func, "uniform"] += 1
            return out
    elif carries(y) and not (isinstance(x, Tensor) and x.requires_grad):
        met.counts[func, "plain gradient"] += 1
        return func(x, y)
    return NotImplemented


def cat(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """Activations, and nothing else, put together."""
    if not args or not isinstance(args[0], (list, tuple)) or "out" in kwargs or not all(map(carries, args[0])):
        return NotImplemented
    met.counts[func, "plain gradient"] += 1
    return func(*args, **kwargs)


def attention(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """Attention by the rules of the presets through the kernel that is called by name."""
    if len(args) != 3 or not met.usual.attention:
        return NotImplemented
    if met.scores is not None:  # which the long way notes
        return NotImplemented
    out = kernels.flash_attention(met, *args, **kwargs)
    if out is None:
        return NotImplemented
    met.counts[func, "Taylor, uniform"] += 1
    return out


#: A shortcut for each function that has one; it returns NotImplemented where the call is none of the usual form.
SHORTCUTS: dict[Any, Callable[[Interception, Any, Any, Any], Any]] = {
    **{func: move for func, kind in operations.KINDS.items() if kind is operations.TRANSPORT},
    **dict.fromkeys((Tensor.add, torch.add), add),
    **dict.fromkeys(gates.PRODUCTS, product),
    torch.cat: cat,
    F.scaled_dot_product_attention: attention,
    F.linear: linear,
    F.layer_norm: layer_norm,
    **dict.fromkeys((F.gelu, F.silu, torch.tanh, Tensor.tanh, torch.sigmoid, Tensor.sigmoid), elementwise),
}
del SHORTCUTS[Tensor.detach]  # which cuts the values off
