"""The lockstep run: each torch function is called on the text and on the reference, and given its difference rule."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from textlrp.guard import trees
from textlrp.guard.randomness import draws
from textlrp.guard.trees import carries
from textlrp.lrp import chains, composites, operations, products, reference, token_tracking
from textlrp.lrp.context import Context
from textlrp.lrp.decompositions import decomposed
from textlrp.lrp.difference import choices
from textlrp.lrp.difference import products as difference_products
from textlrp.lrp.difference.attention import scaled_dot_product_attention
from textlrp.lrp.difference.elementwise import along_chain, elementwise
from textlrp.lrp.difference.norms import layer_norm, normalize, rms_norm, statistic
from textlrp.lrp.difference.plain import plain
from textlrp.lrp.difference.softmax import logsumexp, softmax
from textlrp.lrp.multi_head_attention import multi_head_attention
from textlrp.lrp.surrogate import Saved, Surrogate, rule_backward
from textlrp.lrp.writes import Handler
from textlrp.results import ledger

#: The functions that give operations their difference rules, by kind; the plain gradient of all others is exact.
HANDLERS: dict[str, Handler] = {
    "linear": difference_products.linear,
    "product": difference_products.product,
    "sum_of_product": products.sum_of_product,
    "glu": products.glu,
    "division": difference_products.division,
    "solve": difference_products.solve,
    "inverse": difference_products.solve,
    "factors": difference_products.factors_of_one,
    "statistic": statistic,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "normalize": normalize,
    "nonlinearity": elementwise,
    "softmax": softmax,
    "logsumexp": logsumexp,
    "attention": scaled_dot_product_attention,
    "multi_head": multi_head_attention,
    "decomposed": decomposed,
    "winner": choices.choice,
    "choice": choices.choice,
}

_DATA = Tensor.data.__get__  # type: ignore[attr-defined]
#: Functions whose results do not depend on the values of their arguments.
_FRESH = frozenset("empty_like zeros_like ones_like full_like new_empty new_zeros new_ones new_full".split())
#: The kinds of functions that may draw random numbers.
_DRAWING = frozenset({operations.SAMPLE, operations.DROPOUT, "attention"})
#: Functions of a tensor that are for one run alone.
_OF_ONE_RUN = frozenset("requires_grad_ retain_grad data_ptr register_hook".split())


class Detached(Surrogate):
    """A value that the model has detached: what it adds to the difference goes to the ledger's row ``detached``."""

    @staticmethod
    def forward(ctx: Any, root: Tensor, x: Tensor, arrive: Callable[[Tensor, Tensor], None]) -> Any:
        ctx.save_for_backward(reference.difference(x))
        ctx.arrive = arrive
        return x.clone()

    @staticmethod
    @rule_backward
    def backward(ctx: Any, saved: Saved, c: Tensor) -> Any:
        (d,) = saved
        ctx.arrive(c, d)
        return None, None, None


def in_lockstep(context: Context, func: Any, kind: str | None, args: Any, kwargs: Any, detached: bool) -> Any:
    """Give a function of activations its rule in both runs.

    Args:
        context: the context.
        func, kind, args, kwargs: the function, its kind, and its arguments.
        detached: whether activations that carry no relevance are among the arguments.
    """
    if kwargs.get("out") is not None:
        raise context.unsupported(f"{operations.name(func)} with out=")
    if not torch.is_grad_enabled():
        return _without_grad(context, func, kind, args, kwargs)
    kind, handler, writes, marks, branches = _how(func, kind)
    target = args[0] if writes and args else None
    if detached:
        if not carries(args, kwargs):
            # Detached values alone. They become a node where they meet the graph, so that views of them are views.
            if func is Tensor.requires_grad_:
                raise context.unsupported("a derivative by detached activations")
            return _without_grad(context, func, kind, args, kwargs)
        args, kwargs = _with_detached(context, args, kwargs, target)
    if kind is None:
        out = _unknown(context, func, args, kwargs)
        if marks:
            chains.follow(func, args, kwargs, out)
        return out
    if kind == "refused":
        raise context.unsupported(operations.name(func))
    if handler is None:
        return func(*args, **kwargs)
    if kind in _DRAWING and (kind == operations.SAMPLE or draws(func, args, kwargs)):
        return _drawn(context, func, kind, args, kwargs)
    if target is not None:
        return _write(context, handler, func, args, kwargs)
    out = composites.ended(context, func, args, kwargs) if marks else None
    whole = chains.branch(func, args, kwargs) if branches and out is None else None
    if whole is not None:
        out = along_chain(context, func, *whole)
    if out is None:
        out = handler(context, func, args, kwargs)
    if marks:
        composites.follow(context, func, args, kwargs, out)
        chains.follow(func, args, kwargs, out)
    if func is Tensor.detach:
        _mark_cut(context, out)
    return out


