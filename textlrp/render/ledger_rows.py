"""The rows of a ledger that are worth reading, and a sentence on each, for readers who do not know gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from textlrp.results import ledger

#: Rows below this share of the largest number are about 0.
_ABOUT_ZERO = 0.005

#: What is never folded: where the parts begin, the words, and the check that nothing is missing.
KEPT = frozenset({ledger.REFERENCE, ledger.REFERENCE_PINNED, ledger.TOKENS, ledger.RESIDUE})

#: The sentence of each heading.
MEANINGS: Mapping[str, str] = {
    ledger.REFERENCE: "The model's score for the reference. The parts below lead from there to the score of the text.",
    ledger.REFERENCE_PINNED: "The model's score for the reference, run with the choices that it makes for the text.",
    ledger.TOKENS: "The words of the text. This is the part that the colors show.",
    ledger.PROMPT: "The words around the text: of a prompt, or of the sentence that the text is tested for.",
    ledger.SPECIAL_TOKENS: "Tokens that the model puts around every text, such as [CLS] and [SEP].",
    ledger.POSITIONS: "The places in the text, whatever words stand there.",
    ledger.TOKEN_TYPES: "Whether a word stands in the first text or in the second.",
    ledger.BIASES: "Numbers that the model adds for every text: its leaning.",
    ledger.NORMS: "Numbers that the model adds each time it brings its values to a common scale.",
    ledger.CONSTANTS: "Fixed numbers in the model's arithmetic that no word can change.",
    ledger.SOFTMAX: "A part that comes from how the model spreads its attention, and belongs to no single word.",
    ledger.PRODUCTS: "A part that comes from words acting together, and belongs to none of them alone.",
    ledger.MASKED: "Relevance through parts of the model that were left out of this explanation on request.",
    ledger.DETACHED: "A part that goes through numbers which the model's code takes out of its gradients.",
    ledger.OTHER_IDS: "Ids of other inputs, such as a title that the model reads beside the text.",
    ledger.OTHER_PATHS: "Relevance that goes around this layer on other paths through the model.",
    ledger.STABILIZER: "A part that was set aside to keep divisions by numbers near zero stable.",
    ledger.RESIDUE: "The score minus the rows above: rounding. Zero means that nothing is missing.",
}


def about_zero(books: ledger.Ledger) -> list[str]:
    """Return the headings whose rows are about 0, so that they fold into one; none if there is only one to fold."""
    scale = _scale(books)
    small = [heading for heading, value in books.items() if value and abs(value) < _ABOUT_ZERO * scale]
    folded = [heading for heading in small if heading not in KEPT]
    return folded if len(folded) > 1 else []


def others(values: Iterable[float], books: ledger.Ledger) -> tuple[float, bool]:
    """Return the sum of several rows, and whether it is about 0, as it need not be where each of them is."""
    total = math.fsum(values)
    return total, abs(total) < _ABOUT_ZERO * _scale(books)


def _scale(books: ledger.Ledger) -> float:
    return max(map(abs, (books.logit, *books.values())))
