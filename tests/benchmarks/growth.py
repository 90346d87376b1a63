"""How time and memory grow with a text, from 128 to 8,192 ids: the price of an explanation must not.

Each text is twice as long as the one before. At each length an explanation (``textlrp.propagate``, ledger included) is
set against the forward pass without a graph, in time and in the peak of memory, and against gradient x input in the
latter. What is claimed is that these ratios do not grow: the ratio at the longest text, over the smallest at any (where
texts are short, what a call itself takes is a part of the ratio). All the ratios are in the note.

The model is ModernBERT-base in width, with random weights. Only 4 of its 22 layers are there, one of them global, so
that the long texts take seconds. Run it on a machine that does nothing else:

    python tests/benchmarks/growth.py [--length 128 256 512 1024 2048 4096 8192] [--layers 4]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence

import torch
import transformers
from claims import (  # its neighbors
    Measured,
    Row,
    against,
    asked,
    at_most,
    exact,
    finish,
    freezing,
    growth,
    parser,
    turns,
)
from cost import QUICK, inputs, peak_memory
from torch import nn

from textlrp.check import cost, table
from textlrp.check.cost import FORWARD, GRADIENT
from textlrp.lrp.propagation import propagate

EXPLANATION = "explanation"
SAME = 1.25  # a ratio that grows by so much or less counts as constant


def build(layers: int, quick: bool = False) -> nn.Module:
    """Return a ModernBERT of few layers, one in four of them global, in evaluation mode."""
    torch.manual_seed(0)
    sizes = {**(QUICK if quick else {}), "num_hidden_layers": layers, "global_attn_every_n_layers": 4, "num_labels": 2}
    config = transformers.ModernBertConfig(**sizes)
    model = transformers.ModernBertForSequenceClassification._from_config(config, attn_implementation="sdpa")
    return model.eval()


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield how the ratios of time and of memory change from the shortest text to the longest."""
    model = build(options.layers, options.quick).to(options.device)
    times: list[list[float]] = []
    peaks: list[dict[str, int]] = []
    seconds: dict[str, list[float]] = {}
    for length in options.length:
        batch = inputs(model, (1, length), options.device)
        runs = {
            EXPLANATION: lambda batch=batch: propagate(model, None, **batch),
            FORWARD: lambda batch=batch: cost.forward(model, batch),
            GRADIENT: lambda batch=batch: cost.gradient_x_input(model, batch),
        }
        scope = freezing(model, FORWARD, GRADIENT)
        found = {}
        for name, run in runs.items():
            with scope(name):
                found[name] = peak_memory(run, options.device)
        peaks.append(found)
        del runs[GRADIENT]
        seconds = turns(runs, options.repeats, options.seconds, options.device, scope)
        times.append([mine / theirs for mine, theirs in zip(seconds[EXPLANATION], seconds[FORWARD], strict=True)])
    middles = [statistics.median(ratios) for ratios in times]
    measured = growth(times[-1], times[middles.index(min(middles))])
    yield _row("time", options, FORWARD, measured, middles, against(seconds, EXPLANATION, FORWARD))
    for other in (FORWARD, GRADIENT):
        ratios = [found[EXPLANATION] / found[other] for found in peaks]
        last = f"{table.size(peaks[-1][EXPLANATION])} against {table.size(peaks[-1][other])}"
        yield _row("peak memory", options, other, exact(ratios[-1] / min(ratios)), ratios, last)


def _row(
    what: str, options: argparse.Namespace, other: str, measured: Measured, ratios: Sequence[float], last: str
) -> Row:
    about = f"ModernBERT, {options.layers} layers of {QUICK['hidden_size'] if options.quick else 768}"
    claim = f"growth of the ratio of {what}: {about}, {options.length[0]:,} to {options.length[-1]:,} ids"
    listed = ", ".join(f"{length:,} ids {ratio:.2f}" for length, ratio in zip(options.length, ratios, strict=True))
    return Row(claim, other, at_most(SAME), measured, f"{listed} ({last})")


def main(line: list[str] | None = None) -> None:
    found = parser(__doc__, repeats=15, seconds=45)
    found.add_argument("--length", nargs="+", type=int, help="ids; default: 128, doubled up to 8192")
    found.add_argument("--layers", type=int, default=4)
    options = asked(found, line)
    options.length = options.length or ([16, 32] if options.quick else [128 * 2**i for i in range(7)])
    finish(rows(options), options)


if __name__ == "__main__":
    main()
