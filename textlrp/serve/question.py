"""What a page asks: an explanation of a text, or its score without some words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from textlrp.basics import options
from textlrp.errors import InputError
from textlrp.results.grouping import UNITS

# The texts of a question.
_TEXTS = ("page", "text", "pair", "target", "contrast", "rules", "reference", "before", "before_pair")
# The most characters of the name that a page chooses for itself.
_NAME = 100

#: How words are left out: their ids are taken away, or become that of the mask token.
DELETE, MASK = "delete", "mask"


@dataclass(frozen=True)
class Question:
    """A request of a page.

    Attributes:
        page: the name of the page.
        model: the index of the model.
        by: ``"word"``, ``"token"`` or ``"sentence"``.
        text, pair, target, contrast, rules, reference, long: as in :meth:`textlrp.Explainer.explain`.
        before, before_pair: the text and second text that these are compared with; None to compare with nothing.
    """

    page: str
    model: int
    by: str
    text: str
    pair: str | None
    target: str | None
    contrast: str | None
    rules: str
    reference: str | None
    long: str
    before: str | None = None
    before_pair: str | None = None

    @classmethod
    def of(cls, body: bytes, models: int) -> Question:
        """Read a request's body.

        Raises:
            InputError: something in it cannot be used; the message names it.
        """
        values = _object(body)
        texts = {key: _string(values, key) for key in _TEXTS}
        model, by, long = values.get("model", 0), values.get("by", "word"), values.get("long", "truncate")
        number = options.as_whole(model)
        if number is None or not 0 <= number < models:
            raise InputError(f"there is no model {options.brief(model)}: this page has {models}, numbered from 0")
        if by not in UNITS:
            raise InputError(f"a text is shown by {', '.join(UNITS)}, not by {by!r}")
        if long not in ("truncate", "windows"):
            raise InputError(f"long is truncate or windows, not {long!r}")
        return cls(
            _page(values),
            number,
            by,
            texts["text"] or "",
            texts["pair"] or None,
            texts["target"] or None,
            texts["contrast"] or None,
            (texts["rules"] or "attnlrp").strip(),
            (texts["reference"] or "").strip() or None,
            long,
            texts["before"],
            texts["before_pair"] or None,
        )


@dataclass(frozen=True)
class LeftOut:
    """A request of a page for the score of an explained text without some words.

    Attributes:
        page: the name of the page.
        number: the number of the explanation.
        places: the words, as the page names them (:func:`textlrp.serve.left_out.places`).
        how: ``"delete"`` or ``"mask"``.
    """

    page: str
    number: int
    places: tuple[str, ...]
    how: str

    @classmethod
    def of(cls, body: bytes) -> LeftOut:
        """Read a request's body.

        Raises:
            InputError: something in it cannot be used; the message names it.
        """
        values = _object(body)
        number, places, how = options.as_whole(values.get("number")), values.get("places"), values.get("how")
        if number is None:
            raise InputError(f"number is that of an explanation, not {options.brief(values.get('number'))}")
        if not isinstance(places, list) or not places or not all(isinstance(place, str) for place in places):
            raise InputError(f"places are a list of words to leave out, not {options.brief(places)}")
        if how not in (DELETE, MASK):
            raise InputError(f"words are left out by {DELETE} or {MASK}, not by {options.brief(how)}")
        return cls(_page(values), number, tuple(dict.fromkeys(places)), how)


def _object(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"this request is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError("this request is not a JSON object")
    return values


def _page(values: dict[str, Any]) -> str:
    name = _string(values, "page") or ""
    if len(name) > _NAME:
        raise InputError(f"page is a name of up to {_NAME} characters, not of {len(name):,}")
    return name


def _string(values: dict[str, Any], key: str) -> str | None:
    value = values.get(key)
    if value is not None and not isinstance(value, str):
        raise InputError(f"{key} is a text, not {value!r:.80}")
    return value
