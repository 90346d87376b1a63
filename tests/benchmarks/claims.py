"""What a claim about speed is measured with: turns, intervals, and one row of results for each claim.

Every script of this folder that backs a claim returns :class:`Row`; ``suite.py`` puts the rows of all into one table.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import nn

from textlrp.check.cost import timed

Array = npt.NDArray[np.float64]

#: How many samples a bootstrap draws, and the share of them that an interval holds.
DRAWS, LEVEL = 10_000, 0.95

#: How often something is repeated at least, however long it takes.
LEAST = 7


class Aim(NamedTuple):
    """What a measured number should be: at most or at least so much."""

    sign: str
    value: float

    def reached(self, measured: float) -> bool:
        """Whether a number is what it should be."""
        return measured <= self.value if self.sign == "<=" else measured >= self.value

    def __str__(self) -> str:
        return f"{self.sign} {self.value:g}"


def at_most(value: float) -> Aim:
    return Aim("<=", value)


def at_least(value: float) -> Aim:
    return Aim(">=", value)


class Measured(NamedTuple):
    """A number, its 95 % interval, and how many repeats it stands on."""

    value: float
    low: float
    high: float
    repeats: int


@dataclass(frozen=True)
class Row:
    """One claim and what was measured.

    Attributes:
        claim: what was measured, of which model and input.
        against: what it was measured against.
        aim: what it should be.
        measured: what it is, or None where it could not be measured; the note then says why.
        note: what else a reader should know.
    """

    claim: str
    against: str
    aim: Aim
    measured: Measured | None
    note: str = ""

    @property
    def reached(self) -> str:
        """``yes`` or ``no``, or nothing where nothing was measured."""
        if self.measured is None:
            return ""
        return "yes" if self.aim.reached(self.measured.value) else "no"

    @property
    def number(self) -> str:
        """What was measured, as it is shown."""
        return "not measured" if self.measured is None else f"{self.measured.value:.3g}"

    @property
    def interval(self) -> str:
        """The interval of what was measured, or nothing for what is the same every time."""
        if self.measured is None or self.measured.repeats == 1:
            return ""
        return f"{self.measured.low:.3g} to {self.measured.high:.3g}"

    @property
    def repeats(self) -> str:
        """How many repeats it stands on."""
        return "" if self.measured is None else f"{self.measured.repeats:,}"

    @classmethod
    def of(cls, values: dict[str, Any]) -> Row:
        """Return the row that :func:`dataclasses.asdict` made into JSON."""
        measured = values["measured"] and Measured(*values["measured"])
        return cls(**{**values, "aim": Aim(*values["aim"]), "measured": measured})


# -- from repeats to numbers ---------------------------------------------------------------------------------------


def exact(value: float) -> Measured:
    """Return a number that is the same however often it is measured: bytes, a count."""
    return Measured(value, value, value, 1)


def estimate(statistic: Callable[..., Any], *samples: Sequence[float], paired: bool = True) -> Measured:
    """Return a statistic with its percentile interval over samples with replacement.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3 (the percentile interval).

    Args:
        statistic: takes an array ``[..., repeats]`` for each of the samples, and returns ``[...]``.
        *samples: the repeats of each quantity.
        paired: whether a repeat of one belongs to the same repeat of the others, and is drawn with it.
    """
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    generator = np.random.default_rng(0)
    chosen: npt.NDArray[np.int64] | None = None
    drawn = []
    for array in arrays:
        if chosen is None or not paired:
            chosen = generator.integers(0, len(array), (DRAWS, len(array)))
        drawn.append(array[chosen])
    value = float(statistic(*arrays))
    low, high = np.quantile(statistic(*drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # Rounding must not put the statistic of equal repeats outside.
    return Measured(value, min(float(low), value), max(float(high), value), min(map(len, arrays)))


def median_ratio(over: Sequence[float], under: Sequence[float]) -> Measured:
    """Return the median of the repeats' ratios: what slows the machine down for a while slows both sides of one."""
    return estimate(lambda ratios: np.median(ratios, -1), np.divide(over, under).tolist())


def ratio_of_sums(over: Sequence[float], under: Sequence[float]) -> Measured:
    """Return the ratio of two totals over the same parts of some work."""
    return estimate(lambda one, other: one.sum(-1) / other.sum(-1), over, under)


def growth(then: Sequence[float], first: Sequence[float]) -> Measured:
    """Return the median of some repeats over that of others which have nothing to do with them."""
    return estimate(lambda one, other: np.median(one, -1) / np.median(other, -1), then, first, paired=False)


# -- clocks --------------------------------------------------------------------------------------------------------


