"""The words that a report lists: their relevance over all documents, with examples."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from textlrp.basics.characters import HIDDEN
from textlrp.results.segmentation import is_word
from textlrp.results.spans import Span
from textlrp.results.word_scores import CLEAR, Moments, score

if TYPE_CHECKING:
    from textlrp.results.explanation import Explanation

#: The length of a list of words.
WORDS = 12

_AROUND = 56  # characters of the sentence shown on each side of a word


@dataclass(frozen=True, slots=True)
class Example:
    """An occurrence of a word, with the words before and after it in its sentence."""

    document: str
    before: str
    word: str
    after: str
    relevance: float


@dataclass(frozen=True)
class Word:
    """A word, in upper or lower case, in all explanations of one target.

    Attributes:
        text: its most frequent spelling.
        total: the sum of its relevances, in logit units.
        count: how often it occurs.
        documents: in how many documents.
        score: how clearly it pulls toward the label (:func:`textlrp.results.word_scores.score`).
        examples: the occurrences of highest relevance, or of lowest in the list against the target.
    """

    text: str
    total: float
    count: int
    documents: int
    score: float
    examples: tuple[Example, ...]

    @property
    def mean(self) -> float:
        """The mean of its relevances."""
        return self.total / self.count


@dataclass(frozen=True)
class Words:
    """The strongest words for a target, and against it.

    Attributes:
        target, contrast: the explained labels.
        documents: the number of documents.
        least: how rare a word of the first and the third list may be.
        clearest: the words with the highest score, of all with a letter or a digit that stand out
            (:data:`textlrp.results.word_scores.CLEAR`) and are in at least :attr:`least` documents.
        total: the words with the highest total relevance.
        mean: those with the highest mean relevance, of all that occur at least :attr:`least` times.
        against: those with the lowest total relevance.
    """

    target: str
    contrast: str | None
    documents: int
    least: int
    clearest: tuple[Word, ...]
    total: tuple[Word, ...]
    mean: tuple[Word, ...]
    against: tuple[Word, ...]


class _Place(NamedTuple):
    """An occurrence of a word: its relevance, the number of its document, its number there, and its context."""

    relevance: float
    document: int
    number: int
    example: Example | None = None


@dataclass(slots=True)
class _Tally:
    """The occurrences of a word so far."""

    total: array[float] = field(default_factory=lambda: array("d"))
    written: Counter[str] = field(default_factory=Counter)
    means: Moments = field(default_factory=Moments)  # its mean relevance in each document
    highest: list[_Place] = field(default_factory=list)
    lowest: list[_Place] = field(default_factory=list)

    def add(self, word: Span, document: int, number: int) -> None:
        self.total.append(word.relevance)
        self.written[word.text] += 1
        place = _Place(word.relevance, document, number)
        if len(self.highest) < 2 or word.relevance > self.highest[-1].relevance:
            self.highest = _best([*self.highest, place], -1)
        if len(self.lowest) < 2 or word.relevance < self.lowest[-1].relevance:
            self.lowest = _best([*self.lowest, place], 1)


def _best(places: list[_Place], sign: int) -> list[_Place]:
    """Return two places in different documents, those of the highest relevance (sign -1) or the lowest (1)."""
    kept: list[_Place] = []
    for place in sorted(places, key=lambda place: (sign * place.relevance, place.document, place.number)):
        if all(place.document != other.document for other in kept):
            kept.append(place)
    return kept[:2]


class Tallies:
    """The words of all explanations of one target, added one after the other."""

    def __init__(self) -> None:
        self._documents = 0
        self._words: dict[str, _Tally] = {}
        self._corpus = Moments()

    def add(self, identity: str, e: Explanation, document: int) -> None:
        """Add the explanation of a document, given its id and its number; numbers rise."""
        self._documents += 1
        before: dict[str, int] = {}
        for number, word in enumerate(e.words):
            if is_word(word.text) and not (e.redacted and HIDDEN in word.text):
                folded = word.text.casefold()
                tally = self._words.setdefault(folded, _Tally())
                before.setdefault(folded, len(tally.total))
                tally.add(word, document, number)
                if _is_written(folded):
                    self._corpus.add(word.relevance)
        # The text is not kept, so the context of the best places so far is taken now.
        ranges = _ranges(e)
        for folded, count in before.items():
            tally = self._words[folded]
            tally.means.add(math.fsum(tally.total[count:]) / (len(tally.total) - count))
            for places in (tally.highest, tally.lowest):
                for i, place in enumerate(places):
                    if place.document == document:
                        places[i] = place._replace(example=_example(identity, e.words, ranges, place.number))

    def finish(self, target: str, contrast: str | None) -> Words:
        """Return the words of the target."""
        tallies, documents = self._words, self._documents
        least = next(count for limit, count in ((10, 1), (100, 2), (1000, 3), (math.inf, 5)) if documents < limit)
        totals = {word: math.fsum(tally.total) for word, tally in tallies.items()}

        def listed(words: Iterable[str], sign: int) -> tuple[Word, ...]:
            return tuple(_word(tallies[word], totals[word], scores[word], sign) for word in list(words)[:WORDS])

        def mean(word: str) -> float:
            return totals[word] / len(tallies[word].total)

        scores = {word: score(tally.means, self._corpus) for word, tally in tallies.items()}
        by_score = sorted(
            (word for word, tally in tallies.items() if tally.means.count >= least and _is_written(word)),
            key=lambda word: (-scores[word], word),
        )
        by_total = sorted(tallies, key=lambda word: (-totals[word], word))
        by_mean = sorted(
            (word for word in tallies if len(tallies[word].total) >= least), key=lambda word: (-mean(word), word)
        )
        return Words(
            target,
            contrast,
            documents,
            least,
            listed((word for word in by_score if scores[word] >= CLEAR and totals[word] > 0), -1),
            listed((word for word in by_total if totals[word] > 0), -1),
            listed((word for word in by_mean if totals[word] > 0), -1),
            listed((word for word in reversed(by_total) if totals[word] < 0), 1),
        )


def _is_written(word: str) -> bool:
    """Return whether a word has a letter or a digit; a symbol has none."""
    return any(map(str.isalnum, word))


def _word(tally: _Tally, total: float, score: float, sign: int) -> Word:
    written = min(tally.written, key=lambda form: (-tally.written[form], form))
    places = tally.highest if sign < 0 else tally.lowest
    examples = tuple(place.example for place in places if place.example is not None)
    return Word(written, total, len(tally.total), tally.means.count, score, examples)


def _ranges(e: Explanation) -> list[tuple[int, int]]:
    """Return for each word the half-open range of the words in its sentence."""
    ranges = [(i, i + 1) for i in range(len(e.words))]
    for source, _, _ in e.texts:
        of_source = [i for i, word in enumerate(e.words) if word.source == source]
        starts = [e.words[i].start for i in of_source]
        for sentence in e.sentences:
            if sentence.source == source:
                within = of_source[bisect_left(starts, sentence.start) : bisect_left(starts, sentence.end)]
                for i in within:
                    ranges[i] = (within[0], within[-1] + 1)
    return ranges


def _example(identity: str, words: Sequence[Span], ranges: Sequence[tuple[int, int]], number: int) -> Example:
    word, (first, end) = words[number], ranges[number]
    # A word has at least one character. One word more than can fit shows whether words are left out.
    before = [w.text for w in reversed(words[max(first, number - _AROUND - 1) : number])]
    after = [w.text for w in words[number + 1 : min(end, number + _AROUND + 2)]]
    return Example(identity, _near(before, False), word.text, _near(after, True), word.relevance)


def _near(words: Sequence[str], after: bool) -> str:
    """Join the words next to a place, nearest first, up to a length, with an ellipsis if some are left out."""
    taken: list[str] = []
    for word in words:
        if sum(map(len, taken)) + len(word) > _AROUND:
            break
        taken.append(word)
    cut = len(taken) < len(words)
    joined = " ".join("".join(taken if after else reversed(taken)).splitlines())
    if after:
        return joined.rstrip() + (" …" if cut else "")
    return ("… " if cut else "") + joined.lstrip()
