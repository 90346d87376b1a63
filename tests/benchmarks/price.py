"""What an explanation costs beside gradient x input on the plain model: the claims about it.

Models have the usual shapes, random weights and torch's fused attention. An explanation is one call of
``textlrp.propagate`` for the predicted label, ledger included; gradient x input runs on the same model, frozen and in
evaluation mode. ``cost.py`` shows more of any one shape.

- ``cost``: time and saved activations of BERT-base and ModernBERT-base shapes.
- ``checkpointing``: the same where layers are computed again on the way back.
- ``overhead``: the time of a model of 2 layers of 64, where all that counts is what a call itself takes.

Run it on a machine that does nothing else:

    python tests/benchmarks/price.py [--claim cost checkpointing overhead] [--model bert modernbert] [--shape 1x128]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

from claims import Row, against, asked, at_most, exact, finish, freezing, median_ratio, parser, turns  # its neighbors
from cost import Shape, build, inputs, peak_memory, shape
from torch import nn

from textlrp.check import cost, table
from textlrp.check.cost import GRADIENT
from textlrp.lrp.propagation import propagate

CLAIMS = ("cost", "checkpointing", "overhead")
NAMES = {"bert": "BERT-base", "modernbert": "ModernBERT-base", "llama": "Llama, 12 x 768"}
SHAPES = {
    "cost": [(1, 32), (1, 128), (8, 128), (1, 512)],
    "checkpointing": [(8, 128), (1, 512)],  # shorter ones keep little anyway
    "overhead": [(1, 16)],
}
#: The aims by rules; the first is for short texts, of whose time what a call itself takes is a part.
SHORT, LONG = (1, 32), (1, 512)
TIMES = {"attnlrp": (1.05, 1.0, 1.0), "cp-lrp": (1.05, 0.95, 0.95), "difference": (1.3, 1.6, 1.8)}
SAVED = {"attnlrp": 0.80, "cp-lrp": 0.80, "difference": 1.6}
CHECKPOINTED_TIME, CHECKPOINTED_SAVED = 1.55, 0.30
OVERHEAD, OFTEN = 1.5, 20  # so short a time is measured more often


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield what was measured of the claims that were asked for."""
    for claim in options.claim:
        sizes = options.shape or ([(1, 8), (2, 8)] if options.quick else SHAPES[claim])
        if claim == "overhead":
            model = build("bert", quick=True).to(options.device)
            yield from overhead(model, sizes, options)
            continue
        for name in options.model:
            model = build(name, options.quick).to(options.device)
            title = f"small {name}" if options.quick else NAMES[name]
            for size in sizes:
                yield from (price if claim == "cost" else checkpointing)(model, title, size, options)


def price(model: nn.Module, title: str, size: Shape, options: argparse.Namespace) -> Iterator[Row]:
    """Yield the time and the saved activations of explanations by each set of rules."""
    compared = _Compared(model, size, {name: {"rules": name} for name in options.rules}, options)
    for name in options.rules:
        about = f"{title}, {size[0]} x {size[1]} ids, {name}"
        most = TIMES[name][{SHORT: 0, LONG: 2}.get(size, 1)]
        yield compared.time(f"time of an explanation: {about}", name, most)
        yield compared.saved(f"saved activations: {about}", name, SAVED[name])


def checkpointing(model: nn.Module, title: str, size: Shape, options: argparse.Namespace) -> Iterator[Row]:
    """Yield the time and the saved activations where layers are computed again on the way back."""
    name = "checkpointing"
    compared = _Compared(model, size, {name: {"checkpointing": True}}, options)
    about = f"{title}, {size[0]} x {size[1]} ids, attnlrp"
    yield compared.time(f"time with checkpointing: {about}", name, CHECKPOINTED_TIME)
    yield compared.saved(f"saved activations with checkpointing: {about}", name, CHECKPOINTED_SAVED)


def overhead(model: nn.Module, sizes: list[Shape], options: argparse.Namespace) -> Iterator[Row]:
    """Yield the time on a model so small that what a call itself takes is most of it."""
    often = argparse.Namespace(**{**vars(options), "repeats": options.repeats * (1 if options.quick else OFTEN)})
    for size in sizes:
        compared = _Compared(model, size, {name: {"rules": name} for name in options.rules}, often, memory=False)
        for name in options.rules:
            about = f"BERT, 2 layers of 64, {size[0]} x {size[1]} ids, {name}"
            yield compared.time(f"time of a tiny model: {about}", name, OVERHEAD)


class _Compared:
    """Explanations of one input, each with its own options, beside gradient x input."""

    def __init__(
        self, model: nn.Module, size: Shape, ways: dict[str, Any], options: argparse.Namespace, memory: bool = True
    ) -> None:
        batch: dict[str, Any] = inputs(model, size, options.device)
        runs: dict[str, Callable[[], Any]] = {GRADIENT: lambda: cost.gradient_x_input(model, batch)}
        for name, way in ways.items():
            runs[name] = lambda way=way: propagate(model, None, **way, **batch)
        scope = freezing(model, GRADIENT)
        self._kept, self._peaks = {}, {}
        for name, run in runs.items() if memory else ():
            with scope(name):
                self._kept[name] = cost.saved_bytes(model, run)
                self._peaks[name] = peak_memory(run, options.device)
        self._seconds = turns(runs, options.repeats, options.seconds, options.device, scope)

    def time(self, claim: str, name: str, most: float) -> Row:
        measured = median_ratio(self._seconds[name], self._seconds[GRADIENT])
        return Row(claim, GRADIENT, at_most(most), measured, against(self._seconds, name, GRADIENT))

    def saved(self, claim: str, name: str, most: float) -> Row:
        mine, theirs = self._kept[name], self._kept[GRADIENT]
        note = (
            f"{table.size(mine)} against {table.size(theirs)}; of the peak of all memory "
            f"{self._peaks[name] / self._peaks[GRADIENT]:.2f}"
        )
        return Row(claim, GRADIENT, at_most(most), exact(mine / theirs), note)


def main(line: list[str] | None = None) -> None:
    found = parser(__doc__, repeats=15, seconds=60)
    found.add_argument("--claim", nargs="+", choices=CLAIMS, default=list(CLAIMS))
    found.add_argument("--model", nargs="+", choices=NAMES, default=["bert", "modernbert"])
    found.add_argument("--shape", nargs="+", type=shape, help="documents x ids; default: those of each claim")
    found.add_argument("--rules", nargs="+", choices=TIMES, default=list(TIMES))
    options = asked(found, line)
    finish(rows(options), options)


if __name__ == "__main__":
    main()
