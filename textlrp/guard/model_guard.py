"""Runs a function on a model and leaves the model, the thread and the process exactly as they were."""

from __future__ import annotations

import contextlib
import operator
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import nn

from textlrp.errors import ModelError
from textlrp.guard import process, torch_internals, working_copy
from textlrp.guard.randomness import Draws, DrawsApart
from textlrp.guard.working_copy import Parts

T = TypeVar("T")


@contextlib.contextmanager
def copied(model: nn.Module) -> Iterator[Parts]:
    """Take a working copy of a model, in evaluation mode and frozen.

    Yields:
        The copy's parts.

    Raises:
        ModelError: the weights were changed while the copy was used, so the result mixes old and new weights.
    """
    copy = working_copy.take(model)
    versions = copy.versions()
    failed: Exception | None = None
    try:
        yield copy.parts
    except Exception as error:
        failed = error
    if copy.versions() != versions:
        raise ModelError(
            f"the weights of {type(model).__name__} were changed while it ran, by another thread that trains it or by "
            f"the model itself, so nothing that was computed holds: wait for the other thread, or explain a copy"
        ) from failed
    if failed is not None:
        raise failed
    working_copy.give_back(model, copy)


class _Plain:
    """A session of a plain model, whose custom functions run as they are."""

    tracing: int | None = None

    def __init__(self, draws: Draws) -> None:
        self.draws = draws


@contextlib.contextmanager
def undisturbed(model: nn.Module, seed: int | None = None) -> Iterator[Parts]:
    """Take a working copy of a model for passes of the plain model, with random numbers of its own.

    Args:
        model: the model.
        seed: the seed of the random numbers; default: the states of the caller's generators.

    Yields:
        The copy's parts.
    """
    with drawing_apart(seed), copied(model) as parts:
        yield parts


@contextlib.contextmanager
def drawing_apart(seed: int | None) -> Iterator[None]:
    """Draw all random numbers of this thread from separate generators."""
    draws, depth = Draws(seed), process.depth()
    try:
        process.enter(_Plain(draws))
        with DrawsApart(draws):
            yield
    finally:
        process.leave(depth)


def contained(function: Callable[[], T]) -> T:
    """Call a function, and restore this thread's torch modes and the process, whatever happens in it.

    An interrupt may come at any line, also in the lines that restore: they then run again, which does no harm.
    """
    before = _ThreadState()
    try:
        try:
            before.leave_inference_mode()
            return function()
        finally:
            before.restore()
    except Exception:
        before.restore()
        raise
    except BaseException as interrupt:
        _clear_frames(interrupt)
        before.restore()
        before.restore_after_interrupt()
        raise


def _clear_frames(error: BaseException | None) -> None:
    """Clear the frames of an error, which ends generators that were cut off in a ``with``.

    At the end of such a ``with``, torch puts a mode back on its stack: this must come before the stack is restored.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


class _ThreadState:
    """The modes of torch and the sessions in this thread."""

    def __init__(self) -> None:
        self._sessions = process.depth()
        self._modes = torch_internals.function_modes()
        self._function_state = torch_internals.function_state()
        self._depth = torch_internals.transform_depth()
        self._gradients = torch.is_grad_enabled()
        self._inference: Any = None
        self._filters = warnings.filters
        self._autocast = _autocast()

    def leave_inference_mode(self) -> None:
        """Leave inference mode, in which autograd saves nothing."""
        if torch.is_inference_mode_enabled():
            self._inference = torch_internals.inference_mode(False)
            self._inference.__enter__()

    def restore(self) -> None:
        """Restore the modes that an interrupted ``with`` has not restored."""
        torch_internals.leave_transforms(self._depth)
        torch_internals.set_function_modes(self._modes)
        torch_internals.set_function_state(self._function_state)
        process.leave(self._sessions)
        if self._inference is not None:
            self._inference.__exit__(None, None, None)
        torch_internals.SET_GRAD_ENABLED(self._gradients)

    def restore_after_interrupt(self) -> None:
        """Restore settings that torch and the model restore by themselves unless they are interrupted."""
        if warnings.filters is not self._filters:
            warnings.filters = self._filters
            warnings._filters_mutated()  # type: ignore[attr-defined]
        _set_autocast(self._autocast)


_DEVICES = ("cpu", "cuda")


def _autocast() -> tuple[Any, ...]:
    # Both calls run in C, so no interrupt can come between them.
    _, nesting = map(operator.call, (torch.autocast_increment_nesting, torch.autocast_decrement_nesting))
    by_device = tuple((torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in _DEVICES)
    return nesting, torch.is_autocast_cache_enabled(), by_device


def _set_autocast(state: tuple[Any, ...]) -> None:
    nesting, cached, by_device = state
    torch.autocast_increment_nesting()
    while torch.autocast_decrement_nesting() > nesting:
        pass
    torch.set_autocast_cache_enabled(cached)
    for kind, (enabled, dtype) in zip(_DEVICES, by_device, strict=True):
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)
