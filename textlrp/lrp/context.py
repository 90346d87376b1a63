"""The context that every rule gets while a model runs: the rules in force, postings, hooks on multipliers, errors.

The module stands below the rules. The dispatcher owns a context and passes it to each rule; hidden states, captured
modules and checkpoints are :class:`Observer` objects.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from textlrp.errors import UnsupportedOperationError
from textlrp.guard.randomness import Draws
from textlrp.guard.trees import tensors
from textlrp.guard.working_copy import Parts
from textlrp.lrp import operations
from textlrp.lrp.attention_scores import ScoreSizes
from textlrp.lrp.coverage import between
from textlrp.lrp.postings import Postings
from textlrp.lrp.reference import ReferenceRun
from textlrp.results import ledger
from textlrp.rules import Rules

#: A function that gives a torch function its rule: ``meet(func, args, kwargs)``.
Meet = Callable[[Any, Any, Any], Any]


class Observer:
    """Observes a model while it is explained, or changes how its modules run."""

    def install(self, context: Context) -> list[Any]:
        """Start observing, and return the hooks to remove at the end."""
        return []

    def start(self) -> None:
        """Drop the results of an earlier backward pass: another one begins."""

    def close(self) -> None:
        """Drop the graph."""

    def meet(self, meet: Meet, func: Any, args: Any, kwargs: Any) -> Any:
        """Give a torch function its rule by ``meet(func, args, kwargs)``, and observe the call."""
        return meet(func, args, kwargs)

    def attended(self, out: Tensor) -> Tensor:
        """Return the result of attention, ``[batch, heads, queries, channels]``, or a tensor in its place."""
        return out


class Context:
    """The state of one forward pass and of the backward passes through it.

    Args:
        parts: the parts of the classifier, a working copy whose parameters are frozen.
        rules: the rules to follow.
        input_ids: shape ``[batch, sequence]``.
        dtype: the dtype of the relevance and of the sums.
        draws: the source of the model's random numbers.
        fused: whether attention goes through the backward of the fused kernel, or step by step.
        whole_gates: whether a gated unit is one node. It skips the activation's node, so hooks on its output would
            never fire.
        observers: the observers of the model.
        others: how many ids other inputs have.
        reference: the reference run, under difference rules.

    Attributes:
        rules: the rules of the module that is running.
        root: the leaf below every looked-up row in the autograd graph; the backward pass ends there.
        relevance: the relevance of each id, flat; those of other inputs come after those of the text.
        postings: all other relevance.
        products: the autograd nodes of products that were given their rule.
        counts: how often each torch function, or each module by its name, was given which rule.
        looked_up: whether the ids were looked up in a table.
        origin: the flat position of each id of the last lookup, or -1.
        sampled: whether the model drew random numbers.
        running: whether the forward pass that is explained is running.
        scale: the factor of all multipliers in the backward pass. Those of a wide model are so small that float16 would
            lose their digits; a power of two does not change them otherwise.
        give: gives a torch function its rule: ``give(func, args, kwargs)``; for rules that are made of others.
        logits_of_reference: under difference rules, the logits of the reference, once they are known.
        scores: in 16 bits, the sizes of the attention scores; else None.
    """

    relevance: Tensor
    give: Meet
    logits_of_reference: Tensor | None

    def __init__(
        self,
        parts: Parts,
        rules: Rules,
        input_ids: Tensor,
        dtype: torch.dtype,
        draws: Draws,
        *,
        fused: bool = True,
        whole_gates: bool = True,
        observers: tuple[Observer, ...] = (),
        reference: ReferenceRun | None = None,
        others: int = 0,
    ) -> None:
        self.reference, self.logits_of_reference = reference, None
        self.parts, self.draws = parts, draws
        self.fused, self.whole_gates, self.observers = fused, whole_gates, observers
        self.postings = Postings(input_ids.shape[0], dtype)
        self.root = torch.zeros((), dtype=dtype, device=input_ids.device, requires_grad=True)
        self.products: set[Any] = set()
        self.counts: dict[tuple[Any, str], int] = defaultdict(int)
        self.looked_up = self.sampled = self.running = False
        self.scale = 1.0
        self.scores: ScoreSizes | None = None
        self.origin: Tensor | None = None
        self.shape, self.numbers = input_ids.shape, input_ids.numel() + others
        self.rules, self._outer_rules = rules, list[Rules]()
        self.start()

    @property
    def beside(self) -> ReferenceRun:
        """The reference run, which there is under difference rules."""
        assert self.reference is not None
        return self.reference

    # -- rules ---------------------------------------------------------------------------------------------------

    def enter(self, rules: Rules) -> None:
        """Use other rules from here on."""
        self._outer_rules.append(self.rules)
        self.rules = rules

    def leave(self) -> None:
        """Use the previous rules again."""
        self.rules = self._outer_rules.pop()

    def count(self, func: Any, rule: str) -> None:
        """Count that a torch function, or a module by its name, was given a rule."""
        self.counts[func, rule] += 1

    @property
    def met(self) -> dict[tuple[str, str], int]:
        """How often each operation was given which rule, by their names."""
        met: dict[tuple[str, str], int] = defaultdict(int)
        for (func, rule), count in self.counts.items():
            met[operations.name(func), rule] += count
        return dict(met)

    def unsupported(self, operation: str) -> UnsupportedOperationError:
        """Return the error that names an operation and the module that called it."""
        advice = (
            "; the model is quantized, so load it in float32" if operation.startswith("torch.ops.quantized") else ""
        )
        return UnsupportedOperationError(
            f"{operation.rstrip(',')}, called in {self.module_path()}, has no rule: its relevance cannot be accounted "
            f"for, so no explanation is shown{advice}"
        )

    def module_path(self) -> str:
        """Name the innermost module on the call stack, with its class."""
        path, module = self.innermost_module() or ("", None)
        return "the model" if module is None else f"{path or 'the model'} ({type(module).__name__})"

    def innermost_module(self) -> tuple[str, nn.Module] | None:
        """Return the innermost module of the model on the call stack, with its path, or None if none is running."""
        names = {id(module): name for name, module in self.parts.model.named_modules()}
        frame: Any = sys._getframe(1)
        while frame is not None:
            owner = frame.f_locals.get("self")
            if isinstance(owner, nn.Module) and id(owner) in names:
                return names[id(owner)], owner
            frame = frame.f_back
        return None

    def owns(self, table: Tensor) -> bool:
        """Return whether a tensor is a parameter or a buffer of the model, or a view of one."""
        table = table if table._base is None else table._base
        if isinstance(table, nn.Parameter) or any(table is buffer for buffer in self.parts.buffers):
            return True
        # A buffer that the model has replaced since it started (a quantized table).
        return any(table is buffer for module in self.parts.modules for buffer in module._buffers.values())

    def draw(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call a function that draws random numbers, with the generators of this explanation."""
        self.sampled = True
        return self.draws.call(func, args, kwargs)

    def attended(self, out: Tensor) -> Tensor:
        """Pass the result of attention to the observers."""
        for observer in self.observers:
            out = observer.attended(out)
        return out

    # -- backward pass -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Drop the results of an earlier backward pass."""
        self.relevance = torch.zeros(self.numbers, dtype=self.postings.dtype, device=self.root.device)
        self.postings.clear()
        for observer in self.observers:
            observer.start()

    def post_reference(self, multiplier: Tensor) -> None:
        """Post the reference's own part of the explained logit, given the multipliers of the logits."""
        if self.logits_of_reference is not None:
            self.postings.post_product(ledger.REFERENCE, multiplier, self.logits_of_reference)

    def arrive(self, origin: Tensor, x: Tensor, c: Tensor) -> None:
        """Credit each input id with ``sum(x c)`` of its row; rows without an id (a decoder's start) are special."""
        relevance = (x.to(self.relevance.dtype) * c.to(self.relevance.dtype)).sum(-1)
        known = origin >= 0
        self.relevance = self.relevance.index_add(0, origin.clamp_min(0).reshape(-1), (relevance * known).reshape(-1))
        self.postings.post(ledger.SPECIAL_TOKENS, relevance * ~known)

    def post_constant(self, y: Tensor, constant: Any, heading: str, sign: float = 1.0) -> None:
        """Post the share of a constant that was added to ``y``, once the multiplier of ``y`` is known."""
        if not y.requires_grad:  # computed under no_grad: a constant itself
            return
        if heading == ledger.POSITIONS and self.rules.positions == "tokens" and isinstance(constant, Tensor):
            origin = self.origin
            if origin is not None and y.dim() == origin.dim() + 1 and y.shape[:-1] == origin.shape:
                added = (constant * sign).expand(y.shape)
                self.attach(y, lambda c: self.arrive(origin, added, c))
                return
        postings = self.postings
        value = constant if sign == 1.0 else constant * sign
        self.attach(y, lambda c: postings.post_product(heading, c, value))

    def mark_product(self, y: Tensor, operands: Any) -> None:
        """Record that the nodes of a product were given their rule."""
        self.products |= between(y.grad_fn, {x.grad_fn for x in tensors(operands) if x.requires_grad})

    def scale_multiplier(self, y: Tensor, share: float) -> None:
        """Scale the multiplier of ``y``."""
        self.attach(y, lambda c: c * share)

    def attach(self, y: Tensor, function: Callable[[Tensor], Tensor | None]) -> None:
        """Call a function with the multiplier of a fresh result; a tensor that it returns replaces the multiplier.

        Some functionals return a view of their result (``F.linear`` of three dimensions can). A hook on a view is lost
        when the view is written in place later, so it goes to the base, which only this result refers to.
        """
        base = y._base if y._is_view() else None
        if base is None or base.numel() != y.numel() or not base.is_contiguous() or not base.requires_grad:

            def hook(c: Tensor) -> Tensor | None:
                with torch._C.DisableTorchFunction():
                    return function(c)

            y.register_hook(hook)
            return
        size, stride = y.size(), y.stride()

        def on_base(c: Tensor) -> Tensor | None:
            with torch._C.DisableTorchFunction():
                plain = c.contiguous()
                changed = function(plain.as_strided(size, stride))
                if changed is None:
                    return None
                written = torch.empty_like(plain)
                written.as_strided(size, stride).copy_(changed)
                return written

        base.register_hook(on_base)
