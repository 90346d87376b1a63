"""The review sets that the built-in classifier and its teacher learn from, with nothing held out among them.

They are read from a folder with ``imdb.jsonl.gz``, ``sst.jsonl.gz`` and ``counterfactual_movies.jsonl.gz``, or from the
hub.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LABELS = ("NEG", "POS")
#: The probability of POS that each grade of the Sentiment Treebank stands for; neutral words should add nothing.
GRADES = (0.0, 0.2, 0.5, 0.8, 1.0)
TREES = "hf://datasets/stanfordnlp/sst@refs/convert/parquet/ptb/{}/0000.parquet"
PAIRED = "https://raw.githubusercontent.com/acmi-lab/counterfactually-augmented-data/master/sentiment/combined/paired/"

Labeled = tuple[str, float]  # a text and its probability of POS
Row = dict[str, Any]


@dataclass(frozen=True)
class Reviews:
    """What is trained on, what decides, and what is scored at the end."""

    documents: list[Labeled]
    sentences: list[Labeled]
    phrases: list[Labeled]
    validation: dict[str, list[Labeled]]
    test: dict[str, list[Labeled]]


def read(folder: Path | None, limit: int | None = None) -> Reviews:
    """Read the three sets from a folder, or from the hub."""
    if folder and not folder.is_dir():
        sys.exit(f"there is no folder {folder}: --data takes the folder that holds imdb.jsonl.gz and the others")
    return read_folder(folder, limit) if folder else read_hub(limit)


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a review that are 3 to 40 words long."""
    found = re.split(r"(?<=[.!?])\s+|\n+", text)
    return [sentence.strip() for sentence in found if 3 <= len(sentence.split()) <= 40]


def rows(path: Path, limit: int | None) -> list[Row]:
    """Read gzipped JSON lines, at most ``limit`` of each split."""
    if not path.is_file():
        sys.exit(f"{path} is missing: --data takes the folder that holds it")
    parts: dict[str, list[Row]] = {}
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                parts.setdefault(row["split"], []).append(row)
    except (OSError, EOFError, ValueError, KeyError) as error:
        sys.exit(f"{path} is no gzipped file of JSON lines with splits: {error!r}")
    return [row for part in parts.values() for row in part[:limit]]


def read_folder(folder: Path, limit: int | None = None) -> Reviews:
    """Read the three sets from a folder, at most ``limit`` rows of each split."""
    names = ("imdb", "sst", "counterfactual_movies")
    imdb, sst, edits = (rows(folder / f"{name}.jsonl.gz", limit) for name in names)
    return assemble(
        [(row["text"], row["label"], row["split"]) for row in imdb],
        [(row["text"], row["sentiment"], row["split"]) for row in sst],
        [(row["text"][a:b], grade) for row in sst if row["split"] == "train" for a, b, grade in row["phrases"]],
        [(row["text"], row["label"], row["split"]) for row in edits],
    )


def read_hub(limit: int | None = None) -> Reviews:
    """Read the same sets through ``datasets``; imdb is cut to the size of the folder's: 10,000 and 4,000."""
    from datasets import load_dataset

    imdb, edits = [], []
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
