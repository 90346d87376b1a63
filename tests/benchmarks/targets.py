"""The price of several targets: one pass for many of them, a pass for each, and an explanation for each.

Models have the usual shapes, random weights and torch's fused attention. Every number is a median, every ratio a median
of paired ratios: within a repeat, each candidate runs once. Run it on a machine that does nothing else:

    python tests/benchmarks/targets.py [--model tiny base] [--shape 1x16 1x32 1x128] [--targets 28] [--repeats 7]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
import transformers
from cost import inputs, peak_memory, shape  # its neighbour
from rich.console import Console
from torch import nn

from textlrp import propagation, tables

MODELS = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128},
    "base": {"hidden_size": 768, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 3072},
}


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
        with mock.patch.object(propagation, "_AT_ONCE", rows):
            return propagation.propagate_targets(model, range(targets), **batch)

    def several(rows: int) -> str:
        passes = -(-targets // max(1, rows // batch["input_ids"].numel()))
        return f"one forward, {passes} backward: {rows:,} ids at once"

    return {
        "one forward, a backward for each": lambda: together(1),
        **{several(rows): lambda rows=rows: together(rows) for rows in at_once},
        "an explanation for each": lambda: [propagation.propagate(model, i, **batch) for i in range(targets)],
        "one target alone": lambda: propagation.propagate(model, 0, **batch),
    }


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def arguments(line: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=MODELS, default=["tiny", "base"])
    parser.add_argument("--shape", nargs="+", type=shape, help="documents x ids; default: 1x16 1x32 1x128")
    parser.add_argument("--targets", type=int, default=28)
    parser.add_argument("--at-once", nargs="+", type=int, default=[propagation._AT_ONCE], help="ids x targets")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(line)
    options.shape = options.shape or [(1, 16), (1, 32), (1, 128)]
    return options


def main(line: list[str] | None = None) -> None:
    options = arguments(line)
    torch.set_num_threads(options.threads)
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
            times = [[seconds(run) for run in runs.values()] for _ in range(options.repeats)]
            console.print(f"\n{name}: {MODELS[name]['num_hidden_layers']} layers of {MODELS[name]['hidden_size']}, "
                          f"{size[0]} x {size[1]} ids")  # fmt: skip
            console.print(f"  {'':48}    ms   ratio     peak memory")
            for i, (label, peak) in enumerate(zip(runs, peaks, strict=True)):
                middle = statistics.median(row[i] for row in times)
                ratio = statistics.median(row[i] / row[0] for row in times)
                console.print(f"  {label:48}{middle * 1e3:6.0f}{ratio:8.2f}{tables.size(peak):>16}")


if __name__ == "__main__":
    main()
