"""Teach a large encoder to grade reviews, and let it label the texts that the built-in classifier learns from.

    python examples/train_demo_teacher.py --data FOLDER --encoder FOLDER --output transfer.jsonl.gz

The encoder is any of Hugging Face's, such as ``sentence-transformers/all-mpnet-base-v2``. It learns the grades of the
Sentiment Treebank and the labels of edited reviews, then writes the logit of POS minus NEG of every text: sentences of
the reviews and the Treebank, and texts made of them and of patterns (``demo_wordings.py``). The teacher itself is not
kept. A run that was stopped goes on where it was: its teacher lies beside the output until all is labeled.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from demo_sets import Labeled, Reviews, read, sentences_of, untokenized
from demo_wordings import made
from torch import Tensor

#: The longest texts that the teacher learns from and labels, in its ids.
LONGEST = 64
#: Texts that are labeled, then written, at a time.
CHUNK = 2048


def main() -> None:
    """Train the teacher, then label."""
    parser = argparse.ArgumentParser(description="Label texts for the built-in classifier with a large teacher.")
    parser.add_argument("--data", type=Path, help="folder with the gzipped JSON lines; default: the hub")
    parser.add_argument("--encoder", required=True, help="folder or hub name of a pretrained encoder")
    parser.add_argument("--output", type=Path, required=True, help="file to write, .jsonl.gz")
    parser.add_argument("--learn", type=int, default=4000, help="texts that the teacher learns from")
    parser.add_argument("--sentences", type=int, default=45_000, help="sentences of reviews to label")
    parser.add_argument("--made", type=int, default=40_000, help="made texts to label")
    parser.add_argument("--most", type=int, help="label the first texts of all, in random order; default: all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.output.exists():
        sys.exit(f"{options.output} exists: remove it, or take another --output")
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    transformers.utils.logging.disable_progress_bar()
    reviews = read(options.data)
    folder = options.output.with_suffix(".teacher")
    if not (folder / "config.json").is_file():
        train(reviews, options, folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    label(model, tokenizer, texts(reviews, options)[: options.most], options.output)
    shutil.rmtree(folder)
    print(f"{options.output} is written", flush=True)


def train(reviews: Reviews, options: argparse.Namespace, folder: Path) -> None:
    """Fine-tune the encoder for one pass over some of the labeled texts, and store it."""
    model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(options.encoder, num_labels=2)
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.encoder)
    model.get_input_embeddings().weight.requires_grad_(False)
    items = learned(reviews, options.learn)
    rest = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(rest, lr=3e-5, weight_decay=0.01)
    groups = alike(items, 24)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, len(groups) // 10, len(groups))
    started, losses = time.monotonic(), []
    model.train()
    for number, group in enumerate(groups, 1):
        goal = torch.tensor([probability for _, probability in group]) * 0.96 + 0.02
        logits = model(**encoded(tokenizer, [text for text, _ in group])).logits
        loss = F.cross_entropy(logits, torch.stack([1 - goal, goal], -1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if number % 20 == 0:
            loss_now, minutes = sum(losses[-20:]) / 20, (time.monotonic() - started) / 60
            print(f"teacher, step {number} of {len(groups)}: {loss_now:.3f}, {minutes:.1f} min", flush=True)
    model.eval()
    for name in ("sst", "counterfactual_movies"):
        part = reviews.validation[name][:300]
        found = logits_of(model, tokenizer, [spelled(text) for text, _ in part])
        right = sum((logit > 0) == (p > 0.5) for logit, (_, p) in zip(found, part, strict=True))
        print(f"teacher: {right / len(part):.3f} of {len(part)} {name} validation texts", flush=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def spelled(text: str) -> str:
    """Return a text of the Treebank as people write it, without the spaces in front of its marks."""
    text = untokenized(text)
    for mark in ".,!?;:)%":
        text = text.replace(f" {mark}", mark)
    return text.replace("( ", "(").replace(" '", "'")


def learned(reviews: Reviews, count: int) -> list[Labeled]:
    """Return the texts that the teacher learns from: mostly sentences, some phrases, some edited reviews."""
    draw = random.Random(0)
    edits = [item for item in reviews.documents if len(item[0].split()) <= 120][-len(reviews.documents) // 8 :]
    phrases = [item for item in reviews.phrases if 2 <= len(item[0].split()) <= 12]
    shares = ((reviews.sentences, 0.8), (phrases, 0.1), (edits, 0.1))
    items = [item for source, share in shares for item in draw.sample(source, min(len(source), int(count * share)))]
    draw.shuffle(items)
    return [(spelled(text), probability) for text, probability in items]


def alike(items: list[Labeled], size: int) -> list[list[Labeled]]:
    """Return batches of texts of like length, in random order: padding costs as much as words."""
    ordered = sorted(items, key=lambda item: len(item[0]) * random.uniform(0.9, 1.1))
    groups = [ordered[i : i + size] for i in range(0, len(ordered), size)]
    random.shuffle(groups)
    return groups


def texts(reviews: Reviews, options: argparse.Namespace) -> list[str]:
    """Return the texts to label, each once, in an order that mixes them."""
    draw = random.Random(options.seed)
    found = [sentence for text, _ in reviews.documents for sentence in sentences_of(text)]
    trees = [spelled(text) for text, _ in reviews.sentences]
    chosen = trees + draw.sample(found, min(options.sentences, len(found)))
    unique = list(dict.fromkeys([*chosen, *made(found + trees, options.made, draw)]))
    draw.shuffle(unique)
    return unique


def encoded(tokenizer: Any, group: list[str]) -> dict[str, Tensor]:
    """Return the ids and the mask of a batch."""
    found = tokenizer(group, truncation=True, max_length=LONGEST, padding=True, return_tensors="pt")
    return {name: found[name] for name in ("input_ids", "attention_mask")}


@torch.inference_mode()
def logits_of(model: Any, tokenizer: Any, group: list[str]) -> list[float]:
    """Return the logit of POS minus that of NEG of each text."""
    order = sorted(range(len(group)), key=lambda i: len(group[i]))
    found = [0.0] * len(group)
    for start in range(0, len(order), 32):
        part = order[start : start + 32]
        logits = model(**encoded(tokenizer, [group[i] for i in part])).logits
        for i, logit in zip(part, (logits[:, 1] - logits[:, 0]).tolist(), strict=True):
            found[i] = logit
    return found


def label(model: Any, tokenizer: Any, all_texts: list[str], output: Path) -> None:
    """Write each text with its logit; what an earlier run has written stays."""
    unfinished = output.with_suffix(".unfinished")
    done = sum(1 for _ in written(unfinished))
    started, first = time.monotonic(), done
    while done < len(all_texts):
        group = all_texts[done : done + CHUNK]
        found = logits_of(model, tokenizer, group)
        with gzip.open(unfinished, "at", encoding="utf-8") as file:
            for text, logit in zip(group, found, strict=True):
                file.write(json.dumps({"text": text, "logit": round(logit, 3)}, ensure_ascii=False) + "\n")
        done += len(group)
        left = (time.monotonic() - started) / (done - first) * (len(all_texts) - done) / 60
        print(f"labeled {done:,} of {len(all_texts):,}, {left:.0f} minutes to go", flush=True)
    os.replace(unfinished, output)


def written(path: Path) -> Iterator[str]:
    """Yield the lines of a gzipped file; none if there is no file."""
    if path.is_file():
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from lines


if __name__ == "__main__":
    main()
