"""A document of a report with its annotations, and the agreement of their words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from textlrp.annotate.annotations import Annotation
from textlrp.evaluate import agreement, plausibility
from textlrp.results import segmentation
from textlrp.results.spans import TEXT, TEXT_PAIR, Span

if TYPE_CHECKING:
    from textlrp.report.reading import SentDocument, SentReport

Votes = tuple[bool, ...]
#: A label, None if it is not known, and whether words speak against it.
Side = tuple[str | None, bool]


@dataclass(frozen=True)
class Plausibility:
    """Three measures, 0 to 1 (:mod:`textlrp.evaluate.plausibility`); ``auprc`` is None if words have no ranks."""

    token_f1: float
    iou_f1: float
    auprc: float | None


def mean(scores: Sequence[Plausibility]) -> Plausibility:
    """Return the means of one or more scores."""
    ranked = [score.auprc for score in scores if score.auprc is not None]
    return Plausibility(
        math.fsum(score.token_f1 for score in scores) / len(scores),
        math.fsum(score.iou_f1 for score in scores) / len(scores),
        math.fsum(ranked) / len(ranked) if ranked else None,
    )


@dataclass(frozen=True)
class ModelScores:
    """The agreement of the model with the marked words of a document.

    Attributes:
        model: for the words of the highest relevance.
        chance: for as many words chosen at random.
        blind: whether the model's relevance was hidden when the words were marked.
    """

    model: Plausibility
    chance: Plausibility
    blind: bool


class MarkedDocument:
    """A document and its annotations.

    Attributes:
        document: the document in the report.
        annotations: one for each annotator, at least one.
        words: the words that count, of both texts of a pair; words that the model did not read have no relevance.
        votes: by annotator, which words are marked as reasons for or against which label; annotators who marked none
            are left out.
        fitting: the votes for the explained label.
        unfit: the annotators who voted for other labels alone, or against the explained one.
        unlabeled: the annotators who marked words and did not say for which label.
        scores: the model against each annotator in :attr:`fitting`.
        against: the words that speak against the explained label by the model, against those of each annotator.
        majority: the model against the words that more than half of :attr:`fitting` marked; None if there are none, or
            fewer than two annotators.
        divided: whether two or more annotators marked words, but no word has a majority.
    """

    def __init__(self, document: SentDocument, annotations: Sequence[Annotation], report: SentReport) -> None:
        self.document = document
        self.annotations = tuple(annotations)
        self.words = tuple(span for span in _all_words(document) if segmentation.is_word(span.text))
        self._breaks = (sum(span.source == TEXT for span in self.words),)
        self.votes: dict[str, dict[Side, Votes]] = {}
        self.fitting: dict[str, Votes] = {}
        self.scores: dict[str, ModelScores] = {}
        self.against: dict[str, ModelScores] = {}
        blind = True
        for annotation in annotations:
            votes = self._votes(annotation, report)
            if not votes:
                continue
            self.votes[annotation.annotator] = votes
            if (document.target, False) in votes:
                self.fitting[annotation.annotator] = vote = votes[document.target, False]
                self.scores[annotation.annotator] = self._scored(vote, annotation.blind)
                blind = blind and annotation.blind
            if (document.target, True) in votes:
                self.against[annotation.annotator] = self._scored(votes[document.target, True], annotation.blind, -1)
        self.unlabeled = frozenset(name for name, votes in self.votes.items() if (None, False) in votes)
        self.unfit = frozenset(self.votes) - frozenset(self.fitting) - self.unlabeled
        common = agreement.majority(list(self.fitting.values())) if len(self.fitting) > 1 else ()
        self.majority = self._scored(common, blind) if any(common) else None
        self.divided = len(self.fitting) > 1 and self.majority is None

    @property
    def everyone(self) -> ModelScores | None:
        """The model against each annotator in :attr:`fitting`, as means; None without any."""
        if not self.scores:
            return None
        scores = self.scores.values()
        return ModelScores(
            mean([score.model for score in scores]),
            mean([score.chance for score in scores]),
            all(score.blind for score in scores),
        )

    def pair(self, one: str, other: str) -> tuple[float, float, float] | None:
        """Return span, IOU and token F1 of two annotators, or None unless both marked words."""
        if one not in self.votes or other not in self.votes:
            return None
        sides = dict.fromkeys([*self.votes[one], *self.votes[other]])
        nothing = (False,) * len(self.words)
        votes = tuple(
            tuple(word for side in sides for word in self.votes[name].get(side, nothing)) for name in (one, other)
        )
        breaks = [n * len(self.words) + at for n in range(len(sides)) for at in (*self._breaks, len(self.words))]
        first, second = (plausibility.runs(vote, breaks) for vote in votes)
        return plausibility.span_f1(first, second), plausibility.iou_f1(first, second), plausibility.token_f1(*votes)

    def pairs(self, names: Iterable[str]) -> list[tuple[float, float, float]]:
        """Return :meth:`pair` for all pairs of some annotators who both marked words."""
        return [score for pair in combinations(names, 2) if (score := self.pair(*pair)) is not None]

    def _votes(self, annotation: Annotation, report: SentReport) -> dict[Side, Votes]:
        """Return which words are marked on each side; of two labels, what speaks for one speaks against the other."""
        marks: dict[Side, list[tuple[int, int, str]]] = {}
        right = annotation.right_labels(self.document, report) or ()
        only = right[0] if len(right) == 1 else None
        for mark in annotation.rationales:
            label, against = (only, False) if mark.label is None else (mark.label, mark.against)
            if len(report.labels) == 2 and not report.multi and label is not None and label != self.document.target:
                label, against = self.document.target, not against
            marks.setdefault((label, against), []).append((mark.start, mark.end, mark.source))
        votes = {side: plausibility.marked_words(self.words, ranges) for side, ranges in marks.items()}
        return {side: vote for side, vote in votes.items() if any(vote)}

    def _scored(self, vote: Votes, blind: bool, sign: int = 1) -> ModelScores:
        relevances = [sign * span.relevance for span in self.words]
        chosen = plausibility.chosen_words(relevances, sum(vote))
        marked = plausibility.runs(vote, self._breaks)
        return ModelScores(
            Plausibility(
                plausibility.token_f1(chosen, vote),
                plausibility.iou_f1(plausibility.runs(chosen, self._breaks), marked),
                plausibility.auprc(relevances, vote),
            ),
            Plausibility(
                plausibility.random_token_f1(vote),
                plausibility.random_iou_f1(vote, self._breaks),
                plausibility.random_auprc(vote),
            ),
            blind,
        )


def by_label(
    document: SentDocument, annotations: Sequence[Annotation], report: SentReport
) -> tuple[MarkedDocument, ...]:
    """Return a document for each label whose words a report of a multi-label model has, else for its first one."""
    others = document.others.items() if report.multi else ()
    views = (document, *(replace(document, target=label, words=words) for label, words in others))
    return tuple(MarkedDocument(view, annotations, report) for view in views)


def _all_words(document: SentDocument) -> list[Span]:
    """Return the words in the report, with the words before and after them that the model did not read."""
    words: list[Span] = []
    for source, text in ((TEXT, document.text), (TEXT_PAIR, document.text_pair)):
        if text is None:
            continue
        read = [span for span in document.words if span.source == source]
        start, end = (read[0].start, read[-1].end) if read else (len(text), len(text))
        words += [*_cut(text, 0, start, source), *read, *_cut(text, end, len(text), source)]
    return words


def _cut(text: str, start: int, end: int, source: str) -> list[Span]:
    if start >= end:
        return []
    edges = [start, *(at for at in segmentation.words(text) if start < at < end), end]
    return [Span(a, b, text[a:b], 0.0, source=source) for a, b in pairwise(edges)]
