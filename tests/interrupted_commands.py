"""Commands that are interrupted: what they are, how they end, and what they leave behind.

Each is a process of its own that gets SIGINT, as Ctrl-C sends it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROGRAM = [sys.executable, "-W", "error", "-m", "textlrp.cli"]

#: Seconds until a command has to be gone; a busy machine adds to the second or two.
LIMIT = 4.0

#: What commands say at work, and a stopped evaluation of what it has.
_SAID = re.compile(
    r"^(Ctrl-C ends it\.|Ending with what there is; .*|reviews: .*|evaluating .*|[\d,]+ of [\d,]+ documents are .*)\n",
    re.MULTILINE,
)

TEXT = "A wonderful, moving film that never loses its way. The plot is dull at times, the jokes are worse than bad. "


def _explain(folder: Path) -> list[str]:
    (folder / "text.txt").write_text(TEXT * 3000)
    return ["explain", "--file", "text.txt", "--long", "windows", "-o", "out.html", "--format", "html"]


def _report(folder: Path) -> list[str]:
    rows = [{"id": str(i), "text": f"{i} {TEXT * (1 + i % 7)}"} for i in range(400)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return ["report", "rows.jsonl", "-o", "out.html", "--target", "all"]


def _evaluate(folder: Path) -> list[str]:
    methods = [part for name in ("attnlrp", "shapley", "occlusion") for part in ("--method", name)]
    return ["evaluate", "--corpus", "reviews", *methods, "--output", "run", "-o", "out.html", "--format", "html"]


#: By name, what makes the arguments of a command in a folder; each has work for more than a minute, or without end.
COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "explain": _explain,
    "check": lambda _: ["check", *(part for i in range(60) for part in ("--text", f"{i} {TEXT}")), "-o", "out.txt"],
    "report": _report,
    "evaluate": _evaluate,
    "serve": lambda _: ["serve", "--no-open"],
}


@dataclass(frozen=True)
class End:
    """How a command ended.

    Attributes:
        status: its exit status.
        seconds: how long it took from the signal.
        error: what it wrote to standard error.
        wrong: what it should not have left behind.
    """

    status: int
    seconds: float
    error: str
    wrong: list[str]

    @property
    def clean(self) -> bool:
        return (self.status, self.error, self.wrong) == (130, "Interrupted.\n", []) and self.seconds < LIMIT


def interrupt(name: str, folder: Path, moment: float, presses: int = 1) -> End | None:
    """Start a command in an empty folder and interrupt it.

    Args:
        name: the command.
        folder: where it runs.
        moment: seconds from when textlrp itself is at work, after Python's own start.
        presses: how often Ctrl-C is pressed.

    Returns:
        How it ended, or None where it had ended before.
    """
    command = [*PROGRAM, *COMMANDS[name](folder)]
    before = set(os.listdir(folder))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)  # type: ignore[call-overload]
    try:
        while process.poll() is None and not _started(process.pid):
            time.sleep(0.02)
        time.sleep(moment)
        if process.poll() is not None:
            return None
        began = time.monotonic()
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        error = _SAID.sub("", process.communicate(timeout=60)[1])
        return End(process.returncode, time.monotonic() - began, error, _wrong(folder, before))
    finally:
        process.kill()
        process.communicate()


def _started(pid: int) -> bool:
    """Whether the command line is at work: it has a thread for Ctrl-C then."""
    return len(os.listdir(f"/proc/{pid}/task")) > 1


def _wrong(folder: Path, before: set[str]) -> list[str]:
    """Files that are half-written, or for a part of one."""
    found = []
    for name in set(os.listdir(folder)) - before:
        if name == "run":
            logs = [path for path in (folder / "run").iterdir() if path.suffix == ".jsonl"]
            found += [path.name for path in logs if not path.read_bytes().endswith(b"\n") and path.stat().st_size]
        else:
            found.append(name)  # nothing is written before the end
    return found
