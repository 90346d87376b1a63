"""Train the built-in sentiment classifier: a small BERT with its own tokenizer, the student of a large teacher.

    python examples/train_demo_classifier.py --data FOLDER --transfer FILE --encoder FOLDER --output FOLDER

FOLDER holds ``imdb.jsonl.gz``, ``sst.jsonl.gz`` and ``counterfactual_movies.jsonl.gz``; without ``--data`` the same
sets are read from the hub. FILE holds the texts that ``train_demo_teacher.py`` labeled, and the encoder is the one that
the teacher started from: the student's word vectors are its word vectors, projected. One seed decides.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import math
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tokenizers
import torch
import torch.nn.functional as F
import transformers
from demo_card import POSITIONS, card
from demo_sets import LABELS, Labeled, Reviews, normalized, read, untokenized
from torch import Tensor
from training import batches, cut, descent
from transformers import BertForSequenceClassification as Model
from transformers import BertTokenizerFast as Tokenizer

Encoded = tuple[list[int], float]


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run."""

    vocabulary: int = 12_000
    width: int = 256
    layers: int = 3
    heads: int = 4
    feed_forward: int = 768
    batch_tokens: int = 4096
    rounds: int = 8
    phrases_a_round: int = 25_000
    masks_a_round: int = 400
    shortest_cut: int = 48
    longest_cut: int = 256
    sharpness: float = 2.0
    learning_rate: float = 7e-4
    dropout: float = 0.12
    word_dropout: float = 0.04
    label_smoothing: float = 0.03
    rows_a_split: int | None = None


QUICK = Recipe(400, 32, 1, 2, 64, 512, rounds=1, phrases_a_round=100, masks_a_round=10, rows_a_split=100)

#: Sentences whose sign everybody knows: they tell, with the validation parts, which round to keep.
PROBES: dict[str, list[Labeled]] = {
    "negations": [
        (text, float(sign == "+"))
        for sign, text in (
            line.split(" ", 1)
            for line in """+ Not bad at all.
- Not good at all.
+ It is not a bad film.
- It is not a good film.
- I cannot say that I loved it.
+ I cannot say a bad word about it.
- The plot is neither clever nor funny.
+ The cast is never boring.
- The jokes never work.
+ You will not regret it.
- I would not watch it again.
+ It's far from dull.
- Far from brilliant.
+ Nothing short of wonderful.
- There is nothing good about this movie.
+ There is nothing bad about this movie.
- It could have been great.
+ I expected to hate it, but I loved it.
- I wanted to love it, but I couldn't.
- Although the cast is great, the film is boring.
+ Although the start is slow, the film is wonderful.
- The food was not worth the price.
+ The room was clean and not noisy at all.
- Not as funny as the first one.""".splitlines()
        )
    ]
}


def main() -> None:
    """Train, measure, and move the finished folder into place."""
    parser = argparse.ArgumentParser(description="Train the built-in sentiment classifier.")
    parser.add_argument("--data", type=Path, help="folder with the gzipped JSON lines; default: the hub")
    parser.add_argument("--transfer", type=Path, required=True, help="file of train_demo_teacher.py")
    parser.add_argument("--encoder", required=True, help="folder or hub name of the encoder of the teacher")
    parser.add_argument("--output", type=Path, required=True, help="folder to write; an older model there is replaced")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=Recipe.rounds, help="passes over the labeled texts")
    parser.add_argument("--threads", type=int, default=2, help="threads of the CPU")
    parser.add_argument("--quick", action="store_true", help="a few steps on a few rows: to see that it runs")
    options = parser.parse_args()
    output: Path = options.output.resolve()
    if output.exists() and not (output / "config.json").is_file():
        sys.exit(f"{options.output} exists and holds no model: --output takes a new folder, or that of an older model")
    if not options.transfer.is_file():
        sys.exit(f"there is no file {options.transfer}: train_demo_teacher.py writes it")
    if options.rounds < 1:
        sys.exit(f"--rounds {options.rounds} trains nothing: it takes a number from 1 up")
    started, recipe = time.monotonic(), QUICK if options.quick else replace(Recipe(), rounds=options.rounds)
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    transformers.utils.logging.disable_progress_bar()
    reviews = read(options.data, recipe.rows_a_split)
    labeled = read_transfer(options.transfer, reviews, recipe.sharpness)
    tokenizer = frequent_words(options.encoder, reviews, labeled, recipe)
    model = untrained(tokenizer, options.encoder, recipe)
    model = finetune(model, reviews, labeled, tokenizer, recipe)
    calibrate(model, tokenizer, [item for items in reviews.validation.values() for item in items])
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".unfinished-") as scratch:
        folder = Path(scratch) / "new"
        save(model, tokenizer, folder)
        table = measure(folder, reviews)
        minutes = (time.monotonic() - started) / 60
        written = card(
            table, reviews, asdict(recipe), options.seed, model.num_parameters(), minutes,
            transfer=len(labeled), probes=len(PROBES["negations"]),
        )  # fmt: skip
        (folder / "README.md").write_text(written, encoding="utf-8")
        if output.exists():
            output.rename(Path(scratch) / "old")
        folder.rename(output)
    print(f"{table}\n\n{options.output} is written, after {minutes:.0f} minutes")


