"""Norms, as torch computes them whole or as models write them out: with constant statistics, or by plain gradient.

A norm that is written out reaches torch as squares, means, roots and quotients. By the plain gradient, each of them
follows its own, and what that leaves over is posted as what a whole norm leaves over; a statistic is known by a mark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from textlrp.lrp import operations, surrogates
from textlrp.lrp.trees import carriers, carries, replace
from textlrp.results import ledger
from textlrp.rules import Plain

if TYPE_CHECKING:
    from textlrp.lrp.dispatch import Interception


def plain_norm(met: Interception, func: Any, x: Tensor, options: dict[str, Any]) -> Tensor:
    """A norm by its plain gradient."""
    met.count(func, "plain gradient")
    out: Tensor = surrogates.PlainNorm.apply(x, lambda x: func(x, **options), met.books)
    return out


_MARK = "_textlrp_statistic"


def is_statistic(value: Any) -> bool:
    """Whether activations are a statistic of a norm that is written out, or what became of it."""
    return isinstance(value, Tensor) and getattr(value, _MARK, False)


def follow(args: Any, kwargs: Any, out: Any) -> None:
    """Keep track of statistics: what comes of nothing but statistics is one."""
    if isinstance(out, Tensor) and out.requires_grad and all(map(is_statistic, carriers(args, kwargs))):
        setattr(out, _MARK, True)


def plain_statistic(met: Interception, func: Any, args: Any, kwargs: Any) -> Tensor:
    """A statistic by its plain gradient: a root, a spread, a square on its way to one."""
    met.count(func, "plain gradient")
    x = next(iter(carriers(args, kwargs)))

    def again(y: Tensor) -> Tensor:
        def change(z: Tensor) -> Tensor:
            return y if z is x else z

        result: Tensor = func(*replace(args, change), **replace(kwargs, change))
        return result

    out: Tensor = surrogates.PlainNorm.apply(x, again, met.books)
    if operations.KINDS.get(func) == "statistic" or operations.is_root(func, args, kwargs):
        setattr(out, _MARK, True)
    return out


def plain_product(met: Interception, func: Any, args: Any, kwargs: Any, share: float) -> Any:
    """A product with a statistic, or a quotient by one, by its plain gradient.

    Args:
        met: the interception.
        func, args, kwargs: the operation.
        share: what the plain gradient leaves over of the result's relevance: -1 for ``x y``, 1 for ``x / y``.
    """
    met.count(func, "plain gradient")
    y = func(*args, **kwargs)
    met.mark_product(y, (args, kwargs))
    met.post_constant(y, y.detach().clone(), ledger.NORMS, share)
    return y


def is_plain_product(met: Interception, args: Any, kwargs: Any) -> bool:
    """Whether a product belongs to a norm that follows its plain gradient: a statistic is in it, or a square."""
    if not isinstance(met.rules.norm, Plain) or not torch.is_grad_enabled():
        return False
    found = carriers(args, kwargs)
    return len(found) == 2 and (any(map(is_statistic, found)) or found[0] is found[1])


def layer_norm(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """LayerNorm with its spread held constant."""
    named = dict(zip(operations.LAYER_NORM_NAMES, args, strict=False)) | kwargs
    if carries((named.get("weight"), named.get("bias"))):
        raise met.unsupported("F.layer_norm with weights computed from activations")
    if isinstance(met.rules.norm, Plain):
        return plain_norm(met, func, named.pop("input"), named)
    met.count(func, "statistics constant")
    shape = tuple(named["normalized_shape"])
    eps = named.get("eps", 1e-5)
    return surrogates.LayerNorm.apply(named["input"], shape, named.get("weight"), named.get("bias"), eps, met.books)


def rms_norm(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """RMSNorm with its root mean square held constant."""
    named = dict(zip(("input", "normalized_shape", "weight", "eps"), args, strict=False)) | kwargs
    if carries((named.get("weight"),)):
        raise met.unsupported("F.rms_norm with weights computed from activations")
    if isinstance(met.rules.norm, Plain):
        return plain_norm(met, func, named.pop("input"), named)
    met.count(func, "statistics constant")
    shape = tuple(named["normalized_shape"])
    return surrogates.RMSNorm.apply(named["input"], shape, named.get("weight"), named.get("eps"))


def normalize(met: Interception, func: Any, args: Any, kwargs: Any) -> Any:
    """``x / max(|x|, eps)`` with the norm held constant."""
    x, *rest = args
    if isinstance(met.rules.norm, Plain):
        return plain_norm(met, func, x, dict(zip(("p", "dim", "eps"), rest, strict=False)) | kwargs)
    value = func(x.detach(), *rest, **kwargs)
    named = dict(zip(("p", "dim", "eps"), rest, strict=False)) | kwargs
    norm = x.detach().norm(named.get("p", 2.0), named.get("dim", 1), keepdim=True)
    met.count(func, "statistics constant")
    out: Tensor = surrogates.StandIn.apply(x / norm.clamp_min(named.get("eps", 1e-12)), value.detach())
    return out
