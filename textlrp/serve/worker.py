"""One thread that explains one text at a time, for pages that ask again with every word that is typed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from textlrp.errors import LRPError, error_summary
from textlrp.explain.progress import watched
from textlrp.serve.limits import Limits

#: A message of a job: progress as ``{"done": 1, "total": 4}``, or its last message.
Message = Mapping[str, Any]

#: The last message of a job that a newer job of the same page replaced.
SUPERSEDED: Message = {"superseded": True}


class Stopped(BaseException):
    """Ends the work on a job that no page waits for; not an ``Exception``, so that no code on the way catches it."""


class Job:
    """A text to explain.

    Args:
        page: the page that asks; a page has one job at a time.
        work: returns the last message; called in the thread of the jobs.
        tell: is called with each message, in any thread; the last message has no ``"done"``.
    """

    def __init__(self, page: str, work: Callable[[], Message], tell: Callable[[Message], None]) -> None:
        self.page, self._work, self._tell = page, work, tell
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the work at its next step."""
        self._stopped.set()

    def drop(self) -> None:
        """Say that a newer job took its place."""
        self._tell(SUPERSEDED)

    def run(self) -> None:
        """Do the work and tell its result, or an error as a sentence."""
        last = SUPERSEDED
        try:
            with watched(self._step):
                if not self._stopped.is_set():
                    last = self._work()
        except Stopped:
            pass
        except LRPError as error:
            last = {"error": str(error)}
        except Exception as error:  # the page shows any error of a model, and the server goes on
            last = {"error": f"the model fails on this text: {error_summary(error)}"}
        self._tell(last)

    def _step(self, done: int, total: int) -> None:
        if self._stopped.is_set():
            raise Stopped
        self._tell({"done": done, "total": total})


class JobQueue:
    """Does jobs in turn; a newer job of a page replaces its older one, whether that waits or runs.

    Args:
        places: the most jobs that wait.
    """

    def __init__(self, places: int = Limits.waiting) -> None:
        self._places = places
        self._changed = threading.Condition()
        self._waiting: dict[str, Job] = {}
        self._running: Job | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="textlrp-jobs", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> bool:
        """Queue a job behind those of other pages; return False if the queue is full."""
        with self._changed:
            if len(self._waiting) >= self._places and job.page not in self._waiting:
                return False
            older = self._waiting.pop(job.page, None)
            self._waiting[job.page] = job
            if self._running is not None and self._running.page == job.page:
                self._running.stop()
            self._changed.notify()
        if older is not None:
            older.drop()
        return True

    def close(self, patience: float = 5.0) -> None:
        """Stop the running job, drop the waiting ones, and wait up to ``patience`` seconds for the thread to end."""
        with self._changed:
            self._closed = True
            dropped = list(self._waiting.values())
            self._waiting.clear()
            if self._running is not None:
                self._running.stop()
            self._changed.notify()
        for job in dropped:
            job.drop()
        self._thread.join(patience)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._running = None
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                self._running = job = self._waiting.pop(next(iter(self._waiting)))
            job.run()
