"""Train the built-in sentiment classifier: a small BERT with its own tokenizer, on real reviews.

    python examples/train_demo_classifier.py --data FOLDER --output FOLDER

FOLDER holds ``imdb.jsonl.gz``, ``sst.jsonl.gz`` and ``counterfactual_movies.jsonl.gz``; without ``--data`` the same
sets are read from the hub. Word vectors from counts, labels, calibration: one seed decides.
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
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tokenizers
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor
from transformers import BertForSequenceClassification as Model
from transformers import BertTokenizerFast as Tokenizer

LABELS = ("NEG", "POS")
POSITIONS = 512
#: The probability of POS that each grade of the Sentiment Treebank stands for; neutral words should add nothing.
GRADES = (0.0, 0.2, 0.5, 0.8, 1.0)
TREES = "hf://datasets/stanfordnlp/sst@refs/convert/parquet/ptb/{}/0000.parquet"
PAIRED = "https://raw.githubusercontent.com/acmi-lab/counterfactually-augmented-data/master/sentiment/combined/paired/"

Labeled = tuple[str, float]  # a text and its probability of POS
Encoded = tuple[list[int], float]
Batch = tuple[Tensor, Tensor, Tensor]  # ids, mask, labels


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run."""

    vocabulary: int = 9000
    width: int = 192
    layers: int = 2
    heads: int = 3
    feed_forward: int = 384
    batch_tokens: int = 6144
    rounds: int = 3
    phrases_a_round: int = 80_000
    shortest_cut: int = 48
    longest_cut: int = 192
    learning_rate: float = 1e-3
    dropout: float = 0.15
    word_dropout: float = 0.12
    label_smoothing: float = 0.03
    rows_a_split: int | None = None


QUICK = Recipe(400, 32, 1, 2, 64, 512, rounds=1, phrases_a_round=100, rows_a_split=100)


@dataclass(frozen=True)
class Reviews:
    """What is trained on, what decides, and what is scored at the end."""

    documents: list[Labeled]
    sentences: list[Labeled]
    phrases: list[Labeled]
    validation: dict[str, list[Labeled]]
    test: dict[str, list[Labeled]]


def main() -> None:
    """Train, measure, and move the finished folder into place."""
    parser = argparse.ArgumentParser(description="Train the built-in sentiment classifier.")
    parser.add_argument("--data", type=Path, help="folder with the gzipped JSON lines; default: the hub")
    parser.add_argument("--output", type=Path, required=True, help="folder to write; an older model there is replaced")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=Recipe.rounds, help="passes over the labeled texts")
    parser.add_argument("--quick", action="store_true", help="a few steps on a few rows: to see that it runs")
    options = parser.parse_args()
    output: Path = options.output.resolve()
    if output.exists() and not (output / "config.json").is_file():
        sys.exit(f"{options.output} exists and holds no model: --output takes a new folder, or that of an older model")
    if options.data and not options.data.is_dir():
        sys.exit(f"there is no folder {options.data}: --data takes the folder that holds imdb.jsonl.gz and the others")
    if options.rounds < 1:
        sys.exit(f"--rounds {options.rounds} trains nothing: it takes a number from 1 up")
    started, recipe = time.monotonic(), QUICK if options.quick else replace(Recipe(), rounds=options.rounds)
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    torch.set_num_threads(2)
    transformers.utils.logging.disable_progress_bar()
    reviews = read_folder(options.data, recipe) if options.data else read_hub(recipe)
    tokenizer = train_tokenizer(reviews, recipe)
    model = train(reviews, tokenizer, recipe)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".unfinished-") as scratch:
        folder = Path(scratch) / "new"
        save(model, tokenizer, folder)
        table = measure(folder, reviews)
        minutes = (time.monotonic() - started) / 60
        (folder / "README.md").write_text(card(table, reviews, recipe, options, model, minutes), encoding="utf-8")
        if output.exists():
            output.rename(Path(scratch) / "old")
        folder.rename(output)
    print(f"{table}\n\n{options.output} is written, after {minutes:.0f} minutes")


def rows(path: Path, limit: int | None) -> list[dict[str, Any]]:
    """Read gzipped JSON lines, at most ``limit`` of each split."""
    if not path.is_file():
        sys.exit(f"{path} is missing: --data takes the folder that holds it")
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found = [json.loads(line) for line in lines]
    except (OSError, EOFError, ValueError) as error:
        sys.exit(f"{path} is no gzipped file of JSON lines: {error}")
    return [row for split in ("train", "val", "test") for row in [r for r in found if r["split"] == split][:limit]]


