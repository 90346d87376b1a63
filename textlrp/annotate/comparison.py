"""Compares annotators with each other, and the model with the annotators."""

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
from textlrp.annotate.document import MarkedDocument, ModelScores, Plausibility, by_label, mean
from textlrp.annotate.intervals import IntervalRow, intervals
from textlrp.basics import extras
from textlrp.basics.files import write_whole
from textlrp.evaluate import agreement
from textlrp.render.format import named

if TYPE_CHECKING:
    from textlrp.report.reading import SentReport

_FORMAT = 2
Labels = tuple[str, ...]
_CONTRADICTIONS = 10  # in the notes; all are in the JSON


@dataclass(frozen=True)
class Annotator:
    """The work of one annotator.

    Attributes:
        name: the annotator's name.
        documents: how many documents have any annotation.
        verdicts: how many documents have each verdict; ``"none"`` counts those without.
        blind: the same for documents annotated while the model's relevance was hidden.
        rationales: how many documents have marked words.
        labeled: for how many documents the annotator's label is known.
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
    """The agreement of two annotators on labels: Cohen's kappa and the share of equal labels; None if not defined."""

    annotators: tuple[str, str]
    documents: int
    kappa: float | None
    equal: float | None


@dataclass(frozen=True)
class RationalePair:
    """The agreement of two annotators on words: means over the documents in which both marked some; None without any.

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
    """The agreement of the model with marked words.

    Attributes:
        against: the annotator's name, None for the majority, empty for all annotators in turn.
        documents: the number of documents.
        blind: in how many of them the model's relevance was hidden when the words were marked.
        left_out: how many others have words marked for other labels than the explained one (or an empty majority).
        unlabeled: how many others have words marked without a label.
        model: for the words of the highest relevance; None without documents.
        chance: for as many words chosen at random.
    """

    against: str | None
    documents: int
    blind: int
    left_out: int
    unlabeled: int
    model: Plausibility | None
    chance: Plausibility | None


@dataclass(frozen=True)
class Contradiction:
    """An annotator's verdict and label that contradict each other, in words that follow the annotator's name."""

    annotator: str
    document: str
    said: str


@dataclass(frozen=True)
class DocumentRow:
    """One document: the number of annotators, whether their labels are equal (None with fewer than two), and the mean
    token F1 among their words, and between the model's words and theirs; None if not defined. Then the labels that each
    annotator considers right, those of the model, the one in the data, and the ones that more than half of the
    annotators give (None without such)."""

    id: str
    annotators: int
    labels_equal: bool | None
    people_f1: float | None
    model_f1: float | None
    labels: Mapping[str, tuple[str, ...]]
    predicted: tuple[str, ...]
    given: str | None
    majority: tuple[str, ...] | None


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        report: the report's id.
        model: the model's name.
        size: how many documents the report has.
        covered: pairs of a number of annotators and the number of documents that they marked, in rising order.
        annotators: in the order in which they were read.
        alpha: Krippendorff's alpha of the labels, or None if not defined; of sets of labels, with the distance MASI.
        alpha_by_label: of sets of labels, alpha of each label; else empty.
        alpha_documents: how many documents have two or more labels.
        labels: one for each pair of annotators.
        rationales: one for each pair of annotators.
        rationales_mean: the means over all pairs and documents, without names; None with a single pair.
        rows: one for each annotator, and one for the majority if there are two or more.
        against: the words that speak against the explained label by the model, against those marked so; one for each
            annotator who marked any.
        everyone: the model against all annotators in turn, on the documents in which two or more marked words for the
            explained label; None without any.
        people: the annotators against each other on the same documents: the most to expect of a model.
        documents: one for each annotated document, in the report's order.
        intervals: 95 % intervals of agreement, by the bootstrap over documents.
        contradictions: by annotator, in the report's order. Their labels count as not known.
        notes: caveats, and the reasons for missing numbers.
    """

    report: str
    model: str
    size: int
    covered: tuple[tuple[int, int], ...]
    annotators: tuple[Annotator, ...]
    alpha: float | None
    alpha_by_label: Mapping[str, float | None]
    alpha_documents: int
    labels: tuple[LabelPair, ...]
    rationales: tuple[RationalePair, ...]
    rationales_mean: RationalePair | None
    rows: tuple[ModelRow, ...]
    against: tuple[ModelRow, ...]
    everyone: ModelRow | None
    people: Plausibility | None
    documents: tuple[DocumentRow, ...]
    intervals: tuple[IntervalRow, ...]
    contradictions: tuple[Contradiction, ...]
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
    """Compare annotators with each other, and the model with them.

    Words are marked if any of their characters is; an annotator's words for the explained label are compared with as
    many words of the highest positive relevance (:func:`textlrp.evaluate.plausibility.chosen_words`), and those against
    it with as many of the most negative one. Marks without a label speak for the label that the annotator considers
    right, and are left out if that is not known.

    Args:
        annotations: from :func:`textlrp.annotate.annotations.read_annotations`.
        report: their report.

    Raises:
        LRPError: a library of the extra ``annotate`` is not installed.
    """
    for library in ("sklearn", "krippendorff"):
        extras.check(library, "annotate", "comparing annotations")
    listed = list(annotations)
    names = tuple(dict.fromkeys(annotation.annotator for annotation in listed))
    by_document: dict[str, list[Annotation]] = {identity: [] for identity in report.documents}
    for annotation in listed:
        by_document[annotation.document].append(annotation)
    views = [
        by_label(report.documents[identity], of_document, report)
        for identity, of_document in by_document.items()
        if of_document
    ]
    marked, documents = [view for of_document in views for view in of_document], [first for first, *_ in views]
    right = {
        name: {
            a.document: labels
            for a in listed
            if a.annotator == name and (labels := a.right_labels(report.documents[a.document], report)) is not None
        }
        for name in names
    }
    pairs = list(combinations(names, 2))
    rationales = tuple(_rationale_pair(pair, documents) for pair in pairs)
    rows = [
        _row(
            name,
            [m.scores.get(name) for m in marked],
            sum(all(name in view.unfit for view in of_document) for of_document in views),
            sum(name in m.unlabeled for m in documents),
        )
        for name in names
    ]
    against = [_row(name, [m.against.get(name) for m in marked]) for name in names]
    if len(names) > 1:
        rows.append(_row(None, [m.majority for m in marked], sum(m.divided for m in marked)))
    shared = [m for m in marked if len(m.fitting) > 1]
    given = list(right.values())
    sets = {name: {document: frozenset(labels) for document, labels in of.items()} for name, of in right.items()}
    alpha, alpha_by_label = (
        agreement.alpha_of_sets(given, report.labels) if report.multi else (agreement.alpha(given), {})
    )
    comparison = Comparison(
        report.id,
        report.model,
        len(report.documents),
        tuple(sorted(Counter(map(len, by_document.values())).items())),
        tuple(_annotator(name, listed, right[name], report) for name in names),
        alpha,
        alpha_by_label,
        len(agreement.shared(given)),
        tuple(_label_pair(pair, right, report.multi) for pair in pairs),
        rationales,
        _mean_pair(documents) if len(pairs) > 1 else None,
        tuple(rows),
        tuple(row for row in against if row.documents),
        _row("", [m.everyone for m in shared]) if shared else None,
        _people(shared),
        tuple(_document_row(m, right) for m in documents),
        intervals(sets, documents, marked, agreement.masi)
        if report.multi
        else intervals(right, documents, marked, None),
        tuple(
            Contradiction(a.annotator, a.document, said)
            for a in listed
            if (said := a.contradiction(report.documents[a.document])) is not None
        ),
        (),
    )
    return dataclasses.replace(comparison, notes=tuple(_notes(comparison)))


