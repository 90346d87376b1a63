"""The documents that an evaluation runs on, and fingerprints of data, models and rules. It needs no torch to import."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlrp import corpora
from textlrp.errors import InputError
from textlrp.sources import Source, read_documents

if TYPE_CHECKING:
    from textlrp.explainer import Explainer


@dataclass(frozen=True)
class Corpus:
    """Documents under a name.

    Attributes:
        name: how tables call it.
        documents: at least one; every id is unique.
    """

    name: str
    documents: tuple[Source, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over ids, texts, labels and marked words, in order."""
        listed = [[each.id, each.text, each.text_pair, each.label, each.rationales] for each in self.documents]
        return _digest(listed)

    def to_dict(self) -> dict[str, Any]:
        """Return what a plan says of it."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "documents": len(self.documents),
            "labeled": sum(each.label is not None for each in self.documents),
            "marked": sum(bool(each.rationales) for each in self.documents),
        }


def read_corpora(
    names: Sequence[str], *, text: str | None = None, label: str | None = None, limit: int | None = None
) -> tuple[Corpus, ...]:
    """Read corpora for an evaluation.

    Args:
        names: bundled corpora, files, folders or data sets as :func:`textlrp.sources.read_documents` takes them, each
            with ``:`` and a split behind it if it has several.
        text, label: columns, as there.
        limit: how many documents to take of each: the first ones.

    Raises:
        InputError: one cannot be read, or is named twice.
    """
    parted = [_parted(name) for name in names]
    short_names(names, "corpus")
    sources = list(dict.fromkeys(source for source, _ in parted))
    called = dict(zip(sources, short_names(sources, "corpus"), strict=True))
    found = []
    for source, split in parted:
        name = called[source] + (f":{split}" if split else "")
        documents = read_documents(source, text=text, label=label, limit=limit, split=split)
        found.append(Corpus(name, tuple(documents)))
    return tuple(found)


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
    from textlrp.explainer import DEMO_NAME

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
