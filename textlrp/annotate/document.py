"""One document of a report with everything that annotators said of it, and how far their words agree."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from textlrp.annotate.annotations import DISAGREE, Annotation
from textlrp.evaluate import agreement, plausibility
from textlrp.results import segmentation
from textlrp.results.spans import TEXT, TEXT_PAIR, Span

if TYPE_CHECKING:
    from textlrp.report.reading import SentDocument

Votes = tuple[bool, ...]


@dataclass(frozen=True)
class Plausibility:
    """Three measures, 0 to 1 (:mod:`textlrp.evaluate.plausibility`); ``auprc`` is None where words have no ranks."""

    token_f1: float
    iou_f1: float
    auprc: float | None


def mean(scores: Sequence[Plausibility]) -> Plausibility:
    """Return the means of one or more."""
    ranked = [score.auprc for score in scores if score.auprc is not None]
    return Plausibility(
        math.fsum(score.token_f1 for score in scores) / len(scores),
        math.fsum(score.iou_f1 for score in scores) / len(scores),
        math.fsum(ranked) / len(ranked) if ranked else None,
    )


@dataclass(frozen=True)
class Scored:
    """The model against the marked words of a document.

    Attributes:
        model: the words of the highest relevance.
        chance: as many words chosen at random.
        blind: whether the model's relevance was hidden when the words were marked.
    """

    model: Plausibility
    chance: Plausibility
    blind: bool


class MarkedDocument:
    """A document and its annotations.

    Attributes:
        document: the document as the report has it.
        annotations: one for each annotator, at least one.
        words: the words that count, of both texts of a pair; those that the model did not read have no relevance.
        votes: by annotator, which words are marked; annotators who marked none are left out.
        fitting: those of them whose words are marked for the explained label.
        unfit: the annotators whose words are marked for another label.
        scores: the model against each annotator in :attr:`fitting`.
        majority: the model against what more than half of :attr:`fitting` marked; None where fewer than two did, or
            they share no word.
        divided: whether two or more marked words, and no word has a majority.
    """

    def __init__(self, document: SentDocument, annotations: Sequence[Annotation], labels: tuple[str, ...]) -> None:
        self.document = document
        self.annotations = tuple(annotations)
        self.words = tuple(span for span in _all_words(document) if segmentation.is_word(span.text))
        self._breaks = (sum(span.source == TEXT for span in self.words),)
        self.votes: dict[str, Votes] = {}
        self.fitting: dict[str, Votes] = {}
        self.scores: dict[str, Scored] = {}
        blind = True
        for each in annotations:
            vote = plausibility.marked_words(self.words, [(m.start, m.end, m.source) for m in each.rationales])
            if not any(vote):
                continue
            self.votes[each.annotator] = vote
            if _fits(each, document, labels):
                self.fitting[each.annotator] = vote
                self.scores[each.annotator] = self._scored(vote, each.blind)
                blind = blind and each.blind
        self.unfit = frozenset(self.votes) - frozenset(self.fitting)
        common = agreement.majority(list(self.fitting.values())) if len(self.fitting) > 1 else ()
        self.majority = self._scored(common, blind) if any(common) else None
        self.divided = len(self.fitting) > 1 and self.majority is None

    @property
    def everyone(self) -> Scored | None:
        """The model against each annotator in :attr:`fitting`, as means; None where there is none."""
        if not self.scores:
            return None
        scores = self.scores.values()
        return Scored(
            mean([score.model for score in scores]),
            mean([score.chance for score in scores]),
            all(score.blind for score in scores),
        )

    def pair(self, one: str, other: str) -> tuple[float, float, float] | None:
        """Return span, IOU and token F1 of two annotators, or None where not both marked words."""
        if one not in self.votes or other not in self.votes:
            return None
        votes = self.votes[one], self.votes[other]
        first, second = (plausibility.runs(vote, self._breaks) for vote in votes)
        return plausibility.span_f1(first, second), plausibility.iou_f1(first, second), plausibility.token_f1(*votes)

    def pairs(self, names: Iterable[str]) -> list[tuple[float, float, float]]:
        """Return :meth:`pair` of any two of some annotators that both marked words."""
        return [score for pair in combinations(names, 2) if (score := self.pair(*pair)) is not None]

    def _scored(self, vote: Votes, blind: bool) -> Scored:
        relevances = [span.relevance for span in self.words]
        chosen = plausibility.chosen_words(relevances, sum(vote))
        theirs = plausibility.runs(vote, self._breaks)
        return Scored(
            Plausibility(
                plausibility.token_f1(chosen, vote),
                plausibility.iou_f1(plausibility.runs(chosen, self._breaks), theirs),
                plausibility.auprc(relevances, vote),
            ),
            Plausibility(
                plausibility.random_token_f1(vote),
                plausibility.random_iou_f1(vote, self._breaks),
                plausibility.random_auprc(vote),
            ),
            blind,
        )


def _fits(annotation: Annotation, document: SentDocument, labels: tuple[str, ...]) -> bool:
    right = annotation.right_label(document, labels)
    if right is None:
        return not (annotation.verdict == DISAGREE and document.target == document.predicted)
    return right == document.target


def _all_words(document: SentDocument) -> list[Span]:
    """The words of the report, and between them and the ends of the texts the words that the model did not read."""
    found: list[Span] = []
    for source, text in ((TEXT, document.text), (TEXT_PAIR, document.text_pair)):
        if text is None:
            continue
        own = [span for span in document.words if span.source == source]
        start, end = (own[0].start, own[-1].end) if own else (len(text), len(text))
        found += [*_cut(text, 0, start, source), *own, *_cut(text, end, len(text), source)]
    return found


def _cut(text: str, start: int, end: int, source: str) -> list[Span]:
    if start >= end:
        return []
    edges = [start, *(at for at in segmentation.words(text) if start < at < end), end]
    return [Span(a, b, text[a:b], 0.0, source=source) for a, b in pairwise(edges)]
