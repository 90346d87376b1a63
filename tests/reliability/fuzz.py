"""Random calls: any text, tokenizer, model, dtype and options give a right explanation, or one sentence why not.

    python tests/reliability/fuzz.py [--count 20000] [--seed 0] [--only NUMBER]

Each call is made from its seed and number alone, so that a fault comes again with --only. An explanation must balance
its books, tile its text, come back from JSON, be shown without controls or scripts, and be the same in a batch. An
error must be an LRPError of one line; a TypeError is right where an option has no type that could be meant.
"""

from __future__ import annotations

import math
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import hostile_strings
import language_texts
import numpy
import tiny_models
import torch
from reliability import attack, laws
from tiny_bert import bert, fast_tokenizer

from textlrp import Explainer, Explanation, LRPError, Rules
from textlrp.rules import Epsilon, Frozen, Gamma

TOKENIZERS = ("wordpiece", "bytelevel", "unigram", "character", "roberta", "metaspace", "slow", "byt5", "canine")
MODELS = ("bert", "multi", "regression", "binary", "hostile labels", "gpt2", "llama", "t5", "electra", "modernbert")
DTYPES = ("float32", "float32", "float32", "float64", "float16", "bfloat16")
RULES = ("attnlrp", "cp-lrp", "ln-lrp", "lrp-0", "epsilon", "gamma", "difference", "difference")

#: How far a batch may differ from a text alone, as a share of the ledger.
ROUNDING = {"float64": 1e-9, "float32": 1e-3, "float16": 0.2, "bfloat16": 0.5}

#: What labels are called by models that nobody should trust.
LABELS = ("\x1b[2J", "<script>alert(1)</script>", "two\nlines", "x" * 300, "")

_KEPT = 12  # models that are held at once


# Models


@cache
def tokenizer(kind: str) -> Any:
    from slow_tokenizer import Slow
    from transformers import ByT5Tokenizer, CanineTokenizer

    if kind == "slow":
        return Slow("characters")
    if kind == "byt5":
        return ByT5Tokenizer()
    if kind == "canine":
        return CanineTokenizer()
    if kind in ("roberta", "metaspace"):
        return fast_tokenizer(kind)
    return language_texts.train(kind, list(language_texts.TEXTS.values()), 900)


@cache
def explainer(kind: str, model: str, dtype: str) -> Explainer:
    """A tiny model of random weights, with a tokenizer that gives no id beyond its table."""
    reader = tokenizer(kind)
    size = 0x110000 if kind == "canine" else max(400, len(reader))
    options: dict[str, Any] = {"pad_token_id": 0, "max_position_embeddings": 40}
    if model == "multi":
        names = dict(enumerate(("joy", "anger", "fear", "none")))
        options |= {"num_labels": 4, "id2label": names, "label2id": None, "problem_type": "multi_label_classification"}
    elif model == "regression":
        options |= {"num_labels": 1, "id2label": None, "label2id": None, "problem_type": "regression"}
    elif model == "binary":
        options |= {"id2label": {0: "off", 1: "on"}, "num_labels": 2, "problem_type": "single_label_classification"}
    elif model == "hostile labels":
        options |= {"num_labels": len(LABELS), "id2label": dict(enumerate(LABELS)), "label2id": None}
    if model in ("gpt2", "llama", "t5", "electra", "modernbert"):
        settings: dict[str, Any] = {"vocab_size": size, "pad_token_id": getattr(reader, "pad_token_id", None) or 0}
        if model == "t5":
            settings["eos_token_id"] = getattr(reader, "sep_token_id", None) or getattr(reader, "eos_token_id", 1)
        built = tiny_models.build(model, **settings)
        made = Explainer(built.to(getattr(torch, dtype)), reader)
        made.classifier.limit = min(40, made.classifier.limit or 40)
        return made
    made = Explainer(bert(size, **options).to(getattr(torch, dtype)), reader)
    made.classifier.limit = 40
    return made


# Calls


@dataclass
class Call:
    """One call, made by chance.

    Attributes:
        model: the names of tokenizer, model and dtype.
        text, pair: what is explained.
        options: how.
        several: ``targets`` of explain_targets, where that is called.
        wrong: whether an option is of a type that nobody could mean.
        shown: by which units and how wide it is shown.
    """

    model: tuple[str, str, str]
    text: Any
    pair: Any
    options: dict[str, Any] = field(default_factory=dict)
    several: Any = None
    wrong: bool = False
    by: str = "word"
    width: int = 80
    color: str | None = None


