"""What the attacks of this folder share: how they are called, and how they say what came out."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_LISTED = 20


@dataclass
class Tally:
    """What came of the tries of an attack.

    Attributes:
        outcomes: how often each outcome came.
        faults: what went wrong, with what makes it come again.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def note(self, outcome: str, fault: str | None = None) -> None:
        self.outcomes[outcome] += 1
        if fault is not None:
            self.faults.append(fault)

    def line(self, what: str, seconds: float) -> str:
        listed = ", ".join(f"{count:,} {outcome}" for outcome, count in self.outcomes.most_common())
        return f"{self.outcomes.total():,} {what} in {seconds:.0f} s: {listed}; {len(self.faults):,} faults"


def arguments(
    about: str | None, count: int, line: Sequence[str] | None, more: Iterable[str] = ()
) -> argparse.Namespace:
    """Read ``--count`` and ``--seed``, and names of cases where there are any."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=count, help=f"how many tries; default: {count:,}")
    parser.add_argument("--seed", type=int, default=0, help="what all that is random uses; default: 0")
    for each in more:
        parser.add_argument(f"--{each}")
    return parser.parse_args(line)


def finish(tally: Tally, what: str, began: float) -> None:
    """Print the faults and a line of figures, and exit with status 1 where there is a fault."""
    for fault in tally.faults[:_LISTED]:
        print(fault)
    print(tally.line(what, time.monotonic() - began))
    sys.exit(1 if tally.faults else 0)