def read_folder(folder: Path, recipe: Recipe) -> Reviews:
    """Read the three sets from a folder."""
    names = ("imdb", "sst", "counterfactual_movies")
    imdb, sst, edits = (rows(folder / f"{name}.jsonl.gz", recipe.rows_a_split) for name in names)
    return assemble(
        [(row["text"], row["label"], row["split"]) for row in imdb],
        [(row["text"], row["sentiment"], row["split"]) for row in sst],
        [(row["text"][a:b], grade) for row in sst if row["split"] == "train" for a, b, grade in row["phrases"]],
        [(row["text"], row["label"], row["split"]) for row in edits],
    )


def read_hub(recipe: Recipe) -> Reviews:
    """Read the same sets through ``datasets``; imdb is cut to the size of the folder's: 10,000 and 4,000."""
    from datasets import load_dataset

    limit, imdb, edits = recipe.rows_a_split, [], []
    for split, count in (("train", 10_000), ("test", 4_000)):
        part = load_dataset("stanfordnlp/imdb", split=split).shuffle(seed=0).select(range(limit or count))
        imdb += [(row["text"].replace("<br />", "\n"), LABELS[row["label"]], split) for row in part]
    splits = {"train": "train", "val": "validation", "test": "test"}
    trees = load_dataset("parquet", data_files={ours: TREES.format(theirs) for ours, theirs in splits.items()})
    nodes = {split: [list(tree_nodes(row["ptb_tree"])) for row in trees[split]][:limit] for split in splits}
    for split, name in (("train", "train"), ("val", "dev"), ("test", "test")):
        part = load_dataset("csv", data_files=f"{PAIRED}{name}_paired.tsv", delimiter="\t", split="train")
        edits += [(r["Text"].replace("<br />", "\n"), r["Sentiment"][:3].upper(), split) for r in list(part)[:limit]]
    sentences = [(*tree[-1], split) for split in splits for tree in nodes[split]]
    return assemble(imdb, sentences, [node for tree in nodes["train"] for node in tree], edits)


def tree_nodes(tree: str) -> Iterator[tuple[str, int]]:
    """Yield text and grade of every node of ``(3 (2 It) (4 works))``; the root comes last."""
    unfinished: list[tuple[int, list[str]]] = []
    for grade, word in re.findall(r"\((\d)|([^\s()]+)|\)", tree):
        if grade:
            unfinished.append((int(grade), []))
        elif word:
            unfinished[-1][1].append(word)
        else:
            finished, words = unfinished.pop()
            if unfinished:
                unfinished[-1][1].extend(words)
            yield " ".join(words), finished


def normalized(text: str) -> str:
    """Return a spelling by which the same review is found again in another set."""
    return re.sub(r"[\W_]+", "", text.replace("<br />", "").lower())


def untokenized(text: str) -> str:
    """Return a Treebank phrase as people write it: ``does n't -LRB- ... -RRB-`` becomes ``doesn't ( ... )``."""
    for old, new in ((" n't", "n't"), ("-LRB-", "("), ("-RRB-", ")"), ("\\/", "/"), ("``", '"'), ("''", '"')):
        text = text.replace(old, new)
    return text


