"""What happens inside: activation, multiplier and relevance at a module's output, and relevance under a condition.

Source of the condition: concept relevance propagation (Achtibat et al. 2023): relevance is kept at chosen channels of a
layer and goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from textlrp.basics.options import brief, plain
from textlrp.errors import InputError
from textlrp.lrp.overrides import near
from textlrp.lrp.trees import tensors
from textlrp.results import ledger

if TYPE_CHECKING:
    from textlrp.lrp.dispatch import Interception

#: The modules to look at, by path; in a mapping, each with the channels to keep, a mask, or None for all.
At = Sequence[str] | Mapping[str, Any]


@dataclass(frozen=True)
class Latent:
    """What one run of a module put out, of the shape of its (first) output.

    Attributes:
        activation: the values.
        multiplier: ``c``, what the backward pass brought there, before a condition.
        relevance: ``activation * multiplier``, in logit units; float32 or wider.
    """

    activation: Tensor
    multiplier: Tensor
    relevance: Tensor


class Watch:
    """Looks at the outputs of modules while a model is explained.

    Args:
        model: the model.
        at: the modules.

    Raises:
        InputError: there is no such module, or its condition is none.
    """

    def __init__(self, model: nn.Module, at: At) -> None:
        modules = dict(model.named_modules())
        if isinstance(at, (str, bytes)) or not isinstance(at, Iterable):
            raise InputError(f"at is a list of paths of modules, or a mapping from them to channels, not {brief(at)}")
        paths = list(at)
        for path in paths:
            if not isinstance(path, str) or path not in modules:
                raise InputError(f"{type(model).__name__} has no module {path!r}{near(str(path), modules)}")
        self._conditions = dict(at) if isinstance(at, Mapping) else dict.fromkeys(paths)
        self._modules = {path: modules[path] for path in self._conditions}
        self._runs: dict[str, list[list[Tensor]]] = {path: [] for path in self._conditions}

    def install(self, met: Interception) -> list[Any]:
        """Begin to look, and return the hooks to be removed at the end."""
        return [module.register_forward_hook(partial(self._after, met, path)) for path, module in self._modules.items()]

    def found(self) -> dict[str, tuple[Latent, ...]]:
        """Return what was seen, for each module one for each time that it ran.

        Raises:
            InputError: a module did not run.
        """
        for path, runs in self._runs.items():
            if not runs:
                raise InputError(f"the module {path!r} did not run, so nothing can be seen of it")
        return {path: tuple(_latent(*run) for run in runs) for path, runs in self._runs.items()}

    def _after(self, met: Interception, path: str, module: nn.Module, args: Any, output: Any) -> None:
        with torch._C.DisableTorchFunction():
            y = next(tensors(list(output.values()) if isinstance(output, Mapping) else output), None)
            if y is None or not y.is_floating_point():
                raise InputError(f"the module {path!r} ({type(module).__name__}) puts out no activations")
            value, dtype = y.detach().clone(), met.books.dtype
            run = [value, torch.zeros_like(value, dtype=dtype)]
            self._runs[path].append(run)
            if not y.requires_grad:
                return
            mask = _mask(path, self._conditions[path], value)
            books = met.books

            def arrive(c: Tensor) -> Tensor | None:
                wide = c.detach().to(dtype)
                run[1] = wide / met.scale
                if mask is None:
                    return None
                books.post(ledger.MASKED, value.to(dtype) * wide * ~mask)
                return c * mask

            met.attach(y, arrive)


def _latent(value: Tensor, multiplier: Tensor) -> Latent:
    return Latent(value, multiplier, value.to(multiplier.dtype) * multiplier)


def _mask(path: str, condition: Any, value: Tensor) -> Tensor | None:
    """Return where relevance is kept, of the shape of an output, or None for everywhere."""
    if condition is None:
        return None
    try:
        chosen = torch.as_tensor(plain(condition), device=value.device)
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
    sound = not (chosen.is_floating_point() or chosen.is_complex()) and chosen.dim() <= 1 and chosen.numel()
    chosen = chosen.long() if sound else chosen
    if not sound or bool((chosen < -width).any()) or bool((chosen >= width).any()):
        raise InputError(
            f"the condition at {path!r} is a list of channels from 0 to {width - 1}, or a mask of True and False, not "
            f"{brief(condition)}"
        )
    mask = torch.zeros(width, dtype=torch.bool, device=value.device)
    mask[chosen] = True
    return mask.expand(value.shape)


def join(alone: Sequence[Mapping[str, tuple[Latent, ...]]]) -> dict[str, tuple[Latent, ...]]:
    """Put what was seen of single documents together."""

    def cat(parts: tuple[Latent, ...]) -> Latent:
        names = ("activation", "multiplier", "relevance")
        return Latent(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    return {path: tuple(map(cat, zip(*(each[path] for each in alone), strict=True))) for path in alone[0]}
