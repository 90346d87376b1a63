"""What each row of a ledger means, in a sentence for readers who know nothing of gradients."""

from __future__ import annotations

from collections.abc import Mapping

from textlrp.results import ledger

#: By heading; every heading of a ledger has one.
MEANINGS: Mapping[str, str] = {
    ledger.TOKENS: "The text itself. This is the part that the colors show.",
    ledger.SPECIAL_TOKENS: "Marks that the model puts around every text, such as [CLS] and [SEP].",
    ledger.POSITIONS: "Where in the text something stands, whatever the words are.",
    ledger.TOKEN_TYPES: "Whether something stands in the first text or in the second.",
    ledger.BIASES: "What the model adds whatever it reads: its leaning.",
    ledger.NORMS: "What the model adds whenever it brings its numbers to a common scale.",
    ledger.CONSTANTS: "Fixed numbers in the model's arithmetic that no word can change.",
    ledger.SOFTMAX: "What comes from how the model spreads its attention and cannot be credited to single words.",
    ledger.PRODUCTS: "What comes from words acting together and cannot be credited to one of them.",
    ledger.MASKED: "What flows through parts of the model that were left out of this explanation on request.",
    ledger.OTHER_PATHS: "What goes around this layer by other ways through the model.",
    ledger.STABILIZER: "What was set aside to keep divisions by numbers near zero stable.",
    ledger.RESIDUE: "What the rows above leave over: rounding. Zero means that nothing is missing.",
}
