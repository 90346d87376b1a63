"""Where the blocks of a model are, by its module structure alone: no name of an architecture, no name of a layer.

A block is a child of a ``ModuleList`` (or of a ``Sequential`` whose children are alike) that is not part of another
block. What it puts out is a hidden state of the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Block:
    """A module that may be a block.

    Attributes:
        path: its module path.
        stack: the path of the list that holds it.
        place: what it shares with blocks of sister lists that run in turns (XLM keeps the attentions, the norms and the
            feed-forward networks of its layers in a list each); the last of them to run ends the layer.
    """

    path: str
    stack: str
    place: tuple[str, int] | None

    @property
    def group(self) -> str:
        """What names the blocks that run one after the other: their list, or what holds it and its sisters."""
        return self.stack if self.place is None else self.place[0]


def blocks(model: nn.Module) -> dict[nn.Module, Block]:
    """Return every module that may be a block; which of them are outermost shows when the model runs."""
    found: dict[nn.Module, Block] = {}
    for path, module in model.named_modules():
        sisters = Counter(len(child) for child in module.children() if isinstance(child, nn.ModuleList))
        for name, stack in module.named_children():
            if not _is_stack(stack):
                continue
            inside = f"{path}.{name}" if path else name
            shared = isinstance(stack, nn.ModuleList) and not isinstance(module, (nn.ModuleList, nn.ModuleDict))
            in_turns = shared and len(stack) > 1 and sisters[len(stack)] > 1
            for i, block in enumerate(_members(stack)):
                # A block that is listed several times is one.
                found.setdefault(block, Block(f"{inside}.{i}", inside, (path, i) if in_turns else None))
    return found


def _is_stack(module: nn.Module) -> bool:
    if isinstance(module, nn.ModuleList):
        return True
    if not isinstance(module, nn.Sequential):
        return False
    # Layers of layers: a stack of blocks, and no small network.
    kinds = Counter(type(child) for child in module if next(child.children(), None) is not None)
    return max(kinds.values(), default=0) > 1


def _members(stack: nn.Module) -> Iterator[nn.Module]:
    for block in stack.children():
        if not isinstance(block, (nn.ModuleList, torch.jit.ScriptModule)):
            yield block


class Wrapped:
    """A module whose forward is wrapped, called by whatever way (some models call ``layer.forward``), until removed."""

    def __init__(self, module: nn.Module, run: Callable[..., Any]) -> None:
        self._module, self._before = module, module.__dict__.get("forward")
        module.forward = partial(run, module.forward)

    def remove(self) -> None:
        """Restore the module's own forward."""
        if self._before is None:
            del self._module.__dict__["forward"]
        else:
            self._module.forward = self._before
