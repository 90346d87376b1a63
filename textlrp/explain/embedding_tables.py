"""Where a model looks its input ids up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


def word_table(model: nn.Module) -> Any:
    """Return the model's table of input embeddings, or None where it does not tell."""
    getter: Callable[[], Any] = getattr(model, "get_input_embeddings", lambda: None)
    try:
        return getter()
    except Exception:  # most say so by NotImplementedError; whatever a model raises here, it does not tell
        return None


def word_tables(model: nn.Module) -> list[nn.Module]:
    """Return all modules that look input ids up; none where the model does not tell.

    An encoder and a decoder may have a table each, or a module each around one table. Tables of positions are not among
    them, even if they have as many rows.
    """
    table = word_table(model)
    if not isinstance(table, nn.Module):
        return []
    size, weight = getattr(table, "num_embeddings", None), getattr(table, "weight", None)
    named = [word_table(module) for module in model.modules()]

    def alike(module: nn.Embedding) -> bool:
        return module.weight is weight or (module.num_embeddings == size and any(module is own for own in named))

    embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding) and module is not table]
    return [table, *filter(alike, embeddings)]
