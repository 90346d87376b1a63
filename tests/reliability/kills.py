"""Kills ``textlrp report --save`` at random moments, lets it go on, and compares it with a run that nobody stopped.

A process dies (``SIGKILL``) over a line: before it, behind it, or with a part of it written; or a while after a line,
wherever it is then. After each kill, what had been kept must be there, and no more than the line that it died over be
missing. A run is killed one to four times and then finished: its documents, its failures and its page must be those of
the run in one go, relevances to 1e-5. The last line says what was found, and the exit status is 1 where anything is
wrong.

    python tests/reliability/kills.py [--count 20] [--documents 20] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
import transformers  # noqa: F401  (loaded once, before processes are forked)

from textlrp.basics.lines import read_lines
from textlrp.cli import main as main_command
from textlrp.data.records import Failure, Record, read_kept
from textlrp.report.reading import read_report

WORDS = "the film plot is wonderful moving never dull bad no great slow honest scene actor story".split()
LIMIT = "40"  # ids that are read at once: some documents are longer, and are not explained


@dataclass(frozen=True)
class Kill:
    """When a process is killed: at the n-th line that it writes, with a share of it written; or seconds later."""

    at: int
    share: float
    seconds: float


def write_table(path: Path, documents: int, draw: random.Random) -> None:
    """Write a table of short texts, a few of which are too long."""
    with path.open("w", encoding="utf-8") as file:
        for i in range(documents):
            words = draw.choices(WORDS, k=60 if draw.random() < 0.1 else draw.randint(3, 25))
            values = {"id": f"d{i:03}", "text": " ".join(words), "label": draw.choice(["NEG", "POS"])}
            file.write(json.dumps(values) + "\n")


def run(folder: Path, name: str, kill: Kill | None = None) -> int:
    """Run the command in a process of its own, or go on with it, and return what it ended with."""
    line = ["report", str(folder / "table.jsonl"), "-o", str(folder / f"{name}.html"), "--title", "Kills"]
    line += ["--save", str(folder / f"{name}.jsonl"), "--long", "error", "--window", LIMIT]
    child = os.fork()  # this process has loaded the libraries, and never used them: its children need not load them
    if child == 0:
        _work(line, folder / "said.txt", kill)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if ended not in (3, -signal.SIGKILL):  # some texts are too long to be explained, so a whole run ends with 3
        raise SystemExit(f"the command failed: {(folder / 'said.txt').read_text()}")
    return ended


def _work(line: list[str], said: Path, kill: Kill | None) -> NoReturn:
    """Run the command, and end this process."""
    ended = 1
    try:
        with said.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            if kill is not None:
                os.write = _dying(kill)
            main_command(line)
    except SystemExit as error:
        ended = int(error.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(ended)


def _dying(kill: Kill) -> Callable[[int, bytes], int]:
    """Return what writes, and kills this process over a line or some time after it."""
    write, count = os.write, 0

    def die(seconds: float) -> None:
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    def counted(file: int, line: bytes) -> int:
        nonlocal count
        count += line.startswith(b'{"')
        if count == kill.at and not kill.seconds:
            write(file, line[: round(kill.share * len(line))])
            die(0.0)
        done = write(file, line)
        if count == kill.at:
            threading.Thread(target=die, args=(kill.seconds,), daemon=True).start()
        return done

    return counted


def draw_kill(draw: random.Random, left: int) -> Kill:
    """Return a moment: a third of them before or behind a line, a third within it, and a third a while later."""
    at = draw.randint(1, max(1, left))
    kind = draw.randrange(3)
    share = draw.choice([0.0, 1.0]) if kind == 0 else draw.random()
    return Kill(at, share, draw.uniform(0.001, 0.1) if kind == 2 else 0.0)


def lines(path: Path) -> list[bytes]:
    """Return the whole lines of a file."""
    return [line for _, line, whole in read_lines(path) if whole] if path.exists() else []


def lost(before: Sequence[bytes], after: Sequence[bytes], kill: Kill) -> str:
    """Say what a kill took away that had been kept, or nothing."""
    if list(after[: len(before)]) != list(before):
        return "lines that were there have changed"
    least = len(before) + kill.at - (0 if kill.seconds or kill.share == 1.0 else 1)
    return f"{len(after)} lines, {least} had been written" if len(after) < least else ""


def differences(folder: Path, name: str, other: str) -> list[str]:
    """Say how a run differs from another."""
    one, two = (list(read_kept(folder / f"{each}.jsonl")) for each in (name, other))
    if [each.id for each in one] != [each.id for each in two]:
        return ["other documents, or in another order"]
    found = []
    for a, b in zip(one, two, strict=True):
        if isinstance(a, Failure) or isinstance(b, Failure):
            same = a == b
        else:
            same = (a.label, a.predicted) == (b.label, b.predicted) and _apart(a, b) <= 1e-5
        if not same:
            found.append(f"document {a.id} differs")
    if _pages(folder, name) != _pages(folder, other):
        found.append("the page differs")
    return found


def _apart(one: Record, other: Record) -> float:
    pairs = zip(one.explanation.tokens, other.explanation.tokens, strict=True)
    return max(abs(a.relevance - b.relevance) for a, b in pairs)


def _pages(folder: Path, name: str) -> list[tuple[str, str, str | None, str]]:
    sent = read_report(folder / f"{name}.html")
    return [(each.id, each.text, each.label, each.predicted) for each in sent.documents.values()]


def main(line: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20, help="how many kills")
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(line)
    torch.set_num_threads(1)  # a process that was forked cannot use several
    draw = random.Random(options.seed)
    start, kills, torn, runs, wrong = time.monotonic(), 0, 0, 0, list[str]()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_table(folder / "table.jsonl", options.documents, draw)
        run(folder, "whole")
        while kills < options.count:
            runs += 1
            name = f"run-{runs}"
            for _ in range(min(draw.randint(1, 4), options.count - kills)):
                before = lines(folder / f"{name}.jsonl")
                left = options.documents + 1 - len(before)
                if left < 1:
                    break
                kill = draw_kill(draw, left)
                kills += run(folder, name, kill) != 0
                after = lines(folder / f"{name}.jsonl")
                torn += not (folder / f"{name}.jsonl").read_bytes().endswith(b"\n")
                wrong += [f"{name}, {kill}: {lost(before, after, kill)}"] if lost(before, after, kill) else []
            run(folder, name)
            wrong += [f"{name}: {each}" for each in differences(folder, name, "whole")]
    for each in wrong:
        print(each, file=sys.stderr)
    print(
        f"{kills} kills in {runs} runs of {options.documents} documents, seed {options.seed}: {torn} torn lines, "
        f"{len(wrong)} faults, {time.monotonic() - start:.0f} s"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
