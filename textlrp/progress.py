"""A bar for work that takes longer than two seconds, in a terminal and nowhere else."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

#: Seconds of work before a bar appears.
PATIENCE = 2.0


class Bar:
    """Counts steps on standard error; silent where that is no terminal, where it is not wanted, or where it is quick.

    Args:
        what: what is being done.
        total: how many steps there are.
        wanted: whether a bar is shown at all.
    """

    def __init__(self, what: str, total: int, wanted: bool) -> None:
        self._what, self._total, self._done = what, total, 0
        self._wanted = wanted
        self._since = time.monotonic()
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def advance(self, steps: int = 1) -> None:
        """Note that steps are done."""
        self._done += steps
        if self._progress is not None:
            self._progress.update(self._task, completed=self._done)
        elif self._wanted and self._done < self._total and time.monotonic() - self._since > PATIENCE:
            self._start()

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._wanted = console.is_terminal
        if not self._wanted:
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task(self._what, total=self._total, completed=self._done)
        self._progress.start()
