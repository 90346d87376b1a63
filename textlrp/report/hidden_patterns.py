"""What a redacted report hides, found in a text: e-mail addresses, phone numbers, names, a pattern of one's own, ..."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import regex  # type: ignore[import-untyped]

from textlrp.basics import readable
from textlrp.basics.characters import HIDDEN
from textlrp.errors import InputError
from textlrp.results import segmentation

#: A half-open range of characters.
Range = tuple[int, int]

TEXTS, OWN = "texts", "re:"

#: Codes and versions have digits, too: these are not looked for in labels, names of models and names of files.
_OF_DIGITS = ("phones", "numbers")

# The quantifiers are possessive or bounded, so that the time stays linear in hostile texts.
_HOST = r"[\p{L}\p{M}\p{N}_-]++(?:\.[\p{L}\p{M}\p{N}_-]++)++"
_REST = r"[^\s<>\"\u3000-\u303f\uff00-\uff65]"
_ENDINGS = "com|org|net|edu|gov|mil|int|info|biz|io|ai|app|dev|me|tv|eu|uk|us|ca|au|de|at|ch|fr|es|it|nl|be|se|no|pl|ru"
_NAMED = {
    "emails": r"(?<![\w.!#$%&'*+/=?^`{|}~-])[\w.!#$%&'*+/=?^`{|}~-]++@" + _HOST,
    "phones": r"(?<!\d)\+?(?:[(\[]?\d[)\]]?(?:[ \t\u00a0\u202f()./\u2010-\u2015-]{0,3}\d){6,})",
    "urls": rf"(?:\b[a-z][a-z0-9+.-]{{1,20}}+://|\bwww\.|\bmailto:){_REST}++"
    rf"|(?<![\w.@-]){_HOST}(?:(?::\d{{1,5}}+)?/{_REST}*+|(?<=\.(?:{_ENDINGS}))(?![\w-]))",
    "numbers": r"\p{N}+(?:[.,:'\u2019/\u00a0\u202f]\p{N}+)*+",
}

_SECONDS = 10.0  # that a pattern may take in one text
_CLUSTER = regex.compile(r"\X")
_WORD = regex.compile(r"(?:%20)++|[\p{L}\p{M}]++|\p{N}++")
_UNSPACED = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
)  # words of these scripts follow each other, or endings follow names, without a space
_BETWEEN = 3  # characters between two words of a name: a space, a hyphen, a comma and a space


@dataclass(frozen=True)
class Search:
    """A search for one kind of thing.

    Attributes:
        kind: ``"emails"``, ..., ``"names"`` or ``"re"``.
        find: yields the ranges of what is found in a text.
    """

    kind: str
    find: Callable[[str], Iterable[Range]]


@dataclass(frozen=True)
class Hidden:
    """What is to be hidden.

    Attributes:
        searches: what is looked for in texts, ids, titles and reasons.
        whole: whether texts are hidden whole, every word of them.
    """

    searches: tuple[Search, ...]
    whole: bool = False

    def cover(self, text: str, digits: bool = True) -> str:
        """Return a text of the same length with a block for each hidden character; white space stays.

        Args:
            text: any text but that of a document, which :meth:`cover_document` takes.
            digits: whether phone numbers and numbers are looked for, too.
        """
        searches = self.searches if digits else [s for s in self.searches if s.kind not in _OF_DIGITS]
        return covered(text, [found for search in searches for found in search.find(text)])

    def cover_document(self, text: str, boundaries: Sequence[int]) -> str:
        """Return the text of a document, given the boundaries of its words, with a block for each hidden character."""
        if not self.whole:
            return self.cover(text)
        return covered(text, [(a, b) for a, b in pairwise(boundaries) if segmentation.is_word(text[a:b])])


def covered(text: str, ranges: Iterable[Range]) -> str:
    """Return a text with blocks in these ranges, which are widened to whole graphemes; white space stays."""
    ranges = [(start, end) for start, end in ranges if start < end]
    if not ranges:
        return text
    edges = range(len(text) + 1) if text.isascii() else [0, *(match.end() for match in _CLUSTER.finditer(text))]
    chars = list(text)
    for start, end in ranges:
        for at in range(edges[bisect_right(edges, start) - 1], edges[bisect_left(edges, end)]):
            if not text[at].isspace():
                chars[at] = HIDDEN
    return "".join(chars)


def parse_hidden(written: Sequence[str], names: str | Path | None = None) -> Hidden | None:
    """Return what is to be hidden, as the command line says it, or None if nothing is.

    Args:
        written: lists with commas of ``emails``, ``phones``, ``urls``, ``numbers`` and ``texts``; what follows ``re:``
            is a regular expression, commas included.
        names: a file of names or words, one a line.

    Raises:
        InputError: a pattern is unknown or no regular expression, or the file cannot be read or has no name.
    """
    if not written and names is None:
        return None
    searches: list[Search] = []
    whole = False
    for item in (item for value in written for item in _items(value)):
        if item.startswith(OWN):
            searches.append(_own(item.removeprefix(OWN)))
        elif item == TEXTS:
            whole = True
        elif item in _NAMED:
            searches.append(Search(item, _finder(regex.compile(_NAMED[item], regex.IGNORECASE), item)))
        else:
            raise InputError(
                f"--redact hides {', '.join(_NAMED)}, {TEXTS}, or what a regular expression finds ('re:[A-Z]{{2}}'), "
                f"not {item!r}; names are read from a file by --redact-names"
            )
    if names is not None:
        searches.append(Search("names", _names(_listed(names))))
    return Hidden(tuple(searches), whole)


def _items(value: str) -> Iterator[str]:
    """Yield the items of a list with commas; a regular expression goes on to its end."""
    while value:
        if value.lstrip().startswith(OWN):
            yield value.lstrip()
            return
        item, _, value = value.partition(",")
        yield item.strip()


def _own(pattern: str) -> Search:
    try:
        compiled = regex.compile(pattern)
    except (regex.error, OverflowError, RecursionError) as error:
        raise InputError(f"--redact {OWN + pattern!r} is no regular expression: {error}") from None
    if compiled.fullmatch("") is not None:
        raise InputError(f"--redact {OWN + pattern!r} finds a text without characters: say what it hides")
    return Search("re", _finder(compiled, OWN + pattern))


def _finder(pattern: Any, name: str) -> Callable[[str], Iterator[Range]]:
    def find(text: str) -> Iterator[Range]:
        try:
            for match in pattern.finditer(text, timeout=_SECONDS):
                yield match.span()
        except TimeoutError:
            raise InputError(
                f"--redact {name!r} takes more than {_SECONDS:.0f} seconds in one text: write it without repetitions "
                f"inside repetitions"
            ) from None

    return find


def _listed(path: str | Path) -> list[str]:
    """Return the lines of a file that are not blank."""
    try:
        readable.check(Path(path))
        lines = Path(path).read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"the names in {str(path)!r} are not UTF-8: save the file as UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise InputError(f"there is no name in {str(path)!r}: write one a line")
    bad = next((name for name in names if not _words(_folded(name)[0])), None)
    if bad is not None:
        raise InputError(f"{bad!r} in {str(path)!r} has no letter and no digit: names are found by their words")
    return names


def _names(names: Sequence[str]) -> Callable[[str], Iterator[Range]]:
    """Return a search for names: whole words, in capital and small letters, composed and decomposed."""
    inside = sorted({folded for name in names if _UNSPACED.search(folded := _folded(name)[0])})
    anywhere = regex.compile(r"\L<names>", names=inside) if inside else None
    by_first: dict[str, set[tuple[str, ...]]] = {}
    for name in names:
        words = tuple(word for _, _, word in _words(_folded(name)[0]))
        by_first.setdefault(words[0], set()).add(words)

    def find(text: str) -> Iterator[Range]:
        folded, starts, ends = _folded(text)
        words = _words(folded)
        for i, (start, _, word) in enumerate(words):
            for name in by_first.get(word, ()):
                following = words[i : i + len(name)]
                if tuple(each for _, _, each in following) == name and all(
                    _is_gap(folded[before[1] : after[0]]) for before, after in pairwise(following)
                ):
                    yield starts[start], ends[following[-1][1] - 1]
        for match in () if anywhere is None else anywhere.finditer(folded, overlapped=True):
            yield starts[match.start()], ends[match.end() - 1]

    return find


def _is_gap(between: str) -> bool:
    return len(between) <= _BETWEEN or not between.replace("%20", "").strip()


def _words(folded: str) -> list[tuple[int, int, str]]:
    return [(*match.span(), match.group()) for match in _WORD.finditer(folded) if match.group()[0] != "%"]


def _folded(text: str) -> tuple[str, Sequence[int], Sequence[int]]:
    """Return a text as names are compared, with the start and the end in the text of what each character stands for."""
    if text.isascii():
        return text.casefold(), range(len(text)), range(1, len(text) + 1)
    folded: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for match in _CLUSTER.finditer(text):
        # Compatibility forms, so that full-width letters and ligatures are those that a list of names has.
        alike = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", match.group()).casefold())
        for char in alike:
            if unicodedata.category(char) != "Cf":  # a soft hyphen, a zero-width joiner
                folded.append(char)
                starts.append(match.start())
                ends.append(match.end())
    return "".join(folded), starts, ends
