"""The documents of a table with their explanations, one by one, each saved in a run at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from textlrp.basics.characters import printable
from textlrp.data.document_sets import DocumentSet
from textlrp.data.documents import DocumentTable, InputDocument
from textlrp.data.fingerprints import model_facts
from textlrp.data.records import Failure, Record
from textlrp.data.runs import Origin, Run
from textlrp.errors import InputError, LRPError
from textlrp.explain.explainer import Explainer
from textlrp.explain.label_names import LabelReading
from textlrp.explain.progress import ProgressBar, say
from textlrp.results.explanation import Explanation

#: The explanations of a document, the predicted label's first, or the reason why it has none.
Outcome = tuple[Explanation, ...] | LRPError


def origin(
    explainer: Explainer,
    documents: Sequence[InputDocument],
    targets: Sequence[str],
    options: Mapping[str, Any],
    label_map: Mapping[str, str] | None = None,
    why_not: bool = False,
) -> Origin:
    """Return the origin of a run: fingerprints of the model and of the documents, and the options."""
    facts = DocumentSet("", tuple(documents), {document.id: document.given for document in documents}).to_dict()
    del facts["name"]  # a table may be moved
    settings = {"target": list(targets), **options, "rules": options["rules"].name}
    if label_map:
        settings["label map"] = dict(label_map)
    if why_not:
        settings["why-not"] = "each mistake"
    return Origin(model_facts(explainer.name, explainer), facts, settings)


def reading_of(
    explainer: Explainer,
    table: DocumentTable,
    label_map: Mapping[str, str] | None = None,
    known: Sequence[str] | None = None,
) -> LabelReading:
    """Return how the labels of a table are read as the model's: ``known``, or those in its config.

    Raises:
        InputError: they can be read in two ways, or the label map does not fit the model.
    """
    return explainer.head.read(table.labels, explainer.labels if known is None else known, label_map)


def labels_said(
    explainer: Explainer, table: DocumentTable, label_map: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return sentences on how the labels of a table are read; the errors are those of :func:`reading_of`."""
    reading = reading_of(explainer, table, label_map)
    several = sum(len(reading.of(document.given)) > 1 for document in table.documents)
    if not several or explainer.head.gives_several:
        return reading.sentences
    which = "1 document has" if several == 1 else f"{several:,} documents have"
    return (*reading.sentences, f"{which} several labels, and the model gives one: that is neither right nor wrong")


def can_ask_why_not(explainer: Explainer, table: DocumentTable) -> bool:
    """Return whether predictions can be wrong: the data gives labels, and the model gives one label for a text."""
    return bool(table.labels) and not explainer.head.gives_several


def explain_documents(
    explainer: Explainer,
    table: DocumentTable,
    targets: Sequence[str],
    options: Mapping[str, Any],
    run: Run | None,
    label_map: Mapping[str, str] | None = None,
    why_not: bool = False,
) -> Iterator[Record | Failure]:
    """Yield documents with their explanations, or with the reason why they have none; first, the rows without any.

    Args:
        explainer: the model.
        table: the documents.
        targets: the labels to explain, or ``"all"``; empty for the predicted one, or all predicted ones of a model that
            gives several (of none, the one of the highest logit).
        options: options of :meth:`textlrp.Explainer.explain` for all documents.
        run: documents that it holds, failures included, come first and are not explained again; new ones are saved in
            it before they are yielded.
        label_map: what labels mean, by the label.
        why_not: whether the last explanation of a document that is predicted wrong is the contrast of the predicted
            label to the right one; that costs one more explanation for each such document.

    Raises:
        InputError: the labels can be read in two ways; or, at the end, none of the documents can be explained.
        LRPError: a document cannot be saved.
    """
    done: set[str] = set()
    explained, reason = False, ""
    documents = {document.id for document in table.documents}
    for outcome in _outcomes(explainer, table, targets, options, run, label_map, why_not, done):
        explained |= isinstance(outcome, Record)
        if isinstance(outcome, Failure) and outcome.id in documents:
            reason = reason or outcome.reason
        yield outcome
    if not explained:
        count = len(table.documents)
        subject = "the document cannot" if count == 1 else f"none of the {count:,} documents can"
        raise InputError(f"{subject} be explained: {reason}")


