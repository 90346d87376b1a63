"""From text to ids, with the characters of each id.

A span covers the characters of its token without the white space around them: ``Ġgood`` and ``▁good`` cover ``good``.
A token of white space alone keeps it. A token without a character of its own (``▁`` before the text) has an empty span;
each byte of a character has that whole character.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from textlrp.errors import AlignmentError, InputError, ModelError
from textlrp.text.alignment import MARKERS, Range, align, align_words, pieces_of, plain_ids, trim, true_offsets

#: The names of the two texts of a pair in messages.
TEXT_NAMES = ("the text", "the second text")

#: What :attr:`Encoding.parts` has for a word around the text: of a prompt, or of a hypothesis that it is tested for.
PROMPT = 2

#: The input that holds the number of each id's run, if a model reads a text in several runs.
RUN = "run"


@dataclass(frozen=True)
class Encoding:
    """One text, or a pair of texts, as a model reads it.

    Attributes:
        inputs: the inputs of the model, lists of integers of the same length (``input_ids``, ``attention_mask``, ...).
        pieces: the tokenizer's own symbol of each id.
        offsets: the characters ``[start, end)`` of each id in its text; special tokens are empty.
        special: for each id, whether it belongs to none of the texts: the tokenizer added it, or it is a word around
            them.
        parts: for each id, the text that it belongs to: 0, or 1 for the second text of a pair; :data:`PROMPT` for a
            word around the texts, whose characters are those of the prompt of its run.
        truncated: for each text, the characters that the model does not read, or None.
        prompts: for each run, what stands around the texts; empty if nothing does.
        places: for each id, the place among the tokens of the explanation: a token that is read in several runs has one
            place; empty if each id is a token of its own.
        rewritten: whether the tokenizer rewrites words of the text (a link, a user's name, ``&``), so that each id of
            such a word has the characters of the whole word.
    """

    inputs: dict[str, list[int]]
    pieces: tuple[str, ...]
    offsets: tuple[Range, ...]
    special: tuple[bool, ...]
    parts: tuple[int, ...]
    truncated: tuple[Range | None, ...] = (None,)
    prompts: tuple[str, ...] = ()
    places: tuple[int, ...] = ()
    rewritten: bool = False

    @property
    def input_ids(self) -> list[int]:
        """The ids."""
        return self.inputs["input_ids"]

    def take(self, indices: Sequence[int]) -> Encoding:
        """Return the encoding of some of the ids, as if the others were not there."""
        return replace(
            self,
            inputs={key: [row[i] for i in indices] for key, row in self.inputs.items()},
            pieces=tuple(self.pieces[i] for i in indices),
            offsets=tuple(self.offsets[i] for i in indices),
            special=tuple(self.special[i] for i in indices),
            parts=tuple(self.parts[i] for i in indices),
            places=tuple(self.places[i] for i in indices) if self.places else (),
        )

    @property
    def runs(self) -> list[list[int]]:
        """The indices of the ids of each run: those that the model reads at once."""
        numbers = self.inputs.get(RUN)
        if numbers is None:
            return [list(range(len(self.input_ids)))]
        return [[i for i, number in enumerate(numbers) if number == run] for run in range(max(numbers) + 1)]

    @property
    def tokens(self) -> list[list[int]]:
        """The indices of the ids of each token of the explanation: one, or one in each run that reads it."""
        if not self.prompts:
            return [[i] for i in range(len(self.input_ids))]
        found: dict[int, list[int]] = {}
        for i, (place, part) in enumerate(zip(self.places, self.parts, strict=True)):
            if part != PROMPT:
                found.setdefault(place, []).append(i)
        return [found[place] for place in sorted(found)]

    @property
    def longest(self) -> int:
        """The number of ids that the model reads at once, at most."""
        return max(map(len, self.runs)) if RUN in self.inputs else len(self.input_ids)

    def own(self, part: int) -> list[int]:
        """Return the indices of the ids of a text without special tokens: the first text (0) or the second (1)."""
        return [
            i
            for i, (special, of) in enumerate(zip(self.special, self.parts, strict=True))
            if of == part and not special
        ]


def encode(tokenizer: Any, text: str, limit: int | None, text_pair: str | None = None) -> Encoding:
    """Tokenize a text, or a pair, for a model that reads at most ``limit`` ids, special tokens included.

    A text that is too long is cut as the tokenizer would cut it: on its ``truncation_side``, and of a pair the longer
    text.

    Raises:
        InputError: a text is empty, blank or not valid Unicode, or the tokenizer finds no token in it.
        ModelError: the limit leaves no room for a token of the text, or the tokenizer takes no pairs.
        AlignmentError: the tokenizer gives no offsets and its tokens cannot be located in the text.
    """
    texts = (text,) if text_pair is None else (text, text_pair)
    for part_text, name in zip(texts, TEXT_NAMES, strict=False):
        check_text(part_text, name)
    return cut(tokenizer, texts, tokenized(tokenizer, texts), limit)


def tokenized(tokenizer: Any, texts: Sequence[str], **options: Any) -> Encoding:
    """Tokenize a text, or a pair, however long it is; special tokens are not placed in it.

    Args:
        tokenizer: the tokenizer.
        texts: the text, or both.
        **options: options of the tokenizer.

    Raises:
        LRPError: as :func:`encode` raises it.
    """
    encode_texts = _encode_fast if getattr(tokenizer, "is_fast", False) else _encode_slow
    encoding = encode_texts(tokenizer, texts, options)
    check_words(tokenizer, texts, encoding)
    return encoding


def check_words(tokenizer: Any, texts: Sequence[str], encoding: Encoding) -> None:
    """Check that each text has an id, and that the characters of the ids lie in it, one after the other.

    Raises:
        InputError: a text has no id.
        AlignmentError: the characters do not.
    """
    for part, (part_text, name) in enumerate(zip(texts, TEXT_NAMES, strict=False)):
        own = encoding.own(part)
        if not own:
            raise InputError(
                f"the tokenizer finds no token in {name} of {len(part_text)} characters: there is nothing to explain; "
                f"give a text with words"
            )
        offsets = [encoding.offsets[i] for i in own]
        starts = [start for start, _ in offsets]
        if any(not 0 <= start <= end <= len(part_text) for start, end in offsets) or starts != sorted(starts):
            raise AlignmentError(
                f"{type(tokenizer).__name__} gives character offsets that lie outside the text or run backward, so no "
                f"word can be told apart; check its normalizer and post-processor"
            )


def cut(tokenizer: Any, texts: Sequence[str], encoding: Encoding, limit: int | None) -> Encoding:
    """Return a text as far as a model reads it, with special tokens at their places in it.

    Raises:
        ModelError: the limit leaves no room for a token of the text.
    """
    if limit is not None and len(encoding.input_ids) > limit:
        encoding = _cut(tokenizer, texts, encoding, limit)
    return replace(encoding, offsets=_place_special(encoding))


def check_text(text: str, name: str = TEXT_NAMES[0]) -> None:
    """Check that a text can be explained.

    Raises:
        InputError: the text is empty, blank, or holds an invalid character; the message says where.
    """
    if not isinstance(text, str):
        raise InputError(f"{name} must be a string, not {type(text).__name__}")
    if not text.strip():
        kind = f"blank: it holds only white space ({len(text)} characters)" if text else "empty"
        raise InputError(f"{name} is {kind}; there is nothing to explain, give a text with words")
    if "\0" in text:
        raise InputError(
            f"{name} holds a NUL (U+0000) at character {text.index(chr(0))}: is it text at all? Give plain UTF-8 "
            f"text without NULs"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} holds a lone surrogate (U+{ord(text[error.start]):04X}) at character {error.start}, which no "
            f"tokenizer reads; decode it as UTF-8 with errors='replace' first"
        ) from None


def _encode_fast(tokenizer: Any, texts: Sequence[str], options: dict[str, Any]) -> Encoding:
    asked = {"return_offsets_mapping": True, "return_special_tokens_mask": True, "verbose": False}
    encoded = tokenizer(*texts, **asked, **options)
    special = tuple(bool(flag) for flag in encoded["special_tokens_mask"])
    inputs = {
        key: list(value) for key, value in encoded.items() if key not in ("offset_mapping", "special_tokens_mask")
    }
    pieces = pieces_of(tokenizer, inputs["input_ids"])
    numbers = encoded.sequence_ids(0)
    parts = _parts(tokenizer, [None if flag else number or 0 for flag, number in zip(special, numbers, strict=True)])
    offsets = tuple(
        (0, 0) if flag else _own_characters(texts[part], int(start), int(end), piece)
        for (start, end), flag, part, piece in zip(encoded["offset_mapping"], special, parts, pieces, strict=True)
    )
    encoding = Encoding(inputs, pieces, offsets, special, parts, (None,) * len(texts))
    for part, text in enumerate(texts):
        encoding = _with_true_offsets(tokenizer, text, encoding, encoding.own(part))
    return encoding


def _with_true_offsets(tokenizer: Any, text: str, encoding: Encoding, own: list[int]) -> Encoding:
    """Return an encoding whose ids have the characters that they stand for, if the tokenizer's offsets are others.

    Args:
        tokenizer, text: the tokenizer and one of the texts.
        encoding: both texts.
        own: the indices of the text's ids.

    Raises:
        AlignmentError: the ids cannot be found in the text either.
    """
    ids, pieces = [encoding.input_ids[i] for i in own], [encoding.pieces[i] for i in own]
    found, rewritten = true_offsets(tokenizer, text, ids, pieces, [encoding.offsets[i] for i in own])
    if found is None:
        raise AlignmentError(
            f"{type(tokenizer).__name__} gives character offsets at which other words stand than its tokens, and the "
            f"tokens cannot be found in the text; check its normalizer and its offsets"
        )
    placed = list(encoding.offsets)
    for i, characters in zip(own, found, strict=True):
        placed[i] = characters
    return replace(encoding, offsets=tuple(placed), rewritten=encoding.rewritten or rewritten)


def _parts(tokenizer: Any, numbers: Iterable[int | None]) -> tuple[int, ...]:
    """Return the text that each id belongs to; special tokens (None) belong to the text before them."""
    parts, part, apart = [], 0, False
    for number in numbers:
        if number == 1 and part == 0 and not apart:
            raise _no_pairs(tokenizer, "puts nothing between two texts, so the model could not tell them apart")
        part, apart = (part if number is None else number), number is None
        parts.append(part)
    return tuple(parts)


def _no_pairs(tokenizer: Any, why: str) -> ModelError:
    return ModelError(
        f"{type(tokenizer).__name__} takes no pairs: it {why}; give one text, put together as the model was trained"
    )


def _own_characters(text: str, start: int, end: int, piece: str) -> Range:
    start, end = trim(text, start, end)
    # A marker that the tokenizer put before the text has the offsets of the text's first character.
    if not piece.strip(MARKERS) and text[start:end].strip() and text[start:end].strip(MARKERS):
        return start, start
    return start, end


def check_room(tokenizer: Any, special: int, limit: int, texts: int = 1) -> None:
    """Check that a model reads more ids than the tokenizer adds.

    Raises:
        ModelError: it does not.
    """
    if limit < special + texts:
        raise ModelError(
            f"the model reads {limit} ids, and {type(tokenizer).__name__} adds {special} special tokens: no room is "
            f"left for a text; check max_position_embeddings and model_max_length"
        )


def check_prompt_room(room: int, limit: int) -> None:
    """Check that the words around a text leave room for it.

    Raises:
        InputError: they do not.
    """
    if room < 1:
        raise InputError(
            f"the model reads {limit} ids at once, and the words around the text leave no room for it: shorten the "
            f"template or the labels"
        )


def _cut(tokenizer: Any, texts: Sequence[str], encoding: Encoding, limit: int) -> Encoding:
    """Leave out the ids that do not fit, and note their characters as truncated."""
    if encoding.prompts:
        check_prompt_room(limit - sum(encoding.special) - len(texts) + 1, limit)
    check_room(tokenizer, sum(encoding.special), limit, len(texts))
    left = getattr(tokenizer, "truncation_side", "right") == "left"
    room = limit - sum(encoding.special)
    lengths = [len(encoding.own(part)) for part in range(len(texts))]
    kept = {i for i, special in enumerate(encoding.special) if special}
    truncated: list[Range | None] = []
    for part, (text, share) in enumerate(zip(texts, _shares(lengths, room), strict=True)):
        own = encoding.own(part)
        read = own[len(own) - share :] if left else own[:share]
        kept.update(read)
        # At least one character is unread, even if the cut went through its bytes.
        if share == len(own):
            truncated.append(None)
        elif left:
            truncated.append((0, max(1, min(encoding.offsets[i][0] for i in read))))
        else:
            truncated.append((min(max(encoding.offsets[i][1] for i in read), len(text) - 1), len(text)))
    return replace(encoding.take(sorted(kept)), truncated=tuple(truncated))


def _shares(lengths: Sequence[int], room: int) -> Sequence[int]:
    """Return the number of ids to read of each text: the longer of two is cut until they are equally long."""
    if len(lengths) == 1:
        return [min(lengths[0], room)]
    first, second = lengths
    if first + second <= room:
        return lengths
    short = min(first, second, room // 2)
    return (short, room - short) if first <= second else (room - short, short)


def _place_special(encoding: Encoding) -> tuple[Range, ...]:
    """Return the offsets with an empty span for each special token, at its place in its text."""
    # Special tokens before the text of a left-truncated document are at the start of its first token.
    at = {part: min((encoding.offsets[i][0] for i in encoding.own(part)), default=0) for part in (0, 1)}
    placed = []
    for (start, end), special, part in zip(encoding.offsets, encoding.special, encoding.parts, strict=True):
        if part == PROMPT:
            placed.append((start, end))
            continue
        placed.append((at[part], at[part]) if special else (start, end))
        if not special:
            at[part] = max(at[part], end)
    return tuple(placed)


def _encode_slow(tokenizer: Any, texts: Sequence[str], options: dict[str, Any]) -> Encoding:
    """Encode with a tokenizer without offsets: locate its tokens in the text, or raise an error."""
    name = type(tokenizer).__name__
    ids, ranges, rewritten = [], [], False
    for text in texts:
        ids.append(plain_ids(tokenizer, text))
        aligned = align(tokenizer, text, ids[-1])
        if aligned is None:
            aligned, rewritten = align_words(tokenizer, text, ids[-1]), True
        if aligned is None:
            raise AlignmentError(
                f"{name} gives no character offsets, and its {len(ids[-1])} tokens cannot be found again in the text "
                f"without guessing, not even word by word; use a fast tokenizer for this model (one with a "
                f"tokenizer.json), or give a function as encode="
            )
        ranges.append(aligned)
    plain = options.get("add_special_tokens") is False
    try:
        around = (
            [-1]
            if plain
            else list(tokenizer.build_inputs_with_special_tokens(*([-1 - part] for part in range(len(texts)))))
        )
    except TypeError:
        raise _no_pairs(tokenizer, "builds its inputs from a single text") from None
    if any(around.count(-1 - part) != 1 for part in range(len(texts))):
        raise _no_pairs(tokenizer, "does not put the second text into its inputs")
    numbers: list[int | None] = []
    expected: list[int] = []
    offsets: list[Range] = []
    for item in around:
        part = -1 - item
        expected += ids[part] if item < 0 else [item]
        offsets += ranges[part] if item < 0 else [(0, 0)]
        numbers += [part] * len(ids[part]) if item < 0 else [None]
    whole = tokenizer(*texts, verbose=False, **options)
    if list(whole["input_ids"]) != expected:
        raise AlignmentError(
            f"{name} gives no character offsets, and with special tokens its ids for this text are other ones than "
            f"without; use a fast tokenizer for this model (one with a tokenizer.json)"
        )
    special = tuple(number is None for number in numbers)
    inputs = {key: list(value) for key, value in whole.items() if isinstance(value, list)}
    pieces = pieces_of(tokenizer, inputs["input_ids"])
    parts = _parts(tokenizer, numbers)
    return Encoding(inputs, pieces, tuple(offsets), special, parts, (None,) * len(texts), rewritten=rewritten)
