"""Every exception that textlrp raises, one sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class LRPError(Exception):
    """The base of every exception that textlrp raises.

    They can be copied, and sent from one process to another, with class, message and attributes: Python's own way calls
    the class with the message alone, which fails where a class takes other arguments.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args), self.__dict__


class InputError(LRPError, ValueError):
    """A text, a label or an option cannot be used as given."""


class FileError(InputError):
    """A file cannot be written: the disk is full, the name is too long, the folder gives no right to."""


class ModelError(LRPError):
    """A model or tokenizer cannot be loaded, or is no text classifier."""


class AlignmentError(LRPError):
    """A tokenizer without offsets produced tokens that cannot be found again in the text."""


class UnsupportedOperationError(LRPError):
    """The model runs an operation that no rule covers, so its relevance cannot be accounted for."""


class UnbalancedLedgerError(LRPError):
    """The rows of a ledger do not add up to the logit within the tolerance of the dtype."""


class NonFiniteError(LRPError):
    """A NaN or an infinity turned up in the forward or the backward pass."""


class CorpusError(LRPError):
    """A corpus file is missing, malformed, or disagrees with itself."""


class BatchError(LRPError):
    """Some texts of a batch cannot be explained.

    Attributes:
        errors: by the index of the text, why it is not explained.
        explanations: one for each text, in order, None where there is none; empty where the texts were found
            unusable before the model ran.
    """

    def __init__(self, errors: Mapping[int, LRPError], count: int, explanations: Sequence[Any] = ()) -> None:
        self.errors = dict(errors)
        self.explanations = list(explanations)
        listed = [f"texts[{i}]: {error}" for i, error in list(self.errors.items())[:3]]
        more = [f"and {len(self.errors) - 3} more"] if len(self.errors) > 3 else []
        super().__init__(
            f"{len(self.errors)} of {count} texts cannot be explained ({'; '.join([*listed, *more])}); "
            f"errors='return' gives the others, with the errors in their places"
        )


#: The most characters of what an error of another library says.
_SAID = 300


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says that is not blank, or an empty one."""
    return next((line.strip() for line in _spoken(error).splitlines() if line.strip()), "")


def said(error: BaseException) -> str:
    """Return what another library's error is and says, on one line, cut where it is very long."""
    first = first_line(error)
    whole = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return whole if len(whole) <= _SAID else whole[: _SAID - 3] + "..."


def fails(error: BaseException) -> bool:
    """Whether an error is a failure, and neither an interrupt nor an end that somebody wants.

    A panic of a library that is written in Rust, such as tokenizers, is one; Python does not call it an Exception.
    """
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


#: How torch says, in a RuntimeError, that a system or an accelerator gives no more memory.
_REFUSED = ("not enough memory", "can't allocate memory", "out of memory")


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there was no memory left."""
    if isinstance(error, RuntimeError):
        return any(each in _spoken(error) for each in _REFUSED)
    return isinstance(error, MemoryError)


def _spoken(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # it is somebody else's, and may fail at that
        return ""


def _rebuilt(kind: type[LRPError], args: tuple[Any, ...]) -> LRPError:
    """Return an error as it was, without calling ``__init__``; its attributes are set by who calls this."""
    return kind.__new__(kind, *args)
