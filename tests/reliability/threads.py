"""Threads that explain, train, switch modes and draw at the same time, on models that share an encoder.

Every explanation must be the one that it is alone, or an error that says that the weights were changed; every step of
training must have all its gradients; and the numbers that other threads draw must be those that they draw alone.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy
import torch
import transformers
from torch import nn

import textlrp
from textlrp.errors import ModelError

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64}


class Classifier(nn.Module):
    """A head on an encoder that others use as well."""

    def __init__(self, encoder: nn.Module, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder, self.dropout, self.head = encoder, nn.Dropout(0.5), nn.Linear(16, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        states = self.encoder(input_ids, attention_mask=attention_mask).last_hidden_state
        return self.head(self.dropout(states[:, 0]))


def together(*functions: Callable[[], Any], seconds: float = 300.0) -> list[Any]:
    """Call functions at once, each in a thread; return what each returns or raises."""
    results: list[Any] = [TimeoutError("a thread did not end")] * len(functions)

    def call(i: int) -> None:
        try:
            results[i] = functions[i]()
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=call, args=(i,), daemon=True) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    return results


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return transformers.BertModel(transformers.BertConfig(**SMALL), add_pooling_layer=False)


def shared_encoder(count: int, chance: random.Random) -> tuple[str, list[str]]:
    """Explain two classifiers on one encoder while threads switch its modes and take gradients of it."""
    shared = encoder()
    first, second, third = (Classifier(shared, seed) for seed in range(3))
    batches = [torch.tensor([[chance.randrange(1, 64) for _ in range(length)]]) for length in (5, 9, 14)]
    expected = {
        (i, b): textlrp.propagate(model, 0, input_ids=ids).relevance
        for i, model in enumerate((first, second))
        for b, ids in enumerate(batches)
    }
    over = threading.Event()
    faults: list[str] = []

    def explain(i: int) -> int:
        for n in range(count):
            b = n % len(batches)
            found = textlrp.propagate((first, second)[i], 0, input_ids=batches[b]).relevance
            if not torch.equal(found, expected[i, b]):
                faults.append(
                    f"explanation {n} of classifier {i} is wrong by {(found - expected[i, b]).abs().max():.1e}"
                )
        return count

    def switch() -> int:
        switched = 0
        while not over.is_set():
            (first, second, shared)[switched % 3].train(switched % 2 == 0)
            switched += 1
        return switched

    def train() -> int:
        steps = 0
        while not over.is_set():
            third.zero_grad()
            third(batches[steps % 3]).square().sum().backward()
            missing = [name for name, p in third.named_parameters() if p.grad is None]
            if missing:
                faults.append(f"step {steps} of training lost the gradients of {len(missing)} parameters")
            steps += 1
        return steps

    def explainers() -> int:
        try:
            done = together(*(lambda i=i % 2: explain(i) for i in range(4)))
        finally:
            over.set()
        faults.extend(f"{type(each).__name__}: {each}" for each in done if isinstance(each, BaseException))
        return sum(each for each in done if isinstance(each, int))

    explained, switched, steps = together(explainers, switch, train)
    faults.extend(
        f"{type(each).__name__}: {each}" for each in (explained, switched, steps) if not isinstance(each, int)
    )
    return f"{explained} explanations on a shared encoder beside {switched} switches and {steps} steps", faults


def written_weights(count: int, chance: random.Random) -> tuple[str, list[str]]:
    """Explain a model while a thread writes its weights; each explanation is right for some weights, or an error."""
    model = Classifier(encoder(), 0).eval()
    ids = torch.tensor([[5, 9, 7, 3, 2, 11, 40]])
    weight, faults, refused, over = model.head.weight, [], 0, threading.Event()
    kept = weight.detach().clone()
    allowed = []
    for factor in (1.0, 2.0):
        with torch.no_grad():
            weight.copy_(kept * factor)
        allowed.append(textlrp.propagate(model, 0, input_ids=ids).relevance)

    def write() -> None:
        turn = 0
        while not over.wait(chance.random() / 20):
            turn += 1
            with torch.no_grad():
                weight.copy_(kept * (1.0 + turn % 2))

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    for n in range(count):
        try:
            found = textlrp.propagate(model, 0, input_ids=ids).relevance
        except (ModelError, RuntimeError) as error:
            refused += 1
            if not isinstance(error, ModelError):
                faults.append(f"a raw {type(error).__name__}: {error}")
            continue
        if not any(torch.equal(found, each) for each in allowed):
            faults.append(f"explanation {n} is of no weights that the model ever had")
    over.set()
    writer.join(10)
    return f"{count} explanations of weights that change, {refused} refused", faults


def drawing(count: int) -> tuple[str, list[str]]:
    """Draw in one thread while others explain; the numbers are those of a thread that draws alone."""

    def draw() -> list[float]:
        found = []
        for _ in range(count):
            found.append(float(torch.rand(())))
            found.append(float(numpy.random.rand()))
            found.append(random.random())
        return found

    def seed() -> None:
        torch.manual_seed(11)
        numpy.random.seed(11)
        random.seed(11)

    model = Seeds()
    ids = torch.tensor([[5, 9, 7, 3]])
    expected = textlrp.propagate(model, 0, input_ids=ids).relevance
    seed()
    alone = draw()
    faults: list[str] = []
    over = threading.Event()

    def explain() -> int:
        done = 0
        while not over.is_set():
            if not torch.equal(textlrp.propagate(model, 0, input_ids=ids).relevance, expected):
                faults.append("an explanation of a model that draws differs from the one before")
            done += 1
        return done

    def draws() -> list[float]:
        try:
            return draw()
        finally:
            over.set()

    seed()
    drawn, *done = together(draws, explain, explain)
    if isinstance(drawn, BaseException):
        faults.append(f"{type(drawn).__name__}: {drawn}")
    elif drawn != alone:
        faults.append(f"{sum(a != b for a, b in zip(drawn, alone, strict=True))} of {len(alone)} draws are others")
    faults.extend(f"{type(each).__name__}: {each}" for each in done if isinstance(each, BaseException))
    return f"{3 * count} draws beside {sum(each for each in done if isinstance(each, int))} explanations", faults


class Seeds(nn.Module):
    """A classifier that seeds every generator, and draws from each."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.table, self.head = nn.Embedding(64, 8), nn.Linear(8, 3)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        numpy.random.seed(1)
        random.seed(1)
        x = self.table(input_ids)
        return self.head((x + torch.randn_like(x) + float(numpy.random.rand()) + random.random()).mean(1))


