"""A run of many documents: each is saved at once, and a stopped run continues if its origin is the same.

The first line of its file is the origin: fingerprints of the model and of the documents, and the options. Each further
line is a document with its explanations, or with the reason why it has none (:mod:`textlrp.data.records`). This module
needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from textlrp.basics.lines import Lines, read_lines
from textlrp.data.records import FORMAT, HEADER, Failure, Record, read_kept, to_line
from textlrp.errors import InputError
from textlrp.results.saved import check_digest, is_format, sealed

_START = b'{"textlrp": "run"'  # the first bytes of every header


@dataclass(frozen=True)
class Origin:
    """The origin of a run; two runs of one origin have the same explanations, up to rounding.

    Attributes:
        model: facts of the model: ``name``, ``fingerprint``, ...
        documents: facts of the documents: ``documents`` (their number), ``fingerprint``, ...
        options: the options of the explanations by name; None for the default.
    """

    model: Mapping[str, Any]
    documents: Mapping[str, Any]
    options: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the origin as JSON-ready values."""
        values = {"model": dict(self.model), "documents": dict(self.documents), "options": dict(self.options)}
        return sealed({**HEADER, **json.loads(json.dumps(values, allow_nan=False))})

    @classmethod
    def from_dict(cls, values: Any) -> Origin:
        """Rebuild an origin from :meth:`to_dict`.

        Raises:
            InputError: the values are not an origin, or of another format.
        """
        is_run = isinstance(values, dict) and values.get("textlrp") == HEADER["textlrp"]
        if not is_run or not is_format(values.get("format"), FORMAT):
            raise InputError(f"this is not a run of format {HEADER['format']}, which this version of textlrp reads")
        fields = {key: values.get(key) for key in ("model", "documents", "options")}
        if not all(isinstance(facts, dict) for facts in fields.values()):
            raise InputError("this is not a run by textlrp, or it was changed: its origin is missing")
        check_digest(values, "first line")
        return cls(**fields)

    def differences(self, asked: Origin) -> list[str]:
        """Return a phrase for each difference to the origin that is asked for now."""
        phrases = []
        if self.model.get("fingerprint") != asked.model.get("fingerprint"):
            then, now = self.model.get("name"), asked.model.get("name")
            phrases.append(f"the model {now!r} is not what it was" if then == now else f"model: {then} then, {now} now")
        if self.documents.get("fingerprint") != asked.documents.get("fingerprint"):
            then, now = (origin.documents.get("documents") for origin in (self, asked))
            counts = f": {then:,} then, {now:,} now" if then != now else ""
            phrases.append(f"the documents are not what they were{counts}")
        for name in {**self.options, **asked.options}:
            then, now = self.options.get(name), asked.options.get(name)
            if then != now:
                phrases.append(f"{name}: {_shown(then)} then, {_shown(now)} now")
        return phrases


class Run:
    """A run in a file; used in a ``with`` block.

    Args:
        path: the file; a device or a pipe is written to, and never read.
        origin: the model, the documents and the options.
        anew: whether to clear the file first.

    Raises:
        InputError: the file is not a run, is a run of another origin (the sentence names the differences), or another
            process is writing to it.
        LRPError: it cannot be written.
    """

    def __init__(self, path: Path, origin: Origin, anew: bool = False) -> None:
        self.path, self._anew = path, anew
        self._origin = Origin.from_dict(origin.to_dict())
        self._lines = Lines(path)

    def __enter__(self) -> Run:
        self._lines.__enter__()
        try:
            if self._anew or not self._goes_on():
                self._lines.clear()
                self._lines.add(json.dumps(self._origin.to_dict()))
        except BaseException as error:
            self._lines.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.__exit__(kind, error, trace)

    def kept(self) -> Iterator[Record | Failure]:
        """Yield the documents that the file held when the run was opened, one by one."""
        if self._lines.regular:
            yield from read_kept(self.path)

    def add(self, document: Record | Failure) -> None:
        """Save a document; when this returns, the document survives the end of the process.

        Raises:
            LRPError: it cannot be written; the documents before it stay.
        """
        self._lines.add(to_line(document))

    def _goes_on(self) -> bool:
        """Return whether the file holds a part of this run, after cutting off a torn last line."""
        if not self._lines.regular:
            return False
        _, first, whole = next(read_lines(self.path), (1, b"", False))
        if not whole and (first.startswith(_START) or _START.startswith(first)):
            return False  # the file is empty, or a process died while it wrote the first line
        if not first.startswith(_START):
            raise InputError(
                f"{str(self.path)!r} holds no run with an origin, so it cannot go on: name another file, or add "
                f"--force to replace it"
            )
        differences = self._differences(first)
        self._lines.cut()
        if not differences:
            return True
        if not any(isinstance(document, Record) for document in read_kept(self.path)):
            return False  # there is nothing to lose
        raise InputError(
            f"{str(self.path)!r} holds a run with other options or data ({'; '.join(differences)}): run it as it was "
            f"begun, name another file, or add --force to begin anew"
        )

    def _differences(self, header: bytes) -> list[str]:
        try:
            return Origin.from_dict(json.loads(header)).differences(self._origin)
        except InputError as error:
            raise InputError(f"{str(self.path)!r}, line 1: {error}") from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"{str(self.path)!r}, line 1 is not JSON: {error}") from None


def _shown(value: Any) -> str:
    """Return an option as a user writes it, with several labels side by side."""
    if isinstance(value, list):
        return " ".join(map(str, value)) or "the default"
    return "the default" if value is None else str(value)
