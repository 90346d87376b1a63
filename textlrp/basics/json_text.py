"""JSON for people and for machines: what a text of a hundred thousand words needs of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)

#: What would command or turn a terminal, and halves of pairs, which are no UTF-8: JSON has escapes for them.
_ESCAPED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def json_text(values: Mapping[str, Any]) -> str:
    """Return an object as JSON, with what lists and objects in it hold on a line each.

    That is short where a text has a hundred thousand words, and each of them is written by json's fast encoder, which
    knows no indents. Lists may be iterators: what they yield is held as text alone. Characters that nobody should have
    in a terminal are written as escapes.

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
    return _ESCAPED.sub(lambda found: f"\\u{ord(found.group()):04x}", "".join(pieces))


def _listed(pieces: list[str], values: Iterable[str], around: str) -> None:
    pieces.append(around[0])
    start = len(pieces)
    for value in values:
        pieces.append(",\n    " if len(pieces) > start else "\n    ")
        pieces.append(value)
    pieces.append(f"\n  {around[1]}" if len(pieces) > start else around[1])