def _annotator(name: str, listed: Iterable[Annotation], right: Mapping[str, Labels], report: SentReport) -> Annotator:
    annotations = [annotation for annotation in listed if annotation.annotator == name]

    def counted(some: Iterable[Annotation]) -> dict[str, int]:
        counts = Counter(annotation.verdict or "none" for annotation in some)
        return {verdict: counts[verdict] for verdict in (*VERDICTS, "none")}

    return Annotator(
        name,
        len(annotations),
        counted(annotations),
        counted(annotation for annotation in annotations if annotation.blind),
        sum(bool(annotation.rationales) for annotation in annotations),
        len(right),
        sum(labels == tuple(sorted(report.documents[document].chosen)) for document, labels in right.items()),
        sum(bool(annotation.comment.strip()) for annotation in annotations),
    )


def _label_pair(pair: tuple[str, str], right: Mapping[str, Mapping[str, Labels]], multi: bool) -> LabelPair:
    one, other = right[pair[0]], right[pair[1]]
    documents = agreement.shared([one, other])
    equal = agreement.mean([float(one[document] == other[document]) for document in documents])
    return LabelPair(pair, len(documents), None if multi else agreement.kappa(one, other), equal)


def _rationale_pair(pair: tuple[str, str], marked: Iterable[MarkedDocument]) -> RationalePair:
    scores = [score for document in marked if (score := document.pair(*pair)) is not None]
    means = [agreement.mean([score[i] for score in scores]) for i in range(3)]
    return RationalePair(pair, len(scores), *means)


