"""What a run of an evaluation keeps in its folder: a plan, and one line for each result, from the moment it is there.

``run.json`` says what is measured: options, models and data by their fingerprints, versions. ``results.jsonl`` gets
one line for each model, corpus, method and document, on disk before the next one begins, so that a run that was stopped
goes on where it was. Neither holds a text or a path. It needs no torch.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from textlrp.errors import InputError
from textlrp.files import read_json, write_whole

if sys.platform != "win32":
    import fcntl

_FORMAT = 1

#: The files of a run's folder.
RUN, RESULTS = "run.json", "results.jsonl"

#: Which document of which corpus, by which method, of which model.
Key = tuple[str, str, str, str]

#: What a failure is called that leaves nothing to measure.
SCORES = "scores"


@dataclass(frozen=True)
class Plan:
    """What is measured; two runs with equal plans give equal results, but for the time that they take.

    Attributes:
        methods: the methods by name; the others are compared with the first.
        perturb: how tokens are taken away: ``"mask"``, ``"delete"``, ``"zero"``.
        by: what is taken away at a time: ``"token"`` or ``"word"``.
        measures: ``"faithfulness"``, ``"plausibility"``.
        limit: how many documents of each corpus were taken at most, or None.
        seed: what all that is random depends on.
        rules: fingerprints of the files of rules among the methods, by the method's name.
        models: what is known of each model: name, fingerprint, ...
        corpora: the same of each corpus: name, fingerprint, documents, ...
        versions: versions of the libraries that computed it.
        machine: where it was begun: device and threads; no part of the comparison of plans.
    """

    methods: tuple[str, ...]
    perturb: tuple[str, ...]
    by: str
    measures: tuple[str, ...]
    limit: int | None
    seed: int
    rules: Mapping[str, str]
    models: tuple[Mapping[str, Any], ...]
    corpora: tuple[Mapping[str, Any], ...]
    versions: Mapping[str, str]
    machine: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready values."""
        return {"textlrp": "evaluation", "format": _FORMAT, **json.loads(json.dumps(asdict(self)))}

    @classmethod
    def from_dict(cls, values: Any) -> Plan:
        """Rebuild a plan from :meth:`to_dict`.

        Raises:
            InputError: the values are no plan that this version reads.
        """
        if not isinstance(values, dict) or (values.get("textlrp"), values.get("format")) != ("evaluation", _FORMAT):
            raise InputError(f"this is no evaluation of format {_FORMAT}, which this version of textlrp reads")
        try:
            fields = {key: value for key, value in values.items() if key not in ("textlrp", "format")}
            for key in ("methods", "perturb", "measures", "models", "corpora"):
                fields[key] = tuple(fields[key])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise InputError(f"this is no evaluation by textlrp, or it was changed: {error}") from None