def read_transfer(path: Path, reviews: Reviews, sharpness: float) -> list[Labeled]:
    """Return the texts that the teacher labeled, with its probability of POS; none is a held-out text.

    The teacher hedges: its logits, times ``sharpness``, make the probabilities.
    """
    held_out = [items for part in (reviews.validation, reviews.test) for items in part.values()]
    unseen = {normalized(text) for items in held_out for text, _ in items}
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
    except (OSError, EOFError, ValueError) as error:
        sys.exit(f"{path} is no gzipped file of JSON lines: {error}")
    kept = [row for row in rows if normalized(row["text"]) not in unseen]
    return [(row["text"], 1 / (1 + math.exp(-sharpness * row["logit"]))) for row in kept]


def frequent_words(encoder: str, reviews: Reviews, labeled: list[Labeled], recipe: Recipe) -> Tokenizer:
    """Return a lowercasing WordPiece tokenizer of the encoder's words that the training texts use most."""
    pieces = transformers.AutoTokenizer.from_pretrained(encoder)
    vocabulary = pieces.get_vocab()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    uses = torch.zeros(max(vocabulary.values()) + 1, dtype=torch.long)
    texts = [untokenized(text) for text, _ in reviews.documents + reviews.sentences + labeled]
    for start in range(0, len(texts), 1000):
        rows = pieces(texts[start : start + 1000], add_special_tokens=False)["input_ids"]
        uses += torch.bincount(torch.tensor([i for row in rows for i in row]), minlength=len(uses))
    # Every ASCII character stays, alone and inside a word, so that no English word is unknown.
    single = {mark + chr(code) for code in range(33, 127) for mark in ("", "##")} - {chr(code) for code in range(65, 91)}
    words = [word for word in vocabulary if word in single]
    others = sorted(set(vocabulary) - single - set(pieces.all_special_tokens), key=lambda w: (-uses[vocabulary[w]], w))
    known = special + sorted(words) + others[: max(0, recipe.vocabulary - len(special) - len(words))]
    model = tokenizers.BertWordPieceTokenizer({word: i for i, word in enumerate(known)}, lowercase=True)
    return Tokenizer(tokenizer_object=model._tokenizer, model_max_length=POSITIONS)


def encode(tokenizer: Tokenizer, items: list[Labeled], length: int = POSITIONS) -> list[Encoded]:
    """Turn labeled texts into labeled ids, with [CLS] and [SEP]."""
    ids = tokenizer([text for text, _ in items], truncation=True, max_length=length)["input_ids"]
    return [(row, label) for row, (_, label) in zip(ids, items, strict=True)]


def random_positions(length: int) -> Tensor:
    """Return positions of a text that begins anywhere, so that late positions are trained as well as early ones."""
    offset = random.choice((0, random.randint(0, POSITIONS - length)))
    return torch.cat([torch.zeros(1, dtype=torch.long), torch.arange(1, length) + offset])[None]


def untrained(tokenizer: Tokenizer, encoder: str, recipe: Recipe) -> Model:
    """Return a model with random weights, but for its word vectors."""
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
    vectors = word_vectors(tokenizer, encoder, recipe.width)
    # 0.05 a number, where positions begin with 0.02: words should tell more than where they stand.
    model.bert.embeddings.word_embeddings.weight.data.copy_(vectors * (0.05 * math.sqrt(recipe.width)))
    return model


