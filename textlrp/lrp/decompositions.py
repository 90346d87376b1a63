"""Functions of torch that are made of simpler ones: they run step by step, and each step gets its rule.

Recurrent layers run their own equations, one time after the other. A gate there is a factor of a product, as elsewhere:
with gates held constant (the preset ``cp-lrp-gates``) the relevance goes to the signal (Arras et al. 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from textlrp.guard.trees import detached, tensors
from textlrp.lrp import operations, reference
from textlrp.lrp.context import Context, Meet
from textlrp.lrp.surrogate import stand_in

State = tuple[Tensor, ...]
#: Computes the next state of a recurrent layer from its inputs, already mapped, and its state.
Cell = Callable[[Tensor, State], State]


class _Steps(TorchFunctionMode):
    """Gives each torch function its rule while a decomposition runs."""

    def __init__(self, give: Meet) -> None:
        super().__init__()
        self._give = give

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in operations.READ:
            return func(*args, **(kwargs or {}))
        return self._give(func, args, kwargs or {})


def steps(func: Any, args: Any, kwargs: Any) -> Any:
    """Return the results of a function that runs step by step."""
    return _FUNCTIONS[operations.stem(func)](*args, **kwargs)


def decomposed(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """Run a function step by step; its values are those of the function itself."""
    with _Steps(context.give):
        try:
            given = steps(func, args, kwargs)
        except _NotDecomposed as error:
            raise context.unsupported(f"{operations.name(func)} {error}") from None
    with torch.no_grad():
        values = func(*detached(args), **detached(kwargs))
    made = tuple(tensors(given))
    own = [stand_in(step, value) for step, value in zip(made, tensors(values), strict=True)]
    if context.reference is not None:
        if operations.KINDS[func] == operations.LOOKUP:  # ids have no floats: the steps looked the reference's rows up
            partners: Any = tuple(map(reference.value, made))
        else:
            with torch.no_grad():
                partners = func(*reference.of_floats(args), **reference.of_floats(kwargs))
        reference.attach_all(own, tuple(tensors(partners)))
    return own[0] if isinstance(values, Tensor) else tuple(own)


class _NotDecomposed(Exception):
    """An argument without a rule, named by the message."""


# -- norms and distances -----------------------------------------------------------------------------------------------


def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    one, other = (x / torch.norm(x, dim=dim, keepdim=True).clamp_min(eps) for x in (x1, x2))
    return torch.sum(one * other, dim)


def _grouped(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Return ``(x - mean) / sqrt(var + eps)`` of groups of channels, ``[batch, channels, ...]``."""
    apart = x.reshape(x.shape[0], groups, -1)
    centered = apart - apart.mean(-1, keepdim=True)
    y = (centered / (centered.square().mean(-1, keepdim=True) + eps).sqrt()).reshape(x.shape)
    shape = (1, -1, *[1] * (x.dim() - 2))
    y = y if weight is None else y * weight.view(shape)
    return y if bias is None else y + bias.view(shape)


def _group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    return _grouped(input, num_groups, weight, bias, eps)


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *_: Any,
) -> Tensor:
    if not use_input_stats:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    return _grouped(input, input.shape[1], weight, bias, eps)


def _var_mean(x: Tensor, *args: Any, **options: Any) -> tuple[Tensor, Tensor]:
    return x.var(*args, **options), _mean_of(x, *args, **options)


def _std_mean(x: Tensor, *args: Any, **options: Any) -> tuple[Tensor, Tensor]:
    return x.std(*args, **options), _mean_of(x, *args, **options)


def _mean_of(x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, **_: Any) -> Tensor:
    mean: Tensor = x.mean() if dim is None or isinstance(dim, bool) else x.mean(dim, keepdim=keepdim)
    return mean


def _cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: Any = None) -> Tensor:
    distance: Tensor = torch.norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)
    return distance


def _pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    distance: Tensor = torch.norm(x1 - x2 + eps, p, -1, keepdim=keepdim)
    return distance


# -- sums and products -------------------------------------------------------------------------------------------------


def _addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1.0) -> Tensor:
    return input + tensor1 / tensor2 * value