def turns(
    candidates: Mapping[str, Callable[[], object]],
    repeats: int,
    seconds: float = math.inf,
    device: str = "cpu",
    scope: Callable[[str], contextlib.AbstractContextManager[object]] = lambda name: contextlib.nullcontext(),
) -> dict[str, list[float]]:
    """Return the seconds that each candidate takes, repeat by repeat.

    Within a repeat each runs once, in turning order; before the first, each runs once without being timed.

    Args:
        candidates: what is called, by name.
        repeats: how often each is called.
        seconds: when no other repeat begins, if there have been :data:`LEAST`.
        device: whose work is over before a clock is read.
        scope: what a candidate, by its name, runs within; that is not timed.
    """
    names = list(candidates)
    for name in names:
        with scope(name):
            candidates[name]()
    found: dict[str, list[float]] = {name: [] for name in names}
    begun = time.perf_counter()
    for i in range(repeats):
        if i >= LEAST and time.perf_counter() - begun > seconds:
            break
        for name in names[i % len(names) :] + names[: i % len(names)]:
            with scope(name):
                found[name].append(timed(candidates[name], device))
    return found


@contextlib.contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Hold a model in evaluation mode, without a parameter that requires grad, for what runs on the plain model."""
    training = [module for module in model.modules() if module.training]
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module in training:
            module.training = True
        for parameter in trainable:
            parameter.requires_grad_(True)


def freezing(model: nn.Module, *names: str) -> Callable[[str], contextlib.AbstractContextManager[object]]:
    """Return the scope of candidates, of which those of these names find the model frozen.

    An explanation takes a frozen copy for itself, which is a part of what it costs.
    """
    return lambda name: frozen(model) if name in names else contextlib.nullcontext()


def against(seconds: Mapping[str, Sequence[float]], one: str, other: str) -> str:
    """Return the two medians behind a ratio, in words."""
    return f"{duration(seconds[one])} against {duration(seconds[other])}"


def duration(seconds: Sequence[float]) -> str:
    """Return a median time in seconds or milliseconds."""
    middle = float(np.median(seconds))
    return f"{middle:.2f} s" if middle >= 1 else f"{middle * 1e3:.3g} ms"


# -- scripts -------------------------------------------------------------------------------------------------------


def parser(doc: str | None, repeats: int = 15, seconds: float = 60.0, device: bool = True) -> argparse.ArgumentParser:
    """Return the options that all scripts have."""
    found = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--repeats", type=int, help=f"of each measurement, at most; default: {repeats}")
    found.add_argument(
        "--seconds",
        type=float,
        default=seconds,
        help=f"after which a measurement ends that was repeated {LEAST} times; default: {seconds:g}",
    )
    found.add_argument(
        "--quick", action="store_true", help="small models, to see that it runs: the numbers mean nothing"
    )
    found.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    if device:
        found.add_argument("--device", default="cpu")
    found.set_defaults(usual=repeats)
    return found


def asked(found: argparse.ArgumentParser, line: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a command line."""
    options = found.parse_args(line)
    if options.repeats is not None and options.repeats < 1:
        found.error(f"--repeats must be 1 or more, not {options.repeats}")
    options.repeats = options.repeats or (2 if options.quick else options.usual)
    return options


def finish(rows: Iterable[Row], options: argparse.Namespace) -> None:
    """Show the rows of a script, and write them where that was asked for."""
    rows = list(rows)
    console = Console(width=None if sys.stdout.isatty() else 120)
    for line in machine(getattr(options, "device", "cpu")):
        console.print(line, highlight=False)
    console.print(table(rows))
    console.print(summary(rows), highlight=False)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(row) for row in rows], allow_nan=False), encoding="utf-8")


def summary(rows: Sequence[Row]) -> str:
    """Say how many of the aims were reached."""
    unknown = sum(row.measured is None for row in rows)
    return (
        f"Reached: {sum(row.reached == 'yes' for row in rows)} of {len(rows) - unknown} aims"
        f"{f'; not measured: {unknown}' if unknown else ''}."
    )


def table(rows: Iterable[Row]) -> Table:
    """Return rows as a table for the terminal, with what a claim is against and its note below the claim."""
    found = Table("claim", "aim", "measured", "95 % interval", "reached", show_lines=True)
    for row in rows:
        about = Text.assemble(row.claim, (f"\nagainst {row.against}{'; ' * bool(row.note)}{row.note}", "dim"))
        repeats = f"\n{row.repeats} repeats" if row.interval else ""
        mark = "green" if row.reached == "yes" else "bold red"
        found.add_row(about, str(row.aim), row.number, row.interval + repeats, Text(row.reached, mark))
    return found


def machine(device: str = "cpu") -> tuple[str, str]:
    """Return what was measured on and what with, in two lines."""
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    gpu = f"; {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else ""
    names = ("torch", "transformers", "textlrp")
    versions = ", ".join(f"{name} {_version(name)}" for name in names)
    return (
        f"{_processor()}, {cores} processor{'s' * (cores > 1)}, torch with {threads} thread{'s' * (threads > 1)}, "
        f"{_memory()} of memory{gpu}",
        f"Python {platform.python_version()}, {versions}",
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # a source tree on the path
        return "from source"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    except (AttributeError, ValueError, OSError):  # not every system has them
        return "an unknown amount"
