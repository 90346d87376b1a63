"""Many documents through ``Explainer.explain_batch``, against a loop of ``Explainer.explain``.

The texts are written by a seeded generator from a small vocabulary; their lengths are spread like those of reviews
(log-normal, half of them under 45 words, 5 to 400). Each of them is explained with the built-in classifier, in one call
and in a loop. On a BERT-base shape, which has random weights and the tokenizer of the built-in classifier, a loop
over all takes too long. There a random sample of the batches that the documents are put into is explained as they are,
and a random sample of each batch's documents one by one, in turn; the totals of both, per document, are compared.

Padding is counted in what reaches the model, and what comes out of a batch is compared with what comes out alone. Run
it on a machine that does nothing else:

    python tests/benchmarks/corpus.py [--model demo base] [--documents 2000] [--batches 25] [--alone 3]
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Iterator, Sequence

import torch
import transformers
from claims import (  # its neighbors
    Measured,
    Row,
    asked,
    at_least,
    at_most,
    exact,
    finish,
    median_ratio,
    parser,
    ratio_of_sums,
    turns,
)
from torch import nn

from textlrp.explain.batching import buckets
from textlrp.explain.explainer import Explainer
from textlrp.results.explanation import Explanation

VOCABULARY = (
    "the a this that film plot scene actor story ending music camera cast script joke is was seems feels looks never "
    "and but quite rather very too dull bright funny slow moving honest clever empty warm again without every little "
    "great long of in with for about from their his her its not no all one more most than when who"
).split()

SHORTEST, MIDDLE, LONGEST, SPREAD = 5, 45, 400, 0.8  # words, and the deviation of their logarithm
FASTER = {"demo": 3.0, "base": 1.5}
NAMES = {"demo": "built-in classifier", "base": "BERT-base"}
PADDING, DIFFERENCE = 0.10, 1e-4
LOOP, BATCH = "a loop of explain", "explain_batch"


def write(count: int, longest: int = LONGEST) -> list[str]:
    """Return that many texts, the same ones every time."""
    draw = random.Random(0)
    texts = []
    for _ in range(count):
        words = min(longest, max(SHORTEST, round(MIDDLE * draw.lognormvariate(0, SPREAD))))
        texts.append(" ".join(draw.choices(VOCABULARY, k=words)).capitalize() + ".")
    return texts


def explainer(name: str, device: str, quick: bool = False) -> Explainer:
    """Return the built-in classifier, or one of the size of BERT-base with its tokenizer and random weights."""
    demo = Explainer.demo(device=device)
    if name == "demo":
        return demo
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    config = transformers.BertConfig(vocab_size=demo.config.vocab_size, num_labels=2, **(sizes if quick else {}))
    model = transformers.BertForSequenceClassification._from_config(config, attn_implementation="sdpa").eval()
    return Explainer(model.to(device), demo.tokenizer)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield documents a second, padding, and how far the numbers of a batch are from those of a loop."""
    texts = write(options.documents, 40 if options.quick else LONGEST)
    for name in options.model:
        explains = explainer(name, options.device, options.quick)
        yield from (whole if name == "demo" else sampled)(explains, texts, options)


def whole(explains: Explainer, texts: Sequence[str], options: argparse.Namespace) -> Iterator[Row]:
    """Explain all documents both ways, some times in turn."""
    about = f"{NAMES['demo']}, {len(texts):,} documents"
    with _Padding(explains.model) as padding:
        together = explains.explain_batch(texts)
    yield Row(f"share of padding: {about}", "all ids", at_most(PADDING), exact(padding.share), _words(texts))
    apart = max(_difference(one, explains.explain(text)) for one, text in zip(together, texts, strict=True))
    del together  # the garbage collector walks through what is kept
    called = {
        BATCH: lambda: len(explains.explain_batch(texts)),
        LOOP: lambda: len([explains.explain(text) for text in texts]),
    }
    seconds = turns(called, options.repeats, options.seconds, options.device)
    rates = (f"{len(texts) / statistics.median(seconds[name]):.3g}" for name in (BATCH, LOOP))
    measured = median_ratio(seconds[LOOP], seconds[BATCH])
    yield _faster("demo", about, measured, " against ".join(rates))
    yield _same(about, apart, len(texts))


