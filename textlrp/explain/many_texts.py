"""Many texts with their targets: options checked, texts read, and explained in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence, Sized
from typing import Any, NamedTuple

from textlrp.basics import options
from textlrp.errors import BatchError, LRPError
from textlrp.explain import inputs, streaming
from textlrp.explain.assembly import Provenance
from textlrp.explain.batching import Engine, PendingDocument
from textlrp.explain.classifier import Classifier
from textlrp.explain.labels import Choice
from textlrp.explain.long_texts import Reading
from textlrp.explain.progress import ProgressBar
from textlrp.explain.references import References
from textlrp.rules import Rules, as_rules


class BatchOptions(NamedTuple):
    """The options for an explanation of many texts."""

    rules: Rules
    reading: Reading
    layers: bool
    batch_size: int
    raises: bool
    progress: bool
    references: References | None = None

    @classmethod
    def checked(
        cls,
        rules: Rules | str,
        long: str,
        window: int | None,
        overlap: int | None,
        layers: bool,
        batch_size: int,
        errors: str,
        progress: bool,
        reference: Any = None,
        classifier: Classifier | None = None,
    ) -> BatchOptions:
        """Return options as a user gives them; a reference is read with the tokenizer of the classifier.

        Raises:
            InputError: one of them cannot be used.
        """
        options.choice(errors, ("raise", "return"), "errors is 'raise' or 'return'")
        batch_size = options.whole(batch_size, "batch_size is a number of texts, 1 or more", 1)
        reading = Reading(long, window, overlap)
        layers = options.flag(layers, "layers") if classifier is None else classifier.layers(layers)
        raises, progress = errors == "raise", options.flag(progress, "progress")
        rules = as_rules(rules)
        references = None if classifier is None else References.read(reference, rules, classifier)
        return cls(rules, reading, layers, batch_size, raises, progress, references)


def explain_all(
    engine: Engine,
    texts: Iterable[Any],
    target: Any,
    contrast: str | int | None,
    asked: BatchOptions,
    provenance: Provenance,
) -> list[Any]:
    """Return the explanations of all texts; :meth:`textlrp.Explainer.explain_batch` describes the arguments."""
    values = list(inputs.column(texts, "texts"))
    choices = [Choice(label, contrast) for label in inputs.one_each(target, len(values))]
    for choice in choices:
        choice.check(engine.head)
    read = deque(
        streaming.read(engine.classifier, engine.head, value, choice, asked.reading, asked.references)
        for value, choice in zip(values, choices, strict=True)
    )
    failed = {i: document for i, document in enumerate(read) if isinstance(document, LRPError)}
    if failed and asked.raises:
        raise BatchError(failed, len(read))
    total = sum(1 if isinstance(document, LRPError) else document.steps for document in read)
    drained = (read.popleft() for _ in values)
    outcomes = list(_stream(engine, drained, asked, provenance, total, listed=True))
    failed = {i: outcome for i, outcome in enumerate(outcomes) if isinstance(outcome, LRPError)}
    if failed and asked.raises:
        explained = [None if i in failed else outcome for i, outcome in enumerate(outcomes)]
        raise BatchError(failed, len(outcomes), explained)
    return outcomes


def explain_each(
    engine: Engine,
    texts: Iterable[Any],
    target: Any,
    contrast: str | int | None,
    asked: BatchOptions,
    provenance: Provenance,
) -> Generator[Any, None, None]:
    """Return a generator of the explanations; :meth:`textlrp.Explainer.explain_stream` describes the arguments."""
    values = inputs.column(texts, "texts")
    if not (target is None or inputs.single(target)):
        target = inputs.column(target, "target")
        Choice(None, contrast).check(engine.head)
    else:
        Choice(target, contrast).check(engine.head)
    known = isinstance(values, Sized) and asked.reading.long != "windows"  # in one window, each text is a step
    pairs = inputs.paired(values, target)
    read = streaming.read_all(engine.classifier, engine.head, pairs, contrast, asked.reading, asked.references)
    total = len(values) if known else None  # type: ignore[arg-type]
    return _stream(engine, read, asked, provenance, total, listed=False)


def _stream(
    engine: Engine,
    read: Iterable[streaming.Read],
    asked: BatchOptions,
    provenance: Provenance,
    total: int | None,
    *,
    listed: bool,
) -> Generator[Any, None, None]:
    """Yield explanations; a list holds all of them anyway, so it reads more texts ahead and raises errors itself."""
    with ProgressBar("explaining", total, asked.progress) as bar:

        def run(documents: Sequence[PendingDocument]) -> None:
            engine.run(documents, asked.rules, asked.batch_size, bar, asked.layers)

        batches = streaming.BATCHES_HELD if listed else streaming.BATCHES
        raises = asked.raises and not listed
        yield from streaming.stream(
            read, run, provenance, bar, asked.batch_size, batches, grows=not listed, raises=raises
        )
