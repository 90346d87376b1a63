"""Pipelines of transformers: what they hold, and how to explain those of another task than text classification."""

from __future__ import annotations

from typing import Any

from torch import nn

from textlrp.errors import InputError, ModelError

TEXT_CLASSIFICATION, ZERO_SHOT = "text-classification", "zero-shot-classification"

#: What to do with the model of another task's pipeline.
_INSTEAD = {
    "text-generation": "to classify texts by a prompt, use Explainer.prompted(pipeline.model, pipeline.tokenizer, ...)",
    "fill-mask": "fine-tune its model to classify texts first",
    "feature-extraction": "fine-tune its model to classify texts first",
    "token-classification": "it classifies single words, and textlrp explains what a model says of a whole text",
}
_INSTEAD["text2text-generation"] = _INSTEAD["any-to-any"] = _INSTEAD["text-generation"]


def taken(pipeline: Any) -> tuple[nn.Module, Any, bool]:
    """Return a pipeline's model, its tokenizer, and whether it is a zero-shot pipeline.

    Raises:
        ModelError: it has no torch model or no tokenizer, or another task than classifying texts.
    """
    model, tokenizer = getattr(pipeline, "model", None), getattr(pipeline, "tokenizer", None)
    task = getattr(pipeline, "task", TEXT_CLASSIFICATION)
    if task not in (TEXT_CLASSIFICATION, "sentiment-analysis", ZERO_SHOT):
        instead = _INSTEAD.get(task, f"give a {TEXT_CLASSIFICATION} or {ZERO_SHOT} pipeline")
        raise ModelError(f"this is a pipeline for {task!r}, and textlrp explains text classifiers: {instead}")
    if not isinstance(model, nn.Module) or tokenizer is None:
        raise ModelError(
            f"{type(pipeline).__name__} has no torch model with a tokenizer: textlrp takes a text-classification "
            f"pipeline of transformers"
        )
    return model, tokenizer, task == ZERO_SHOT


def setting(pipeline: Any, step: str, name: str, default: Any = None) -> Any:
    """Return an option that a pipeline was made with, of its step ``"preprocess"`` or ``"postprocess"``."""
    return getattr(pipeline, f"_{step}_params", {}).get(name, default)


def zero_shot_options(pipeline: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Return the labels, the template and ``multi_label`` of a zero-shot pipeline; given ones take precedence.

    Raises:
        InputError: there are no labels.
    """
    own = {
        "labels": setting(pipeline, "preprocess", "candidate_labels"),
        "template": setting(pipeline, "preprocess", "hypothesis_template"),
        "multi_label": setting(pipeline, "postprocess", "multi_label"),
    }
    options = {name: own[name] if value is None else value for name, value in given.items()}
    options = {name: value for name, value in options.items() if value is not None}
    if "labels" not in options:
        raise InputError(
            "a zero-shot pipeline gets its labels when it is called: give them here, as labels=['urgent', 'not urgent']"
        )
    return options
