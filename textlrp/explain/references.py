"""The option ``reference``: what users give, what fits a text, and what the engine and an explanation get of it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from textlrp.basics import options
from textlrp.errors import InputError
from textlrp.explain.classifier import Classifier
from textlrp.explain.embedding_tables import word_table
from textlrp.render.format import named
from textlrp.results.reference import IN_PYTHON, WORDLESS
from textlrp.rules import Rules
from textlrp.text.alignment import plain_ids
from textlrp.text.batch import Batch
from textlrp.text.encoding import Encoding, check_text

_TAKES = f"{', '.join(WORDLESS)}, a token, a text or ids of the same length as the text, or a list of several of these"

#: What the words of :data:`WORDLESS` mean.
_MEANS = {
    "mask": "the mask token",
    "pad": "the padding token",
    "mean": "the mean embedding",
    "zero": "embeddings of zeros",
}

#: The message for rules that measure from zero.
NO_REFERENCE = "these rules measure from zero and take no reference: leave it out, or choose the rules 'difference'"

#: A reference for the engine: a token's id, ``"mean"`` or ``"zero"`` in place of each word, or an id for each position.
Value = int | str | tuple[int, ...]


class _Text(NamedTuple):
    """Another text, or a pair, in place of the explained one."""

    text: str
    text_pair: str | None


class Fitted(NamedTuple):
    """A user's reference for one text.

    Attributes:
        name: what readers see.
        given: the values of the option, for the command line.
        values: one for each of several references, in the same order and of the same kinds for all texts.
    """

    name: str
    given: tuple[str, ...]
    values: tuple[Value, ...]

    def take(self, indices: Sequence[int]) -> Fitted:
        """Return the reference of a window: the part at these ids."""
        return self._replace(
            values=tuple(tuple(v[i] for i in indices) if isinstance(v, tuple) else v for v in self.values)
        )


@dataclass(frozen=True)
class References:
    """A user's reference, or several that are averaged, before it is fitted to a text.

    Attributes:
        name: what readers see.
        given: the values of the option, for the command line; empty for the default.
        items: a token's id, ``"mean"``, ``"zero"``, a text, or ids.
    """

    name: str
    given: tuple[str, ...]
    items: tuple[int | str | tuple[int, ...] | _Text, ...]

    @classmethod
    def read(cls, value: Any, rules: Rules, classifier: Classifier) -> References | None:
        """Return the reference that a user gives, or None for rules that measure from zero.

        Raises:
            InputError: the rules take no reference, or the value is none.
        """
        check_rules(rules, value)
        if not rules.difference:
            return None
        if value is None:
            default = classifier.default_reference
            name = "mean embedding" if isinstance(default, str) else str(classifier.tokenizer.mask_token)
            return cls(name, (), (default,))
        value = value.tolist() if hasattr(value, "tolist") else value
        values = _several(value)
        if not values:
            raise InputError(f"the list of references is empty: give {_TAKES}")
        read = [_read(item, classifier) for item in values]
        name = read[0].name if len(read) == 1 else f"mean of {len(read)} references"
        return cls(name, tuple(one.given for one in read), tuple(one.item for one in read))

    def fit(self, classifier: Classifier, encoding: Encoding, limit: int | None) -> Fitted:
        """Return the reference of a text.

        Args:
            classifier: the model and its tokenizer.
            encoding: the text as the model reads it.
            limit: the number of ids at which a text is cut, or None.

        Raises:
            InputError: a reference has another number of ids than the text.
        """
        return Fitted(self.name, self.given, tuple(_fit(item, classifier, encoding, limit) for item in self.items))


def check_rules(rules: Rules, reference: Any) -> None:
    """Check that rules take the reference that is given, if one is.

    Raises:
        InputError: they measure from zero.
    """
    if reference is not None and not rules.difference:
        raise InputError(NO_REFERENCE)


def batched(references: Sequence[Fitted], batch: Batch, device: torch.device) -> Any:
    """Return the references of the texts of a batch as the engine takes them; ids are padded as the batch is."""
    values: list[int | str | Tensor] = []
    for column in zip(*(reference.values for reference in references), strict=True):
        if not isinstance(column[0], tuple):
            values.append(column[0])
            continue
        rows = [list(row) for row in batch.inputs["input_ids"]]
        for row, place, ids in zip(rows, batch.places, column, strict=True):
            row[place] = ids
        values.append(torch.tensor(rows, device=device))
    return values[0] if len(values) == 1 else values


class _Named(NamedTuple):
    name: str
    given: str
    item: int | str | tuple[int, ...] | _Text


def _several(value: Any) -> list[Any]:
    """Return a single reference as a list of one: a text, a pair of texts as a tuple, or a list of ids."""
    if not isinstance(value, (list, tuple)):
        return [value]
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, str) for part in value):
        return [value]
    plain = options.plain(value)
    if plain and all(options.as_whole(number) is not None for number in plain):
        return [plain]
    return list(plain)


def _read(value: Any, classifier: Classifier) -> _Named:
    if isinstance(value, str):
        return _read_text(value, classifier)
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, str) for part in value):
        for part in value:
            check_text(part, "a text of the reference")
        return _Named(f"the texts {_quoted(value[0])} and {_quoted(value[1])}", IN_PYTHON, _Text(*value))
    numbers = options.plain(value) if isinstance(value, (list, tuple)) else []
    ids = [options.as_whole(number) for number in numbers]
    number = options.as_whole(value)
    if number is not None:
        raise InputError(
            f"the reference is the single number {options.brief(number)}: give a list of ids, one for each id of the "
            f"text, special tokens included, or a token as text"
        )
    if not ids or None in ids:
        raise InputError(f"a reference is {_TAKES}, not {options.brief(value)}")
    whole = tuple(number for number in ids if number is not None)
    size = getattr(word_table(classifier.model), "num_embeddings", None)
    for number in whole:
        if number < 0 or (isinstance(size, int) and number >= size):
            most = f" to {size - 1:,}" if isinstance(size, int) else " on"
            raise InputError(f"the reference has the id {options.brief(number)}, and the model has ids from 0{most}")
    return _Named("given ids", IN_PYTHON, whole)


def _read_text(value: str, classifier: Classifier) -> _Named:
    tokenizer = classifier.tokenizer
    if value in ("mean", "zero"):
        return _Named(f"{value} embedding", value, value)
    special = {"mask": classifier.mask_id, "pad": classifier.special_id("pad")}
    for kind, number in special.items():
        if value == kind:
            if number is None:
                name = {"mask": "mask", "pad": "padding"}[kind]
                raise InputError(f"{type(tokenizer).__name__} has no {name} token for a reference: give {_TAKES}")
            return _Named(str(getattr(tokenizer, f"{kind}_token")), kind, number)
    _check_case(tokenizer, value)
    token = _token(tokenizer, value)
    for kind, number in special.items():
        if token is not None and token == number:
            return _Named(str(getattr(tokenizer, f"{kind}_token")), kind, number)
    if token is not None:
        size = getattr(word_table(classifier.model), "num_embeddings", None)
        if isinstance(size, int) and token >= size:
            raise InputError(f"the reference {options.brief(value)} is a token that the model has no row for")
        return _Named(f"the token {_quoted(value)}", value, token)
    if not value.strip():
        raise InputError(f"the reference is {'blank' if value else 'empty'}: give {_TAKES}")
    check_text(value, "the reference")
    return _Named(f"the text {_quoted(value)}", value, _Text(value, None))


def _check_case(tokenizer: Any, value: str) -> None:
    """Check that a text is not a word for a reference in other letters, unless it is a special token.

    Raises:
        InputError: it is one, and may as well mean the word itself.
    """
    kind = value.strip().lower()
    special = (getattr(tokenizer, f"{name}_token", None) for name in ("mask", "pad"))
    if kind in WORDLESS and value not in special:
        raise InputError(
            f"the reference {options.brief(value)} can mean {_MEANS[kind]} or the word {options.brief(value.strip())}: "
            f"give {kind!r} for {_MEANS[kind]}, or in Python a list of ids for the word"
        )


def _token(tokenizer: Any, text: str) -> int | None:
    """Return the id of a text that is one token: as the vocabulary spells it, or as the tokenizer reads it."""
    if tokenizer is None:
        return None
    unknown = getattr(tokenizer, "unk_token_id", None)
    try:
        number = tokenizer.convert_tokens_to_ids(text)
    except Exception:  # a tokenizer of single characters raises at anything longer
        number = None
    if isinstance(number, int) and (number != unknown or text == getattr(tokenizer, "unk_token", None)):
        return number
    ids = plain_ids(tokenizer, text)
    return ids[0] if len(ids) == 1 and ids[0] != unknown else None


def _fit(
    item: int | str | tuple[int, ...] | _Text, classifier: Classifier, encoding: Encoding, limit: int | None
) -> Value:
    count = len(encoding.input_ids)
    if isinstance(item, _Text):
        return _fit_text(item, classifier, encoding, limit)
    if isinstance(item, tuple) and len(item) != count:
        raise InputError(
            f"the reference has {len(item):,} id{'s' if len(item) != 1 else ''}, and the text takes {count:,}, special "
            f"tokens included: give an id for each"
        )
    return item


def _fit_text(item: _Text, classifier: Classifier, encoding: Encoding, limit: int | None) -> tuple[int, ...]:
    pair = len(encoding.truncated) > 1
    if pair and item.text_pair is None:
        raise InputError(f"the reference {options.brief(item.text)} is one text, and a pair is explained: {_a_pair()}")
    if not pair and item.text_pair is not None:
        raise InputError("the reference is a pair of texts, and one text is explained: several references are a list")
    other = classifier.encode(item.text, limit, item.text_pair)
    if other.special == encoding.special and other.parts == encoding.parts:
        return tuple(other.input_ids)
    counts, expected = len(other.input_ids), len(encoding.input_ids)
    if pair:
        theirs, own = ([len(one.own(part)) for part in (0, 1)] for one in (other, encoding))
        raise InputError(
            f"the texts of the reference take {theirs[0]:,} and {theirs[1]:,} ids, and those of the pair {own[0]:,} "
            f"and {own[1]:,}: give texts with as many, or {', '.join(WORDLESS)} or a token"
        )
    near = difflib.get_close_matches(item.text.lower(), WORDLESS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InputError(
        f"the reference {options.brief(item.text)} is no token of the vocabulary, and as a text it takes {counts:,} "
        f"ids, where the explained one takes {expected:,}: give {_TAKES}{hint}"
    )


def _a_pair() -> str:
    return "give a tuple of two texts, a token, or one of " + ", ".join(WORDLESS)


def _quoted(text: str) -> str:
    return f"'{named(text)}'"
