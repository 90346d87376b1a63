"""Measures the time and the saved activations of explanations, gradient x input and the plain forward pass.

Times are compared in pairs: within each repeat every candidate runs once, in rotating order, and the median of the
repeats' ratios is reported. If the machine is slow for a while, both sides of a ratio are.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from textlrp.basics import options
from textlrp.evaluate.methods.gradients import lookups, row_gradients
from textlrp.guard.model_guard import copied
from textlrp.lrp.propagation import propagate
from textlrp.lrp.request import logits_of
from textlrp.rules import Rules, as_rules

FORWARD = "forward pass"
GRADIENT = "gradient x input"


@dataclass(frozen=True)
class Spread:
    """The median and the quartiles of some measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of one or more measurements."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True)
class CandidateCost:
    """The time and memory of one candidate.

    Attributes:
        name: :data:`FORWARD`, :data:`GRADIENT` or the name of the rules of an explanation.
        seconds: the time of one call.
        to_gradient: its ratio to gradient x input, repeat by repeat.
        to_forward: its ratio to the forward pass, repeat by repeat.
        saved: bytes of activations kept for the backward pass.
        saved_to_gradient: their ratio to the bytes of gradient x input; None if that keeps none.
    """

    name: str
    seconds: Spread
    to_gradient: Spread
    to_forward: Spread
    saved: int
    saved_to_gradient: float | None