def _mark_cut(context: Context, out: Any) -> None:
    """Mark activations that the model has detached."""
    token_tracking.mark_cut(out)
    if any(x.is_floating_point() for x in trees.tensors(out)):
        context.beside.cut = True


@cache
def _how(func: Any, kind: str | None) -> tuple[str | None, Handler | None, bool, bool, bool]:
    """Return what to do with a function.

    Returns:
        Its kind, its handler (none for functions of a tensor in one run alone), whether it writes in place, whether it
        may be a step of a composite or of a chain, and whether it may choose between results of a chain.
    """
    kind = operations.DIFFERENCE_KINDS.get(func, kind)
    stem = operations.stem(func)
    handler = None if stem in _OF_ONE_RUN else HANDLERS.get(kind or "", plain)
    marks = composites.is_step(func) or chains.is_step(func)
    return kind, handler, operations.is_in_place(func), marks, stem in chains.BRANCHES


def _write(context: Context, handler: Handler, func: Any, args: Any, kwargs: Any) -> Any:
    """Write in place in both runs."""
    target = args[0]
    if any(target is buffer or target._base is buffer for buffer in context.parts.buffers):
        raise context.unsupported("a model's buffer that is written with activations")
    known = reference.writable(target)
    if not target.requires_grad and target.is_floating_point() and not torch.equal(target, known):
        base = target._base if target._is_view() else target
        base.copy_(_detached(context, base.clone(), base))
        _ = target.grad_fn  # reading it makes autograd renew a view's node
    filled = _filled(context, func, args, kwargs)
    if filled is not None:
        return filled
    out_of_place = operations.OUT_OF_PLACE.get(func)
    if handler is plain or out_of_place is None:
        context.count(func, "plain gradient")
        out = func(*args, **kwargs)
        with torch.no_grad():
            func(*reference.of_floats(args), **reference.of_floats(kwargs))
        return out
    before = reference.like(target, Tensor.clone)
    composites.carry(target, before)
    result = composites.ended(context, out_of_place, (before, *args[1:]), kwargs)
    if result is None:
        result = handler(context, out_of_place, (before, *args[1:]), kwargs)
    composites.follow(context, out_of_place, (before, *args[1:]), kwargs, result)
    out = reference.overwrite(target, result)
    composites.carry(result, target)
    return out


def _filled(context: Context, func: Any, args: Any, kwargs: Any) -> Tensor | None:
    """Write numbers where a condition on the target holds, as activations do in place, by the secant of the whole.

    Returns:
        The target, or None if the function does something else, or jumps between text and reference.
    """
    target, out_of_place = args[0], operations.OUT_OF_PLACE.get(func)
    if func is Tensor.__setitem__ and isinstance(args[1], Tensor) and args[1].shape == target.shape:
        if args[1].dtype is not torch.bool or (isinstance(args[2], Tensor) and args[2].numel() != 1):
            return None
        out_of_place = torch.masked_fill
    if out_of_place is None or operations.stem(out_of_place) not in chains.BRANCHES:
        return None
    known = chains.branch(out_of_place, args, kwargs)
    if known is None or known[0].shape != target.shape:
        return None
    source, function = known
    result = along_chain(context, func, reference.like(source, Tensor.clone) if source is target else source, function)
    if result is None:
        return None
    out = reference.overwrite(target, result)
    if source is not target:
        chains.mark(target, known, linear=False)
    return out


