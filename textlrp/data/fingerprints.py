"""The documents that an evaluation runs on, and fingerprints of data, models and rules. It needs no torch to import."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlrp.basics import options, readable
from textlrp.data import corpora
from textlrp.data.documents import Source, match_labels, read_documents
from textlrp.data.tables import read_rows
from textlrp.errors import InputError

if TYPE_CHECKING:
    from textlrp.explain.explainer import Explainer

#: The column of several labels.
_LABELS = "labels"


@dataclass(frozen=True)
class Corpus:
    """Documents under a name.

    Attributes:
        name: how tables call it.
        documents: at least one; every id is unique.
        labels: for each document the labels that the data gives it, by its id: none, one or several.
    """

    name: str
    documents: tuple[Source, ...]
    labels: Mapping[str, tuple[str, ...]]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over ids, texts, labels and marked words, in order."""
        return _digest([[d.id, d.text, d.text_pair, self.labels[d.id], d.rationales] for d in self.documents])

    def to_dict(self) -> dict[str, Any]:
        """Return what a plan says of it."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "documents": len(self.documents),
            "labeled": sum(bool(labels) for labels in self.labels.values()),
            "marked": sum(bool(each.rationales) for each in self.documents),
        }

    def right(self, known: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the labels of each document as a model calls them (:func:`textlrp.data.documents.match_labels`).

        Where none of the corpus is one of the model's, there are none: it says nothing of the model.
        """
        listed = [label for each in self.documents for label in self.labels[each.id]]
        names = dict(zip(listed, match_labels(listed, known), strict=True))
        if not set(names.values()) & set(known):
            return {}
        return {id: tuple(str(names[label]) for label in labels) for id, labels in self.labels.items() if labels}


