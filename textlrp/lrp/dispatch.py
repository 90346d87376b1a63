"""The interception: it gives every torch function that the model calls its rule.

A ``TorchFunctionMode`` sees whole functionals. The parameters are frozen, so an operand carries relevance exactly if it
requires grad; everything else is a constant, and a constant that is added to relevance is posted.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from textlrp.guard import process, torch_internals
from textlrp.guard.randomness import draws
from textlrp.guard.trees import carriers, carries, replace, tensors
from textlrp.lrp import (
    chains,
    composites,
    coverage,
    norms,
    one_hot,
    operations,
    products,
    reference,
    token_tracking,
)
from textlrp.lrp.attention import scaled_dot_product_attention
from textlrp.lrp.choices import winner
from textlrp.lrp.context import Context, Meet, Observer
from textlrp.lrp.decompositions import decomposed
from textlrp.lrp.difference import lockstep
from textlrp.lrp.division import division, solve
from textlrp.lrp.draws import dropout, sample
from textlrp.lrp.elementwise import nonlinearity, of_chain
from textlrp.lrp.in_place import in_place
from textlrp.lrp.linear import convolution, linear
from textlrp.lrp.lookup import by_index, lookup
from textlrp.lrp.multi_head_attention import multi_head_attention
from textlrp.lrp.softmax import softmax
from textlrp.lrp.sums import additive, affine
from textlrp.lrp.writes import Handler
from textlrp.rules import Plain


def _linear(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """``F.linear``: a linear map, or a product where its weight or bias is computed from activations."""
    computed = carries(args[1:]) or (kwargs and carries(kwargs.get(name) for name in ("weight", "bias")))
    return (products.linear if computed else linear)(context, func, args, kwargs)


#: The functions that give operations their rules, by the kinds of :data:`textlrp.lrp.operations.KINDS`.
HANDLERS: dict[str, Handler] = {
    "linear": _linear,
    "convolution": convolution,
    "additive": additive,
    "affine": affine,
    "product": products.product,
    "sum_of_product": products.sum_of_product,
    "glu": products.glu,
    "division": division,
    "solve": solve,
    "statistic": norms.statistic,
    "layer_norm": norms.layer_norm,
    "rms_norm": norms.rms_norm,
    "normalize": norms.normalize,
    "nonlinearity": nonlinearity,
    "softmax": softmax,
    "attention": scaled_dot_product_attention,
    "multi_head": multi_head_attention,
    "decomposed": decomposed,
    "winner": winner,
    operations.LOOKUP: lookup,
    operations.SAMPLE: sample,
    operations.DROPOUT: dropout,
}

_active_transform = torch_internals.active_transform  # bound once: it is called with each of a model's operations

#: The kinds of functions that may draw random numbers.
_DRAWING = frozenset({operations.SAMPLE, operations.DROPOUT, "attention"})


class Interception(TorchFunctionMode):
    """Gives every torch function its rule while the model runs, in this thread alone.

    Args:
        context: the context that rules get.
        ids: the input ids ``[batch, sequence]``, and those of other inputs, by name.
        widen: for float64 models: stay in float64 where the model would cast to float32.

    Attributes:
        context: as given.
        ids: copies of the ids to run the model with, marked as the sources of relevance.
        draws: the source of the model's random numbers, for :mod:`textlrp.guard.process`.
        tracing: how many custom functions are being traced, for the same module.
        mapping: a backward pass is mapped over several targets, so no part of the model can run again.
        visible: if set to a set, it collects the autograd nodes of every function that was seen.
    """

    tracing: int | None

    def __init__(self, context: Context, ids: dict[str, Tensor], widen: bool) -> None:
        super().__init__()
        self.context, self.widen, self.draws = context, widen, context.draws
        self.ids, start = {}, 0
        for name, of_input in ids.items():
            self.ids[name] = token_tracking.mark_ids(of_input, start)
            start += of_input.numel()
        self.tracing, self.mapping = 0, False
        self.visible: set[Any] | None = None
        rules = context.rules
        norms = (rules.norm, *(override.norm for _, override in rules.overrides))
        self._plain_norms = any(isinstance(norm, Plain) for norm in norms)
        self._hooks: list[Any] = []
        self._meet: Meet = self._give_rule
        for observer in context.observers:
            if type(observer).meet is not Observer.meet:
                self._meet = partial(observer.meet, self._meet)

    # -- scope ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Interception:
        for observer in self.context.observers:
            self._hooks += observer.install(self.context)
        self.context.running, self.context.give = True, self._give_rule
        if self.context.reference is not None:
            self.context.reference.start(self.ids["input_ids"])
        self._depth = process.depth()
        process.enter(self)
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        if torch_internals.is_current_mode(self):  # an interrupt inside torch can have taken it off the stack
            super().__exit__(*exception)
        process.leave(self._depth)
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        # Nodes that refer to this object, which refers to their graph, would never be collected.
        for observer in self.context.observers:
            observer.close()
        self.context.products.clear()
        del self.context.give
        self.visible = None

    # -- dispatch ------------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in operations.READ:
            return func(*args, **kwargs)
        if kwargs:
            args, kwargs = operations.positional(args, kwargs)
        if self.widen:
            func, args, kwargs = _widened(func, args, kwargs)
        if self.visible is None or not carries(args, kwargs):
            return self._meet(func, args, kwargs)
        return coverage.record(self.visible, self._meet, func, args, kwargs)

    def _give_rule(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Give a function its rule."""
        context = self.context
        if self.mapping:
            raise RuntimeError(
                "the model runs in a mapped backward pass (a checkpoint, a hook), which torch cannot map"
            )
        kind = operations.KINDS.get(func)
        relevant = carriers(args, kwargs)
        if kind is None and func in operations.DERIVATIVES:
            raise context.unsupported(f"{operations.name(func)}, a derivative that is taken while the model runs,")
        transform = _active_transform()
        if transform is not None and (relevant or not torch_internals.is_vmap(transform)):
            # Constants that are mapped over (such as masks) pass, activations and derivatives do not.
            mapped = torch_internals.is_vmap(transform)
            raise context.unsupported(f"{operations.name(func)} under {'torch.vmap' if mapped else 'torch.func'}")
        for tensor in relevant:
            if tensor.is_leaf and tensor is not context.root:
                args, kwargs = replace(args, self._without_leaves), replace(kwargs, self._without_leaves)
                relevant = carriers(args, kwargs)
                break
        if kind == operations.LOOKUP:
            return lookup(context, func, args, kwargs)
        if not relevant:
            rows = by_index(context, func, args, kwargs)
            rows = one_hot.looked_up(context, func, args, kwargs) if rows is None else rows
            if rows is not None:
                return rows
        if context.reference is not None:
            detached, ids = reference.marks(args, kwargs)
            if ids and kwargs.get("out") is not None:
                raise context.unsupported(f"{operations.name(func)} of input ids with out=")
            if relevant or detached:
                if ids:
                    context.reference.note_ids(func, args, kwargs)
                return lockstep.in_lockstep(context, func, kind, args, kwargs, detached)
            if ids:
                out = self._on_constants(func, kind, args, kwargs)
                lockstep.of_ids(context, func, args, kwargs, out)
                return out
        if not relevant:
            # The logarithm of attention weights that are held constant is no constant.
            out = composites.ended(context, func, args, kwargs) if composites.is_step(func) else None
            return self._on_constants(func, kind, args, kwargs) if out is None else out
        out = self._on_relevance(func, kind, args, kwargs)
        norms.follow_reduced(func, args, kwargs, relevant, out)
        if self._plain_norms and isinstance(context.rules.norm, Plain):
            norms.follow(args, kwargs, out)
        if not torch.is_grad_enabled():
            token_tracking.mark_cut(out)
        return out

    def _without_leaves(self, tensor: Tensor) -> Tensor:
        """Return a tensor without grad if it is a parameter that the model has not registered, or a view without grad.

        Such parameters are made while the model runs (by BigBird) or reached past the modules of the copy. They require
        grad and carry no relevance, and so do views that were made where the model has turned gradients off.
        """
        parameter = tensor.requires_grad and tensor.is_leaf and tensor is not self.context.root
        return reference.like(tensor, Tensor.detach) if parameter else tensor

    def _on_relevance(self, func: Any, kind: Any, args: Any, kwargs: Any) -> Any:
        context = self.context
        in_place = operations.is_in_place(func) or kwargs.get("out") is not None
        if composites.is_step(func) and not in_place:
            out = composites.ended(context, func, args, kwargs)
            if out is not None:
                composites.follow(context, func, args, kwargs, out)
                return out
        if not chains.is_step(func) or in_place:
            return self._on_step(func, kind, args, kwargs)
        out = of_chain(context, func, args, kwargs)
        if out is None:
            out = self._on_step(func, kind, args, kwargs)
        else:
            composites.follow(context, func, args, kwargs, out)
        chains.follow(func, args, kwargs, out)
        return out

    def _on_step(self, func: Any, kind: Any, args: Any, kwargs: Any) -> Any:
        context = self.context
        if kind is operations.PLAIN or (kind is operations.DROPOUT and not draws(func, args, kwargs)):
            context.count(func, "plain gradient")
            out = func(*args, **kwargs)
            if func is Tensor.detach:
                token_tracking.mark_cut(out)
            else:
                composites.follow(context, func, args, kwargs, out)
            return out
        if kind is None:
            if func in operations.EXITS and args[0].is_floating_point():
                raise context.unsupported(operations.name(func))
            out = func(*args, **kwargs)
            if any(tensor.requires_grad for tensor in tensors(out)):
                raise context.unsupported(operations.name(func))
            token_tracking.mark_cut(out)
            return out
        if kwargs.get("out") is not None:
            raise context.unsupported(f"{operations.name(func)} with out=")
        if func in operations.OUT_OF_PLACE:
            return in_place(context, HANDLERS[kind], func, kind, args, kwargs)
        out = HANDLERS[kind](context, func, args, kwargs)
        composites.follow(context, func, args, kwargs, out)
        return out

    def _on_constants(self, func: Any, kind: Any, args: Any, kwargs: Any) -> Any:
        context = self.context
        if func is torch_internals.SET_GRAD_ENABLED and self.tracing:
            return None  # a custom function's forward turns grad off, but is traced all the same
        if func is Tensor.requires_grad_:
            if token_tracking.is_cut(args[0]):
                raise context.unsupported("a derivative by detached activations")
            return args[0]  # a constant that a model makes require grad carries no relevance of a token
        if func in operations.EXITS and token_tracking.is_cut(args[0]):
            raise context.unsupported(f"{operations.name(func)} of activations")
        target = None
        if operations.is_in_place(func):
            target = args[0] if args else kwargs.get("tensor")
        draw = context.draw if kind in _DRAWING and draws(func, args, kwargs) else None
        out = func(*args, **kwargs) if draw is None else draw(func, args, kwargs)
        written = out if target is None else target
        if isinstance(written, Tensor) and not token_tracking.follow(func, kind, args, kwargs, written):
            raise context.unsupported(f"{operations.name(func)} of a table by the input ids")
        one_hot.follow(func, args, kwargs, written)
        if chains.is_step(func):  # a condition on activations
            chains.follow(func, args, kwargs, out)
        return out


def _widened(func: Any, args: Any, kwargs: Any) -> tuple[Any, Any, Any]:
    """Use float64 where a model asks for float32.

    Many models compute norms, softmax or rotations in float32 whatever their dtype. That protects half precision, but
    costs a float64 model nine digits, and its ledger would balance no better than that of a float32 model.
    """
    if func is Tensor.float:
        return Tensor.double, args, kwargs
    if any(value is torch.float32 for value in args):
        args = tuple(torch.float64 if value is torch.float32 else value for value in args)
    if any(value is torch.float32 for value in kwargs.values()):
        kwargs = {key: torch.float64 if value is torch.float32 else value for key, value in kwargs.items()}
    return func, args, kwargs