def assemble(
    imdb: list[tuple[str, str, str]],
    sst: list[tuple[str, int, str]],
    phrases: list[tuple[str, int]],
    edits: list[tuple[str, str, str]],
) -> Reviews:
    """Put the sets together, with nothing of a validation or test set among the training texts."""
    unseen = {normalized(text) for text, _, split in [*imdb, *sst, *edits] if split != "train"}

    def part(source: list[tuple[str, str, str]], wanted: str, known: set[str]) -> list[Labeled]:
        return [
            (t, float(label == "POS")) for t, label, split in source if split == wanted and normalized(t) not in known
        ]

    def polar(wanted: str) -> list[Labeled]:
        return [(text, float(grade > 2)) for text, grade, split in sst if split == wanted and grade != 2]

    pairs = part(edits, "train", unseen)
    documents = part(imdb, "train", unseen | {normalized(text) for text, _ in pairs})
    held_out = min(600, len(documents) // 10)
    graded = {text: GRADES[grade] for text, grade in phrases if normalized(text) and normalized(text) not in unseen}
    return Reviews(
        documents[held_out:] + pairs,
        [(t, GRADES[grade]) for t, grade, split in sst if split == "train" and normalized(t) not in unseen],
        sorted(graded.items()),
        {"imdb": documents[:held_out], "sst": polar("val"), "counterfactual_movies": part(edits, "val", set())},
        {"imdb": part(imdb, "test", set()), "sst": polar("test"), "counterfactual_movies": part(edits, "test", set())},
    )


def train_tokenizer(reviews: Reviews, recipe: Recipe) -> Tokenizer:
    """Train a lowercasing WordPiece tokenizer on the training texts."""
    pieces = tokenizers.BertWordPieceTokenizer(lowercase=True)
    texts = [untokenized(text) for text, _ in reviews.documents + reviews.sentences]
    # A small alphabet: letters of other scripts would take the place of whole words.
    pieces.train_from_iterator(texts, recipe.vocabulary, min_frequency=2, limit_alphabet=150, show_progress=False)
    return Tokenizer(tokenizer_object=pieces._tokenizer, model_max_length=POSITIONS)


def encode(tokenizer: Tokenizer, items: list[Labeled], length: int = POSITIONS) -> list[Encoded]:
    """Turn labeled texts into labeled ids, with [CLS] and [SEP]."""
    ids = tokenizer([text for text, _ in items], truncation=True, max_length=length)["input_ids"]
    return [(row, label) for row, (_, label) in zip(ids, items, strict=True)]


def batches(items: list[Encoded], tokens: int, pad: int) -> Iterator[Batch]:
    """Yield batches in random order, texts of like length together."""
    groups: list[list[Encoded]] = [[]]
    for item in sorted(items, key=lambda item: len(item[0]) + random.random()):
        if (groups[-1] and (len(groups[-1]) + 1) * len(item[0]) > tokens) or len(groups[-1]) >= 512:
            groups.append([])
        groups[-1].append(item)
    random.shuffle(groups)
    for group in groups:
        longest = max(len(ids) for ids, _ in group)
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row, _ in group])
        yield ids, (ids != pad).long(), torch.tensor([label for _, label in group])


def cut(ids: list[int], shortest: int, longest: int) -> list[int]:
    """Return a random stretch of a document, between its [CLS] and [SEP]; every other one from the beginning."""
    body, size = ids[1:-1], random.randint(min(shortest, longest), longest)
    start = random.choice((0, random.randint(0, max(0, len(body) - size))))
    return [ids[0], *body[start : start + size], ids[-1]]


def random_positions(length: int) -> Tensor:
    """Return positions of a text that begins anywhere, so that late positions are trained as well as early ones."""
    offset = random.choice((0, random.randint(0, POSITIONS - length)))
    return torch.cat([torch.zeros(1, dtype=torch.long), torch.arange(1, length) + offset])[None]


def descent(parameters: list[Tensor], rate: float, count: int) -> Callable[[Tensor], float]:
    """Return a function that takes one step of AdamW down a loss, ``count`` times, with a warm-up and a cosine."""
    groups = [[p for p in parameters if p.dim() > 1], [p for p in parameters if p.dim() <= 1]]
    decays = [{"params": group, "weight_decay": decay} for group, decay in zip(groups, (0.05, 0.0), strict=True)]
    optimizer = torch.optim.AdamW(decays, lr=rate, betas=(0.9, 0.98))
    warm = max(1, count // 15)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min(1.0, (i + 1) / warm) * (0.51 + 0.49 * math.cos(math.pi * min(1.0, i / count)))
    )

    def step(loss: Tensor) -> float:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        return loss.item()

    return step


def train(reviews: Reviews, tokenizer: Tokenizer, recipe: Recipe) -> Model:
    """Return a model that was trained, averaged and calibrated."""
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        intermediate_size=recipe.feed_forward,
        hidden_dropout_prob=recipe.dropout,
        attention_probs_dropout_prob=0.0,  # with dropout, torch has no fused attention on a CPU
        max_position_embeddings=POSITIONS,
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Model(config)
    documents = encode(tokenizer, reviews.documents, 1024)
    others = encode(tokenizer, reviews.sentences + [(untokenized(text), p) for text, p in reviews.phrases])
    texts = [ids for ids, _ in documents + others[: len(reviews.sentences)]]
    vectors = word_vectors(texts, config.vocab_size, recipe.width - 1)
    table = model.bert.embeddings.word_embeddings.weight.data
    seen = vectors.any(1)
    # 0.05 a number, where positions begin with 0.02: words should tell more than where they stand.
    table[seen, : vectors.shape[1]] = vectors[seen] * (0.05 * math.sqrt(recipe.width))
    table[seen, -1] = leanings(documents + others, config.vocab_size)[seen]
    model = finetune(model, documents, reviews, tokenizer, recipe)
    calibrate(model, tokenizer, [item for items in reviews.validation.values() for item in items])
    return model


