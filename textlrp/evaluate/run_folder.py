"""What a run of an evaluation keeps in its folder: a plan, and one line for each result, from the moment it is there.

``run.json`` says what is measured: options, models and data by their fingerprints, versions. ``results.jsonl`` gets
one line for each model, corpus, method and document, on disk before the next one begins, so that a run that was stopped
goes on where it was. Neither holds a text or a path. It needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from textlrp.basics.files import read_json, write_whole
from textlrp.basics.lines import Lines, cannot_write, read_lines
from textlrp.errors import InputError

_FORMAT = 1

#: The files of a run's folder.
RUN, RESULTS = "run.json", "results.jsonl"

#: Which document of which corpus, by which method, of which model.
Key = tuple[str, str, str, str]

#: What a failure is called that leaves nothing to measure.
SCORES = "scores"


@dataclass(frozen=True)
class EvaluationPlan:
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
    def from_dict(cls, values: Any) -> EvaluationPlan:
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


def read(folder: Path) -> tuple[EvaluationPlan, tuple[Result, ...]]:
    """Return the plan of a run and the results that are there, whether it is finished or not.

    Raises:
        InputError: the folder holds no run, or something in it cannot be read.
    """
    return EvaluationPlan.from_dict(read_json(folder / RUN)), tuple(_results(folder / RESULTS))


def _results(path: Path) -> Iterator[Result]:
    """Yield the results of whole lines; what a killed process had begun to write ends without a newline."""
    for number, line, whole in read_lines(path):
        if not whole:
            return
        try:
            yield Result(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise InputError(f"{str(path)!r}, line {number} is no result: {error}") from None


class Log:
    """The results of a run, in memory and in a folder if there is one; used in a ``with`` block.

    Args:
        plan: what is to be measured.
        folder: where the results are kept, or None.

    Raises:
        InputError: the folder cannot be used, or holds another run; the sentence says what differs.
        LRPError: the folder cannot be written to.
    """

    def __init__(self, plan: EvaluationPlan, folder: Path | None) -> None:
        self.plan = plan
        self.results: dict[Key, Result] = {}
        self._folder = folder
        # Each result is on disk before the next one begins: it takes longer to measure than to keep.
        self._lines = None if folder is None else Lines(folder / RESULTS, folder, every=0.0)

    def __enter__(self) -> Log:
        folder, lines = self._folder, self._lines
        if folder is None or lines is None:
            return self
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise cannot_write(folder, error) from None
        lines.__enter__()
        try:
            self._resume(folder, lines)
        except BaseException as error:
            lines.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lines is not None:
            self._lines.__exit__(kind, error, trace)

    def add(self, result: Result) -> None:
        """Keep a result; when this returns, it survives the end of the process.

        Raises:
            LRPError: it cannot be written; what was kept before stays.
        """
        if self._lines is not None:
            self._lines.add(json.dumps(asdict(result), ensure_ascii=True, allow_nan=False))
        self.results[result.key] = result

    def _resume(self, folder: Path, lines: Lines) -> None:
        path = folder / RESULTS
        if not (folder / RUN).exists():
            if path.stat().st_size:
                raise InputError(f"{str(folder)!r} has a {RESULTS} and no {RUN}: name another folder")
            write_whole(folder / RUN, json.dumps(self.plan.to_dict(), indent=2, ensure_ascii=True) + "\n")
            return
        self.plan = _same(EvaluationPlan.from_dict(read_json(folder / RUN)), self.plan, folder)
        self.results = {result.key: result for result in _results(path)}
        lines.cut()


def _same(kept: EvaluationPlan, asked: EvaluationPlan, folder: Path) -> EvaluationPlan:
    """Return the plan of the folder, if it is the one that is asked for."""
    asked = EvaluationPlan.from_dict(asked.to_dict())
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
