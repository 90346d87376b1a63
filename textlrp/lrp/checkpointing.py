"""Gradient checkpointing: the blocks of a model drop their activations, and compute them again in the backward pass.

transformers checkpoints a model only in training mode, but an explanation runs in evaluation mode. So textlrp
checkpoints the blocks that the model's structure shows (Chen et al. 2016): it keeps the inputs of every block, and the
activations of the one block that the backward pass is in.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.utils.checkpoint
from torch import nn

from textlrp.errors import InputError
from textlrp.lrp.context import Context, Observer
from textlrp.lrp.hidden import blocks as model_blocks


class Checkpoints(Observer):
    """Runs the outermost blocks of a model without keeping the activations inside them.

    Args:
        model: the model.

    Raises:
        InputError: the model has no list of blocks.
    """

    def __init__(self, model: nn.Module) -> None:
        self._blocks = model_blocks.blocks(model)
        if not self._blocks:
            raise InputError(
                f"{type(model).__name__} holds its layers in no list, so there is nothing to checkpoint: leave "
                f"checkpointing=True out"
            )
        self._within = False
        self._spared = _last(self._blocks)

    def install(self, context: Context) -> list[Any]:
        """Start checkpointing, and return the hooks to remove at the end."""
        return [model_blocks.Wrapped(module, partial(self._run, context, module)) for module in self._blocks]

    def _run(self, context: Context, module: nn.Module, forward: Any, *args: Any, **kwargs: Any) -> Any:
        if self._within or not context.running or not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        if module is self._spared:  # the backward pass needs its activations first
            self._spared = None
            return forward(*args, **kwargs)
        self._within = True
        try:
            return torch.utils.checkpoint.checkpoint(forward, *args, use_reentrant=False, **kwargs)
        finally:
            self._within = False


def _last(blocks: dict[nn.Module, model_blocks.Block]) -> nn.Module | None:
    """Return the last of several outermost blocks, which most models run last."""
    outermost: list[tuple[nn.Module, model_blocks.Block]] = []
    for module, block in blocks.items():  # a block comes before the blocks inside it
        if not any(block.path.startswith(f"{other.path}.") for _, other in outermost):
            outermost.append((module, block))
    module, last = outermost[-1]
    return module if sum(block.stack == last.stack for _, block in outermost) > 1 else None
