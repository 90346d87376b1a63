"""Short names of files, folders, models and methods, for tables."""

from __future__ import annotations

import os
from collections.abc import Sequence

from textlrp.data import corpora
from textlrp.errors import InputError


def short_names(names: Sequence[str], kind: str) -> tuple[str, ...]:
    """Return the names of files and folders without their paths, unless two would become equal.

    Raises:
        InputError: a name is given twice; the sentence calls it a ``kind``.
    """
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise InputError(f"the {kind} {twice!r} is given twice: name each once")
    short = [_short(name) for name in names]
    return tuple(short if len(set(short)) == len(short) else names)


def _short(name: str) -> str:
    if name in corpora.names() or not os.path.exists(name):
        return name  # a bundled name, or a name on the hub
    short = os.path.basename(os.path.abspath(name))
    for suffix in (".gz", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt"):
        short = short.removesuffix(suffix) or short
    return short


def method_names(methods: Sequence[str]) -> tuple[str, ...]:
    """Return the names of methods, with files of rules by their short names.

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
