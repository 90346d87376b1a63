"""What an evaluation ran with: the versions of libraries, and the machine."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textlrp.explain.explainer import Explainer

#: Methods that captum computes, so its version is recorded.
_CAPTUM = ("lime", "shapley")


def versions(methods: Sequence[str]) -> dict[str, str]:
    """Return the versions of Python and of the libraries that compute methods and measures."""
    names = ["textlrp", "torch", "transformers", "tokenizers", "numpy", "scipy", "scikit-learn", "statsmodels"]
    if any(method.partition(":")[0] in _CAPTUM for method in methods):
        names.append("captum")
    return {"Python": platform.python_version()} | dict(_installed(names))


def _installed(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def machine(explainer: Explainer) -> dict[str, Any]:
    """Return the device of a model, and the threads that compute."""
    import torch

    device = explainer.classifier.device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }
