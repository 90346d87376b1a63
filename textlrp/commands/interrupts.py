"""Ctrl-C: any command ends within a second or two, with one line and exit status 130, and nothing half-written."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

#: Seconds that a command has to clean up.
PATIENCE = 1.0

#: The exit status after an interrupt: 128 plus the number of the signal.
STATUS = 130

_LINE = b"Interrupted.\n"
_CLEARED = b"\r\x1b[K\x1b[?25h"  # clears the line of a bar, and shows the cursor that it hides


def run(command: Callable[[], Any]) -> None:
    """Run a command line as a process's only work, until it ends or Ctrl-C ends it.

    The first Ctrl-C raises a KeyboardInterrupt: unfinished files are removed, and logs are closed. Then the process
    ends, even if a computation still runs. The KeyboardInterrupt alone is not enough: Python raises it only between
    bytecodes, so not during a long operation of torch, and drops it in destructors; in an import it can cause a crash.
    So a thread that the system wakes ends the process.
    """
    pressed = threading.Event()
    first, second = socket.socketpair()
    second.setblocking(False)

    def press(number: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            return  # it is ending
        pressed.set()
        if _importing(frame):
            _leave()  # nothing needs to be cleaned up
        raise KeyboardInterrupt

    def watch() -> None:
        while (woken := first.recv(1)) and woken[0] != signal.SIGINT:
            pass
        if woken:
            pressed.set()
            time.sleep(PATIENCE)
            _leave()
        first.close()

    signal.set_wakeup_fd(second.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, press)
    sys.unraisablehook = _unraisable(sys.unraisablehook)
    watcher = threading.Thread(target=watch, name="textlrp-interrupts", daemon=True)
    watcher.start()
    try:
        command()
    except KeyboardInterrupt:
        pressed.set()
    finally:
        if pressed.is_set():
            _leave()
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


def _leave() -> None:
    """End the process at once: threads that still compute would delay a normal exit, or crash in it."""
    try:
        os.write(2, (_CLEARED if os.isatty(2) else b"") + _LINE)
    except OSError:
        pass
    finally:
        os._exit(STATUS)
