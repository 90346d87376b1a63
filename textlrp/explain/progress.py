"""A progress bar for work that takes longer than two seconds, in a terminal only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any

#: Seconds of work before a bar appears.
PATIENCE = 2.0

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


class ProgressBar:
    """Counts steps on standard error, unless it is not a terminal, the bar is not wanted, or the work is quick.

    Args:
        task: the name of the work.
        total: the number of steps, or None if it is unknown; a watcher then gets the steps done as their total.
        wanted: whether to show a bar at all.
    """

    def __init__(self, task: str, total: int | None, wanted: bool) -> None:
        self._task, self._total, self._done = task, total, 0
        self._watcher = _watcher.get()
        self._lock = threading.Lock()
        self._progress: Any = None
        self._timer: threading.Timer | None = None
        if wanted:
            from rich.console import Console

            console = Console(stderr=True)
            if console.is_terminal:
                self._timer = threading.Timer(PATIENCE, self._show, (console,))
                self._timer.daemon = True

    def __enter__(self) -> ProgressBar:
        if self._timer is not None:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer.join()
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
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with self._lock:
            self._progress = Progress(*columns, console=console, transient=True)
            self._progress.add_task(self._task, total=self._total, completed=self._done)
            self._progress.start()
