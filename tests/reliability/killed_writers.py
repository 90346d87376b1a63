"""Processes killed while they write: what is there is old or new, and whole, and what they left is gone after the next.

python tests/reliability/killed_writers.py --count 500    prints a line of figures; exit status 1 where one is not right

A child writes a file, several files together, or a folder, over and over, and is killed at a random moment. Killed
between two of several files, some are new and some are old; each is whole.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from textlrp.basics.files import write_folder, write_together, write_whole

LINES = 4000
NAMES = ("one", "two", "three")


def lines(version: int) -> Iterator[str]:
    yield from (f"version {version} of this file\n" for _ in range(LINES))


def write(folder: Path, version: int) -> None:
    write_whole(folder / "file", lines(version))
    write_together((folder / f"together-{name}", lines(version)) for name in NAMES)
    write_folder(folder / f"folder-{version}", [(name, "".join(lines(version))) for name in NAMES])


def faults(folder: Path) -> list[str]:
    """Return what in a folder is not whole."""
    wrong = []
    for path in folder.rglob("*"):
        if any(part.startswith(".textlrp-") for part in path.relative_to(folder).parts):
            continue
        if path.is_dir() and sorted(each.name for each in path.iterdir()) != sorted(NAMES):
            wrong.append(path.name)
        if path.is_file() and (len(set(found := path.read_text().splitlines())) != 1 or len(found) != LINES):
            wrong.append(path.name)
    return wrong


def kill(folder: Path, after: float) -> None:
    """Let a child write, and kill it."""
    child = os.fork()
    if not child:
        try:
            version = 0
            while True:
                version += 1
                write(folder, version)
        finally:
            os._exit(1)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="how many processes are killed")
    parser.add_argument("--seed", type=int, default=0, help="chooses the moments")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    halves = leftovers = removed = 0
    for _ in range(options.count):
        folder = Path(tempfile.mkdtemp())
        try:
            kill(folder, chance.uniform(0.001, 0.1))
            halves += bool(faults(folder))
            parts = list(folder.glob(".textlrp-*"))
            leftovers += bool(parts)
            write_whole(folder / "file", lines(0))
            removed += bool(parts) and not list(folder.glob(".textlrp-*"))
        finally:
            shutil.rmtree(folder)
    print(
        f"{options.count:,} kills: {halves} left something half-written, {leftovers} left parts, of which the next "
        f"write removed {removed}"
    )
    return 1 if halves or removed < leftovers else 0


if __name__ == "__main__":
    sys.exit(main())
