"""Many texts at once: in batches of similar length, window by window, each document with a ledger of its own."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from textlrp.errors import LRPError, ModelError, error_summary, ran_out
from textlrp.explain.classifier import Classifier
from textlrp.explain.labels import Head, Pick
from textlrp.explain.progress import ProgressBar
from textlrp.explain.references import Fitted, batched
from textlrp.lrp.hidden.states import HiddenState
from textlrp.results.ledger import Ledger, mean
from textlrp.rules import Rules
from textlrp.text.batch import Batch
from textlrp.text.encoding import Encoding

#: The largest share of a batch that may be padding.
PADDING = 0.1

#: The most ids in a batch of several texts, padding included, to bound its memory.
IDS = 4096

#: The number of first batches, with and without padding, that are tested, and the interval of the tests after them.
_TRIED_FIRST, _TRIED_THEN = 4, 8


class WindowStates(NamedTuple):
    """The hidden states of a window.

    Attributes:
        hidden: one for each layer, of this window alone.
        indices: the places of its ids in the document.
        place: the positions of its ids in the batch.
        length: the number of positions in the batch.
    """

    hidden: tuple[HiddenState, ...]
    indices: Sequence[int]
    place: slice
    length: int


@dataclass
class PendingDocument:
    """A text on its way to its explanations.

    Attributes:
        text: the text, or the first of a pair.
        text_pair: the second text of a pair, or None.
        encoding: the text or the pair as ids.
        windows: the ids that are read together, by their indices; one window if the text fits into the model.
        choose: returns the labels to explain, given the logits ``[outputs]`` of the document.
        settled: whether the labels do not depend on the logits.
        error: the error that prevents the explanation, or None.
        picked: the labels, once they are known; there may be none.
        logits: the sum over the windows, ``[outputs]``, float64.
        relevance: for each label, the sum over the windows, ``[ids]``, float64.
        ledgers: for each label, one ledger a window.
        hidden: for each label, the hidden states of each window, if they were requested.
        reference: what difference rules measure the text from, or None.
        reference_logits: the sum over the windows of the reference's outputs, ``[outputs]``, float64.
    """

    text: str
    text_pair: str | None
    encoding: Encoding
    windows: Sequence[Sequence[int]]
    choose: Callable[[Tensor], list[Pick]]
    settled: bool
    error: LRPError | None = None
    picked: list[Pick] | None = None
    logits: Tensor = field(default_factory=lambda: torch.zeros(()))
    relevance: list[Tensor] = field(default_factory=list)
    ledgers: list[list[Ledger]] = field(default_factory=list)
    hidden: list[list[WindowStates]] = field(default_factory=list)
    reference: Fitted | None = None
    reference_logits: Tensor = field(default_factory=lambda: torch.zeros(()))

    def pick(self, logits: Tensor) -> list[Pick]:
        """Return the labels if they are known, or else choose them by the logits ``[outputs]``."""
        return self.choose(logits) if self.picked is None else self.picked

    @property
    def steps(self) -> int:
        """The number of windows that the model reads, for the choice of the labels and for their explanation."""
        return len(self.windows) * (1 if self.settled or len(self.windows) == 1 else 2)

    @property
    def outputs(self) -> Tensor:
        """The logits ``[outputs]`` of the document, the mean over its windows."""
        return self.logits / len(self.windows)

    @property
    def reference_outputs(self) -> Tensor:
        """The reference's logits ``[outputs]``, the mean over the windows."""
        return self.reference_logits / len(self.windows)

    def explained(self) -> Iterator[tuple[Pick, list[float], Ledger, list[WindowStates]]]:
        """Yield each label with the relevance of each id and the ledger, means over the windows, and the states."""
        rows = zip(self.picked or (), self.relevance, self.ledgers, self.hidden, strict=True)
        for pick, relevance, ledgers, hidden in rows:
            yield pick, (relevance / len(self.windows)).tolist(), mean(ledgers), hidden


class _Window(NamedTuple):
    document: PendingDocument
    indices: Sequence[int]
    encoding: Encoding
    reference: Fitted | None


class _Asked(NamedTuple):
    rules: Rules
    layers: bool


