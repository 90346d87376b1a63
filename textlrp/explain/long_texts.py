"""Texts that are longer than a model reads: they are cut, read in overlapping windows, or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

from torch import Tensor

from textlrp.basics import options
from textlrp.errors import InputError
from textlrp.explain.batching import PendingDocument
from textlrp.explain.classifier import Classifier
from textlrp.explain.labels import Pick
from textlrp.explain.references import References
from textlrp.text.windows import windows

#: The ways to treat a text that is longer than the model reads.
LONG = ("truncate", "windows", "error")

#: The default number of ids in a window for a model without a limit.
WINDOW = 2048

#: The message for the option ``stride``, which other libraries use in both senses.
NO_STRIDE = (
    "there is no stride: give overlap, the number of ids that neighboring windows share, which Hugging Face calls "
    "stride; if you mean the step from window to window, overlap = window - special tokens - step"
)

Function = TypeVar("Function", bound=Callable[..., Any])


def refuse_stride(function: Function) -> Function:
    """Let a function refuse the option ``stride`` with an explanation, not as an unknown option."""

    @wraps(function)
    def checked(*arguments: Any, **options: Any) -> Any:
        if "stride" in options:
            raise InputError(NO_STRIDE)
        return function(*arguments, **options)

    return cast(Function, checked)


@dataclass(frozen=True)
class Reading:
    """The options for texts that may be longer than the model reads.

    Attributes:
        long: one of :data:`LONG`.
        window: the number of ids to read at once, special tokens included, or None for as many as the model reads.
        overlap: the least number of ids that neighboring windows share, special tokens aside, or None for the default.
    """

    long: str = LONG[0]
    window: int | None = None
    overlap: int | None = None

    def __post_init__(self) -> None:
        options.choice(self.long, LONG, f"long is one of {', '.join(LONG)}")
        if self.window is not None:
            window = options.whole(self.window, "window is a number of ids, 1 or more", 1)
            object.__setattr__(self, "window", window)
        if self.overlap is None:
            return
        if self.long != "windows":
            raise InputError("overlap goes with long='windows'")
        object.__setattr__(self, "overlap", options.whole(self.overlap, "overlap is a number of ids, 0 or more", 0))

    def asked(self) -> dict[str, str | int]:
        """Return the options that are not the defaults."""
        values = {"long": self.long, "window": self.window, "overlap": self.overlap}
        return {key: value for key, value in values.items() if value is not None and value != LONG[0]}

    def limit(self, most: int | None) -> int | None:
        """Return the number of ids to read at once, given the most that the model can read."""
        if self.window is None:
            return most
        if most is not None and self.window > most:
            raise InputError(
                f"window is a number of ids from 1 to {most:,}, the most that the model reads, not {self.window}"
            )
        return self.window

    def document(
        self,
        classifier: Classifier,
        text: str,
        text_pair: str | None,
        choose: Callable[[Tensor], list[Pick]],
        settled: bool,
        references: References | None = None,
    ) -> PendingDocument:
        """Return a text or a pair as a classifier reads it, ready to be explained, with its reference if there is one.

        Raises:
            InputError: the text is too long and must not be cut, it cannot be read at all, or the reference does not
                fit.
            ModelError: the limit leaves no room for it, or the tokenizer takes no pairs.
        """
        limit = self.limit(classifier.limit)
        cut = limit if self.long == "truncate" else None
        encoding = classifier.encode(text, cut, text_pair)
        count = encoding.longest
        parts: Sequence[Sequence[int]] = [range(len(encoding.input_ids))]
        if self.long == "windows":
            parts = windows(classifier.tokenizer, encoding, limit or WINDOW, self.overlap)
        elif limit is not None and count > limit:
            raise InputError(
                f"the text takes {count:,} ids, and {limit:,} are read at once: shorten it, or read it with "
                f"long='windows', or as far as it goes with long='truncate'"
            )
        reference = None if references is None else references.fit(classifier, encoding, cut)
        classifier.check_memory(encoding, max(map(len, parts)), references is not None)
        return PendingDocument(text, text_pair, encoding, parts, choose, settled, reference=reference)
