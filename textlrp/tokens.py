"""Text to ids, with the characters that each id came from.

A span covers the characters of its token without the white space around them, whatever the tokenizer's habit:
``Ġgood`` and ``▁good`` cover ``good``. A token of nothing but white space keeps it. A token that stands for no
character of its own (``▁`` put before the text) has an empty span; the bytes of one character each have that character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from textlrp.errors import AlignmentError, InputError, ModelError

Range = tuple[int, int]

#: How vocabularies write a space, or that a piece starts or ends a word.
_MARKERS = "▁Ġ"


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
    offsets: tuple[Range, ...]
    special: tuple[bool, ...]
    truncated: Range | None

    @property
    def input_ids(self) -> list[int]:
        """The ids themselves."""
        return self.inputs["input_ids"]


def encode(tokenizer: Any, text: str, limit: int | None) -> Encoding:
    """Tokenize a text for a model that reads at most ``limit`` ids, special tokens included.

    Raises:
        InputError: the text is empty, blank or not valid Unicode, or the tokenizer finds nothing in it.
        ModelError: the limit leaves no room for a token of the text.
        AlignmentError: the tokenizer gives no offsets and its tokens cannot be found again in the text.
    """
    check_text(text)
    find = _encode_fast if getattr(tokenizer, "is_fast", False) else _encode_slow
    encoding = find(tokenizer, text, limit)
    if all(encoding.special):
        raise InputError(
            f"the tokenizer finds no token in the text of {len(text)} characters: there is nothing to explain; give a "
            f"text with words"
        )
    starts = [start for start, _ in encoding.offsets]
    if any(not 0 <= start <= end <= len(text) for start, end in encoding.offsets) or starts != sorted(starts):
        raise AlignmentError(
            f"{type(tokenizer).__name__} gives character offsets that lie outside the text or run backward, so no word "
            f"can be told apart; check its normalizer and post-processor"
        )
    return encoding


@dataclass(frozen=True)
class Batch:
    """Several texts as a model reads them at once, padded to one length.

    Attributes:
        inputs: what the model takes, ``[batch][sequence]`` lists of integers; with an attention mask where padded.
        special: for each id, 0 where it stands for a part of the text, else 1.
        places: for each text, the columns that are its own; the others are padding.
    """

    inputs: dict[str, list[list[int]]]
    special: list[list[int]]
    places: tuple[slice, ...]


def pad(tokenizer: Any, encodings: Sequence[Encoding]) -> Batch:
    """Put texts into one batch, padded on the side and with the token that the tokenizer names.

    Raises:
        ModelError: the texts have different lengths, and the tokenizer has no padding token.
    """
    longest = max(len(encoding.input_ids) for encoding in encodings)
    padded = any(len(encoding.input_ids) < longest for encoding in encodings)
    fillers = {"input_ids": getattr(tokenizer, "pad_token_id", None), "special": 1}
    fillers["token_type_ids"] = getattr(tokenizer, "pad_token_type_id", 0)
    if padded and fillers["input_ids"] is None:
        raise ModelError(
            f"{type(tokenizer).__name__} has no padding token, so texts of different lengths cannot be read as one "
            f"batch; set tokenizer.pad_token, or give one text at a time"
        )
    left = getattr(tokenizer, "padding_side", "right") == "left"
    inputs: dict[str, list[list[int]]] = {}
    places = []
    for encoding in encodings:
        length = len(encoding.input_ids)
        rows = {**encoding.inputs, "special": [int(flag) for flag in encoding.special]}
        if padded:
            rows.setdefault("attention_mask", [1] * length)
        for key, row in rows.items():
            filler = [fillers.get(key) or 0] * (longest - length)
            inputs.setdefault(key, []).append(filler + row if left else row + filler)
        places.append(slice(longest - length, longest) if left else slice(0, length))
    special = inputs.pop("special")
    return Batch(inputs, special, tuple(places))


def check_text(text: str) -> None:
    """Raise an error unless a text can be explained.

    Raises:
        InputError: the text is empty, blank, or holds what no text holds; the message says where.
    """
    if not isinstance(text, str):
        raise InputError(f"the text must be a string, not {type(text).__name__}")
    if not text.strip():
        kind = f"blank: it holds only white space ({len(text)} characters)" if text else "empty"
        raise InputError(f"the text is {kind}; there is nothing to explain, give a text with words")
    if "\0" in text:
        raise InputError(
            f"the text holds a NUL (U+0000) at character {text.index(chr(0))}: is it text at all? Give plain UTF-8 "
            f"text without NULs"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text holds a lone surrogate (U+{ord(text[error.start]):04X}) at character {error.start}, which no "
            f"tokenizer reads; decode it as UTF-8 with errors='replace' first"
        ) from None


def _encode_fast(tokenizer: Any, text: str, limit: int | None) -> Encoding:
    options: dict[str, Any] = {"return_offsets_mapping": True, "return_special_tokens_mask": True, "verbose": False}
    found = tokenizer(text, **options)
    cut = limit is not None and len(found["input_ids"]) > limit
    if cut:
        _check_room(tokenizer, sum(found["special_tokens_mask"]), limit)
        found = tokenizer(text, truncation=True, max_length=limit, **options)
    special = tuple(bool(flag) for flag in found["special_tokens_mask"])
    inputs = {key: list(value) for key, value in found.items() if key not in ("offset_mapping", "special_tokens_mask")}
    pieces = _pieces(tokenizer, inputs["input_ids"])
    offsets = tuple(
        (0, 0) if flag else _own_characters(text, int(start), int(end), piece)
        for (start, end), flag, piece in zip(found["offset_mapping"], special, pieces, strict=True)
    )
    unread = _unread(text, offsets, special, tokenizer) if cut else None
    return Encoding(inputs, pieces, _place_special(offsets, special), special, unread)


def _own_characters(text: str, start: int, end: int, piece: str) -> Range:
    start, end = _trim(text, start, end)
    # A marker that the tokenizer put before the text shares the offsets of the text's first character.
    if not piece.strip(_MARKERS) and text[start:end].strip() and text[start:end].strip(_MARKERS):
        return start, start
    return start, end


def _trim(text: str, start: int, end: int) -> Range:
    """Leave out the white space around a token, unless it is all there is."""
    inside = text[start:end]
    if not inside.strip():
        return start, end
    return end - len(inside.lstrip()), start + len(inside.rstrip())


def _check_room(tokenizer: Any, special: int, limit: int | None) -> None:
    if limit is not None and limit <= special:
        raise ModelError(
            f"the model reads {limit} ids, and {type(tokenizer).__name__} adds {special} special tokens: no room is "
            f"left for a text; check max_position_embeddings and model_max_length"
        )


def _unread(text: str, offsets: Sequence[Range], special: Sequence[bool], tokenizer: Any) -> Range:
    """Return the characters that were cut off: at least one, even if the cut went through its bytes."""
    read = [offset for offset, flag in zip(offsets, special, strict=True) if not flag]
    if getattr(tokenizer, "truncation_side", "right") == "left":
        return 0, max(1, min(start for start, _ in read))
    return min(max(end for _, end in read), len(text) - 1), len(text)


def _place_special(offsets: Sequence[Range], special: Sequence[bool]) -> tuple[Range, ...]:
    """Give each special token the empty span at the place in the text where it stands."""
    placed, last = [], 0
    for (start, end), flag in zip(offsets, special, strict=True):
        placed.append((last, last) if flag else (start, end))
        last = last if flag else max(last, end)
    # Special tokens before the text of a left-truncated document stand where its first token starts.
    first = next((start for (start, _), flag in zip(offsets, special, strict=True) if not flag), 0)
    return tuple(
        (max(start, first), max(end, first)) if flag else (start, end)
        for (start, end), flag in zip(placed, special, strict=True)
    )


def _encode_slow(tokenizer: Any, text: str, limit: int | None) -> Encoding:
    """Encode with a tokenizer that knows no offsets: they are found again in the text, or an error is raised."""
    name = type(tokenizer).__name__
    ids = _ids(tokenizer, text)
    aligned = align(tokenizer, text, ids)
    if aligned is None:
        raise AlignmentError(
            f"{name} gives no character offsets, and its {len(ids)} tokens cannot be found again in the text without "
            f"guessing; use a fast tokenizer for this model (one with a tokenizer.json)"
        )
    around = list(tokenizer.build_inputs_with_special_tokens([-1]))
    at = around.index(-1)
    whole = tokenizer(text, verbose=False)
    cut = limit is not None and len(whole["input_ids"]) > limit
    if cut:
        assert limit is not None
        _check_room(tokenizer, len(around) - 1, limit)
        whole = tokenizer(text, truncation=True, max_length=limit, verbose=False)
        room = limit - len(around) + 1
        left = getattr(tokenizer, "truncation_side", "right") == "left"
        kept = slice(len(ids) - room, None) if left else slice(room)
        ids, aligned = ids[kept], aligned[kept]
    if list(whole["input_ids"]) != around[:at] + ids + around[at + 1 :]:
        raise AlignmentError(
            f"{name} gives no character offsets, and with special tokens its ids for this text are other ones than "
            f"without; use a fast tokenizer for this model (one with a tokenizer.json)"
        )
    special = tuple(not at <= i < at + len(ids) for i in range(len(whole["input_ids"])))
    offsets = [(0, 0)] * at + aligned + [(0, 0)] * (len(around) - at - 1)
    inputs = {key: list(value) for key, value in whole.items() if isinstance(value, list)}
    pieces = _pieces(tokenizer, inputs["input_ids"])
    unread = _unread(text, offsets, special, tokenizer) if cut else None
    return Encoding(inputs, pieces, _place_special(offsets, special), special, unread)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _pieces(tokenizer: Any, ids: list[int]) -> tuple[str, ...]:
    return tuple(str(piece) for piece in tokenizer.convert_ids_to_tokens(ids))


def align(tokenizer: Any, text: str, ids: list[int]) -> list[Range] | None:
    """Find the characters of each id of a tokenizer without offsets, or return None where that would be a guess.

    First the words, then the characters are tokenized one by one: where that gives the very ids of the whole text, each
    piece must lie within its word or character. Failing that, the pieces are matched with the text as a whole.
    """
    added = sorted(filter(None, tokenizer.get_added_vocab()), key=len, reverse=True)
    literal = "|".join(map(re.escape, added)) or r"(?!)"
    for unit in (rf"{literal}|(?:(?!{literal})\S)+", f"{literal}|."):
        found = _align_units(tokenizer, text, ids, re.compile(unit, re.DOTALL))
        if found is not None:
            return found
    return _match(tokenizer, text, _pieces(tokenizer, ids))


def _align_units(tokenizer: Any, text: str, ids: list[int], unit: re.Pattern[str]) -> list[Range] | None:
    """Align word by word, or character by character, if these tokenize on their own as they do in the text."""
    known: dict[str, tuple[list[int], list[Range] | None]] = {}
    aligned: list[Range] = []
    for match in unit.finditer(text):
        part = match.group()
        if part not in known:
            own = _ids(tokenizer, part)
            known[part] = own, _match(tokenizer, part, _pieces(tokenizer, own)) if own else []
        own, spans = known[part]
        done = len(aligned)
        if spans is None or ids[done : done + len(own)] != own:
            return None
        aligned += [(match.start() + start, match.start() + end) for start, end in spans]
    return aligned if len(aligned) == len(ids) else None


def _match(tokenizer: Any, text: str, pieces: Sequence[str]) -> list[Range] | None:
    """Match pieces with a text that they spell from end to end, as it is written or else by its letters alone."""
    unknown = getattr(tokenizer, "unk_token", None)
    surfaces = [None if piece == unknown else _surfaces(tokenizer, piece) for piece in pieces]
    exact = _Spelling(text, [(char, i) for i, char in enumerate(text)]).match(surfaces)
    if exact is not None:
        return exact
    if len(text) == 1:  # its bytes, perhaps behind a marker
        return [(0, 0) if not piece.strip(_MARKERS) else (0, 1) for piece in pieces]
    folded = [None if known is None else {_fold(surface) for surface in known} for known in surfaces]
    found = _Spelling(text, [(letter, i) for i, char in enumerate(text) for letter in _fold(char)]).match(folded)
    if found is None:
        return None
    for piece, (start, end) in zip(pieces, found, strict=True):
        inside = piece.strip(_MARKERS)
        if piece != unknown and len(text[start:end].split()) > 1 and not set(inside) & {" ", *_MARKERS}:
            return None  # a piece without a space reaches across white space: the text was spelled otherwise
    return found


def _surfaces(tokenizer: Any, piece: str) -> set[str]:
    """Return how a piece may be spelled in the text, with the markers of the usual vocabularies removed."""
    plain = piece.removeprefix("##").removesuffix("</w>").removesuffix("@@")
    spaced = plain.translate({ord(marker): " " for marker in _MARKERS})
    spellings = {piece, plain, spaced, tokenizer.convert_tokens_to_string([piece])}
    return {spelling.strip() or spelling for spelling in spellings} | ({""} if not spaced.strip() else set())


def _fold(text: str) -> str:
    """Return a spelling in which a tokenizer's normalization (case, accents, compatibility forms) no longer shows."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(c for c in decomposed if not (c.isspace() or unicodedata.category(c) in ("Mn", "Cc", "Cf")))


