"""Fail closed: after the forward pass, every node of the autograd graph must have a rule.

``torch.jit.script`` functions and custom ``autograd.Function`` classes are invisible to a ``TorchFunctionMode``, but
they leave nodes in the graph that carries the logit. A node passes if it is a surrogate, if it is linear in the one
input that carries relevance, or if it belongs to a product that was given its rule.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from textlrp.guard import torch_internals
from textlrp.guard.custom_functions import trusted
from textlrp.guard.trees import tensors
from textlrp.lrp.surrogate import Surrogate

# Nodes of linear maps, choices and moves of values, whose own gradient is LRP-0.
_LINEAR = frozenset(
    """
    AccumulateGrad Add Sub Rsub Neg Sum Mean Nansum Cumsum Trace Clone Alias View UnsafeView ReshapeAlias
    AsStrided CopySlices CopyBackwards ToCopy Transpose T Permute Expand Repeat Unsqueeze Squeeze Slice Select
    Split SplitWithSizes UnsafeSplit Unbind Stack Cat Index IndexPut IndexPutImpl IndexSelect IndexAdd IndexCopy
    IndexFill Gather Scatter ScatterAdd Take Fill MaskedFill MaskedSelect MaskedScatter Where Roll Flip Tril
    Triu Diagonal DiagonalScatter DiagEmbed Unfold UnfoldBackward Im2Col Col2Im ConstantPadNd ReflectionPad1D
    ReplicationPad1D Embedding AvgPool2D AdaptiveAvgPool2D UpsampleNearest1D UpsampleLinear1D UpsampleNearest2D
    UpsampleBilinear2D Max Min Amax Amin Topk Sort Kthvalue Median Nanmedian Cummax Cummin MaxPool2DWithIndices
    MaxPool3DWithIndices AdaptiveMaxPool2D Relu LeakyRelu Abs ViewAsReal ViewAsComplex Conj ConjPhysical FftC2C
    FftR2C FftC2R NanToNum PixelShuffle SelectScatter SliceScatter NativeBatchNorm CudnnBatchNorm Lift
    NativeDropout Chunk Error Maximum Minimum ScatterReduce PackPaddedSequence
    """.split()
)
# Nodes that multiply: linear if one factor carries relevance. The positions are those of the factors.
_BILINEAR = {
    "Mul": (0, 1),
    "Mm": (0, 1),
    "Bmm": (0, 1),
    "Mv": (0, 1),
    "Dot": (0, 1),
    "Vdot": (0, 1),
    "Addmm": (1, 2),
    "Addbmm": (1, 2),
    "Baddbmm": (1, 2),
    "Addmv": (1, 2),
    "Addcmul": (1, 2),
    "Linear": (0, 1),
    "MkldnnLinear": (0, 1),
    "Convolution": (0, 1),
    "MkldnnConvolution": (0, 1),
    "ConvolutionOverrideable": (0, 1),
    "ConvTbc": (0, 1),
    "GroupedMm": (0, 1),
    "Div": (1,),
    "LinalgSolveTriangular": (0,),
    "LinalgSolveEx": (0,),
}
# For these, the position is that of the denominator, which must be a constant.
_DIVISIONS = ("Div", "LinalgSolveTriangular", "LinalgSolveEx")
# The fused attention kernels: the attention rule covers all of a kernel or nothing.
_ATTENTION = "ScaledDotProduct"


def kind(node: Any) -> str:
    """Return a node's operation, without the suffixes of autograd: ``MulBackward0`` is ``Mul``."""
    return _operation(node.name())


@lru_cache(maxsize=1000)
def _operation(name: str) -> str:
    return name.rsplit("::", 1)[-1].rstrip("0123456789").removesuffix("Backward")


def ruleless(root: Any, products: set[Any]) -> list[Any]:
    """Return the nodes under ``root`` that no rule accounts for.

    Args:
        root: the ``grad_fn`` of the logits.
        products: the nodes of products that were given their rule.
    """
    without_rule = []
    seen, nodes = {root}, [root]
    for node in nodes:  # the loop extends the list
        following = node.next_functions
        if not (
            type(node) in _linear
            or _is_linear(node)
            or node in products
            or _accounted(node, [child for child, _ in following])
        ):
            without_rule.append(node)
        for child, _ in following:
            if child is not None and child not in seen:
                seen.add(child)
                nodes.append(child)
    return without_rule


