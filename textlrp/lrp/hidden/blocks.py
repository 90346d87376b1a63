"""Finds the blocks of a model by its module structure alone, without names of architectures or layers.

A block is a child of a ``ModuleList`` (or of a ``Sequential`` whose children are alike) that is not part of another
block. Its output is a hidden state of the model.
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
        place: a key shared with blocks of sister lists that run in turns (XLM has separate lists for the attentions,
            the norms and the feed-forward networks of its layers); the last of them to run ends the layer.
    """

    path: str
    stack: str
    place: tuple[str, int] | None

    @property
    def group(self) -> str:
        """The path that blocks which run one after the other share: of their list, or of the parent of sister lists."""
        return self.stack if self.place is None else self.place[0]


def blocks(model: nn.Module) -> dict[nn.Module, Block]:
    """Return every module that may be a block; only a run of the model shows which are outermost."""
    candidates: dict[nn.Module, Block] = {}
    for path, module in model.named_modules():
        sisters = Counter(len(child) for child in module.children() if isinstance(child, nn.ModuleList))
        for name, stack in module.named_children():
            if not _is_stack(stack):
                continue
            inside = f"{path}.{name}" if path else name
            shared = isinstance(stack, nn.ModuleList) and not isinstance(module, (nn.ModuleList, nn.ModuleDict))
            in_turns = shared and len(stack) > 1 and sisters[len(stack)] > 1
            for i, block in enumerate(_members(stack)):
                # A block that is listed several times counts once.
                candidates.setdefault(block, Block(f"{inside}.{i}", inside, (path, i) if in_turns else None))
    return candidates


def _is_stack(module: nn.Module) -> bool:
    if isinstance(module, nn.ModuleList):
        return True
    if not isinstance(module, nn.Sequential):
        return False
    # Layers of layers: a stack of blocks, not a small network.
    kinds = Counter(type(child) for child in module if next(child.children(), None) is not None)
    return max(kinds.values(), default=0) > 1


def _members(stack: nn.Module) -> Iterator[nn.Module]:
    for block in stack.children():
        if not isinstance(block, (nn.ModuleList, torch.jit.ScriptModule)):
            yield block


class Wrapped:
    """Wraps the forward of a module until removed, also for models that call ``layer.forward``."""

    def __init__(self, module: nn.Module, run: Callable[..., Any]) -> None:
        self._module, self._before = module, module.__dict__.get("forward")
        module.forward = partial(run, module.forward)

    def remove(self) -> None:
        """Restore the module's own forward."""
        if self._before is None:
            del self._module.__dict__["forward"]
        else:
            self._module.forward = self._before
