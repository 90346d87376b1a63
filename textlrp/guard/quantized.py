"""Linear layers whose weights are held in 4 or 8 bits, by bitsandbytes, optimum-quanto or torchao.

Their own forward is a function that hides its operations. In the copy that is explained they are what they stand for: a
linear map with the dequantized weights. A layer's weights are dequantized where they are used, and dropped at once, so
that the model takes no more memory than it does. Layers are known by the packages of their classes, none of which is
imported here.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Dequantizes the weight ``[outputs, inputs]`` of a layer.
Make = Callable[[], Tensor]


class Dequantized(Tensor):
    """A weight that is dequantized for each operation that reads it."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, shape: torch.Size, dtype: torch.dtype, device: torch.device, make: Make) -> Dequantized:
        made: Dequantized = Tensor._make_wrapper_subclass(cls, shape, dtype=dtype, device=device)
        made.make = make
        return made

    make: Make

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        def change(x: Any) -> Any:
            if isinstance(x, Dequantized):
                return x.make().to(x.dtype)
            return type(x)(map(change, x)) if isinstance(x, (list, tuple)) else x

        return func(*map(change, args), **{key: change(value) for key, value in (kwargs or {}).items()})


def forward_of(module: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """Return the linear map that a quantized layer stands for, or None for any other module."""
    found = weight_of(module)
    if found is None:
        return None
    shape, make = found
    layer: Any = module

    def forward(x: Tensor) -> Tensor:
        weight = Dequantized(shape, x.dtype, x.device, make)
        return F.linear(x, weight, None if layer.bias is None else layer.bias.to(x.dtype))

    return forward


def weight_of(module: nn.Module) -> tuple[torch.Size, Make] | None:
    """Return the shape of a quantized layer's weight and what dequantizes it, or None for any other module."""
    engine = _engine(module)
    return None if engine is None else _ENGINES[engine](module)


def plain_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor without gradients, a quantized one with its dequantized values."""
    held = tensor.detach()
    return held if type(held) in (Tensor, nn.Parameter) else held.dequantize()


def described(model: nn.Module) -> str:
    """Return how many layers of a model are quantized, and by what; empty if none is."""
    counts = Counter(filter(None, map(_engine, model.modules())))
    return ", ".join(f"{count:,} linear layers of {engine}" for engine, count in sorted(counts.items()))


def _engine(module: nn.Module) -> str | None:
    """Return the package that holds a layer's weights in few bits, or None."""
    if not isinstance(module, nn.Linear):
        return None
    package = type(module).__module__.partition(".")[0]
    if package == "bitsandbytes":
        name = type(module).__name__
        if name == "Linear8bitLt":
            return "bitsandbytes (8 bit)" if module.weight.dtype is torch.int8 else None
        return "bitsandbytes (4 bit)" if getattr(module.weight, "quant_state", None) is not None else None
    package = type(module.weight).__module__.partition(".")[0]
    return {"optimum": "optimum-quanto", "torchao": "torchao"}.get(package)


def _four_bit(module: Any) -> tuple[torch.Size, Make]:
    dequantize = sys.modules["bitsandbytes"].functional.dequantize_4bit
    weight = module.weight
    return weight.quant_state.shape, lambda: dequantize(weight.data, weight.quant_state)


def _eight_bit(module: Any) -> tuple[torch.Size, Make]:
    def make() -> Tensor:
        # The first run of the layer moves the scale of each row from the weight to its state.
        scales: Tensor = module.state.SCB if module.weight.SCB is None else module.weight.SCB
        weight: Tensor = module.weight.data.float()
        return weight * (scales.float() / 127.0).unsqueeze(1)

    return module.weight.data.shape, make


def _own_method(module: Any) -> tuple[torch.Size, Make]:
    weight = module.weight
    scale = getattr(weight, "act_pre_scale", None)  # torchao multiplies the inputs by it

    def make() -> Tensor:
        plain: Tensor = weight.detach().dequantize()
        return plain if scale is None else plain * scale

    return weight.shape, make


_ENGINES: dict[str, Callable[[Any], tuple[torch.Size, Make]]] = {
    "bitsandbytes (4 bit)": _four_bit,
    "bitsandbytes (8 bit)": _eight_bit,
    "optimum-quanto": _own_method,
    "torchao": _own_method,
}