@dataclass(frozen=True)
class Result:
    """What one method made of one document for one model.

    Attributes:
        model, corpus, method, document: which; the document by its id.
        target: the explained label.
        right: whether that is the label that the data gives; None where it gives none.
        forwards: the cost in forward passes; None where the method failed.
        seconds: the time that it took, measuring left out.
        faithfulness: what was measured, by how tokens were taken away.
        plausibility: the measures against the marked words, by name; empty where none are marked for the target.
        failures: why something could not be measured: for :data:`SCORES`, or for one way to take tokens away.
    """

    model: str
    corpus: str
    method: str
    document: str
    target: str = ""
    right: bool | None = None
    forwards: float | None = None
    seconds: float | None = None
    faithfulness: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    plausibility: Mapping[str, float] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Which of all the results this is."""
        return self.model, self.corpus, self.method, self.document


def read(folder: Path) -> tuple[Plan, tuple[Result, ...]]:
    """Return the plan of a run and the results that are there, whether it is finished or not.

    Raises:
        InputError: the folder holds no run, or something in it cannot be read.
    """
    plan = Plan.from_dict(read_json(folder / RUN))
    try:
        written = (folder / RESULTS).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {str(folder / RESULTS)!r}: {error.strerror or error}") from None
    return plan, tuple(_results(written, folder / RESULTS))


def _results(written: bytes, path: Path) -> list[Result]:
    """Return the results of whole lines; what a killed process had begun to write ends without a newline."""
    found = []
    for number, line in enumerate(written[: written.rfind(b"\n") + 1].splitlines(), 1):
        try:
            found.append(Result(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise InputError(f"{str(path)!r}, line {number} is no result: {error}") from None
    return found


class Log:
    """The results of a run, in memory and in a folder if there is one; used in a ``with`` block.

    Args:
        plan: what is to be measured.
        folder: where the results are kept, or None.

    Raises:
        InputError: the folder cannot be used, or holds another run; the sentence says what differs.
    """

    def __init__(self, plan: Plan, folder: Path | None) -> None:
        self.plan = plan
        self.results: dict[Key, Result] = {}
        self._folder = folder
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Log:
        folder = self._folder
        if folder is None:
            return self
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / RESULTS).open("a+b")
        except OSError as error:
            raise InputError(f"cannot write to {str(folder)!r}: {error.strerror or error}") from None
        try:
            self._lock(folder)
            self._resume(folder, self._file)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, result: Result) -> None:
        """Keep a result; when this returns, it survives the end of the process.

        Raises:
            InputError: it cannot be written.
        """
        self.results[result.key] = result
        if self._file is None:
            return
        line = json.dumps(asdict(result), ensure_ascii=True, allow_nan=False) + "\n"
        try:
            self._file.write(line.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise InputError(f"cannot write to {str(self._folder)!r}: {error.strerror or error}") from None

    def _lock(self, folder: Path) -> None:
        """Keep others out as long as the file is open, and not longer, however this process ends."""
        if sys.platform == "win32":
            return
        assert self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another run is writing to {str(folder)!r}: wait, or name another folder") from None
        except OSError:  # a file system without locks
            return

    def _resume(self, folder: Path, file: IO[bytes]) -> None:
        file.seek(0)
        written = file.read()
        if not (folder / RUN).exists():
            if written:
                raise InputError(f"{str(folder)!r} has a {RESULTS} and no {RUN}: name another folder")
            write_whole(folder / RUN, json.dumps(self.plan.to_dict(), indent=2, ensure_ascii=True) + "\n")
            return
        self.plan = _same(Plan.from_dict(read_json(folder / RUN)), self.plan, folder)
        self.results = {result.key: result for result in _results(written, folder / RESULTS)}
        whole = written.rfind(b"\n") + 1
        if whole < len(written):
            file.truncate(whole)


def _same(kept: Plan, asked: Plan, folder: Path) -> Plan:
    """Return the plan of the folder, if it is the one that is asked for."""
    asked = Plan.from_dict(asked.to_dict())
    differing = [_difference(name, getattr(kept, name), getattr(asked, name)) for name in _COMPARED]
    found = [each for each in differing if each]
    if found:
        raise InputError(
            f"{str(folder)!r} holds a run with other options or data ({'; '.join(found)}): run it as it was begun, or "
            f"name another folder"
        )
    return kept


_COMPARED = ("models", "corpora", "methods", "rules", "perturb", "by", "measures", "limit", "seed", "versions")


def _difference(name: str, kept: Any, asked: Any) -> str:
    """Say what differs, or nothing."""
    if kept == asked:
        return ""
    if name in ("models", "corpora"):
        before, now = ({each["name"]: each for each in side} for side in (kept, asked))
        if list(before) == list(now):
            what = {"models": "the model", "corpora": "the corpus"}[name]
            changed = next(key for key in before if before[key] != now[key])
            counts = [side[changed].get("documents") for side in (before, now)]
            more = f": {counts[0]:,} documents then, {counts[1]:,} now" if counts[0] != counts[1] else ""
            return f"{what} {changed!r} is not what it was{more}"
        kept, asked = list(before), list(now)
    if isinstance(kept, Mapping):
        key = next(key for key in {**kept, **asked} if kept.get(key) != asked.get(key))
        name, kept, asked = f"{name} of {key}", kept.get(key), asked.get(key)
    return f"{name}: {_listed(kept)} then, {_listed(asked)} now"


def _listed(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
