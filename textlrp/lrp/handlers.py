"""What each kind of operation does to the multiplier: the rules, applied to a torch function's own arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textlrp.lrp import activations, gates, maps, norms, operations, shortcuts, surrogates, token_tracking
from textlrp.lrp.trees import carries, replace, tensors
from textlrp.results import ledger
from textlrp.rules import Frozen, Gradient, Plain, Uniform

if TYPE_CHECKING:
    from textlrp.lrp.dispatch import Interception


def in_place(met: Interception, func: Any, out_of_place: Any, kind: str, args: Any, kwargs: Any) -> Any:
    """Write in place what the rule gives out of place: hooks on a view that is written later would be lost."""
    target = args[0]
    if not target.requires_grad:
        take_in(met, target)
    if may_write(met, func, kind, args, kwargs):
        met.count(func, "plain gradient")
        return func(*args, **kwargs)
    args = (target.clone(), *args[1:])  # what a rule keeps must not be written over
    if func is Tensor.__setitem__:
        result = args[0]
        HANDLERS[kind](met, func, args, kwargs)
    else:
        result = HANDLERS[kind](met, out_of_place, args, kwargs)
    return overwrite(met, target, result, token_tracking.common_heading((args[1:], kwargs)), func)


def take_in(met: Interception, target: Tensor) -> None:
    """Let a constant that is about to be written with relevance carry its own, which is posted from where it stands."""
    base = target if target._base is None else target._base
    if not base.is_floating_point() or operations.is_blank(base) or not torch.is_grad_enabled():
        return
    if any(base is own for own in met.parts.buffers):
        raise met.unsupported("a model's buffer that is written with activations")
    base.copy_(surrogates.Constant.apply(met.root, base.clone(), token_tracking.heading(target), met.books))
    _ = target.grad_fn  # autograd renews a view's node when it is asked for it


def overwrite(met: Interception, target: Tensor, result: Tensor, heading: str, func: Any = None) -> Any:
    """Write a result over activations."""
    if target.requires_grad and not result.requires_grad and not operations.is_blank(result):
        if target._is_view():
            result = surrogates.Constant.apply(met.root, result.broadcast_to(target.shape), heading, met.books)
        else:
            target.detach_()  # a constant from here on
    target.copy_(result)
    return None if func is Tensor.__setitem__ else target


def may_write(met: Interception, func: Any, kind: str, args: Any, kwargs: Any) -> bool:
    """Whether an operation can write in place as it is, because nothing has to be posted or scaled."""
    target_carries = args[0].requires_grad
    if kind == "additive":
        return target_carries and carries(args[1:2])
    if kind in ("product", "division"):
        return target_carries and not carries(args[1:], kwargs)
    return kind == "affine" and operations.adds_nothing(func, args, kwargs)


def lookup(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """A row of a table for each index: tokens where the indices come from the input ids."""
    named = dict(zip(operations.LOOKUP_NAMES[func], args, strict=False)) | kwargs
    index, table = named["input"], named["weight"]
    origin = token_tracking.origin(index)
    if origin is None or carries((table,)):
        if origin is not None:
            raise met.unsupported(f"{operations.name(func)} in a table computed from activations")
        out = func(*args, **kwargs)
        if carries((table,)):
            met.count(func, "plain gradient")
        else:
            token_tracking.mark_heading(out, token_tracking.table_heading(met.model, table))
        return out
    if operations.name(func) == "F.embedding_bag":
        raise met.unsupported("F.embedding_bag by the input ids")
    if named.get("max_norm") is not None:
        raise met.unsupported("F.embedding with max_norm, which rewrites the table,")
    if not maps.owns(met, table):
        raise met.unsupported(f"{operations.name(func)} in a table that is computed on the fly")
    met.looked_up = True
    met.count(func, "relevance of tokens")
    arrive = maps.arrival(met, origin, table)
    return surrogates.Lookup.apply(met.root, lambda: F.embedding(index, table), arrive)


def linear(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """``y = Wx + b``: the linear rule; with weights computed from activations, a product."""
    out = shortcuts.linear(met, func, args, kwargs) if torch.is_grad_enabled() else NotImplemented
    if out is not NotImplemented:
        return out
    named = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
    bias = named.get("bias")
    if carries((named["weight"], bias)):
        y = product(met, torch.matmul, (named["input"], named["weight"].mT), {})
        if bias is None:
            return y
        return y + bias if bias.requires_grad else additive(met, torch.add, (y, bias), {})
    rest = {key: value for key, value in kwargs.items() if key != "input"}

    def whole(x: Tensor) -> Tensor:
        y: Tensor = func(x, *args[1:], **rest)
        return y

    return maps.share_out(met, func, named["input"], whole, F.linear, named["weight"], bias)


def additive(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """A sum or a difference: plain for what carries relevance, posted for what does not."""
    y = func(*args, **kwargs)
    met.count(func, "plain gradient")
    operands = list(args) + [kwargs[key] for key in ("input", "other") if key in kwargs]
    constants = [i for i, value in enumerate(operands[:2]) if not carries((value,))]
    if constants:
        (i,) = constants
        sign = operations.sign(func, i) * (kwargs.get("alpha", 1) if i == operations.scaled_position(func) else 1)
        value = operands[i]
        if isinstance(value, Tensor) or value != 0:
            met.post_constant(y, value, token_tracking.heading(value), sign)
    return y


def affine(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """An operation that is linear in what carries relevance plus ``f(0)``, which is posted."""
    met.count(func, "plain gradient")
    if operations.adds_nothing(func, args, kwargs):
        return func(*args, **kwargs)
    with torch.no_grad():
        zeroed = replace(args, lambda x: torch.zeros_like(x) if x.requires_grad else x)
        if func is Tensor.__setitem__ and zeroed[0] is args[0]:
            zeroed = (args[0].clone(), *zeroed[1:])
        constant = func(*zeroed, **replace(kwargs, lambda x: torch.zeros_like(x) if x.requires_grad else x))
        constant = zeroed[0] if func is Tensor.__setitem__ else constant
    y = func(*args, **kwargs)
    for part, const in zip(tensors(args[0] if func is Tensor.__setitem__ else y), tensors(constant), strict=True):
        if part.requires_grad and bool((const != 0).any()):
            met.post_constant(part, const, token_tracking.common_heading((args, kwargs)))
    return y


def product(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """A product: linear in a single carrier; of several, each gets its share by the rule for products."""
    carriers = sum(1 for x in tensors((args, kwargs)) if x.requires_grad)
    if carriers == 1 and not kwargs and maps.by_matmul(met, func, args):
        return maps.matmul(met, func, args)
    if carriers == 1:
        met.count(func, "plain gradient")
        return func(*args, **kwargs)
    if norms.is_plain_product(met, args, kwargs):
        return norms.plain_product(met, func, args, kwargs, -1.0)
    if not isinstance(met.rules.product, Uniform):
        return product_by_rule(met, func, args, kwargs, carriers)
    met.count(func, "uniform")
    gated = gates.unit(met, func, args, kwargs)
    if gated is not None:
        return gated
    if operations.is_matmul(func) and len(args) == 2 and min(x.dim() for x in args) > 1 and torch.is_grad_enabled():
        return surrogates.Matmul.apply(*args)
    y = func(*args, **kwargs)
    if y.requires_grad:
        met.mark_product(y, (args, kwargs))
        met.scale_multiplier(y, 1.0 / carriers)
    return y


def product_by_rule(met: Interception, func: Any, args: Any, kwargs: Any, carriers: int) -> Any:
    """A product of several carriers by another rule than the uniform one."""
    if isinstance(met.rules.product, Frozen):
        met.count(func, "first factor constant")
        held: list[Tensor] = []

        def hold(x: Tensor) -> Tensor:
            if held or not x.requires_grad:
                return x
            held.append(x)
            return x.detach()

        return product(met, func, replace(args, hold), replace(kwargs, hold))
    met.count(func, "Taylor")
    y = func(*args, **kwargs)
    if y.requires_grad:
        met.mark_product(y, (args, kwargs))
        met.post_constant(y, y.detach().clone(), ledger.PRODUCTS, 1.0 - carriers)
    return y


def sum_of_product(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """``baddbmm`` and its kin: the product apart from the sum, so that each part meets its own rule."""
    if not kwargs and not carries(args[:1]) and maps.by_matmul(met, func, args[1:]):
        return maps.matmul(met, func, args[1:], args[0])
    value = func(*replace(args, Tensor.detach), **replace(kwargs, Tensor.detach))
    base, twin = operations.sum_of_product(func, args, kwargs, lambda f, *xs: product(met, f, xs, {}))
    if carries((base,)) and carries((twin,)):
        summed = base + twin
    elif carries((twin,)):
        summed = additive(met, torch.add, (twin, base), {})
    else:
        summed = additive(met, torch.add, (base, twin), {})
    return stand_in(summed, value)


def stand_in(twin: Tensor, value: Tensor) -> Tensor:
    """Return the value of a fused kernel with the gradient of its step-by-step twin."""
    # Detached, because autograd lets nobody write into a view that was made without grad.
    out: Tensor = surrogates.StandIn.apply(twin, value.detach())
    return out


def division(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """A quotient: the denominator is held constant."""
    args = list(args)
    top, bottom = (1, 0) if operations.name(func) == "Tensor.__rtruediv__" else (0, 1)
    below = args[bottom] if len(args) == 2 else kwargs.get("other")
    if isinstance(met.rules.norm, Plain) and norms.is_statistic(below):
        if not carries((args[top],)):
            return norms.plain_statistic(met, func, tuple(args), kwargs)
        return norms.plain_product(met, func, tuple(args), kwargs, 1.0)
    if len(args) == 2 and isinstance(args[bottom], Tensor):
        args[bottom] = args[bottom].detach()
    elif isinstance(kwargs.get("other"), Tensor):
        kwargs = kwargs | {"other": kwargs["other"].detach()}
    met.count(func, "denominator constant")
    if kwargs.get("rounding_mode") is not None and carries(args):
        x = args[top]
        y = func(*replace(args, Tensor.detach), **kwargs)
        return elementwise(met, x, y, 0.0, 0.0, operations.name(func))
    return func(*args, **kwargs)


def solve(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """``X = A^-1 B``, a division by a matrix: ``A`` is held constant, as every denominator."""
    met.count(func, "denominator constant")
    args = list(args)
    args[0] = args[0].detach()
    return func(*args, **kwargs)


def statistic(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """A root, a norm, a spread: a statistic of activations, held constant (Ali et al. 2022)."""
    if isinstance(met.rules.norm, Plain):
        return norms.plain_statistic(met, func, args, kwargs)
    met.count(func, "constant")
    return func(*replace(args, Tensor.detach), **replace(kwargs, Tensor.detach))


def gradient(met: Interception, function: Callable[[Tensor], Tensor], x: Tensor, name: str) -> Tensor:
    """Apply the plain gradient to ``y = f(x)``."""
    met.count(name, "plain gradient")
    out: Tensor = surrogates.Gradient.apply(x, function, met.books)
    return out


def elementwise(met: Interception, x: Tensor, y: Tensor, at_zero: float, slope: float, name: str) -> Tensor:
    """Apply the identity rule to ``y = f(x)``."""
    met.count(name, "identity")
    out: Tensor = surrogates.Elementwise.apply(x, y, at_zero, slope, met.books)
    return out


def nonlinearity(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """An elementwise function of the first argument."""
    args, kwargs, writes = operations.without_inplace(func, args, kwargs)
    if writes:
        result = nonlinearity(met, func, (args[0].clone(), *args[1:]), kwargs)
        return overwrite(met, args[0], result, ledger.CONSTANTS)
    x = args[0] if args else kwargs["input"]
    rest = (args[1:], {key: value for key, value in kwargs.items() if key != "input"})
    if operations.is_power(func) and len(args) == 2 and not carries(args[:1]):
        return nonlinearity(met, Tensor.__rpow__, args[::-1], {})
    if not isinstance(x, Tensor) or not x.requires_grad or carries(rest[0], rest[1]):
        raise met.unsupported(f"{operations.name(func)} of several activations")
    if operations.is_power(func):
        if operations.is_root(func, args, kwargs):
            return statistic(met, func, args, kwargs)
        exponent = rest[0][0] if rest[0] else rest[1].get("exponent", 2)
        if exponent == 2 and isinstance(met.rules.norm, Plain):
            return norms.plain_statistic(met, func, args, kwargs)
        if exponent == 2:
            met.count(func, "identity")
            return surrogates.Square.apply(x, func(x.detach(), *rest[0], **rest[1]))
    if isinstance(met.rules.nonlinearity, Gradient):
        return gradient(met, lambda x: func(x, *rest[0], **rest[1]), x, operations.name(func))
    y = func(x.detach(), *rest[0], **rest[1])
    if operations.name(func).endswith("prelu"):  # its slopes are by channel, and its value at zero is zero
        return elementwise(met, x, y, 0.0, 1.0, operations.name(func))
    if operations.is_clamp(func) and any(bound.numel() > 1 for bound in tensors(rest)):
        return clamp(met, func, x, y, *rest)
    at_zero, slope = activations.anchor_of_function(func, rest[0], rest[1], x)
    if at_zero is None:
        raise met.unsupported(f"{operations.name(func)}, which has no finite value at zero,")
    if at_zero == 0:
        met.count(func, "identity")
        return gates.elementwise(met, x, y, lambda x: func(x, *rest[0], **rest[1]), slope)
    return elementwise(met, x, y, at_zero, slope, operations.name(func))


def clamp(met: Interception, func: Any, x: Tensor, y: Tensor, args: Any, kwargs: Any) -> Tensor:
    """A clamp between tensors: what is within the bounds passes, a bound that wins is a constant."""
    named = dict(zip(("min", "max"), args, strict=False)) | kwargs
    low, high = (
        y.new_tensor(end) if bound is None else bound
        for bound, end in ((named.get("min"), -torch.inf), (named.get("max"), torch.inf))
    )
    inside = (x.detach() >= low) & (x.detach() <= high)
    met.count(func, "plain gradient")
    passed = x * inside
    met.post_constant(passed, torch.where(inside, 0.0, y), ledger.CONSTANTS)
    return stand_in(passed, y)


def winner(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """The larger or smaller of two tensors: the winner passes its relevance, and is posted where it is a constant."""
    named = dict(zip(("input", "other"), args, strict=False)) | kwargs
    if not isinstance(named.get("other"), Tensor):  # max and min of one tensor, along a dimension
        met.count(func, "plain gradient")
        return func(*args, **kwargs)
    y = func(*args, **kwargs)
    met.count(func, "plain gradient")
    for value, other in ((named["input"], named["other"]), (named["other"], named["input"])):
        if not value.requires_grad:
            share = (y == value).to(y.dtype) / (1 + (value == other).to(y.dtype))  # a tie is shared
            met.post_constant(y, torch.where(share > 0, value * share, 0.0), token_tracking.heading(value))
    return y


def softmax(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """Softmax: its Taylor expansion, or held constant."""
    x = args[0] if args else kwargs["input"]
    dim = kwargs["dim"] if "dim" in kwargs else args[1]
    if met.scores is not None:
        met.scores.look_at(x, dim)
    if isinstance(met.rules.softmax, Frozen):
        met.count(func, "frozen")
        return func(*replace(args, Tensor.detach), **kwargs)
    met.count(func, "uniform" if isinstance(met.rules.softmax, Uniform) else "Taylor")
    p = func(*replace(args, Tensor.detach), **replace(kwargs, Tensor.detach))
    rule = surrogates.UniformSoftmax if isinstance(met.rules.softmax, Uniform) else surrogates.Softmax
    return rule.apply(x, p, dim, met.books)


def glu(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """A gated linear unit, ``a sigmoid(b)``, as the product and the non-linearity that it is."""
    x, *rest = args
    value = func(x.detach(), *rest, **kwargs)
    dim = rest[0] if rest else kwargs.get("dim", -1)
    a, b = x.chunk(2, dim)
    gate = nonlinearity(met, torch.sigmoid, (b,), {})
    return stand_in(product(met, torch.mul, (a, gate), {}), value)


def sample(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """Random numbers drawn after the shape or by the values of activations: constants."""
    met.count(func, "constant")
    if operations.is_in_place(func) and args[0].requires_grad:
        drawn = met.draw(func, (torch.empty_like(args[0]), *args[1:]), kwargs)
        return overwrite(met, args[0], drawn, ledger.CONSTANTS)
    return met.draw(func, replace(args, Tensor.detach), replace(kwargs, Tensor.detach))


def dropout(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """Dropout: of what is drawn, the plain gradient; in evaluation mode, nothing is."""
    met.count(func, "plain gradient")
    return met.draw(func, args, kwargs) if operations.draws(func, args, kwargs) else func(*args, **kwargs)


#: The handler of each kind in :data:`textlrp.lrp.operations.KINDS` but the attention functionals.
HANDLERS: dict[str, Callable[[Interception, Any, Any, Any], Any]] = {
    handler.__name__: handler
    for handler in (
        linear,
        additive,
        affine,
        maps.convolution,
        product,
        sum_of_product,
        division,
        solve,
        statistic,
        nonlinearity,
        softmax,
        norms.layer_norm,
        norms.rms_norm,
        norms.normalize,
        glu,
        sample,
        dropout,
        winner,
    )
}
