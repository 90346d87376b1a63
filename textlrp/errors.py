"""Every exception that textlrp raises, one sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class LRPError(Exception):
    """The base of every exception that textlrp raises.

    They can be copied, and sent from one process to another, with class, message and attributes. Python's default calls
    the class with the message alone, which fails for a class with other arguments.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args), self.__dict__


class InputError(LRPError, ValueError):
    """A text, a label or an option cannot be used as given."""


class FileError(InputError):
    """A file cannot be written: the disk is full, the name is too long, the folder is read-only."""


class ModelError(LRPError):
    """A model or tokenizer cannot be loaded, or the model is not a text classifier."""


class AlignmentError(LRPError):
    """A tokenizer without offsets produced tokens that cannot be located in the text."""


class UnsupportedOperationError(LRPError):
    """The model runs an operation that no rule covers."""


class UnbalancedLedgerError(LRPError):
    """The rows of a ledger do not add up to the logit within the tolerance of the dtype."""


class NonFiniteError(LRPError):
    """A NaN or an infinity turned up in the forward or the backward pass."""


class CorpusError(LRPError):
    """A corpus file is missing, malformed, or disagrees with itself."""


class BatchError(LRPError):
    """Some texts of a batch cannot be explained.

    Attributes:
        errors: the error of each text that is not explained, by its index.
        explanations: one for each text, in order, or None; empty if an error was found before the model ran.
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


#: The most characters of the message of another library's error.
_LONGEST = 300


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that is not blank, or an empty one."""
    return next((line.strip() for line in _message(error).splitlines() if line.strip()), "")


def error_summary(error: BaseException) -> str:
    """Return the class and the first line of another library's error, cut if they are very long."""
    first = first_line(error)
    whole = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return whole if len(whole) <= _LONGEST else whole[: _LONGEST - 3] + "..."


def fails(error: BaseException) -> bool:
    """Return whether an error is a failure, not an interrupt or an exit.

    A panic of a library that is written in Rust, such as tokenizers, is a failure, but not an Exception to Python.
    """
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


#: Phrases of torch's RuntimeErrors when the system or an accelerator runs out of memory.
_REFUSED = ("not enough memory", "can't allocate memory", "out of memory")


def ran_out(error: BaseException) -> bool:
    """Return whether an error means that memory ran out."""
    if isinstance(error, RuntimeError):
        return any(phrase in _message(error) for phrase in _REFUSED)
    return isinstance(error, MemoryError)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # another library's error may fail here
        return ""


def _rebuilt(error_class: type[LRPError], args: tuple[Any, ...]) -> LRPError:
    """Return an error without calling ``__init__``; copy and pickle then set its attributes."""
    return error_class.__new__(error_class, *args)
