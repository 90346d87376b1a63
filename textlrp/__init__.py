"""Which words made a text classifier decide: relevance propagation for any Hugging Face model, with balanced books."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from textlrp.errors import LRPError
from textlrp.explanation import Explanation
from textlrp.ledger import Ledger
from textlrp.rules import (
    LRP0,
    AlphaBeta,
    Constant,
    Epsilon,
    Flat,
    Frozen,
    Gamma,
    Gradient,
    Identity,
    Pass,
    Plain,
    Rules,
    Taylor,
    Uniform,
    WSquare,
    ZPlus,
)
from textlrp.spans import Span

if TYPE_CHECKING:
    from textlrp.explainer import Explainer
    from textlrp.propagation import Propagation, propagate

__version__ = "0.1.0"
__all__ = [
    "LRP0",
    "AlphaBeta",
    "Constant",
    "Epsilon",
    "Explainer",
    "Explanation",
    "Flat",
    "Frozen",
    "Gamma",
    "Gradient",
    "Identity",
    "LRPError",
    "Ledger",
    "Pass",
    "Plain",
    "Propagation",
    "Rules",
    "Span",
    "Taylor",
    "Uniform",
    "WSquare",
    "ZPlus",
    "propagate",
]

# What needs torch is loaded when it is first asked for: a saved explanation is read and shown without torch.
_NEEDS_TORCH = {"Explainer": "explainer", "Propagation": "propagation", "propagate": "propagation"}


def __getattr__(name: str) -> Any:
    if name in _NEEDS_TORCH:
        return getattr(importlib.import_module(f"textlrp.{_NEEDS_TORCH[name]}"), name)
    raise AttributeError(f"module 'textlrp' has no attribute {name!r}")
