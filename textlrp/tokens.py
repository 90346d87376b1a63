"""Text to ids, with the characters that each id came from."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

from textlrp.errors import AlignmentError, InputError


@dataclass(frozen=True)
class Encoding:
    """One text as a model reads it.

    Attributes:
        inputs: what the model takes, lists of integers of the same length (``input_ids``, ``attention_mask``, ...).
        pieces: the tokenizer's own symbol of each id.
        offsets: the characters ``[start, end)`` of each id in the text; special tokens are empty.
        special: for each id, whether the tokenizer added it.
        truncated: the characters that the model does not read, or None.
    """

    inputs: dict[str, list[int]]
    pieces: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    special: tuple[bool, ...]
    truncated: tuple[int, int] | None

    @property
    def input_ids(self) -> list[int]:
        """The ids themselves."""
        return self.inputs["input_ids"]


def encode(tokenizer: Any, text: str, limit: int | None) -> Encoding:
    """Tokenize a text for a model that reads at most ``limit`` ids, special tokens included.

    Raises:
        InputError: the text is empty, blank, or not valid Unicode, or the limit leaves no room for a token of it.
        AlignmentError: the tokenizer gives no offsets and its tokens cannot be found again in the text.
    """
    _check_text(text)
    if getattr(tokenizer, "is_fast", False):
        encoding = _encode_fast(tokenizer, text, limit)
    else:
        encoding = _encode_slow(tokenizer, text, limit)
    if all(encoding.special):
        raise InputError("the tokenizer finds no token in the text: there is nothing to explain")
    return encoding


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise InputError(f"the text must be a string, not {type(text).__name__}")
    if not text.strip():
        raise InputError("the text is empty: there is nothing to explain" if not text else "the text is blank")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text holds a lone surrogate (U+{ord(text[error.start]):04X}) at character {error.start}, which no tokenizer "
            f"reads; decode it with errors='replace' first"
        ) from None


def _encode_fast(tokenizer: Any, text: str, limit: int | None) -> Encoding:
    full = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False)
    if limit is None or len(full["input_ids"]) <= limit:
        kept, cut = full, None
    else:
        kept = tokenizer(
            text, truncation=True, max_length=limit, return_offsets_mapping=True, return_special_tokens_mask=True
        )
    special = tuple(bool(flag) for flag in kept["special_tokens_mask"])
    offsets = tuple(
        (0, 0) if flag else (int(start), int(end))
        for (start, end), flag in zip(kept["offset_mapping"], special, strict=True)
    )
    if limit is not None and len(full["input_ids"]) > limit:
        cut = _cut(text, offsets, special, getattr(tokenizer, "truncation_side", "right"))
    inputs = {key: list(value) for key, value in kept.items() if key not in ("offset_mapping", "special_tokens_mask")}
    pieces = tuple(tokenizer.convert_ids_to_tokens(inputs["input_ids"]))
    return Encoding(inputs, pieces, _place_special(offsets, special), special, cut)


def _cut(
    text: str, offsets: tuple[tuple[int, int], ...], special: tuple[bool, ...], side: str
) -> tuple[int, int] | None:
    read = [offset for offset, flag in zip(offsets, special, strict=True) if not flag]
    if not read:
        raise InputError("the model reads so few ids that its special tokens leave no room for the text")
    if side == "left":
        return (0, min(start for start, _ in read))
    return (max(end for _, end in read), len(text))


def _place_special(
    offsets: tuple[tuple[int, int], ...], special: tuple[bool, ...]
) -> tuple[tuple[int, int], ...]:
    """Give each special token the empty span at the place in the text where it stands."""
    placed, last = [], 0
    for (start, end), flag in zip(offsets, special, strict=True):
        placed.append((last, last) if flag else (start, end))
        last = last if flag else max(last, end)
    return tuple(placed)


def _encode_slow(tokenizer: Any, text: str, limit: int | None) -> Encoding:
    """Align the tokens of a tokenizer without offsets: by code points, by bytes, or by their spelling."""
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    pieces = [str(piece) for piece in tokenizer.convert_ids_to_tokens(ids)]
    aligned = _by_length(tokenizer, text, ids, pieces) or _by_spelling(tokenizer, text, pieces)
    if aligned is None:
        raise AlignmentError(
            f"{type(tokenizer).__name__} gives no character offsets, and its tokens cannot be found again in the text; "
            f"use the fast tokenizer of this model (AutoTokenizer.from_pretrained(..., use_fast=True))"
        )
    whole = tokenizer(text, verbose=False)
    options: dict[str, Any] = {}
    if limit is not None and len(whole["input_ids"]) > limit:
        options = {"truncation": True, "max_length": limit}
        whole = tokenizer(text, **options)
    all_ids = list(whole["input_ids"])
    start = _find(all_ids, ids)
    if start is None:
        raise AlignmentError(
            f"{type(tokenizer).__name__} gives no character offsets, and with its special tokens the ids of the text are "
            f"other ones than without; use the fast tokenizer of this model"
        )
    first, at, count = start
    special = tuple(not at <= i < at + count for i in range(len(all_ids)))
    offsets = tuple((0, 0) if flag else aligned[i - at + first] for i, flag in enumerate(special))
    cut = _cut(text, offsets, special, getattr(tokenizer, "truncation_side", "right")) if options else None
    inputs = {key: list(value) for key, value in whole.items() if isinstance(value, list)}
    pieces = [str(piece) for piece in tokenizer.convert_ids_to_tokens(all_ids)]
    return Encoding(inputs, tuple(pieces), _place_special(offsets, special), special, cut)


def _find(whole: list[int], part: list[int]) -> tuple[int, int, int] | None:
    """Find the longest run of ``whole`` that is the head (or the tail) of ``part``: ``(from, at, count)``."""
    for count in range(len(part), 0, -1):
        for first in dict.fromkeys((0, len(part) - count)):
            run = part[first : first + count]
            for at in range(len(whole) - count + 1):
                if whole[at : at + count] == run:
                    return first, at, count
        if count < len(part) - (len(part) - len(whole)) - 8:
            break
    return None


def _by_length(tokenizer: Any, text: str, ids: list[int], pieces: list[str]) -> list[tuple[int, int]] | None:
    """One id for each code point, or for each byte of the UTF-8 text."""
    if len(ids) == len(text) and all(piece == char for piece, char in zip(pieces, text, strict=True)):
        return [(i, i + 1) for i in range(len(text))]
    spans = [(i, i + 1) for i, char in enumerate(text) for _ in char.encode("utf-8")]
    if len(ids) == len(spans) and tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text:
        return spans
    return None


def _fold(text: str) -> str:
    """Return a spelling in which a tokenizer's normalization (case, accents, compatibility forms) no longer shows."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return "".join(char for char in decomposed if not unicodedata.combining(char) and not char.isspace())


