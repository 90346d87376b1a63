"""The price of an explanation beside gradient x input, on models of the usual size with random weights.

Every number is a median of paired ratios: within a repeat, each candidate runs once. Run it on a machine that does
nothing else:

    python tests/benchmarks/cost.py [--model bert modernbert llama] [--shape 1x128 8x128 1x512] [--repeats 15]
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import re
from collections.abc import Callable
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler reports its start and stop on stderr

import torch
import transformers
from claims import frozen  # its neighbor
from rich.console import Console
from torch import nn
from torch.profiler import ProfilerActivity, profile

from textlrp.check import cost, table
from textlrp.lrp.propagation import propagate
from textlrp.rules import PRESETS

Shape = tuple[int, int]

MODELS = {
    "bert": (transformers.BertConfig, transformers.BertForSequenceClassification, {}),
    "modernbert": (transformers.ModernBertConfig, transformers.ModernBertForSequenceClassification, {}),
    # The sizes of BERT-base, with the width of the feed-forward layers that gives as many parameters.
    "llama": (
        transformers.LlamaConfig,
        transformers.LlamaForSequenceClassification,
        {
            "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 2048,
            "pad_token_id": 0,
        },
    ),
}  # fmt: skip
QUICK = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}


def build(name: str, quick: bool = False) -> nn.Module:
    """Return a classifier with random weights, in evaluation mode, that attends with torch's fused kernel."""
    config, model, settings = MODELS[name]
    torch.manual_seed(0)
    # Positions for the longest shape; everything else is the default of the architecture's base model.
    sizes = {**settings, **(QUICK if quick else {}), "num_labels": 2}
    return model._from_config(config(**sizes), attn_implementation="sdpa").eval()


def inputs(model: nn.Module, shape: Shape, device: str) -> dict[str, torch.Tensor]:
    """Return random ids without padding, and their mask."""
    ids = torch.randint(1000, model.config.vocab_size - 1000, shape, generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids.to(device), "attention_mask": torch.ones_like(ids).to(device)}


def peak_memory(run: Callable[[], Any], device: str) -> int:
    """Return how many bytes a call holds at most beyond what was there before, temporary results included."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    events = (event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]")
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def peaks(model: nn.Module, batch: dict[str, torch.Tensor], rules: list[str], device: str) -> str:
    """Return the peaks of memory in one line, with their ratios to gradient x input."""
    with frozen(model):
        found = {cost.GRADIENT: peak_memory(lambda: cost.gradient_x_input(model, batch), device)}
    for name in rules:
        found[name] = peak_memory(lambda name=name: propagate(model, None, name, **batch), device)
    shares = (f"{name} {table.size(peak)} ({peak / found[cost.GRADIENT]:.2f})" for name, peak in found.items())
    return "peak memory, temporary results included: " + ", ".join(shares)


def to_forward(measured: cost.Cost) -> str:
    """Return the ratios of time to the forward pass in one line, with their quartiles."""
    runs = (run for run in measured.runs if run.name != cost.FORWARD)
    ratios = (f"{r.name} {r.to_forward.median:.2f} ({r.to_forward.low:.2f} to {r.to_forward.high:.2f})" for r in runs)
    return "time, ratio to the forward pass: " + ", ".join(ratios)


def shape(written: str) -> Shape:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", written)
    if match is None:
        raise argparse.ArgumentTypeError(f"{written!r} is no shape: write documents x ids, such as 8x128")
    return int(match[1]), int(match[2])


def arguments(line: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=MODELS, default=["bert"])
    parser.add_argument("--shape", nargs="+", type=shape, help="documents x ids; default: 1x128 8x128 1x512")
    parser.add_argument("--rules", nargs="+", choices=PRESETS, default=["attnlrp", "cp-lrp", "difference"])
    parser.add_argument("--repeats", type=int, help="default: 15")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="small models and shapes, to see that it runs")
    options = parser.parse_args(line)
    options.shape = options.shape or ([(1, 8), (2, 8)] if options.quick else [(1, 128), (8, 128), (1, 512)])
    options.repeats = options.repeats or (2 if options.quick else 15)
    return options


def main(line: list[str] | None = None) -> None:
    options = arguments(line)
    console = Console(highlight=False, soft_wrap=True)
    device = torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else platform.machine()
    console.print(
        f"torch {torch.__version__}, transformers {transformers.__version__}, {device}, "
        f"{torch.get_num_threads()} threads of {os.cpu_count()} processors; "
        f"activations: kept for the backward pass, parameters not counted"
    )
    for name in options.model:
        model = build(name, options.quick).to(options.device)
        config = model.config
        for size in options.shape:
            batch = inputs(model, size, options.device)
            measured = cost.measure(model, batch, options.rules, options.repeats)
            console.print(f"\n{name}: {config.num_hidden_layers} layers of {config.hidden_size}, sdpa attention")
            for row in table.cost_lines(measured):
                console.print(row)
            console.print(to_forward(measured))
            console.print(peaks(model, batch, options.rules, options.device))


if __name__ == "__main__":
    main()
