"""All that is claimed about speed and memory, measured in one run: a table, and ``results.md`` beside this file.

Each part runs in a process of its own, so that none disturbs the next, and can be run alone; its documentation says
what it measures. On two processors the whole takes about 35 minutes. Run it on a machine that does nothing else:

    python tests/benchmarks/suite.py [--only cost targets ...] [--device cuda] [--lxt lxt/bin/python] [--output FILE]

``results.md`` is written by a whole run; of some parts, or of small models (``--quick``), only what ``--output`` names.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from claims import Row, machine, summary, table  # its neighbor
from rich.console import Console

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.md"


class Part(NamedTuple):
    """A script, what it is told, and whether it runs on an accelerator."""

    script: str
    options: tuple[str, ...] = ()
    device: bool = True


PARTS = {
    "cost": Part("price.py", ("--claim", "cost")),
    "checkpointing": Part("price.py", ("--claim", "checkpointing")),
    "targets": Part("targets.py", ("--claims",)),
    "corpus": Part("corpus.py"),
    "overhead": Part("price.py", ("--claim", "overhead")),
    "startup": Part("startup.py", device=False),
    "growth": Part("growth.py"),
    "peers": Part("peers.py", device=False),
}


def measure(name: str, options: argparse.Namespace, console: Console) -> list[Row] | None:
    """Run a part, and return its rows, or None where it failed; what it says of that is shown."""
    part = PARTS[name]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        command = [sys.executable, str(HERE / part.script), *part.options, "--json", str(file)]
        command += ["--quick"] if options.quick else []
        command += ["--device", options.device] if part.device else []
        command += ["--seconds", str(options.seconds)] if options.seconds is not None else []
        command += ["--lxt", options.lxt] if name == "peers" and options.lxt else []
        start = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            console.print(f"{name} failed:\n{done.stdout}", markup=False, highlight=False)
            return None
        console.print(f"{name}: {time.perf_counter() - start:.0f} s", highlight=False)
        return [Row.of(values) for values in json.loads(file.read_text(encoding="utf-8"))]


def markdown(rows: Sequence[Row], missing: Sequence[str], options: argparse.Namespace) -> str:
    """Return the results as a page."""
    lines = [
        "# What was measured",
        "",
        *(f"- {line}" for line in machine(options.device)),
        f"- `{command(options)}`",
        "",
        "Each number is from repeats in turn with what it is measured against; it is the median of their ratios where "
        "the note says nothing else, with a 95 % bootstrap interval. Bytes and counts are the same each time.",
        "",
        summary(rows),
        "",
    ]
    if options.quick:
        lines += ["**Small models, to see that it runs: these numbers mean nothing.**", ""]
    if missing:
        lines += [f"**Not measured: {', '.join(missing)}.**", ""]
    titles = ("claim", "against", "aim", "measured", "95 % interval", "reached", "repeats", "note")
    lines += [_line(titles), _line("---" for _ in titles)]
    for row in rows:
        cells = (str(row.aim), row.number, row.interval, row.reached, row.repeats)
        lines.append(_line((row.claim, row.against, *cells, row.note)))
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def command(options: argparse.Namespace) -> str:
    """Return the command that repeats a run; what lies where on this machine is left out."""
    parts = ["python tests/benchmarks/suite.py"]
    if options.only != list(PARTS):
        parts += ["--only", *options.only]
    parts += ["--quick"] if options.quick else []
    parts += ["--device", options.device] if options.device != "cpu" else []
    parts += ["--seconds", f"{options.seconds:g}"] if options.seconds is not None else []
    parts += ["--lxt", "lxt/bin/python"] if options.lxt else []
    return " ".join(parts)


def arguments(line: Sequence[str] | None) -> argparse.Namespace:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    found.add_argument("--quick", action="store_true", help="small models, to see that it runs")
    found.add_argument("--device", default="cpu", help="of those parts that run on an accelerator")
    found.add_argument("--seconds", type=float, help="that each measurement may take, after 7 repeats of it")
    found.add_argument("--lxt", metavar="PYTHON", help="of an environment that has lxt; peers.py says how to make one")
    found.add_argument("--output", type=Path, metavar="FILE", help="default: results.md, after a whole run")
    options = found.parse_args(line)
    if options.output is None and not options.quick and options.only == list(PARTS):
        options.output = RESULTS
    return options


def main(line: Sequence[str] | None = None) -> None:
    options = arguments(line)
    console = Console(width=None if sys.stdout.isatty() else 120)
    for said in machine(options.device):
        console.print(said, highlight=False)
    rows: list[Row] = []
    missing, failed = list(options.only), []
    for name in options.only:
        found = measure(name, options, console)
        if found is None:
            failed.append(name)
            continue
        rows += found
        missing.remove(name)
        if options.output is not None:  # after each part: a run takes long, and may be stopped
            # A section written by hand, of what a comparison of two versions found, stays.
            before = options.output.read_text(encoding="utf-8") if options.output.exists() else ""
            by_hand = "".join(before.partition("\n## Fast paths")[1:])
            options.output.write_text(markdown(rows, missing, options) + by_hand, encoding="utf-8")
    console.print(table(rows))
    console.print(summary(rows), highlight=False)
    if failed:
        sys.exit(f"Error: {', '.join(failed)} failed")


if __name__ == "__main__":
    main()
