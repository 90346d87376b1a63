"""Sets of documents, with the labels that the data gives them: the input of an evaluation or a run."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from textlrp.basics import options
from textlrp.data import corpora
from textlrp.data.documents import InputDocument, SkippedRow, read_documents
from textlrp.data.fingerprints import fingerprint
from textlrp.data.short_names import short_names
from textlrp.errors import InputError
from textlrp.explain.label_names import LabelReading


@dataclass(frozen=True)
class DocumentSet:
    """Documents under a name.

    Attributes:
        name: its name in tables.
        documents: at least one; every id is unique.
        labels: for each document the labels that the data gives it, by its id: none, one or several.
        available: how many documents there are of which these are a random sample; None if these are all.
        column: the different labels of all of them, from which these are a sample; empty if these are all.
        skipped: the rows of the table that are no documents.
        note: a sentence on how the table was read, or an empty one.
    """

    name: str
    documents: tuple[InputDocument, ...]
    labels: Mapping[str, tuple[str, ...]]
    available: int | None = None
    column: tuple[str, ...] = ()
    skipped: tuple[SkippedRow, ...] = ()
    note: str = ""

    def sample(self, limit: int | None, seed: int = 0) -> DocumentSet:
        """Return at most ``limit`` of the documents, drawn at random, in their order; None takes all.

        Raises:
            InputError: limit or seed is not such a number.
        """
        limit, seed = checked_limit(limit), options.whole(seed, "seed is a whole number, 0 or more", 0)
        if limit is None or limit >= len(self.documents):
            return self
        places = random.Random(f"documents {seed}").sample(range(len(self.documents)), limit)
        documents = tuple(self.documents[i] for i in sorted(places))
        labels = {document.id: self.labels[document.id] for document in documents}
        return replace(
            self,
            documents=documents,
            labels=labels,
            available=self.available or len(self.documents),
            column=self.all_labels,
        )

    @property
    def all_labels(self) -> tuple[str, ...]:
        """The different labels of all documents, those that a sample left out too."""
        return self.column or tuple(dict.fromkeys(label for labels in self.labels.values() for label in labels))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over ids, texts, labels and marked words, in order."""
        return fingerprint([[d.id, d.text, d.text_pair, self.labels[d.id], d.rationales] for d in self.documents])

    def to_dict(self) -> dict[str, Any]:
        """Return the facts that a plan records."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "documents": len(self.documents),
            "labeled": sum(bool(labels) for labels in self.labels.values()),
            "marked": sum(bool(document.rationales) for document in self.documents),
        }

    def right(self, reading: LabelReading) -> dict[str, tuple[str, ...]]:
        """Return the labels of each document that has any, by the model's names.

        If the corpus and the model have no label in common, the result is empty.
        """
        right = {id: reading.of(labels) for id, labels in self.labels.items()}
        if not any(label in reading.known for labels in right.values() for label in labels):
            return {}
        return {id: labels for id, labels in right.items() if labels}


def checked_limit(limit: Any, name: str = "limit") -> int | None:
    """Return a number of documents, or None for all of them.

    Raises:
        InputError: it is neither.
    """
    return None if limit is None else options.whole(limit, f"{name} is a number of documents, 1 or more", 1)


def read_document_sets(
    names: Sequence[str],
    *,
    text: str | None = None,
    label: str | None = None,
    id: str | None = None,
    rationales: str | None = None,
    encoding: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> tuple[DocumentSet, ...]:
    """Read documents for an evaluation.

    Args:
        names: bundled corpora, files, folders or data sets as :func:`textlrp.data.documents.read_documents` takes them,
            each followed by ``:`` and a split if it has several.
        text, label, id, rationales, encoding: columns and the encoding, as there.
        limit: the most documents to take of each source: a random sample, since files are often sorted.
        seed: the seed of that sample.

    Raises:
        InputError: a source cannot be read, or is named twice.
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InputError(f"documents are read from a list of names, not {options.brief(names)}")
    short_names(names, "corpus")
    limit, seed = checked_limit(limit), options.whole(seed, "seed is a whole number, 0 or more", 0)
    pairs = [_source_and_split(name) for name in names]
    sources = list(dict.fromkeys(source for source, _ in pairs))
    short = dict(zip(sources, short_names(sources, "corpus"), strict=True))
    sets = []
    for source, split in pairs:
        table = read_documents(
            source, text=text, label=label, id=id, rationales=rationales, split=split, encoding=encoding
        )
        name = short[source] + (f":{split}" if split else "")
        labels = {document.id: document.given for document in table.documents}
        read = DocumentSet(name, table.documents, labels, column=table.labels, skipped=table.skipped, note=table.note)
        sets.append(read.sample(limit, seed))
    return tuple(sets)


def _source_and_split(name: str) -> tuple[str, str | None]:
    """Split ``FILE:SPLIT``; a colon in the name of a file, or of a data set on the hub, is part of that name."""
    source, colon, split = name.rpartition(":")
    parts = colon and split and not os.path.exists(name) and (source in corpora.names() or os.path.exists(source))
    return (source, split) if parts else (name, None)
