"""Checks that the parts of a saved explanation fit together: sums, labels and probabilities, spans and texts.

Sums of numbers that the file holds exactly may differ by a few roundings. Numbers that a model's dtype rounds may
differ by the tolerance of that dtype, never by one that only the file knows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from textlrp.errors import InputError, LRPError
from textlrp.results.contents import Contents
from textlrp.results.layers import Layer
from textlrp.results.ledger import PROMPT, REFERENCE, REFERENCE_PINNED, SPECIAL_TOKENS, TOKENS, TOLERANCES, Ledger
from textlrp.results.probabilities import sigmoids, softmax
from textlrp.results.prompt import SOURCE
from textlrp.results.saved import SUMMED
from textlrp.results.spans import Span, gather, read_range

#: The largest relative error of a probability, for each unit of its logit and of the logit's distance from the largest:
#: an exponential multiplies the rounding of its argument by these.
EXPONENTIAL = 2.0**-45

#: The smallest number whose rounding is relative to it: smaller floats have fewer digits.
SMALLEST = 2.0**-1000

#: The largest difference between the sum of a block's paths and the relevance of its positions, relative to both. Both
#: are sums over the channels, which cancel, so ten times the ledger's tolerance is allowed, up to this limit.
PATHS = 1e-3


def check(e: Contents, words: Sequence[Span] | None = None, sentences: Sequence[Span] | None = None) -> None:
    """Check an explanation that was read from a file.

    Args:
        e: the explanation.
        words, sentences: the words and sentences in the file, or None if it has none.

    Raises:
        InputError: two parts do not fit; the sentence names them, and their numbers.
    """
    try:
        _check(e, words, sentences)
    except OverflowError:
        raise _changed("its numbers are so large that their sum is infinite") from None


def check_windows(e: Contents) -> None:
    """Check that an explanation in windows was requested with ``long="windows"``.

    Raises:
        InputError: it was not.
    """
    if e.windows > 1 and e.reading.get("long") != "windows":
        raise _changed(f"it was read in {e.windows} windows, and windows were not asked for")


def _check(e: Contents, words: Sequence[Span] | None, sentences: Sequence[Span] | None) -> None:
    _check_labels(e)
    _check_probabilities(e)
    _check_texts(e)
    _check_ledger(e.ledger, e, "the ledger")
    _check_reference(e.ledger, e, "the ledger")
    ordinary = [span.relevance for span in e.tokens if not span.special]
    _equal(math.fsum(ordinary), e.ledger[TOKENS], ordinary, "the relevances of the tokens", "the ledger's row 'tokens'")
    _check_prompt(e)
    special = _size(span.relevance for span in e.tokens if span.special)
    # A decoder's start and padding contribute to the row, too, but are not tokens of the text.
    if SPECIAL_TOKENS not in e.ledger and not special <= e.ledger.tolerance * max(e.ledger.scale, special):
        raise _changed(
            f"its special tokens have relevances of {special!r} in all, and the ledger has no row {SPECIAL_TOKENS!r}"
        )
    _check_magnitude(e.ledger, [span.relevance for span in e.tokens], e, "the ledger")
    for spans, name in ((words, "words"), (sentences, "sentences")):
        if spans is not None:
            _check_units(e, spans, name)
    for i, layer in enumerate(e.layers):
        _check_layer(layer, e, f"layers[{i}]")


def _check_labels(e: Contents) -> None:
    for label, name in ((e.target, "target"), (e.contrast, "contrast"), (e.predicted, "predicted label")):
        if label is not None and label not in e.logits:
            raise _changed(f"its {name} is {label!r}, and it has logits for {', '.join(map(repr, e.logits))}")
    if e.contrast == e.target:
        raise _changed(f"its target and its contrast are both {e.target!r}")
    terms = [e.logits[e.target]] + ([] if e.contrast is None else [-e.logits[e.contrast]])
    difference = f"the logit of {e.target!r}" + ("" if e.contrast is None else f" less that of {e.contrast!r}")
    _equal(math.fsum(terms), e.logit, terms, difference, "the explained logit")
    highest = max(e.logits, key=e.logits.__getitem__)
    if e.logits[e.predicted] != e.logits[highest]:
        raise _changed(
            f"its predicted label is {e.predicted!r} with the logit {e.logits[e.predicted]!r}, and {highest!r} has "
            f"{e.logits[highest]!r}"
        )


def _check_probabilities(e: Contents) -> None:
    """Check that all probabilities are the softmax of the logits, or that all are their sigmoids."""
    if not e.probabilities:
        return
    if set(e.probabilities) != set(e.logits):
        raise _changed(
            f"it has probabilities for {', '.join(map(repr, e.probabilities))}, and logits for "
            f"{', '.join(map(repr, e.logits))}"
        )
    kinds = {"sigmoid": sigmoids(e.logits)}
    if len(e.logits) > 1:
        kinds["softmax"] = softmax(e.logits)
    wrong = {kind: _wrong_labels(e, expected) for kind, expected in kinds.items()}
    nearest = min(wrong, key=lambda kind: len(wrong[kind]))
    if wrong[nearest]:
        label = wrong[nearest][0]
        values = " or ".join(f"{expected[label]!r} ({kind})" for kind, expected in kinds.items())
        raise _changed(f"the probability of {label!r} is {e.probabilities[label]!r}, and its logits make it {values}")


def _wrong_labels(e: Contents, expected: Mapping[str, float]) -> list[str]:
    """Return the labels whose probability is not the expected one."""
    highest = max(e.logits.values())
    wrong = []
    for label, value in expected.items():
        room = EXPONENTIAL * (1 + abs(highest - e.logits[label]) + abs(e.logits[label]))
        if not abs(e.probabilities[label] - value) <= room * value + SMALLEST:
            wrong.append(label)
    return wrong


def _check_texts(e: Contents) -> None:
    texts = {source: (text, truncated) for source, text, truncated in e.texts}
    if e.text_pair is None and e.truncated_pair is not None:
        raise _changed("it has an unread part of a second text, and has no second text")
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


def _check_span(span: Span, texts: Mapping[str, tuple[str, object]], where: str) -> None:
    if span.source not in texts:
        raise _changed(f"{where} is in {span.source!r}, and there is no such text")
    text = texts[span.source][0]
    if not 0 <= span.start <= span.end or text[span.start : span.end] != span.text:
        raise _changed(f"its text has no {span.text!r} at characters {span.start} to {span.end}")


def _check_prompt(e: Contents) -> None:
    """Check that the ledger has a row of the prompt exactly if there is one, and that it holds its relevance."""
    if (e.prompt is None) != (PROMPT not in e.ledger):
        said, other = ("a prompt", "no row") if PROMPT not in e.ledger else ("no prompt", "a row")
        raise _changed(f"it has {said}, and its ledger has {other} {PROMPT!r}")
    if e.prompt is None:
        return
    for i, span in enumerate(e.prompt.tokens):
        _check_span(span, {SOURCE: (e.prompt.text, None)}, f"prompt.tokens[{i}]")
    parts = [span.relevance for span in e.prompt.tokens]
    _equal(math.fsum(parts), e.ledger[PROMPT], parts, "the relevances of the prompt", f"the ledger's row {PROMPT!r}")


def _check_units(e: Contents, spans: Sequence[Span], unit: str) -> None:
    """Check that words or sentences tile the part of the text that was read, with the relevance of their tokens.

    Their boundaries are taken from the file, since another version of Unicode may have others.
    """
    texts = {source: (text, truncated) for source, text, truncated in e.texts}
    for i, span in enumerate(spans):
        _check_span(span, texts, f"{unit}[{i}]")
    expected: list[Span] = []
    for source, (text, truncated) in texts.items():
        tokens = [span for span in e.tokens if span.source == source]
        edges = sorted({at for span in spans if span.source == source for at in (span.start, span.end)})
        expected += gather(tokens, text, source, read_range(text, truncated), edges)
    for i, (span, tile) in enumerate(zip(spans, expected, strict=False)):
        if (span.source, span.start, span.end) != (tile.source, tile.start, tile.end):
            raise _changed(
                f"{unit}[{i}] is characters {span.start} to {span.end}, and to tile what was read it would be "
                f"{tile.start} to {tile.end}"
            )
    if len(spans) != len(expected):
        raise _changed(f"its {len(spans)} {unit} do not tile what was read: there would be {len(expected)}")
    size = _size(token.relevance for token in e.tokens)
    for i, (span, tile) in enumerate(zip(spans, expected, strict=True)):
        if not abs(tile.relevance - span.relevance) <= SUMMED * max(size, abs(span.relevance)) + SMALLEST:
            raise _changed(
                f"the tokens under {unit}[{i}] add up to {tile.relevance!r}, and its relevance is {span.relevance!r}"
            )


def _check_ledger(ledger: Ledger, e: Contents, name: str) -> None:
    """Check that a ledger balances, within the tolerance of a dtype."""
    if ledger.tolerance not in TOLERANCES.values():
        known = ", ".join(f"{value:g} ({dtype})" for dtype, value in TOLERANCES.items())
        raise _changed(f"the tolerance of {name} is {ledger.tolerance!r}, and textlrp knows {known}")
    if ledger.rounding and "16" not in ledger.precision:
        raise _changed(f"the rounding of {name} is {ledger.rounding!r}, which is none in {ledger.precision}")
    _equal(ledger.logit, e.logit, [e.logit], f"the logit of {name}", "the explained logit")
    try:
        ledger.check()
    except LRPError as error:
        raise _changed(f"{name} does not hold: {error}") from None


def _check_reference(ledger: Ledger, e: Contents, name: str) -> None:
    """Check that a ledger has a row of the reference exactly if there is one, and that it holds its logit."""
    rows = [heading for heading in (REFERENCE, REFERENCE_PINNED) if heading in ledger.rows]
    if len(rows) > 1:
        raise _changed(f"{name} has the rows {rows[0]!r} and {rows[1]!r}, and there is one reference")
    if e.reference is None:
        if rows:
            raise _changed(f"{name} has the row {rows[0]!r}, and there is no reference")
        return
    if not rows:
        raise _changed(f"{name} has no row {REFERENCE!r}, and there is a reference, {e.reference.name!r}")
    logits = e.reference.logits
    if set(logits) != set(e.logits):
        raise _changed(
            f"its reference has logits for {', '.join(map(repr, logits))}, and the text for "
            f"{', '.join(map(repr, e.logits))}"
        )
    terms = [logits[e.target]] + ([] if e.contrast is None else [-logits[e.contrast]])
    _equal(math.fsum(terms), ledger.reference, terms, "the logit of the reference", f"its row in {name}")


def _check_magnitude(ledger: Ledger, relevances: Sequence[float], e: Contents, name: str) -> None:
    """Check the sum of the absolute relevances, of all tokens or without special ones, as the device rounded it.

    In windows, and with several references, it is the mean of their sums, which is larger if relevances cancel.
    """
    sizes = [_size(relevances)]
    if len(relevances) == len(e.tokens):
        sizes.append(_size(value for value, span in zip(relevances, e.tokens, strict=True) if not span.special))
    room = max(ledger.tolerance, SUMMED) * max([*sizes, ledger.magnitude])
    near = min(abs(size - ledger.magnitude) for size in sizes) <= room
    # Several runs of a text add up, too.
    several = e.windows > 1 or e.prompt is not None or (e.reference is not None and len(e.reference.given) > 1)
    larger = several and ledger.magnitude >= min(sizes)
    if ledger.magnitude and not (near or larger):
        raise _changed(
            f"the absolute relevances add up to {sizes[0]!r}, and the magnitude of {name} is {ledger.magnitude!r}"
        )


def _check_layer(layer: Layer, e: Contents, where: str) -> None:
    ledger, relevances = layer.ledger, layer.relevance
    size = _size(relevances)
    _check_ledger(ledger, e, f"the ledger of {where}")
    _check_reference(ledger, e, f"the ledger of {where}")
    if ledger.tolerance != e.ledger.tolerance:
        raise _changed(
            f"the tolerance of {where} is {ledger.tolerance!r}, and that of the ledger is {e.ledger.tolerance!r}"
        )
    if layer.aligned:
        if len(relevances) != len(e.tokens):
            raise _changed(f"{where} has {len(relevances)} relevances for {len(e.tokens)} tokens")
        ordinary = [value for value, span in zip(relevances, e.tokens, strict=True) if not span.special]
        row = "the row 'tokens' of its ledger"
        _equal(math.fsum(ordinary), ledger[TOKENS], ordinary, f"the relevances of {where}", row)
    elif relevances and not abs(layer.total - ledger[TOKENS]) <= ledger.tolerance * max(ledger.scale, size):
        raise _changed(
            f"the relevances of {where} add up to {layer.total!r}, and the row 'tokens' of its ledger is "
            f"{ledger[TOKENS]!r}"
        )
    if relevances:
        _check_magnitude(ledger, relevances, e, f"the ledger of {where}")
    if relevances and layer.paths:
        total = math.fsum(layer.paths.values())
        room = min(PATHS, 10 * ledger.tolerance) * (size + _size(layer.paths.values()))
        if not abs(total - layer.total) <= room:
            raise _changed(
                f"the paths through {where} add up to {total!r}, and its relevances add up to {layer.total!r}"
            )


def _equal(total: float, written: float, parts: Sequence[float], name: str, whole: str) -> None:
    if not abs(total - written) <= SUMMED * max(_size(parts), abs(written)) + SMALLEST:
        verb = "add up to" if len(parts) > 1 else "is"
        raise _changed(f"{name} {verb} {total!r}, and {whole} is {written!r}")


def _size(values: Iterable[float]) -> float:
    return math.fsum(map(abs, values))


def _changed(reason: str) -> InputError:
    return InputError(f"this explanation was changed: {reason}")