def _detached(context: Context, x: Tensor, like: Tensor) -> Tensor:
    """Return a detached value as a node of the graph, with its partner."""
    known = reference.value(like)
    reference.attach(x, known)

    def arrive(c: Tensor, d: Tensor) -> None:
        context.postings.post_product(ledger.DETACHED, c, d)

    out: Tensor = Detached.apply(context.root, x, arrive)
    reference.attach(out, known)
    return out


def _with_detached(context: Context, args: Any, kwargs: Any, target: Any) -> tuple[Any, Any]:
    """Replace activations that carry no relevance, because the model has detached them."""

    def change(x: Tensor) -> Tensor:
        if x.requires_grad or x is target or not x.is_floating_point():
            return x
        known = reference.partner(x)
        return x if known is None or torch.equal(x, known) else _detached(context, x, x)

    return trees.replace(args, change), trees.replace(kwargs, change)


def _without_grad(context: Context, func: Any, kind: str | None, args: Any, kwargs: Any) -> Any:
    """Call a function on both runs where the model has turned gradients off."""
    kind = operations.DIFFERENCE_KINDS.get(func, kind)
    if kind is None:
        return _unknown(context, func, args, kwargs)
    if kind == operations.SAMPLE or draws(func, args, kwargs):
        return _drawn(context, func, kind, args, kwargs)
    if operations.is_in_place(func):
        reference.writable(args[0])
    if kind in ("choice", "winner"):
        partners: Any = choices.selected(func, args, kwargs)
        context.beside.compare_values(func, args, kwargs, partners)
        out = func(*args, **kwargs)
        reference.attach_all([y for y in trees.tensors(out) if y.is_floating_point()], partners)
    else:
        out = func(*args, **kwargs)
        partners = func(*reference.of_floats(args), **reference.of_floats(kwargs))
        if not operations.is_in_place(func):
            reference.attach_all(out, partners)
    _mark_cut(context, out)
    return out


def _drawn(context: Context, func: Any, kind: str, args: Any, kwargs: Any) -> Any:
    """Random numbers: the same in both runs. Those of dropout are the factors that it draws for ones."""
    if kind == operations.DROPOUT and not operations.is_in_place(func):
        factors = context.draw(func, (torch.ones_like(args[0]), *args[1:]), kwargs)
        return context.give(torch.mul, (args[0], factors), {})
    context.count(func, "constant")
    if operations.is_in_place(func):
        return reference.overwrite(args[0], context.draw(func, (torch.empty_like(args[0]), *args[1:]), kwargs))
    return context.draw(func, trees.detached(args), trees.detached(kwargs))


def _unknown(context: Context, func: Any, args: Any, kwargs: Any) -> Any:
    """A function of no kind: it reads a tensor, or chooses by activations, or it has no rule."""
    if func in operations.EXITS and args[0].is_floating_point():
        raise context.unsupported(operations.name(func))
    out = func(*args, **kwargs)
    if any(tensor.requires_grad for tensor in trees.tensors(out)):
        raise context.unsupported(operations.name(func))
    if func == _DATA:
        reference.attach(out, reference.value(args[0]).detach())
    elif operations.stem(func) not in _FRESH:
        context.beside.compare(func, args, kwargs, out)
    _mark_cut(context, out)
    return out


def of_ids(context: Context, func: Any, args: Any, kwargs: Any, out: Any) -> None:
    """Keep track of ids, and of what the model computes from them, in the reference run.

    Ids that are moved (padded, shifted, hashed) have a partner. What is computed from all of them (counts, positions,
    masks) is that of the text.
    """
    written = args[0] if args and operations.is_in_place(func) else out
    if token_tracking.origin(written) is None:
        context.beside.compare(func, args, kwargs, out)
        return
    if operations.is_in_place(func):
        reference.writable(written)
        func(*trees.replace(args, reference.value), **trees.replace(kwargs, reference.value))
    else:
        reference.attach(written, func(*trees.replace(args, reference.value), **trees.replace(kwargs, reference.value)))