#: The types of nodes that always pass.
_linear: set[type] = set()


def custom_function(node: Any) -> Any:
    """Return the ``torch.autograd.Function`` class that made a node, or None for torch's own nodes."""
    return getattr(type(node), torch_internals.FORWARD_CLASS, None)


def _is_linear(node: Any) -> bool:
    """Return whether a node always passes; its type is recorded if that alone decides."""
    forward = custom_function(node)
    passes = issubclass(forward, Surrogate) if forward is not None else _operation(node.name()) in _LINEAR
    if passes and (forward is not None or type(node).__name__ == node.name()):
        _linear.add(type(node))
    return passes


def unseen(root: Any, visible: set[Any]) -> list[Any]:
    """Return the nodes under ``root`` that were made neither by textlrp nor by a torch function that it saw."""
    return [
        node
        for node in between(root, set())
        if node not in visible and not _is_known(custom_function(node)) and kind(node) != "AccumulateGrad"
    ]


def _is_known(function: Any) -> bool:
    """Return whether a custom function is textlrp's own, or one that was run operation by operation."""
    return function is not None and (issubclass(function, Surrogate) or trusted(function))


def between(top: Any, bottom: set[Any]) -> set[Any]:
    """Return the nodes from ``top`` down to, and without, those at the bottom."""
    inside, stack = {top}, [top]
    while stack:
        for child, _ in stack.pop().next_functions:
            if child is not None and child not in bottom and child not in inside:
                inside.add(child)
                stack.append(child)
    return inside


def _accounted(node: Any, children: list[Any]) -> bool:
    if custom_function(node) is not None:
        return False  # a custom function of the model
    operation = kind(node)
    if operation in _BILINEAR:
        carriers = [i for i in _BILINEAR[operation] if i < len(children) and children[i] is not None]
        return not carriers if operation in _DIVISIONS else len(carriers) <= 1
    if operation == "Lerp":  # x + w (y - x): linear in x and y together, or in w alone
        return children[2:] in ([], [None]) or children[:2] == [None, None]
    if operation.startswith(_ATTENTION):
        return [child is not None for child in children[:3]] == [False, False, True]
    return False


def record(visible: set[Any], meet: Callable[..., Any], func: Any, args: Any, kwargs: Any) -> Any:
    """Call a function, and record the nodes that it adds to the graph."""
    before = {tensor.grad_fn for tensor in tensors((args, kwargs)) if tensor.requires_grad}
    out = meet(func, args, kwargs)
    for tensor in tensors((out, args[:1])):
        if tensor.grad_fn is not None and tensor.grad_fn not in before:
            visible |= between(tensor.grad_fn, before)
    return out


class Recorder(TorchFunctionMode):
    """Records every torch function that is called, and its nodes, and changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.visible: set[Any] = set()
        self.calls: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append(func)
        return record(self.visible, lambda f, xs, options: f(*xs, **options), func, args, kwargs or {})


class NodeOwners:
    """Records, while the model runs once more, the innermost module that each node belongs to."""

    def __init__(self, model: nn.Module) -> None:
        self._hooks: list[Any] = []
        self._seen: set[Any] = set()
        self.owner: dict[Any, str] = {}
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # it takes no hooks; the module that holds it owns its nodes
            self._hooks.append(module.register_forward_hook(self._note(name or "the model", type(module).__name__)))

    def _note(self, name: str, label: str) -> Any:
        def note(module: nn.Module, args: Any, output: Any) -> None:
            stack: list[Any] = [tensor.grad_fn for tensor in tensors(output) if tensor.grad_fn is not None]
            while stack:
                node = stack.pop()
                if node is None or node in self._seen:
                    continue
                self._seen.add(node)
                self.owner[node] = f"{name} ({label})"
                stack.extend(child for child, _ in node.next_functions)

        return note

    def close(self) -> None:
        """Remove every hook."""
        for hook in self._hooks:
            hook.remove()
