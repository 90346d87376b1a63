"""The tokens of other texts, which take the place of a text's own where it is perturbed or compared. Needs no torch."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from textlrp.basics import options
from textlrp.errors import InputError, LRPError

if TYPE_CHECKING:
    from textlrp.explain.explainer import Explainer

#: The most documents of a background: their tokens are as frequent as those of more.
DOCUMENTS = 200

_TAKES = "background= takes a list of texts like those that are measured"


@dataclass(frozen=True)
class Background:
    """The ids of documents as a model's tokenizer reads them, without special tokens.

    Make one with :meth:`of`, once for a model and a corpus.

    Attributes:
        documents: the text and the ids of each document.
        tokenizer: the tokenizer that gave the ids.
    """

    documents: tuple[tuple[str, tuple[int, ...]], ...]
    tokenizer: Any = field(repr=False, compare=False)

    @classmethod
    def of(cls, explainer: Explainer, texts: Iterable[str], seed: int = 0) -> Background:
        """Return the background of some texts: of a random sample if there are more than :data:`DOCUMENTS`.

        Texts are cut at what the model reads. Those that the tokenizer fails on, or finds no token in, are left out.

        Raises:
            InputError: the texts are not a list of texts, or none of them has a token.
        """
        listed = [] if isinstance(texts, str) or not isinstance(texts, Iterable) else list(texts)
        if not listed or not all(isinstance(text, str) for text in listed):
            raise InputError(f"{_TAKES}, not {options.brief(texts)}")
        if len(listed) > DOCUMENTS:
            chosen = random.Random(f"background {seed}").sample(range(len(listed)), DOCUMENTS)
            listed = [listed[i] for i in sorted(chosen)]
        read = ((text, _own_ids(explainer, text)) for text in listed)
        documents = tuple((text, ids) for text, ids in read if ids)
        if not documents:
            raise InputError(f"no text of the background has a token that is not special: {_TAKES}")
        return cls(documents, explainer.tokenizer)

    def apart_from(self, text: str, text_pair: str | None = None) -> tuple[int, ...]:
        """Return the ids of all documents but these texts, one document after another.

        Raises:
            InputError: there is no other document.
        """
        ids = tuple(number for other, own in self.documents if other not in (text, text_pair) for number in own)
        if not ids:
            raise InputError(
                "the background holds nothing but this text, which is no part of its own background: give other texts"
            )
        return ids

    def draws(self, text: str, text_pair: str | None, count: int, number: int, seed: int) -> list[tuple[int, ...]]:
        """Return ``number`` times ``count`` ids, each drawn by its frequency; the same for the same texts and seed."""
        ids = self.apart_from(text, text_pair)
        generator = random.Random(f"replace {seed} {(text, text_pair)!r}")
        return [tuple(generator.choices(ids, k=count)) for _ in range(number)]

    def stretches(self, text: str, text_pair: str | None, count: int, number: int, seed: int) -> list[tuple[int, ...]]:
        """Return ``number`` random stretches of ``count`` ids in a row; behind the last document comes the first."""
        ids = self.apart_from(text, text_pair)
        generator = random.Random(f"stretches {seed} {(text, text_pair)!r}")
        starts = [generator.randrange(len(ids)) for _ in range(number)]
        return [tuple(ids[(start + i) % len(ids)] for i in range(count)) for start in starts]


def read_background(value: Background | Sequence[str] | None, explainer: Explainer) -> Background | None:
    """Return the background that a user gives: made already, as a list of texts, or None.

    Raises:
        InputError: it is neither, or was made for another tokenizer.
    """
    if value is None:
        return None
    if not isinstance(value, Background):
        return Background.of(explainer, value)
    if value.tokenizer is not explainer.tokenizer:
        raise InputError("the background has the ids of another model's tokenizer: make it with this model")
    return value


def _own_ids(explainer: Explainer, text: str) -> tuple[int, ...]:
    try:
        encoding = explainer.encode(text)
    except LRPError:
        return ()
    pairs = zip(encoding.input_ids, encoding.special, strict=True)
    return tuple(number for number, special in pairs if not special)