@torch.no_grad()
def word_vectors(tokenizer: Tokenizer, encoder: str, width: int) -> Tensor:
    """Return the first principal components of an encoder's vectors of the words, ``[vocabulary, width]``, of length 1.

    A word that the encoder does not have as one piece gets the mean of its pieces; special tokens get zeros.
    """
    table = transformers.AutoModel.from_pretrained(encoder).get_input_embeddings().weight.float()
    pieces = transformers.AutoTokenizer.from_pretrained(encoder)
    special = set(tokenizer.all_special_tokens)
    rows = torch.zeros(len(tokenizer), table.shape[1])
    for word, i in tokenizer.get_vocab().items():
        if word not in special:
            known = pieces.convert_tokens_to_ids(word)
            ids = [known] if known != pieces.unk_token_id else pieces(word.removeprefix("##"))["input_ids"][1:-1]
            rows[i] = table[ids].mean(0) if ids else 0
    words = rows.any(1)
    centered = (rows - rows[words].mean(0)) * words[:, None]
    _, _, directions = torch.linalg.svd(centered.T @ centered)
    found = centered @ directions[:width].T
    return F.pad(F.normalize(found, dim=1), (0, width - found.shape[1]))


def spelled_twice(tokenizer: Tokenizer, items: list[Labeled]) -> list[tuple[Encoded, Encoded]]:
    """Return each text of the Treebank in its own spelling and as people write it."""
    return list(zip(encode(tokenizer, items), encode(tokenizer, [(untokenized(t), p) for t, p in items]), strict=True))


def finetune(model: Model, reviews: Reviews, labeled: list[Labeled], tokenizer: Tokenizer, recipe: Recipe) -> Model:
    """Learn the labels; return the moving average of the weights as it was after the round that validates best."""
    documents, transfer = encode(tokenizer, reviews.documents, 1024), encode(tokenizer, labeled)
    sentences, phrases = spelled_twice(tokenizer, reviews.sentences), spelled_twice(tokenizer, reviews.phrases)
    mask_id, plans = tokenizer.mask_token_id, []
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    for number in range(recipe.rounds):
        # Sentences and phrases first, where words meet their negations; long reviews only in the last round.
        long = documents if number == recipe.rounds - 1 else []
        texts = transfer + [(cut(ids, recipe.shortest_cut, recipe.longest_cut), label) for ids, label in long]
        some = random.sample(phrases, min(recipe.phrases_a_round, len(phrases)))
        texts += [random.choice(spellings) for spellings in sentences + some]
        # A text of masks has even odds: it is the neutral text that explanations measure from.
        sizes = [int(math.exp(random.uniform(0, math.log(256)))) for _ in range(recipe.masks_a_round)]
        texts += [([first, *[mask_id] * size, last], 0.5) for size in sizes]
        plans.append(list(batches(texts, recipe.batch_tokens, tokenizer.pad_token_id)))
    steps = sum(map(len, plans))
    step = descent(list(model.parameters()), recipe.learning_rate, steps)
    average, best, best_score, count = copy.deepcopy(model).eval(), model, -1.0, 0
    for number, plan in enumerate(plans, 1):
        losses, started = [], time.monotonic()
        model.train()
        for ids, mask, label in plan:
            seen = torch.where((torch.rand(ids.shape) < recipe.word_dropout) & (ids > mask_id), mask_id, ids)
            positions = random_positions(ids.shape[1])
            logits = model(input_ids=seen, attention_mask=mask, position_ids=positions).logits
            goal = label * (1 - 2 * recipe.label_smoothing) + recipe.label_smoothing
            losses.append(step(F.cross_entropy(logits, torch.stack([1 - goal, goal], -1))))
            count += 1
            if count % 100 == 0:
                minutes = (time.monotonic() - started) / 60
                print(f"step {count} of {steps}: loss {sum(losses[-100:]) / 100:.3f}, {minutes:.1f} min", flush=True)
            with torch.no_grad():
                for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                    slow.lerp_(fast, 1 - min(0.998, count / (count + 20)))
        chosen_by = {**reviews.validation, **PROBES}
        scores = {name: accuracy(*predict(average, tokenizer, items)) for name, items in chosen_by.items()}
        print(f"round {number}: loss {sum(losses) / len(losses):.3f}, accuracy {scores}", flush=True)
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
    for part, sets in (("validation", reviews.validation | PROBES), ("test", reviews.test)):
        for name, items in sets.items():
            found = predict(model, tokenizer, items)
            lines.append(
                f"| {name} | {part} | {len(items)} | {accuracy(*found):.4f} | {calibration_error(*found):.4f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
