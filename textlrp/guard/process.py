"""Changes in the whole process while an explanation runs: functions that act differently in its own thread.

A ``TorchFunctionMode`` cannot see custom ``autograd.Function`` classes and functions that seed or draw random numbers.
While any explanation runs they are replaced by functions that check for one in the calling thread, and otherwise call
the original. The last explanation restores them. torch.compile is off meanwhile, because operations inside a compiled
graph cannot be seen.

Entering and leaving can be interrupted at any line: each change is noted before it is made, and :func:`leave` may be
called repeatedly. A ``with`` that holds the lock stands on one line, because an interrupt between its body and its end
would leave the lock held.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from functools import cache, partial, wraps
from typing import Any, Protocol

import torch

from textlrp.guard import custom_functions, torch_internals
from textlrp.guard.randomness import Draws, redirections


class Session(Protocol):
    """An explanation, or a pass of a plain model.

    Attributes:
        draws: the source of its random numbers.
        tracing: how many custom functions are being traced, or None where they run as they are.
    """

    draws: Draws
    tracing: int | None


_lock = threading.Lock()
_running: dict[int, list[Session]] = {}
#: Calls that undo the changes.
_undo: list[Callable[[], Any]] = []


def current() -> Session | None:
    """Return the innermost session of this thread, or None."""
    running = _running.get(threading.get_ident())
    return running[-1] if running else None


def depth() -> int:
    """Return how many sessions run in this thread, one within the other."""
    return len(_running.get(threading.get_ident(), ()))


def enter(session: Session) -> None:
    """Begin a session in this thread."""
    with _lock: _enter(session)  # fmt: skip  # noqa: E701


def leave(down_to: int) -> None:
    """End sessions of this thread until ``down_to`` are left; the last one of the process restores the process."""
    with _lock: _leave(down_to)  # fmt: skip  # noqa: E701


def _enter(session: Session) -> None:
    if not _running:
        _restore()  # an interrupt may have left changes
        _replace()
    _switch_off_compiler()
    _running.setdefault(threading.get_ident(), []).append(session)


def _leave(down_to: int) -> None:
    thread = threading.get_ident()
    running = _running.get(thread, [])
    while len(running) > down_to:
        running[-1].draws.close()
        running.pop()
    if not running:
        _running.pop(thread, None)
    if not _running:
        _restore()


def _replace() -> None:
    for replacement in _replacements():
        _undo.append(replacement.restore)
        replacement.put()
    # torch.vmap runs an operation that it cannot map (the backward of fused attention) one by one, and warns of it.
    _undo.append(partial(torch_internals.warn_of_slow_vmap, True))
    torch_internals.warn_of_slow_vmap(False)


def _switch_off_compiler() -> None:
    """Do what ``torch.compiler.set_stance("force_eager")`` does, but note the old stance before setting the new one."""
    stance = torch_internals.compiler_stance()
    if stance is not None:
        _undo.append(partial(torch_internals.set_compiler_stance, stance))
        torch_internals.set_compiler_stance(type(stance)("force_eager"))


def _restore() -> None:
    while _undo:
        _undo[-1]()
        _undo.pop()


class _Replacement:
    """Functions of a module and their replacements, which are made only once because making them takes a while."""

    def __init__(self, owner: Any, instead: Mapping[str, Callable[..., Any]]) -> None:
        self._owner, self._instead = owner, instead
        self._names = tuple(instead)
        self._originals: list[Any] = []

    def put(self) -> None:
        """Replace the functions."""
        here = vars(self._owner)
        if list(map(here.__getitem__, self._names)) != self._originals:
            originals = [here[name] for name in self._names]
            self._wrappers = {
                name: _redirected(original, self._instead[name])
                for name, original in zip(self._names, originals, strict=True)
            }
            self._originals = originals
        here.update(self._wrappers)

    def restore(self) -> None:
        """Restore the originals."""
        vars(self._owner).update(zip(self._names, self._originals, strict=False))


class _Apply:
    """Replaces ``autograd.Function.apply`` by one that checks for a session in the calling thread."""

    _original: Any = None

    def put(self) -> None:
        """Replace it."""
        original = torch.autograd.Function.__dict__["apply"]
        if original is not self._original:

            def call(cls: Any, *args: Any, **kwargs: Any) -> Any:  # torch 2.14 has a method of C there
                return original.__get__(None, cls)(*args, **kwargs)

            function = getattr(original, "__func__", call)
            self._wrapper, self._original = classmethod(_traced(function)), original
        torch.autograd.Function.apply = self._wrapper  # type: ignore[assignment]

    def restore(self) -> None:
        """Restore the original."""
        if self._original is not None:
            torch.autograd.Function.apply = self._original  # type: ignore[method-assign]


@cache
def _replacements() -> list[_Replacement | _Apply]:
    return [_Apply(), *(_Replacement(owner, instead) for owner, instead in redirections())]


def _redirected(original: Callable[..., Any], instead: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def redirected(*args: Any, **kwargs: Any) -> Any:
        session = current()
        return original(*args, **kwargs) if session is None else instead(session.draws, *args, **kwargs)

    return redirected


def _traced(original: Callable[..., Any]) -> Callable[..., Any]:
    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        session = current()
        if session is None or session.tracing is None or not custom_functions.trusted(cls):
            return original(cls, *args, **kwargs)
        return custom_functions.trace(session, cls, args, kwargs)

    return apply


def _in_child() -> None:
    """Reset the state after a fork: only this thread is left, and another one may have held the lock."""
    global _lock
    _lock = threading.Lock()
    thread = threading.get_ident()
    for other in [other for other in _running if other != thread]:
        del _running[other]
    if not _running:
        _restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
