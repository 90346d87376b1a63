"""The price of the inside view beside a plain explanation: time, and what autograd saves with what the view keeps.

BERT-base shape, random weights, sdpa attention. Every number is a median, every ratio a median of paired ratios: within
a repeat, each candidate runs once. Run it on a machine that does nothing else:

    python tests/benchmarks/layers.py [--shape 1x128 1x512] [--repeats 7]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
import transformers
from cost import inputs, peak_memory, shape  # its neighbour

from textlrp import propagate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", nargs="+", type=shape, default=[(1, 128), (1, 512)])
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    torch.manual_seed(0)
    config = transformers.BertConfig(num_labels=2)
    model = transformers.BertForSequenceClassification._from_config(config, attn_implementation="sdpa").eval()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, BERT-base shape, attnlrp")
    for rows, length in asked.shape:
        batch = inputs(model, (rows, length), "cpu")
        plain, seen = [], []
        propagate(model, 0, layers=True, **batch)
        for _ in range(asked.repeats):
            for layers, times in ((False, plain), (True, seen)):
                start = time.perf_counter()
                propagate(model, 0, layers=layers, **batch)
                times.append(time.perf_counter() - start)
        ratio = statistics.median(b / a for a, b in zip(plain, seen, strict=True))
        peaks = [
            peak_memory(lambda layers=layers, batch=batch: propagate(model, 0, layers=layers, **batch), "cpu")
            for layers in (False, True)
        ]
        print(
            f"{rows} x {length}: plain {statistics.median(plain):.3f} s, layers {statistics.median(seen):.3f} s, "
            f"time x {ratio:.2f}, peak memory {peaks[0] / 2**20:.0f} and {peaks[1] / 2**20:.0f} MiB, "
            f"x {peaks[1] / peaks[0]:.2f}"
        )


if __name__ == "__main__":
    main()