class Engine:
    """Explains documents in batches.

    Most models read a text in a batch as they read it alone. Some do not: their convolutions or their hashing reach
    into the padding, they expect another padding id than the tokenizer's, or their experts have room for some of the
    texts only. To notice that, one text of a batch is classified alone; if it differs, only texts of the same length
    share a batch from then on, or none do. Once the first batches have passed, only some of the others are tested.

    Attributes:
        classifier: the model and its tokenizer.
        head: the outputs of the model.
    """

    def __init__(self, classifier: Classifier, head: Head) -> None:
        self.classifier, self.head = classifier, head
        self._pads = classifier.reader.pads
        self._takes_batches = True
        self._passed = {True: 0, False: 0}  # how many batches with and without padding have passed
        self._untried = 0

    def run(
        self,
        documents: Sequence[PendingDocument],
        rules: Rules,
        batch_size: int,
        bar: ProgressBar,
        layers: bool = False,
    ) -> None:
        """Explain documents, and note the results, or the error, in each of them."""
        asked = _Asked(rules, layers)
        for document in documents:
            if len(document.windows) > 1 and not document.settled:
                self._settle(document, batch_size, bar)
        windows = [window for document in documents for window in _windows(document)]
        lengths = [len(window.indices) for window in windows]
        for bucket in buckets(lengths, batch_size, PADDING if self._pads else 0.0):
            self._explain([windows[i] for i in bucket], asked)
            bar.advance(len(bucket))

    def _settle(self, document: PendingDocument, batch_size: int, bar: ProgressBar) -> None:
        """Choose the labels of a document of several windows by the mean of their logits."""
        try:
            windows = list(_windows(document))
            logits = []
            size = batch_size if self._takes_batches else 1
            for bucket in buckets([len(window.indices) for window in windows], size, 0.0):
                logits.append(self._logits([windows[i] for i in bucket]))
                bar.advance(len(bucket))
            document.picked = document.choose(torch.cat(logits).mean(0))
        except Exception as error:
            traceback.clear_frames(error.__traceback__)
            document.error = _sentence(error, len(document.windows[0]))

    def _logits(self, windows: Sequence[_Window]) -> Tensor:
        """Return the logits of the plain model, ``[windows, outputs]``, of all windows together or else one by one."""
        try:
            batch = self.classifier.pad([window.encoding for window in windows])
            return self.classifier.logits(batch).double().cpu()
        except Exception:  # a decoder without a padding token, for example, takes one text at a time
            if len(windows) == 1:
                raise
        return torch.cat([self._logits([window]) for window in windows])

    def _explain(self, windows: Sequence[_Window], asked: _Asked) -> None:
        """Explain windows in one batch, or in several if one batch does not work."""
        windows = [window for window in windows if window.document.error is None and window.document.picked != []]
        if not windows:
            return
        padded = len({len(window.indices) for window in windows}) > 1
        if padded and not self._pads:
            for _, alike in groupby(windows, lambda window: len(window.indices)):
                self._explain(list(alike), asked)
            return
        if len(windows) > 1 and not self._takes_batches:
            for window in windows:
                self._explain([window], asked)
            return
        encodings = [window.encoding for window in windows]
        if len(windows) > 1 and not self.classifier.fits(encodings, asked.rules.difference):
            self._halve(windows, asked)
            return
        raised: Exception | None = None
        fits = False
        try:
            batch = self.classifier.pad(encodings)
            fits = self._propagate(windows, batch, asked)
        except Exception as error:  # the model fails on one document, and the others are explained all the same
            raised = error
            # The tensors of the failed pass are freed before the next attempt.
            traceback.clear_frames(error.__traceback__)
        if raised is not None:
            if len(windows) == 1:
                windows[0].document.error = _sentence(raised, len(windows[0].indices))
                return
            if ran_out(raised):
                self._halve(windows, asked)
                return
            for window in windows:
                self._explain([window], asked)
            if not isinstance(raised, LRPError) and all(window.document.error is None for window in windows):
                self._takes_batches = False
            return
        if not fits:
            self._pads = False
            self._takes_batches &= padded
            self._explain(windows, asked)

    def _halve(self, windows: Sequence[_Window], asked: _Asked) -> None:
        """Explain windows in two batches, since one would not fit into memory."""
        half = len(windows) // 2
        self._explain(windows[:half], asked)
        self._explain(windows[half:], asked)

    def _propagate(self, windows: Sequence[_Window], batch: Batch, asked: _Asked) -> bool:
        """Explain a batch and note the results; return False, and note nothing, if the batch changes the logits."""
        head = self.head

        def targets(logits: Tensor) -> list[Tensor]:
            picked = [window.document.pick(row) for window, row in zip(windows, logits, strict=True)]
            return [
                torch.tensor([head.weights(pick, logits.shape[1]) for pick in picks], device=logits.device)
                for picks in zip(*picked, strict=True)
            ]

        fitted = [window.reference for window in windows if window.reference is not None]
        reference = batched(fitted, batch, self.classifier.device) if fitted else None
        passes = self.classifier.propagate(batch, targets, asked.rules, asked.layers, reference)
        if passes and len(windows) > 1 and self._is_due(windows):
            encodings = [window.encoding for window in windows]
            if not self.classifier.reads_alike(encodings, passes[0].logits):
                return False
        if not passes:
            for window in windows:
                window.document.picked = []
            return True
        logits = passes[0].logits.double().cpu()
        relevances = [propagation.relevance.double().cpu() for propagation in passes]
        references = None if passes[0].reference_logits is None else passes[0].reference_logits.double().cpu()
        for row, (window, place) in enumerate(zip(windows, batch.places, strict=True)):
            document = window.document
            document.picked = document.pick(passes[0].logits[row])
            document.logits = document.logits + logits[row]
            if references is not None:
                document.reference_logits = document.reference_logits + references[row]
            indices = torch.tensor(window.indices)
            for i, propagation in enumerate(passes):
                if len(document.ledgers) <= i:
                    document.ledgers.append([])
                    document.hidden.append([])
                    document.relevance.append(torch.zeros(len(document.encoding.input_ids), dtype=torch.float64))
                document.relevance[i].index_add_(0, indices, relevances[i][row, place])
                document.ledgers[i].append(propagation.ledgers[row])
                if asked.layers:
                    hidden = tuple(state.alone(row) for state in propagation.layers)
                    states = WindowStates(hidden, window.indices, place, propagation.relevance.shape[1])
                    document.hidden[i].append(states)
        return True

    def _is_due(self, windows: Sequence[_Window]) -> bool:
        """Return whether to test a batch: each until some have passed, then one in several."""
        padded = len({len(window.indices) for window in windows}) > 1
        self._untried += 1
        due = self._passed[padded] < _TRIED_FIRST or self._untried >= _TRIED_THEN
        if due:
            self._untried = 0
            self._passed[padded] += 1  # if it fails, no batch of its kind follows
        return due


