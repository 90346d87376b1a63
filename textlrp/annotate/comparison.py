"""Annotators set against each other, and the model against the annotators, in numbers."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlrp.annotate.annotations import VERDICTS, Annotation
from textlrp.annotate.document import MarkedDocument, Plausibility, Scored, mean
from textlrp.basics import extras
from textlrp.basics.files import write_whole
from textlrp.evaluate import agreement

if TYPE_CHECKING:
    from textlrp.report.reading import SentReport

_FORMAT = 1


@dataclass(frozen=True)
class Annotator:
    """What one annotator did.

    Attributes:
        name: the annotator's name.
        documents: how many documents have any mark.
        verdicts: how many documents have each verdict; ``"none"`` counts those without.
        blind: the same, of the documents that were marked while the model's relevance was hidden.
        rationales: how many documents have marked words.
        labeled: for how many documents it is known which label the annotator takes for right.
        right: for how many of those it is the predicted one.
        comments: how many documents have a comment.
    """

    name: str
    documents: int
    verdicts: Mapping[str, int]
    blind: Mapping[str, int]
    rationales: int
    labeled: int
    right: int
    comments: int


@dataclass(frozen=True)
class LabelPair:
    """How far two annotators agree on labels: Cohen's kappa, and the share of equal labels; None where not defined."""

    annotators: tuple[str, str]
    documents: int
    kappa: float | None
    equal: float | None


@dataclass(frozen=True)
class RationalePair:
    """How far two annotators agree on words, as means over the documents in which both marked some; None without any.

    Attributes:
        annotators: their names.
        documents: in how many documents both marked words.
        span_f1: of spans that are equal word by word.
        iou_f1: of spans that overlap by half or more.
        token_f1: of words.
    """

    annotators: tuple[str, str]
    documents: int
    span_f1: float | None
    iou_f1: float | None
    token_f1: float | None


@dataclass(frozen=True)
class ModelRow:
    """The model set against marked words.

    Attributes:
        against: the annotator's name, None for the majority, empty for one after the other.
        documents: how many documents the numbers rest on.
        blind: in how many of them the model's relevance was hidden when the words were marked.
        left_out: how many others have marked words for another label than the explained one (or an empty majority).
        model: the words of the highest relevance; None without documents.
        chance: as many words chosen at random.
    """

    against: str | None
    documents: int
    blind: int
    left_out: int
    model: Plausibility | None
    chance: Plausibility | None


@dataclass(frozen=True)
class DocumentRow:
    """One document: how many annotators, whether their labels are equal (None with fewer than two), the mean token F1
    of their words, and that of the model's with theirs; None where it is not defined."""

    id: str
    annotators: int
    labels_equal: bool | None
    people_f1: float | None
    model_f1: float | None


