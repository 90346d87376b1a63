"""Values out of a saved file: each is of its kind, none is missing or unknown, and the digest fits; or one error says
which does not.

JSON knows no integers and no kinds of objects, and a number that was changed is a number still: what a file says is
believed only once all of it fits together (:mod:`textlrp.results.consistency`).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from textlrp.basics.options import LARGEST, as_real, as_whole, brief
from textlrp.errors import InputError, NonFiniteError

#: The key of the digest of everything else in an object.
DIGEST = "digest"

#: How far a sum may be from what is written of it, relative to the sum of the absolute values. Files hold numbers as
#: exactly as Python does, each rounded by 2**-53 at most: this is room for 32 such roundings, in whatever order.
SUMMED = 2.0**-48

_MISSING: Any = object()

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)

_SEAL = re.compile(r"<!-- digest (.*?) -->\s*\Z")


def no_explanation(reason: str) -> InputError:
    """Return the error for values that no version of textlrp has written like that."""
    return InputError(f"this is no explanation saved by textlrp, or it was changed: {reason}")


def shown(value: object) -> str:
    """Return a value as a sentence can hold it: as JSON spells it, cut where it is long."""
    try:
        written = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        written = brief(value)
    return written if len(written) <= 60 else f"{written[:57]}..."


class Fields:
    """The values of an object, read one by one.

    Args:
        values: the object.
        where: what a sentence calls it.

    Raises:
        InputError: it is no object; every method raises it where a value is missing or of another kind.
    """

    __slots__ = ("_read", "_values", "_where")

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, Mapping):
            raise no_explanation(f"{where} is {shown(values)}, and an object was expected")
        self._values: Mapping[str, Any] = values
        self._where = where
        self._read: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def take(self, key: str, default: Any = _MISSING) -> Any:
        """Return a value as it is."""
        self._read.add(key)
        found = self._values.get(key, default)
        if found is _MISSING:
            raise no_explanation(f"{self._where} has no {key!r}")
        return found

    def text(self, key: str, default: Any = _MISSING) -> Any:
        """Return a string, or the default where there is none."""
        found = self.take(key, default)
        return found if found is default or isinstance(found, str) else self._refuse(key, found, "text")

    def flag(self, key: str, default: Any = _MISSING) -> bool:
        """Return True or False."""
        found = self.take(key, default)
        return found if isinstance(found, bool) else self._refuse(key, found, "true or false")

    def whole(self, key: str, least: int, default: Any = _MISSING) -> int:
        """Return a whole number."""
        found = self.take(key, default)
        # bool is an int to Python, but true is no number
        return (
            found
            if type(found) is int and least <= found <= LARGEST
            else self._refuse(key, found, f"a whole number of {least} or more")
        )

    def number(self, key: str, default: Any = _MISSING) -> float:
        """Return a finite number."""
        return self._number(key, self.take(key, default))

    def numbers(self, key: str, default: Any = _MISSING) -> tuple[float, ...]:
        """Return a list of finite numbers."""
        return tuple(self._number(f"{key}[{i}]", value) for i, value in enumerate(self.list(key, default)))

    def list(self, key: str, default: Any = _MISSING) -> Any:
        """Return a list of anything."""
        found = self.take(key, default)
        return found if isinstance(found, (list, tuple)) else self._refuse(key, found, "a list")

    def mapping(self, key: str, default: Any = _MISSING) -> Mapping[str, Any]:
        """Return an object whose keys are texts, of anything."""
        found = self.take(key, default)
        if not isinstance(found, Mapping):
            self._refuse(key, found, "an object")
        odd = next((each for each in found if not isinstance(each, str)), None)
        if odd is not None:
            self._refuse(f"the key of {key!r}", odd, "text")
        return found

    def numbered(self, key: str) -> dict[str, float]:
        """Return an object of finite numbers."""
        return {name: self._number(f"{key}[{name!r}]", value) for name, value in self.mapping(key).items()}

    def end(self) -> None:
        """Say that nothing else may be there."""
        unknown = [str(key) for key in self._values if key not in self._read]
        if unknown:
            raise no_explanation(f"{self._where} has {', '.join(map(repr, unknown))}, which this version does not know")

    def _number(self, key: str, value: object) -> float:
        try:
            number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
        except OverflowError:  # of hundreds of digits
            number = math.nan
        return number if math.isfinite(number) else self._refuse(key, value, "a finite number")

    def _refuse(self, key: str, value: object, expected: str) -> NoReturn:
        raise no_explanation(f"{self._where} has {shown(value)} for {key}, and {expected} was expected")


def plain(value: Any) -> Any:
    """Return a number as JSON takes it: one of NumPy or torch becomes Python's own.

    Raises:
        InputError: it is no number.
        NonFiniteError: it is a NaN or an infinity, which JSON cannot hold.
    """
    if type(value) is float:
        if not math.isfinite(value):
            raise _not_finite()
        return value
    real, whole = as_real(value), as_whole(value)
    if real is None:
        raise InputError(f"an explanation has {brief(value)} where a number belongs: it cannot be saved")
    return real if whole is None else whole


def _not_finite() -> NonFiniteError:
    return NonFiniteError("an explanation with a NaN or an infinity cannot be saved: a number is missing")


def is_format(value: object, number: int) -> bool:
    """Whether a file says that it has the format of that number."""
    return type(value) is int and value == number  # True is 1 to Python


def check_format(values: Any, number: int, what: str) -> None:
    """Check that a file holds an object, and says that it has the format of that number.

    Raises:
        InputError: it does not.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"this is no {what} saved by textlrp: an object was expected, not {brief(values)}")
    if not is_format(values.get("format"), number):
        found = values.get("format", "none")
        shown = " ".join(found.split()) if isinstance(found, str) else brief(found)
        raise InputError(f"this has format {shown}, and this version of textlrp reads {what}s of format {number}")


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with their digest behind them.

    Raises:
        NonFiniteError: a NaN or an infinity is among them, which JSON cannot hold.
    """
    return {**values, DIGEST: digest(values)}


def digest(values: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hexadecimal digits, of all values but the digest itself.

    It is that of their JSON with sorted keys, without spaces and in ASCII; a number without a fraction is written as a
    whole one, so that programs that spell 1.0 as 1 do no harm.

    Raises:
        NonFiniteError: a NaN or an infinity is among the values.
    """
    found = hashlib.sha256()
    try:
        for piece in _pieces({key: value for key, value in values.items() if key != DIGEST}):
            found.update(piece.encode())
    except ValueError:
        raise _not_finite() from None
    return found.hexdigest()


