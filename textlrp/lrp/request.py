"""One call of a model that is to be explained: what it was asked for, and what it makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from textlrp.basics.lazy import lazy
from textlrp.errors import ModelError
from textlrp.lrp.checkpointing import Checkpoints
from textlrp.lrp.dispatch import Interception
from textlrp.lrp.hidden.capture import At, Watch
from textlrp.lrp.hidden.states import Inside
from textlrp.lrp.randomness import Draws
from textlrp.lrp.rounding import Scores
from textlrp.lrp.targets import Targets, several, weights_of
from textlrp.lrp.working_copy import Parts
from textlrp.results.ledger import TOLERANCES
from textlrp.rules import Rules

#: Those dtypes whose rounding moves attention weights by what a reader should know of.
_COARSE = ("float16", "bfloat16")

#: What multipliers in float16 are larger by, one after the other, where they overflow.
_SCALES = (2.0**8, 1.0, 2.0**-8)


def precision_of(parameters: Iterable[Tensor]) -> str:
    """Return the coarsest float dtype among a model's parameters, such as ``"float32"``: it decides the tolerance."""
    names = {str(dtype).removeprefix("torch.") for dtype in {parameter.dtype for parameter in parameters}}
    return max(names & TOLERANCES.keys(), key=TOLERANCES.__getitem__, default="float32")


def logits_of(output: Any, batch: int) -> Tensor:
    """Return the logits ``[batch, labels]`` among what a model returned.

    Raises:
        ModelError: there are none of that shape.
    """
    logits = getattr(output, "logits", output)
    if isinstance(logits, dict):
        logits = logits.get("logits")
    if isinstance(logits, (list, tuple)):
        logits = logits[0] if logits else None
    if isinstance(logits, Tensor) and logits.dim() == 1 and logits.shape[0] == batch:
        logits = logits.unsqueeze(-1)
    if not isinstance(logits, Tensor) or logits.dim() != 2 or logits.shape[0] != batch:
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"a text classifier returns logits [batch, labels]; this model returned {shape}")
    return logits


@dataclass(frozen=True)
class Call:
    """What :func:`propagate_targets` was asked for, and where its random numbers come from."""

    parts: Parts
    draws: Draws
    targets: Targets
    rules: Rules
    special_tokens_mask: Tensor | None
    model_inputs: dict[str, Any]
    at: At = ()
    layers: bool = False
    checkpointing: bool = False
    row: tuple[int, int] | None = None  # the place of a document that is taken alone, and the size of its batch
    fused: bool = True
    frugal: bool = True  # whether rules may keep what the model holds, which it must not write over then
    overflows: int = 0  # how many scales of multipliers were too large

    @property
    def input_ids(self) -> Tensor:
        ids: Tensor = self.model_inputs["input_ids"]
        return ids

    @lazy
    def precision(self) -> str:
        """The coarsest float dtype that the model computes in: of its parameters, or what it is cast to on the way."""
        found, kind = precision_of(self.parts.parameters), self.input_ids.device.type
        if found == "float64" or not torch.is_autocast_enabled(kind):
            return found
        cast = str(torch.get_autocast_dtype(kind)).removeprefix("torch.")
        return max(found, cast, key=lambda name: TOLERANCES.get(name, 0.0))

    def interception(self, watch: Watch | None = None, looking: Inside | None = None) -> Interception:
        """Return a fresh interception for this call."""
        double = self.precision == "float64"
        dtype = torch.float64 if double else torch.float32
        checkpoints = Checkpoints(self.parts.model) if self.checkpointing else None
        options = (self.draws, self.fused, watch, looking, self.frugal, checkpoints)
        interception = Interception(self.parts, self.rules, self.input_ids, dtype, double, *options)
        if self.precision in _COARSE:
            interception.scores = Scores(self.input_ids.shape[0])
        if self.precision == "float16":
            interception.scale = _SCALES[self.overflows]
        return interception

    def smaller(self) -> Call | None:
        """Return the call with smaller multipliers, for those that overflowed; None where nothing is left to try."""
        if self.precision != "float16" or self.overflows + 1 == len(_SCALES):
            return None
        return replace(self, overflows=self.overflows + 1)

    def alone(self, i: int) -> Call:
        """Return the call for one document, padded as it is in the batch."""
        batch = self.input_ids.shape[0]

        def part(value: Any) -> Any:
            shared = not isinstance(value, Tensor) or value.dim() == 0 or value.shape[0] != batch
            return value if shared else value[i : i + 1]

        inputs = {key: part(value) for key, value in self.model_inputs.items()}
        return replace(self, special_tokens_mask=part(self.special_tokens_mask), model_inputs=inputs, row=(i, batch))

    def weights(self, logits: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """Return the weight of each logit for each target, ``[batch, labels]``."""
        # Targets are made for the whole batch: a document that is taken alone stands in for the others.
        rows = logits if self.row is None else logits.expand(self.row[1], -1)
        targets = self.targets(rows.detach()) if callable(self.targets) else self.targets
        found = [weights_of(target, rows, dtype) for target in several(targets)]
        return found if self.row is None else [each[self.row[0] : self.row[0] + 1] for each in found]

    def padding(self) -> Tensor | None:
        """Return where padding stands at the ends of the documents, ``[batch, sequence]``, or None where it does not.

        On an accelerator, that there is none is not noticed: the host would have to wait for it.
        """
        mask = self.model_inputs.get("attention_mask")
        if isinstance(mask, Tensor) and mask.shape == self.input_ids.shape:
            kept = mask != 0
        else:
            config = getattr(self.parts.model, "config", None)
            pad = getattr(getattr(config, "get_text_config", lambda: config)(), "pad_token_id", None)
            kept = self.input_ids != (-1 if pad is None else pad)
        if kept.is_cpu and bool(kept.all()):
            return None
        kept = kept.int()
        within = kept.cummax(-1).values * kept.flip(-1).cummax(-1).values.flip(-1)
        return within == 0