def word_vectors(texts: list[list[int]], size: int, width: int) -> Tensor:
    """Return vectors that factor the positive mutual information of neighbors (Levy and Goldberg 2014): they stand in
    for a long pretraining. Special tokens get zeros."""
    stream, counts = torch.tensor([i for ids in texts for i in ids]), torch.zeros(size * size)
    for distance in range(1, 6):
        counts += torch.bincount(stream[:-distance] * size + stream[distance:], minlength=size * size) / distance
    counts = counts.view(size, size) + counts.view(size, size).T
    counts[:5], counts[:, :5] = 0, 0
    word, context = counts.sum(1), counts.sum(0) ** 0.75
    information = (counts / (word[:, None] * (context / context.sum())).clamp_min(1e-9)).clamp_min(1).log()
    left, strength, _ = torch.svd_lowrank(information, q=min(width, size), niter=2)
    return F.normalize(left * strength.sqrt() * information.any(1, keepdim=True), dim=1)


def leanings(items: list[Encoded], size: int) -> Tensor:
    """Return each word's smoothed log odds between POS and NEG texts (naive Bayes), from -1 to 1, one count a text."""
    counts = torch.full((2, size), 4.0)
    for ids, label in items:
        words = torch.tensor(sorted(set(ids)))
        counts[0, words] += 1 - label
        counts[1, words] += label
    share = counts / counts.sum(1, keepdim=True)
    return ((share[1] / share[0]).log() / 2).clamp(-1, 1)


def finetune(model: Model, documents: list[Encoded], reviews: Reviews, tokenizer: Tokenizer, recipe: Recipe) -> Model:
    """Learn the labels; return the moving average of the weights as it was after the round that validates best."""
    mask_id, plans = tokenizer.mask_token_id, []
    sentences, phrases = (
        list(zip(encode(tokenizer, items), encode(tokenizer, [(untokenized(t), p) for t, p in items]), strict=True))
        for items in (reviews.sentences, reviews.phrases)
    )
    for number in range(recipe.rounds):
        # Longer cuts later: words and phrases first, whole documents at the end.
        last = number == recipe.rounds - 1
        longest = 2 * recipe.longest_cut if last else recipe.longest_cut * (number + 1) // recipe.rounds
        texts = [(cut(ids, recipe.shortest_cut, longest), label) for ids, label in documents]
        some = random.sample(phrases, min(recipe.phrases_a_round, len(phrases)))
        texts += [random.choice(spellings) for spellings in sentences + some]
        plans.append(list(batches(texts, recipe.batch_tokens, tokenizer.pad_token_id)))
    steps = sum(map(len, plans))
    step = descent(list(model.parameters()), recipe.learning_rate, steps)
    average, best, best_score, count = copy.deepcopy(model).eval(), model, -1.0, 0
    for number, plan in enumerate(plans, 1):
        losses = []
        model.train()
        for ids, mask, label in plan:
            seen = torch.where((torch.rand(ids.shape) < recipe.word_dropout) & (ids > mask_id), mask_id, ids)
            positions = random_positions(ids.shape[1])
            logits = model(input_ids=seen, attention_mask=mask, position_ids=positions).logits
            goal = label * (1 - 2 * recipe.label_smoothing) + recipe.label_smoothing
            losses.append(step(F.cross_entropy(logits, torch.stack([1 - goal, goal], -1))))
            count += 1
            if count % 100 == 0:
                print(
                    f"labels, step {count} of {sum(map(len, plans))}: loss {sum(losses[-100:]) / 100:.3f}", flush=True
                )
            with torch.no_grad():
                for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                    slow.lerp_(fast, 1 - min(0.998, count / (count + 20)))
        scores = {name: accuracy(*predict(average, tokenizer, items)) for name, items in reviews.validation.items()}
        print(f"labels, round {number}: loss {sum(losses) / len(losses):.3f}, accuracy {scores}", flush=True)
        if sum(scores.values()) >= best_score:
            best, best_score = copy.deepcopy(average), sum(scores.values())
    return best


@torch.no_grad()
def calibrate(model: Model, tokenizer: Tokenizer, items: list[Labeled]) -> None:
    """Divide the last layer by the temperature that fits the validation texts best (Guo et al. 2017)."""
    logits, labels = predict(model, tokenizer, items)
    best = min((0.5 * 1.02**i for i in range(100)), key=lambda t: float(F.cross_entropy(logits / t, labels)))
    for parameter in model.classifier.parameters():
        parameter.div_(best)