@dataclass(frozen=True)
class _Spelling:
    """A text as the letters that pieces can match, each with its place in the text."""

    text: str
    letters: list[tuple[str, int]]

    def match(self, surfaces: Sequence[set[str] | None]) -> list[Range] | None:
        """Return the characters of each piece, or None unless there is one way to spell the text with the pieces.

        An unknown piece (None) takes one letter or more; where several ways remain, everything that it may stand for.
        White space may stay unread, every other letter belongs to a piece.
        """
        written = "".join(letter for letter, _ in self.letters)
        ends: list[set[int]] = [{0}]
        for known in surfaces:
            starts = self._skip(ends[-1])
            if known is None:
                ends.append(set(range(min(starts, default=len(written)) + 1, len(written) + 1)))
            else:
                ends.append({at + len(s) for at in starts for s in known if written.startswith(s, at)})
        reach = {at for at in ends[-1] if len(written) in self._skip({at})}
        ranges: list[Range] = []
        for known, before in zip(reversed(surfaces), reversed(ends[:-1]), strict=True):
            starts = self._skip(before)
            if known is None:
                last = max(reach, default=-1)
                starts = {at for at in starts if at < last}
                ways = {(min(starts, default=0), last)}
            else:
                ways = {
                    (at, at + len(s))
                    for at in starts
                    for s in known
                    if at + len(s) in reach and written.startswith(s, at)
                }
                starts = {at for at, _ in ways}
            if not starts:
                return None
            reach = {at for at in before if not starts.isdisjoint(self._skip({at}))}
            places = {_trim(self.text, *self._place(*way)) for way in ways}
            if len(places) > 1 and any(self.text[start:end].strip() for start, end in places):
                return None
            ranges.append((min(start for start, _ in places), max(end for _, end in places)))
        return ranges[::-1] if 0 in reach else None

    def _skip(self, places: set[int]) -> set[int]:
        """Return the places, and those behind the white space that follows them."""
        return {beyond for at in places for beyond in self._beyond(at)}

    def _beyond(self, at: int) -> Iterator[int]:
        yield at
        while at < len(self.letters) and self.letters[at][0].isspace():
            at += 1
            yield at

    def _place(self, start: int, end: int) -> Range:
        if start == end:
            at = self.letters[start][1] if start < len(self.letters) else len(self.text)
            return at, at
        return self.letters[start][1], self.letters[end - 1][1] + 1
