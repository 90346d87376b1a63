"""The characters of each id of a tokenizer without offsets: located in the text, or not at all."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Range = tuple[int, int]

#: Signs in vocabularies for a space, or for the start or end of a word.
MARKERS = "▁Ġ"
#: From this share of pieces on that stand elsewhere, a tokenizer's offsets are not believed.
_MOST = 0.5
#: The most characters of one sign.
_SIGN = 2
#: The most words that are taken together where a tokenizer rewrites words by their neighbors.
_NEIGHBORS = 3


def plain_ids(tokenizer: Any, text: str) -> list[int]:
    """Return the ids of a text without special tokens."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def pieces_of(tokenizer: Any, ids: list[int]) -> tuple[str, ...]:
    """Return the tokenizer's own symbol of each id."""
    return tuple(str(piece) for piece in tokenizer.convert_ids_to_tokens(ids))


def trim(text: str, start: int, end: int) -> Range:
    """Leave out the white space around a token, unless the token is white space."""
    inside = text[start:end]
    if not inside or not (inside[0].isspace() or inside[-1].isspace()):  # nearly always
        return start, end
    if not inside.strip():
        return start, end
    return end - len(inside.lstrip()), start + len(inside.rstrip())


def true_offsets(
    tokenizer: Any, text: str, ids: list[int], pieces: Sequence[str], offsets: Sequence[Range]
) -> tuple[Sequence[Range] | None, bool]:
    """Return the characters of each id: a tokenizer's offsets, unless other letters stand there than its pieces have.

    Args:
        tokenizer, text: the tokenizer and the text.
        ids, pieces, offsets: the ids of the text, their symbols, and the characters that the tokenizer gives them.

    Returns:
        The characters, None if they cannot be found; and whether ids of some words have the whole word, because the
        tokenizer rewrites it.
    """
    wrong = _elsewhere(tokenizer, text, pieces, offsets)
    if not wrong:
        return offsets, False
    found = align(tokenizer, text, ids)
    if found is not None:
        return found, False
    return (offsets, False) if wrong < _MOST else (align_words(tokenizer, text, ids), True)


def _elsewhere(tokenizer: Any, text: str, pieces: Sequence[str], offsets: Sequence[Range]) -> float:
    """Return the share of pieces whose letters do not stand at their offsets.

    A few may be spelled otherwise than the text, because the tokenizer rewrites it. Where most are, the offsets are
    shifted, missing, or those of another text.
    """
    unknown = getattr(tokenizer, "unk_token", None)
    known: dict[str, str] = {}
    checked = wrong = 0
    for piece, (start, end) in zip(pieces, offsets, strict=True):
        if piece == unknown:  # it stands for some letters, whatever they are
            checked += 1
            wrong += start == end
        if piece == unknown or piece.startswith("<0x"):
            continue
        if piece not in known:
            written = piece.removeprefix("##").removesuffix("</w>").strip(MARKERS)
            if not written.isascii():  # many vocabularies spell the bytes of other letters with signs of their own
                written = tokenizer.convert_tokens_to_string([piece]).removeprefix("##")
            known[piece] = "" if "\ufffd" in written else _letters(written)
        plain = known[piece]
        if plain:
            checked += 1
            there = _letters(text[start:end])
            # A sign such as a ligature may be several pieces.
            wrong += plain != there and (end - start > _SIGN or plain not in there)
    return wrong / checked if wrong else 0.0


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold() if text.isascii() else _fold(text)))


def align(tokenizer: Any, text: str, ids: list[int]) -> list[Range] | None:
    """Return the characters of each id of a tokenizer without offsets, or None if they would be a guess.

    First the words, then the characters are tokenized one by one: if that gives the ids of the whole text, each piece
    lies within its word or character. Otherwise the pieces are matched with the text as a whole.
    """
    words, characters = _units(tokenizer)
    for unit in (words, characters):
        offsets = _align_units(tokenizer, text, ids, unit)
        if offsets is not None:
            return offsets
    return _match(tokenizer, text, pieces_of(tokenizer, ids))


