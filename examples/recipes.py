"""What train_classifiers.py trains: for each recipe one row of data, architecture, sizes and steps.

Most start from random weights. Those of ``ENCODER`` go on from a pretrained encoder, and the decoders beside them have
its word vectors, which stay as they are.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from demo_sets import GRADES, Row, normalized, rows, untokenized

Goal = tuple[float, ...]  # the probability of each label
Text = str | tuple[str, str]  # a text, or a pair of texts
Item = tuple[Text, Goal]  # a text and what it is


@dataclass(frozen=True)
class Task:
    """Labeled texts: to learn from, to choose the round by, and to score once."""

    labels: tuple[str, ...]
    train: list[Item]
    validation: list[Item]
    test: list[Item]
    #: More to learn from, of which each round reads a part; they are no whole texts.
    phrases: list[Item] = field(default_factory=list)
    several: bool = False  # whether a text can have several labels, or none

    @property
    def texts(self) -> list[str]:
        """The texts to learn from, each of a pair for itself."""
        return [part for text, _ in self.train for part in ((text,) if isinstance(text, str) else text)]


@dataclass(frozen=True)
class Recipe:
    """One classifier."""

    name: str
    architecture: str  # as in a config's model_type, or ENCODER to train a pretrained one further
    pieces: str  # how the tokenizer cuts words: wordpiece, bpe or unigram, or ENCODER for that of the encoder
    read: Callable[[Path, int | None], Task]
    data: str  # what is read, for the model card
    sizes: dict[str, Any]  # settings of the architecture's config; the width is that of word vectors of an encoder
    vocabulary: int  # 0 where the encoder has one
    positions: int  # ids that the model reads, special tokens included
    cuts: tuple[int, ...]  # for each round, how many ids of a text are read at most
    shortest_cut: int = 128  # longer texts are cut at random to a length between this and the round's cut
    phrases_a_round: int = 0
    learning_rate: float = 6e-4
    batch_tokens: int = 2048
    texts_a_round: int | None = None  # the most texts that a round reads, drawn at random
    average: float = 0.995  # of the weights: the share that each step keeps
    rows_a_split: int | None = None

    def quick(self) -> Recipe:
        """Return the recipe with a few steps on a few rows and little else: it shows that everything runs."""
        small = {key: 24 if key in WIDTHS else value for key, value in self.sizes.items()}
        small |= {key: 2 for key in ("num_attention_heads", "n_heads", "n_head", "num_key_value_heads") if key in small}
        small |= {key: 1 for key in ("num_hidden_layers", "n_layers", "n_layer") if key in small}
        return replace(
            self, sizes=small, vocabulary=300, cuts=(24,), shortest_cut=12, phrases_a_round=20, batch_tokens=256,
            rows_a_split=16,
        )  # fmt: skip


#: In place of an architecture and of a tokenizer: those of the pretrained encoder.
ENCODER = "encoder"
WIDTHS = ("hidden_size", "intermediate_size", "embedding_size", "dim", "hidden_dim", "n_embd", "n_inner")


def one(labels: tuple[str, ...], *found: str) -> Goal:
    """Return 1 for the labels that were found, and 0 for the others."""
    return tuple(float(label in found) for label in labels)


def seen_elsewhere(folder: Path, *names: str) -> set[str]:
    """Return the normalized texts that stand in a validation or test part: nothing may learn from them."""
    return {
        normalized(untokenized(row["text"]))
        for name in names
        for row in rows(folder / f"{name}.jsonl.gz", None)
        if row["split"] != "train"
    }


def of_split(found: list[Row], split: str, unwanted: set[str]) -> list[Row]:
    """Return the rows of a split without those whose text is unwanted."""
    return [row for row in found if row["split"] == split and normalized(untokenized(row["text"])) not in unwanted]


def shuffled(items: list[Row]) -> list[Row]:
    """Return the rows in an order that is the same for every seed, so that all seeds hold out the same rows."""
    return random.Random(0).sample(items, len(items))


def split_task(labels: tuple[str, ...], *parts: list[Row]) -> Task:
    """Return a task of training, validation and test rows."""
    train, validation, test = (
        [(row["text"], one(labels, *row.get("labels", [row.get("label", "")]))) for row in part] for part in parts
    )
    return Task(labels, train, validation, test, several="labels" in parts[0][0])


def sentences(folder: Path, limit: int | None) -> Task:
    """Stanford Sentiment Treebank, NEG or POS; grades of phrases stand for probabilities, so neutral words count too.

    Sentences with marked rationales are left out of training, so that rationales can be scored on all of them.
    """
    labels, unseen = ("NEG", "POS"), seen_elsewhere(folder, "sst", "sst_rationales")
    found = rows(folder / "sst.jsonl.gz", limit)

    def goal(grade: int) -> Goal:
        return (1 - GRADES[grade], GRADES[grade])

    def polar(split: str) -> list[Item]:
        kept = [row for row in of_split(found, split, set()) if row["label"] in labels]
        return [(row["text"], one(labels, row["label"])) for row in kept]

    train = of_split(found, "train", unseen)
    spellings = [(row, text) for row in train for text in dict.fromkeys((row["text"], untokenized(row["text"])))]
    spelled = [(text, goal(row["sentiment"])) for row, text in spellings]
    phrases = {row["text"][a:b]: grade for row in train for a, b, grade in row["phrases"] if b - a < len(row["text"])}
    known = unseen | {""}
    clean = [(text, goal(grade)) for text, grade in phrases.items() if normalized(untokenized(text)) not in known]
    return Task(labels, spelled, polar("val"), polar("test"), clean)


def reviews(folder: Path, limit: int | None) -> Task:
    """IMDb and the training pairs of reviews and their edits, NEG or POS; the test is IMDb's."""
    labels = ("NEG", "POS")
    unseen = seen_elsewhere(folder, "imdb", "counterfactual_movies", "movies")
    imdb, edits = (rows(folder / f"{name}.jsonl.gz", limit) for name in ("imdb", "counterfactual_movies"))
    train = shuffled(of_split(imdb, "train", unseen))
    held_out = min(600, len(train) // 10)
    pairs = of_split(edits, "train", unseen)
    known = {normalized(row["text"]) for row in pairs}
    learned = [row for row in train[held_out:] if normalized(row["text"]) not in known] + pairs
    return split_task(labels, learned, train[:held_out], of_split(imdb, "test", set()))


def topics(name: str, folder: Path, limit: int | None) -> Task:
    """One label of several; where the set has no validation part, a tenth of the training part stands in."""
    found = rows(folder / f"{name}.jsonl.gz", limit)
    train = shuffled(of_split(found, "train", seen_elsewhere(folder, name)))
    validation = of_split(found, "val", set())
    if not validation:
        held_out = len(train) // 10
        train, validation = train[held_out:], train[:held_out]
    labels = tuple(sorted({row["label"] for row in found}))
    return split_task(labels, train, validation, of_split(found, "test", set()))


def news(folder: Path, limit: int | None) -> Task:
    """AG News: World, Sports, Business, Sci/Tech."""
    return topics("news", folder, limit)


def languages(folder: Path, limit: int | None) -> Task:
    """SIB-200: seven topics in twenty languages."""
    return topics("topics_multilingual", folder, limit)


def emotions(folder: Path, limit: int | None) -> Task:
    """GoEmotions: 28 labels, of which a text can have several."""
    found = rows(folder / "emotions.jsonl.gz", limit)
    labels = tuple(sorted(set(itertools.chain.from_iterable(row["labels"] for row in found))))
    unseen = seen_elsewhere(folder, "emotions")
    train = of_split(found, "train", unseen)
    return split_task(labels, train, of_split(found, "val", set()), of_split(found, "test", set()))


def edits(folder: Path, limit: int | None) -> Task:
    """Reviews and their edits that flip the label, NEG or POS; IMDb reviews are learned from as well."""
    found = rows(folder / "counterfactual_movies.jsonl.gz", limit)
    unseen = seen_elsewhere(folder, "counterfactual_movies")
    more = of_split(rows(folder / "imdb.jsonl.gz", limit), "train", unseen)
    train = of_split(found, "train", unseen)
    known = {normalized(row["text"]) for row in train}
    learned = train + [row for row in shuffled(more) if normalized(row["text"]) not in known][: len(train)]
    return split_task(("NEG", "POS"), learned, of_split(found, "val", set()), of_split(found, "test", set()))


def english_topics(folder: Path, limit: int | None) -> Task:
    """SIB-200, its English part: seven topics."""
    found = [row for row in rows(folder / "topics_multilingual.jsonl.gz", None) if row["language"] == "eng_Latn"]
    labels = tuple(sorted({row["label"] for row in found}))
    parts = (of_split(found, split, set())[:limit] for split in ("train", "val", "test"))
    return split_task(labels, *parts)


def same_topic(folder: Path, limit: int | None) -> Task:
    """Two reports of AG News: do they have the same topic? Half of the pairs do."""
    single = news(folder, limit)
    labels, draw = ("different", "same"), random.Random(0)

    def pairs(items: list[Item]) -> list[Item]:
        groups: dict[Goal, list[Text]] = {}
        for text, goal in items:
            groups.setdefault(goal, []).append(text)
        found: list[Item] = []
        for number, (text, goal) in enumerate(items):
            others = [goal] if number % 2 else [other for other in groups if other != goal] or [goal]
            chosen = draw.choice(others)
            found.append(((str(text), str(draw.choice(groups[chosen]))), one(labels, labels[chosen == goal])))
        return found

    return Task(labels, pairs(single.train), pairs(single.validation), pairs(single.test))


def bert_like(width: int, layers: int, heads: int) -> dict[str, Any]:
    """The sizes of BERT and its kin."""
    return {
        "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": 2 * width,
        "attention_probs_dropout_prob": 0.0,
    }  # fmt: skip


def further(name: str, read: Callable[[Path, int | None], Task], data: str, positions: int, cuts: tuple[int, ...],
            **settings: Any) -> Recipe:  # fmt: skip
    """Return the recipe of a pretrained encoder that is trained further."""
    return Recipe(
        name, ENCODER, ENCODER, read, data, {}, 0, positions, cuts, learning_rate=5e-5, average=0.98, **settings
    )


SST = "sst (Stanford Sentiment Treebank): sentences and phrases"
IMDB = "imdb and the training pairs of counterfactual_movies"

RECIPES = (
    Recipe("bert-sst", "bert", "wordpiece", sentences, SST, bert_like(192, 4, 3), 8000, 128, (128,) * 6,
           phrases_a_round=30_000),
    Recipe("modernbert-imdb", "modernbert", "bpe", reviews, IMDB,
           {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 288,
            "classifier_pooling": "mean", "mlp_dropout": 0.1, "embedding_dropout": 0.1, "classifier_dropout": 0.1},
           8000, 256, (96, 128, 192, 256), shortest_cut=64, batch_tokens=4096),
    Recipe("distilbert-news", "distilbert", "wordpiece", news, "news (AG News)",
           {"dim": 192, "n_layers": 3, "n_heads": 3, "hidden_dim": 384, "attention_dropout": 0.0},
           8000, 128, (128,) * 8),
    Recipe("gpt2-emotions", "gpt2", "bpe", emotions, "emotions (GoEmotions)",
           {"n_embd": 192, "n_layer": 4, "n_head": 3, "n_inner": 384, "attn_pdrop": 0.0}, 8000, 128, (128,) * 5),
    Recipe("xlm-roberta-topics", "xlm-roberta", "unigram", languages, "topics_multilingual (SIB-200), 20 languages",
           bert_like(192, 3, 3), 12_000, 128, (128,) * 8),
    Recipe("electra-news", "electra", "wordpiece", news, "news (AG News)",
           bert_like(192, 3, 3) | {"embedding_size": 128}, 8000, 128, (128,) * 8),
    Recipe("llama-imdb", "llama", "bpe", reviews, IMDB,
           {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 3, "num_key_value_heads": 3,
            "intermediate_size": 384}, 8000, 256, (96, 128, 192, 256), shortest_cut=64, batch_tokens=4096),
    further("encoder-sst", sentences, SST, 128, (128,) * 2, phrases_a_round=3000),
    further("encoder-imdb", reviews, IMDB, 256, (128, 256), shortest_cut=96, texts_a_round=4000),
    further("encoder-news", news, "news (AG News)", 128, (128,) * 2, texts_a_round=6000),
    further("encoder-emotions", emotions, "emotions (GoEmotions)", 128, (64,) * 3, texts_a_round=15_000),
    further("encoder-edits", edits, "counterfactual_movies and as many reviews of imdb", 256, (128, 192, 256),
            shortest_cut=96),
    further("encoder-topics", english_topics, "topics_multilingual (SIB-200), English", 128, (128,) * 8),
    further("encoder-pairs", same_topic, "pairs of news (AG News)", 192, (192,) * 2, texts_a_round=6000),
    Recipe("gpt2-words-sst", "gpt2", ENCODER, sentences, SST,
           {"n_layer": 3, "n_head": 6, "n_inner": 768, "attn_pdrop": 0.0}, 0, 128, (128,) * 4,
           phrases_a_round=20_000),
    Recipe("llama-words-sst", "llama", ENCODER, sentences, SST,
           {"num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 3,
            "intermediate_size": 768}, 0, 128, (128,) * 4, phrases_a_round=20_000),
)  # fmt: skip
