"""Overlapping windows over texts that are longer than a model reads."""

from __future__ import annotations

from typing import Any

from textlrp.basics import options
from textlrp.errors import InputError
from textlrp.text.encoding import Encoding, check_prompt_room, check_room


def windows(tokenizer: Any, encoding: Encoding, limit: int, overlap: int | None = None) -> list[list[int]]:
    """Return overlapping windows over a text that is longer than a model reads, each as indices of ids.

    Every window has the special tokens of the whole and, of a pair, all of the shorter text. The windows are spread
    evenly, each as long as the model reads, so that none is a short remainder.

    Args:
        tokenizer: the tokenizer, for messages.
        encoding: the whole text.
        limit: the number of ids in a window, special tokens included.
        overlap: the least number of ids that neighboring windows share, besides those that all windows have; default:
            a quarter of a window's room.

    Raises:
        InputError: the overlap leaves a window no new ids, or is not a number of 0 or more.
        ModelError: the limit leaves no room for the text.
    """
    runs = encoding.runs
    count = encoding.longest
    if count <= limit:
        return [list(range(len(encoding.input_ids)))]
    if len(runs) > 1 and not encoding.prompts:
        raise InputError(
            f"one of the texts takes {count:,} ids, and {limit:,} are read at once: texts that are read apart have no "
            f"windows, so let them be cut, with long='truncate'"
        )
    slides = max((0, 1), key=lambda part: len(encoding.own(part)))
    own = set(encoding.own(slides))
    moving = [[i for i in run if i in own] for run in runs]
    length = len(moving[0])  # without a cut, all runs read the same ids of the text
    fixed = sorted(set(range(len(encoding.input_ids))) - own)
    room = limit - (count - length)
    if encoding.prompts:
        check_prompt_room(room, limit)
    elif slides or len(encoding.truncated) > 1:
        if room < 1:
            raise InputError(
                f"the model reads {limit} ids at once, and the shorter text of the pair takes {len(fixed)} of them, "
                f"special tokens included: no room is left for the other; shorten it"
            )
    else:
        check_room(tokenizer, len(fixed), limit)
    says = f"overlap is a number of ids from 0 to {room - 1}: a window of {limit} ids has room for {room} of the text"
    step = max(1, 3 * room // 4) if overlap is None else room - options.whole(overlap, says, 0, room - 1)
    last = length - room
    number = -(-last // step) + 1
    starts = [last * i // (number - 1) for i in range(number)]
    return [sorted([*fixed, *(i for run in moving for i in run[start : start + room])]) for start in starts]
