"""Every torch function that the model calls, met with its rule.

A ``TorchFunctionMode`` sees whole functionals. The parameters are frozen, so an operand carries relevance exactly if it
requires grad; everything else is a constant, and a constant that is added to relevance is posted to the books.
"""

from __future__ import annotations

import functools
import threading
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from textlrp.errors import UnsupportedOperationError
from textlrp.lrp import attention, callers, coverage, handlers, norms, operations, overrides, sessions, token_tracking
from textlrp.lrp.activations import anchor_of_module, composed_activations
from textlrp.lrp.checkpointing import Checkpoints
from textlrp.lrp.hidden.capture import Watch
from textlrp.lrp.hidden.states import Inside
from textlrp.lrp.kernels import Masks
from textlrp.lrp.passes import Pass
from textlrp.lrp.randomness import Draws
from textlrp.lrp.shortcuts import SHORTCUTS
from textlrp.lrp.trees import carriers, carries, replace, tensors
from textlrp.lrp.working_copy import Parts
from textlrp.rules import LRP0, Constant, Frozen, Gradient, Identity, Plain, Rules, Taylor, Uniform

_HANDLERS = handlers.HANDLERS | {
    "attention": attention.scaled_dot_product_attention,
    "multi_head": attention.multi_head_attention,
}


# Bound once: they are called with each of a model's operations.
_is_grad_enabled, _transform = torch.is_grad_enabled, torch._C._functorch.peek_interpreter_stack


class Usual:
    """Which kinds of operations follow the rules of the presets in the whole model, so that a shortcut knows them."""

    __slots__ = ("attention", "linear", "nonlinearity", "norm", "product")

    def __init__(self, everywhere: bool, rules: Rules) -> None:
        self.linear = everywhere and type(rules.linear) is LRP0
        self.product = everywhere and type(rules.product) is Uniform
        self.attention = self.product and type(rules.softmax) is Taylor
        self.norm = everywhere and type(rules.norm) is Constant
        self.nonlinearity = everywhere and type(rules.nonlinearity) is Identity


