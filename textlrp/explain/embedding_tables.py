"""The tables of a model that look its input ids up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


def word_table(model: nn.Module) -> Any:
    """Return the model's table of input embeddings, or None if it is unknown."""
    getter: Callable[[], Any] = getattr(model, "get_input_embeddings", lambda: None)
    try:
        return getter()
    except Exception:  # NotImplementedError in most models without a table, but any error means that it is unknown
        return None


def word_tables(model: nn.Module) -> list[nn.Module]:
    """Return all modules that look input ids up; none if they are unknown.

    An encoder and a decoder may have a table each, or a module each for one table. Tables of positions are not among
    them, even if they have as many rows.
    """
    table = word_table(model)
    if not isinstance(table, nn.Module):
        return []
    size, weight = getattr(table, "num_embeddings", None), getattr(table, "weight", None)
    tables = [word_table(module) for module in model.modules()]

    def alike(module: nn.Embedding) -> bool:
        return module.weight is weight or (module.num_embeddings == size and any(module is other for other in tables))

    embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding) and module is not table]
    return [table, *filter(alike, embeddings)]