def crowd(count: int) -> tuple[str, list[str]]:
    """Explain different texts with one explainer in many threads."""
    explainer = textlrp.Explainer.demo()
    texts = [
        f"The plot is {word}, but the cast is {other}." for word in ("thin", "fine") for other in ("dull", "superb")
    ]
    expected = [explainer.explain(text).to_json() for text in texts]
    faults: list[str] = []

    def explain(i: int) -> None:
        for n in range(3):
            which = (i + n) % len(texts)
            if explainer.explain(texts[which]).to_json() != expected[which]:
                faults.append(f"thread {i} got another explanation")

    done = together(*(lambda i=i: explain(i) for i in range(count)))
    faults.extend(f"{type(each).__name__}: {each}" for each in done if isinstance(each, BaseException))
    return f"{count} threads on one explainer", faults


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=120, help="how many explanations")
    parser.add_argument("--draws", type=int, default=2000, help="how many draws from each generator")
    parser.add_argument("--threads", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(given)
    total = 0
    for said, faults in (
        shared_encoder(options.count // 4, random.Random(options.seed)),
        written_weights(options.count, random.Random(options.seed)),
        drawing(options.draws),
        crowd(options.threads),
    ):
        for fault in faults[:10]:
            print(fault)
        print(f"threads: {said}, {len(faults)} faults")
        total += len(faults)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
