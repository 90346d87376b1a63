"""Adapters of PEFT: a folder with the changes to a base model, which names that model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from textlrp.basics import extras
from textlrp.basics.files import read_json
from textlrp.errors import ModelError, first_line

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_REPORTED = ("missing_keys", "mismatched_keys")
#: The names of the layers that give logits, in classifiers of transformers.
_HEADS = ("score", "classifier", "classification_head", "logits_proj", "qa_outputs")


def base_of(name: str) -> str | None:
    """Return the name of the model that a folder of an adapter changes; None for any other folder or name.

    Raises:
        ModelError: the folder does not name the model.
    """
    folder = Path(name)
    if not (folder / _CONFIG).is_file() or (folder / "config.json").is_file():
        return None
    base = read_json(folder / _CONFIG).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ModelError(f"{name!r} is an adapter whose {_CONFIG} names no base model (base_model_name_or_path)")
    return base


def tokenizer_of(name: str, base: str) -> str:
    """Return where the tokenizer of an adapter is: in its folder, or else with its base model."""
    return name if any((Path(name) / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json")) else base


def head_of(name: str) -> dict[str, Any]:
    """Return options for loading a base model that is to get an adapter's own head; none if the adapter has none."""
    from safetensors import safe_open

    file = Path(name) / _WEIGHTS
    if not file.is_file():
        return {}
    with safe_open(file, "pt") as weights:
        keys: list[str] = list(weights.keys())
        heads = [key for key in keys if key.endswith(".weight") and set(key.split(".")) & set(_HEADS)]
        sizes = [weights.get_slice(key).get_shape() for key in heads if "lora_" not in key]
    return {"num_labels": min(size[0] for size in sizes), "ignore_mismatched_sizes": True} if sizes else {}


def adapted(model: Any, name: str, report: Mapping[str, Iterable[Any]]) -> nn.Module:
    """Return a base model with an adapter.

    Args:
        model: the base model.
        name: the folder of the adapter.
        report: what loading the base model found: the adapter must bring weights that it lacks, or has in another size.

    Raises:
        ModelError: the adapter does not fit, or lacks them as well.
        LRPError: peft is not installed.
    """
    extras.check("peft", "peft", "an adapter")
    from peft import PeftModel

    try:
        own = PeftModel.from_pretrained(model, name)
    except Exception as error:  # peft raises errors of many kinds
        raise ModelError(f"the adapter {name!r} does not fit its base model: {first_line(error)}") from error
    brought = {key.split(".modules_to_save.")[0].split(".")[-1] for key in own.state_dict() if "modules_to_save" in key}
    missing = sorted(key if isinstance(key, str) else key[0] for kind in _REPORTED for key in report.get(kind, ()))
    lacking = [key for key in missing if not set(key.split(".")) & brought]
    if lacking:
        raise ModelError(
            f"{name!r} is not a trained text classifier: neither it nor its base model has {', '.join(lacking[:3])}, "
            f"which would be random; train the adapter with task_type SEQ_CLS, so that it keeps the head"
        )
    result: nn.Module = own
    return result
