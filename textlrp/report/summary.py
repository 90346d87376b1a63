"""Summarizes many explanations: how often the model is right, how confident it is, and its most relevant words."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlrp.explain.label_names import LabelReading
from textlrp.report.words import Tallies, Words
from textlrp.results import segmentation

if TYPE_CHECKING:
    from textlrp.data.records import Record

#: The number of bins of confidence, of equal width.
BINS = 10

#: The most labels in a table of confusions; with more, the most frequent confusions are listed.
LABELS = 12

_CONFUSIONS = 12


@dataclass(frozen=True)
class Bin:
    """The documents whose predicted label has a probability in ``[low, high)``; the last bin has 1 too.

    Attributes:
        count: how many there are.
        confidence: their mean probability; 0 without documents.
        right: how many are predicted right; None if no document of the report has a label.
    """

    low: float
    high: float
    count: int
    confidence: float
    right: int | None

    @property
    def accuracy(self) -> float:
        """The share of right predictions."""
        return (self.right or 0) / self.count if self.count else 0.0


@dataclass(frozen=True)
class Accuracy:
    """How many predictions equal the data's labels, with a 95 % interval of the share (Wilson 1927, eq. 4)."""

    right: int
    count: int

    @property
    def share(self) -> float:
        """The share of right predictions, 0 to 1."""
        return self.right / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the interval."""
        z, n, p = 1.959964, self.count, self.share
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class ReportSummary:
    """The summary above the documents of a report.

    Attributes:
        documents: how many there are.
        labeled: how many have a label in the data, or several.
        words: how many words they have.
        truncated: how many the model read in part.
        labels: the labels that are given or predicted, in the model's order; those that it does not know last.
        given, predicted: the number of documents of each label.
        none_reached: how many may have several labels, and have none.
        reading: how the labels in the data were read as the model's, and which it does not have.
        accuracy: None if the data give no label that the model has. Of a model that gives several labels, all of them
            must be right, and none may lack.
        micro_f1: of such a model, over all labels of all documents; None of others, or without labels in the data.
        confusion: how many documents have a given label (row) and a predicted one (column), by :attr:`labels`; empty
            if :attr:`accuracy` is None, or a document has several labels.
        confusions: the most frequent wrong predictions of documents with one label: given, predicted, how many.
        bins: the documents by the probability of the predicted label; empty without probabilities.
        calibration_error: the expected calibration error (Guo et al. 2017, eq. 3) over these bins, or None.
        by_target: the most relevant words for each target.
    """

    documents: int
    labeled: int
    words: int
    truncated: int
    labels: tuple[str, ...]
    given: tuple[int, ...]
    predicted: tuple[int, ...]
    none_reached: int
    reading: LabelReading
    accuracy: Accuracy | None
    micro_f1: float | None
    confusion: tuple[tuple[int, ...], ...]
    confusions: tuple[tuple[str, str, int], ...]
    bins: tuple[Bin, ...]
    calibration_error: float | None
    by_target: tuple[Words, ...]


class Summarizer:
    """Builds a summary from one record after the other; records are not kept, only totals and the best examples."""

    def __init__(self) -> None:
        self._documents = self._labeled = self._words = self._truncated = 0
        self._known: dict[str, None] = {}
        self._order: dict[str, None] = {}
        self._given: Counter[str] = Counter()
        self._predicted: Counter[str] = Counter()
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._right, self._several, self._none = 0, False, 0
        self._multi, self._both, self._either = False, 0, 0
        self._read_as: dict[str, tuple[str, ...]] = {}
        self._bins = (_Bins(), _Bins())  # without a label in the data, and with one
        self._tallies: dict[tuple[str, str | None], Tallies] = {}

    def add(self, record: Record) -> None:
        """Add a record."""
        first, right = record.explanation, record.right
        chosen = first.predicted_labels
        is_right = set(chosen) == set(right) if first.multi_label else record.predicted in right
        number, self._documents = self._documents, self._documents + 1
        self._known.update(dict.fromkeys(name for e in record.explanations for name in e.logits))
        self._order.update(dict.fromkeys(first.logits))
        self._predicted.update(chosen)
        self._none += not chosen
        self._multi |= first.multi_label
        if right:
            self._both += len(set(chosen) & set(right))
            self._either += len(chosen) + len(right)
        self._read_as.update(record.read_as)
        self._labeled += bool(right)
        self._right += is_right and bool(right)
        self._several |= len(right) > 1
        self._given.update(right)
        if len(right) == 1 and not first.multi_label:
            self._pairs[right[0], record.predicted] += 1
        self._bins[bool(right)].add(first.probabilities.get(record.predicted), record.predicted in right)
        self._words += sum(segmentation.is_word(word.text) for word in first.words)
        self._truncated += bool(first.truncated or first.truncated_pair)
        for e in record.explanations:
            self._tallies.setdefault((e.target, e.contrast), Tallies()).add(record.id, e, number)

    def finish(self) -> ReportSummary:
        """Return the summary of all records; there is at least one."""
        known, given, predicted = self._known, self._given, self._predicted
        order = dict.fromkeys([*known, *predicted, *sorted(given)])
        labels = tuple(label for label in order if given[label] or predicted[label])
        comparable = any(label in known for label in given)
        pairs = self._pairs if comparable else Counter[tuple[str, str]]()
        wrong = [(one, other, count) for (one, other), count in pairs.items() if one != other]
        bins = self._bins[1].finish(True) if comparable else self._bins[0].joined(self._bins[1]).finish(False)
        return ReportSummary(
            documents=self._documents,
            labeled=self._labeled,
            words=self._words,
            truncated=self._truncated,
            labels=labels,
            given=tuple(given[label] for label in labels),
            predicted=tuple(predicted[label] for label in labels),
            none_reached=self._none,
            reading=LabelReading(self._read_as, tuple(sorted(set(given) - set(known))), tuple(known)),
            accuracy=Accuracy(self._right, self._labeled) if comparable else None,
            micro_f1=2 * self._both / self._either if comparable and self._multi and self._either else None,
            confusion=tuple(tuple(pairs[one, other] for other in labels) for one in labels)
            if comparable and not self._several and not self._multi
            else (),
            confusions=tuple(sorted(wrong, key=lambda confusion: (-confusion[2], *confusion[:2]))[:_CONFUSIONS]),
            bins=bins,
            calibration_error=_calibration_error(bins) if comparable and bins else None,
            by_target=self._by_target(),
        )

    def _by_target(self) -> tuple[Words, ...]:
        order = {label: i for i, label in enumerate(self._order)}
        views = sorted(self._tallies, key=lambda view: (order.get(view[0], len(order)), view[0], view[1] or ""))
        return tuple(self._tallies[view].finish(*view) for view in views)


def summarize(records: Iterable[Record]) -> ReportSummary:
    """Return the summary of one or more records."""
    summarizer = Summarizer()
    for record in records:
        summarizer.add(record)
    return summarizer.finish()


class _Bins:
    """The probabilities of predicted labels in each bin, and how many of these labels are right."""

    def __init__(self) -> None:
        self._confidences = [array("d") for _ in range(BINS)]
        self._right = [0] * BINS

    def add(self, confidence: float | None, right: bool) -> None:
        if confidence is not None:
            place = min(BINS - 1, int(confidence * BINS))
            self._confidences[place].append(confidence)
            self._right[place] += right

    def joined(self, other: _Bins) -> _Bins:
        joined = _Bins()
        joined._confidences = [one + two for one, two in zip(self._confidences, other._confidences, strict=True)]
        joined._right = [one + two for one, two in zip(self._right, other._right, strict=True)]
        return joined

    def finish(self, comparable: bool) -> tuple[Bin, ...]:
        if not any(self._confidences):
            return ()
        return tuple(
            Bin(
                i / BINS,
                (i + 1) / BINS,
                len(confidences),
                math.fsum(confidences) / len(confidences) if confidences else 0.0,
                right if comparable else None,
            )
            for i, (confidences, right) in enumerate(zip(self._confidences, self._right, strict=True))
        )


def _calibration_error(bins: Iterable[Bin]) -> float:
    bins = list(bins)
    count = sum(part.count for part in bins)
    return math.fsum(part.count * abs(part.accuracy - part.confidence) for part in bins) / count
