"""Every torch function that the model calls, met with its rule.

A ``TorchFunctionMode`` sees whole functionals. The parameters are frozen, so an operand carries relevance exactly if it
requires grad; everything else is a constant, and a constant that is added to relevance is posted to the books.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from textlrp import ledger, operations, surrogates
from textlrp.activations import Anchors, composed_activations
from textlrp.books import Books
from textlrp.errors import UnsupportedOperationError
from textlrp.rules import Epsilon, Frozen, Rules

_TAG = "_textlrp_tag"


class Ids(NamedTuple):
    """Marks integers that came from the input ids: for each, the flat position of its source, or -1."""

    origin: Tensor


def tensors(value: Any) -> Iterator[Tensor]:
    """Yield every tensor in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        yield from tensors(tuple(value.values()))


def replace(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Return nested arguments with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (list, tuple)) and any(True for _ in tensors(value)):
        return type(value)(replace(item, change) for item in value) if type(value) in (list, tuple) else value
    if isinstance(value, dict):
        return {key: replace(item, change) for key, item in value.items()}
    return value


def carries(args: Any, kwargs: dict[str, Any] | None = None) -> bool:
    """Whether any tensor among the arguments carries relevance."""
    for value in args:
        if isinstance(value, Tensor):
            if value.requires_grad:
                return True
        elif isinstance(value, (list, tuple)) and carries(value):
            return True
    return bool(kwargs) and carries(tuple(kwargs.values()))  # type: ignore[union-attr]


