"""Texts that are read by a function of one's own, for models without a tokenizer of transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from textlrp.basics import options
from textlrp.errors import InputError
from textlrp.text.alignment import trim
from textlrp.text.batch import Batch, pad
from textlrp.text.encoding import Encoding, check_text, check_words, cut

_RETURNS = (
    "encode returns a dict with input_ids, offset_mapping (the characters [start, end) of each id) and other inputs of "
    "the model, a list of whole numbers each"
)


class FunctionReader:
    """Reads texts by a function of one's own.

    Args:
        function: returns a dict for a text: ``input_ids``, ``offset_mapping`` and, if there are any, the model's other
            inputs and ``special_tokens_mask``; a list, an array or a tensor of one dimension each, or of two with a
            single row. Without the mask, an id is special if it has no characters.
        filler: the id to pad with, or None.
    """

    runs = 1

    def __init__(self, function: Callable[[str], Any], filler: int | None) -> None:
        self.function, self.filler = function, filler

    @property
    def pads(self) -> bool:
        """Whether there is an id to pad with."""
        return self.filler is not None

    def encode(self, text: str, limit: int | None, text_pair: str | None) -> Encoding:
        """Return a text as the function reads it.

        Raises:
            InputError: the text cannot be read, there are two, or the function returns something else.
        """
        if text_pair is not None:
            raise InputError("encode= reads one text: give one, put together as the model was trained")
        check_text(text)
        returned = self.function(text)
        if not isinstance(returned, Mapping) or not {"input_ids", "offset_mapping"} <= set(returned):
            raise InputError(f"{_RETURNS}, not {options.brief(returned)}")
        rows = {key: _row(key, value) for key, value in returned.items()}
        counts = {key: len(row) for key, row in rows.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{key} has {count:,}" for key, count in counts.items())
            raise InputError(f"{_RETURNS}, as many of each, and {listed}")
        offsets = rows.pop("offset_mapping")
        for start, end in offsets:
            if not 0 <= start <= end <= len(text):
                raise InputError(f"encode gives an id the characters {start} to {end} of a text of {len(text):,}")
        starts = [start for start, end in offsets if start < end]
        if starts != sorted(starts):
            raise InputError("encode gives characters that run backward: its ids stand in the order of the text")
        special = tuple(map(bool, rows.pop("special_tokens_mask", [start == end for start, end in offsets])))
        characters = [(0, 0) if flag else trim(text, *offset) for flag, offset in zip(special, offsets, strict=True)]
        pieces = tuple(
            f"<{number}>" if flag else text[start:end]
            for number, flag, (start, end) in zip(rows["input_ids"], special, offsets, strict=True)
        )
        encoding = Encoding(rows, pieces, tuple(characters), special, (0,) * len(pieces))
        check_words(self, (text,), encoding)
        return cut(self, (text,), encoding, limit)

    def pad(self, encodings: Sequence[Encoding]) -> Batch:
        """Put texts into one batch, padded on the right."""
        return pad(self, encodings, filler=self.filler)


def _row(key: str, value: Any) -> list[Any]:
    """Return what a function gives for each id, as a list."""
    try:
        row = numpy.asarray(value.tolist() if hasattr(value, "tolist") else value)
    except ValueError:  # lists of different lengths
        row = numpy.empty(0)
    dimensions = 2 if key == "offset_mapping" else 1
    row = row[0] if row.ndim == dimensions + 1 and len(row) == 1 else row
    if row.ndim != dimensions or row.dtype.kind not in "iub" or (dimensions == 2 and row.shape[1] != 2):
        raise InputError(f"{_RETURNS}, and {key} is {options.brief(value)}")
    return [tuple(pair) for pair in row.tolist()] if dimensions == 2 else row.astype(int).tolist()
