"""The private entry points of torch that textlrp calls, each with the releases that have it.

Attributes of tensors and nodes (``_version``, ``_base``, ``_is_view``, ``_sequence_nr``) and
``torch._C.DisableTorchFunction`` are used where they are needed. Checked with torch 2.6 and 2.13.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor

_functorch: Any = torch._C._functorch
_C: Any = torch._C

#: ``torch.autograd.Function`` classes leave nodes whose type has this attribute. Since torch 1.13; no public way.
FORWARD_CLASS = "_forward_cls"

#: The transform of ``torch.func`` that is active in this thread, or None. Since 2.0; no public way.
active_transform = _functorch.peek_interpreter_stack

#: The function that ``torch.set_grad_enabled`` and ``torch.no_grad`` call: a ``TorchFunctionMode`` sees it, but not
#: these classes. Since 1.9.
SET_GRAD_ENABLED = _C._set_grad_enabled

#: The function by which torch drops the hooks of a view whose base was written; a ``TorchFunctionMode`` sees it. In the
#: backward pass torch holds a lock meanwhile, for which ``tensor.is_leaf`` would wait forever. Since 2.0; no other way.
SET_BACKWARD_HOOKS: Any = vars(_C.TensorBase)["_backward_hooks"].__set__

#: The object that ``torch.inference_mode`` wraps. An interrupt can come before that class has stored it. Since 1.9.
inference_mode = _C._InferenceMode


#: The custom function by which a checkpoint without reentry keeps its inputs: it must stay in the graph. Older releases
#: only; later ones keep them without it.
CHECKPOINT_INPUTS: Any = getattr(torch.utils.checkpoint, "_NoopSaveInputs", None)


def is_vmap(transform: Any) -> bool:
    """Return whether an active transform is ``torch.vmap``. Since 2.0; no public way."""
    return bool(transform.key() == _functorch.TransformType.Vmap)


def run_backward(output: Tensor, multiplier: Tensor, leaf: Tensor, keep_graph: bool) -> None:
    """Run the backward pass from ``output`` to ``leaf``. The engine has had this signature since 1.12.

    The active ``TorchFunctionMode`` would intercept ``torch.autograd.backward`` and be off while it runs, but
    checkpoints that run parts of the forward pass again need the mode.
    """
    with _C._EnableTorchFunction():
        torch.autograd.Variable._execution_engine.run_backward(
            (output,), (multiplier,), keep_graph, False, (leaf,), allow_unreachable=True, accumulate_grad=False
        )


def without_generator() -> tuple[Any, ...]:
    """Return the functions such as ``torch.rand_like``, unless they take a generator. Newer releases take one."""
    try:
        torch.rand_like(torch.empty(0), generator=torch.Generator())
    except TypeError:
        return torch.rand_like, torch.randn_like, torch.randint_like
    return ()


def is_current_mode(mode: Any) -> bool:
    """Return whether a ``TorchFunctionMode`` is the innermost of this thread. Since 2.0; no public way."""
    return torch.overrides._get_current_function_mode() is mode


def function_modes() -> list[Any]:
    """Return the ``TorchFunctionMode`` objects that are active in this thread. Since 2.0; no public way."""
    modes: list[Any] = torch.overrides._get_current_function_mode_stack()
    return modes


def set_function_modes(modes: list[Any]) -> None:
    """Make these modes the active ones of this thread. Since 2.0; no public way."""
    if function_modes() != modes:
        while _C._len_torch_function_stack():
            _C._pop_torch_function_stack()
        for mode in modes:
            _C._push_on_torch_function_stack(mode)


def import_for_vmap() -> None:
    """Import what ``torch.vmap`` imports when it is first called: the compiler, in older releases such as 2.6.

    That import runs a ``TorchFunctionMode`` of its own. It fails where torch functions are not overridden, and an
    active mode would see its operations.
    """
    modes = function_modes()
    try:
        set_function_modes([])
        with _C._EnableTorchFunction():
            torch.vmap(torch.neg)
    finally:
        set_function_modes(modes)


def function_state() -> Any:
    """Return whether torch functions are overridden in this thread. Since 2.4; no public way."""
    return _C._get_torch_function_state()


def set_function_state(state: Any) -> None:
    """Set what :func:`function_state` returned. Since 2.4; no public way."""
    _C._set_torch_function_state(state)


def transform_depth() -> int:
    """Return how many transforms of ``torch.func`` are active in this thread. Since 2.1; no public way."""
    depth: int = _functorch.get_dynamic_layer_stack_depth()
    return depth


def leave_transforms(depth: int) -> None:
    """End the transforms beyond a depth, which an interrupt has left active. Since 2.1; no public way."""
    if transform_depth() > depth:
        _functorch.pop_dynamic_layer_stack_and_undo_to_depth(depth)


def warn_of_slow_vmap(enabled: bool) -> None:
    """Set whether torch warns where ``vmap`` maps an operation one by one. Since 1.10; no public way."""
    _functorch._set_vmap_fallback_warning_enabled(enabled)


def compiler_stance() -> Any:
    """Return the stance of ``torch.compile`` if that could still compile, or None. Since 2.6.

    ``torch.compiler.set_stance`` is public, but an interrupt in it can lose the old stance. If the compiler was never
    imported, return None: importing it takes seconds.
    """
    stance = getattr(sys.modules.get("torch._dynamo.eval_frame"), "_stance", None)
    return None if stance is None or stance.stance == "force_eager" else stance


def set_compiler_stance(stance: Any) -> None:
    """Set the stance of ``torch.compile``. Since 2.6."""
    sys.modules["torch._dynamo.eval_frame"]._stance = stance  # type: ignore[attr-defined]
