"""Which module of a model called a torch function."""

from __future__ import annotations

import sys
from typing import Any

from torch import nn


def innermost(model: nn.Module) -> tuple[str, nn.Module] | None:
    """Return the innermost module of a model on the call stack, with its path, or None where none is running."""
    names = {id(module): name for name, module in model.named_modules()}
    frame: Any = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and id(owner) in names:
            return names[id(owner)], owner
        frame = frame.f_back
    return None
