"""How tables call files, folders, models and methods."""

from __future__ import annotations

import os
from collections.abc import Sequence

from textlrp.data import corpora
from textlrp.errors import InputError


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
