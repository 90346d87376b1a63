"""The random numbers that a model draws while it is explained come from the explanation's own generators.

So the generators of the caller and of other threads keep their states. Torch functions that draw are given a generator.
Functions that a model calls to seed torch, numpy or Python are redirected for the thread of the explanation alone
(:mod:`textlrp.guard.process`); a model that stored such a function in its own variable still calls the original.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from textlrp.guard import torch_internals
from textlrp.guard.trees import tensors

#: Functions that draw random numbers, by name.
SAMPLING_NAMES = """
rand randn randint randperm rand_like randn_like randint_like normal bernoulli multinomial poisson
normal_ uniform_ bernoulli_ random_ exponential_ cauchy_ log_normal_ geometric_ gumbel_softmax
""".split()
#: Functions that draw in training, by name.
DROPOUT_NAMES = """
dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout native_dropout
""".split()


def _functions(names: list[str]) -> frozenset[Any]:
    functions = (getattr(owner, name, None) for owner in (torch, Tensor, F) for name in names)
    return frozenset(function for function in functions if callable(function))


_SAMPLING, _DROPOUT = _functions(SAMPLING_NAMES), _functions(DROPOUT_NAMES)
#: Dropout of single elements, by its two names.
_ELEMENT_DROPOUT = {F.dropout, torch.dropout}
#: Dropout that draws nothing unless it is told to.
_OFF_BY_DEFAULT = {F.alpha_dropout, F.feature_alpha_dropout}
#: Functions that sample and take no generator.
_WITHOUT_GENERATOR = {F.gumbel_softmax, *torch_internals.without_generator()}


def draws(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a call draws random numbers."""
    if function in _DROPOUT:
        default = kwargs.get("training", kwargs.get("train", function not in _OFF_BY_DEFAULT))
        trains = args[2] if len(args) > 2 else default
        return bool(trains and (args[1] if len(args) > 1 else kwargs.get("p", 0.5)) > 0)
    if function is F.scaled_dot_product_attention:
        return bool((args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0)) > 0)
    return function in _SAMPLING


_CPU = torch.device("cpu")