def _bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    outputs, width, other = weight.shape
    mapped = F.linear(input1, weight.permute(0, 2, 1).reshape(outputs * other, width))
    y = torch.sum(mapped.unflatten(-1, (outputs, other)) * input2.unsqueeze(-2), -1)
    return y if bias is None else y + bias


def _logaddexp(input: Tensor, other: Tensor) -> Tensor:
    apart = input - other
    return (input + other) * 0.5 + (F.softplus(apart) - apart * 0.5)  # alike for both


def _hypot(input: Tensor, other: Tensor) -> Tensor:
    return torch.sqrt(input * input + other * other)


def _float_power(input: Tensor, exponent: Any) -> Tensor:
    power: Tensor = input.double() ** exponent
    return power


def _softmin(input: Tensor, dim: int, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    return torch.softmax(-input, dim, dtype=dtype)


def _scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    if reduce not in ("sum", "mean"):
        raise _NotDecomposed(f"with reduce={reduce!r}")
    counts = input.new_zeros(input.shape).scatter_add(dim, index, src.new_ones(src.shape))
    start = input if include_self else input.masked_fill(counts > 0, 0.0)
    total = start.scatter_add(dim, index, src)
    if reduce == "sum":
        return total
    return total / (counts + 1 if include_self else counts.clamp_min(1))


def _embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    if max_norm is not None:
        raise _NotDecomposed("with max_norm, which rewrites the table,")
    rows = F.embedding(input, weight)
    counted = torch.ones_like(input, dtype=torch.bool) if padding_idx is None else input != padding_idx
    factors = counted.to(rows.dtype)
    if per_sample_weights is not None:
        factors = factors * per_sample_weights
    if mode == "max":
        if offsets is not None:
            raise _NotDecomposed("of bags of several lengths with mode='max'")
        return rows.masked_fill(~counted[..., None], -torch.inf).amax(1)
    rows = rows * factors[..., None]
    if offsets is None:
        total, counts = rows.sum(1), counted.sum(1)
    else:
        starts = offsets[:-1] if include_last_offset else offsets
        bag = torch.searchsorted(starts, torch.arange(len(input), device=input.device), right=True) - 1
        total = rows.new_zeros(len(starts), rows.shape[-1]).index_add(0, bag, rows)
        counts = counted.new_zeros(len(starts), dtype=torch.long).index_add(0, bag, counted.long())
    return total / counts.clamp_min(1)[:, None] if mode == "mean" else total


# -- recurrent layers --------------------------------------------------------------------------------------------------


def _lstm_step(mapped: Tensor, state: State, hidden: tuple[Tensor, Tensor | None], down: Tensor | None) -> State:
    h, c = state
    i, f, g, o = (mapped + F.linear(h, *hidden)).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h if down is None else F.linear(h, down)), c


def _gru_step(mapped: Tensor, state: State, hidden: tuple[Tensor, Tensor | None], down: Tensor | None) -> State:
    (h,) = state
    own, before = mapped.chunk(3, -1), F.linear(h, *hidden).chunk(3, -1)
    r, z = (own[0] + before[0]).sigmoid(), (own[1] + before[1]).sigmoid()
    n = (own[2] + r * before[2]).tanh()
    return ((1 - z) * n + z * h,)


def _rnn_step(
    activate: Callable[[Tensor], Tensor],
    mapped: Tensor,
    state: State,
    hidden: tuple[Tensor, Tensor | None],
    down: Tensor | None,
) -> State:
    return (activate(mapped + F.linear(state[0], *hidden)),)


_STEPS: dict[str, Callable[..., State]] = {
    "lstm": _lstm_step,
    "gru": _gru_step,
    "rnn_tanh": partial(_rnn_step, Tensor.tanh),
    "rnn_relu": partial(_rnn_step, Tensor.relu),
}


