"""What many explanations say together: how often the model is right, how sure it is, which words it goes by."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from textlrp.spans import Span

if TYPE_CHECKING:
    from textlrp.records import Record

#: How many bins of confidence there are, of equal width.
BINS = 10

#: How many words a list of words has.
WORDS = 12

#: The most labels of which a table of confusions is shown; of more, the most frequent confusions are listed.
LABELS = 12

_CONFUSIONS = 12
_AROUND = 56  # characters of a sentence to show on each side of a word


@dataclass(frozen=True)
class Bin:
    """The documents whose predicted label has a probability in ``[low, high)``; the last bin has 1 too.

    Attributes:
        count: how many there are.
        confidence: their mean probability; 0 where there are none.
        right: how many of those with a label are predicted right; None where no document has a label.
    """

    low: float
    high: float
    count: int
    confidence: float
    right: int | None

    @property
    def accuracy(self) -> float:
        """The share that is predicted right."""
        return (self.right or 0) / self.count if self.count else 0.0


@dataclass(frozen=True)
class Example:
    """A place where a word stands: the words before and behind it in its sentence."""

    document: str
    before: str
    word: str
    after: str
    relevance: float


@dataclass(frozen=True)
class Word:
    """A word, written in any case, in all explanations of one target.

    Attributes:
        text: how it is written most often.
        total: the sum of its relevances, in logit units.
        count: how often it occurs.
        documents: in how many documents.
        examples: where its relevance is most like the list that it is in: highest, or lowest.
    """

    text: str
    total: float
    count: int
    documents: int
    examples: tuple[Example, ...]

    @property
    def mean(self) -> float:
        """The mean of its relevances."""
        return self.total / self.count


@dataclass(frozen=True)
class Words:
    """The words that speak most for a target, and against it.

    Attributes:
        target, contrast: what was explained.
        documents: in how many documents.
        total: the words with the highest total relevance.
        mean: those with the highest mean relevance, of all that occur at least :attr:`least` times.
        against: those with the lowest total relevance.
    """

    target: str
    contrast: str | None
    documents: int
    least: int
    total: tuple[Word, ...]
    mean: tuple[Word, ...]
    against: tuple[Word, ...]


@dataclass(frozen=True)
class Accuracy:
    """How many predictions are those of the data, with a 95 % interval of the share (Wilson 1927, eq. 4)."""

    right: int
    count: int

    @property
    def share(self) -> float:
        """The share that is right, 0 to 1."""
        return self.right / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the interval."""
        z, n, p = 1.959964, self.count, self.share
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Summary:
    """All that stands above the documents of a report.

    Attributes:
        documents: how many there are.
        labeled: how many have a label in the data.
        words: how many words they have.
        truncated: how many were not read whole.
        labels: the labels that are given or predicted, in the model's order; those that it does not know last.
        given, predicted: how many documents each has.
        unknown: given labels that the model does not have.
        accuracy: None where no label is given, or none that the model has.
        confusion: how many documents have a given label (row) and a predicted one (column), by :attr:`labels`; empty
            where :attr:`accuracy` is None.
        confusions: the most frequent wrong predictions: given, predicted, how many.
        bins: the documents by the probability of the predicted label; empty where the model gives none.
        calibration_error: the expected calibration error (Guo et al. 2017, eq. 3) over these bins, or None.
        by_target: the words that matter, for each target.
    """

    documents: int
    labeled: int
    words: int
    truncated: int
    labels: tuple[str, ...]
    given: tuple[int, ...]
    predicted: tuple[int, ...]
    unknown: tuple[str, ...]
    accuracy: Accuracy | None
    confusion: tuple[tuple[int, ...], ...]
    confusions: tuple[tuple[str, str, int], ...]
    bins: tuple[Bin, ...]
    calibration_error: float | None
    by_target: tuple[Words, ...]


def summarize(records: Sequence[Record]) -> Summary:
    """Return what records say together; there is at least one."""
    known = list(dict.fromkeys(label for record in records for e in record.explanations for label in e.logits))
    given = Counter(record.label for record in records if record.label is not None)
    predicted = Counter(record.predicted for record in records)
    order = dict.fromkeys([*known, *predicted, *sorted(given)])
    labels = tuple(label for label in order if given[label] or predicted[label])
    unknown = tuple(sorted(set(given) - set(known)))
    labeled = [record for record in records if record.label is not None]
    comparable = any(record.label in known for record in labeled)
    pairs = Counter((record.label or "", record.predicted) for record in labeled) if comparable else Counter()
    right = sum(count for (one, other), count in pairs.items() if one == other)
    wrong = [(one, other, count) for (one, other), count in pairs.items() if one != other]
    bins = _bins(labeled if comparable else records, comparable)
    return Summary(
        documents=len(records),
        labeled=len(labeled),
        words=sum(_counts(word.text) for record in records for word in record.explanation.words),
        truncated=sum(bool(r.explanation.truncated or r.explanation.truncated_pair) for r in records),
        labels=labels,
        given=tuple(given[label] for label in labels),
        predicted=tuple(predicted[label] for label in labels),
        unknown=unknown,
        accuracy=Accuracy(right, len(labeled)) if comparable else None,
        confusion=tuple(tuple(pairs[one, other] for other in labels) for one in labels) if comparable else (),
        confusions=tuple(sorted(wrong, key=lambda each: (-each[2], each[0], each[1]))[:_CONFUSIONS]),
        bins=bins,
        calibration_error=_calibration_error(bins) if comparable and bins else None,
        by_target=_by_target(records),
    )