def _mean_pair(marked: Sequence[MarkedDocument]) -> RationalePair:
    scores = [score for document in marked for score in document.pairs(document.votes)]
    means = [agreement.mean([score[i] for score in scores]) for i in range(3)]
    return RationalePair(("", ""), sum(len(document.votes) > 1 for document in marked), *means)


def _people(marked: Iterable[MarkedDocument]) -> Plausibility | None:
    scores = [document.pairs(document.fitting) for document in marked]
    iou, token = ([sum(pair[i] for pair in pairs) / len(pairs) for pairs in scores] for i in (1, 2))
    return Plausibility(sum(token) / len(token), sum(iou) / len(iou), None) if scores else None


def _row(against: str | None, scored: Iterable[ModelScores | None], left_out: int = 0, unlabeled: int = 0) -> ModelRow:
    scores = [score for score in scored if score is not None]
    return ModelRow(
        against,
        len(scores),
        sum(score.blind for score in scores),
        left_out,
        unlabeled,
        mean([score.model for score in scores]) if scores else None,
        mean([score.chance for score in scores]) if scores else None,
    )


def _document_row(marked: MarkedDocument, right: Mapping[str, Mapping[str, Labels]]) -> DocumentRow:
    identity = marked.document.id
    by = {name: by_document[identity] for name, by_document in right.items() if identity in by_document}
    labels = list(by.values())
    most, count = Counter(labels).most_common(1)[0] if labels else (None, 0)
    return DocumentRow(
        identity,
        len(marked.annotations),
        len(set(labels)) == 1 if len(labels) > 1 else None,
        agreement.mean([score[2] for score in marked.pairs(marked.votes)]),
        agreement.mean([score.model.token_f1 for score in marked.scores.values()]),
        by,
        marked.document.chosen,
        marked.document.label,
        most if 2 * count > len(labels) else None,
    )


def _notes(comparison: Comparison) -> Iterable[str]:
    people = len(comparison.annotators)
    if people == 1:
        yield "One annotator: there is no agreement to compute."
    elif not comparison.alpha_documents:
        yield "No document has labels of two annotators: there is no agreement on labels to compute."
    elif comparison.alpha is None:
        yield "All labels given twice are the same one: alpha and kappa are not defined without a second label."
    if people > 1 and not any(pair.documents for pair in comparison.rationales):
        yield "No document has words marked by two annotators: there is no agreement on words to compute."
    rows = [row for row in comparison.rows if row.against is not None]
    if not any(row.documents or row.left_out or row.unlabeled for row in rows):
        yield "No words are marked: there is nothing to compare the model's words with."
    elif any(row.documents > row.blind for row in rows):
        yield (
            "Some words were marked while the model's colors were visible: people follow what they see, so those "
            "numbers flatter the model."
        )
    if any(row.left_out for row in rows):
        yield (
            "Where words are marked for other labels alone, they are left out of the numbers of the model's words for "
            "the label."
        )
    for row in rows:
        if row.unlabeled:
            yield (
                f"{named(row.against or '')} did not say for which label the words in {_counted(row.unlabeled)} speak: "
                f"they are left out of the model's numbers."
            )
    shown = comparison.contradictions[:_CONTRADICTIONS]
    for each in shown:
        yield f"{named(each.annotator)} contradicts themselves in {named(each.document)}: {each.said}. Ask them."
    if len(comparison.contradictions) > len(shown):
        yield f"There are {len(comparison.contradictions) - len(shown):,} contradictions more."
    if shown:
        yield "Labels that are contradicted count as not known."


def _counted(count: int) -> str:
    return f"{count:,} document{'' if count == 1 else 's'}"
