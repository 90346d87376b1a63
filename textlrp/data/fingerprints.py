"""Fingerprints of data, models and rules: runs with equal ones can be compared. Its import needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlrp.basics import readable
from textlrp.errors import InputError

if TYPE_CHECKING:
    from textlrp.explain.explainer import Explainer


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of a value as JSON with sorted keys."""
    return hashlib.sha256(_canonical(value)).hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, default=str).encode()


def model_facts(name: str, explainer: Explainer) -> dict[str, Any]:
    """Return the facts of a model that a plan records: its name, architecture, size, labels and fingerprint."""
    from textlrp.explain.explainer import DEMO_NAME

    parameters = dict(explainer.model.named_parameters())
    outputs = getattr(explainer.config, "num_labels", None)
    return {
        "name": name,
        "built_in": explainer.name == DEMO_NAME,
        "architecture": type(explainer.model).__name__,
        "parameters": sum(parameter.numel() for parameter in parameters.values()),
        "labels": outputs,
        "fingerprint": model_fingerprint(explainer),
    }


#: Entries of a config on the place and the library that a model was loaded from, not on the model.
_PLACES = ("_name_or_path", "_commit_hash", "transformers_version", "torch_dtype", "dtype")


def model_fingerprint(explainer: Explainer) -> str:
    """Return the SHA-256 over a model's config, its weights with their dtypes, and its tokenizer's vocabulary."""
    import torch

    from textlrp.guard import quantized

    config = explainer.config.to_dict() if explainer.config is not None else {}
    digest = hashlib.sha256(_canonical({key: value for key, value in config.items() if key not in _PLACES}))
    for name, tensor in sorted(explainer.model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = quantized.plain_tensor(tensor).cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    if explainer.classifier.task.beside:
        digest.update(_canonical([explainer.classifier.task.name, *explainer.classifier.task.beside]))
    digest.update(type(explainer.tokenizer).__name__.encode())
    vocabulary: dict[str, int] = getattr(explainer.tokenizer, "get_vocab", dict)()
    digest.update(_canonical(vocabulary))
    return digest.hexdigest()


def rules_fingerprints(methods: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of the file of each method ``rules:FILE``, by method.

    Raises:
        InputError: a file cannot be read.
    """
    fingerprints = {}
    for method in methods:
        kind, colon, path = method.partition(":")
        if kind == "rules" and colon:
            try:
                readable.check(path)
                fingerprints[method] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            except (OSError, ValueError) as error:
                raise InputError(f"cannot read {path!r}: {getattr(error, 'strerror', None) or error}") from None
    return fingerprints
