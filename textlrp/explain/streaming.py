"""Texts one after the other: some are read ahead, so that texts of similar length share a batch, and then dropped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from textlrp.errors import BatchError, LRPError
from textlrp.explain import inputs
from textlrp.explain.assembly import Provenance, explanations
from textlrp.explain.batching import IDS, PendingDocument
from textlrp.explain.classifier import Classifier
from textlrp.explain.labels import Choice, Head, Pick
from textlrp.explain.long_texts import Reading
from textlrp.explain.progress import ProgressBar
from textlrp.explain.references import References
from textlrp.results.explanation import Explanation

#: The most batches that a stream reads ahead, and the most if all explanations are held anyway.
BATCHES, BATCHES_HELD = 16, 64

#: The most characters of a batch that is read ahead: a model may read few ids of a long text.
CHARACTERS = 2**16

#: A stream that grows reads ahead one text for this many that it has yielded.
SHARE = 4

#: A text that was read, or the error that prevents it.
Read = PendingDocument | LRPError


def read(
    classifier: Classifier,
    head: Head,
    value: Any,
    choice: Choice,
    reading: Reading,
    references: References | None = None,
) -> Read:
    """Return a text or a pair as a model reads it, or the error that prevents it."""

    def choose(logits: Tensor) -> list[Pick]:
        return [choice.pick(head, logits)]

    try:
        return reading.document(classifier, *inputs.pair(value), choose, choice.settled, references)
    except LRPError as error:
        return error


def read_all(
    classifier: Classifier,
    head: Head,
    pairs: Iterable[tuple[Any, Any]],
    contrast: str | int | None,
    reading: Reading,
    references: References | None = None,
) -> Iterator[Read]:
    """Read texts, each drawn with its target on demand.

    Raises:
        InputError: a target is unknown.
    """
    for value, target in pairs:
        choice = Choice(target, contrast)
        choice.check(head)
        yield read(classifier, head, value, choice, reading, references)


class _Ahead(NamedTuple):
    """Texts that were read ahead.

    Attributes:
        texts: the texts in order.
        error: the error of drawing the next text, or None.
        ended: whether they are the last.
    """

    texts: deque[Read]
    error: Exception | None = None
    ended: bool = False


def stream(
    texts: Iterable[Read],
    run: Callable[[Sequence[PendingDocument]], None],
    provenance: Provenance,
    bar: ProgressBar,
    batch_size: int,
    batches: int,
    *,
    grows: bool,
    raises: bool,
) -> Generator[Explanation | LRPError, None, None]:
    """Yield the explanation of each text, or the error that prevents it, in order.

    Between two of them the model is free, and yielded ones are not kept.

    Args:
        texts: the texts, drawn some batches ahead.
        run: explains documents, and notes the results in them.
        provenance: the origin of the explanations.
        bar: counts the texts that cannot be read; ``run`` counts the others.
        batch_size: the most texts in a batch.
        batches: the most batches to read ahead, measured in texts, ids and characters; the last text may exceed it.
        grows: whether to begin with one text, and then to read ahead a quarter as many as were yielded: the first
            explanation comes at once, and a stop loses little of the work.
        raises: whether to raise the first error, after the explanations before it, instead of yielding it.

    Raises:
        BatchError: a text cannot be explained; the error names it. An error of drawing a text is raised, too, after the
            explanations before it.
    """
    yielded, drawn, most = 0, iter(texts), batches * batch_size
    while True:
        count = min(most, max(1, yielded // SHARE)) if grows else most
        ahead = _read_ahead(drawn, count, batches, raises)
        run([document for document in ahead.texts if isinstance(document, PendingDocument)])
        while ahead.texts:
            outcome = _outcome(ahead.texts.popleft(), provenance, bar)
            if raises and isinstance(outcome, LRPError):
                raise BatchError({yielded: outcome}, yielded + 1)
            yielded += 1
            yield outcome
        if ahead.error is not None:
            raise ahead.error
        if ahead.ended:
            return


def _read_ahead(drawn: Iterator[Read], most: int, batches: int, raises: bool) -> _Ahead:
    texts: deque[Read] = deque()
    ids = characters = 0
    while len(texts) < most and ids < batches * IDS and characters < batches * CHARACTERS:
        try:
            document = next(drawn)
        except StopIteration:
            return _Ahead(texts, ended=True)
        except Exception as error:  # raised after the explanations of the texts before it
            return _Ahead(texts, error)
        texts.append(document)
        if isinstance(document, PendingDocument):
            ids += sum(map(len, document.windows))
            characters += len(document.text) + len(document.text_pair or "")
        elif raises:
            break
    return _Ahead(texts)


def _outcome(read: Read, provenance: Provenance, bar: ProgressBar) -> Explanation | LRPError:
    if isinstance(read, LRPError):
        bar.advance()
        return read
    try:
        ((_, explanation),) = explanations(read, provenance)
    except LRPError as error:
        return error
    return explanation