def read_corpora(
    names: Sequence[str],
    *,
    text: str | None = None,
    label: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> tuple[Corpus, ...]:
    """Read corpora for an evaluation.

    Args:
        names: bundled corpora, files, folders or data sets as :func:`textlrp.data.documents.read_documents` takes them,
            each with ``:`` and a split behind it if it has several.
        text, label: columns, as there; without a column ``label``, a document may have several, in a column ``labels``.
        limit: how many documents to take of each at most: drawn by the seed, as files are often sorted.
        seed: what they are drawn by.

    Raises:
        InputError: one cannot be read, or is named twice.
    """
    short_names(names, "corpus")
    if limit is not None:
        limit = options.whole(limit, "limit is a number of documents, 1 or more", 1)
    seed = options.whole(seed, "seed is a whole number, 0 or more", 0)
    parted = [_parted(name) for name in names]
    sources = list(dict.fromkeys(source for source, _ in parted))
    called = dict(zip(sources, short_names(sources, "corpus"), strict=True))
    found = []
    for source, split in parted:
        documents, labels = _read(source, split, text, label)
        if limit is not None and limit < len(documents):
            drawn = random.Random(f"documents {seed}").sample(range(len(documents)), limit)
            documents = [documents[i] for i in sorted(drawn)]
        own = {each.id: labels[each.id] for each in documents}
        found.append(Corpus(called[source] + (f":{split}" if split else ""), tuple(documents), own))
    return tuple(found)


def _read(
    source: str, split: str | None, text: str | None, label: str | None
) -> tuple[list[Source], dict[str, tuple[str, ...]]]:
    """Return the documents of a corpus, and their labels by id."""
    several: list[tuple[str, ...]] | None = None
    if label is None:
        rows = read_rows(source, split)
        given = [values.get(_LABELS) for _, values in rows.rows]
        # Where there is one label, too, it is what people marked the words for.
        single = any(values.get("label") is not None for _, values in rows.rows)
        if not single and any(isinstance(each, (list, tuple)) and each for each in given):
            names = rows.classes.get(_LABELS)
            several = [tuple(_name(each, names) for each in labels or ()) for labels in given]
            label = ""
    documents = read_documents(source, text=text, label=label, split=split)
    if several is not None:
        return documents, {each.id: labels for each, labels in zip(documents, several, strict=True)}
    return documents, {each.id: () if each.label is None else (each.label,) for each in documents}


def _name(label: Any, names: Sequence[str] | None) -> str:
    return names[label] if names is not None and isinstance(label, int) and 0 <= label < len(names) else str(label)


def _parted(name: str) -> tuple[str, str | None]:
    """Part ``FILE:SPLIT``; a colon in the name of a file, or of a data set on the hub, is part of that name."""
    source, colon, split = name.rpartition(":")
    there = colon and split and not os.path.exists(name) and (source in corpora.names() or os.path.exists(source))
    return (source, split) if there else (name, None)


def short_names(given: Sequence[str], what: str) -> tuple[str, ...]:
    """Return how tables call files and folders: without where they are, as long as that tells them apart.

    Raises:
        InputError: one is given twice.
    """
    twice = next((name for i, name in enumerate(given) if name in given[:i]), None)
    if twice is not None:
        raise InputError(f"the {what} {twice!r} is given twice: name each once")
    short = [_short(name) for name in given]
    return tuple(short if len(set(short)) == len(short) else given)


def _short(name: str) -> str:
    if name in corpora.names() or not os.path.exists(name):
        return name  # a name that is bundled, or one on the hub
    short = os.path.basename(os.path.abspath(name))
    for suffix in (".gz", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt"):
        short = short.removesuffix(suffix) or short
    return short


def model_facts(name: str, explainer: Explainer) -> dict[str, Any]:
    """Return what a plan says of a model: its name, kind, size, labels and fingerprint."""
    from textlrp.explain.explainer import DEMO_NAME

    parameters = dict(explainer.model.named_parameters())
    outputs = getattr(explainer.config, "num_labels", None)
    return {
        "name": name,
        "built_in": explainer.name == DEMO_NAME,
        "architecture": type(explainer.model).__name__,
        "parameters": sum(each.numel() for each in parameters.values()),
        "labels": outputs,
        "fingerprint": model_fingerprint(explainer),
    }


#: What a config says of the place and the library that a model was loaded from, and not of the model.
_PLACES = ("_name_or_path", "_commit_hash", "transformers_version", "torch_dtype", "dtype")


def model_fingerprint(explainer: Explainer) -> str:
    """Return the SHA-256 over a model's config, its weights with their dtypes, and its tokenizer's vocabulary."""
    import torch

    config = explainer.config.to_dict() if explainer.config is not None else {}
    digest = hashlib.sha256(_canonical({key: value for key, value in config.items() if key not in _PLACES}))
    for name, tensor in sorted(explainer.model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    digest.update(type(explainer.tokenizer).__name__.encode())
    vocabulary: dict[str, int] = getattr(explainer.tokenizer, "get_vocab", dict)()
    digest.update(_canonical(vocabulary))
    return digest.hexdigest()


def rules_fingerprints(methods: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of each file of rules among some methods, by the method.

    Raises:
        InputError: a file cannot be read.
    """
    found = {}
    for method in methods:
        kind, colon, path = method.partition(":")
        if kind == "rules" and colon:
            try:
                readable.check(path)
                found[method] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            except (OSError, ValueError) as error:
                raise InputError(f"cannot read {path!r}: {getattr(error, 'strerror', None) or error}") from None
    return found


def method_names(methods: Sequence[str]) -> tuple[str, ...]:
    """Return how tables call methods: files of rules by their names alone.

    Raises:
        InputError: a method is given twice.
    """
    prefix = "rules:"
    files = [method.removeprefix(prefix) for method in methods if method.startswith(prefix)]
    short = dict(zip(files, short_names(files, "file of rules"), strict=True))
    twice = next((name for i, name in enumerate(methods) if name in methods[:i]), None)
    if twice is not None:
        raise InputError(f"the method {twice!r} is given twice: name each once")
    return tuple(prefix + short[m.removeprefix(prefix)] if m.startswith(prefix) else m for m in methods)


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value)).hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, default=str).encode()