class Draws:
    """The generators of one explanation.

    Args:
        seed: their seed; default: the states of the caller's generators, which are only read.

    Attributes:
        borrowed: the saved state of torch's own generator while a function that takes no other draws from it.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seed = seed
        self._starts: dict[Any, Any] = {}
        self._generators: dict[Any, Any] = {}
        self.borrowed: Tensor | None = None

    def rewind(self) -> None:
        """Start again from the first numbers."""
        self._generators.clear()

    def generator(self, device: torch.device = _CPU) -> torch.Generator:
        """Return torch's generator for a device."""
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())

        def start() -> Any:
            if device.type == "cpu":
                return torch.default_generator.get_state()
            return torch.cuda.default_generators[device.index].get_state() if device.type == "cuda" else None

        def make(state: Any) -> torch.Generator:
            generator = torch.Generator(device)
            if state is None:
                generator.manual_seed(self._seed or 0)
            else:
                generator.set_state(state)
            return generator

        generator: torch.Generator = self._own(device, start, make)
        return generator

    def seed_torch(self, seed: int) -> torch.Generator:
        """Seed torch's generators, on all devices."""
        self._seed = int(seed)
        for key in [key for key in (*self._starts, *self._generators) if isinstance(key, torch.device)]:
            self._starts.pop(key, None)
            self._generators.pop(key, None)
        return self.generator()

    def python(self) -> random.Random:
        """Return Python's generator."""

        def make(state: Any) -> random.Random:
            generator = random.Random(self._seed)
            if state is not None:
                generator.setstate(state)
            return generator

        generator: random.Random = self._own("python", random._inst.getstate, make)
        return generator

    def numpy(self) -> Any:
        """Return numpy's generator."""

        def make(state: Any) -> Any:
            generator = numpy.random.RandomState(self._seed)
            if state is not None:
                generator.set_state(state)
            return generator

        return self._own("numpy", lambda: numpy.random.mtrand._rand.get_state(), make)

    def _own(self, key: Any, start: Callable[[], Any], make: Callable[[Any], Any]) -> Any:
        generator = self._generators.get(key)
        if generator is None:
            if key not in self._starts:
                self._starts[key] = start() if self._seed is None else None
            generator = self._generators[key] = make(self._starts[key])
        return generator

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call a torch function that draws."""
        if kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        if func in _SAMPLING and func not in _WITHOUT_GENERATOR:
            return func(*args, **{**kwargs, "generator": self.generator(_device_of(args, kwargs))})
        if func in _ELEMENT_DROPOUT:
            return self._dropout(*args, **kwargs)
        return self._borrow(func, args, kwargs)

    def _dropout(
        self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, train: bool = True
    ) -> Tensor:
        mask = torch.empty_like(input).bernoulli_(1.0 - p, generator=self.generator(input.device))
        if p < 1.0:
            mask.div_(1.0 - p)
        return input.mul_(mask) if inplace else input * mask

    def _borrow(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Let a function draw from torch's own generator, set to the explanation's state for this call."""
        device = _device_of(args, kwargs)
        theirs = torch.default_generator if device.type == "cpu" else torch.cuda.default_generators[device.index or 0]
        own = self.generator(device)
        self.borrowed, self._lender = theirs.get_state(), theirs
        try:
            theirs.set_state(own.get_state())
            return func(*args, **kwargs)
        finally:
            own.set_state(theirs.get_state())
            self.close()

    def close(self) -> None:
        """Restore torch's own generator if it is borrowed."""
        if self.borrowed is not None:
            self._lender.set_state(self.borrowed)
            self.borrowed = None


def _device_of(args: Any, kwargs: Any) -> torch.device:
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    first = next(tensors((args, kwargs)), None)
    return torch.get_default_device() if first is None else first.device


class DrawsApart(TorchFunctionMode):
    """Draws the random numbers of a plain model from separate generators."""

    def __init__(self, draws: Draws) -> None:
        super().__init__()
        self.draws = draws

    def __exit__(self, *exception: Any) -> None:
        if torch_internals.is_current_mode(self):  # an interrupt inside torch can have taken it off the stack
            super().__exit__(*exception)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if draws(func, args, kwargs):
            return self.draws.call(func, args, kwargs)
        return func(*args, **kwargs)


def redirections() -> list[tuple[Any, dict[str, Callable[..., Any]]]]:
    """Return the modules whose functions are redirected, each with the replacements (given the draws) by name."""
    seeds: dict[str, Callable[..., Any]] = {
        "manual_seed": Draws.seed_torch,
        "get_rng_state": lambda draws: draws.generator().get_state(),
        "set_rng_state": lambda draws, new_state: draws.generator().set_state(new_state),
    }
    on_devices: dict[str, Callable[..., Any]] = {
        "manual_seed": Draws.seed_torch,
        "manual_seed_all": Draws.seed_torch,
    }
    return [
        (torch, seeds),
        (torch.random, seeds),
        (torch.cuda, on_devices),
        (random, _methods(random.Random, random, Draws.python)),
        (numpy.random, _methods(numpy.random.RandomState, numpy.random, Draws.numpy)),
    ]


def _methods(generator: type, module: Any, owner: Callable[[Draws], Any]) -> dict[str, Callable[..., Any]]:
    """Return replacements for the functions of a module that are methods of its hidden generator."""

    def method(name: str) -> Callable[..., Any]:
        return lambda draws, *args, **kwargs: getattr(owner(draws), name)(*args, **kwargs)

    functions = (name for name, value in vars(module).items() if callable(value) and not isinstance(value, type))
    return {name: method(name) for name in functions if not name.startswith("_") and hasattr(generator, name)}