class Interception(TorchFunctionMode):
    """Meets every torch function with its rule while the model runs, in this thread alone.

    Args:
        model: the classifier, parameters frozen.
        rules: the rules to follow.
        input_ids: shape ``[batch, sequence]``.
    """

    def __init__(self, model: nn.Module, rules: Rules, input_ids: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.rules = model, rules
        self.books = Books(input_ids.shape[0], dtype)
        self.root = torch.zeros((), dtype=dtype, device=input_ids.device, requires_grad=True)
        self.relevance = torch.zeros(input_ids.numel(), dtype=dtype, device=input_ids.device)
        self.looked_up = False
        self.sampled = False
        self.products: dict[Any, tuple[Any, ...]] = {}
        self.met: dict[tuple[str, str], int] = {}
        self.input_ids = input_ids.clone()
        positions = torch.arange(input_ids.numel(), device=input_ids.device).view(input_ids.shape)
        setattr(self.input_ids, _TAG, Ids(positions))
        self._anchors = Anchors()
        self._hooks: list[Any] = []
        self._within: list[Tensor | None] = []
        self._thread = threading.get_ident()

    # -- scope ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Interception:
        for module in composed_activations(self.model):
            self._hooks.append(module.register_forward_pre_hook(self._before_activation))
            self._hooks.append(module.register_forward_hook(self._after_activation))
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _before_activation(self, module: nn.Module, args: tuple[Any, ...]) -> Any:
        if threading.get_ident() != self._thread or not args or not isinstance(args[0], Tensor):
            return None
        self._within.append(args[0] if args[0].requires_grad else None)
        return (args[0].detach(), *args[1:]) if args[0].requires_grad else None

    def _after_activation(self, module: nn.Module, args: tuple[Any, ...], y: Any) -> Any:
        if threading.get_ident() != self._thread or not args or not isinstance(args[0], Tensor):
            return None
        x = self._within.pop()
        if x is None:
            return None
        with torch._C.DisableTorchFunction():
            if y.data_ptr() == x.data_ptr() and y.shape == x.shape:
                return x
            y = y.clone() if y._is_view() else y
            return self.elementwise(x, y, *self._anchors.of_module(module, x), type(module).__name__)

    # -- dispatch ------------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = operations.KINDS.get(func)
        if kind is operations.LOOKUP:
            return self.lookup(func, args, kwargs)
        if kind is operations.SAMPLE:
            self.sampled = True
        if not carries(args, kwargs):
            out = func(*args, **kwargs)
            if isinstance(out, Tensor):
                self.follow(func, kind, args, kwargs, out)
            return out
        if kind is None:
            out = func(*args, **kwargs)
            if any(tensor.requires_grad for tensor in tensors(out)):
                raise self.unsupported(operations.name(func))
            return out
        if kind is operations.TRANSPORT:
            self.count(func, "plain gradient")
            return func(*args, **kwargs)
        if "out" in kwargs and kwargs["out"] is not None:
            raise self.unsupported(f"{operations.name(func)} with out=")
        in_place = operations.OUT_OF_PLACE.get(func)
        if in_place is not None:
            return self.in_place(func, in_place, kind, args, kwargs)
        out: Any = getattr(self, kind)(func, args, kwargs)
        return out

    def count(self, func: Any, rule: str) -> None:
        """Note that an operation met a rule."""
        key = (operations.name(func) if callable(func) else func, rule)
        self.met[key] = self.met.get(key, 0) + 1

    def unsupported(self, what: str) -> UnsupportedOperationError:
        """Return the error that names an operation and the module that called it."""
        return UnsupportedOperationError(
            f"{what}, called in {self.module_path()}, has no rule: its relevance cannot be accounted for, so no "
            f"explanation is shown"
        )

    def module_path(self) -> str:
        """Name the innermost module on the call stack."""
        names = {id(module): name for name, module in self.model.named_modules()}
        frame: Any = sys._getframe(1)
        while frame is not None:
            owner = frame.f_locals.get("self")
            if isinstance(owner, nn.Module) and id(owner) in names:
                return f"{names[id(owner)] or 'the model'} ({type(owner).__name__})"
            frame = frame.f_back
        return "the model"

    # -- constants -----------------------------------------------------------------------------------------------

    def heading(self, constant: Any) -> str:
        """Return the ledger heading for an added constant."""
        if isinstance(constant, nn.Parameter):
            return ledger.BIASES
        tag = getattr(constant, _TAG, None)
        return tag if isinstance(tag, str) else ledger.CONSTANTS

    def follow(self, func: Any, kind: Any, args: Any, kwargs: Any, out: Tensor) -> None:
        """Keep track of ids and of position tables through operations that carry no relevance."""
        tags = [tag for tensor in tensors((args, kwargs)) if (tag := getattr(tensor, _TAG, None)) is not None]
        if not tags or out is None:
            return
        ids = next((tag for tag in tags if isinstance(tag, Ids)), None)
        if ids is None:
            if out.is_floating_point():
                setattr(out, _TAG, tags[0])
            return
        if out.is_floating_point() or out.is_complex():
            if getattr(func, "__name__", "") in ("__getitem__", "index_select", "take", "gather"):
                raise self.unsupported(f"{operations.name(func)} of a table by the input ids")
            return
        if out.dtype in (torch.bool, torch.uint8):
            return
        origin = self.follow_ids(func, kind, args, kwargs, out, ids)
        if origin is not None and origin.shape == out.shape:
            setattr(out, _TAG, Ids(origin))

    def follow_ids(self, func: Any, kind: Any, args: Any, kwargs: Any, out: Tensor, ids: Ids) -> Tensor | None:
        """Send the origins of ids the way that the ids went."""
        name = operations.name(func)

        def origin_of(tensor: Tensor) -> Tensor:
            tag = getattr(tensor, _TAG, None)
            if isinstance(tag, Ids):
                return tag.origin
            index = tensor.dtype == torch.bool or tensor.dim() == 0 or not merges
            return tensor if index else torch.full_like(tensor, -1)

        merges = kind == "affine" or name in ("Tensor.__setitem__", "Tensor.copy_")
        if operations.is_in_place(func):
            target = args[0]
            if not isinstance(getattr(target, _TAG, None), Ids):
                setattr(target, _TAG, Ids(torch.full(target.shape, -1, device=target.device)))
            if name in ("Tensor.masked_fill_", "Tensor.fill_"):
                args, kwargs = (*args[:-1], -1), {}
            return getattr(target, _TAG).origin if name == "Tensor.zero_" else self._moved(func, args, kwargs, origin_of)
        if kind is operations.TRANSPORT or merges:
            if name in ("Tensor.masked_fill", "torch.masked_fill"):
                args = (*args[:2], -1)
            if name in ("torch.where", "Tensor.where"):
                args = tuple(-1 if isinstance(value, (int, float)) else value for value in args)
            if not any(isinstance(getattr(t, _TAG, None), Ids) for t in tensors(args[:1])) and not merges:
                return None  # the ids only chose what to take
            return self._moved(func, args, kwargs, origin_of)
        # Arithmetic on ids, such as a hash: each result still belongs to the id that it came from.
        return ids.origin.broadcast_to(out.shape) if ids.origin.dim() <= out.dim() else None

    def _moved(self, func: Any, args: Any, kwargs: Any, origin_of: Callable[[Tensor], Tensor]) -> Tensor | None:
        kwargs = {key: value for key, value in kwargs.items() if key != "dtype"}
        try:
            moved = func(*replace(args, origin_of), **replace(kwargs, origin_of))
        except (RuntimeError, TypeError, IndexError):
            return None
        if moved is None:  # __setitem__
            moved = origin_of(args[0])
        return moved if isinstance(moved, Tensor) else None

    def post_constant(self, y: Tensor, constant: Any, heading: str, sign: float = 1.0) -> None:
        """Post the share of a constant that was added to ``y``, when the multiplier of ``y`` is known."""
        books = self.books
        if not isinstance(constant, Tensor):
            constant = constant * sign
        elif sign != 1.0:
            constant = constant * sign

        def post(c: Tensor) -> None:
            with torch._C.DisableTorchFunction():
                books.post_product(heading, c, constant)

        y.register_hook(post)

    def scale_multiplier(self, y: Tensor, share: float, args: Any) -> None:
        """Scale the multiplier of a product's output, and remember the product as met by its rule."""
        self.products[y.grad_fn] = tuple(x.grad_fn for x in tensors(args) if x.requires_grad)
        if share != 1.0:
            y.register_hook(lambda c: c * share)

    # -- rules, by kind ------------------------------------------------------------------------------------------

    def in_place(self, func: Any, out_of_place: Any, kind: str, args: Any, kwargs: Any) -> Any:
        """Write in place what the rule gives out of place: hooks on a view that is written later would be lost."""
        target = args[0]
        if self.may_write(func, kind, args, kwargs):
            self.count(func, "plain gradient")
            return func(*args, **kwargs)
        with torch._C.DisableTorchFunction():
            if func is Tensor.__setitem__:
                result = target.clone()
                args = (result, *args[1:])
            result = getattr(self, kind)(out_of_place, args, kwargs)
            if func is Tensor.__setitem__:
                result = args[0]
            target.copy_(result)
        return None if func is Tensor.__setitem__ else target

    def may_write(self, func: Any, kind: str, args: Any, kwargs: Any) -> bool:
        """Whether an operation can write in place as it is, because nothing has to be posted or scaled."""
        target_carries = args[0].requires_grad
        if kind == "additive":
            return target_carries and carries(args[1:2])
        if kind in ("product", "division"):
            return target_carries and not carries(args[1:], kwargs)
        return kind == "affine" and operations.adds_nothing(func, args, kwargs)

    def lookup(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A row of a table for each index: tokens where the indices come from the input ids."""
        named = dict(zip(operations.LOOKUP_NAMES[func], args, strict=False)) | kwargs
        index, table = named["input"], named["weight"]
        ids = getattr(index, _TAG, None)
        if not isinstance(ids, Ids) or carries((table,)):
            if isinstance(ids, Ids):
                raise self.unsupported(f"{operations.name(func)} in a table computed from activations")
            out = func(*args, **kwargs)
            if carries((table,)):
                self.count(func, "plain gradient")
            else:
                setattr(out, _TAG, self.table_heading(table))
            return out
        if operations.name(func) == "F.embedding_bag":
            raise self.unsupported("F.embedding_bag by the input ids")
        if named.get("max_norm") is not None:
            raise self.unsupported("F.embedding with max_norm, which rewrites the table,")
        if not self.owns(table):
            raise self.unsupported(f"{operations.name(func)} in a table that is computed on the fly")
        self.looked_up = True
        self.count(func, "relevance of tokens")
        origin = ids.origin
        return surrogates.Lookup.apply(
            self.root, lambda: F.embedding(index, table), lambda x, c: self.arrive(origin, x, c)
        )

    def owns(self, table: Tensor) -> bool:
        """Whether a table is a parameter or a buffer of the model, and not a passing result."""
        return isinstance(table, nn.Parameter) or any(table is own for own in self.model.buffers())

    def table_heading(self, table: Tensor) -> str:
        """Tell token type tables from position tables by the parameter's own name: the sum does not depend on it."""
        for name, parameter in self.model.named_parameters():
            if parameter is table:
                return ledger.TOKEN_TYPES if "type" in name or "segment" in name else ledger.POSITIONS
        return ledger.POSITIONS

    def arrive(self, origin: Tensor, x: Tensor, c: Tensor) -> None:
        """Credit each input id with ``sum(x c)`` of its row; rows of no input id (a decoder's start) are special."""
        relevance = (x.to(self.relevance.dtype) * c.to(self.relevance.dtype)).sum(-1)
        known = origin >= 0
        self.relevance.index_add_(0, origin.clamp_min(0).reshape(-1), (relevance * known).reshape(-1))
        self.books.post(ledger.SPECIAL_TOKENS, relevance * ~known)

    def linear(self, func: Any, args: Any, kwargs: Any) -> Any:
        """``y = Wx + b``, LRP-0 or epsilon: the plain gradient; the bias is posted."""
        named = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
        bias = named.get("bias")
        if carries((named["weight"], bias)):
            return self.product(func, args, kwargs)
        y = func(*args, **kwargs)
        if bias is not None:
            self.post_constant(y, bias, ledger.BIASES)
        return self.stabilize(func, y)

    def stabilize(self, func: Any, z: Tensor) -> Tensor:
        """Apply the linear rule to the output of a linear map."""
        rule, books = self.rules.linear, self.books
        if not isinstance(rule, Epsilon):
            self.count(func, "LRP-0")
            return z
        self.count(func, "LRP-epsilon")
        value, epsilon = z.detach(), rule.epsilon

        def absorb(c: Tensor) -> Tensor:
            with torch._C.DisableTorchFunction():
                taken = c * epsilon / (value.abs() + epsilon)
                books.post(ledger.STABILIZER, value * taken)
                return c - taken

        z.register_hook(absorb)
        return z

    def additive(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A sum or a difference: plain for what carries relevance, posted for what does not."""
        y = func(*args, **kwargs)
        self.count(func, "plain gradient")
        operands = list(args) + [kwargs[key] for key in ("input", "other") if key in kwargs]
        constants = [i for i, value in enumerate(operands[:2]) if not carries((value,))]
        if constants:
            (i,) = constants
            sign = operations.sign(func, i) * (kwargs.get("alpha", 1) if i == 1 else 1)
            value = operands[i]
            if isinstance(value, Tensor) or value != 0:
                self.post_constant(y, value, self.heading(value), sign)
        return y

    def affine(self, func: Any, args: Any, kwargs: Any) -> Any:
        """An operation that is linear in what carries relevance plus ``f(0)``, which is posted."""
        y = func(*args, **kwargs)
        result = args[0] if func is Tensor.__setitem__ else y
        if operations.adds_nothing(func, args, kwargs):
            self.count(func, "plain gradient")
            return y
        with torch.no_grad():
            zeroed = replace(args, lambda x: torch.zeros_like(x) if x.requires_grad else x)
            constant = func(*zeroed, **replace(kwargs, lambda x: torch.zeros_like(x) if x.requires_grad else x))
            constant = zeroed[0] if func is Tensor.__setitem__ else constant
        for part, const in zip(tensors(result), tensors(constant), strict=True):
            if bool((const != 0).any()):
                self.post_constant(part, const, self.heading_of(args, kwargs))
        self.count(func, "plain gradient")
        return y

    def heading_of(self, args: Any, kwargs: Any) -> str:
        """Return the heading that the constants among some arguments share."""
        headings = {self.heading(x) for x in tensors((args, kwargs)) if x.is_floating_point() and not x.requires_grad}
        return headings.pop() if len(headings) == 1 else ledger.CONSTANTS

    def convolution(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A convolution with constant kernels, as a linear map."""
        if carries(args[1:], {key: value for key, value in kwargs.items() if key != "input"}):
            raise self.unsupported(f"{operations.name(func)} with kernels computed from activations")
        return self.stabilize(func, self.affine(func, args, kwargs))

    def product(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A product: linear in a single carrier; of ``n`` carriers each gets ``1/n`` (the uniform rule)."""
        y = func(*args, **kwargs)
        carriers = sum(1 for x in tensors((args, kwargs)) if x.requires_grad)
        if carriers == 1:
            self.count(func, "plain gradient")
            return y
        self.count(func, "uniform")
        if carriers == 2 and operations.is_matmul(func) and min(x.dim() for x in args) > 1:
            return surrogates.Matmul.apply(*args)
        self.scale_multiplier(y, 1.0 / carriers, (args, kwargs))
        return y

    def sum_of_product(self, func: Any, args: Any, kwargs: Any) -> Any:
        """``baddbmm`` and its kin: the product apart from the sum, so that each part meets its own rule."""
        value = func(*replace(args, Tensor.detach), **replace(kwargs, Tensor.detach))
        base, twin = operations.sum_of_product(func, args, kwargs, lambda f, *xs: self.product(f, xs, {}))
        if carries((base,)) and carries((twin,)):
            summed = base + twin
        elif carries((twin,)):
            summed = self.additive(torch.add, (twin, base), {})
        else:
            summed = self.additive(torch.add, (base, twin), {})
        return surrogates.StandIn.apply(summed, value)

    def division(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A quotient: the denominator is held constant."""
        args = list(args)
        top, bottom = (1, 0) if operations.name(func) == "Tensor.__rtruediv__" else (0, 1)
        if len(args) == 2 and isinstance(args[bottom], Tensor):
            args[bottom] = args[bottom].detach()
        elif isinstance(kwargs.get("other"), Tensor):
            kwargs = kwargs | {"other": kwargs["other"].detach()}
        self.count(func, "denominator constant")
        if kwargs.get("rounding_mode") is not None and carries(args):
            x = args[top]
            y = func(*replace(args, Tensor.detach), **kwargs)
            return self.elementwise(x, y, 0.0, 0.0, operations.name(func))
        return func(*args, **kwargs)

    def statistic(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A root, a norm, a spread: a statistic of activations, held constant (Ali et al. 2022)."""
        self.count(func, "constant")
        return func(*replace(args, Tensor.detach), **replace(kwargs, Tensor.detach))

    def elementwise(self, x: Tensor, y: Tensor, at_zero: float, slope: float, name: str) -> Tensor:
        """Apply the identity rule to ``y = f(x)``."""
        self.count(name, "identity")
        out: Tensor = surrogates.Elementwise.apply(x, y, at_zero, slope, self.books)
        return out

    def nonlinearity(self, func: Any, args: Any, kwargs: Any) -> Any:
        """An elementwise function of the first argument."""
        x = args[0] if args else kwargs["input"]
        rest = (args[1:], {key: value for key, value in kwargs.items() if key not in ("input", "inplace")})
        if not isinstance(x, Tensor) or not x.requires_grad or carries(rest[0], rest[1]):
            raise self.unsupported(f"{operations.name(func)} of several activations")
        if operations.is_power(func):
            exponent = rest[0][0] if rest[0] else rest[1].get("exponent", 2)
            if isinstance(exponent, Tensor) or exponent <= 0 or exponent == 0.5:
                return self.statistic(func, args, kwargs)
            if exponent == 2:
                self.count(func, "identity")
                return surrogates.Square.apply(x, func(x.detach(), *rest[0], **rest[1]))
        y = func(x.detach(), *rest[0], **rest[1])
        at_zero, slope = self._anchors.of_function(func, rest[0], rest[1], x)
        if at_zero is None:
            raise self.unsupported(f"{operations.name(func)}, which has no finite value at zero,")
        return self.elementwise(x, y, at_zero, slope, operations.name(func))

    def softmax(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Softmax: its Taylor expansion, or held constant."""
        if isinstance(self.rules.softmax, Frozen):
            self.count(func, "frozen")
            return func(*replace(args, Tensor.detach), **kwargs)
        self.count(func, "Taylor")
        x = args[0] if args else kwargs["input"]
        dim = kwargs["dim"] if "dim" in kwargs else args[1]
        p = func(*replace(args, Tensor.detach), **replace(kwargs, Tensor.detach))
        return surrogates.Softmax.apply(x, p, dim, self.books)

    def layer_norm(self, func: Any, args: Any, kwargs: Any) -> Any:
        """LayerNorm with its spread held constant."""
        named = dict(zip(operations.LAYER_NORM_NAMES, args, strict=False)) | kwargs
        if carries((named.get("weight"), named.get("bias"))):
            raise self.unsupported("F.layer_norm with weights computed from activations")
        self.count(func, "statistics constant")
        shape = tuple(named["normalized_shape"])
        eps = named.get("eps", 1e-5)
        return surrogates.LayerNorm.apply(named["input"], shape, named.get("weight"), named.get("bias"), eps, self.books)

    def rms_norm(self, func: Any, args: Any, kwargs: Any) -> Any:
        """RMSNorm with its root mean square held constant."""
        named = dict(zip(("input", "normalized_shape", "weight", "eps"), args, strict=False)) | kwargs
        if carries((named.get("weight"),)):
            raise self.unsupported("F.rms_norm with weights computed from activations")
        self.count(func, "statistics constant")
        shape = tuple(named["normalized_shape"])
        return surrogates.RMSNorm.apply(named["input"], shape, named.get("weight"), named.get("eps"))

    def normalize(self, func: Any, args: Any, kwargs: Any) -> Any:
        """``x / max(|x|, eps)`` with the norm held constant."""
        x, *rest = args
        value = func(x.detach(), *rest, **kwargs)
        named = dict(zip(("p", "dim", "eps"), rest, strict=False)) | kwargs
        norm = x.detach().norm(named.get("p", 2.0), named.get("dim", 1), keepdim=True)
        self.count(func, "statistics constant")
        return surrogates.StandIn.apply(x / norm.clamp_min(named.get("eps", 1e-12)), value)

    def glu(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A gated linear unit, ``a sigmoid(b)``, as the product and the non-linearity that it is."""
        x, *rest = args
        value = func(x.detach(), *rest, **kwargs)
        dim = rest[0] if rest else kwargs.get("dim", -1)
        a, b = x.chunk(2, dim)
        gate = self.nonlinearity(torch.sigmoid, (b,), {})
        return surrogates.StandIn.apply(self.product(torch.mul, (a, gate), {}), value)

    def attention(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Scaled dot product attention, through the backward of its own fused kernel."""
        from textlrp.attention import scaled_dot_product_attention

        return scaled_dot_product_attention(self, func, args, kwargs)

    def multi_head(self, func: Any, args: Any, kwargs: Any) -> Any:
        """``torch.nn.MultiheadAttention``, step by step."""
        from textlrp.attention import multi_head_attention

        return multi_head_attention(self, func, args, kwargs)
