"""How many times as fast an explanation is as what others would take, on the same model and the same text.

- Integrated gradients of 50 steps by captum, on the word embeddings.
- Leave one out: a forward pass for each id, which is masked in it.
- The AttnLRP authors' package, lxt, in a process of its own, since it patches the classes of transformers for good. The
  two take turns all the same. lxt 2.1 needs an older transformers than textlrp, so it has an environment of its own:

    python -m venv lxt
    lxt/bin/pip install torch==2.13.0 transformers==4.52.4
    lxt/bin/pip install --no-deps lxt==2.1

Passes of several rows go in batches of the size that is fastest for each, found in a trial before. Our side is one call
of ``textlrp.propagate``, ledger included. Run it on a machine that does nothing else:

    python tests/benchmarks/peers.py [--peer integrated-gradients leave-one-out lxt] [--lxt lxt/bin/python]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from claims import Row, against, asked, at_least, finish, frozen, median_ratio, parser, turns  # its neighbors
from cost import MODELS, QUICK, build, inputs, shape
from torch import Tensor, nn

from textlrp.check.cost import timed
from textlrp.lrp.propagation import propagate

OURS, STEPS = "an explanation", 50
FASTER = {"integrated-gradients": 30.0, "leave-one-out": 40.0, "lxt": 1.0}
PEERS = {
    "integrated-gradients": f"integrated gradients, {STEPS} steps",
    "leave-one-out": "a forward pass for each id",
    "lxt": "lxt, the authors' package",
}
NAMES = {"bert": "BERT-base", "llama": "Llama, 12 layers of 768"}
BATCHES = (1, 2, 4, 8, 16, 32)

Batch = dict[str, Any]


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield how many times as fast an explanation is."""
    for peer in options.peer:
        if peer == "lxt":
            for name in options.model:
                yield lxt(name, options)
        else:
            yield (integrated_gradients if peer == "integrated-gradients" else leave_one_out)(options)


def integrated_gradients(options: argparse.Namespace) -> Row:
    """Compare with captum's integrated gradients from the padding token's embedding."""
    row = _row("integrated-gradients", "bert", options)
    if importlib.util.find_spec("captum") is None:
        return row('captum is not installed: pip install "textlrp[captum]"')
    from captum.attr import LayerIntegratedGradients

    model, batch = _model("bert", options)
    target = int(model(**batch).logits.argmax())
    method = LayerIntegratedGradients(
        lambda ids, mask: model(input_ids=ids, attention_mask=mask).logits, model.get_input_embeddings()
    )

    def run(steps: int, size: int) -> None:
        method.attribute(
            batch["input_ids"],
            baselines=torch.zeros_like(batch["input_ids"]),
            target=target,
            additional_forward_args=(batch["attention_mask"],),
            n_steps=steps,
            internal_batch_size=size,
        )

    steps = 4 if options.quick else STEPS
    with frozen(model):
        size = fastest(lambda size: run(size, size), steps)
    note = f"{steps} steps by captum {importlib.metadata.version('captum')}, {size} at once"
    return _compare(row, model, batch, lambda: run(steps, size), note, options)


def leave_one_out(options: argparse.Namespace) -> Row:
    """Compare with a forward pass for each id of a text, masked one by one."""
    model, batch = _model("bert", options)
    count = batch["input_ids"].shape[1]
    mask = 103  # of bert-base-uncased: any id takes as long

    def run(passes: int, size: int) -> Tensor:
        without = batch["input_ids"].repeat(passes, 1)
        without.fill_diagonal_(mask)
        with torch.no_grad():
            whole = model(**batch).logits
            parts = [
                model(input_ids=part, attention_mask=batch["attention_mask"].expand_as(part)).logits
                for part in without.split(size)
            ]
        return (whole - torch.cat(parts))[:, whole.argmax()]

    with frozen(model):
        size = fastest(lambda size: run(size, size), count)
    note = f"{count} forward passes, {size} at once"
    return _compare(_row("leave-one-out", "bert", options), model, batch, lambda: run(count, size), note, options)


