"""Texts inside other words, as a model reads them: a prompt, or a hypothesis that a text is tested for.

The words around the text belong to an :class:`Encoding` like special tokens do: they stay as they are wherever the
words of the text are replaced or left out, and no word of the text gets their relevance. A model may read a text in
several runs, each with other words around it (one hypothesis for each label); the runs are then one encoding, whose
input :data:`RUN` has the run of each id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from textlrp.text.alignment import Range
from textlrp.text.encoding import PROMPT, RUN, Encoding, check_text, cut, tokenized


def encode_against(tokenizer: Any, text: str, hypotheses: Sequence[str], limit: int | None) -> Encoding:
    """Tokenize a text once with each hypothesis behind it, as the second text of a pair.

    A text that is too long for the model with a hypothesis is cut, as pipelines cut it: each run reads as much of the
    text as its hypothesis leaves room for.

    Raises:
        InputError: the text is empty, blank or not valid Unicode, or a hypothesis leaves no room for it.
        ModelError: the tokenizer takes no pairs.
        AlignmentError: the tokenizer gives no offsets and its tokens cannot be located in the text.
    """
    check_text(text)
    runs = []
    for hypothesis in hypotheses:
        pair = tokenized(tokenizer, (text, hypothesis))
        around = [part == 1 and not special for part, special in zip(pair.parts, pair.special, strict=True)]
        run = with_prompt(replace(pair, truncated=(None,)), around, hypothesis)
        runs.append(cut(tokenizer, (text,), run, limit))
    return joined(runs)


def joined(runs: Sequence[Encoding]) -> Encoding:
    """Return the runs of a text as one encoding.

    Args:
        runs: the runs, which have the same text, special tokens in the same order, and words around them.
    """
    if len(runs) == 1:
        return runs[0]
    inputs = {key: [value for run in runs for value in run.inputs[key]] for key in runs[0].inputs}
    inputs[RUN] = [number for number, run in enumerate(runs) for _ in run.input_ids]
    # What a run leaves out may be read in another.
    unread = [tuple(run.truncated[part] for run in runs) for part in range(len(runs[0].truncated))]
    return Encoding(
        inputs,
        pieces=tuple(piece for run in runs for piece in run.pieces),
        offsets=tuple(offset for run in runs for offset in run.offsets),
        special=tuple(flag for run in runs for flag in run.special),
        parts=tuple(part for run in runs for part in run.parts),
        truncated=tuple(None if None in ranges else min(filter(None, ranges), key=_length) for ranges in unread),
        prompts=tuple(prompt for run in runs for prompt in run.prompts),
        places=tuple(place for run in runs for place in run.places),
        rewritten=any(run.rewritten for run in runs),
    )


def apart(first: Encoding, second: Encoding) -> Encoding:
    """Return two texts that a model reads in a run of its own each, as the texts of a pair."""
    other = replace(second, parts=(1,) * len(second.parts))
    pair = joined([replace(first, truncated=(None,)), replace(other, truncated=(None,))])
    return replace(pair, truncated=(*first.truncated, *second.truncated))


def _length(characters: Range) -> int:
    return characters[1] - characters[0]


def with_prompt(encoding: Encoding, around: Sequence[bool], prompt: str) -> Encoding:
    """Return an encoding in which some ids are words around the text.

    Args:
        encoding: the whole.
        around: for each id, whether it is such a word.
        prompt: the words around the text, which the characters of these ids count.
    """
    places, place = [], 0
    for is_around in around:
        places.append(place)
        place += not is_around
    parts = (
        PROMPT if is_around else 0 if special and len(encoding.truncated) == 1 else part
        for is_around, special, part in zip(around, encoding.special, encoding.parts, strict=True)
    )
    return replace(
        encoding,
        special=tuple(flag or is_around for flag, is_around in zip(encoding.special, around, strict=True)),
        parts=tuple(parts),
        prompts=(prompt,),
        places=tuple(places),
    )
