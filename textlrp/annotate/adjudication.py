"""What the annotators of a document say together: the labels and words that they share, and what is to be decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby

from textlrp.annotate.annotations import UNSURE, Annotation, Rationale
from textlrp.annotate.document import MarkedDocument, Side
from textlrp.evaluate import agreement
from textlrp.report.reading import SentReport
from textlrp.results import segmentation
from textlrp.results.spans import TEXT, TEXT_PAIR


@dataclass(frozen=True)
class Case:
    """A document with its annotations.

    Attributes:
        marked: the document and its annotations.
        report: their report.
    """

    marked: MarkedDocument
    report: SentReport

    @cached_property
    def labels(self) -> tuple[str, ...] | None:
        """The right labels by all annotators who say something of the label; None unless these agree."""
        said = [self.labels_by(annotation) for annotation in self.marked.annotations if _speaks(annotation)]
        return said[0] if said and all(labels == said[0] for labels in said) else None

    @cached_property
    def same_words(self) -> bool:
        """Whether all annotators who marked words marked the same ones, for the same labels."""
        return all(score[2] == 1 for score in self.marked.pairs(self.marked.votes))

    @property
    def disputes(self) -> tuple[str, ...]:
        """What is to be decided, in words; nothing if the annotators agree."""
        document, said = self.marked.document, []
        speaking = [annotation for annotation in self.marked.annotations if _speaks(annotation)]
        if len({labels for annotation in speaking if (labels := self.labels_by(annotation)) is not None}) > 1:
            said.append("different labels")
        for annotation in speaking:
            contradiction = annotation.contradiction(document)
            if contradiction is not None:
                said.append(f"{annotation.annotator} {contradiction}")
            elif self.labels_by(annotation) is None:
                said.append(f"{annotation.annotator} {'is unsure' if annotation.verdict == UNSURE else 'has no label'}")
        if not speaking:
            said.append("no label")
        if not self.same_words:
            mean = agreement.mean([score[2] for score in self.marked.pairs(self.marked.votes)])
            said.append(f"different words (token F1 {mean:.2f})")
        return tuple(said)

    @property
    def agreed(self) -> tuple[Rationale, ...]:
        """The words for the labels on which all agree that more than half marked of those who marked any for them."""
        sides = [self._side(label) for label in self.labels or ()]
        return self._spans(sides, lambda side: sum(side in votes for votes in self.marked.votes.values()) // 2 + 1)

    @property
    def merged(self) -> tuple[Rationale, ...]:
        """The words that anyone marked."""
        return self._spans(self._sides, lambda side: 1)

    @property
    def common(self) -> tuple[Rationale, ...]:
        """The words that all who marked words marked for the same label."""
        return self._spans(self._sides, lambda side: len(self.marked.votes))

    def labels_by(self, annotation: Annotation) -> tuple[str, ...] | None:
        """Return the labels that an annotator considers right, in the report's order; None if that is not known."""
        right = annotation.right_labels(self.marked.document, self.report)
        return None if right is None else tuple(label for label in self.report.labels if label in right)

    def words_by(self, annotation: Annotation) -> tuple[Rationale, ...]:
        """Return what an annotator marked; marks without a label speak for the one right label, if that is known."""
        labels = self.labels_by(annotation)
        return labeled(annotation.rationales, labels)

    @property
    def _sides(self) -> Iterable[Side]:
        return dict.fromkeys(side for votes in self.marked.votes.values() for side in votes)

    def _side(self, label: str) -> Side:
        """Return the side of a label; of two labels, what speaks for one speaks against the other."""
        target = self.marked.document.target
        return (target, True) if self._are_contrary and label != target else (label, False)

    @property
    def _are_contrary(self) -> bool:
        """Whether what speaks for one label speaks against the other."""
        return len(self.report.labels) == 2 and not self.report.multi

    def _spans(self, sides: Iterable[Side], needed: Callable[[Side], int]) -> tuple[Rationale, ...]:
        """Return the words that enough annotators marked on a side.

        Neighbors are one span where only white space is between them, or what as many annotators marked.
        """
        document = self.marked.document
        texts = {TEXT: document.text, TEXT_PAIR: document.text_pair or ""}
        spans: list[Rationale] = []
        for side in sides:
            votes = {name: vote[side] for name, vote in self.marked.votes.items() if side in vote}
            marking = [each for each in self.marked.annotations if each.annotator in votes]
            chosen = [
                word
                for word, column in zip(self.marked.words, zip(*votes.values(), strict=True), strict=bool(votes))
                if sum(column) >= needed(side)
            ]
            label, against = self._unfolded(side)
            for source, words in groupby(chosen, key=lambda word: word.source):
                text, ranges = texts[source], list[tuple[int, int]]()
                for word in words:
                    start, end = (ranges[-1][1], word.start) if ranges else (0, 0)
                    gap = text[start:end]
                    covering = sum(any(_covers(mark, source, start, end) for mark in a.rationales) for a in marking)
                    whole = covering >= needed(side) and not segmentation.is_word(gap)
                    if ranges and (whole or not gap.strip()):
                        ranges[-1] = (ranges[-1][0], word.end)
                    else:
                        ranges.append((word.start, word.end))
                spans += [Rationale(source, start, end, text[start:end], label, against) for start, end in ranges]
        return tuple(sorted(spans, key=lambda span: (span.source, span.start, span.end)))

    def _unfolded(self, side: Side) -> Side:
        label, against = side
        if against and self._are_contrary:
            return next(other for other in self.report.labels if other != label), False
        return side


def cases(annotations: Iterable[Annotation], report: SentReport) -> tuple[Case, ...]:
    """Return the documents of a report that have annotations, in its order."""
    by_document: dict[str, list[Annotation]] = {identity: [] for identity in report.documents}
    for annotation in annotations:
        by_document[annotation.document].append(annotation)
    return tuple(
        Case(MarkedDocument(report.documents[identity], listed, report), report)
        for identity, listed in by_document.items()
        if listed
    )


def labeled(marks: Iterable[Rationale], labels: tuple[str, ...] | None) -> tuple[Rationale, ...]:
    """Return marks; those without a label speak for the one right label."""
    label = labels[0] if labels is not None and len(labels) == 1 else None
    return tuple(replace(mark, label=label) if mark.label is None else mark for mark in marks)


def _speaks(annotation: Annotation) -> bool:
    """Return whether an annotator says anything of the label; some mark words or comment alone."""
    return annotation.verdict is not None or annotation.labels is not None


def _covers(mark: Rationale, source: str, start: int, end: int) -> bool:
    return mark.source == source and mark.start <= start and end <= mark.end
