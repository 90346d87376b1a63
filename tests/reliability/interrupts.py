"""Interrupts at the lines of textlrp that an explanation runs, and at random lines of torch and the model.

Each try raises KeyboardInterrupt at one line, by ``sys.settrace``, as Ctrl-C would. Afterwards the interrupt must have
reached the caller, the model, the thread and the process must be what they were, and the next explanation must be equal
to the first. The first and the last visit of each line of textlrp are tried, and ``--random`` lines of others.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import torch
import transformers
from torch import nn

import textlrp

OURS = str(Path(textlrp.__file__).parent)
Place = tuple[str, int]


def models() -> dict[str, nn.Module]:
    """Return small classifiers: an encoder, a decoder, and one that draws random numbers and seeds numpy."""
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    llama = transformers.LlamaConfig(**small, vocab_size=64, num_key_value_heads=1, pad_token_id=0, num_labels=3)
    return {
        "bert": transformers.BertForSequenceClassification(transformers.BertConfig(**small, vocab_size=64)),
        "llama": transformers.LlamaForSequenceClassification(llama),
        "draws": Draws(),
    }


class Draws(nn.Module):
    """A classifier that draws, seeds and rewrites a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.act, self.head = nn.Embedding(64, 8), nn.GELU(), nn.Linear(8, 3)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        numpy.random.seed(3)
        torch.manual_seed(3)
        random.seed(3)
        self.seen += 1
        x = self.table(input_ids)
        return self.head(self.act(x + torch.rand(x.shape) + float(numpy.random.rand()) + random.random()).mean(1))


def state_of(model: nn.Module) -> dict[str, Any]:
    """Return all that an interrupt could leave changed, as values that can be compared."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "values": {name: value.clone() for name, value in tensors.items()},
        "identities": {name: id(value) for name, value in tensors.items()},
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "attributes": [
            {key: list(value) if isinstance(value, (dict, list)) else id(value) for key, value in vars(module).items()}
            for module in model.modules()
        ],
        "config": dict(vars(model.config)) if hasattr(model, "config") else None,
        "apply": torch.autograd.Function.__dict__["apply"],
        "functions": (random.random, random.seed, numpy.random.seed, torch.manual_seed, torch.get_rng_state),
        "chance": (
            torch.default_generator.get_state().tolist(),
            random.getstate(),
            numpy.random.rand.__self__.get_state()[1].tolist(),
        ),
        "modes": torch.overrides._get_current_function_mode_stack(),
        "functions seen": torch._C._is_torch_function_enabled(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
        "functorch": torch._C._functorch.get_dynamic_layer_stack_depth(),
        "filters": warnings.filters,
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Name what is not what it was."""
    values = before["values"], after["values"]
    changed = [name for name in values[0] if not torch.equal(values[0][name], values[1][name])]
    rest = [key for key in before if key != "values" and before[key] != after[key]]
    return changed + rest


def lines(run: Callable[[], Any]) -> dict[Place, int]:
    """Return how often a call visits each line."""
    visits: dict[Place, int] = {}

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if event == "line":
            place = frame.f_code.co_filename, frame.f_lineno
            visits[place] = visits.get(place, 0) + 1
        return trace

    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(None)
    return visits


def interrupted(run: Callable[[], Any], place: Place, visit: int) -> bool | None:
    """Run with an interrupt at one visit of a line: whether it reached the caller, or None where it was not reached."""
    left = visit
    fired = False

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal left, fired
        if event == "line" and not fired and (frame.f_code.co_filename, frame.f_lineno) == place:
            left -= 1
            if not left:
                fired = True
                raise KeyboardInterrupt
        return trace

    def only(frame: Any, event: str, argument: Any) -> Any:
        return trace if frame.f_code.co_filename == place[0] else None

    sys.settrace(only)
    try:
        run()
    except KeyboardInterrupt:
        return True
    except Exception as error:
        raise RuntimeError(f"{type(error).__name__} in place of the interrupt: {error}") from error
    finally:
        sys.settrace(None)
    return False if fired else None


def attempts(visits: dict[Place, int], others: int, chance: random.Random) -> Iterator[tuple[Place, int]]:
    """Yield the first and the last visit of each line of ours, and random visits of other lines."""
    ours = {place: count for place, count in visits.items() if place[0].startswith(OURS)}
    for place, count in ours.items():
        yield place, 1
        if count > 1:
            yield place, count
    theirs = [place for place in visits if place not in ours and not place[0].startswith("<")]
    theirs = [place for place in theirs if Path(place[0]) != Path(__file__)]
    for place in chance.sample(theirs, min(others, len(theirs))):
        yield place, chance.randint(1, visits[place])


def attack(name: str, model: nn.Module, options: argparse.Namespace, chance: random.Random) -> tuple[int, list[str]]:
    """Interrupt explanations of a model; return how many tries there were, and what they left."""
    ids = torch.tensor([[5, 6, 7, 8, 9, 3], [9, 8, 7, 6, 5, 4]])
    rules = textlrp.Rules(overrides={"*": textlrp.Rules()}) if options.overrides else "attnlrp"

    def run() -> Any:
        return textlrp.propagate(model, None, rules, layers=options.layers, input_ids=ids)

    run()
    expected = run().relevance
    before = state_of(model)
    tries, faults, shown = 0, [], 0
    listed = list(attempts(lines(run), options.random, chance))
    if options.count:
        listed = chance.sample(listed, min(options.count, len(listed)))
    for place, visit in listed:
        where = f"{name}: {Path(place[0]).name}:{place[1]}, visit {visit}"
        try:
            reached = interrupted(run, place, visit)
        except RuntimeError as error:
            faults.append(f"{where}: {error}")
            reached = True
        if reached is None:
            continue
        tries += 1
        if not reached:
            faults.append(f"{where}: swallowed")
        left = differences(before, state_of(model))
        if left:
            faults.append(f"{where}: left {', '.join(left)}")
            before = state_of(model)
        try:
            if not torch.equal(run().relevance, expected):
                faults.append(f"{where}: the next explanation differs")
        except Exception as error:
            faults.append(f"{where}: the next explanation fails: {type(error).__name__}: {error}")
        for fault in faults[shown:]:
            print(fault, flush=True)
        shown = len(faults)
    said = in_another_thread(run, expected)
    if said:
        faults.append(f"{name}: {said}")
        print(faults[-1])
    return tries, faults


def in_another_thread(run: Callable[[], Any], expected: torch.Tensor) -> str:
    """Explain in another thread, for which no lock may be held; return what is wrong, or nothing."""
    done: list[Any] = []

    def explain() -> None:
        try:
            done.append(run().relevance)
        except Exception as error:
            done.append(error)

    other = threading.Thread(target=explain, daemon=True)
    other.start()
    other.join(300)
    if not done:
        return "another thread waits forever"
    if isinstance(done[0], Exception):
        return f"another thread fails: {type(done[0]).__name__}: {done[0]}"
    return "" if torch.equal(done[0], expected) else "another thread gets other numbers"


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=("bert", "llama", "draws"), action="append", help="default: all")
    parser.add_argument("--count", type=int, default=0, help="how many tries for each model; default: all lines")
    parser.add_argument("--random", type=int, default=300, help="how many lines of torch and the model")
    parser.add_argument("--layers", action="store_true", help="look between the layers, too")
    parser.add_argument("--overrides", action="store_true", help="with rules of modules")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(given)
    total, faults = 0, []
    for name, model in models().items():
        if options.model and name not in options.model:
            continue
        tries, found = attack(name, model, options, random.Random(options.seed))
        total += tries
        faults += found
    print(f"interrupts: {total} tries, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
