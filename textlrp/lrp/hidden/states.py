"""Relevance at the hidden states between the layers, with a balanced ledger at each of them.

A hidden state is the output of a block. When the backward pass reaches it, all other relevance was either posted, or
has arrived at ids that are looked up above it, or goes around it (from a decoder to encoder states):
``logit = sum(h c) + posted + arrived + around``, and every term is measured.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from textlrp.guard import trees
from textlrp.guard.trees import tensors
from textlrp.lrp import operations, reference
from textlrp.lrp.context import Context, Meet, Observer
from textlrp.lrp.hidden import blocks as model_blocks
from textlrp.lrp.hidden import heads as attention_heads
from textlrp.lrp.hidden.residual_paths import ResidualSums
from textlrp.results.ledger import OTHER_PATHS, SPECIAL_TOKENS, TOKENS, Ledger
from textlrp.results.ledger import mean as mean_ledger

#: The largest share of the relevance at a hidden state that positions behind the ids carry if they are padding.
_NOTHING = 1e-6


@dataclass(frozen=True)
class HiddenState:
    """The relevance at one hidden state.

    Attributes:
        name: the path of the module that outputs it, with ``#2``, ``#3``, ... if it runs again; ``embeddings`` for the
            input of the first list of blocks, and the path of the list for that of any other.
        relevance: ``[batch, positions]``, in logit units.
        rows: the postings so far, by heading, ``[batch]`` each.
        heads: the relevance of each attention head of the block, ``[batch, heads]``, by the path of the module.
        ledgers: for each document, the parts of the logit when the backward pass reaches this state: its positions, the
            postings above it, and other paths.
        paths: the relevance of each path through the block, ``[batch]`` each: ``attention``, ``feed-forward``,
            ``residual``, and ``other`` for the rest (the shift of a norm).
    """

    name: str
    relevance: Tensor
    rows: Mapping[str, Tensor]
    heads: Mapping[str, Tensor]
    paths: Mapping[str, Tensor]
    ledgers: tuple[Ledger, ...] = ()

    def close(self, explained: Sequence[float], tolerance: float, special: Tensor) -> HiddenState:
        """Return the hidden state with its ledgers.

        Args:
            explained: the explained logit of each document.
            tolerance: the largest share of a ledger's size that counts as rounding.
            special: where special tokens and padding are, ``[batch, sequence]``.
        """
        rows = dict(self.rows)
        ordinary = self.relevance
        if self.relevance.shape == special.shape:
            ordinary = self.relevance * ~special
            rows[SPECIAL_TOKENS] = rows.get(SPECIAL_TOKENS, 0.0) + (self.relevance * special).sum(-1)
        rows[TOKENS] = ordinary.sum(-1)
        values = {heading: row.tolist() for heading, row in rows.items() if heading == TOKENS or bool(row.any())}
        magnitudes = self.relevance.abs().sum(-1).tolist()
        ledgers = tuple(
            Ledger({heading: row[i] for heading, row in values.items()}, logit, tolerance, magnitudes[i])
            for i, logit in enumerate(explained)
        )
        return replace(self, ledgers=ledgers)

    def alone(self, i: int) -> HiddenState:
        """Return the hidden state of one document of the batch."""
        row = slice(i, i + 1)
        return HiddenState(
            self.name,
            self.relevance[row],
            {heading: values[row] for heading, values in self.rows.items()},
            {path: values[row] for path, values in self.heads.items()},
            {path: values[row] for path, values in self.paths.items()},
            self.ledgers[row],
        )


@dataclass(eq=False)
class _State:
    """A hidden state while the model runs, and the measurements there in the backward pass."""

    name: str
    place: tuple[str, int] | None
    value: Tensor
    edge: Any  # of the block's output, before the copy that the model goes on with
    sequence: int  # of the copy: older nodes were there before this state
    residual_sums: ResidualSums | None
    heads: list[attention_heads.Heads]
    around: list[Tensor] = field(default_factory=list)
    measured: tuple[Tensor, dict[str, Tensor], dict[str, Tensor]] | None = None


class HiddenStates(Observer):
    """Observes the hidden states of a model while it is explained.

    Args:
        model: the model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._blocks = model_blocks.blocks(model)
        self._context: Any = None
        self._states: list[_State] = []
        self._entered: set[str] = set()
        self._runs: dict[str, int] = {}
        self._depth = 0
        self._residual_sums: ResidualSums | None = None
        self._heads: list[attention_heads.Heads] = []

    def install(self, context: Context) -> list[Any]:
        """Start observing, and return the hooks to remove at the end."""
        self._context = context
        return [model_blocks.Wrapped(module, partial(self._run, block)) for module, block in self._blocks.items()]

    def close(self) -> None:
        """Drop the graph."""
        self._states.clear()
        self._residual_sums = self._context = None
        self._heads = []

    def start(self) -> None:
        """Drop the results of an earlier backward pass."""
        for state in self._states:
            state.measured = None
            state.around.clear()
            for heads in state.heads:
                heads.relevance = torch.zeros_like(heads.relevance)

    def states(self) -> tuple[HiddenState, ...]:
        """Return the results of the backward pass, from the embeddings up."""
        scale = self._context.scale

        def plain(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: value / scale for name, value in values.items()}

        hidden = []
        for state in self._states:
            if state.measured is not None:
                relevance, rows, paths = state.measured
                heads = {module.path: module.relevance for module in state.heads}
                hidden.append(HiddenState(state.name, relevance / scale, plain(rows), plain(heads), plain(paths)))
        return tuple(hidden)

    # -- forward pass ----------------------------------------------------------------------------------------------

    def _run(self, block: model_blocks.Block, forward: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a block, and observe its input and its output."""
        if not self._observes():
            return forward(*args, **kwargs)
        self._depth += 1
        try:
            if self._depth == 1 and block.group not in self._entered:
                args, kwargs = self._enter(block, args, kwargs)
            output = forward(*args, **kwargs)
        finally:
            self._depth -= 1
        y = next((y for y in tensors(output) if y.requires_grad and y.is_floating_point()), None)
        if self._depth or y is None or not self._is_hidden(y):
            return output
        run = self._runs[block.path] = self._runs.get(block.path, 0) + 1
        copy = self._copy(block.path if run == 1 else f"{block.path}#{run}", block.place, y)
        return _with(output, y, copy)

    def _enter(self, block: model_blocks.Block, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Observe the input of the first block of a stack."""
        x = next((x for x in tensors((args, kwargs)) if x.requires_grad and x.is_floating_point()), None)
        if x is None or not self._is_hidden(x):
            return args, kwargs
        self._entered.add(block.group)
        if self._states and x.grad_fn is not None and x.grad_fn._sequence_nr() == self._states[-1].sequence:
            return args, kwargs  # the output of the block before it
        copy = self._copy(block.stack if self._states else "embeddings", None, x)
        args, kwargs = (trees.replace(values, lambda y: copy if y is x else y) for values in (args, kwargs))
        return args, kwargs

    def _observes(self) -> bool:
        return self._context is not None and self._context.running and torch.is_grad_enabled()

    def _is_hidden(self, x: Tensor) -> bool:
        return x.dim() > 2 or (x.dim() == 2 and x.shape[0] == self._context.shape.numel())

    def _copy(self, name: str, place: tuple[str, int] | None, y: Tensor) -> Tensor:
        """Record a hidden state, and return the copy of it that the model goes on with."""
        with torch._C.DisableTorchFunction():
            # Hooks of its own operation, which post added constants, come after those of the copy.
            copy = reference.like(y, Tensor.clone)
            before = self._states[-1] if self._states else None
            state = _State(
                name,
                place,
                reference.difference(y),
                torch.autograd.graph.get_gradient_edge(y),
                copy.grad_fn._sequence_nr(),  # type: ignore[union-attr]
                self._residual_sums,
                self._heads,
            )
            if before is not None and place is not None and before.place == place:
                self._states.pop()  # the layer goes on with another module
                state.heads = before.heads + state.heads
                state.residual_sums = None
            self._states.append(state)
            self._residual_sums, self._heads = ResidualSums(copy, state.value), []
            copy.register_hook(partial(self._arrive, state))
        return copy

    def meet(self, meet: Meet, func: Any, args: Any, kwargs: Any) -> Any:
        """Give a function its rule, and observe relevance that goes around, heads and residual sums."""
        if not self._context.running:
            return meet(func, args, kwargs)
        around = partial(self._around, args[0] if args and operations.is_in_place(func) else None)
        if self._states:
            args, kwargs = trees.replace(args, around), trees.replace(kwargs, around)
        if self._residual_sums is not None and operations.KINDS.get(func) == "additive":
            return self._residual_sums.meet(meet, func, args, kwargs)
        out = meet(func, args, kwargs)
        add_up = attention_heads.follow(func, args, out)
        return out if add_up is None else self._attend(out, add_up)

    def attended(self, out: Tensor) -> Tensor:
        """Observe the heads of an attention's result, ``[batch, heads, queries, channels]`` or the like."""
        return self._attend(out, attention_heads.by_matmul)

    def _attend(self, out: Tensor, add_up: Callable[[Tensor], Tensor]) -> Tensor:
        if not self._context.running or not out.requires_grad:
            return out
        with torch._C.DisableTorchFunction():
            batch, dtype = self._context.postings.batch, self._context.postings.dtype
            value = reference.difference(out)
            shape = attention_heads.by_head(add_up(torch.zeros_like(value, device="meta")), batch)
            if self._residual_sums is not None:
                self._residual_sums.attended.add(out.grad_fn)
            if shape is None:
                return out
            # Hooks of its own operation, which scale its multiplier, come after that of the view.
            out = reference.like(out, lambda x: x.view_as(x))
            module = self._context.innermost_module()
            path = "" if module is None else module[0]
            heads = next((known for known in self._heads if known.path == path), None)
            if heads is None or heads.relevance.shape != shape.shape:
                heads = attention_heads.Heads(path, torch.zeros(shape.shape, dtype=dtype, device=value.device))
                self._heads.append(heads)

            def arrive(c: Tensor) -> None:
                relevance = attention_heads.by_head(add_up(_relevance(value, c, dtype)), batch)
                if relevance is not None and not self._context.postings.muted:
                    heads.relevance = heads.relevance + relevance

            out.register_hook(arrive)
        return out

    def _around(self, written: Any, x: Tensor) -> Tensor:
        """Measure relevance that goes around hidden states, because a tensor older than them is used above them."""
        if not x.requires_grad or x.is_leaf or x is written:
            return x
        sequence = x.grad_fn._sequence_nr()  # type: ignore[union-attr]
        if sequence >= self._states[-1].sequence:
            return x
        passed = self._states[bisect_right([state.sequence for state in self._states], sequence) :]
        with torch._C.DisableTorchFunction():
            value, view = reference.difference(x), reference.like(x, lambda x: x.view_as(x))

            def arrive(c: Tensor) -> None:
                postings = self._context.postings
                if not postings.muted:
                    relevance = postings.per_document(_relevance(value, c, postings.dtype))
                    for state in passed:
                        state.around.append(relevance)

            view.register_hook(arrive)
        return view

    # -- backward pass ---------------------------------------------------------------------------------------------

    def _arrive(self, state: _State, c: Tensor) -> None:
        """Measure the relevance at a hidden state."""
        context = self._context
        if context is None or context.postings.muted or state not in self._states:
            return
        with torch._C.DisableTorchFunction():
            postings = context.postings
            product = _relevance(state.value, c, postings.dtype)
            rows = postings.rows()
            around = [*state.around, context.relevance.view(context.shape).sum(-1)]
            rows[OTHER_PATHS] = torch.stack(around).sum(0)
            paths = {} if state.residual_sums is None else state.residual_sums.paths(context, state.edge, c)
            total = postings.per_document(product)
            if paths:
                paths["other"] = total - torch.stack(list(paths.values())).sum(0)
            relevance = _without_padding(_by_position(product, context.shape), context.shape[1])
            state.measured = (relevance, rows, paths)


def join(alone: Sequence[tuple[HiddenState, ...]]) -> tuple[HiddenState, ...]:
    """Join the hidden states of single documents."""

    def cat(parts: tuple[HiddenState, ...], field: str) -> dict[str, Tensor]:
        rows = [getattr(part, field) for part in parts]
        names = dict.fromkeys(name for row in rows for name in row)
        like = {name: next(row[name] for row in rows if name in row) for name in names}
        return {name: torch.cat([row.get(name, torch.zeros_like(like[name])) for row in rows]) for name in names}

    return tuple(
        HiddenState(
            parts[0].name,
            torch.cat([part.relevance for part in parts]),
            cat(parts, "rows"),
            cat(parts, "heads"),
            cat(parts, "paths"),
            tuple(ledger for part in parts for ledger in part.ledgers),
        )
        for parts in zip(*alone, strict=True)
    )


def averaged(runs: Sequence[tuple[HiddenState, ...]]) -> tuple[HiddenState, ...]:
    """Return the mean of hidden states that were measured from several references."""

    def mean(parts: tuple[HiddenState, ...]) -> HiddenState:
        def of(field: str) -> dict[str, Tensor]:
            names = dict.fromkeys(name for part in parts for name in getattr(part, field))
            rows = {
                name: [getattr(part, field)[name] for part in parts if name in getattr(part, field)] for name in names
            }
            return {name: torch.stack(row).sum(0) / len(parts) for name, row in rows.items()}

        relevance = torch.stack([part.relevance for part in parts]).mean(0)
        ledgers = tuple(map(mean_ledger, zip(*(part.ledgers for part in parts), strict=True)))
        return HiddenState(parts[0].name, relevance, of("rows"), of("heads"), of("paths"), ledgers)

    return tuple(map(mean, zip(*runs, strict=True)))


def _with(output: Any, y: Tensor, copy: Tensor) -> Any:
    """Return a module's output with one tensor exchanged."""
    if isinstance(output, Mapping):
        for key, value in output.items():
            if value is y:
                output[key] = copy  # type: ignore[index]
        return output
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*(copy if value is y else value for value in output))
    return trees.replace(output, lambda value: copy if value is y else value)


def _relevance(value: Tensor, c: Tensor, dtype: torch.dtype) -> Tensor:
    if value.is_complex():  # the gradient of a complex number is conjugate
        return (c.conj() * value).real.to(dtype)
    return value.to(dtype) * c.to(dtype)


def _by_position(product: Tensor, shape: torch.Size) -> Tensor:
    """Add up the channels of a hidden state: ``[batch, positions]``, wherever its batch and its channels are."""
    batch, length = shape
    if product.dim() == 2:
        return product.sum(-1).view(batch, -1)
    if product.dim() == 3 and product.shape[1] != length and product.shape[2] == length and product.shape[0] == batch:
        return product.sum(1)  # channels first
    if product.shape[0] != batch and product.shape[1] == batch:
        product = product.transpose(0, 1)  # time first
    return product.flatten(2).sum(-1) if product.shape[0] == batch else product.sum().expand(batch, 1)


def _without_padding(relevance: Tensor, length: int) -> Tensor:
    """Drop positions behind the ids that carry nothing: some models pad a document to whole windows."""
    behind = relevance[:, length:].abs().sum()
    return relevance[:, :length] if bool(behind <= _NOTHING * relevance.abs().sum()) else relevance
