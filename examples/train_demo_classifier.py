"""Train the built-in sentiment classifier: a small BERT with its own tokenizer, on real reviews.

    python examples/train_demo_classifier.py --data FOLDER --output FOLDER

FOLDER holds ``imdb.jsonl.gz``, ``sst.jsonl.gz`` and ``counterfactual_movies.jsonl.gz``; without ``--data`` the same sets are
read from the hub. Three stages: masked-word pretraining on the training texts, classification of phrases, sentences and
cuts of reviews, and averaging of the weights. One seed decides everything.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import importlib.metadata
import json
import math
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import BertWordPieceTokenizer
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
)

LABELS = ("NEG", "POS")
#: The probability of POS that each grade of the Sentiment Treebank stands for; neutral words should add nothing.
GRADES = (0.0, 0.2, 0.5, 0.8, 1.0)
PAIRED = "https://raw.githubusercontent.com/acmi-lab/counterfactually-augmented-data/master/sentiment/combined/paired/"


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run, in tokens, rounds and sizes."""

    vocabulary: int = 7500
    width: int = 256
    layers: int = 3
    heads: int = 4
    batch_tokens: int = 6144
    pretraining_rounds: int = 2
    rounds: int = 7
    phrases_a_round: int = 40_000
    learning_rate: float = 6e-4
    dropout: float = 0.15
    limit: int | None = None


@dataclass
class Reviews:
    """Labeled texts: ``(text, probability of POS)``."""

    documents: list[tuple[str, float]] = field(default_factory=list)
    sentences: list[tuple[str, float]] = field(default_factory=list)
    phrases: list[tuple[str, float]] = field(default_factory=list)
    held_out: dict[str, list[tuple[str, float]]] = field(default_factory=dict)


def main() -> None:
    """Parse the command line, train, measure, and move the finished folder into place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with the gzipped JSON lines; default: the hub")
    parser.add_argument("--output", type=Path, required=True, help="folder to write; an older one is replaced")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few steps on a few rows: to see that it runs")
    options = parser.parse_args()
    recipe = Recipe()
    if options.quick:
        recipe = Recipe(400, 32, 1, 2, 512, 1, 1, 100, limit=100)
    started = time.monotonic()
    seed_everything(options.seed)
    reviews = read_folder(options.data, recipe) if options.data else read_hub(recipe)
    tokenizer = train_tokenizer(reviews, recipe)
    model = train(reviews, tokenizer, recipe)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "classifier"
        save(model, tokenizer, folder)
        scores = measure(folder, reviews)
        minutes = (time.monotonic() - started) / 60
        (folder / "README.md").write_text(card(scores, reviews, recipe, options.seed, minutes), encoding="utf-8")
        print(json.dumps(scores, indent=2))
        if options.output.exists():
            shutil.rmtree(options.output)
        shutil.move(folder, options.output)
    print(f"written to {options.output} after {minutes:.0f} minutes")


def seed_everything(seed: int) -> None:
    """Make the run repeatable on the same machine."""
    random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)


# -- data ------------------------------------------------------------------------------------------------------------


def normalized(text: str) -> str:
    """Return a spelling by which the same review is found again in another set."""
    return re.sub(r"\W+", "", text.replace("<br />", "").lower())


def rows(path: Path, recipe: Recipe) -> list[dict[str, Any]]:
    """Read gzipped JSON lines."""
    if not path.is_file():
        sys.exit(f"{path} is missing: --data takes the folder that holds it")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    if recipe.limit is None:
        return found
    return [
        row for split in ("train", "val", "test") for row in [r for r in found if r["split"] == split][: recipe.limit]
    ]


def read_folder(folder: Path, recipe: Recipe) -> Reviews:
    """Read the three sets from a folder."""
    imdb = rows(folder / "imdb.jsonl.gz", recipe)
    sst = rows(folder / "sst.jsonl.gz", recipe)
    edits = rows(folder / "counterfactual_movies.jsonl.gz", recipe)
    phrases = [
        (row["text"][start:end], grade)
        for row in sst
        if row["split"] == "train"
        for start, end, grade in row["phrases"]
    ]
    return assemble(
        [(row["text"], row["label"], row["split"]) for row in imdb],
        [(row["text"], row["sentiment"], row["split"]) for row in sst],
        phrases,
        [(row["text"], row["label"], row["split"]) for row in edits],
    )


def read_hub(recipe: Recipe) -> Reviews:
    """Read the same sets through ``datasets``; imdb is cut to the size of the folder's: 10,000 and 4,000."""
    from datasets import load_dataset

    def imdb_part(split: str, count: int) -> list[tuple[str, str, str]]:
        part = load_dataset("stanfordnlp/imdb", split=split).shuffle(seed=0).select(range(recipe.limit or count))
        return [(row["text"].replace("<br />", "\n"), LABELS[row["label"]], split) for row in part]

    treebank = load_dataset("stanfordnlp/sst", "default", revision="refs/convert/parquet")
    splits = {"train": "train", "validation": "val", "test": "test"}
    sst = [(r["sentence"], grade(r["label"]), ours) for theirs, ours in splits.items() for r in treebank[theirs]]
    words = {text for sentence, _, split in sst if split == "train" for text in [f" {sentence} "]}
    dictionary = load_dataset("stanfordnlp/sst", "dictionary", revision="refs/convert/parquet", split="dictionary")
    joined = "\n".join(words)
    phrases = [(row["phrase"], grade(row["label"])) for row in dictionary if f" {row['phrase']} " in joined]
    files = {"train": "train_paired.tsv", "val": "dev_paired.tsv", "test": "test_paired.tsv"}
    paired = load_dataset("csv", data_files={k: PAIRED + v for k, v in files.items()}, delimiter="\t")
    edits = [(r["Text"], r["Sentiment"][:3].upper(), split) for split in files for r in paired[split]]
    return assemble(imdb_part("train", 10_000) + imdb_part("test", 4_000), sst, phrases, edits)


