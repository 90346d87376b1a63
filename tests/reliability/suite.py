"""Every attack of this folder, one after the other: python tests/reliability/suite.py [--seed 1] [NAME ...]

Each script runs in a process of its own, with the number of tries that it has by default, and prints its figures. The
exit status is 1 where one of them finds a fault; the others run all the same.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def scripts() -> list[str]:
    """Return the names of what can be run here, but for this."""
    found = (path for path in sorted(FOLDER.glob("*.py")) if path != Path(__file__).resolve())
    return [path.stem for path in found if '__name__ == "__main__"' in path.read_text(encoding="utf-8")]


def run(names: Sequence[str], options: Sequence[str]) -> list[str]:
    """Run scripts, and return the names of those that find a fault."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(filter(None, PATHS))}
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        began = time.monotonic()
        command = [sys.executable, "-W", "ignore", str(FOLDER / f"{name}.py"), *options]
        status = subprocess.run(command, env=environment, check=False).returncode
        print(f"== {name}: exit status {status} after {time.monotonic() - began:,.0f} s", flush=True)
        if status:
            failed.append(name)
    return failed


#: Where scripts find this textlrp, and the tests' own modules.
PATHS = (str(FOLDER.parents[1]), str(FOLDER.parent), os.environ.get("PYTHONPATH"))


def main(line: Sequence[str] | None = None) -> None:
    known = scripts()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run: {', '.join(known)}; default: all")
    parser.add_argument("--seed", type=int, help="what all that is random uses; default: that of each script")
    parser.add_argument("--count", type=int, help="how many tries each has; default: that of each script")
    asked = parser.parse_args(line)
    unknown = sorted(set(asked.names) - set(known))
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}")
    given = [("--seed", asked.seed), ("--count", asked.count)]
    options = [word for name, value in given if value is not None for word in (name, str(value))]
    failed = run(asked.names or known, options)
    print(f"faults in {', '.join(failed)}" if failed else "no faults")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