@torch.no_grad()
def predict(model: Any, tokenizer: Any, items: list[Labeled]) -> tuple[Tensor, Tensor]:
    """Return logits and labels for the first 512 tokens of each text, in no order."""
    groups = batches(encode(tokenizer, items), 8192, tokenizer.pad_token_id)
    found = [(model(input_ids=ids, attention_mask=mask).logits, label.long()) for ids, mask, label in groups]
    return torch.cat([logits for logits, _ in found]), torch.cat([labels for _, labels in found])


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the share of right answers."""
    return round(float((logits.argmax(-1) == labels).float().mean()), 4)


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Return the expected calibration error over ten bins of confidence from 0.5 to 1."""
    sure, answer = logits.softmax(-1).max(-1)
    bins, right = ((sure - 0.5) * 20).long().clamp(0, 9), (answer == labels).float()
    return round(float(torch.zeros(10).index_add(0, bins, right - sure).abs().sum() / len(labels)), 4)


def save(model: Model, tokenizer: Tokenizer, folder: Path) -> None:
    """Store half-precision weights with a config that loads them in float32."""
    copy.deepcopy(model).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | {"dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "model.safetensors").chmod(0o644)  # safetensors lets nobody but its owner read it


def measure(folder: Path, reviews: Reviews) -> str:
    """Return a table with the scores of the stored model, loaded as any other."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    lines = ["| set | part | texts | accuracy | calibration error |", "|---|---|---|---|---|"]
    for part, sets in (("validation", reviews.validation), ("test", reviews.test)):
        for name, items in sets.items():
            found = predict(model, tokenizer, items)
            lines.append(
                f"| {name} | {part} | {len(items)} | {accuracy(*found):.4f} | {calibration_error(*found):.4f} |"
            )
    return "\n".join(lines)


CARD = """---
language: en
license: apache-2.0
pipeline_tag: text-classification
library_name: transformers
tags: [sentiment-analysis, movie-reviews, bert, textlrp]
datasets: [stanfordnlp/imdb, stanfordnlp/sst]
---
# The built-in classifier of textlrp

A small BERT ({parameters:.1f} million parameters, {layers} layers of {width}, {positions} positions, a lowercasing
WordPiece vocabulary of its own) that calls an English movie review `NEG` or `POS`. It is there so that textlrp has
something to explain on a machine without a network. Weights are stored in float16 and load in float32.

## Scores

On the first 512 tokens of each text, with the stored weights. The validation parts chose the round and the temperature;
the test parts were scored once in this run, at the end. imdb validation was held out of the training split; sst is
without its neutral sentences; counterfactual_movies holds reviews together with their edits that flip the label.

{table}

## Data

- **imdb** (Maas et al. 2011): 10,000 training reviews. Terms: none stated by the source.
- **sst**, the Stanford Sentiment Treebank (Socher et al. 2013): the training sentences and their phrases; the grades
  0-4 stand for {grades} as the probability of `POS`, so neutral words have a logit near zero. Terms: none stated.
- **counterfactual_movies** (Kaushik et al. 2020): reviews and their human edits, training split. Terms: Apache-2.0.

Left for training after every text of a validation or test part was removed: {documents:,} reviews, {sentences:,}
sentences, {phrases:,} phrases. No other model and no other text had a part in it. The license above is that of the
weights, as part of textlrp; it says nothing about the texts.

## Training

    python examples/train_demo_classifier.py --data FOLDER --output FOLDER --seed {seed} --rounds {rounds}

{minutes:.0f} minutes on {threads} cores of a CPU, with {versions}. Word vectors from counts of neighbors and of labels;
then labels of phrases, sentences and cuts of reviews, short cuts first, with a moving average of the weights; last, one
temperature for calibrated probabilities. A few words in each training text are replaced by
`[MASK]`. The same seed gives the same weights on the same machine and versions. Settings:

    {recipe}

## Use and limits

Meant for demonstrations, tests and examples of textlrp. Not meant for decisions about people, nor for texts other than
English movie reviews: elsewhere its answers are guesses. Irony, mixed reviews and long-range negation mislead it; what
stands after the 512th token is not read; it shares the views and rude words of those who wrote the reviews.
"""


def card(
    table: str, reviews: Reviews, recipe: Recipe, options: argparse.Namespace, model: Model, minutes: float
) -> str:
    """Return the model card, with what the run measured."""
    return CARD.format(
        **asdict(recipe),
        parameters=model.num_parameters() / 1e6,
        positions=POSITIONS,
        table=table,
        grades=", ".join(map(str, GRADES)),
        documents=len(reviews.documents),
        sentences=len(reviews.sentences),
        phrases=len(reviews.phrases),
        seed=options.seed,
        minutes=minutes,
        threads=torch.get_num_threads(),
        versions=", ".join(
            f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "tokenizers")
        ),
        recipe=", ".join(f"{name} {value}" for name, value in asdict(recipe).items()),
    )


if __name__ == "__main__":
    main()
