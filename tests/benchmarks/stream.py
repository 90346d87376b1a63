"""How much memory ``textlrp report`` takes at its peak, and how long, by the number of documents.

The documents are those of the bundled corpora, repeated under new ids, and the built-in classifier explains them; each
report is written by a process of its own. Memory is the largest resident set (``ru_maxrss``), the libraries and the
model included: what one document takes of it is what the report adds to it, over the documents.

    python tests/benchmarks/stream.py [--documents 10 1000 4000] [--corpus reviews news] [--save]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from textlrp.data import corpora

#: Runs the command, and says on its last line how large it became; in KiB, but on macOS.
_CHILD = """
import resource, sys
from textlrp.cli import main
try:
    main(sys.argv[1:])
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write(path: Path, count: int, names: list[str]) -> None:
    """Write a table of documents of the bundled corpora, as often as it takes."""
    documents = [document for name in names for document in corpora.load(name)]
    with path.open("w", encoding="utf-8") as file:
        for i, document in enumerate(islice(cycle(documents), count)):
            file.write(json.dumps({"id": f"{i:06}", "text": document.text}) + "\n")


def measure(count: int, names: list[str], save: bool) -> tuple[float, float, float, float]:
    """Return the peak of memory in MB, the seconds, and the sizes of the page and of the saved run in MB."""
    with tempfile.TemporaryDirectory() as folder:
        table, page, run = (Path(folder) / name for name in ("table.jsonl", "report.html", "run.jsonl"))
        write(table, count, names)
        line = ["report", str(table), "-o", str(page), *(["--save", str(run)] if save else [])]
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", _CHILD, *line], check=True, capture_output=True, env=os.environ)
        seconds = time.perf_counter() - start
        peak = int(done.stdout.split()[-1]) / (1e6 if platform.system() == "Darwin" else 1e6 / 1024)
        sizes = [sum(each.stat().st_size for each in Path(folder).glob(name)) for name in ("*.html", "run.jsonl")]
        return peak, seconds, sizes[0] / 1e6, sizes[1] / 1e6


def main(line: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", nargs="+", type=int, default=[10, 1000, 4000])
    parser.add_argument("--corpus", nargs="+", default=["reviews", "news"], choices=corpora.names())
    parser.add_argument("--save", action="store_true", help="keep the explanations, too")
    options = parser.parse_args(line)
    table = Table(title="textlrp report, built-in classifier")
    for name in ("documents", "peak, MB", "KB a document", "seconds", "page, MB", "run, MB"):
        table.add_column(name, justify="right")
    first: tuple[int, float] | None = None
    for count in options.documents:
        peak, seconds, page, run = measure(count, options.corpus, options.save)
        own = "" if first is None else f"{1000 * (peak - first[1]) / (count - first[0]):.1f}"
        first = first or (count, peak)
        table.add_row(f"{count:,}", f"{peak:.0f}", own, f"{seconds:.0f}", f"{page:.1f}", f"{run:.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