def _recurrent(kind: str, *args: Any) -> tuple[Tensor, ...]:
    """A recurrent layer of torch, of padded or of packed sequences."""
    packed = isinstance(args[1], Tensor) and not args[1].is_floating_point() and len(args) == 9 and args[1].dim() == 1
    data, hx, params, has_biases, layers, dropout, train, both = (args[0], *args[2:9]) if packed else args[:8]
    if train and dropout:
        raise _NotDecomposed("with dropout in evaluation mode")
    if not packed and not args[8]:
        data = data.transpose(0, 1)  # the batch comes first, by which constants are credited to documents
    states = tuple(hx) if isinstance(hx, (list, tuple)) else (hx,)
    weights = _weights(params, has_biases, kind == "lstm" and states[0].shape[-1] != states[-1].shape[-1])
    finals: list[State] = []
    for layer in range(layers):
        found = []
        for direction in range(2 if both else 1):
            at = layer * (2 if both else 1) + direction
            (w_ih, b_ih), hidden, down = weights[at]
            cell = partial(_STEPS[kind], hidden=hidden, down=down)
            mapped = F.linear(data, w_ih, b_ih)
            pieces = mapped.split(args[1].tolist()) if packed else mapped.unbind(1)
            outputs, final = _run(cell, pieces, tuple(state[at] for state in states), backward=direction == 1)
            found.append(torch.cat(outputs) if packed else torch.stack(outputs, 1))
            finals.append(final)
        data = torch.cat(found, -1) if both else found[0]
    if not packed and not args[8]:
        data = data.transpose(0, 1)
    return (data, *(torch.stack(last) for last in zip(*finals, strict=True)))


def _weights(params: Sequence[Tensor], has_biases: bool, projected: bool) -> list[Any]:
    """Return the weights of each layer and direction: the map of the inputs, that of the state, and a projection."""
    found, each = [], 2 + 2 * has_biases + projected
    for at in range(0, len(params), each):
        part = list(params[at : at + each])
        biases = part[2:4] if has_biases else (None, None)
        found.append(((part[0], biases[0]), (part[1], biases[1]), part[-1] if projected else None))
    return found


def _run(cell: Any, pieces: Sequence[Tensor], start: State, backward: bool) -> tuple[list[Tensor], State]:
    """Run a cell over time; sequences that are shorter end earlier, or begin later when it runs backward.

    Args:
        cell: the cell.
        pieces: the mapped inputs at each time, of all sequences that are as long, the longest first.
        start: the state before the first time.
        backward: whether to run from the last time to the first.

    Returns:
        The outputs at each time, and the last state of each sequence.
    """
    order = pieces[::-1] if backward else pieces
    outputs: list[Tensor] = []
    ended: list[State] = []
    state = tuple(x[: order[0].shape[0]] for x in start)
    for mapped in order:
        size, running = mapped.shape[0], state[0].shape[0]
        if size < running:
            ended.append(tuple(x[size:] for x in state))
            state = tuple(x[:size] for x in state)
        elif size > running:
            state = tuple(torch.cat([x, first[running:size]]) for x, first in zip(state, start, strict=True))
        state = cell(mapped, state)
        outputs.append(state[0])
    last = tuple(map(torch.cat, zip(state, *reversed(ended), strict=True))) if ended else state
    return outputs[::-1] if backward else outputs, last


def _cell(kind: str, input: Tensor, hx: Any, w_ih: Tensor, w_hh: Tensor, b_ih: Any = None, b_hh: Any = None) -> Any:
    """One step of a recurrent layer."""
    state = tuple(hx) if isinstance(hx, (list, tuple)) else (hx,)
    found = _STEPS[kind](F.linear(input, w_ih, b_ih), state, hidden=(w_hh, b_hh), down=None)
    return found if len(found) > 1 else found[0]


#: The functions that run step by step, by their names.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "cosine_similarity": _cosine_similarity,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "var_mean": _var_mean,
    "std_mean": _std_mean,
    "cdist": _cdist,
    "pairwise_distance": _pairwise_distance,
    "addcdiv": _addcdiv,
    "bilinear": _bilinear,
    "logaddexp": _logaddexp,
    "hypot": _hypot,
    "float_power": _float_power,
    "softmin": _softmin,
    "scatter_reduce": _scatter_reduce,
    "embedding_bag": _embedding_bag,
    **{kind: partial(_recurrent, kind) for kind in _STEPS},
    **{f"{kind}_cell": partial(_cell, kind) for kind in _STEPS},
}