def sampled(explains: Explainer, texts: Sequence[str], options: argparse.Namespace) -> Iterator[Row]:
    """Explain a sample of the batches as they are, and a sample of each batch's documents one by one."""
    lengths = [len(explains.encode(text).input_ids) for text in texts]
    parts = buckets(lengths, options.batch_size)
    draw = random.Random(0)
    chosen = draw.sample(parts, min(options.batches, len(parts)))
    singles = [draw.sample(part, min(options.alone, len(part))) for part in chosen]
    warm = [texts[i] for i in chosen[0]]
    explains.explain_batch(warm, batch_size=options.batch_size)
    explains.explain(warm[0])
    batch, loop, apart = [], [], 0.0
    for turn, (part, single) in enumerate(zip(chosen, singles, strict=True)):
        for one in (LOOP, BATCH) if turn % 2 else (BATCH, LOOP):
            start = time.perf_counter()
            if one == BATCH:
                together = explains.explain_batch([texts[i] for i in part], batch_size=options.batch_size)
                batch.append(time.perf_counter() - start)
            else:
                alone = [explains.explain(texts[i]) for i in single]
                # What the documents of the batch that were left out take, too.
                loop.append((time.perf_counter() - start) * len(part) / len(single))
        found = dict(zip(part, together, strict=True))
        apart = max(apart, *(_difference(found[i], each) for i, each in zip(single, alone, strict=True)))
    documents, looped = sum(map(len, chosen)), sum(map(len, singles))
    about = f"{'small bert' if options.quick else NAMES['base']}, {documents:,} of {len(texts):,} documents"
    note = (
        f"{documents / sum(batch):.3g} against {documents / sum(loop):.3g}; totals of {len(chosen)} of {len(parts)} "
        f"batches, and of {looped} of their documents one by one"
    )
    yield _faster("base", about, ratio_of_sums(loop, batch), note)
    yield _same(about, apart, looped)


def _faster(name: str, about: str, measured: Measured, note: str) -> Row:
    return Row(f"documents a second in batches: {about}", LOOP, at_least(FASTER[name]), measured, note)


def _same(about: str, apart: float, count: int) -> Row:
    note = f"of {count:,} documents; the largest difference, relative to the largest relevance of its document"
    return Row(f"difference of the relevances in batches: {about}", LOOP, at_most(DIFFERENCE), exact(apart), note)


def _difference(one: Explanation, other: Explanation) -> float:
    """Return the largest difference of a token's relevance, relative to the largest relevance."""
    pairs = [(a.relevance, b.relevance) for a, b in zip(one.tokens, other.tokens, strict=True)]
    return max(abs(a - b) for a, b in pairs) / max(max(map(abs, pair)) for pair in pairs)


def _words(texts: Sequence[str]) -> str:
    counts = sorted(len(text.split()) for text in texts)
    return f"{counts[0]} to {counts[-1]} words, half of them up to {counts[len(counts) // 2]}"


class _Padding:
    """Counts the ids that a model is given to explain, and those of them that are padding."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._ids = self._kept = 0

    def __enter__(self) -> _Padding:
        self._hook = self._model.register_forward_pre_hook(self._count, with_kwargs=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._hook.remove()

    def _count(self, module: nn.Module, args: object, inputs: dict[str, torch.Tensor]) -> None:
        if torch.is_grad_enabled():  # and not a text that is only classified, to see what the others do to it
            with torch._C.DisableTorchFunction():
                ids, mask = inputs["input_ids"], inputs.get("attention_mask")
                self._ids += ids.numel()
                self._kept += ids.numel() if mask is None else int(mask.sum())

    @property
    def share(self) -> float:
        return 1 - self._kept / self._ids


def main(line: list[str] | None = None) -> None:
    found = parser(__doc__, repeats=7, seconds=60)
    found.add_argument("--model", nargs="+", choices=NAMES, default=list(NAMES))
    found.add_argument("--documents", type=int, help="default: 2000")
    found.add_argument(
        "--batches", type=int, help="of the documents that are explained on the BERT-base shape; default: 25"
    )
    found.add_argument("--alone", type=int, default=3, help="documents of each of these that are explained one by one")
    found.add_argument("--batch-size", type=int, default=32, help="the most documents in a batch")
    options = asked(found, line)
    options.documents = options.documents or (24 if options.quick else 2000)
    options.batches = options.batches or (2 if options.quick else 25)
    finish(rows(options), options)


if __name__ == "__main__":
    main()
