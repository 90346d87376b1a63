"""Values of a saved file: an error names the one that has the wrong type, is missing or unknown, or a wrong digest.

A changed number is still a number, so a file is trusted only if all of it fits together
(:mod:`textlrp.results.consistency`).
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

#: The largest error of a sum in a file, relative to the sum of the absolute values. Files hold numbers as exactly as
#: Python does, each rounded by 2**-53 at most: this allows 32 such roundings.
SUMMED = 2.0**-48

_MISSING: Any = object()

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)

_SEAL = re.compile(r"<!-- digest (.*?) -->\s*\Z")


def no_explanation(reason: str) -> InputError:
    """Return the error for values that no version of textlrp has written."""
    return InputError(f"this is not an explanation saved by textlrp, or it was changed: {reason}")


def shown(value: object) -> str:
    """Return a value as JSON, cut to fit into a sentence."""
    try:
        written = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        written = brief(value)
    return written if len(written) <= 60 else f"{written[:57]}..."


class Fields:
    """The values of an object, read one by one.

    Args:
        values: the object.
        where: its name in messages.

    Raises:
        InputError: it is not an object; every method raises it if a value is missing or of another type.
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
        value = self._values.get(key, default)
        if value is _MISSING:
            raise no_explanation(f"{self._where} has no {key!r}")
        return value

    def text(self, key: str, default: Any = _MISSING) -> Any:
        """Return a string, or the default."""
        value = self.take(key, default)
        return value if value is default or isinstance(value, str) else self._refuse(key, value, "text")

    def flag(self, key: str, default: Any = _MISSING) -> bool:
        """Return True or False."""
        value = self.take(key, default)
        return value if isinstance(value, bool) else self._refuse(key, value, "true or false")

    def whole(self, key: str, least: int, default: Any = _MISSING) -> int:
        """Return a whole number."""
        value = self.take(key, default)
        # bool is a subclass of int, but true is not a number
        if type(value) is int and least <= value <= LARGEST:
            return value
        return self._refuse(key, value, f"a whole number of {least} or more")

    def number(self, key: str, default: Any = _MISSING) -> float:
        """Return a finite number."""
        return self._number(key, self.take(key, default))

    def numbers(self, key: str, default: Any = _MISSING) -> tuple[float, ...]:
        """Return a list of finite numbers."""
        return tuple(self._number(f"{key}[{i}]", value) for i, value in enumerate(self.list(key, default)))

    def list(self, key: str, default: Any = _MISSING) -> Any:
        """Return a list of values of any type."""
        value = self.take(key, default)
        return value if isinstance(value, (list, tuple)) else self._refuse(key, value, "a list")

    def mapping(self, key: str, default: Any = _MISSING) -> Mapping[str, Any]:
        """Return an object of values of any type; its keys are strings."""
        value = self.take(key, default)
        if not isinstance(value, Mapping):
            self._refuse(key, value, "an object")
        odd = next((name for name in value if not isinstance(name, str)), None)
        if odd is not None:
            self._refuse(f"the key of {key!r}", odd, "text")
        return value

    def numbered(self, key: str) -> dict[str, float]:
        """Return an object of finite numbers."""
        return {name: self._number(f"{key}[{name!r}]", value) for name, value in self.mapping(key).items()}

    def end(self) -> None:
        """Refuse keys that were not read."""
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
    """Return a number for JSON: one of NumPy or torch becomes Python's own.

    Raises:
        InputError: the value is not a number.
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
    """Return whether the value of a file's key ``format`` is that number."""
    return type(value) is int and value == number  # True is 1 to Python


def check_format(values: Any, number: int, kind: str) -> None:
    """Check that values are an object of that format.

    Raises:
        InputError: they are not.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"this is not a textlrp {kind}: an object was expected, not {brief(values)}")
    if not is_format(values.get("format"), number):
        other = values.get("format", "none")
        shown = " ".join(other.split()) if isinstance(other, str) else brief(other)
        raise InputError(f"this has format {shown}, and this version of textlrp reads {kind}s of format {number}")


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with their digest at the end.

    Raises:
        NonFiniteError: a NaN or an infinity is among them, which JSON cannot hold.
    """
    return {**values, DIGEST: digest(values)}


def digest(values: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hexadecimal digits, of all values but the digest itself.

    It is computed from their JSON with sorted keys, without spaces and in ASCII; a number without a fraction is written
    as a whole one, so that a program may rewrite 1.0 as 1.

    Raises:
        NonFiniteError: a NaN or an infinity is among the values.
    """
    sha = hashlib.sha256()
    try:
        for piece in _pieces({key: value for key, value in values.items() if key != DIGEST}):
            sha.update(piece.encode())
    except ValueError:
        raise _not_finite() from None
    return sha.hexdigest()


def _pieces(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the JSON of an object piece by piece, and of its lists member by member: a long text has many."""
    yield "{"
    for i, key in enumerate(sorted(values)):
        yield f"{',' if i else ''}{_ENCODER.encode(key)}:"
        if isinstance(values[key], (list, tuple)):
            yield "["
            for j, member in enumerate(values[key]):
                yield f"{',' if j else ''}{_ENCODER.encode(_spelled(member))}"
            yield "]"
        else:
            yield _ENCODER.encode(_spelled(values[key]))
    yield "}"


def check_digest(values: Mapping[str, Any], name: str) -> None:
    """Check the digest of values, if they have one.

    Raises:
        InputError: the values, or their digest, were changed after textlrp wrote them.
    """
    if DIGEST in values and values[DIGEST] != (expected := digest(values)):
        raise InputError(
            f"this {name} was changed after textlrp wrote it: its digest is {shown(values[DIGEST])}, and its values "
            f"have {expected[:12]}...; explain the text again, or take the file as it was"
        )


def _spelled(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        # -0.0 stays a float: as 0, it would lose its sign
        return int(value) if value.is_integer() and (value or math.copysign(1.0, value) > 0) else value
    if kind is str or kind is int:
        return value
    if kind is dict or isinstance(value, Mapping):
        return {key: _spelled(member) for key, member in value.items()}
    return [_spelled(member) for member in value] if isinstance(value, (list, tuple)) else value


def sealed_page(html: str) -> str:
    """Return a page with the digest of all of it in a comment at its end."""
    return f"{html}<!-- digest {_page_digest(html)} -->\n"


def is_as_written(html: str) -> bool:
    """Return whether a page fits its digest, or has none; line ends may differ."""
    seal = _SEAL.search(html)
    return seal is None or seal[1] == _page_digest(html[: seal.start()])


def _page_digest(html: str) -> str:
    return hashlib.sha256(html.replace("\r\n", "\n").encode()).hexdigest()
