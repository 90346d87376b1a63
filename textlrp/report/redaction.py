"""Hides words of documents before a report is made of them, so that what is hidden is nowhere in its files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import ClassVar

from textlrp.basics.characters import HIDDEN
from textlrp.data.records import Failure, Record
from textlrp.errors import InputError
from textlrp.report.hidden_patterns import Hidden, covered, parse_hidden
from textlrp.report.setup import Setup
from textlrp.results import segmentation
from textlrp.results.explanation import Explanation
from textlrp.results.prompt import Prompt
from textlrp.results.reference import Reference
from textlrp.results.spans import Span

#: By the name of a text in spans: its word boundaries and its sentence boundaries.
Boundaries = Mapping[str, tuple[Sequence[int], Sequence[int]]]

_QUOTES = "'\"`\u2018\u2019\u201c\u201d"


@dataclass(frozen=True, kw_only=True)
class RedactedExplanation(Explanation):
    """An explanation with hidden characters; its words and sentences are those of the text as it was.

    Attributes:
        boundaries: where they end.
    """

    boundaries: Boundaries
    redacted: ClassVar[bool] = True

    def _boundaries(self, source: str, text: str, unit: str) -> Sequence[int]:
        return self.boundaries[source][unit == "sentence"]


class Redaction:
    """Hides words in the documents of one report.

    Args:
        hidden: what is hidden.
    """

    def __init__(self, hidden: Hidden) -> None:
        self._hidden = hidden
        self._count = 0
        self._numbered: set[str] = set()
        self._ids: set[str] = set()
        self._checked: set[str] = set()

    @classmethod
    def parse(cls, written: Sequence[str], names: str | Path | None = None) -> Redaction | None:
        """Return the redaction that the options ``--redact`` and ``--redact-names`` ask for, or None.

        Raises:
            InputError: they cannot be read (:func:`textlrp.report.hidden_patterns.parse_hidden`).
        """
        hidden = parse_hidden(written, names)
        return None if hidden is None else cls(hidden)

    def title(self, title: str) -> str:
        """Return a title with a block for each hidden character."""
        return self._hidden.cover(title)

    def check_file(self, path: Path) -> None:
        """Refuse a file whose name has what is hidden; numbers may be in it.

        Raises:
            InputError: it has.
        """
        if self._hidden.cover(path.name, digits=False) != path.name:
            raise InputError(f"the name of {str(path)!r} has what --redact hides: name another file")

    def check_setup(self, setup: Setup) -> None:
        """Refuse guidelines, reasons, names and marks that have what is hidden; marks hold whole texts.

        Raises:
            InputError: one of them has.
        """
        if setup.marks:
            raise InputError("--marks puts the texts of documents into the report, which --redact hides: leave one out")
        for values, option in (
            ((setup.guidelines,), "--guidelines"),
            (setup.reasons, "--reasons"),
            (setup.annotators, "--annotators"),
        ):
            if any(self._hidden.cover(value, digits=False) != value for value in values):
                raise InputError(f"{option} has what --redact hides: change it")

    def documents(self, documents: Iterable[Record | Failure]) -> Iterator[Record | Failure]:
        """Yield documents with blocks for hidden characters, and failures with their reasons alike.

        Raises:
            InputError: a label has what is hidden.
        """
        for document in documents:
            yield self.failure(document) if isinstance(document, Failure) else self.record(document)

    def record(self, record: Record) -> Record:
        """Return a document with a block for each hidden character; relevances, offsets and marks stay.

        An id that has something hidden is replaced by the number of the document.

        Raises:
            InputError: a label has what is hidden.
        """
        for e in record.explanations:
            self._check_labels([*e.logits, e.predicted, e.target, *([] if e.contrast is None else [e.contrast])])
        self._check_labels([*record.right, *record.given])
        boundaries = _boundaries(record.explanation)
        texts = self._texts(record.explanation, boundaries)
        return replace(
            record,
            id=self._id(record.id, record.explanation, texts),
            explanations=tuple(self._explanation(e, boundaries, texts) for e in record.explanations),
        )

    def failure(self, failure: Failure) -> Failure:
        """Return a failure whose reason has blocks for hidden characters, and for all values that it quotes."""
        reason = failure.reason
        covers = self._hidden.cover(reason)
        quotes = [at for at, char in enumerate(reason) if char in _QUOTES]
        if quotes:
            # A value that was cut has no second quotation mark.
            end = len(reason) if "..." in reason[quotes[0] :] else quotes[-1]
            covers = covered(covers, [(quotes[0] + 1, end)])
        return Failure(self._id(failure.id), covers)

    def explanation(self, e: Explanation) -> RedactedExplanation:
        """Return an explanation with a block for each hidden character.

        Raises:
            InputError: a label has what is hidden.
        """
        self._check_labels([*e.logits, e.predicted, e.target, *([] if e.contrast is None else [e.contrast])])
        boundaries = _boundaries(e)
        return self._explanation(e, boundaries, self._texts(e, boundaries))

    def _texts(self, e: Explanation, boundaries: Boundaries) -> dict[str, str]:
        return {source: self._hidden.cover_document(text, boundaries[source][0]) for source, text, _ in e.texts}

    def _explanation(self, e: Explanation, boundaries: Boundaries, texts: Mapping[str, str]) -> RedactedExplanation:
        given = {source: text for source, text, _ in e.texts}
        changed = {
            "text": texts["text"],
            "text_pair": texts.get("text_pair"),
            "tokens": tuple(_token(span, given[span.source], texts[span.source]) for span in e.tokens),
            "model": self._plain(e.model),
            "revision": self._plain(e.revision),
            "rules": self._plain(e.rules),
            "reference": self._reference(e.reference),
            "prompt": self._prompt(e.prompt),
        }
        kept = {field.name: getattr(e, field.name) for field in fields(Explanation)}
        return RedactedExplanation(**{**kept, **changed}, boundaries=boundaries)

    def _plain(self, name: str) -> str:
        return self._hidden.cover(name, digits=False)

    def _reference(self, reference: Reference | None) -> Reference | None:
        if reference is None:
            return None
        return replace(
            reference, name=self._plain(reference.name), given=tuple(self._plain(value) for value in reference.given)
        )

    def _prompt(self, prompt: Prompt | None) -> Prompt | None:
        if prompt is None:
            return None
        text = self._plain(prompt.text)
        return Prompt(text, tuple(_token(span, prompt.text, text) for span in prompt.tokens))

    def _id(self, identity: str, e: Explanation | None = None, texts: Mapping[str, str] | None = None) -> str:
        """Return the id of the next document, or its number in its place."""
        self._count += 1
        secret = self._hidden.cover(identity) != identity
        if e is not None and texts is not None:
            stretches = [stretch for source, text, _ in e.texts for stretch in _hidden_in(text, texts[source])]
            # The shortest words of whole texts are somewhere in every id.
            least = 3 if self._hidden.whole else 1
            secret |= any(len(stretch) >= least and stretch in identity.casefold() for stretch in stretches)
        if not secret and identity not in self._numbered:
            self._ids.add(identity)
            return identity
        number = f"document {self._count}"
        while number in self._ids:
            number += "'"
        self._numbered.add(number)
        self._ids.add(number)
        return number

    def _check_labels(self, labels: Iterable[str]) -> None:
        for label in labels:
            if label not in self._checked and self._hidden.cover(label, digits=False) != label:
                raise InputError(
                    f"the label {label!r} has what --redact hides, and labels are shown: leave it out of what is "
                    f"hidden, or read no labels with --label ''"
                )
            self._checked.add(label)


def _boundaries(e: Explanation) -> Boundaries:
    return {source: (segmentation.words(text), segmentation.sentences(text)) for source, text, _ in e.texts}


def _token(span: Span, before: str, after: str) -> Span:
    if span.special:
        return span
    text = after[span.start : span.end]
    # A token without characters may be a part of a hidden one.
    seen = span.end > span.start and text == before[span.start : span.end]
    return replace(span, text=text, piece=span.piece if seen else HIDDEN * bool(span.piece))


def _hidden_in(before: str, after: str) -> Iterator[str]:
    """Yield the hidden stretches of a text without white space, case folded."""
    stretch: list[str] = []
    for one, other in zip(before, after, strict=True):
        if one != other:
            stretch.append(one)
        elif stretch:
            yield "".join(stretch).casefold()
            stretch = []
    if stretch:
        yield "".join(stretch).casefold()