def _by_spelling(tokenizer: Any, text: str, pieces: list[str]) -> list[tuple[int, int]] | None:
    """Find each piece in turn in the folded text; an unknown piece takes the word that stands between its neighbors."""
    letters = [(letter, i) for i, char in enumerate(text) for letter in _fold(char)]
    unknown = getattr(tokenizer, "unk_token", None)
    spans: list[tuple[int, int] | None] = []
    cursor = 0
    for piece in pieces:
        if piece == unknown:
            spans.append(None)
            continue
        spelled = next((s for s in _spellings(tokenizer, piece) if _matches(letters, cursor, s)), None)
        if spelled is None and spans and spans[-1] is None:
            spelled, cursor = _after_unknown(tokenizer, piece, letters, cursor)
        if spelled is None:
            return None
        if not spelled:
            place = letters[cursor][1] if cursor < len(letters) else len(text)
            spans.append((place, place))
            continue
        spans.append((letters[cursor][1], letters[cursor + len(spelled) - 1][1] + 1))
        cursor += len(spelled)
    if cursor < len(letters) and (not spans or spans[-1] is not None):
        return None
    return _fill_unknown(spans, text)


def _spellings(tokenizer: Any, piece: str) -> list[str]:
    """Return how a piece may be spelled in the text, with the markers of the usual vocabularies removed."""
    plain = piece.removeprefix("##").removesuffix("</w>").removesuffix("@@").lstrip("▁Ġ")
    decoded = tokenizer.convert_tokens_to_string([piece])
    return list(dict.fromkeys((_fold(plain), _fold(decoded))))


def _matches(letters: list[tuple[str, int]], cursor: int, spelled: str) -> bool:
    window = letters[cursor : cursor + len(spelled)]
    return "".join(letter for letter, _ in window) == spelled


def _after_unknown(
    tokenizer: Any, piece: str, letters: list[tuple[str, int]], cursor: int
) -> tuple[str | None, int]:
    for ahead in range(cursor + 1, len(letters)):
        for spelled in _spellings(tokenizer, piece):
            if spelled and _matches(letters, ahead, spelled):
                return spelled, ahead
    return None, cursor


def _fill_unknown(spans: list[tuple[int, int] | None], text: str) -> list[tuple[int, int]] | None:
    """Give unknown pieces the words that the known ones leave between them, if that can be done in one way."""
    filled: list[tuple[int, int]] = []
    i = 0
    while i < len(spans):
        span = spans[i]
        if span is not None:
            filled.append(span)
            i += 1
            continue
        run = next((j for j in range(i, len(spans)) if spans[j] is not None), len(spans))
        start = filled[-1][1] if filled else 0
        after = spans[run] if run < len(spans) else None
        end = after[0] if after is not None else len(text)
        words = _words_between(text, start, end)
        if run - i == 1 and words:
            filled.append((words[0][0], words[-1][1]))
        elif len(words) == run - i:
            filled.extend(words)
        else:
            return None
        i = run
    return filled


def _words_between(text: str, start: int, end: int) -> list[tuple[int, int]]:
    words, at = [], start
    for word in text[start:end].split():
        at = text.index(word, at)
        words.append((at, at + len(word)))
        at += len(word)
    return words
