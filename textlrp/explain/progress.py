"""The progress of long work on standard error: a bar in a terminal, elsewhere a line every 30 seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from textlrp.render.format import duration

#: Seconds of work before a bar appears.
PATIENCE = 2.0

#: Seconds between two lines where there is no terminal, and before the first.
EVERY = 30.0

#: A function of the number of steps done and of their total.
Watcher = Callable[[int, int], None]

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Call a function for every step that is counted inside this block, in this thread, with a bar or without.

    An error of the function ends the work.
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def say(line: str) -> None:
    """Write a line to standard error, where anybody reads it."""
    from rich.console import Console

    with suppress(OSError, ValueError):
        file = Console(stderr=True).file
        file.write(f"{line}\n")
        file.flush()


class ProgressBar:
    """Counts steps on standard error: by a bar in a terminal, else by lines such as
    ``evaluating: 240 of 1,200 (20 %), about 12 minutes left``. Quick work shows neither.

    Args:
        task: the name of the work.
        total: the number of steps, or None if it is unknown; a watcher then gets the steps done as their total.
        wanted: whether to show anything.
        before: how many of the steps were done before, by work that now goes on.
    """

    def __init__(self, task: str, total: int | None, wanted: bool, before: int = 0) -> None:
        self._task, self._total, self._done, self._before = task, total, before, before
        self._watcher = _watcher.get()
        self._lock = threading.Lock()
        self._progress: Any = None
        self._shower: threading.Thread | None = None
        self._over = threading.Event()
        if wanted:
            from rich.console import Console

            console = Console(stderr=True)
            show = self._show if console.is_terminal else self._say
            self._shower = threading.Thread(target=show, args=(console,), name="textlrp-progress", daemon=True)

    def __enter__(self) -> ProgressBar:
        if self._shower is not None:
            self._shower.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shower is None:
            return
        self._over.set()
        self._shower.join()
        if self._progress is not None:
            self._progress.stop()

    def advance(self, steps: int = 1) -> None:
        """Count steps that are done."""
        with self._lock:
            self._done += steps
            if self._progress is not None:
                self._progress.update(0, completed=self._done)
            done = self._done
        if self._watcher is not None:
            self._watcher(done, done if self._total is None else self._total)

    def _show(self, console: Any) -> None:
        """Show a bar once the work has taken a while."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if self._over.wait(PATIENCE):
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with self._lock:
            self._progress = Progress(*columns, console=console, transient=True)
            self._progress.add_task(self._task, total=self._total, completed=self._done)
            self._progress.start()

    def _say(self, console: Any) -> None:
        """Write a line now and then until the work is over."""
        start = time.monotonic()
        while not self._over.wait(EVERY):
            try:
                console.file.write(self._line(time.monotonic() - start) + "\n")
                console.file.flush()
            except (OSError, ValueError):  # nobody reads standard error any more: the work goes on
                return

    def _line(self, seconds: float) -> str:
        done, total = self._done, self._total
        if total is None:
            return f"{self._task}: {done:,} done"
        new = done - self._before
        left = f", about {duration(seconds / new * (total - done))} left" if new else ""
        return f"{self._task}: {done:,} of {total:,} ({100 * done / max(total, 1):.0f} %){left}"
