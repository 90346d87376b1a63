"""The view between the layers, for every renderer: a map of layers x words, and each layer's part of the logit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlrp.basics import options
from textlrp.results.ledger import OTHER_PATHS, PROMPT, REFERENCE, REFERENCE_PINNED, RESIDUE, SPECIAL_TOKENS, TOKENS

if TYPE_CHECKING:
    from textlrp.results.explanation import Explanation
    from textlrp.results.layers import Layer


# The rows that are not posted above a layer: what it holds, what goes around it, and where the sharing starts.
_NOT_POSTED = (TOKENS, PROMPT, SPECIAL_TOKENS, OTHER_PATHS, RESIDUE, REFERENCE, REFERENCE_PINNED)

# Words below this share of the strongest special token are not colored.
_NOTHING = 0.01


@dataclass(frozen=True)
class Row:
    """A word (or token, or sentence) with its relevance at each layer.

    Attributes:
        text: the word, or a special token's symbol.
        special: whether it is a special token.
        relevance: at each layer of the map, in logit units.
    """

    text: str
    special: bool
    relevance: tuple[float, ...]


@dataclass(frozen=True)
class Heatmap:
    """A map of layers x words, from the embeddings up and in reading order.

    Attributes:
        layers: the layers whose positions are the tokens of the text; the others cannot be shown by words.
        names: their names: the paths without the part that all of them share.
        strongest: the largest absolute relevance of a word at each layer, where the colors end. Special tokens often
            hold more.
        rows: the words.
        left_out: the number of words that are left out because others are stronger at every layer.
    """

    layers: tuple[Layer, ...]
    names: tuple[str, ...]
    strongest: tuple[float, ...]
    rows: tuple[Row, ...]
    left_out: int = 0

    def weights(self, row: Row) -> list[float]:
        """Return a row's relevance at each layer, relative to the strongest word there: -1 to 1."""
        return [
            max(-1.0, min(1.0, value / most)) if most else 0.0
            for value, most in zip(row.relevance, self.strongest, strict=True)
        ]


@dataclass(frozen=True)
class Holding:
    """A layer's part of the logit, or of what it is more than the reference's.

    Attributes:
        name: the name of the layer.
        held: the relevance in its hidden state.
        around: the relevance that goes around it.
        posted: the relevance that was posted above it, to biases, norms, the softmax and so on.
        shares: the share of each path through the block, 0 to 1; empty if it is not known.
        head: the strongest head of the block, counted from 1, with its relevance, or None.
    """

    name: str
    held: float
    around: float
    posted: float
    shares: dict[str, float]
    head: tuple[int, float] | None


def heatmap(e: Explanation, by: str = "word", most: int | None = None) -> Heatmap:
    """Return the map of an explanation that has layers.

    Args:
        e: the explanation.
        by: ``"word"``, ``"token"`` or ``"sentence"``.
        most: the number of rows to keep, those that are strong at any layer; default: all.

    Raises:
        InputError: ``by`` is no unit, or ``most`` no number.
    """
    if most is not None:
        most = options.whole(most, "most is a number of rows, 0 or more", 0)
    layers = tuple(layer for layer in e.layers if layer.aligned)
    names = tuple(
        name
        for name, layer in zip(short_names([layer.name for layer in e.layers]), e.layers, strict=True)
        if layer.aligned
    )
    columns = [e.layer_units(layer, by) for layer in layers]
    # Special tokens are shown where the model reads them, before or after the text.
    first = next((i for i, span in enumerate(e.tokens) if not span.special), len(e.tokens))
    specials = [
        Row(span.piece or span.text, True, tuple(layer.relevance[i] for layer in layers))
        for i, span in enumerate(e.tokens)
        if span.special
    ]
    before = sum(span.special for span in e.tokens[:first])
    units = [
        Row(spans[0].text, False, tuple(span.relevance for span in spans))
        for spans in zip(*columns, strict=True)
        if not spans[0].special and spans[0].text.strip()
    ]
    rows = [*specials[:before], *units, *specials[before:]]
    strongest = tuple(_strongest(rows, i) for i in range(len(layers)))
    whole = Heatmap(layers, names, strongest, tuple(rows))
    if most is None or len(rows) <= most:
        return whole
    peaks = [max(map(abs, whole.weights(row)), default=0.0) for row in rows]
    kept = sorted(sorted(range(len(rows)), key=lambda i: -peaks[i])[:most])
    return Heatmap(layers, names, strongest, tuple(rows[i] for i in kept), len(rows) - most)


def _strongest(rows: Sequence[Row], layer: int) -> float:
    words = max((abs(row.relevance[layer]) for row in rows if not row.special), default=0.0)
    special = max((abs(row.relevance[layer]) for row in rows if row.special), default=0.0)
    return max(words, _NOTHING * special)


def holdings(e: Explanation) -> list[Holding]:
    """Return each layer's part of the logit, from the embeddings up."""
    listed = []
    for name, layer in zip(short_names([layer.name for layer in e.layers]), e.layers, strict=True):
        books = layer.ledger
        held = books[TOKENS] + books[PROMPT] + books[SPECIAL_TOKENS]
        around = books[OTHER_PATHS]
        posted = math.fsum(value for heading, value in books.items() if heading not in _NOT_POSTED)
        heads = [value for values in layer.heads.values() for value in values]
        strong = max(range(len(heads)), key=lambda i: abs(heads[i])) if heads else None
        head = None if strong is None else (strong + 1, heads[strong])
        listed.append(Holding(name, held, around, posted, layer.shares if layer.paths else {}, head))
    return listed


def short_names(names: Sequence[str]) -> list[str]:
    """Return module paths without the modules that they have in common; other names stay as they are."""
    paths = [name.split(".") for name in names]
    blocks = [path for path in paths if len(path) > 1]
    common = 0
    while len(blocks) > 1 and all(len(path) > common + 1 and path[common] == blocks[0][common] for path in blocks):
        common += 1
    short = [".".join(path[common:] if len(path) > 1 else path) for path in paths]
    stem = blocks[0][common - 1] if common else ""
    return [f"{stem} {name}" if name[:1].isdigit() else name for name in short]
