"""How long a report takes to open and to use in Chromium: 100, 1,000 and 10,000 short documents.

Texts are written by a seeded generator, explanations by hand, so no model runs. Each number is a median. Run it on a
machine that does nothing else:

    python tests/benchmarks/report.py [--documents 100 1000 10000] [--words 20] [--repeats 5]
"""

from __future__ import annotations

import argparse
import platform
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from browser import chromium
from rich.console import Console
from rich.table import Table

from textlrp.data.records import Record
from textlrp.report.writing import write_report
from textlrp.results.explanation import Explanation
from textlrp.results.ledger import Ledger
from textlrp.results.spans import Span

VOCABULARY = (
    "the a film plot scene actor is was seems never quite dull bright funny slow moving honest story ending music "
    "camera again without every little great long and but of in with"
).split()

#: From the start of the navigation to the first frame after the documents are there.
_OPENED = """() => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(
  () => resolve(performance.now()))))"""

#: Scrolls through 20,000 pixels, and returns the time of each frame in ms and how often a blank place was in view.
_SCROLL = """() => new Promise(resolve => {
  const times = [];
  let last = performance.now(), blank = 0, steps = 0;
  const step = now => {
    times.push(now - last);
    last = now;
    const below = document.elementFromPoint(innerWidth / 2, innerHeight - 60);
    if (below && below.closest('.chunk') && !below.closest('article')) blank++;
    if (++steps === 200) return resolve([times, blank]);
    scrollBy(0, 100);
    requestAnimationFrame(step);
  };
  document.getElementById('work').scrollIntoView();
  requestAnimationFrame(step);
})"""


def record(number: int, words: int, draw: random.Random) -> Record:
    """A document of about so many words with relevances at random."""
    text, tokens = "", []
    for _ in range(max(3, round(draw.gauss(words, words / 3)))):
        word = draw.choice(VOCABULARY)
        start = len(text) + bool(text)
        text += f" {word}" if text else word
        tokens.append(Span(start, start + len(word), word, round(draw.gauss(0, 1) ** 3, 4)))
    share = draw.uniform(0.5, 1)
    predicted = draw.choice(["NEG", "POS"])
    e = Explanation(
        text=text,
        target=predicted,
        contrast=None,
        logit=1.0,
        logits={"NEG": 0.0, "POS": 1.0},
        probabilities={predicted: share, {"NEG": "POS", "POS": "NEG"}[predicted]: 1 - share},
        predicted=predicted,
        tokens=tuple(tokens),
        ledger=Ledger({"tokens": 1.0}, 1.0),
        model="benchmark",
    )
    return Record(f"document-{number}", (e,), draw.choice(["NEG", "POS"]))


def measure(browser: Any, path: Path, repeats: int) -> dict[str, float]:
    """Return what was measured, in milliseconds where nothing else is said."""
    found: dict[str, list[float]] = {name: [] for name in ("open", "search", "sort", "frame", "slow", "blank", "heap")}
    for _ in range(repeats):
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.goto(path.as_uri())
        page.locator("article").first.wait_for()
        found["open"].append(page.evaluate(_OPENED))
        times, blank = page.evaluate(_SCROLL)
        found["frame"].append(statistics.median(times))
        found["slow"].append(100 * sum(each > 34 for each in times) / len(times))
        found["blank"].append(100 * blank / len(times))
        found["heap"].append(page.evaluate("performance.memory.usedJSHeapSize") / 2**20)
        for name, field, value in (("sort", "sort", "wrong"), ("search", "find", "dull bright")):
            act = f"""() => new Promise(resolve => {{
              const field = document.getElementById('filter').elements['{field}'];
              const start = performance.now();
              field.value = '{value}';
              field.dispatchEvent(new Event('input', {{ bubbles: true }}));
              const wait = '{field}' === 'find' ? 160 : 0;
              setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(
                () => resolve(performance.now() - start - wait))), wait);
            }})"""
            found[name].append(page.evaluate(act))
        page.context.close()
    return {name: statistics.median(values) for name, values in found.items()}


def main(line: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", nargs="+", type=int, default=[100, 1000, 10_000])
    parser.add_argument("--words", type=int, default=20, help="in a document, on average")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(line)
    table = Table(title=f"Reports of documents of {options.words} words, medians of {options.repeats}")
    columns = ("documents", "written, s", "file, MB", "open, s", "sort, ms", "search, ms")
    for name in (*columns, "frame, ms", "frames > 34 ms, %", "blank, %", "heap, MiB"):
        table.add_column(name, justify="right")
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        for count in options.documents:
            draw = random.Random(0)
            records = [record(number, options.words, draw) for number in range(1, count + 1)]
            path = Path(folder) / f"report-{count}.html"
            start = time.perf_counter()
            (path,) = write_report(records, path, page_documents=count)
            written = time.perf_counter() - start
            found = measure(browser, path, options.repeats)
            table.add_row(
                f"{count:,}",
                f"{written:.1f}",
                f"{path.stat().st_size / 1e6:.1f}",
                f"{found['open'] / 1000:.2f}",
                *(f"{found[name]:.0f}" for name in ("sort", "search", "frame", "slow", "blank", "heap")),
            )
        console = Console(width=140)
        console.print(table)
        console.print(f"{browser.browser_type.name} {browser.version}, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
