"""Checks of options: numbers, words and flags, from any library.

A whole number may be an ``int``, a NumPy integer, or a tensor of one; the result is an ``int``, for JSON. Bools, texts,
NaN and infinity are not numbers. This module needs neither NumPy nor torch.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

from textlrp.errors import InputError

#: The largest whole number that all libraries and file formats accept.
LARGEST = 2**63 - 1


def as_whole(value: object) -> int | None:
    """Return a value as an ``int`` if it is one whole number, else None."""
    if type(value) is int:
        return value
    if isinstance(value, bool) or not _is_single(value):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        return None


def as_real(value: object) -> float | None:
    """Return a value as a ``float`` if it is one finite number, else None."""
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__") or not _is_single(value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return number if math.isfinite(number) else None


def whole(value: Any, says: str, least: int = -LARGEST, most: int = LARGEST) -> int:
    """Return a whole number.

    Args:
        value: the value of an option.
        says: the beginning of a sentence on the expected value, such as ``"top is a number of spans, 1 or more"``.
        least, most: its limits, included.

    Raises:
        InputError: the value is not a whole number, or out of range.
    """
    number = as_whole(value)
    if number is None or not least <= number <= most:
        raise InputError(f"{says}, not {brief(value)}")
    return number


def real(value: Any, says: str, least: float = -math.inf, most: float = math.inf) -> float:
    """Return a finite number; arguments and errors are those of :func:`whole`."""
    number = as_real(value)
    if number is None or not least <= number <= most:
        raise InputError(f"{says}, not {brief(value)}")
    return number


def choice(value: Any, among: Iterable[str], says: str) -> str:
    """Return one of several words; ``says`` and errors are those of :func:`whole`."""
    if isinstance(value, str) and value in among:
        return value
    raise InputError(f"{says}, not {brief(value)}")


def text(value: Any, says: str) -> str:
    """Return a text; ``says`` and errors are those of :func:`whole`."""
    if isinstance(value, str):
        return value
    raise InputError(f"{says}, not {brief(value)}")


def flag(value: Any, name: str) -> bool:
    """Return whether an option is on.

    Raises:
        InputError: the value is neither true nor false, such as an array of several numbers.
    """
    try:
        return bool(value)
    except Exception:  # any error of a user's object
        raise InputError(f"{name} is True or False, not {brief(value)}") from None


def plain(values: Any) -> Any:
    """Return a list or tuple with numbers and arrays of other libraries as Python's own; else the value itself."""
    if not isinstance(values, (list, tuple)):
        return values
    return [value.tolist() if hasattr(value, "tolist") else value for value in values]


def brief(value: object) -> str:
    """Return a value for a sentence: on one line, cut if it is long."""
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"a number of {len(f'{abs(value):x}') * 4:,} bits"  # str() refuses thousands of digits
    try:
        shown = " ".join(repr(value).split())
    except Exception:  # any error of a user's object
        shown = f"a {type(value).__name__}"
    return shown if len(shown) <= 120 else f"{shown[:117]}..."


def _is_single(value: object) -> bool:
    """Return whether a value is a single value, not an array, and not a bool of a library."""
    try:
        return not tuple(getattr(value, "shape", ())) and not str(getattr(value, "dtype", "")).endswith("bool")
    except TypeError:
        return False
