"""Checks that the data of a report are consistent, as far as rounded relevances without a ledger allow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from textlrp.data.records import check_rationales
from textlrp.errors import InputError
from textlrp.results.saved import shown
from textlrp.results.spans import TEXT, TEXT_PAIR

#: The relevance of an explanation's strongest word in its units: four digits at any scale.
STEPS = 10_000


def check(data: Mapping[str, Any], pages: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Check the data of a report.

    Args:
        data: the data in its file, or in its index.
        pages: the data in the other files of a split report, in order.
        rows: its documents, by the names of their columns.

    Raises:
        InputError: the data are inconsistent; the message says where.
    """
    labels, views = data["labels"], data["views"]
    if not _are(labels, str) or len(set(labels)) < len(labels):
        raise InputError(f"its labels are {shown(labels)}, and a list of different names was expected")
    for view in views:
        if not (isinstance(view, list) and len(view) == 2):
            raise InputError(f"it has the view {shown(view)}, and two labels by number were expected")
        _number_of(view[0], labels, "a view's target")
        _number_of(view[1], labels, "a view's contrast", or_none=True)
    if type(data["steps"]) is not int or data["steps"] != STEPS:
        raise InputError(f"its relevances are in steps of {shown(data['steps'])}, and textlrp writes {STEPS}")
    if not _is_finite(data["color_end"]) or data["color_end"] < 0:
        raise InputError(f"its colors end at the relevance {shown(data['color_end'])}")
    _check_pages(data, pages)
    ids = [row["id"] for row in rows]
    if not _are(ids, str) or len(set(ids)) < len(ids):
        raise InputError("two of its documents have the same id, or one has none")
    for row in rows:
        try:
            _check_row(row, labels, views)
        except InputError as error:
            raise InputError(f"document {row['id']!r} {error}") from None


def _check_pages(data: Mapping[str, Any], pages: Sequence[Mapping[str, Any]]) -> None:
    """Check that the pages of a split report are those that its index lists, in its order."""
    for number, (page, ids) in enumerate(zip(pages, data["ids"] if pages else (), strict=True), 1):
        place = page["page"]
        if (place["number"], place["count"]) != (number, len(pages)) or page["documents"]["id"] != ids:
            raise InputError(
                f"page {shown(place['number'])} of {shown(place['count'])} stands where page {number} of {len(pages)} "
                f"was expected, with the documents that the index lists"
            )
        for key in ("title", "blind", "labels", "views", "steps", "color_end", "multi"):
            if page[key] != data[key]:
                raise InputError(f"page {number} has {shown(page[key])} for {key}, and the index {shown(data[key])}")


def _check_row(row: Mapping[str, Any], labels: Sequence[str], views: Sequence[Any]) -> None:
    texts = {TEXT: row["text"]} | ({} if row["text_pair"] is None else {TEXT_PAIR: row["text_pair"]})
    if not _are(list(texts.values()), str):
        raise InputError("has a text that is not a string")
    for label in row["label"] if isinstance(row["label"], list) else [row["label"]]:
        _number_of(label, labels, "its label", or_none=not isinstance(row["label"], list))
    _number_of(row["predicted"], labels, "its predicted label")
    if row["chosen"] is not None and not isinstance(row["chosen"], list):
        raise InputError(f"has {shown(row['chosen'])} for its predicted labels, and a list was expected")
    for label in row["chosen"] or ():
        _number_of(label, labels, "a predicted label")
    _share(row["confidence"], "confidence")
    check_rationales(row["rationales"], row["text"], "it")
    counted = _check_layout(row["words"], row["sentences"], texts)
    if not isinstance(row["explained"], list) or not row["explained"]:
        raise InputError("has no explanation")
    for explained in row["explained"]:
        if len(explained) not in (7, 9):
            raise InputError(f"has an explanation of {len(explained)} values")
        view, logit, probability, unit, steps, color, said, *layout = explained
        _check_said(said)
        if not _is_finite(color) or not 0 < color <= 1:
            raise InputError(f"has the share {shown(color)} of the full color")
        _number_of(view, views, "the view of an explanation")
        if logit is not None and not _is_finite(logit):
            raise InputError(f"has the logit {shown(logit)}")
        _share(probability, "probability")
        if not _is_finite(unit) or unit < 0:
            raise InputError(f"has relevances in units of {shown(unit)}")
        size = _check_layout(layout[0], layout[1], texts) if layout else counted
        if not _are(steps, int) or len(steps) != size or any(abs(step) > STEPS for step in steps):
            raise InputError(f"has the relevances {shown(steps)}, and {size} whole numbers up to {STEPS} were expected")


def _check_said(said: Any) -> None:
    """Check the sentences below the verdict: texts, and names as lists of one."""
    if not isinstance(said, list) or not said:
        raise InputError(f"says {shown(said)} of its words")
    for part in said:
        if not (isinstance(part, str) or (isinstance(part, list) and len(part) == 1 and isinstance(part[0], str))):
            raise InputError(f"says {shown(part)} of its words")


def _check_layout(words: Any, sentences: Any, texts: Mapping[str, str]) -> int:
    """Check that words and sentences cover the read part of each text, and return the number of words."""
    total = 0
    for text, lengths, counts in zip(texts.values(), words, sentences, strict=True):
        if not _are(lengths, int) or not lengths or any(value < 0 for value in lengths):
            raise InputError(f"has words of the lengths {shown(lengths)}")
        # A text is truncated at one end at most.
        start, end = lengths[0], sum(lengths)
        if end > len(text) or (start > 0 and end < len(text)):
            raise InputError(f"has words from character {start} to {end}, and its text has {len(text)}")
        if not _are(counts, int) or any(count < 1 for count in counts) or sum(counts) != len(lengths) - 1:
            raise InputError(f"has sentences of {shown(counts)} words, and {len(lengths) - 1} words")
        total += len(lengths) - 1
    return total


def _number_of(value: Any, listed: Sequence[Any], name: str, or_none: bool = False) -> None:
    # bool is an int in Python, but true is not an index
    if not (or_none and value is None) and not (type(value) is int and 0 <= value < len(listed)):
        raise InputError(f"has {shown(value)} for {name}, and numbers go from 0 to {len(listed) - 1}")


def _share(value: Any, name: str) -> None:
    if value is not None and not (_is_finite(value) and 0 <= value <= 1):
        raise InputError(f"has the {name} {shown(value)}, and a number from 0 to 1 was expected")


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _are(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(type(value) is kind for value in values)
