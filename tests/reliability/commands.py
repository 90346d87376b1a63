"""The commands of textlrp in processes of their own, with limits of time and memory, and what they must answer."""

from __future__ import annotations

import importlib
import os
import pkgutil
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from reliability import laws

import textlrp
from textlrp import Explainer

#: Seconds until a command counts as hanging.
PATIENCE = 60.0

#: Bytes that a command may take beyond what its process has when it begins.
ROOM = 3 << 30


class Answer(NamedTuple):
    """What a command gave back.

    Attributes:
        status: its exit status, or minus the signal that ended it.
        said: its standard error.
        hung: whether it was killed because it took too long.
    """

    status: int
    said: str
    hung: bool


def call(arguments: Sequence[str], folder: Path, stdin: bytes = b"") -> Answer:
    """Run a command in a folder, in a forked process: everything is imported already."""
    said, given = folder / ".said", folder / ".given"
    given.write_bytes(stdin)
    child = os.fork()
    if not child:
        status = 99
        try:
            status = _run(arguments, folder, said, given)
        finally:
            os._exit(status)
    until = time.monotonic() + PATIENCE
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            written = said.read_bytes().decode(errors="replace") if said.exists() else ""
            return Answer(os.waitstatus_to_exitcode(status), written, False)
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Answer(-signal.SIGKILL, "", True)
        time.sleep(0.005)


def gradients_after_a_fork() -> bool:
    """Return whether a forked process can compute gradients; with older releases of torch, its parent may not have."""
    torch.ones((), requires_grad=True).backward()
    child = os.fork()
    if not child:
        try:
            torch.ones((), requires_grad=True).backward()
        except RuntimeError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _run(arguments: Sequence[str], folder: Path, said: Path, given: Path) -> int:
    from textlrp.cli import main

    limit = resource.getrlimit(resource.RLIMIT_AS)[1]
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, limit))
    os.chdir(folder)
    for descriptor, path, flags in ((0, given, os.O_RDONLY), (1, Path(os.devnull), os.O_WRONLY)):
        os.dup2(os.open(path, flags), descriptor)
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    try:
        main(list(arguments))
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        return 98
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def refused(answer: Answer) -> None:
    """A refusal is one sentence and the exit status 1 or 2."""
    decent(answer)
    laws.hold(answer.status in (1, 2), f"exit status {answer.status}: {answer.said[-300:]!r}")
    lines = [line for line in answer.said.splitlines() if line.strip()]
    laws.hold(bool(lines) and lines[-1].startswith("Error: "), f"no sentence at the end: {answer.said[-300:]!r}")
    laws.hold(sum(line.startswith("Error: ") for line in lines) == 1, f"not one sentence: {answer.said[-300:]!r}")
    laws.hold(len(lines[-1]) < 2000, f"a sentence of {len(lines[-1])} characters")


def decent(answer: Answer) -> None:
    """Whatever comes, it comes in time and without a traceback."""
    laws.hold(not answer.hung, f"no answer within {PATIENCE:.0f} s")
    laws.hold("Traceback" not in answer.said, f"a traceback: {answer.said[-400:]!r}")
    laws.hold(answer.status in (0, 1, 2, 3), f"exit status {answer.status}: {answer.said[-300:]!r}")


def ready() -> None:
    """Import what commands need and run it once, with one thread, so that forks find it."""
    importlib.import_module("pyarrow.parquet")
    for found in pkgutil.walk_packages(textlrp.__path__, "textlrp."):
        importlib.import_module(found.name)
    torch.set_num_threads(1)
    Explainer.demo().explain("a wonderful film").to_html()