@dataclass(frozen=True)
class Cost:
    """The cost of explanations of one input.

    Attributes:
        batch: how many documents the input holds.
        sequence: how many ids each has.
        repeats: how often each candidate was timed.
        threads: how many threads torch used.
        runs: the forward pass, gradient x input, and an explanation by each set of rules.
    """

    batch: int
    sequence: int
    repeats: int
    threads: int
    runs: tuple[CandidateCost, ...]

    def __getitem__(self, name: str) -> CandidateCost:
        return next(run for run in self.runs if run.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Return the cost as JSON-ready values: seconds, bytes and ratios."""
        return asdict(self) | {"runs": [asdict(run) for run in self.runs]}


def measure(
    model: nn.Module, inputs: dict[str, Tensor], rules: Sequence[Rules | str] = ("attnlrp", "cp-lrp"), repeats: int = 7
) -> Cost:
    """Measure the cost of explanations of one input.

    An explanation is one call of :func:`textlrp.propagate`, ledger included, for the predicted labels. Gradient x input
    and the forward pass run on the plain model, in evaluation mode with frozen parameters, so that autograd computes no
    gradient of a parameter on either side.

    Args:
        model: the classifier; it is not changed.
        inputs: the model's arguments, including ``input_ids`` ``[batch, sequence]``.
        rules: presets' names or :class:`textlrp.Rules`.
        repeats: how often to time each candidate, after one untimed call.

    Raises:
        InputError: ``repeats`` is not a positive number.
        ModelError: gradient x input does not work on the model; the message says why.
        LRPError: the model cannot be explained.
    """
    repeats = options.whole(repeats, "repeats must be 1 or more", 1)
    device = inputs["input_ids"].device
    with copied(model) as parts:
        return _measured(model, parts.model, inputs, rules, repeats, device)


def _measured(
    model: nn.Module,
    frozen: nn.Module,
    inputs: dict[str, Tensor],
    rules: Sequence[Rules | str],
    repeats: int,
    device: torch.device,
) -> Cost:
    # Explanations copy the model themselves; that is part of their cost.
    plain: dict[str, Callable[[], Any]] = {
        FORWARD: lambda: forward(frozen, inputs),
        GRADIENT: lambda: gradient_x_input(frozen, inputs),
    }
    explanations = {chosen.name: _explanation(model, inputs, chosen) for chosen in map(as_rules, rules)}
    candidates = plain | explanations

    # The first call also warms up.
    saved = {name: saved_bytes(model, run) for name, run in candidates.items()}
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for i in range(repeats):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            seconds[name].append(timed(candidates[name], device))

    def ratio(name: str, to: str) -> Spread:
        return Spread.of([one / other for one, other in zip(seconds[name], seconds[to], strict=True)])

    runs = tuple(
        CandidateCost(
            name,
            Spread.of(seconds[name]),
            ratio(name, GRADIENT),
            ratio(name, FORWARD),
            saved[name],
            saved[name] / saved[GRADIENT] if saved[GRADIENT] else None,
        )
        for name in names
    )
    batch, sequence = inputs["input_ids"].shape
    return Cost(batch, sequence, repeats, torch.get_num_threads(), runs)


def _explanation(model: nn.Module, inputs: dict[str, Any], rules: Rules) -> Callable[[], Any]:
    return lambda: propagate(model, None, rules, **inputs)


def timed(run: Callable[[], Any], device: torch.device | str = "cpu") -> float:
    """Return the seconds that a call takes, including its work on an accelerator."""
    device = torch.device(device)
    _synchronize(device)
    start = time.perf_counter()
    run()
    _synchronize(device)
    return time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def forward(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """Return the model's logits ``[batch, labels]``, computed without a graph."""
    with torch.no_grad():
        return logits_of(model(**inputs), inputs["input_ids"].shape[0])


def gradient_x_input(model: nn.Module, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """Return gradient x input of the predicted labels' logits on the plain model, whose parameters should be frozen.

    Returns:
        One tensor ``[batch, sequence]`` for each lookup of the ids: one, or two in encoder-decoders.

    Raises:
        ModelError: the model does not name the module that looks its ids up, or does not use it as a table.
    """
    with torch.enable_grad(), lookups(model) as looked_up:
        logits = logits_of(model(**inputs), inputs["input_ids"].shape[0])
        explained = logits.max(-1).values.sum()
    gradients = row_gradients(model, explained, looked_up)
    return tuple((lookup.rows.detach() * c).sum(-1) for lookup, c in zip(looked_up, gradients, strict=True))


def saved_bytes(model: nn.Module, run: Callable[[], Any]) -> int:
    """Return how many bytes of activations autograd keeps for the backward pass while ``run`` is called.

    That is the peak size of the storages of saved tensors, each counted once and whole, without the model's parameters
    and buffers. Tensors that a graph keeps alive in other ways (a hook's closure, an attribute of a custom function's
    context) are not counted.
    """
    count = _Saved(model)
    with torch.autograd.graph.saved_tensors_hooks(count.pack, lambda kept: kept.tensor):
        run()
    return count.peak


class _Saved:
    """Counts the bytes of storages as autograd saves and frees them."""

    def __init__(self, model: nn.Module) -> None:
        self._weights = {_address(tensor) for tensor in (*model.parameters(), *model.buffers())}
        self._holders: dict[int, int] = {}
        self.held = self.peak = 0

    def pack(self, tensor: Tensor) -> _Kept:
        # An active TorchFunctionMode must not take this for an operation of the model.
        with torch._C.DisableTorchFunction():
            address = _address(tensor)
            size = tensor.untyped_storage().nbytes() if address else 0
        if not address or address in self._weights:
            return _Kept(tensor, lambda: None)
        if address not in self._holders:
            self.held += size
            self.peak = max(self.peak, self.held)
        self._holders[address] = self._holders.get(address, 0) + 1

        def release() -> None:
            self._holders[address] -= 1
            if not self._holders[address]:
                del self._holders[address]
                self.held -= size

        return _Kept(tensor, release)


class _Kept:
    """A saved tensor that calls ``release`` when autograd frees it."""

    def __init__(self, tensor: Tensor, release: Callable[[], None]) -> None:
        self.tensor, self._release = tensor, release

    def __del__(self) -> None:
        self._release()


def _address(tensor: Tensor) -> int:
    """Return where a tensor's numbers are; 0 for a quantized one, which is made of others."""
    return tensor.untyped_storage().data_ptr() if type(tensor) in (Tensor, nn.Parameter) else 0
