"""The price of several targets: one pass for many of them, a pass for each, and an explanation for each.

Models have the usual shapes, random weights and torch's fused attention. Every number is a median, every ratio a median
of paired ratios: within a repeat, each candidate runs once. With ``--claims``, only what is claimed is measured: all
targets of one document in one call, against an explanation for each. Run it on a machine that does nothing else:

    python tests/benchmarks/targets.py [--claims] [--model tiny base] [--shape 1x16 1x32 1x128] [--targets 28]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
import transformers
from claims import Row, against, asked, at_most, finish, median_ratio, parser, turns  # its neighbors
from cost import inputs, peak_memory, shape
from rich.console import Console
from torch import nn

from textlrp.check import table
from textlrp.check.cost import timed
from textlrp.lrp import attempt, propagation

MODELS = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128},
    "base": {"hidden_size": 768, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 3072},
}

SINGLY, TOGETHER = "an explanation for each", "one call"
SEVERAL = 0.55


def build(name: str, labels: int) -> nn.Module:
    """Return a BERT with random weights, in evaluation mode."""
    torch.manual_seed(0)
    config = transformers.BertConfig(**MODELS[name], num_labels=labels)
    model = transformers.BertForSequenceClassification._from_config(config, attn_implementation="sdpa")
    return model.eval()


def candidates(
    model: nn.Module, batch: dict[str, torch.Tensor], targets: int, at_once: list[int]
) -> dict[str, Callable[[], Any]]:
    """Return what is compared, the yardstick first."""

    def together(rows: int) -> Any:
        with mock.patch.object(attempt, "_AT_ONCE", rows):
            return propagation.propagate_targets(model, range(targets), **batch)

    def several(rows: int) -> str:
        passes = -(-targets // max(1, rows // batch["input_ids"].numel()))
        return f"one forward, {passes} backward: {rows:,} ids at once"

    return {
        "one forward, a backward for each": lambda: together(1),
        **{several(rows): lambda rows=rows: together(rows) for rows in at_once},
        SINGLY: claimed(model, batch, targets)[SINGLY],
        "one target alone": lambda: propagation.propagate(model, 0, **batch),
    }


def claimed(model: nn.Module, batch: dict[str, Any], targets: int) -> dict[str, Callable[[], Any]]:
    """Return what the claim is about: one call as it comes, and an explanation for each."""
    return {
        TOGETHER: lambda: propagation.propagate_targets(model, range(targets), **batch),
        SINGLY: lambda: [propagation.propagate(model, i, **batch) for i in range(targets)],
    }


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the time of all targets in one call, against an explanation for each."""
    for name in options.model:
        model = build(name, options.targets).to(options.device)
        about = f"BERT, {MODELS[name]['num_hidden_layers']} layers of {MODELS[name]['hidden_size']}"
        for size in options.shape:
            batch = inputs(model, size, options.device)
            called = claimed(model, batch, options.targets)
            seconds = turns(called, options.repeats, options.seconds, options.device)
            claim = f"time of {options.targets} labels in one call: {about}, {size[0]} x {size[1]} ids"
            measured = median_ratio(seconds[TOGETHER], seconds[SINGLY])
            yield Row(claim, SINGLY, at_most(SEVERAL), measured, against(seconds, TOGETHER, SINGLY))


def arguments(line: list[str] | None) -> argparse.Namespace:
    found = parser(__doc__, repeats=7, seconds=60)
    found.add_argument("--claims", action="store_true", help="measure what is claimed, and nothing else")
    found.add_argument("--model", nargs="+", choices=MODELS, help="default: tiny base; with --claims, base")
    found.add_argument("--shape", nargs="+", type=shape, help="documents x ids; default: 1x16 1x32 1x128")
    found.add_argument("--targets", type=int, help="default: 28")
    found.add_argument("--at-once", nargs="+", type=int, default=[attempt._AT_ONCE], help="ids x targets")
    found.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = asked(found, line)
    options.model = options.model or (["tiny"] if options.quick else ["base"] if options.claims else ["tiny", "base"])
    several = [(1, 32), (1, 128)] if options.claims else [(1, 16), (1, 32), (1, 128)]
    options.shape = options.shape or ([(1, 8)] if options.quick else several)
    options.targets = options.targets or (3 if options.quick else 28)
    return options


def main(line: list[str] | None = None) -> None:
    options = arguments(line)
    torch.set_num_threads(options.threads)
    if options.claims:
        finish(rows(options), options)
        return
    console = Console(highlight=False, soft_wrap=True)
    device = torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else platform.machine()
    console.print(
        f"torch {torch.__version__}, transformers {transformers.__version__}, {device}, "
        f"{torch.get_num_threads()} threads of {os.cpu_count()} processors; {options.targets} targets"
    )
    for name in options.model:
        model = build(name, options.targets).to(options.device)
        for size in options.shape:
            batch = inputs(model, size, options.device)
            runs = candidates(model, batch, options.targets, options.at_once)
            peaks = [peak_memory(run, options.device) for run in runs.values()]  # and the first call, which is slower
            times = [[timed(run, options.device) for run in runs.values()] for _ in range(options.repeats)]
            console.print(f"\n{name}: {MODELS[name]['num_hidden_layers']} layers of {MODELS[name]['hidden_size']}, "
                          f"{size[0]} x {size[1]} ids")  # fmt: skip
            console.print(f"  {'':48}    ms   ratio     peak memory")
            for i, (label, peak) in enumerate(zip(runs, peaks, strict=True)):
                middle = statistics.median(row[i] for row in times)
                ratio = statistics.median(row[i] / row[0] for row in times)
                console.print(f"  {label:48}{middle * 1e3:6.0f}{ratio:8.2f}{table.size(peak):>16}")


if __name__ == "__main__":
    main()
