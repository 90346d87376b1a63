"""JSON for people and for machines: what a text of a hundred thousand words needs of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def json_text(values: Mapping[str, Any]) -> str:
    """Return an object as JSON, with what lists and objects in it hold on a line each.

    That is short where a text has a hundred thousand words, and each of them is written by json's fast encoder, which
    knows no indents. Lists may be iterators: what they yield is held as text alone.

    Raises:
        ValueError: there is a NaN or an infinity in it.
    """
    pieces = ["{\n"]
    for i, (key, value) in enumerate(values.items()):
        pieces.append(f"{',' + chr(10) if i else ''}  {_ENCODER.encode(key)}: ")
        if isinstance(value, Mapping):
            _listed(pieces, (f"{_ENCODER.encode(name)}: {_ENCODER.encode(each)}" for name, each in value.items()), "{}")
        elif isinstance(value, (list, tuple, Iterator)):
            _listed(pieces, map(_ENCODER.encode, value), "[]")
        else:
            pieces.append(_ENCODER.encode(value))
    pieces.append("\n}\n")
    return "".join(pieces)


def _listed(pieces: list[str], values: Iterable[str], around: str) -> None:
    pieces.append(around[0])
    start = len(pieces)
    for value in values:
        pieces.append(",\n    " if len(pieces) > start else "\n    ")
        pieces.append(value)
    pieces.append(f"\n  {around[1]}" if len(pieces) > start else around[1])
