"""Attention as an explanation: the weights from the position that the classifier reads to the tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from textlrp.errors import ModelError
from textlrp.evaluate.methods.gradients import lookups
from textlrp.evaluate.methods.passes import Passes


def attention(passes: Passes, seed: int) -> list[float]:
    """Return the attention of the last layer, mean over its heads, from the position that the classifier reads."""
    layers, query = _attentions(passes)
    scores: list[float] = (query @ layers[-1]).tolist()
    return scores


def rollout(passes: Passes, seed: int) -> list[float]:
    """Return attention rollout from the position that the classifier reads (Abnar and Zuidema 2020, eq. 1).

    ``A = (W + I) / 2`` in each layer, with the mean ``W`` of its heads, and the layers multiplied.

    Raises:
        ModelError: some layers have no attention, so rollout cannot pass through all of them.
    """
    layers, query = _attentions(passes)
    config = getattr(passes.model, "config", None)
    count = getattr(getattr(config, "get_text_config", lambda: config)(), "num_hidden_layers", len(layers))
    if count != len(layers):
        raise ModelError(
            f"{type(passes.model).__name__} has {count} layers and attention in {len(layers)} of them: rollout goes "
            f"through attention in all of them"
        )
    for weights in reversed(layers):
        query = (query @ weights + query) / 2
    scores: list[float] = query.tolist()
    return scores


def _attentions(passes: Passes) -> tuple[list[Tensor], Tensor]:
    """Return each layer's attention, mean over the heads, ``[sequence, sequence]``, and how much each position is read.

    The shares are ``[sequence]`` and add up to one: that of a position is the norm of the logit's gradient at its last
    hidden state. If a classifier reads one position (the first, or the last), its share is 1; if it takes their mean,
    all have a share. The gradient passes only through the head, and is not counted as a pass.

    Raises:
        ModelError: the model returns no attention weights, or not those of one text by itself.
    """
    name = type(passes.model).__name__
    if getattr(getattr(passes.model, "config", None), "is_encoder_decoder", False):
        raise ModelError(
            f"{name} has an encoder and a decoder, and attention in three places: none of them alone says where the "
            f"classifier looks"
        )
    with passes.running() as inputs:
        attend_eagerly(passes.model)
        with lookups(passes.model):
            output = passes.model(**inputs, output_attentions=True, output_hidden_states=True, return_dict=True)
        logits = passes.ran(output)
        passes.keep_logits(logits[0])
        states = getattr(output, "hidden_states", None) or ()
        query = _read(passes, logits, [state for state in states if isinstance(state, Tensor)])
        attentions = getattr(output, "attentions", None) or ()
        length = inputs["input_ids"].shape[1]
        layers = [layer for layer in attentions if layer is not None]
        if not layers:
            raise ModelError(f"{name} has no attention weights to show: it returns none with output_attentions=True")
        odd = [layer for layer in layers if not _square(layer, length)]
        if odd or query is None:
            shape = list(odd[0].shape) if odd and isinstance(odd[0], Tensor) else None
            raise ModelError(
                f"{name} returns attention {f'of shape {shape}' if shape else 'and hidden states'} that "
                f"{'is' if shape else 'are'} not from each of the {length} ids to each other"
            )
        return [layer[0].detach().double().mean(0).cpu() for layer in layers], query


def _square(layer: Any, length: int) -> bool:
    return isinstance(layer, Tensor) and layer.dim() == 4 and tuple(layer.shape[-2:]) == (length, length)


def _read(passes: Passes, logits: Tensor, states: list[Tensor]) -> Tensor | None:
    """Return the share of each position of the last hidden state that the classifier reads, ``[sequence]``.

    None if the model returns no hidden state, by position, that its logits are computed from.
    """
    length = len(passes.encoding.input_ids)
    explained = passes.explained(logits).sum()
    for state in reversed(states[-2:]):  # the last state is recorded before or after the last norm
        if not state.requires_grad or tuple(state.shape[:2]) != (1, length):
            continue
        (gradient,) = torch.autograd.grad(explained, state, retain_graph=True, allow_unused=True)
        if gradient is not None:
            norms = gradient[0].double().norm(dim=-1).cpu()
            return norms / norms.sum() if float(norms.sum()) > 0 else None
    return None


def attend_eagerly(model: nn.Module) -> None:
    """Let a working copy compute attention eagerly, as only then it returns weights."""
    configs: dict[int, Any] = {}

    def collect(config: Any) -> None:
        if config is None or id(config) in configs or not hasattr(config, "_attn_implementation"):
            return
        configs[id(config)] = config
        for part in getattr(config, "sub_configs", {}):
            collect(getattr(config, part, None))

    for module in model.modules():
        collect(getattr(module, "config", None))
    for config in configs.values():
        config._attn_implementation = "eager"
