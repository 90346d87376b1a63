"""Evaluations made by hand: what summarizes and shows them needs no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textlrp.evaluate.run_folder import EvaluationPlan, Result

METHODS = ("one", "two")


def plan(**changes: Any) -> EvaluationPlan:
    """A plan of two methods, one model and one corpus of four documents."""
    model = {"name": "tiny", "built_in": False, "architecture": "Bert", "parameters": 12, "labels": 2}
    corpus = {"name": "notes", "fingerprint": "c" * 64, "documents": 4, "labeled": 4, "marked": 4}
    values: dict[str, Any] = {
        "methods": METHODS,
        "perturb": ("mask",),
        "by": "token",
        "measures": ("faithfulness", "plausibility"),
        "limit": None,
        "seed": 0,
        "rules": {},
        "models": ({**model, "fingerprint": "m" * 64},),
        "corpora": (corpus,),
        "versions": {"textlrp": "0.1.0", "torch": "2.13.0"},
        "machine": {"device": "cpu", "threads": 2},
    }
    return EvaluationPlan(**{**values, **changes})


def faithful(area: float, **changes: Any) -> dict[str, Any]:
    """What is kept of a document's faithfulness: a text of two units whose curves have an area between them."""
    values: dict[str, Any] = {
        "replacement": "[MASK]",
        "logit": 2.0,
        "morf": {"shares": [0.0, 0.5, 1.0], "logits": [2.0, 1.0 - area, 0.0], "probabilities": []},
        "lerf": {"shares": [0.0, 0.5, 1.0], "logits": [2.0, 1.0 + area, 0.0], "probabilities": []},
        "area": area,
        "comprehensiveness": 0.5,
        "sufficiency": 0.25,
        "leave_one_out": 0.75,
        "infidelity": 3.0,
        "infidelity_scaled": 0.125,
        "shapley": None,
        "completeness_error": 0.0625,
    }
    return {**values, **changes}


def result(method: str, document: str, area: float | None = None, **changes: Any) -> Result:
    """What a method made of a document; without an area, nothing was measured by perturbation."""
    faithfulness: Mapping[str, Any] = {} if area is None else {"mask": faithful(area)}
    values: dict[str, Any] = {
        "model": "tiny",
        "corpus": "notes",
        "method": method,
        "document": document,
        "target": "POS",
        "right": True,
        "forwards": 3.0 if method == "one" else 40.0,
        "seconds": 0.25,
        "faithfulness": faithfulness,
    }
    return Result(**{**values, **changes})


def results() -> list[Result]:
    """Four documents by two methods; the second is better on each, and failed on the last."""
    marked = {"auprc": 0.5, "token_f1": 0.25, "iou_f1": 0.0, "pointing": 1.0}
    one = [
        result("one", each, area, plausibility=marked) for each, area in zip("abcd", (0.1, 0.2, 0.3, 0.4), strict=True)
    ]
    two = [result("two", each, area, plausibility=marked) for each, area in zip("abc", (0.3, 0.3, 0.9), strict=True)]
    failed = {"target": "", "right": None, "forwards": None, "seconds": None}
    return [*two, *one, result("two", "d", failures={"scores": "the model has no attention"}, **failed)]