def any_text(r: random.Random) -> str:
    ways: Sequence[Callable[[], str]] = (
        lambda: " ".join(r.choice(WORDS) for _ in range(r.randint(1, 25))),
        lambda: "".join(chr(code_point(r)) for _ in range(r.randint(1, 30))),
        lambda: r.choice(hostile_strings.STRINGS),
        lambda: "".join(r.choice(ODD) for _ in range(r.randint(1, 25))),
        lambda: cut(r, r.choice(list(language_texts.TEXTS.values()))),
        lambda: r.choice(ODD) * r.randint(1, 200),
        lambda: " ".join(cut(r, any_text(r)) for _ in range(2)),
        lambda: r.choice(("", " ", "\n\t ", "\u200b", "\ufeff", "a")),
    )
    return r.choices(ways, (8, 5, 4, 6, 4, 1, 3, 1))[0]()


def readable(text: str) -> str:
    """A text without what no tokenizer reads."""
    return re.sub("[\\x00\ud800-\udfff]", "", text) or "a film"


def code_point(r: random.Random) -> int:
    return r.choice((r.randrange(0x80), r.randrange(0x3000), r.randrange(0xD800), r.randrange(0x110000)))


def cut(r: random.Random, text: str) -> str:
    start = r.randint(0, len(text))
    return text[start : start + r.randint(1, 60)]


WORDS = "the film is wonderful , moving and never dull bad ! great don't 2nd https://a.org/b?c straße Größe".split()
ODD = [*"ab .,!?'\n\t\r\x00\x07\x1b\x7f\x85é\u0301\u0300\u200b\u200d\u200c\u202e\u2066\u2028\ufeff\ufffdßﬁİĿ<>&\"'`{}%"]
ODD += [
    "👩🏽‍🚒",
    "🇩🇪",
    "👍🏽",
    "कि",
    "ัก",
    "각",
    "映",
    "كِتاب",
    "שלום",
    "\U0010ffff",
    "\ud800",
    "\udfff",
    "[SEP]",
    "[MASK]",
    "▁",
    "Ġ",
]


#: References that fit every text, where the tokenizer has such tokens.
REFERENCES = (None, "mask", "pad", "mean", "zero", ".", "a", ["mean", "zero"], ("zero", "mean", "pad"))

#: Values of options: first those that are right, then others.
POOLS: dict[str, tuple[float, tuple[Any, ...], tuple[Any, ...]]] = {
    "target": (0.35, (0, 0, 0, "the first", numpy.int64(0)), (1, -1, 7, "", "pos", True, numpy.int64(40))),
    "contrast": (0.2, ("runner-up",), (0, 1, "NEG", 9, "nobody", numpy.int32(0))),
    "rules": (0.5, (*RULES, "custom"), ("attn", "")),
    "long": (0.35, ("truncate", "windows", "windows"), ("error", "cut", "")),
    "window": (0.25, (9, 16, 30, 39, 40, numpy.int64(12)), (41, 3, 1, 0, -5, 10**12, True)),
    "overlap": (0.2, (0, 1, 2, numpy.int64(3)), (8, 40, -1, 10**9, True)),
    "layers": (0.15, (True, False), ()),
    "reference": (0.15, REFERENCES, ("maks", "", [], [0], ("a", "b"), numpy.arange(3), torch.tensor([-1]))),
}

#: What no option means.
UNMEANT = (None, 1.5, math.nan, math.inf, -math.inf, b"x", object(), [], {}, (1,), {"a": 1}, 1j, "7", range(3))