def buckets(lengths: Sequence[int], batch_size: int, padding: float = PADDING, ids: int = IDS) -> list[list[int]]:
    """Return batches of texts of similar length, the longest first.

    Args:
        lengths: the number of ids of each text.
        batch_size: the most texts in a batch.
        padding: the largest share of a batch that may be padding.
        ids: the most ids in a batch of several texts, padding included.

    Returns:
        The places of the texts of each batch.
    """
    together: list[list[int]] = []
    longest = total = 0
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        size = len(together[-1]) + 1 if together else 0
        total += lengths[i]
        if not size or size > batch_size or size * longest > ids or total < (1 - padding) * size * longest:
            together.append([])
            longest = total = lengths[i]
        together[-1].append(i)
    return together


def _windows(document: PendingDocument) -> Iterator[_Window]:
    if len(document.windows) == 1:
        yield _Window(document, document.windows[0], document.encoding, document.reference)
        return
    for indices in document.windows:
        part = None if document.reference is None else document.reference.take(indices)
        yield _Window(document, indices, document.encoding.take(indices), part)


def _sentence(error: Exception, count: int) -> LRPError:
    """Return an error of textlrp: the error itself, or one that describes an error of the model.

    Args:
        error: the error.
        count: the number of ids that were read at once.
    """
    if isinstance(error, LRPError):
        return error
    if ran_out(error):
        sentence = ModelError(
            f"there is not enough memory to explain {count:,} ids at once: read the text with long='windows', or give "
            f"window=, the number of ids to read at once"
        )
    else:
        summary = error_summary(error)
        flex = "FlexAttention does not support backward" in summary
        advice = "; load it with attn_implementation='sdpa' or 'eager'" if flex else ""
        sentence = ModelError(f"the model fails on this text: {summary}{advice}")
    sentence.__cause__ = error
    return sentence