def _pieces(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the JSON of an object piece by piece, that of a list in it by its members: a long text has many."""
    yield "{"
    for i, key in enumerate(sorted(values)):
        yield f"{',' if i else ''}{_ENCODER.encode(key)}:"
        if isinstance(values[key], (list, tuple)):
            yield "["
            for j, each in enumerate(values[key]):
                yield f"{',' if j else ''}{_ENCODER.encode(_spelled(each))}"
            yield "]"
        else:
            yield _ENCODER.encode(_spelled(values[key]))
    yield "}"


def check_digest(values: Mapping[str, Any], what: str) -> None:
    """Check the digest of values, if they have one.

    Raises:
        InputError: the values were changed after textlrp wrote them, or their digest was.
    """
    if DIGEST in values and values[DIGEST] != (found := digest(values)):
        raise InputError(
            f"this {what} was changed after textlrp wrote it: its digest is {shown(values[DIGEST])}, and its values "
            f"have {found[:12]}...; explain the text again, or take the file as it was"
        )


def _spelled(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        # -0.0 and 0 are equal, and not the same
        return int(value) if value.is_integer() and (value or math.copysign(1.0, value) > 0) else value
    if kind is str or kind is int:
        return value
    if kind is dict or isinstance(value, Mapping):
        return {key: _spelled(each) for key, each in value.items()}
    return [_spelled(each) for each in value] if isinstance(value, (list, tuple)) else value


def sealed_page(html: str) -> str:
    """Return a page with the digest of all of it in a comment at its end."""
    return f"{html}<!-- digest {_page_digest(html)} -->\n"


def is_as_written(html: str) -> bool:
    """Whether a page is the one that its digest was made of, or has none; line ends may be other ones."""
    found = _SEAL.search(html)
    return found is None or found[1] == _page_digest(html[: found.start()])


def _page_digest(html: str) -> str:
    return hashlib.sha256(html.replace("\r\n", "\n").encode()).hexdigest()
