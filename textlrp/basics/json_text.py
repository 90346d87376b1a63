"""JSON that people can read and that is fast to write for a text of a hundred thousand words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)

#: Characters that control a terminal or change its direction, and halves of surrogate pairs, which UTF-8 cannot encode.
_ESCAPED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def json_text(values: Mapping[str, Any]) -> str:
    """Return an object as JSON, with each member of its lists and objects on a line.

    So the file is short, and json's fast encoder, which cannot indent, writes each line. Lists may be iterators: their
    values are kept as text alone. Characters that control a terminal are written as escapes.

    Raises:
        ValueError: the object holds a NaN or an infinity.
    """
    pieces = ["{\n"]
    for i, (key, value) in enumerate(values.items()):
        pieces.append(f"{',' + chr(10) if i else ''}  {_ENCODER.encode(key)}: ")
        if isinstance(value, Mapping):
            members = (f"{_ENCODER.encode(name)}: {_ENCODER.encode(member)}" for name, member in value.items())
            _listed(pieces, members, "{}")
        elif isinstance(value, (list, tuple, Iterator)):
            _listed(pieces, map(_ENCODER.encode, value), "[]")
        else:
            pieces.append(_ENCODER.encode(value))
    pieces.append("\n}\n")
    return _ESCAPED.sub(lambda match: f"\\u{ord(match.group()):04x}", "".join(pieces))


def _listed(pieces: list[str], values: Iterable[str], around: str) -> None:
    pieces.append(around[0])
    start = len(pieces)
    for value in values:
        pieces.append(",\n    " if len(pieces) > start else "\n    ")
        pieces.append(value)
    pieces.append(f"\n  {around[1]}" if len(pieces) > start else around[1])
