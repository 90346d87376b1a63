"""A run of many documents that is kept as it comes, knows what made it, and goes on where it was stopped.

The first line of its file says what made it: the model by its fingerprint, the documents by theirs, the options. Each
line behind it is a document with its explanations, or with the reason why it has none (:mod:`textlrp.data.records`). It
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
    """What a run is made from; two runs of one origin have the same explanations, but for rounding.

    Attributes:
        model: what is known of the model: ``name``, ``fingerprint``, ...
        documents: the same of the documents: ``documents`` (how many), ``fingerprint``, ...
        options: how they are explained, by the name of the option; None for the default.
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
            InputError: the values are none that this version reads.
        """
        said = isinstance(values, dict) and values.get("textlrp") == HEADER["textlrp"]
        if not said or not is_format(values.get("format"), FORMAT):
            raise InputError(f"this is no run of format {HEADER['format']}, which this version of textlrp reads")
        fields = {key: values.get(key) for key in ("model", "documents", "options")}
        if not all(isinstance(each, dict) for each in fields.values()):
            raise InputError("this is no run by textlrp, or it was changed: it does not say what made it")
        check_digest(values, "first line")
        return cls(**fields)

    def differences(self, asked: Origin) -> list[str]:
        """Say what is asked for and was not when the run was begun."""
        found = []
        if self.model.get("fingerprint") != asked.model.get("fingerprint"):
            then, now = self.model.get("name"), asked.model.get("name")
            found.append(f"the model {now!r} is not what it was" if then == now else f"model: {then} then, {now} now")
        if self.documents.get("fingerprint") != asked.documents.get("fingerprint"):
            then, now = (each.documents.get("documents") for each in (self, asked))
            found.append(
                "the documents are not what they were" + (f": {then:,} then, {now:,} now" if then != now else "")
            )
        for name in {**self.options, **asked.options}:
            then, now = self.options.get(name), asked.options.get(name)
            if then != now:
                found.append(f"{name}: {_shown(then)} then, {_shown(now)} now")
        return found


class Run:
    """A run in a file; used in a ``with`` block.

    Args:
        path: the file; a device or a pipe is written to, and never read.
        origin: what the run is made from.
        anew: whether what the file holds is removed.

    Raises:
        InputError: the file holds something else, or a run of another origin (the sentence says what differs), or
            another process is writing to it.
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
        """Yield the documents that were there when the run was opened, one by one."""
        if self._lines.regular:
            yield from read_kept(self.path)

    def add(self, document: Record | Failure) -> None:
        """Keep a document; when this returns, it survives the end of the process.

        Raises:
            LRPError: it cannot be written; what was kept before stays.
        """
        self._lines.add(to_line(document))

    def _goes_on(self) -> bool:
        """Whether the file holds a part of this run, all of whose lines are whole from now on; else it can be begun."""
        if not self._lines.regular:
            return False
        _, first, whole = next(read_lines(self.path), (1, b"", False))
        if not whole and (first.startswith(_START) or _START.startswith(first)):
            return False  # there is nothing, or a process died over the first line
        if not first.startswith(_START):
            raise InputError(
                f"{str(self.path)!r} holds no run that says what made it, so it cannot go on: name another file, or "
                f"add --force to replace it"
            )
        found = self._differences(first)
        self._lines.cut()
        if not found:
            return True
        if not any(isinstance(each, Record) for each in read_kept(self.path)):
            return False  # there is nothing to lose
        raise InputError(
            f"{str(self.path)!r} holds a run with other options or data ({'; '.join(found)}): run it as it was begun, "
            f"name another file, or add --force to begin anew"
        )

    def _differences(self, header: bytes) -> list[str]:
        try:
            return Origin.from_dict(json.loads(header)).differences(self._origin)
        except InputError as error:
            raise InputError(f"{str(self.path)!r}, line 1: {error}") from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"{str(self.path)!r}, line 1 is no JSON: {error}") from None


def _shown(value: Any) -> str:
    """Return an option as a user gives it; several labels stand next to each other."""
    if isinstance(value, list):
        return " ".join(map(str, value)) or "the default"
    return "the default" if value is None else str(value)