def lxt(name: str, options: argparse.Namespace) -> Row:
    """Compare with the authors' package."""
    row = _row("lxt", name, options)
    model, batch = _model(name, options)
    with tempfile.TemporaryDirectory() as folder:
        _write(name, model, batch, Path(folder), options.quick)
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        command = [options.lxt, str(Path(__file__).with_name("peer_lxt.py")), folder]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        try:
            process = subprocess.Popen(command, env=environment, text=True, **pipes)
        except OSError as error:
            return row(f"the Python that --lxt names cannot be started: {error.strerror}")
        asks, answers = process.stdin, process.stdout
        assert asks is not None
        assert answers is not None
        with process:
            first = json.loads(answers.readline() or '{"error": "it ended at once"}')
            if "error" in first:
                return row(
                    f"lxt does not run in this environment ({first['error']}): its documentation in peers.py says how "
                    f"to make one, and --lxt names its Python"
                )

            def run() -> None:
                asks.write("\n")
                asks.flush()
                if not answers.readline():
                    raise RuntimeError("the process that runs lxt ended")

            versions = ", ".join(f"{package} {version}" for package, version in first["versions"].items())
            note = f"{versions}; {_difference(model, batch, first)}"
            return _compare(row, model, batch, run, note, options)


def _write(name: str, model: nn.Module, batch: Batch, folder: Path, quick: bool) -> None:
    """Write a model and its input where another process, with another transformers, finds them."""
    config, kind, settings = MODELS[name]
    made = {
        "type": name,
        "config": config.__name__,
        "model": kind.__name__,
        "settings": {**settings, **(QUICK if quick else {}), "num_labels": 2},
    }
    (folder / "model.json").write_text(json.dumps(made), encoding="utf-8")
    torch.save({"weights": model.state_dict(), "inputs": batch}, folder / "model.pt")


def _difference(model: nn.Module, batch: Batch, theirs: dict[str, Any]) -> str:
    """Say how far its numbers are from ours, relative to the largest of them."""
    ours = propagate(model, None, **batch)
    parts = []
    for what, mine in (("logits", ours.logits), ("relevance", ours.relevance)):
        apart = (mine - torch.tensor(theirs[what])).abs().max() / mine.abs().max()
        parts.append(f"{what} within {float(apart):.1g}")
    return ", ".join(parts)


# -- what they share -----------------------------------------------------------------------------------------------


def fastest(run: Callable[[int], object], most: int) -> int:
    """Return the number of rows at once that takes the least time a row."""
    sizes = [size for size in BATCHES if size <= most]
    for size in sizes:
        run(size)  # not timed: the first call of a shape is slower
    return min(sizes, key=lambda size: timed(lambda: run(size)) / size)


def _model(name: str, options: argparse.Namespace) -> tuple[Any, Batch]:
    model = build(name, options.quick)
    return model, inputs(model, options.shape, "cpu")


def _row(peer: str, name: str, options: argparse.Namespace) -> Callable[..., Row]:
    """Return what makes the row of a peer out of a note and of what was measured."""
    title = f"small {name}" if options.quick else NAMES[name]
    claim = f"times as fast as others, attnlrp: {title}, {options.shape[0]} x {options.shape[1]} ids"
    return lambda note, measured=None: Row(claim, PEERS[peer], at_least(FASTER[peer]), measured, note)


def _compare(
    row: Callable[..., Row],
    model: nn.Module,
    batch: Batch,
    peer: Callable[[], object],
    note: str,
    options: argparse.Namespace,
) -> Row:
    called = {OURS: lambda: propagate(model, None, **batch), "peer": peer}

    # An explanation takes a frozen copy for itself, which is a part of what it costs.
    def scope(name: str) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext() if name == OURS else frozen(model)

    seconds = turns(called, options.repeats, options.seconds, scope=scope)
    return row(f"{against(seconds, OURS, 'peer')}; {note}", median_ratio(seconds["peer"], seconds[OURS]))


def main(line: Sequence[str] | None = None) -> None:
    found = parser(__doc__, repeats=15, seconds=60, device=False)
    found.add_argument("--peer", nargs="+", choices=FASTER, default=list(FASTER))
    found.add_argument("--model", nargs="+", choices=NAMES, default=list(NAMES), help="for lxt; the others read bert")
    found.add_argument("--shape", type=shape, help="1 x ids; default: 1x128")
    found.add_argument("--lxt", default=sys.executable, metavar="PYTHON", help="of an environment that has lxt")
    options = asked(found, line)
    options.shape = options.shape or ((1, 8) if options.quick else (1, 128))
    finish(rows(options), options)


if __name__ == "__main__":
    main()