class Interception(TorchFunctionMode, Pass):
    """Meets every torch function with its rule while the model runs, in this thread alone.

    Args:
        parts: the parts of the classifier, a working copy whose parameters are frozen.
        rules: the rules to follow.
        input_ids: shape ``[batch, sequence]``.
        dtype: the dtype of the relevance and of the sums.
        widen: for float64 models: where the model would fall back to float32, stay in float64.
        draws: where the model's random numbers come from.
        fused: whether attention goes through the backward of the fused kernel, or step by step.
        watch: what looks at the outputs of modules, or None.
        inside: what looks at the hidden states, or None.
        frugal: whether rules may keep what the model holds anyway in place of a copy; it must not write over it then.
        checkpoints: what lets blocks forget their activations, or None.

    Attributes:
        input_ids: a copy of the ids to run the model with: it is known as the source of the tokens.
        looked_up: whether the ids were looked up in a table.
        sampled: whether the model drew random numbers.
        counts: how often each function met which rule.
        masks: what is known of the attention mask that was used last.
        anchors: the values and slopes at zero of the functions that were met.
        gates: whether a gated unit may be taken as one, and ``gating`` whether the last non-linearity gated something.
        usual: which kinds of operations have the same rule everywhere.
        constants: the model's own parameters by their identity, with their numbers of dimensions.
        visible: set this to a set, and it collects the autograd nodes of every function that was seen.
    """

    def __init__(
        self,
        parts: Parts,
        rules: Rules,
        input_ids: Tensor,
        dtype: torch.dtype,
        widen: bool,
        draws: Draws,
        fused: bool = True,
        watch: Watch | None = None,
        inside: Inside | None = None,
        frugal: bool = True,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        TorchFunctionMode.__init__(self)
        Pass.__init__(self, input_ids, dtype, inside, by_columns=isinstance(rules.softmax, Frozen))
        self.fused, self._watch, self._checkpoints = fused, watch, checkpoints
        self.parts, self.model = parts, parts.model
        self._rules = [rules]
        self._own_rules = overrides.resolve(parts.model, rules)
        self._plain_norms = any(isinstance(each.norm, Plain) for each in (rules, *self._own_rules.values()))
        self.masks = Masks()
        self.anchors: dict[Any, tuple[float | None, float]] = {}
        self.gating = False
        # Whoever looks at the output of a gate's non-linearity has to find its multiplier there.
        self.gates = frugal and watch is None and inside is None
        self.usual = Usual(not self._own_rules, rules)
        self._short = inside is None and not widen and not self._plain_norms
        self.constants = {id(p): p.dim() for p in parts.parameters if type(p) is nn.Parameter}
        self.input_ids = token_tracking.mark_ids(input_ids)
        self.looked_up = self.sampled = False
        self.counts: dict[tuple[Any, str], int] = defaultdict(int)
        self.tracing: int | None = 0
        self.visible: set[Any] | None = None
        self.widen, self.draws = widen, draws
        self._hooks: list[Any] = []
        self._within: list[Tensor | None] = []
        self._thread = threading.get_ident()

    # -- scope ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Interception:
        for module in composed_activations(self.parts.modules):
            self._hooks.append(module.register_forward_pre_hook(self._before_activation))
            self._hooks.append(module.register_forward_hook(self._after_activation))
        for module, own in self._own_rules.items():  # a module leaves its rules when it is through with all else
            self._hooks.append(module.register_forward_pre_hook(functools.partial(self._enter_module, own)))
            self._hooks.append(module.register_forward_hook(self._leave_module, always_call=True))
        for looking in (self._watch, self.inside, self._checkpoints):
            if looking is not None:
                self._hooks += looking.install(self)
        self.running = True
        self._depth = sessions.depth()
        sessions.enter(self)
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        # An interrupt inside torch can have taken the mode off the stack already.
        if torch.overrides._get_current_function_mode() is self:
            super().__exit__(*exception)
        sessions.leave(self._depth)
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        # Nodes that refer to this object by way of the graph that they belong to would never be collected.
        if self.inside is not None:
            self.inside.close()
        self.products.clear()
        self.masks.forget()
        self.visible = None

    @property
    def rules(self) -> Rules:
        """The rules of the module that is running."""
        return self._rules[-1]

    def _enter_module(self, own: Rules, module: nn.Module, args: Any) -> None:
        if threading.get_ident() == self._thread:
            self._rules.append(own)

    def _leave_module(self, module: nn.Module, args: Any, y: Any) -> None:
        if threading.get_ident() == self._thread:
            self._rules.pop()

    def _before_activation(self, module: nn.Module, args: tuple[Any, ...]) -> Any:
        if threading.get_ident() != self._thread or not args or not isinstance(args[0], Tensor):
            return None
        x = args[0]
        self._within.append(x if x.requires_grad and torch.is_grad_enabled() else None)
        return (x.detach(), *args[1:]) if self._within[-1] is not None else None

    def _after_activation(self, module: nn.Module, args: tuple[Any, ...], y: Any) -> Any:
        if threading.get_ident() != self._thread or not args or not isinstance(args[0], Tensor):
            return None
        x = self._within.pop()
        if x is None:
            return None
        with torch._C.DisableTorchFunction():
            if y.data_ptr() == x.data_ptr() and y.shape == x.shape:
                return x
            y = y.clone() if y._is_view() else y
            if isinstance(self.rules.nonlinearity, Gradient):
                return handlers.gradient(self, module.forward, x, type(module).__name__)
            anchor = anchor_of_module(module, x)
            return handlers.elementwise(self, x, y, *anchor, type(module).__name__)

    # -- dispatch ------------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in operations.READ:
            return func(*args, **kwargs or {})
        kwargs = kwargs or {}
        shortcut = SHORTCUTS.get(func)
        if (
            shortcut is not None
            and self._short
            and not self.mapping
            and self.visible is None
            and _is_grad_enabled()
            and _transform() is None
        ):
            out = shortcut(self, func, args, kwargs)
            if out is not NotImplemented:
                return out
        if self.widen:
            func, args, kwargs = operations.widened(func, args, kwargs)
        meet = self._meet if self.inside is None else functools.partial(self.inside.meet, self._meet)
        if self.visible is None or not carries(args, kwargs):
            return meet(func, args, kwargs)
        return coverage.record(self.visible, meet, func, args, kwargs)

    def _meet(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Let a function meet its rule."""
        if self.mapping:
            raise RuntimeError(
                "the model runs on the way back (a checkpoint, a hook), where its rules cannot be mapped"
            )
        kind = operations.KINDS.get(func)
        found = carriers(args, kwargs)
        if kind is None and func in operations.DERIVATIVES:
            raise self.unsupported(f"{operations.name(func)}, a derivative that is taken while the model runs,")
        transform = _transform()
        if transform is not None:
            self._check_transform(transform, func, found)
        if any(self._is_foreign(tensor) for tensor in found):
            args, kwargs = replace(args, self._frozen), replace(kwargs, self._frozen)
            found = carriers(args, kwargs)
        if not found:
            return self._without_relevance(func, kind, args, kwargs)
        out = self._with_relevance(func, kind, args, kwargs)
        if self._plain_norms and isinstance(self.rules.norm, Plain):
            norms.follow(args, kwargs, out)
        if not torch.is_grad_enabled():
            token_tracking.mark_cut(out)
        return out

    def _check_transform(self, transform: Any, func: Any, found: list[Tensor]) -> None:
        """Refuse torch.func: constants that are mapped over (as masks are) pass, activations and derivatives do not."""
        mapped = transform.key() == torch._C._functorch.TransformType.Vmap
        if found or not mapped:
            raise self.unsupported(f"{operations.name(func)} under {'torch.vmap' if mapped else 'torch.func'}")

    def _with_relevance(self, func: Any, kind: Any, args: Any, kwargs: Any) -> Any:
        if kind == operations.LOOKUP:
            return handlers.lookup(self, func, args, kwargs)
        if kind is None:
            if func in operations.EXITS and args[0].is_floating_point():
                raise self.unsupported(operations.name(func))
            out = func(*args, **kwargs)
            if any(tensor.requires_grad for tensor in tensors(out)):
                raise self.unsupported(operations.name(func))
            token_tracking.mark_cut(out)
            return out
        if kind is operations.TRANSPORT:
            self.count(func, "plain gradient")
            out = func(*args, **kwargs)
            if func is Tensor.detach:
                token_tracking.mark_cut(out)
            return out
        if kwargs.get("out") is not None:
            raise self.unsupported(f"{operations.name(func)} with out=")
        in_place = operations.OUT_OF_PLACE.get(func)
        if in_place is not None:
            return handlers.in_place(self, func, in_place, kind, args, kwargs)
        return _HANDLERS[kind](self, func, args, kwargs)

    def _without_relevance(self, func: Any, kind: Any, args: Any, kwargs: Any) -> Any:
        if kind == operations.LOOKUP:
            return handlers.lookup(self, func, args, kwargs)
        if func is torch._C._set_grad_enabled and self.tracing:
            return None  # a custom function's forward runs without grad, and is traced all the same
        if func is Tensor.requires_grad_:
            if token_tracking.is_cut(args[0]):
                raise self.unsupported("a derivative by detached activations")
            return args[0]  # a constant that a model lets require grad carries no relevance of a token
        if func in operations.EXITS and token_tracking.is_cut(args[0]):
            raise self.unsupported(f"{operations.name(func)} of activations")
        target = None
        if operations.is_in_place(func):
            target = args[0] if args else kwargs.get("tensor", kwargs.get("input"))
        draws = kind in operations.DRAWING and operations.draws(func, args, kwargs)
        out = self.draw(func, args, kwargs) if draws else func(*args, **kwargs)
        written = out if target is None else target
        if isinstance(written, Tensor) and not token_tracking.follow(func, kind, args, kwargs, written):
            raise self.unsupported(f"{operations.name(func)} of a table by the input ids")
        return out

    def _is_foreign(self, tensor: Tensor) -> bool:
        """Whether a tensor that requires grad carries no relevance: a parameter that the model has not registered.

        Some are made while the model runs (BigBird does), some are reached past the modules of the copy.
        """
        return tensor.is_leaf and tensor is not self.root

    def _frozen(self, tensor: Tensor) -> Tensor:
        return tensor.detach() if tensor.requires_grad and self._is_foreign(tensor) else tensor

    # -- what handlers ask for -----------------------------------------------------------------------------------

    def draw(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call a function that draws random numbers, with the generators of this explanation."""
        self.sampled = True
        return self.draws.call(func, args, kwargs)

    def count(self, func: Any, rule: str) -> None:
        """Note that an operation met a rule."""
        self.counts[func, rule] += 1

    @property
    def met(self) -> dict[tuple[str, str], int]:
        """How often each operation met which rule."""
        found: dict[tuple[str, str], int] = {}
        for (func, rule), count in self.counts.items():
            key = (operations.name(func), rule)
            found[key] = found.get(key, 0) + count
        return found

    def unsupported(self, what: str) -> UnsupportedOperationError:
        """Return the error that names an operation and the module that called it."""
        return UnsupportedOperationError(
            f"{what}, called in {self.module_path()}, has no rule: its relevance cannot be accounted for, so no "
            f"explanation is shown"
        )

    def module_path(self) -> str:
        """Name the innermost module on the call stack, with its class."""
        found = callers.innermost(self.model)
        return "the model" if found is None else f"{found[0] or 'the model'} ({type(found[1]).__name__})"
