"""What a saved explanation says must fit together: its sums, its labels and probabilities, its spans and texts.

Sums of what is written exactly are compared to a few roundings. What a model's dtype rounds is held to the tolerance of
that dtype, and never to one that only the file knows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from textlrp.errors import InputError, LRPError
from textlrp.results.contents import Contents
from textlrp.results.layers import Layer
from textlrp.results.ledger import SPECIAL_TOKENS, TOKENS, TOLERANCES, Ledger
from textlrp.results.saved import SUMMED
from textlrp.results.spans import Span, gather, read_range

#: How far a probability may be from what its logits make it, relative to it, and by the distance of its logit from the
#: largest: an exponential makes the rounding of what it is given as many times larger.
EXPONENTIAL = 2.0**-45

#: The smallest number whose roundings are relative to it: below, floats have fewer and fewer digits.
SMALLEST = 2.0**-1000

#: How far the ways through a block may add up to something else than the relevance of its positions: both are sums
#: over the channels, which cancel, so that this is ten times what the ledger's tolerance is, and no more than this.
PATHS = 1e-3


def check(e: Contents, words: Sequence[Span] | None = None, sentences: Sequence[Span] | None = None) -> None:
    """Check an explanation that was read from a file.

    Args:
        e: the explanation.
        words, sentences: what the file says of them, or None where it does not.

    Raises:
        InputError: something does not hold; the sentence says what, and with which numbers.
    """
    try:
        _check(e, words, sentences)
    except OverflowError:
        raise _changed("its numbers are so large that their sum is infinite") from None


def check_windows(e: Contents) -> None:
    """Check that an explanation which says how it was read is in windows only where that was asked for.

    Raises:
        InputError: it is not.
    """
    if e.windows > 1 and e.reading.get("long") != "windows":
        raise _changed(f"it was read in {e.windows} windows, and windows were not asked for")


def _check(e: Contents, words: Sequence[Span] | None, sentences: Sequence[Span] | None) -> None:
    _check_labels(e)
    _check_probabilities(e)
    _check_texts(e)
    _check_ledger(e.ledger, e, "the ledger")
    ordinary = [span.relevance for span in e.tokens if not span.special]
    _equal(math.fsum(ordinary), e.ledger[TOKENS], ordinary, "the relevances of the tokens", "the ledger's row 'tokens'")
    special = _size(span.relevance for span in e.tokens if span.special)
    # A decoder's start and padding have a part of the row, too, and are no tokens of the text.
    if SPECIAL_TOKENS not in e.ledger and not special <= e.ledger.tolerance * max(e.ledger.scale, special):
        raise _changed(
            f"its special tokens have relevances of {special!r} in all, and the ledger has no row {SPECIAL_TOKENS!r}"
        )
    _check_magnitude(e.ledger, [span.relevance for span in e.tokens], e, "the ledger")
    for spans, what in ((words, "words"), (sentences, "sentences")):
        if spans is not None:
            _check_units(e, spans, what)
    for i, layer in enumerate(e.layers):
        _check_layer(layer, e, f"layers[{i}]")


def _check_labels(e: Contents) -> None:
    for label, what in ((e.target, "target"), (e.contrast, "contrast"), (e.predicted, "predicted label")):
        if label is not None and label not in e.logits:
            raise _changed(f"its {what} is {label!r}, and it has logits for {', '.join(map(repr, e.logits))}")
    if e.contrast == e.target:
        raise _changed(f"its target and its contrast are both {e.target!r}")
    of = [e.logits[e.target]] + ([] if e.contrast is None else [-e.logits[e.contrast]])
    which = f"the logit of {e.target!r}" + ("" if e.contrast is None else f" less that of {e.contrast!r}")
    _equal(math.fsum(of), e.logit, of, which, "the explained logit")
    highest = max(e.logits, key=e.logits.__getitem__)
    if e.logits[e.predicted] != e.logits[highest]:
        raise _changed(
            f"its predicted label is {e.predicted!r} with the logit {e.logits[e.predicted]!r}, and {highest!r} has "
            f"{e.logits[highest]!r}"
        )


def _check_probabilities(e: Contents) -> None:
    """Check that probabilities are those of labels that exclude each other, or those of labels on their own."""
    if not e.probabilities:
        return
    if set(e.probabilities) != set(e.logits):
        raise _changed(
            f"it has probabilities for {', '.join(map(repr, e.probabilities))}, and logits for "
            f"{', '.join(map(repr, e.logits))}"
        )
    kinds = {"sigmoid": {label: _sigmoid(logit) for label, logit in e.logits.items()}}
    if len(e.logits) > 1:
        kinds["softmax"] = _softmax(e.logits)
    others = {kind: _others(e, expected) for kind, expected in kinds.items()}
    nearest = min(others, key=lambda kind: len(others[kind]))
    if others[nearest]:
        label = others[nearest][0]
        made = " or ".join(f"{expected[label]!r} ({kind})" for kind, expected in kinds.items())
        raise _changed(f"the probability of {label!r} is {e.probabilities[label]!r}, and its logits make it {made}")


def _others(e: Contents, expected: Mapping[str, float]) -> list[str]:
    """Return the labels whose probability is not the expected one."""
    highest = max(e.logits.values())
    found = []
    for label, value in expected.items():
        room = EXPONENTIAL * (1 + abs(highest - e.logits[label]) + abs(e.logits[label]))
        if not abs(e.probabilities[label] - value) <= room * value + SMALLEST:
            found.append(label)
    return found


def _sigmoid(logit: float) -> float:
    small = math.exp(-abs(logit))
    return (1.0 if logit >= 0 else small) / (1.0 + small)


def _softmax(logits: Mapping[str, float]) -> dict[str, float]:
    highest = max(logits.values())
    powers = {label: math.exp(logit - highest) for label, logit in logits.items()}
    total = math.fsum(powers.values())
    return {label: power / total for label, power in powers.items()}


def _check_texts(e: Contents) -> None:
    texts = {source: (text, truncated) for source, text, truncated in e.texts}
    if e.text_pair is None and e.truncated_pair is not None:
        raise _changed("it says what of a second text was not read, and has no second text")
    before = dict.fromkeys(texts, 0)
    for i, span in enumerate(e.tokens):
        _check_span(span, texts, f"tokens[{i}]")
        if span.special:
            if span.start != span.end:
                raise _changed(f"tokens[{i}] is special, and has characters {span.start} to {span.end}")
            continue
        if span.start < before[span.source]:
            raise _changed(f"tokens[{i}] starts at character {span.start}, before the token in front of it")
        before[span.source] = span.start
    for text, truncated in texts.values():
        if truncated is None:
            continue
        start, end = truncated
        if not 0 <= start < end <= len(text) or (start > 0 and end < len(text)):
            raise _changed(f"characters {start} to {end} were not read, and its text has {len(text)} characters")


def _check_span(span: Span, texts: Mapping[str, tuple[str, object]], what: str) -> None:
    if span.source not in texts:
        raise _changed(f"{what} is in {span.source!r}, and there is no such text")
    text = texts[span.source][0]
    if not 0 <= span.start <= span.end or text[span.start : span.end] != span.text:
        raise _changed(f"its text has no {span.text!r} at characters {span.start} to {span.end}")


def _check_units(e: Contents, spans: Sequence[Span], what: str) -> None:
    """Check words or sentences: they tile what was read, and have what their tokens have.

    Where a word ends may be seen in another way by another version of Unicode; what lies between is held to the tokens.
    """
    texts = {source: (text, truncated) for source, text, truncated in e.texts}
    for i, span in enumerate(spans):
        _check_span(span, texts, f"{what}[{i}]")
    expected: list[Span] = []
    for source, (text, truncated) in texts.items():
        tokens = [span for span in e.tokens if span.source == source]
        edges = sorted({at for span in spans if span.source == source for at in (span.start, span.end)})
        expected += gather(tokens, text, source, read_range(text, truncated), edges)
    for i, (span, own) in enumerate(zip(spans, expected, strict=False)):
        if (span.source, span.start, span.end) != (own.source, own.start, own.end):
            raise _changed(
                f"{what}[{i}] is characters {span.start} to {span.end}, and to tile what was read it would be "
                f"{own.start} to {own.end}"
            )
    if len(spans) != len(expected):
        raise _changed(f"its {len(spans)} {what} do not tile what was read: there would be {len(expected)}")
    size = _size(token.relevance for token in e.tokens)
    for i, (span, own) in enumerate(zip(spans, expected, strict=True)):
        if not abs(own.relevance - span.relevance) <= SUMMED * max(size, abs(span.relevance)) + SMALLEST:
            raise _changed(
                f"the tokens under {what}[{i}] add up to {own.relevance!r}, and its relevance is {span.relevance!r}"
            )


def _check_ledger(books: Ledger, e: Contents, what: str) -> None:
    """Check that books balance, by a tolerance that is that of a dtype."""
    if books.tolerance not in TOLERANCES.values():
        known = ", ".join(f"{value:g} ({name})" for name, value in TOLERANCES.items())
        raise _changed(f"the tolerance of {what} is {books.tolerance!r}, and textlrp knows {known}")
    if books.rounding and "16" not in books.precision:
        raise _changed(f"the rounding of {what} is {books.rounding!r}, which is none in {books.precision}")
    _equal(books.logit, e.logit, [e.logit], f"the logit of {what}", "the explained logit")
    try:
        books.check()
    except LRPError as error:
        raise _changed(f"{what} does not hold: {error}") from None


def _check_magnitude(books: Ledger, relevances: Sequence[float], e: Contents, what: str) -> None:
    """Check the sum of the absolute relevances, of all tokens or without special ones, as the model's device has it.

    In windows, it is the mean of the sums of each, which is larger where they cancel.
    """
    sizes = [_size(relevances)]
    if len(relevances) == len(e.tokens):
        sizes.append(_size(value for value, span in zip(relevances, e.tokens, strict=True) if not span.special))
    room = max(books.tolerance, SUMMED) * max([*sizes, books.magnitude])
    near = min(abs(size - books.magnitude) for size in sizes) <= room
    larger = e.windows > 1 and books.magnitude >= min(sizes)
    if books.magnitude and not (near or larger):
        raise _changed(
            f"the absolute relevances add up to {sizes[0]!r}, and the magnitude of {what} is {books.magnitude!r}"
        )


def _check_layer(layer: Layer, e: Contents, what: str) -> None:
    books, relevances = layer.ledger, layer.relevance
    _check_ledger(books, e, f"the ledger of {what}")
    if books.tolerance != e.ledger.tolerance:
        raise _changed(
            f"the tolerance of {what} is {books.tolerance!r}, and that of the ledger is {e.ledger.tolerance!r}"
        )
    if layer.aligned:
        if len(relevances) != len(e.tokens):
            raise _changed(f"{what} has {len(relevances)} relevances for {len(e.tokens)} tokens")
        own = [value for value, span in zip(relevances, e.tokens, strict=True) if not span.special]
        _equal(math.fsum(own), books[TOKENS], own, f"the relevances of {what}", "the row 'tokens' of its ledger")
    elif relevances and not abs(layer.total - books[TOKENS]) <= books.tolerance * max(books.scale, _size(relevances)):
        raise _changed(
            f"the relevances of {what} add up to {layer.total!r}, and the row 'tokens' of its ledger is "
            f"{books[TOKENS]!r}"
        )
    if relevances:
        _check_magnitude(books, relevances, e, f"the ledger of {what}")
    if relevances and layer.paths:
        found = math.fsum(layer.paths.values())
        room = min(PATHS, 10 * books.tolerance) * (_size(relevances) + _size(layer.paths.values()))
        if not abs(found - layer.total) <= room:
            raise _changed(
                f"the paths through {what} add up to {found!r}, and its relevances add up to {layer.total!r}"
            )


def _equal(found: float, written: float, parts: Sequence[float], what: str, whole: str) -> None:
    if not abs(found - written) <= SUMMED * max(_size(parts), abs(written)) + SMALLEST:
        verb = "add up to" if len(parts) > 1 else "is"
        raise _changed(f"{what} {verb} {found!r}, and {whole} is {written!r}")


def _size(values: Iterable[float]) -> float:
    return math.fsum(map(abs, values))


def _changed(reason: str) -> InputError:
    return InputError(f"this explanation was changed: {reason}")