def _outcomes(
    explainer: Explainer,
    table: DocumentTable,
    targets: Sequence[str],
    options: Mapping[str, Any],
    run: Run | None,
    label_map: Mapping[str, str] | None,
    why_not: bool,
    done: set[str],
) -> Iterator[Record | Failure]:
    reading = reading_of(explainer, table, label_map)
    for kept in run.kept() if run is not None else ():
        done.add(kept.id)
        yield kept
    documents = table.documents
    for failure in _rows_without(table):
        if failure.id not in done:
            done.add(failure.id)
            if run is not None:
                run.add(failure)
            yield failure
    rest = [document for document in documents if document.id not in done]
    with ProgressBar("explaining", len(documents), True, before=len(documents) - len(rest)) as bar:
        for document, outcome in zip(rest, _explanations(explainer, rest, targets, options), strict=True):
            if not reading.known and isinstance(outcome, tuple) and outcome:  # the config does not tell the labels
                reading = reading_of(explainer, table, label_map, list(outcome[0].logits))
            right = _right(explainer, reading, document)
            if why_not and isinstance(outcome, tuple):
                outcome = (*outcome, *_why_not(explainer, document, outcome, right, options))
            result = _result(document, outcome, right)
            if run is not None:
                run.add(result)
            yield result
            bar.advance()


def _rows_without(table: DocumentTable) -> Iterator[Failure]:
    """Yield the rows that are no documents; a place that is also the id of a document is told from it."""
    taken = {document.id for document in table.documents}
    for row in table.skipped:
        identity = row.place
        while identity in taken:
            identity += " of the table"
        taken.add(identity)
        yield Failure(identity, row.reason)


def _right(explainer: Explainer, reading: LabelReading, document: InputDocument) -> tuple[str, ...]:
    """Return the right labels of a document; none of several, if the model gives one."""
    right = reading.of(document.given)
    return right if len(right) < 2 or explainer.head.gives_several else ()


def _explanations(
    explainer: Explainer, documents: Sequence[InputDocument], targets: Sequence[str], options: Mapping[str, Any]
) -> Iterator[Outcome]:
    several_predicted = not targets and explainer.head.gives_several
    if len(targets) <= 1 and "all" not in targets and not several_predicted:
        texts = (d.text if d.text_pair is None else (d.text, d.text_pair) for d in documents)
        target = targets[0] if targets else None
        for outcome in explainer.explain_stream(texts, target=target, errors="return", **options):
            yield outcome if isinstance(outcome, LRPError) else (outcome,)
        return
    labels: Any = "predicted" if several_predicted else "all" if "all" in targets else list(dict.fromkeys(targets))
    for document in documents:
        try:
            several = explainer.explain_targets(document.text, document.text_pair, targets=labels, **options)
            if not several:  # no label is over the threshold: then the highest is explained
                highest = explainer.explain(document.text, document.text_pair, **options)
                several = {highest.target: highest}
        except LRPError as error:
            yield error
        else:
            yield tuple(sorted(several.values(), key=lambda e: e.target != e.predicted))


def _why_not(
    explainer: Explainer,
    document: InputDocument,
    explanations: Sequence[Explanation],
    right: Sequence[str],
    options: Mapping[str, Any],
) -> tuple[Explanation, ...]:
    """Return the contrast of a wrong prediction to the right label; nothing if it is right, or there is no such."""
    first = explanations[0]
    if len(right) != 1 or right[0] == first.predicted or right[0] not in first.logits:
        return ()
    if any((e.target, e.contrast) == (first.predicted, right[0]) for e in explanations):
        return ()
    if len(first.logits) == 2 and sum(first.logits.values()) == 0:
        return ()  # one output sets two labels against each other: the contrast says the same
    try:
        asked = {**options, "target": first.predicted, "contrast": right[0]}
        return (explainer.explain(document.text, document.text_pair, **asked),)
    except LRPError as error:
        say(printable(f"not explained: why {document.id} is not {right[0]}: {error}"))
        return ()


def _result(document: InputDocument, outcome: Outcome, right: tuple[str, ...]) -> Record | Failure:
    given = () if document.given == right else document.given
    label, several = (right[0], ()) if len(right) == 1 else (None, right)
    try:
        if isinstance(outcome, LRPError):
            raise outcome
        return Record(document.id, outcome, label, document.rationales, several, given)
    except LRPError as error:
        return Failure(document.id, str(error))
