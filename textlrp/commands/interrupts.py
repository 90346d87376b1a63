"""Ctrl-C: any command ends within a second or two, with one line and exit status 130, and nothing half-written.

A command that has something to print first (:func:`patient`) takes a few seconds more; a second Ctrl-C ends it at once.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

#: Seconds that a command has to clean up.
PATIENCE = 1.0

#: Seconds that a patient command has.
LONGER = 30.0

#: The exit status after an interrupt: 128 plus the number of the signal.
STATUS = 130

_LINE = b"Interrupted.\n"
_AGAIN = b"Ending with what there is; Ctrl-C again ends at once.\n"
_CLEARED = b"\r\x1b[K\x1b[?25h"  # clears the line of a bar, and shows the cursor that it hides

#: Seconds that the running command has.
_patience = PATIENCE

#: Whether the running command is to end.
_pressed = threading.Event()


def check() -> None:
    """Raise the KeyboardInterrupt of an earlier Ctrl-C that a library dropped.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    if _pressed.is_set():
        raise KeyboardInterrupt


@contextmanager
def patient() -> Iterator[None]:
    """Give a command time to print what it has after Ctrl-C, and let SIGTERM do the same as Ctrl-C.

    The command calls :func:`check` now and then.
    """
    global _patience
    before, _patience = _patience, LONGER
    # Only the main thread may set handlers; a handler of somebody else's stays.
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    try:
        yield
    finally:
        _patience = before
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def run(command: Callable[[], Any]) -> None:
    """Run a command line as a process's only work, until it ends or Ctrl-C ends it.

    The first Ctrl-C raises a KeyboardInterrupt: unfinished files are removed, and logs are closed. Then the process
    ends, even if a computation still runs. The KeyboardInterrupt alone is not enough: Python raises it only between
    bytecodes, so not during a long operation of torch, and drops it in destructors; in an import it can cause a crash.
    So a thread that the system wakes ends the process.
    """
    status = STATUS
    first, second = socket.socketpair()
    second.setblocking(False)

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal status
        if _pressed.is_set():
            return  # it is ending
        status = 128 + number
        _pressed.set()
        if _importing(frame):
            _leave(status)  # nothing needs to be cleaned up
        raise KeyboardInterrupt

    def watch() -> None:
        nonlocal status
        while (woken := first.recv(1)) and not _ends(woken[0]):
            pass
        if woken:
            patience, status = _patience, 128 + woken[0]
            _pressed.set()
            time.sleep(PATIENCE)
            if patience > PATIENCE:
                _wait(first, patience - PATIENCE)
            _leave(status)
        first.close()

    signal.set_wakeup_fd(second.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, press)
    sys.unraisablehook = _unraisable(sys.unraisablehook)
    watcher = threading.Thread(target=watch, name="textlrp-interrupts", daemon=True)
    watcher.start()
    try:
        command()
    except KeyboardInterrupt:
        _pressed.set()
    finally:
        if _pressed.is_set():
            _leave(status)
        signal.set_wakeup_fd(-1)
        second.close()
        watcher.join()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done


def _importing(frame: FrameType | None) -> bool:
    """Return whether a module is being imported."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _unraisable(other: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Print nothing for a KeyboardInterrupt that Python drops, since the process ends anyway."""

    def hook(unraisable: Any) -> None:
        if unraisable.exc_type is not KeyboardInterrupt:
            other(unraisable)

    return hook


def _ends(number: int) -> bool:
    """Return whether a signal ends the command."""
    return number == signal.SIGINT or (number == signal.SIGTERM and _patience > PATIENCE)


def _wait(woken: socket.socket, seconds: float) -> None:
    """Wait for another Ctrl-C; those of the first second were the same press, or one that a parent passed on."""
    woken.setblocking(False)
    with suppress(BlockingIOError):
        woken.recv(4096)
    _write(_AGAIN)
    woken.settimeout(seconds)
    with suppress(TimeoutError):
        woken.recv(1)


def _write(line: bytes) -> None:
    with suppress(OSError):
        os.write(2, (_CLEARED if os.isatty(2) else b"") + line)


def _leave(status: int) -> None:
    """End the process at once: threads that still compute would delay a normal exit, or crash in it."""
    try:
        _write(_LINE)
    finally:
        os._exit(status)
