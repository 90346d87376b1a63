"""Shows which words made a text classifier decide: relevance propagation for Hugging Face models, with a ledger."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from textlrp import rules
from textlrp.basics.version import __version__ as __version__
from textlrp.errors import InputError, LRPError
from textlrp.results.explanation import Explanation
from textlrp.results.ledger import Ledger
from textlrp.results.spans import Span
from textlrp.rules import Rules

if TYPE_CHECKING:
    from textlrp.data import corpora
    from textlrp.evaluate import baselines, faithfulness, plausibility, rationales
    from textlrp.explain.explainer import Explainer
    from textlrp.lrp.propagation import propagate
    from textlrp.lrp.result import Propagation

__all__ = [
    "Explainer",
    "Explanation",
    "InputError",
    "LRPError",
    "Ledger",
    "Propagation",
    "Rules",
    "Span",
    "baselines",
    "corpora",
    "faithfulness",
    "plausibility",
    "propagate",
    "rationales",
    "rules",
]

# Imported on first use, so that a saved explanation is read and shown without torch.
_CLASSES = {
    "Explainer": "textlrp.explain.explainer",
    "Propagation": "textlrp.lrp.result",
    "propagate": "textlrp.lrp.propagation",
}
_MODULES = {
    "baselines": "textlrp.evaluate.baselines",
    "corpora": "textlrp.data.corpora",
    "faithfulness": "textlrp.evaluate.faithfulness",
    "plausibility": "textlrp.evaluate.plausibility",
    "rationales": "textlrp.evaluate.rationales",
}


def __getattr__(name: str) -> Any:
    if name in _CLASSES:
        return getattr(importlib.import_module(_CLASSES[name]), name)
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    raise AttributeError(f"module 'textlrp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
