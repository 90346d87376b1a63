"""Options: numbers, words and flags are checked in one place, whatever library they come from.

A whole number may be an ``int``, a NumPy integer, or a tensor of one; what comes back is an ``int``, as JSON takes it.
A bool is no number, text is none, and neither are NaN and infinity. This module knows neither NumPy nor torch.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

from textlrp.errors import InputError

#: The largest whole number that every library and file format takes.
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
        value: what was given.
        says: the beginning of a sentence that says what is expected, such as ``"top is a number of spans, 1 or more"``.
        least, most: its limits, included.

    Raises:
        InputError: it is none, or out of range.
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
    except Exception:  # whatever an object of the user's raises
        raise InputError(f"{name} is True or False, not {brief(value)}") from None


def plain(values: Any) -> Any:
    """Return a list or tuple with numbers and arrays of other libraries as Python's own; else what was given."""
    if not isinstance(values, (list, tuple)):
        return values
    return [value.tolist() if hasattr(value, "tolist") else value for value in values]


def brief(value: object) -> str:
    """Return a value as a sentence can hold it: on one line, cut where it is long."""
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"a number of {len(f'{abs(value):x}') * 4:,} bits"  # str() refuses thousands of digits
    try:
        shown = " ".join(repr(value).split())
    except Exception:  # whatever an object of the user's raises
        shown = f"a {type(value).__name__}"
    return shown if len(shown) <= 120 else f"{shown[:117]}..."


def _is_single(value: object) -> bool:
    """Whether a value is one number and not an array, and no truth value of a library either."""
    try:
        return not tuple(getattr(value, "shape", ())) and not str(getattr(value, "dtype", "")).endswith("bool")
    except TypeError:
        return False
