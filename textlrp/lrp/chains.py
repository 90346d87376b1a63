"""Elementwise chains: which tensors are functions of each element of one source, whatever steps they were made of.

A step is a function of each element, or a sum, a product or a comparison of results for the same source, with single
numbers for constants, or tensors that were made of one (``torch.zeros_like(x)``). Biases and scales of several numbers
are no steps: what comes after them has another source.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from torch import Tensor

from textlrp.guard import trees
from textlrp.lrp import operations

_MARK, _NUMBER = "_textlrp_chain", "_textlrp_number"

_ARITHMETIC = """
    add sub subtract rsub mul multiply div divide true_divide neg negative clone float double half bfloat16 to where
    maximum minimum fmax fmin max min masked_fill lt le gt ge eq ne less less_equal greater greater_equal logical_and
    logical_or logical_not logical_xor bitwise_and bitwise_or bitwise_not isnan __add__ __radd__ __sub__ __rsub__
    __mul__ __rmul__ __truediv__ __rtruediv__ __neg__ __lt__ __le__ __gt__ __ge__ __eq__ __ne__ __and__ __or__
    __invert__ __xor__ relu leaky_relu abs absolute __abs__ sqrt rsqrt reciprocal log log2 log10
""".split()
#: The functions that may be steps of a chain.
STEPS = frozenset(_ARITHMETIC) | {operations.stem(f) for f, kind in operations.KINDS.items() if kind == "nonlinearity"}
#: Steps that are a scale or a shift, of one result of the chain.
_LINEAR = frozenset(
    "add sub subtract rsub __add__ __radd__ __sub__ __rsub__ mul multiply __mul__ __rmul__ div divide true_divide "
    "__truediv__ neg negative __neg__ clone float double half bfloat16 to".split()
)
#: Functions that make a tensor of one number, whatever its shape.
_FILLS = frozenset("zeros_like ones_like full_like new_zeros new_ones new_full zeros ones full".split())
PRODUCTS = ("mul", "multiply", "__mul__", "__rmul__")
#: Steps that may choose between results, products with a condition among them.
BRANCHES = frozenset((*"where maximum minimum fmax fmin max min masked_fill".split(), *PRODUCTS))


class Chain(NamedTuple):
    """A tensor as a function of each element of a source.

    Attributes:
        source: the source.
        function: the function, of a tensor of any shape.
        versions: how often the tensor and its source had been written to.
        linear: whether the function is only a scale and a shift.
    """

    source: Tensor
    function: Callable[[Tensor], Any]
    versions: tuple[int, int]
    linear: bool


def chain(x: Tensor) -> Chain | None:
    """Return a tensor's chain, or None if it starts one itself, or if it or its source was written to."""
    known: Chain | None = getattr(x, _MARK, None)
    return known if known is not None and known.versions == (x._version, known.source._version) else None


def joined(func: Any, args: Any, kwargs: Any) -> tuple[Tensor, Callable[[Tensor], Any]] | None:
    """Return the source and the function of a step's result, or None if it is no step of a chain."""
    source: Tensor | None = None
    for x in trees.tensors((args, kwargs)):
        known = chain(x)
        if known is None and not x.requires_grad:
            if not _is_number(x):
                return None
            continue
        start = x if known is None else known.source
        if source is not None and start is not source:
            return None
        source = start
    if source is None:
        return None

    def slot(x: Any) -> Any:
        # The function must not keep the results in between.
        if not isinstance(x, Tensor):
            return lambda at: x
        known = chain(x)
        if known is not None:
            return known.function
        if x.requires_grad:
            return lambda at: at
        # A single number has no shape here, which could add dimensions to the result.
        number = x[(0,) * x.dim()]
        return lambda at: number

    places, names = [slot(x) for x in args], {key: slot(x) for key, x in kwargs.items()}

    def function(at: Tensor) -> Any:
        return func(*[place(at) for place in places], **{key: place(at) for key, place in names.items()})

    return source, function


def is_activation(x: Any) -> bool:
    """Return whether a tensor is a function of each element of another one, more than a scale and a shift."""
    known = chain(x) if isinstance(x, Tensor) else None
    return known is not None and not known.linear


def branch(func: Any, args: Any, kwargs: Any) -> tuple[Tensor, Callable[[Tensor], Any]] | None:
    """Return the source and the function of a choice between results of one chain, or None."""
    stem = operations.stem(func)
    if stem in PRODUCTS and not any(chain(x) for x in trees.tensors(args) if not x.requires_grad):
        return None  # no condition is among the factors
    if stem in ("max", "min") and not isinstance(args[1] if len(args) > 1 else None, Tensor):
        return None  # of all entries of a tensor, or along a dimension
    return joined(func, args, kwargs)


def follow(func: Any, args: Any, kwargs: Any, out: Any) -> None:
    """Mark the result of a step, or a constant of one number."""
    if isinstance(out, Tensor) and is_step(func) and not operations.is_in_place(func):
        known = joined(func, args, kwargs)
        if operations.stem(func) in _FILLS or (known is None and all(map(_is_number, trees.tensors((args, kwargs))))):
            setattr(out, _NUMBER, out._version)
        elif known is not None and out.shape == known[0].shape:
            mark(out, known, _is_linear(func, args))


def mark(out: Tensor, known: tuple[Tensor, Callable[[Tensor], Any]], linear: bool) -> None:
    """Mark a tensor as a function of each element of a source."""
    setattr(out, _MARK, Chain(*known, (out._version, known[0]._version), linear))


def _is_number(x: Tensor) -> bool:
    """Return whether a constant is one number, or was made of one: ``torch.zeros_like(x)``."""
    return not x.requires_grad and (x.numel() == 1 or (x.numel() > 1 and getattr(x, _NUMBER, None) == x._version))


def end(x: Tensor) -> None:
    """Let a tensor that is observed be the source of what comes after it, so that relevance passes through it."""
    setattr(x, _MARK, None)


def _is_linear(func: Any, args: Any) -> bool:
    """Return whether a step of a chain leaves it linear."""
    operands = [x for x in args if isinstance(x, Tensor)]
    if operations.stem(func) not in _LINEAR or any(map(is_activation, operands)):
        return False
    varying = [x for x in operands if x.requires_grad or chain(x) is not None]
    return len(varying) == 1 or operations.KINDS.get(func) == "additive"


@cache
def is_step(func: Any) -> bool:
    """Return whether a function may be a step of a chain."""
    return operations.stem(func) in STEPS or operations.stem(func) in _FILLS