def options(r: random.Random, labels: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """Return options, most of them right, and whether one has a type that nobody could mean."""
    found: dict[str, Any] = {}
    wrong = False
    for name, (share, right, others) in POOLS.items():
        if r.random() >= share:
            continue
        found[name] = r.choice(right if r.random() < 0.9 or not others else others)
        if isinstance(found[name], str) and found[name] == "the first":
            found[name] = labels[0]
        if name == "rules" and isinstance(found[name], str) and found[name] == "custom":
            found[name] = r.choice(CUSTOM)
        if name == "overlap" and found.get("long") is None:
            found["long"] = "windows"
        if name == "reference" and r.random() < 0.9:
            found["rules"] = "difference"
        if r.random() < 0.02:
            found[name], wrong = r.choice(UNMEANT), True
    return found, wrong


CUSTOM = (
    Rules(linear=Epsilon(1e-2)),
    Rules(linear=Gamma(0.3), softmax=Frozen()),
    Rules(overrides={"*": Rules(linear=Epsilon(1e-3))}),
)


def call(seed: int, number: int) -> Call:
    r = random.Random(f"{seed}:{number}")
    # Calls that follow each other share a model, so that few are held at once.
    block = random.Random(f"{seed}:{number // 40}")
    kind, dtype = block.choice(TOKENIZERS), block.choice(DTYPES)
    model = block.choice(MODELS[:5] if kind == "canine" else MODELS)  # a table of all characters is large
    labels = {"multi": ("joy",), "regression": ("LABEL_0",), "binary": ("off",), "hostile labels": LABELS}
    chosen, wrong = options(r, labels.get(model, ("NEG",) if model == "bert" else ("LABEL_0",)))
    text, pair = any_text(r), any_text(r) if r.random() < 0.2 else None
    if kind in ("slow", "roberta", "metaspace") and r.random() < 0.9:
        pair = None  # which they take for no pair
    if r.random() < 0.9:
        text, pair = readable(text), readable(pair or "a film") if pair is not None else None
    if r.random() < 0.02:
        text, wrong = r.choice((None, 3, b"bytes", ["a", "b"], 1.5, object())), True
    several = None
    if r.random() < 0.15:
        several = r.choice(
            (
                "all",
                "all",
                "all",
                "predicted",
                "predicted",
                [0],
                [0],
                [1, 0],
                (0, 0),
                ["POS"],
                [],
                "joy",
                1,
                [None],
                {0},
            )
        )
        chosen.pop("target", None)
        chosen.pop("layers", None)
        if r.random() < 0.3:
            chosen["threshold"] = r.choice((0.0, 0.2, 0.5, 1.0, 1.5, -1, math.nan, numpy.float32(0.5)))
    by, color = r.choice(("token", "word", "sentence")), r.choice((None, "standard", "256", "truecolor"))
    return Call((kind, model, dtype), text, pair, chosen, several, wrong, by, r.choice((20, 40, 80, 200)), color)


# What must hold


def attempt(made: Call, r: random.Random) -> str:
    """Make a call and check what comes of it; return what came.

    Raises:
        Broken: a law does not hold.
    """
    subject = explainer(*made.model)
    try:
        if made.several is not None:
            found = list(subject.explain_targets(made.text, made.pair, targets=made.several, **made.options).values())
        else:
            found = [subject.explain(made.text, made.pair, **made.options)]
    except LRPError as error:
        laws.sentence(error)
        return "refused"
    except TypeError as error:
        laws.hold(made.wrong, f"TypeError: {error}")
        return "refused for its type"
    for each in found:
        laws.books(each)
    for each in found[:2]:
        laws.kept(each)
        laws.printed(each, made.by, made.width, made.color)
        if r.random() < 0.4:
            laws.paged(each, made.by)
    if r.random() < 0.3:
        batched(subject, made, found[0] if made.several is None else None)
    return "explained" if found else "without a label"


def batched(subject: Explainer, made: Call, alone: Explanation | None) -> None:
    """A text among others gets what it gets alone."""
    if alone is None or made.options.get("layers"):
        return
    text = made.text if made.pair is None else (made.text, made.pair)
    how = {key: value for key, value in made.options.items() if key not in ("layers", "target")}
    targets = made.options.get("target")
    others = [text, "a dull film", text, "the film is wonderful, and moving"]
    found = subject.explain_batch(others, target=[targets] * 4, errors="return", **how)
    for each in found:
        if isinstance(each, LRPError):
            laws.sentence(each)
        else:
            laws.books(each)
    for each in found[0], found[2]:
        if isinstance(each, LRPError):
            raise laws.Broken(f"in a batch it is refused: {each}")
        # Where two labels are level, the batch may choose the other one.
        if each.target == alone.target and each.contrast == alone.contrast:
            laws.same(alone, each, ROUNDING[made.model[2]])


def describe(made: Call) -> str:
    listed = ", ".join(f"{key}={value!r}" for key, value in made.options.items())
    several = "" if made.several is None else f", targets={made.several!r}"
    return f"{'/'.join(made.model)}: {ascii(made.text)[:200]}, {ascii(made.pair)[:100]}{several}, {listed}"


def run(numbers: range, seed: int) -> attack.Tally:
    """Make calls, and count what came of them."""
    tally = attack.Tally()
    with one_thread():
        for number in numbers:
            made = call(seed, number)
            try:
                tally.note(attempt(made, random.Random(number)))
            except laws.Broken as broken:
                tally.note("broken", f"--seed {seed} --only {number}: {broken}; {describe(made)}")
            except Exception as error:
                fault = f"{type(error).__name__}: {str(error)[:300]!r}"
                tally.note("raw errors", f"--seed {seed} --only {number}: {fault}; {describe(made)}")
            if explainer.cache_info().currsize > _KEPT:
                explainer.cache_clear()
    return tally


@contextmanager
def one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def main(line: Sequence[str] | None = None) -> None:
    asked = attack.arguments(__doc__, 20_000, line, ["only"])
    numbers = range(asked.count) if asked.only is None else range(int(asked.only), int(asked.only) + 1)
    began = time.monotonic()
    attack.finish(run(numbers, asked.seed), "calls", began)


if __name__ == "__main__":
    main()
