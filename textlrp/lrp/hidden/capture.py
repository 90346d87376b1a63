"""Activation, multiplier and relevance at a module's output, and relevance restricted to some of its channels.

The latter is concept relevance propagation (Achtibat et al. 2023).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from textlrp.basics.options import brief, plain
from textlrp.errors import InputError
from textlrp.guard.trees import tensors
from textlrp.lrp import chains, composites, reference
from textlrp.lrp.context import Context, Observer
from textlrp.lrp.module_rules import near
from textlrp.results import ledger


@dataclass(frozen=True)
class Captured:
    """One run of a module; each tensor has the shape of its (first) output.

    Attributes:
        activation: the values.
        multiplier: ``c``, before relevance is dropped by ``keep=``.
        relevance: ``activation * multiplier``, in logit units; float32 or wider. Under difference rules
            ``(activation - reference) * multiplier``.
        reference: under difference rules, the values in the reference run; the mean over several references.
    """

    activation: Tensor
    multiplier: Tensor
    relevance: Tensor
    reference: Tensor | None = None


class Capture(Observer):
    """Captures the outputs of modules, and drops relevance there.

    Args:
        model: the model.
        capture: the paths of the modules to capture.
        keep: by the path of a module, the channels (of the last dimension) whose relevance goes on from there, or a
            mask; the rest of it goes to the ledger's row ``masked``.

    Raises:
        InputError: there is no such module.
    """

    def __init__(self, model: nn.Module, capture: Sequence[str], keep: Mapping[str, Any]) -> None:
        modules = dict(model.named_modules())
        if isinstance(capture, (str, bytes)) or not isinstance(capture, Iterable):
            raise InputError(f"capture is a list of paths of modules, not {brief(capture)}")
        if not isinstance(keep, Mapping):
            raise InputError(f"keep is a mapping from paths of modules to channels or masks, not {brief(keep)}")
        paths = list(capture)
        for path in (*paths, *keep):
            if not isinstance(path, str) or path not in modules:
                raise InputError(f"{type(model).__name__} has no module {path!r}{near(str(path), modules)}")
        self._keep = dict(keep)
        self._modules = {path: modules[path] for path in (*paths, *keep)}
        self._runs: dict[str, list[list[Tensor]]] = {path: [] for path in paths}
        self._ran: set[str] = set()

    def install(self, context: Context) -> list[Any]:
        """Start observing, and return the hooks."""
        return [
            module.register_forward_hook(partial(self._after, context, path)) for path, module in self._modules.items()
        ]

    def captured(self) -> dict[str, tuple[Captured, ...]]:
        """Return the captures of each module by its path, one for each run.

        Raises:
            InputError: a module did not run.
        """
        for path in self._modules:
            if path not in self._ran:
                raise InputError(f"the module {path!r} did not run, so nothing can be captured or kept there")
        return {path: tuple(_captured(*run) for run in runs) for path, runs in self._runs.items()}

    def _after(self, context: Context, path: str, module: nn.Module, args: Any, output: Any) -> None:
        with torch._C.DisableTorchFunction():
            y = next(tensors(output), None)
            if y is None or not y.is_floating_point():
                raise InputError(f"the module {path!r} ({type(module).__name__}) outputs no activations")
            value, postings, known = y.detach().clone(), context.postings, reference.partner(y)
            run = [value, torch.zeros_like(value, dtype=postings.dtype)]
            if known is not None:
                run.append(known.clone())
            measured = value if known is None else value - known
            self._ran.add(path)
            if path in self._runs:
                self._runs[path].append(run)
            if not y.requires_grad:
                return
            chains.end(y)
            composites.end(y)
            mask = _mask(path, self._keep[path], value) if path in self._keep else None

            def arrive(c: Tensor) -> Tensor | None:
                wide = c.detach().to(postings.dtype)
                run[1] = wide / context.scale
                if mask is None:
                    return None
                postings.post(ledger.MASKED, measured.to(postings.dtype) * wide * ~mask)
                return c * mask

            context.attach(y, arrive)


def _captured(value: Tensor, multiplier: Tensor, known: Tensor | None = None) -> Captured:
    measured = value.to(multiplier.dtype)
    if known is not None:
        measured = measured - known.to(multiplier.dtype)
    return Captured(value, multiplier, measured * multiplier, known)


def _mask(path: str, keep: Any, value: Tensor) -> Tensor:
    """Return the mask of the relevance to keep, of the shape of an output."""
    try:
        chosen = torch.as_tensor(plain(keep), device=value.device)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        chosen = torch.empty(0)
    if chosen.dtype == torch.bool:
        try:
            return chosen.expand(value.shape)
        except RuntimeError:
            raise InputError(
                f"the mask at {path!r} has the shape {list(chosen.shape)}, which does not fit its output of shape "
                f"{list(value.shape)}"
            ) from None
    width = value.shape[-1]
    valid = not (chosen.is_floating_point() or chosen.is_complex()) and chosen.dim() <= 1 and chosen.numel()
    chosen = chosen.long() if valid else chosen
    if not valid or bool((chosen < -width).any()) or bool((chosen >= width).any()):
        raise InputError(
            f"keep at {path!r} is a list of channels from 0 to {width - 1}, or a mask of True and False, not "
            f"{brief(keep)}"
        )
    mask = torch.zeros(width, dtype=torch.bool, device=value.device)
    mask[chosen] = True
    return mask.expand(value.shape)


def join(alone: Sequence[Mapping[str, tuple[Captured, ...]]]) -> dict[str, tuple[Captured, ...]]:
    """Join the captures of single documents."""

    def cat(parts: tuple[Captured, ...]) -> Captured:
        names = ("activation", "multiplier", "relevance", *(("reference",) if parts[0].reference is not None else ()))
        return Captured(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    return {path: tuple(map(cat, zip(*(part[path] for part in alone), strict=True))) for path in alone[0]}


def averaged(runs: Sequence[Mapping[str, tuple[Captured, ...]]]) -> dict[str, tuple[Captured, ...]]:
    """Return the mean of captures that were measured from several references."""

    def mean(parts: tuple[Captured, ...]) -> Captured:
        def of(name: str) -> Tensor:
            return torch.stack([getattr(part, name) for part in parts]).mean(0)

        return Captured(parts[0].activation, of("multiplier"), of("relevance"), of("reference"))

    return {path: tuple(map(mean, zip(*(run[path] for run in runs), strict=True))) for path in runs[0]}
