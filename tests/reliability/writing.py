"""Threads and processes that write files at once: every file must hold what was written to it, and all of it.

python tests/reliability/writing.py --count 1000     prints a line of figures; exit status 1 where a file is not right

Each of eight threads writes files of its own, alone, several at a time and in folders, and in turn a file that all
write; then eight processes do the same.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from textlrp.basics.files import write_folder, write_together, write_whole

WORKERS = 8


def content(seed: int, worker: int, number: int) -> str:
    """What a worker writes into its file of that number; no two are equal."""
    line = f"seed {seed}, worker {worker}, file {number}"
    return "\n".join([line] * random.Random(line).randint(1, 3000))


def write(folder: Path, seed: int, worker: int, numbers: range) -> None:
    for number in numbers:
        written = content(seed, worker, number)
        write_whole(folder / f"{worker}-{number}", written if number % 2 else written.splitlines(keepends=True))
        write_whole(folder / "shared", written)
        if number % 8 == 0:
            write_together((folder / f"{worker}-{number}-{part}", written) for part in "ab")
            write_folder(folder / f"{worker}-{number}-folder", [("file", written)])


def attack(begin: Callable[..., threading.Thread | multiprocessing.Process], numbers: range, seed: int) -> list[str]:
    """Let eight workers write, read what all write while they do, and return the names of the files that are wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workers = [begin(target=write, args=(folder, seed, worker, numbers)) for worker in range(WORKERS)]
        for each in workers:
            each.start()
        wrong = []
        whole = {content(seed, worker, number) for worker in range(WORKERS) for number in numbers}
        while any(each.is_alive() for each in workers):
            shared = folder / "shared"
            if shared.exists() and shared.read_text() not in whole:
                wrong.append("shared")
        for each in workers:
            each.join()
        expected = {folder / "shared"}
        for worker in range(WORKERS):
            for number in numbers:
                more = ("-a", "-b", "-folder/file") if number % 8 == 0 else ()
                for path in (folder / f"{worker}-{number}{end}" for end in ("", *more)):
                    expected.add(path)
                    if not path.exists() or path.read_text() != content(seed, worker, number):
                        wrong.append(path.name)
        return wrong + sorted(path.name for path in {*folder.rglob("*")} - expected if path.is_file())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=800, help="files that are written, by threads and by processes")
    parser.add_argument("--seed", type=int, default=0, help="chooses their sizes")
    options = parser.parse_args()
    numbers = range(max(1, options.count // WORKERS))
    context = multiprocessing.get_context("spawn")
    wrong = {
        "threads": attack(threading.Thread, numbers, options.seed),
        "processes": attack(context.Process, numbers, options.seed),
    }
    found = ", ".join(f"{len(names)} of {WORKERS * len(numbers):,} by {WORKERS} {who}" for who, names in wrong.items())
    print(f"files that are wrong: {found}" + "".join(f"; {name}" for names in wrong.values() for name in names[:5]))
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