@dataclass(frozen=True)
class Comparison:
    """What came out.

    Attributes:
        report: the report's id.
        model: the model's name.
        size: how many documents the report has.
        covered: how many documents were marked by how many annotators, in rising order.
        annotators: one for each, in the order in which they were read.
        alpha: Krippendorff's alpha of the labels, or None where it is not defined.
        alpha_documents: how many documents have two labels or more.
        labels: one for each pair of annotators.
        rationales: one for each pair of annotators.
        rationales_mean: the means over all pairs and documents, where there are several pairs; it names no one.
        rows: one for each annotator, and for the majority where there are two or more.
        everyone: the model set against one annotator after the other, on the documents in which two or more marked
            words for the explained label; None without any.
        people: the annotators set against each other on the same documents: what can be asked of a model.
        documents: one for each document with a mark, in the report's order.
        notes: what to know when reading the numbers, and what cannot be computed.
    """

    report: str
    model: str
    size: int
    covered: tuple[tuple[int, int], ...]
    annotators: tuple[Annotator, ...]
    alpha: float | None
    alpha_documents: int
    labels: tuple[LabelPair, ...]
    rationales: tuple[RationalePair, ...]
    rationales_mean: RationalePair | None
    rows: tuple[ModelRow, ...]
    everyone: ModelRow | None
    people: Plausibility | None
    documents: tuple[DocumentRow, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-ready values."""
        values = dataclasses.asdict(self)
        values["covered"] = {str(people): count for people, count in self.covered}
        return {"format": _FORMAT, **values}

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the comparison as JSON, and write it to ``path`` if one is given."""
        written = json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"
        if path is not None:
            write_whole(Path(path), written)
        return written


def compare(annotations: Iterable[Annotation], report: SentReport) -> Comparison:
    """Set annotators against each other, and the model against them.

    Words are marked if any of their characters is; what an annotator marked is compared with as many words of the
    highest positive relevance (:func:`textlrp.evaluate.plausibility.chosen_words`). Words that were marked for another
    label than the explained one are no measure of it and are left out.

    Args:
        annotations: what :func:`textlrp.annotate.annotations.read_annotations` read.
        report: the report that they were made in.

    Raises:
        LRPError: a library of the extra ``annotate`` is not installed.
    """
    for library in ("sklearn", "krippendorff"):
        extras.check(library, "annotate", "comparing annotations")
    listed = list(annotations)
    names = tuple(dict.fromkeys(each.annotator for each in listed))
    by_document: dict[str, list[Annotation]] = {identity: [] for identity in report.documents}
    for each in listed:
        by_document[each.document].append(each)
    marked = [
        MarkedDocument(report.documents[identity], own, report.labels) for identity, own in by_document.items() if own
    ]
    right = {
        name: {
            each.document: label
            for each in listed
            if each.annotator == name
            and (label := each.right_label(report.documents[each.document], report.labels)) is not None
        }
        for name in names
    }
    pairs = list(combinations(names, 2))
    rationales = tuple(_rationale_pair(pair, marked) for pair in pairs)
    rows = [
        _row(name, [each.scores.get(name) for each in marked], sum(name in each.unfit for each in marked))
        for name in names
    ]
    if len(names) > 1:
        rows.append(_row(None, [each.majority for each in marked], sum(each.divided for each in marked)))
    shared = [each for each in marked if len(each.fitting) > 1]
    alpha = agreement.alpha(list(right.values()))
    comparison = Comparison(
        report.id,
        report.model,
        len(report.documents),
        tuple(sorted(Counter(len(own) for own in by_document.values()).items())),
        tuple(_annotator(name, listed, right[name], report) for name in names),
        alpha,
        len(agreement.shared(list(right.values()))),
        tuple(_label_pair(pair, right) for pair in pairs),
        rationales,
        _mean_pair(marked) if len(pairs) > 1 else None,
        tuple(rows),
        _row("", [each.everyone for each in shared], 0) if shared else None,
        _people(shared),
        tuple(_document_row(each, right) for each in marked),
        (),
    )
    return dataclasses.replace(comparison, notes=tuple(_notes(comparison)))


def _annotator(name: str, listed: Iterable[Annotation], right: Mapping[str, str], report: SentReport) -> Annotator:
    own = [each for each in listed if each.annotator == name]

    def counted(some: Iterable[Annotation]) -> dict[str, int]:
        counts = Counter(each.verdict or "none" for each in some)
        return {verdict: counts[verdict] for verdict in (*VERDICTS, "none")}

    return Annotator(
        name,
        len(own),
        counted(own),
        counted(each for each in own if each.blind),
        sum(bool(each.rationales) for each in own),
        len(right),
        sum(label == report.documents[document].predicted for document, label in right.items()),
        sum(bool(each.comment.strip()) for each in own),
    )


def _label_pair(pair: tuple[str, str], right: Mapping[str, Mapping[str, str]]) -> LabelPair:
    one, other = right[pair[0]], right[pair[1]]
    documents = agreement.shared([one, other])
    equal = agreement.mean([float(one[each] == other[each]) for each in documents])
    return LabelPair(pair, len(documents), agreement.kappa(one, other), equal)


def _rationale_pair(pair: tuple[str, str], marked: Iterable[MarkedDocument]) -> RationalePair:
    scores = [score for each in marked if (score := each.pair(*pair)) is not None]
    means = [agreement.mean([score[i] for score in scores]) for i in range(3)]
    return RationalePair(pair, len(scores), *means)


def _mean_pair(marked: Sequence[MarkedDocument]) -> RationalePair:
    every = [score for each in marked for score in each.pairs(each.votes)]
    means = [agreement.mean([score[i] for score in every]) for i in range(3)]
    return RationalePair(("", ""), sum(len(each.votes) > 1 for each in marked), *means)


def _people(marked: Iterable[MarkedDocument]) -> Plausibility | None:
    pairs = [each.pairs(each.fitting) for each in marked]
    iou, token = ([sum(score[i] for score in own) / len(own) for own in pairs] for i in (1, 2))
    return Plausibility(sum(token) / len(token), sum(iou) / len(iou), None) if pairs else None


def _row(against: str | None, found: Iterable[Scored | None], left_out: int) -> ModelRow:
    scores = [score for score in found if score is not None]
    return ModelRow(
        against,
        len(scores),
        sum(score.blind for score in scores),
        left_out,
        mean([score.model for score in scores]) if scores else None,
        mean([score.chance for score in scores]) if scores else None,
    )


def _document_row(marked: MarkedDocument, right: Mapping[str, Mapping[str, str]]) -> DocumentRow:
    identity = marked.document.id
    labels = [own[identity] for own in right.values() if identity in own]
    return DocumentRow(
        identity,
        len(marked.annotations),
        len(set(labels)) == 1 if len(labels) > 1 else None,
        agreement.mean([score[2] for score in marked.pairs(marked.votes)]),
        agreement.mean([score.model.token_f1 for score in marked.scores.values()]),
    )


def _notes(found: Comparison) -> Iterable[str]:
    people = len(found.annotators)
    if people == 1:
        yield "One annotator: there is no agreement to compute."
    elif not found.alpha_documents:
        yield "No document has labels of two annotators: there is no agreement on labels to compute."
    elif found.alpha is None:
        yield "All labels given twice are the same one: alpha and kappa are not defined without a second label."
    if people > 1 and not any(pair.documents for pair in found.rationales):
        yield "No document has words marked by two annotators: there is no agreement on words to compute."
    own = [row for row in found.rows if row.against is not None]
    if not any(row.documents or row.left_out for row in own):
        yield "Nobody marked words: the model's words are compared with none."
    elif any(row.documents > row.blind for row in own):
        yield (
            "Some words were marked while the model's colors were visible: people follow what they see, so those "
            "numbers flatter the model."
        )
    if any(row.left_out for row in own):
        yield "Words marked for another label than the explained one are left out of the model's numbers."
