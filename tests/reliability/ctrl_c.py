"""Interrupts every command at random moments: python tests/reliability/ctrl_c.py --count 100 --seed 1

Prints a line for each command, and every end that is not clean; the exit status is 1 where there is one.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(1, str(Path(__file__).parents[2]))

import interrupted_commands


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50, help="How many interrupts in all.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=12.0, help="The latest moment, in seconds.")
    parser.add_argument(
        "--command", choices=interrupted_commands.COMMANDS, action="append", help="Of these commands alone."
    )
    asked = parser.parse_args()
    draw = random.Random(asked.seed)
    names = asked.command or list(interrupted_commands.COMMANDS)
    ends: dict[str, list[interrupted_commands.End]] = {name: [] for name in names}
    for i in range(asked.count):
        name = names[i % len(names)]
        # Half of them early, where modules and weights are loaded.
        moment = draw.uniform(0, asked.longest / 4 if draw.random() < 0.5 else asked.longest)
        with tempfile.TemporaryDirectory() as folder:
            end = interrupted_commands.interrupt(name, Path(folder), moment, draw.choice((1, 1, 1, 3)))
        if end is None:
            continue
        ends[name].append(end)
        if not end.clean:
            print(f"{name} at {moment:.2f} s: {end}", flush=True)
    for name, found in ends.items():
        slowest = max((end.seconds for end in found), default=0.0)
        print(f"{name}: {len(found)} interrupts, {sum(end.clean for end in found)} clean, slowest {slowest:.2f} s")
    return int(not all(end.clean for found in ends.values() for end in found))


if __name__ == "__main__":
    sys.exit(main())
