"""The AttnLRP authors' package explaining a model, in a process of its own: it patches classes for good.

``peers.py`` starts it, with the Python of an environment that has lxt, and a folder that holds the model. It imports
nothing of textlrp. Each line that it reads asks for one explanation, and it answers by a line of JSON.

Source: Achtibat et al. 2024, "AttnLRP", and the quick start of lxt 2.1, whose ``lxt.efficient`` is used as it is.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import types
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers


def patch(model_type: str) -> None:
    """Patch transformers' classes of an architecture."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        # lxt imports its patches of vision models with those of language models: a text needs none of them.
        vision: Any = types.ModuleType("lxt.efficient.models.vit_torch")
        vision.vision_transformer, vision.cp_LRP = types.ModuleType("none"), {}
        sys.modules[vision.__name__] = vision
    from lxt.efficient import monkey_patch

    monkey_patch(importlib.import_module(f"transformers.models.{model_type}.modeling_{model_type}"))


def load(folder: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    """Return the model that was written to a folder, frozen, and what it is to explain."""
    made = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    patch(made["type"])
    # Among the patches may be a class, so it is looked up where they are.
    module = importlib.import_module(f"transformers.models.{made['type']}.modeling_{made['type']}")
    config = getattr(transformers, made["config"])(**made["settings"])
    model = getattr(module, made["model"])._from_config(config, attn_implementation="sdpa")
    saved = torch.load(folder / "model.pt", weights_only=True)
    model.load_state_dict(saved["weights"])
    return model.eval().requires_grad_(False), saved["inputs"]


def explain(model: Any, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits, and the relevance of each id for the predicted label."""
    rows = model.get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()
    logits = model(inputs_embeds=rows, attention_mask=inputs["attention_mask"]).logits
    logits.max(-1).values.sum().backward()
    return logits.detach(), (rows * rows.grad).sum(-1).detach()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed must not stand between the answers
    warnings.simplefilter("ignore")
    try:
        model, inputs = load(Path(sys.argv[1]))
        logits, relevance = explain(model, inputs)
        packages = {name: version(name) for name in ("lxt", "torch", "transformers")}
        first: dict[str, Any] = {"versions": packages, "logits": logits.tolist(), "relevance": relevance.tolist()}
    except Exception as error:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        first = {"error": f"{type(error).__name__}: {said}"}
    print(json.dumps(first), file=answers, flush=True)
    for _ in sys.stdin:
        explain(model, inputs)
        print("{}", file=answers, flush=True)


if __name__ == "__main__":
    main()