def grade(score: float) -> int:
    """Turn a score from 0 to 1 into one of the five grades of the Sentiment Treebank."""
    return min(int(score * 5), 4)


def assemble(
    imdb: list[tuple[str, str, str]],
    sst: list[tuple[str, int, str]],
    phrases: list[tuple[str, int]],
    edits: list[tuple[str, str, str]],
) -> Reviews:
    """Put the sets together, with nothing of a validation or test set among the training texts."""
    kept_out = {normalized(text) for text, _, split in imdb + edits if split != "train"}
    training = [(text, float(label == "POS")) for text, label, split in imdb if split == "train"]
    training = [(text, label) for text, label in training if normalized(text) not in kept_out]
    unseen = {normalized(text) for text, _, split in sst if split != "train"}
    reviews = Reviews(documents=training)
    count = min(500, len(training) // 10)
    reviews.held_out["imdb held-out train"] = reviews.documents[:count]
    reviews.documents = reviews.documents[count:]
    used = {normalized(text) for text, _ in reviews.held_out["imdb held-out train"]}
    reviews.documents += [
        (text, float(label == "POS"))
        for text, label, split in edits
        if split == "train" and normalized(text) not in kept_out | used
    ]
    reviews.sentences = [(text, GRADES[g]) for text, g, split in sst if split == "train"]
    distinct = {text: GRADES[g] for text, g in phrases if normalized(text) and normalized(text) not in unseen}
    reviews.phrases = sorted(distinct.items())
    for split, name in (("val", "sst validation"), ("test", "sst test")):
        reviews.held_out[name] = [(text, float(g > 2)) for text, g, s in sst if s == split and g != 2]
    for split, name in (("val", "counterfactual validation"), ("test", "counterfactual test")):
        reviews.held_out[name] = [(text, float(label == "POS")) for text, label, s in edits if s == split]
    reviews.held_out["imdb test"] = [(text, float(label == "POS")) for text, label, s in imdb if s == "test"]
    return reviews


# -- training --------------------------------------------------------------------------------------------------------


def train_tokenizer(reviews: Reviews, recipe: Recipe) -> BertTokenizerFast:
    """Train a lowercasing WordPiece tokenizer on the training texts."""
    pieces = BertWordPieceTokenizer(lowercase=True)
    texts = [text for text, _ in reviews.documents + reviews.sentences]
    pieces.train_from_iterator(texts, vocab_size=recipe.vocabulary, min_frequency=2, show_progress=False)
    tokenizer: BertTokenizerFast = BertTokenizerFast(tokenizer_object=pieces._tokenizer, model_max_length=512)
    return tokenizer


def encode(
    tokenizer: BertTokenizerFast, items: list[tuple[str, float]], length: int = 512
) -> list[tuple[list[int], float]]:
    """Turn labeled texts into labeled ids, with [CLS] and [SEP]."""
    ids = tokenizer([text for text, _ in items], truncation=True, max_length=length)["input_ids"]
    return [(row, label) for row, (_, label) in zip(ids, items, strict=True)]


def batches(items: list[tuple[list[int], float]], tokens: int, pad: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield ids, mask and labels in random order, texts of like length together."""
    order = sorted(range(len(items)), key=lambda i: len(items[i][0]) + random.random())
    groups: list[list[int]] = [[]]
    for i in order:
        if (groups[-1] and (len(groups[-1]) + 1) * len(items[i][0]) > tokens) or len(groups[-1]) >= 256:
            groups.append([])
        groups[-1].append(i)
    random.shuffle(groups)
    for group in groups:
        longest = max(len(items[i][0]) for i in group)
        ids = torch.full((len(group), longest), pad)
        for row, i in enumerate(group):
            ids[row, : len(items[i][0])] = torch.tensor(items[i][0])
        yield ids, (ids != pad).long(), torch.tensor([items[i][1] for i in group])


def cut(ids: list[int], longest: int) -> list[int]:
    """Return a random stretch of a document, between its [CLS] and [SEP]."""
    body, size = ids[1:-1], random.randint(min(48, longest), longest)
    start = random.choice((0, random.randint(0, max(0, len(body) - size))))
    return [ids[0], *body[start : start + size], ids[-1]]


class Schedule:
    """AdamW with a warm-up and a cosine, one call a step."""

    def __init__(self, parameters: list[Tensor], rate: float, steps: int) -> None:
        decayed = [p for p in parameters if p.dim() > 1]
        plain = [p for p in parameters if p.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
        warm = max(1, steps // 20)
        self.rate = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda i: min(1.0, (i + 1) / warm) * 0.5 * (1 + math.cos(math.pi * min(1.0, i / max(1, steps)))),
        )
        self.parameters = parameters

    def step(self, loss: Tensor) -> None:
        """Take one step down the loss."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.rate.step()
        self.optimizer.zero_grad(set_to_none=True)


def train(reviews: Reviews, tokenizer: BertTokenizerFast, recipe: Recipe) -> BertForSequenceClassification:
    """Pretrain, fine-tune and average a model."""
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        intermediate_size=4 * recipe.width,
        hidden_dropout_prob=recipe.dropout,
        attention_probs_dropout_prob=0.1,
        max_position_embeddings=512,
        type_vocab_size=1,
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
        pad_token_id=tokenizer.pad_token_id,
    )
    model = BertForSequenceClassification(config)
    documents = encode(tokenizer, reviews.documents, 768)
    sentences = encode(tokenizer, reviews.sentences)
    phrases = encode(tokenizer, reviews.phrases, 64)
    pretrain(model, [ids for ids, _ in documents + sentences], tokenizer, recipe)
    return finetune(model, documents, sentences, phrases, tokenizer, recipe, reviews)


def pretrain(
    model: BertForSequenceClassification, texts: list[list[int]], tokenizer: BertTokenizerFast, recipe: Recipe
) -> None:
    """Predict masked words, with the embedding table as the output table."""
    mask_id, pad = tokenizer.mask_token_id, tokenizer.pad_token_id
    head = torch.nn.Sequential(
        torch.nn.Linear(recipe.width, recipe.width), torch.nn.GELU(), torch.nn.LayerNorm(recipe.width)
    )
    words = model.bert.embeddings.word_embeddings.weight
    plans = [[(cut(ids, 190), 0.0) for ids in texts] for _ in range(recipe.pretraining_rounds)]
    steps = sum(1 for plan in plans for _ in batches(plan, recipe.batch_tokens, pad))
    schedule = Schedule([*model.bert.parameters(), *head.parameters()], 1.5 * recipe.learning_rate, steps)
    model.train()
    for number, plan in enumerate(plans):
        total, count = 0.0, 0
        for ids, mask, _ in batches(plan, recipe.batch_tokens, pad):
            hidden_words = (torch.rand(ids.shape) < 0.2) & mask.bool() & (ids > mask_id)
            seen = torch.where(hidden_words & (torch.rand(ids.shape) < 0.85), mask_id, ids)
            with torch.autocast("cpu", torch.bfloat16):
                states = model.bert(input_ids=seen, attention_mask=mask).last_hidden_state[hidden_words]
                loss = F.cross_entropy((head(states) @ words.T).float(), ids[hidden_words])
            schedule.step(loss)
            total, count = total + loss.item(), count + 1
        print(f"pretraining round {number}: loss {total / count:.3f}", flush=True)


def finetune(
    model: BertForSequenceClassification,
    documents: list[tuple[list[int], float]],
    sentences: list[tuple[list[int], float]],
    phrases: list[tuple[list[int], float]],
    tokenizer: BertTokenizerFast,
    recipe: Recipe,
    reviews: Reviews,
) -> BertForSequenceClassification:
    """Learn the labels, and return the moving average of the weights."""
    pad, unknown = tokenizer.pad_token_id, tokenizer.mask_token_id
    plans = []
    for number in range(recipe.rounds):
        # Longer cuts later: words and phrases first, whole documents at the end.
        longest = min(510, 128 + 400 * number // max(1, recipe.rounds - 1))
        plan = [(cut(ids, longest), label) for ids, label in documents] + sentences
        plans.append(plan + random.sample(phrases, min(recipe.phrases_a_round, len(phrases))))
    steps = sum(1 for plan in plans for _ in batches(plan, recipe.batch_tokens, pad))
    schedule = Schedule(list(model.parameters()), recipe.learning_rate, steps)
    average, step = copy.deepcopy(model), 0
    for number, plan in enumerate(plans):
        model.train()
        total, count = 0.0, 0
        for ids, mask, label in batches(plan, recipe.batch_tokens, pad):
            dropped = (torch.rand(ids.shape) < 0.08) & (ids > unknown)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(input_ids=torch.where(dropped, unknown, ids), attention_mask=mask).logits
            goal = label * 0.94 + 0.03
            loss = F.cross_entropy(logits.float(), torch.stack([1 - goal, goal], -1))
            schedule.step(loss)
            total, count, step = total + loss.item(), count + 1, step + 1
            keep = min(0.998, step / (step + 20))
            with torch.no_grad():
                for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                    slow.lerp_(fast, 1 - keep)
        average.eval()
        names = ("sst validation", "counterfactual validation", "imdb held-out train")
        scores = {name: accuracy(average, tokenizer, reviews.held_out[name])[0] for name in names}
        print(f"round {number}: loss {total / count:.3f}, {scores}", flush=True)
    return average


# -- measuring and saving --------------------------------------------------------------------------------------------


@torch.no_grad()
def accuracy(model: Any, tokenizer: Any, items: list[tuple[str, float]]) -> tuple[float, float]:
    """Return the accuracy and the expected calibration error (10 bins) on the first 512 tokens of each text."""
    right, confidence = [], []
    for ids, mask, label in batches(encode(tokenizer, items), 8192, tokenizer.pad_token_id):
        probability = model(input_ids=ids, attention_mask=mask).logits.float().softmax(-1)
        best, index = probability.max(-1)
        right.append((index == label.long()).float())
        confidence.append(best)
    correct, sure = torch.cat(right), torch.cat(confidence)
    error = 0.0
    for edge in torch.arange(0.5, 1.0, 0.05):
        inside = (sure > edge) & (sure <= edge + 0.05)
        if inside.any():
            error += float(inside.float().mean() * (correct[inside].mean() - sure[inside].mean()).abs())
    return round(float(correct.mean()), 4), round(error, 4)


def save(model: BertForSequenceClassification, tokenizer: BertTokenizerFast, folder: Path) -> None:
    """Store half-precision weights with a config that loads them in float32."""
    copy.deepcopy(model).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = "float32"
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def measure(folder: Path, reviews: Reviews) -> dict[str, dict[str, float]]:
    """Score the stored model, loaded as any other, on every held-out set."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    table = {}
    for name, items in reviews.held_out.items():
        score, error = accuracy(model, tokenizer, items)
        table[name] = {"texts": len(items), "accuracy": score, "calibration error": error}
    return table


def card(scores: dict[str, dict[str, float]], reviews: Reviews, recipe: Recipe, seed: int, minutes: float) -> str:
    """Write the model card."""
    template = Path(__file__).with_name("demo_classifier_card.md").read_text(encoding="utf-8")
    table = "\n".join(
        f"| {name} | {row['texts']} | {row['accuracy']:.4f} | {row['calibration error']:.4f} |"
        for name, row in scores.items()
    )
    libraries = ("torch", "transformers", "tokenizers")
    return template.format(
        table=table,
        recipe=recipe,
        seed=seed,
        minutes=round(minutes),
        versions=", ".join(f"{name} {importlib.metadata.version(name)}" for name in libraries),
        documents=len(reviews.documents),
        sentences=len(reviews.sentences),
        phrases=len(reviews.phrases),
    )


if __name__ == "__main__":
    main()