def _bins(records: Sequence[Record], comparable: bool) -> tuple[Bin, ...]:
    members: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for record in records:
        confidence = record.explanation.probabilities.get(record.predicted)
        if confidence is not None:
            members[min(BINS - 1, int(confidence * BINS))].append((confidence, record.label == record.predicted))
    if not any(members):
        return ()
    return tuple(
        Bin(
            i / BINS,
            (i + 1) / BINS,
            len(own),
            math.fsum(confidence for confidence, _ in own) / len(own) if own else 0.0,
            sum(right for _, right in own) if comparable else None,
        )
        for i, own in enumerate(members)
    )


def _calibration_error(bins: Iterable[Bin]) -> float:
    bins = list(bins)
    count = sum(each.count for each in bins)
    return math.fsum(each.count * abs(each.accuracy - each.confidence) for each in bins) / count


@dataclass(slots=True)
class _Tally:
    """What is known of a word so far; places are (relevance, number of the record, number of the word)."""

    total: list[float] = field(default_factory=list)
    written: Counter[str] = field(default_factory=Counter)
    documents: set[int] = field(default_factory=set)
    highest: list[tuple[float, int, int]] = field(default_factory=list)
    lowest: list[tuple[float, int, int]] = field(default_factory=list)

    def add(self, word: Span, document: int, number: int) -> None:
        self.total.append(word.relevance)
        self.written[word.text] += 1
        self.documents.add(document)
        place = (word.relevance, document, number)
        if len(self.highest) < 2 or word.relevance > self.highest[-1][0]:
            self.highest = _best([*self.highest, place], -1)
        if len(self.lowest) < 2 or word.relevance < self.lowest[-1][0]:
            self.lowest = _best([*self.lowest, place], 1)


def _best(places: list[tuple[float, int, int]], sign: int) -> list[tuple[float, int, int]]:
    """Two places of different documents, those of the most relevance (sign -1) or the least (1)."""
    kept: list[tuple[float, int, int]] = []
    for place in sorted(places, key=lambda each: (sign * each[0], each[1], each[2])):
        if all(place[1] != other[1] for other in kept):
            kept.append(place)
    return kept[:2]


def _by_target(records: Sequence[Record]) -> tuple[Words, ...]:
    tallies: dict[tuple[str, str | None], dict[str, _Tally]] = {}
    documents: Counter[tuple[str, str | None]] = Counter()
    for i, record in enumerate(records):
        for e in record.explanations:
            documents[e.target, e.contrast] += 1
            own = tallies.setdefault((e.target, e.contrast), {})
            for number, word in enumerate(e.words):
                if _counts(word.text):
                    own.setdefault(word.text.casefold(), _Tally()).add(word, i, number)
    order = {label: i for i, label in enumerate(dict.fromkeys(x for r in records for x in r.explanation.logits))}
    found = sorted(tallies, key=lambda view: (order.get(view[0], len(order)), view[0], view[1] or ""))
    return tuple(_words(records, view, tallies[view], documents[view]) for view in found)


def _words(records: Sequence[Record], view: tuple[str, str | None], own: dict[str, _Tally], documents: int) -> Words:
    least = next(count for limit, count in ((10, 1), (100, 2), (1000, 3), (math.inf, 5)) if documents < limit)
    totals = {word: math.fsum(tally.total) for word, tally in own.items()}

    def listed(words: Iterable[str], sign: int) -> tuple[Word, ...]:
        return tuple(_word(records, view, own[word], totals[word], sign) for word in list(words)[:WORDS])

    def mean(word: str) -> float:
        return totals[word] / len(own[word].total)

    by_total = sorted(own, key=lambda word: (-totals[word], word))
    by_mean = sorted((word for word in own if len(own[word].total) >= least), key=lambda word: (-mean(word), word))
    return Words(
        *view,
        documents,
        least,
        listed((word for word in by_total if totals[word] > 0), -1),
        listed((word for word in by_mean if totals[word] > 0), -1),
        listed((word for word in reversed(by_total) if totals[word] < 0), 1),
    )


def _word(records: Sequence[Record], view: tuple[str, str | None], tally: _Tally, total: float, sign: int) -> Word:
    written = min(tally.written, key=lambda form: (-tally.written[form], form))
    examples = tuple(
        _example(records[place[1]], view, place) for place in (tally.highest if sign < 0 else tally.lowest)
    )
    return Word(written, total, len(tally.total), len(tally.documents), examples)


def _example(record: Record, view: tuple[str, str | None], place: tuple[float, int, int]) -> Example:
    e = next(e for e in record.explanations if (e.target, e.contrast) == view)
    words, number = e.words, place[2]
    word = words[number]
    sentence = next(
        (s for s in e.sentences if s.source == word.source and s.start <= word.start < s.end),
        word,
    )
    within = [w for w in words if w.source == word.source and sentence.start <= w.start < sentence.end]
    at = within.index(word)
    return Example(
        record.id,
        _near([w.text for w in reversed(within[:at])], False),
        word.text,
        _near([w.text for w in within[at + 1 :]], True),
        word.relevance,
    )


def _near(words: Sequence[str], after: bool) -> str:
    """Join the words next to a place, nearest first, up to a length; where some are left out, a dot-dot-dot says so."""
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


@lru_cache(maxsize=100_000)
def _counts(text: str) -> bool:
    """Whether a word is more than white space and punctuation."""
    return any(unicodedata.category(char)[0] in "LNMS" for char in text)
