"""Texts one after the other: some are read ahead, so that those of like length share a batch, and then let go."""

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
from textlrp.results.explanation import Explanation

#: How many batches a stream reads ahead at most, of texts and of ids; and where all is held anyway.
BATCHES, BATCHES_HELD = 16, 64

#: The most characters of a batch that is read ahead: of a long text, a model may read few ids.
CHARACTERS = 2**16

#: A stream that grows reads ahead as many texts as a share of those that it has given out.
SHARE = 4

#: A text that is read, or why it cannot be.
Read = PendingDocument | LRPError


def read(classifier: Classifier, head: Head, value: Any, choice: Choice, reading: Reading) -> Read:
    """Return a text or a pair as a model reads it, or why it cannot."""

    def choose(logits: Tensor) -> list[Pick]:
        return [choice.pick(head, logits)]

    try:
        return reading.document(classifier, *inputs.pair(value), choose, choice.settled)
    except LRPError as error:
        return error


def read_all(
    classifier: Classifier,
    head: Head,
    pairs: Iterable[tuple[Any, Any]],
    contrast: str | int | None,
    reading: Reading,
) -> Iterator[Read]:
    """Read texts, each drawn with its target as it is asked for.

    Raises:
        InputError: a target is unknown.
    """
    for value, target in pairs:
        choice = Choice(target, contrast)
        choice.check(head)
        yield read(classifier, head, value, choice, reading)


class _Ahead(NamedTuple):
    """What was read ahead.

    Attributes:
        texts: in order.
        error: what drawing the next one raised.
        ended: whether there is no next one.
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
    """Yield the explanation of each text, or why there is none, in order.

    Between two of them the model is free, and nothing is kept of those that were given out.

    Args:
        texts: drawn as they are needed, some batches of them ahead of what is given out.
        run: explains documents; what comes out is noted in each of them.
        provenance: how explanations are made.
        bar: counts the texts that cannot be read; ``run`` counts the others.
        batch_size: the most texts in a batch.
        batches: how many batches are read ahead at most: of texts, of ids and of characters, but for the last text.
        grows: whether to begin with one text, and then to read ahead as many as a quarter of those given out: the first
            explanation comes at once, and what a stop loses is little beside what was done.
        raises: whether the first text that cannot be explained is an error, after those before it were given out.

    Raises:
        BatchError: a text cannot be explained; it names which. Whatever drawing a text raises is raised here, too,
            after the texts before it were given out.
    """
    given, drawn, most = 0, iter(texts), batches * batch_size
    while True:
        count = min(most, max(1, given // SHARE)) if grows else most
        ahead = _read_ahead(drawn, count, batches, raises)
        run([document for document in ahead.texts if isinstance(document, PendingDocument)])
        while ahead.texts:
            outcome = _outcome(ahead.texts.popleft(), provenance, bar)
            if raises and isinstance(outcome, LRPError):
                raise BatchError({given: outcome}, given + 1)
            given += 1
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
        except Exception as error:  # what was drawn before is explained before it is raised
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
