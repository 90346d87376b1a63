"""From the results of a batch to explanations: spans, labels, and the ledger of the whole document."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from textlrp.errors import ModelError
from textlrp.explain.batching import PendingDocument, WindowStates
from textlrp.explain.labels import Head, Pick
from textlrp.results.explanation import Explanation
from textlrp.results.layers import Layer
from textlrp.results.ledger import PROMPT as PROMPT_ROW
from textlrp.results.ledger import SPECIAL_TOKENS, TOKENS, Ledger, mean
from textlrp.results.prompt import SOURCE, Prompt
from textlrp.results.reference import Reference, at_reference
from textlrp.results.spans import TEXT, TEXT_PAIR, Span
from textlrp.text.encoding import PROMPT, Encoding

#: What the engine's sum over the words around a text may differ from an exact one, relative to their absolute sum.
_ROUNDED = 2.0**-20


@dataclass(frozen=True)
class Provenance:
    """The origin of explanations, as they record it.

    Attributes:
        head: the outputs of the model.
        model: the name of the model.
        revision: its branch, tag or commit, or empty.
        rules: the name of the rules.
        reading: the options for long texts.
    """

    head: Head
    model: str
    revision: str
    rules: str
    reading: Mapping[str, str | int]


def explanations(document: PendingDocument, provenance: Provenance) -> list[tuple[str, Explanation]]:
    """Return the explanation of each label of a document.

    Raises:
        LRPError: the document's error.
    """
    if document.error is not None:
        raise document.error
    if not document.relevance:
        return []
    outputs, head = document.outputs, provenance.head
    labels, scores = head.labels(outputs.shape[0]), head.scores(outputs).tolist()
    logits = dict(zip(labels, scores, strict=True))
    encoding = document.encoding
    truncated = (*encoding.truncated, None)
    probabilities = head.probabilities(outputs)
    reference = _reference(document, labels, head)
    explained = []
    for pick, relevance, ledger, hidden in document.explained():
        contrast = None if pick.contrast is None else labels[pick.contrast]
        # The same logit without the rounding of a float32 difference.
        logit = logits[labels[pick.target]] - (0.0 if contrast is None else logits[contrast])
        start = None if reference is None else reference.logit(labels[pick.target], contrast)
        explanation = Explanation(
            text=document.text,
            text_pair=document.text_pair,
            target=labels[pick.target],
            contrast=contrast,
            logit=logit,
            logits=logits,
            probabilities=probabilities,
            predicted=labels[max(range(len(scores)), key=scores.__getitem__)],
            tokens=spans((document.text, document.text_pair or ""), encoding, relevance),
            ledger=_whole(ledger, encoding, relevance, logit, start),
            truncated=truncated[0],
            truncated_pair=truncated[1],
            windows=len(document.windows),
            rules=provenance.rules,
            model=provenance.model,
            revision=provenance.revision,
            reading={**provenance.reading, "spans": "words"} if encoding.rewritten else provenance.reading,
            versions=dict(_versions()),
            layers=tuple(_layers(hidden, encoding, logit, start)),
            reference=reference,
            prompt=_prompt(encoding, relevance, pick),
            multi_label=head.gives_several or len(probabilities) == 1,
        )
        explained.append((explanation.target, explanation))
    return explained


def _reference(document: PendingDocument, labels: Sequence[str], head: Head) -> Reference | None:
    """Return what a document was measured from, with its logits; None for rules that measure from zero."""
    if document.reference is None:
        return None
    scores = head.scores(document.reference_outputs).tolist()
    return Reference(document.reference.name, dict(zip(labels, scores, strict=True)), document.reference.given)


def _layers(windows: Sequence[WindowStates], encoding: Encoding, logit: float, start: float | None) -> Iterator[Layer]:
    """Yield the layers of a document, averaged over its windows."""
    if not windows:
        return
    if any(len(window.hidden) != len(windows[0].hidden) for window in windows):
        raise ModelError("the model runs other blocks in one window than in another, so its layers cannot be averaged")
    count = len(windows)
    for states in zip(*(window.hidden for window in windows), strict=True):
        aligned = all(state.relevance.shape[1] == window.length for state, window in zip(states, windows, strict=True))
        relevance: list[float] = []
        if aligned:
            total = torch.zeros(len(encoding.input_ids), dtype=torch.float64)
            for state, window in zip(states, windows, strict=True):
                total.index_add_(0, torch.tensor(window.indices), state.relevance[0, window.place].double().cpu())
            relevance = (total / count).tolist()
        elif count == 1:
            relevance = states[0].relevance[0].double().tolist()
        ledger = mean([state.ledgers[0] for state in states])
        if aligned:
            ledger = _whole(ledger, encoding, relevance, logit, start)
            relevance = _of_tokens(encoding, relevance)
        else:
            ledger = replace(ledger, rows=_rows(ledger, start), logit=logit).check()
        yield Layer(
            states[0].name,
            tuple(relevance),
            ledger,
            heads={path: tuple(_mean([state.heads[path] for state in states]).tolist()) for path in states[0].heads},
            paths={path: float(_mean([state.paths[path] for state in states])) for path in states[0].paths},
            aligned=aligned,
        )


def _mean(values: Sequence[Tensor]) -> Tensor:
    """Return the mean over windows, each a batch of one document."""
    return torch.stack([value[0].double() for value in values]).mean(0)


@cache
def _versions() -> dict[str, str]:
    """Return the versions of the libraries that compute an explanation, which are read from files."""
    return {name: importlib.metadata.version(name) for name in ("textlrp", "torch", "transformers")}


def spans(texts: tuple[str, str], encoding: Encoding, relevance: Sequence[float]) -> tuple[Span, ...]:
    """Return one span for each token of a text or of the two texts of a pair, special tokens included.

    A token that is read in several runs has the sum of their relevances.

    Args:
        texts: the texts; the second is empty if there is one.
        encoding: the texts as the model reads them.
        relevance: the relevance of each id.
    """
    sources = (TEXT, TEXT_PAIR)
    found = []
    for (i, *_), value in zip(encoding.tokens, _of_tokens(encoding, relevance), strict=True):
        (start, end), part = encoding.offsets[i], encoding.parts[i]
        text = texts[part][start:end]
        found.append(Span(start, end, text, value, encoding.special[i], encoding.pieces[i], sources[part]))
    return tuple(found)


def _of_tokens(encoding: Encoding, relevance: Sequence[float]) -> list[float]:
    """Return the relevance of each token, given that of each id; words around the text are left out."""
    if not encoding.prompts:
        return list(relevance)
    return [math.fsum(relevance[i] for i in ids) for ids in encoding.tokens]


def _prompt(encoding: Encoding, relevance: Sequence[float], pick: Pick) -> Prompt | None:
    """Return the words around a text with their relevance; of several runs, those of the explained labels."""
    if not encoding.prompts:
        return None
    labels = [pick.target] if pick.contrast is None else [pick.target, pick.contrast]
    shown = labels if len(encoding.prompts) > 1 else [0]
    runs, tokens, start = encoding.runs, list[Span](), 0
    for run in shown:
        text = encoding.prompts[run]
        for i in runs[run]:
            if encoding.parts[i] == PROMPT:
                a, b = encoding.offsets[i]
                span = Span(start + a, start + b, text[a:b], relevance[i], False, encoding.pieces[i], SOURCE)
                tokens.append(span)
        start += len(text) + 1
    return Prompt("\n".join(encoding.prompts[run] for run in shown), tuple(tokens))


def _whole(ledger: Ledger, encoding: Encoding, relevance: Sequence[float], logit: float, start: float | None) -> Ledger:
    """Return a ledger whose row of tokens is exactly the sum of their relevances, if it balances.

    Args:
        ledger: the ledger.
        encoding: the text.
        relevance: the relevance of each id.
        logit: the explained logit.
        start: the reference's, or None without a reference.
    """
    tokens = math.fsum(value for value, special in zip(relevance, encoding.special, strict=True) if not special)
    rows = {**_rows(ledger, start), TOKENS: tokens}
    if encoding.prompts:
        # The engine counts the words around the text among the special tokens: both stay as they are in a reference.
        around = [value for value, part in zip(relevance, encoding.parts, strict=True) if part == PROMPT]
        rows[PROMPT_ROW] = math.fsum(around)
        rest = rows.pop(SPECIAL_TOKENS, 0.0) - rows[PROMPT_ROW]
        if abs(rest) > _ROUNDED * math.fsum(map(abs, around)):
            rows[SPECIAL_TOKENS] = rest
    return replace(ledger, rows=rows, logit=logit).check()


def _rows(ledger: Ledger, start: float | None) -> Mapping[str, float]:
    return ledger.rows if start is None else at_reference(ledger, start)
