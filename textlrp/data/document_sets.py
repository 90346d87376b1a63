"""Sets of documents, with the labels that the data gives them: what an evaluation or a run works on."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textlrp.basics import options
from textlrp.data import corpora
from textlrp.data.documents import InputDocument, match_labels, read_documents
from textlrp.data.fingerprints import fingerprint
from textlrp.data.short_names import short_names
from textlrp.data.tables import read_rows
from textlrp.errors import InputError

#: The column of several labels.
_LABELS = "labels"


@dataclass(frozen=True)
class DocumentSet:
    """Documents under a name.

    Attributes:
        name: how tables call it.
        documents: at least one; every id is unique.
        labels: for each document the labels that the data gives it, by its id: none, one or several.
    """

    name: str
    documents: tuple[InputDocument, ...]
    labels: Mapping[str, tuple[str, ...]]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over ids, texts, labels and marked words, in order."""
        return fingerprint([[d.id, d.text, d.text_pair, self.labels[d.id], d.rationales] for d in self.documents])

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


def read_document_sets(
    names: Sequence[str],
    *,
    text: str | None = None,
    label: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> tuple[DocumentSet, ...]:
    """Read documents for an evaluation.

    Args:
        names: bundled corpora, files, folders or data sets as :func:`textlrp.data.documents.read_documents` takes them,
            each with ``:`` and a split behind it if it has several.
        text, label: columns, as there; without a column ``label``, a document may have several, in a column ``labels``.
        limit: how many documents to take of each at most: drawn by the seed, as files are often sorted.
        seed: what they are drawn by.

    Raises:
        InputError: one cannot be read, or is named twice.
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InputError(f"what is read is a list of names, not {options.brief(names)}")
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
        found.append(DocumentSet(called[source] + (f":{split}" if split else ""), tuple(documents), own))
    return tuple(found)


def _read(
    source: str, split: str | None, text: str | None, label: str | None
) -> tuple[list[InputDocument], dict[str, tuple[str, ...]]]:
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
