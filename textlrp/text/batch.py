"""Several texts as one batch, padded to one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from textlrp.errors import ModelError
from textlrp.text.encoding import Encoding


@dataclass(frozen=True)
class Batch:
    """Several texts as a model reads them at once, padded to one length.

    Attributes:
        inputs: the inputs of the model, ``[batch][sequence]`` lists of integers; with an attention mask if padded.
        special: for each id, 0 if it stands for a part of the text, else 1.
        places: for each text, its columns; the others are padding.
    """

    inputs: dict[str, list[list[int]]]
    special: list[list[int]]
    places: tuple[slice, ...]


def pad(tokenizer: Any, encodings: Sequence[Encoding], *, filler: int | None = None, side: str | None = None) -> Batch:
    """Put texts into one batch, padded on the side and with the token that the tokenizer names.

    Args:
        tokenizer: the tokenizer.
        encodings: the texts.
        filler: the id to pad with; default: the tokenizer's padding token.
        side: ``"left"`` or ``"right"``; default: the tokenizer's.

    Raises:
        ModelError: the texts have different lengths, and there is no id to pad with.
    """
    longest = max(len(encoding.input_ids) for encoding in encodings)
    padded = any(len(encoding.input_ids) < longest for encoding in encodings)
    filler = getattr(tokenizer, "pad_token_id", None) if filler is None else filler
    fillers = {"input_ids": filler, "special": 1}
    fillers["token_type_ids"] = getattr(tokenizer, "pad_token_type_id", 0)
    if padded and fillers["input_ids"] is None:
        raise ModelError(
            f"{type(tokenizer).__name__} has no padding token, so texts of different lengths cannot be read as one "
            f"batch; set tokenizer.pad_token, or give one text at a time"
        )
    left = (side or getattr(tokenizer, "padding_side", "right")) == "left"
    inputs: dict[str, list[list[int]]] = {}
    places = []
    for encoding in encodings:
        length = len(encoding.input_ids)
        rows = {**encoding.inputs, "special": [int(flag) for flag in encoding.special]}
        if padded:
            rows.setdefault("attention_mask", [1] * length)
        for key, row in rows.items():
            padding = [fillers.get(key) or 0] * (longest - length)
            inputs.setdefault(key, []).append(padding + row if left else row + padding)
        places.append(slice(longest - length, longest) if left else slice(0, length))
    special = inputs.pop("special")
    return Batch(inputs, special, tuple(places))
