"""The documents of a table with their explanations, one by one, each saved in a run at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from textlrp.data.document_sets import DocumentSet
from textlrp.data.documents import InputDocument, match_labels
from textlrp.data.fingerprints import model_facts
from textlrp.data.records import Failure, Record
from textlrp.data.runs import Origin, Run
from textlrp.errors import InputError, LRPError
from textlrp.explain.explainer import Explainer
from textlrp.explain.progress import ProgressBar
from textlrp.results.explanation import Explanation

#: The explanations of a document, the predicted label's first, or the reason why it has none.
Outcome = tuple[Explanation, ...] | LRPError


def origin(
    explainer: Explainer, documents: Sequence[InputDocument], targets: Sequence[str], options: Mapping[str, Any]
) -> Origin:
    """Return the origin of a run: fingerprints of the model and of the documents, and the options."""
    labels = {document.id: () if document.label is None else (document.label,) for document in documents}
    facts = DocumentSet("", tuple(documents), labels).to_dict()
    del facts["name"]  # a table may be moved
    settings = {"target": list(targets), **options, "rules": options["rules"].name}
    return Origin(model_facts(explainer.name, explainer), facts, settings)


def explain_documents(
    explainer: Explainer,
    documents: Sequence[InputDocument],
    targets: Sequence[str],
    options: Mapping[str, Any],
    run: Run | None,
) -> Iterator[Record | Failure]:
    """Yield documents with their explanations, or with the reason why they have none.

    Args:
        explainer: the model.
        documents: documents with unique ids.
        targets: the labels to explain, or ``"all"``; empty for the predicted one.
        options: options of :meth:`textlrp.Explainer.explain` for all documents.
        run: documents that it holds, failures included, come first and are not explained again; new ones are saved in
            it before they are yielded.

    Raises:
        InputError: at the end, if none of the documents can be explained.
        LRPError: a document cannot be saved.
    """
    done: set[str] = set()
    explained, reason = False, ""
    for outcome in _outcomes(explainer, documents, targets, options, run, done):
        explained |= isinstance(outcome, Record)
        reason = reason or (outcome.reason if isinstance(outcome, Failure) else "")
        yield outcome
    if not explained:
        subject = "the document cannot" if len(documents) == 1 else f"none of the {len(documents):,} documents can"
        raise InputError(f"{subject} be explained: {reason}")


def _outcomes(
    explainer: Explainer,
    documents: Sequence[InputDocument],
    targets: Sequence[str],
    options: Mapping[str, Any],
    run: Run | None,
    done: set[str],
) -> Iterator[Record | Failure]:
    for kept in run.kept() if run is not None else ():
        done.add(kept.id)
        yield kept
    rest = [document for document in documents if document.id not in done]
    labels: dict[str, str | None] = {}
    with ProgressBar("explaining", len(documents), True, before=len(documents) - len(rest)) as bar:
        for document, outcome in zip(rest, _explanations(explainer, rest, targets, options), strict=True):
            if not labels and isinstance(outcome, tuple) and outcome:
                # Only the labels of all documents, done or not, tell whether they are numbers of the model's labels.
                named = match_labels([document.label for document in documents], list(outcome[0].logits))
                labels = {document.id: label for document, label in zip(documents, named, strict=True)}
            result = _result(document, outcome, labels)
            if run is not None:
                run.add(result)
            yield result
            bar.advance()


def _explanations(
    explainer: Explainer, documents: Sequence[InputDocument], targets: Sequence[str], options: Mapping[str, Any]
) -> Iterator[Outcome]:
    if len(targets) <= 1 and "all" not in targets:
        texts = (d.text if d.text_pair is None else (d.text, d.text_pair) for d in documents)
        target = targets[0] if targets else None
        for outcome in explainer.explain_stream(texts, target=target, errors="return", **options):
            yield outcome if isinstance(outcome, LRPError) else (outcome,)
        return
    labels: Any = "all" if "all" in targets else list(dict.fromkeys(targets))
    for document in documents:
        try:
            several = explainer.explain_targets(document.text, document.text_pair, targets=labels, **options)
        except LRPError as error:
            yield error
        else:
            yield tuple(sorted(several.values(), key=lambda e: e.target != e.predicted))


def _result(document: InputDocument, outcome: Outcome, labels: Mapping[str, str | None]) -> Record | Failure:
    try:
        if isinstance(outcome, LRPError):
            raise outcome
        return Record(document.id, outcome, labels.get(document.id), document.rationales)
    except LRPError as error:
        return Failure(document.id, str(error))
