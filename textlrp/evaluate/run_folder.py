"""The folder of an evaluation: its plan, and one line for each result.

``run.json`` holds the plan: options, fingerprints of models and data, versions. ``results.jsonl`` gets one line for
each model, corpus, method and document, on disk before the next one begins, so that a stopped run can go on. Neither
holds a text or a path. Needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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

#: The model, corpus, method and document of a result.
Key = tuple[str, str, str, str]

#: The key of a failure of the method itself, which leaves nothing to measure.
SCORES = "scores"


@dataclass(frozen=True)
class EvaluationPlan:
    """The plan of an evaluation. Runs with equal plans give equal results, except for times.

    Attributes:
        methods: names of the methods; the others are compared with the first.
        perturb: how tokens are removed: ``"mask"``, ``"delete"``, ``"zero"``, ``"replace"``.
        by: the units that are removed: ``"token"`` or ``"word"``.
        steps: the most steps of a curve.
        measures: ``"faithfulness"``, ``"plausibility"``.
        limit: the most documents of each corpus, or None.
        seed: of everything random.
        rules: fingerprints of rules files among the methods, by the method's name.
        models: the facts of each model: name, fingerprint, ...
        corpora: the facts of each corpus: name, fingerprint, documents, ...
        versions: of the libraries that computed it.
        machine: device and threads where it began; ignored when plans are compared.
        references: what methods of difference rules measure from, by the name of the method; models may differ.
        background: the most documents of a corpus whose tokens replace others, and the draws from them; empty if no
            perturbation or method needs them.
        limit_costly: the most documents of each corpus for costly methods, or None.
        label_map: what labels of the corpora mean, by the label, as the user says.
        readings: how labels of the corpora were read as those of the models, a sentence each.
        costly: the costly methods of each corpus that has more documents than that, by its name; as the run was begun.
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
    references: Mapping[str, str] = field(default_factory=dict)
    background: Mapping[str, int] = field(default_factory=dict)
    steps: int = 20
    limit_costly: int | None = None
    label_map: Mapping[str, str] = field(default_factory=dict)
    readings: Sequence[str] = field(default=(), compare=False)
    costly: Mapping[str, Sequence[str]] = field(default_factory=dict, compare=False)

    def planned(self, corpus: Mapping[str, Any], method: str) -> int:
        """Return on how many documents of a corpus, one of :attr:`corpora`, a method is measured."""
        documents: int = corpus["documents"]
        if self.limit_costly is None or method not in self.costly.get(corpus["name"], ()):
            return documents
        return min(documents, self.limit_costly)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready values."""
        return {"textlrp": "evaluation", "format": _FORMAT, **json.loads(json.dumps(asdict(self)))}

    @classmethod
    def from_dict(cls, values: Any) -> EvaluationPlan:
        """Rebuild a plan from :meth:`to_dict`.

        Raises:
            InputError: the values are not a plan that this version reads.
        """
        if not isinstance(values, dict) or (values.get("textlrp"), values.get("format")) != ("evaluation", _FORMAT):
            raise InputError(f"this is not an evaluation of format {_FORMAT}, which this version of textlrp reads")
        try:
            fields = {key: value for key, value in values.items() if key not in ("textlrp", "format")}
            for key in ("methods", "perturb", "measures", "models", "corpora"):
                fields[key] = tuple(fields[key])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise InputError(f"this is not an evaluation by textlrp, or it was changed: {error}") from None


@dataclass(frozen=True)
class Result:
    """The measures of one method on one document for one model.

    Attributes:
        model, corpus, method, document: their names, and the document's id.
        target: the explained label.
        right: whether the data give that label; None if they give none.
        forwards: the cost in forward passes; None if the method failed.
        seconds: the time that the method took, without measuring.
        faithfulness: the measures of faithfulness, by perturbation.
        plausibility: the measures against marked words, by name; empty if none are marked for the target.
        failures: the reason for each failure, by perturbation, or :data:`SCORES` if the method failed.
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
        """The key of the result."""
        return self.model, self.corpus, self.method, self.document


def read(folder: Path) -> tuple[EvaluationPlan, tuple[Result, ...]]:
    """Return the plan of a run and its results, even if it is not finished.

    Raises:
        InputError: the folder holds no run, or a file in it cannot be read.
    """
    return EvaluationPlan.from_dict(read_json(folder / RUN)), tuple(_results(folder / RESULTS))


def _results(path: Path) -> Iterator[Result]:
    """Yield the results of whole lines; a line without a newline is left of a killed process."""
    for number, line, whole in read_lines(path):
        if not whole:
            return
        try:
            yield Result(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise InputError(f"{str(path)!r}, line {number} is not a result: {error}") from None


class Log:
    """The results of a run, in memory and in its folder, if it has one; used in a ``with`` block.

    Args:
        plan: the plan of the run.
        folder: the folder for the results, or None.

    Raises:
        InputError: the folder cannot be used, or holds another run; the message names the difference.
        LRPError: the folder cannot be written to.
    """

    def __init__(self, plan: EvaluationPlan, folder: Path | None) -> None:
        self.plan = plan
        self.results: dict[Key, Result] = {}
        self._folder = folder
        # Every result is written at once: measuring takes longer than writing.
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
        """Add a result; when this returns, it survives the end of the process.

        Raises:
            LRPError: it cannot be written; earlier results stay.
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
    """Return the plan kept in the folder, if it equals the requested one."""
    asked = EvaluationPlan.from_dict(asked.to_dict())
    differences = (_difference(name, getattr(kept, name), getattr(asked, name)) for name in _COMPARED)
    differing = [difference for difference in differences if difference]
    if differing:
        raise InputError(
            f"{str(folder)!r} holds a run with other options or data ({'; '.join(differing)}): run it as it was begun, "
            f"or name another folder"
        )
    return kept


_COMPARED = (
    "models",
    "corpora",
    "methods",
    "rules",
    "perturb",
    "by",
    "steps",
    "measures",
    "limit",
    "limit_costly",
    "seed",
    "versions",
    "references",
    "background",
)


def _difference(name: str, kept: Any, asked: Any) -> str:
    """Return the difference in words, empty if there is none."""
    if kept == asked:
        return ""
    if name in ("models", "corpora"):
        before, now = ({entry["name"]: entry for entry in side} for side in (kept, asked))
        if list(before) == list(now):
            kind = {"models": "the model", "corpora": "the corpus"}[name]
            changed = next(key for key in before if before[key] != now[key])
            counts = [side[changed].get("documents") for side in (before, now)]
            more = f": {counts[0]:,} documents then, {counts[1]:,} now" if counts[0] != counts[1] else ""
            return f"{kind} {changed!r} is not what it was{more}"
        kept, asked = list(before), list(now)
    if isinstance(kept, Mapping):
        key = next(key for key in {**kept, **asked} if kept.get(key) != asked.get(key))
        name, kept, asked = f"{name} of {key}", kept.get(key), asked.get(key)
    return f"{name}: {_listed(kept)} then, {_listed(asked)} now"


def _listed(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