def align_words(tokenizer: Any, text: str, ids: list[int]) -> list[Range] | None:
    """Return the characters of each id where some words are rewritten: their ids have the characters of the word.

    A word whose ids depend on its neighbors is taken with up to two of them. None if the ids cannot be found again so.
    """
    words = [match.span() for match in _units(tokenizer)[0].finditer(text)]
    known: dict[tuple[int, int], list[int]] = {}
    # From each word on: the stretch of words that was tried last, and how many ids all before it have.
    tried: list[tuple[int, int, int]] = [(0, 0, 0)]
    dead: set[tuple[int, int]] = set()
    while tried:
        first, count, done = tried.pop()
        if first == len(words):
            if done == len(ids):
                break
            continue
        count += 1
        if count > min(_NEIGHBORS, len(words) - first) or (count == len(words) > 1):
            dead.add((first, done))
            continue
        tried.append((first, count, done))
        start, end = words[first][0], words[first + count - 1][1]
        if (start, end) not in known:
            known[start, end] = plain_ids(tokenizer, text[start:end])
        of_stretch = known[start, end]
        following = first + count, done + len(of_stretch)
        if ids[done : done + len(of_stretch)] == of_stretch and following not in dead:
            tried.append((following[0], 0, following[1]))
    if not tried and words:
        return None
    aligned: list[Range] = []
    for first, count, _ in tried:
        start, end = words[first][0], words[first + count - 1][1]
        pieces = pieces_of(tokenizer, known[start, end])
        spans = _match(tokenizer, text[start:end], pieces) or [(0, end - start)] * len(pieces)
        aligned += [(start + begin, start + stop) for begin, stop in spans]
    return aligned


def _units(tokenizer: Any) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return patterns of the words and of the characters of a text; a token that was added is one of either."""
    added = sorted(filter(None, tokenizer.get_added_vocab()), key=len, reverse=True)
    literal = "|".join(map(re.escape, added)) or r"(?!)"
    words = rf"{literal}|(?:(?!{literal})\S)+"
    return re.compile(words, re.DOTALL), re.compile(f"{literal}|.", re.DOTALL)


def _align_units(tokenizer: Any, text: str, ids: list[int], unit: re.Pattern[str]) -> list[Range] | None:
    """Align word by word, or character by character, if each alone has the ids that it has in the text."""
    known: dict[str, tuple[list[int], list[Range] | None]] = {}
    aligned: list[Range] = []
    for match in unit.finditer(text):
        part = match.group()
        if part not in known:
            part_ids = plain_ids(tokenizer, part)
            known[part] = part_ids, _match(tokenizer, part, pieces_of(tokenizer, part_ids)) if part_ids else []
        part_ids, spans = known[part]
        done = len(aligned)
        if spans is None or ids[done : done + len(part_ids)] != part_ids:
            return None
        aligned += [(match.start() + start, match.start() + end) for start, end in spans]
    return aligned if len(aligned) == len(ids) else None


def _match(tokenizer: Any, text: str, pieces: Sequence[str]) -> list[Range] | None:
    """Match pieces with a text that they spell from end to end, exactly or else by its letters alone."""
    unknown = getattr(tokenizer, "unk_token", None)
    surfaces = [None if piece == unknown else _surfaces(tokenizer, piece) for piece in pieces]
    exact = _Spelling(text, [(char, i) for i, char in enumerate(text)]).match(surfaces)
    if exact is not None:
        return exact
    if len(text) == 1:  # its bytes, perhaps behind a marker
        return [(0, 0) if not piece.strip(MARKERS) else (0, 1) for piece in pieces]
    folded = [None if known is None else {_fold(surface) for surface in known} for known in surfaces]
    offsets = _Spelling(text, [(letter, i) for i, char in enumerate(text) for letter in _fold(char)]).match(folded)
    if offsets is None:
        return None
    for piece, (start, end) in zip(pieces, offsets, strict=True):
        inside = piece.strip(MARKERS)
        if piece != unknown and len(text[start:end].split()) > 1 and not set(inside) & {" ", *MARKERS}:
            return None  # a piece without a space reaches across white space: the text was spelled otherwise
    return offsets


def _surfaces(tokenizer: Any, piece: str) -> set[str]:
    """Return the possible spellings of a piece in the text, without the markers of the usual vocabularies."""
    plain = piece.removeprefix("##").removesuffix("</w>").removesuffix("@@")
    spaced = plain.translate({ord(marker): " " for marker in MARKERS})
    spellings = {piece, plain, spaced, tokenizer.convert_tokens_to_string([piece])}
    return {spelling.strip() or spelling for spelling in spellings} | ({""} if not spaced.strip() else set())


def _fold(text: str) -> str:
    """Return a spelling that a tokenizer's normalization (case, accents, compatibility forms) does not change."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(c for c in decomposed if not (c.isspace() or unicodedata.category(c) in ("Mn", "Cc", "Cf")))


@dataclass(frozen=True)
class _Spelling:
    """A text as the letters that pieces can match, each with its place in the text."""

    text: str
    letters: list[tuple[str, int]]

    def match(self, surfaces: Sequence[set[str] | None]) -> list[Range] | None:
        """Return the characters of each piece, or None unless the pieces can spell the text in exactly one way.

        An unknown piece (None) takes one letter or more; if several ways remain, all letters that it may stand for.
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
            places = {trim(self.text, *self._place(*way)) for way in ways}
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
