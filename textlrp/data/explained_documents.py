"""The documents of a table with their explanations, one by one, and kept in a run as they come."""

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

#: The explanations of a document, that of the predicted label first, or why there are none.
Found = tuple[Explanation, ...] | LRPError


def origin(
    explainer: Explainer, documents: Sequence[InputDocument], targets: Sequence[str], options: Mapping[str, Any]
) -> Origin:
    """Return what says whether a run can go on: the model and the documents by fingerprints, and the options."""
    labels = {document.id: () if document.label is None else (document.label,) for document in documents}
    about = DocumentSet("", tuple(documents), labels).to_dict()
    del about["name"]  # wherever the table lies now
    asked = {"target": list(targets), **options, "rules": options["rules"].name}
    return Origin(model_facts(explainer.name, explainer), about, asked)


def explain_documents(
    explainer: Explainer,
    documents: Sequence[InputDocument],
    targets: Sequence[str],
    options: Mapping[str, Any],
    run: Run | None,
) -> Iterator[Record | Failure]:
    """Yield documents with their explanations, or why they have none.

    Args:
        explainer: what explains them.
        documents: with unique ids.
        targets: the labels to explain, or ``"all"``; none for the predicted one.
        options: those of :meth:`textlrp.Explainer.explain` that are the same for all.
        run: what it has is given out first and not explained again, not even what had no explanation; what is new is
            kept there before it is given out.

    Raises:
        InputError: none of the documents can be explained; said when all are through.
        LRPError: a document cannot be kept.
    """
    done: set[str] = set()
    explained, reason = False, ""
    for each in _each(explainer, documents, targets, options, run, done):
        explained |= isinstance(each, Record)
        reason = reason or (each.reason if isinstance(each, Failure) else "")
        yield each
    if not explained:
        what = "the document cannot" if len(documents) == 1 else f"none of the {len(documents):,} documents can"
        raise InputError(f"{what} be explained: {reason}")


def _each(
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
    with ProgressBar("explaining", len(documents), True) as bar:
        bar.advance(len(documents) - len(rest))
        for document, found in zip(rest, _explanations(explainer, rest, targets, options), strict=True):
            if not labels and isinstance(found, tuple) and found:
                # Data often has 0 and 1 where the model has names. All the labels say so, whatever is done already.
                named = match_labels([each.label for each in documents], list(found[0].logits))
                labels = {each.id: label for each, label in zip(documents, named, strict=True)}
            made = _made(document, found, labels)
            if run is not None:
                run.add(made)
            yield made
            bar.advance()


def _explanations(
    explainer: Explainer, documents: Sequence[InputDocument], targets: Sequence[str], options: Mapping[str, Any]
) -> Iterator[Found]:
    if len(targets) <= 1 and "all" not in targets:
        texts = ((each.text, each.text_pair) if each.text_pair is not None else each.text for each in documents)
        target = targets[0] if targets else None
        for found in explainer.explain_stream(texts, target=target, errors="return", **options):
            yield found if isinstance(found, LRPError) else (found,)
        return
    asked: Any = "all" if "all" in targets else list(dict.fromkeys(targets))
    for document in documents:
        try:
            several = explainer.explain_targets(document.text, document.text_pair, targets=asked, **options)
        except LRPError as error:
            yield error
        else:
            yield tuple(sorted(several.values(), key=lambda e: e.target != e.predicted))


def _made(document: InputDocument, found: Found, labels: Mapping[str, str | None]) -> Record | Failure:
    try:
        if isinstance(found, LRPError):
            raise found
        return Record(document.id, found, labels.get(document.id), document.rationales)
    except LRPError as error:
        return Failure(document.id, str(error))
