"""Norms as torch computes them whole: their statistics are constants, or they follow the plain gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from textlrp import operations, surrogates
from textlrp.arguments import carries
from textlrp.rules import Plain

if TYPE_CHECKING:
    from textlrp.interception import Interception


def plain_norm(met: Interception, func: Any, x: Tensor, options: dict[str, Any]) -> Tensor:
    """A norm by its plain gradient."""
    met.count(func, "plain gradient")
    out: Tensor = surrogates.PlainNorm.apply(x, lambda x: func(x, **options), met.books)
    return out


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
