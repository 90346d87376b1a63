"""How long ``textlrp --help`` takes, against a Python that loads torch and transformers.

Both are whole processes. The second claim is the reason of the first: nothing of torch is loaded to show what there is.
Run it on a machine that does nothing else:

    python tests/benchmarks/startup.py [--repeats 15]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator

from claims import Row, against, asked, at_most, exact, finish, median_ratio, parser, turns  # its neighbor

#: What the installed command does, without asking where it was installed.
HELP = "import sys; sys.argv[0] = 'textlrp'; from textlrp.cli import main; main()"
COUNT = (
    "import sys; from textlrp.cli import main; main(['--help'], standalone_mode=False); "
    "print(sum(name.partition('.')[0] == 'torch' for name in sys.modules))"
)
COMMAND, LOADED = "textlrp --help", 'python -c "import torch, transformers"'
SHARE = 0.25


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the time of the command, and how many modules of torch it loads."""
    called = {COMMAND: lambda: python(HELP, "--help"), LOADED: lambda: python("import torch, transformers")}
    seconds = turns(called, options.repeats, options.seconds)
    measured = median_ratio(seconds[COMMAND], seconds[LOADED])
    yield Row(f"time of {COMMAND}", LOADED, at_most(SHARE), measured, against(seconds, COMMAND, LOADED))
    count = int(python(COUNT).splitlines()[-1])
    yield Row(f"modules of torch that {COMMAND} loads", "none", at_most(0), exact(count))


def python(code: str, *arguments: str) -> str:
    """Return what a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def main(line: list[str] | None = None) -> None:
    options = asked(parser(__doc__, repeats=15, seconds=60, device=False), line)
    finish(rows(options), options)


if __name__ == "__main__":
    main()
