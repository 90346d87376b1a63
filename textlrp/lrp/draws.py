"""Random numbers: constants, unless they are drawn for dropout."""

from __future__ import annotations

from typing import Any

import torch

from textlrp.guard.trees import detached
from textlrp.lrp import operations
from textlrp.lrp.context import Context
from textlrp.lrp.writes import overwrite
from textlrp.results import ledger


def sample(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """Random numbers drawn by the shape or the values of activations: constants."""
    context.count(func, "constant")
    if operations.is_in_place(func) and args[0].requires_grad:
        drawn = context.draw(func, (torch.empty_like(args[0]), *args[1:]), kwargs)
        return overwrite(context, args[0], drawn, ledger.CONSTANTS)
    return context.draw(func, detached(args), detached(kwargs))


def dropout(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """Dropout that draws: the plain gradient with the numbers that are drawn."""
    context.count(func, "plain gradient")
    return context.draw(func, args, kwargs)
