"""Turns the results of an evaluation into tables: means with intervals, differences to the first method, costs.

Needs no torch: a summary can be made again from the folder of a run.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textlrp.basics.files import write_whole
from textlrp.evaluate.intervals import Interval, differences, holm, mean_intervals, paired_p
from textlrp.evaluate.measures import FAITHFUL, PLAUSIBILITY, PLAUSIBLE, Measure, score
from textlrp.evaluate.run_folder import SCORES, EvaluationPlan, Result

#: A cell of a table: a method, and the key of a measure.
Place = tuple[str, str]

#: The results of each method, with their values of one group of measures.
Measured = Mapping[str, Sequence[tuple[Result, Mapping[str, Any]]]]

_FORMAT = 1

#: The shares of a text at which mean curves are given.
SHARES = tuple(i / 20 for i in range(21))


@dataclass(frozen=True)
class MeasureCell:
    """One measure of one method.

    Attributes:
        mean: over the documents for which it is defined, with its interval; None without any.
        difference: the method minus the first method, over the documents of both; None for the first.
        p: of that difference, corrected for all comparisons of the table; None if it is not tested.
    """

    mean: Interval | None
    difference: Interval | None = None
    p: float | None = None


@dataclass(frozen=True)
class MethodRow:
    """One method in a table.

    Attributes:
        method: its name.
        cells: by the key of the measure.
        morf, lerf: the mean change of the logit at :data:`SHARES` of the text removed; empty without curves.
    """

    method: str
    cells: Mapping[str, MeasureCell]
    morf: tuple[float, ...] = ()
    lerf: tuple[float, ...] = ()


@dataclass(frozen=True)
class Table:
    """The methods by one group of measures.

    Attributes:
        perturb: how tokens are removed; empty for plausibility.
        replacement: the token that replaces others, empty if none does.
        documents: how many documents count for at least one method.
        comparisons: the number of comparisons that each p is corrected for.
        rows: the methods in the order of the plan.
    """

    perturb: str
    replacement: str
    documents: int
    comparisons: int
    rows: tuple[MethodRow, ...]

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures of every row, those that tables show first."""
        return FAITHFUL if self.perturb else PLAUSIBLE


@dataclass(frozen=True)
class MethodCost:
    """The cost of a method for a document.

    Attributes:
        method: its name.
        forwards: the mean number of forward passes; None if no document has a cost.
        seconds: the median; None if no document has a cost.
        documents: how many documents the method scored.
        planned: how many it is to score.
    """

    method: str
    forwards: float | None
    seconds: float | None
    documents: int
    planned: int


@dataclass(frozen=True)
class MethodFailure:
    """How often a method failed (with ``perturb``, under that perturbation only), and the first reason."""

    method: str
    perturb: str
    documents: int
    example: str
    reason: str


@dataclass(frozen=True)
class Section:
    """One model on one corpus.

    Attributes:
        model, corpus: their names.
        documents: how many the corpus has.
        measured: for how many of them all methods are measured, but for costly ones if they have a limit of their own.
        missing: how many results there are to come; a finished run has none.
        available: how many documents there are of which the corpus is a random sample; None if it is no sample.
        right, labeled: how many documents have labels, and for how many of them the model predicts one.
        tables: one for each perturbation, and one for plausibility if words are marked.
        costs: one for each method.
        failures: the failures of methods.
    """

    model: str
    corpus: str
    documents: int
    measured: int
    missing: int
    available: int | None
    right: int
    labeled: int
    tables: tuple[Table, ...]
    costs: tuple[MethodCost, ...]
    failures: tuple[MethodFailure, ...]


@dataclass(frozen=True)
class Summary:
    """An evaluation: its plan, and a section for each model and corpus."""

    plan: EvaluationPlan
    sections: tuple[Section, ...]

    @property
    def partial(self) -> bool:
        """Whether there are results to come."""
        return any(section.missing for section in self.sections)

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as JSON-ready values."""
        plan = self.plan.to_dict()
        return {
            "textlrp": "evaluation table",
            "format": _FORMAT,
            "partial": self.partial,
            "plan": {key: value for key, value in plan.items() if key not in ("textlrp", "format")},
            "sections": [asdict(section) for section in self.sections],
        }

    def to_json(self, path: Path | None = None) -> str:
        """Return the evaluation as JSON, and write it to ``path`` if one is given."""
        written = json.dumps(self.to_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
        if path is not None:
            write_whole(path, written)
        return written


def summarize(plan: EvaluationPlan, results: Iterable[Result]) -> Summary:
    """Return the tables of an evaluation.

    Args:
        plan: the plan of the evaluation.
        results: its results, in any order; missing ones count as not measured.
    """
    sections: dict[tuple[str, str], dict[str, dict[str, Result]]] = {}
    for result in results:
        by_method = sections.setdefault((result.model, result.corpus), {})
        by_method.setdefault(result.method, {})[result.document] = result
    return Summary(
        plan,
        tuple(
            _section(plan, model["name"], corpus, sections.get((model["name"], corpus["name"]), {}))
            for model in plan.models
            for corpus in plan.corpora
        ),
    )


def _section(
    plan: EvaluationPlan, model: str, corpus: Mapping[str, Any], by_method: dict[str, dict[str, Result]]
) -> Section:
    # In the order of ids, so that stopping and resuming a run changes nothing.
    results = {method: [result for _, result in sorted(by_method.get(method, {}).items())] for method in plan.methods}
    tables = []
    for perturb in plan.perturb:
        tables.append(
            _table(plan, perturb, {m: [(r, r.faithfulness.get(perturb, {})) for r in results[m]] for m in results})
        )
    if PLAUSIBILITY in plan.measures and any(result.plausibility for m in results for result in results[m]):
        tables.append(_table(plan, "", {m: [(r, r.plausibility) for r in results[m]] for m in results}))
    planned = {method: plan.planned(corpus, method) for method in results}
    most = max(planned.values())
    right = {r.document: r.right for of_method in results.values() for r in of_method if r.right is not None}
    return Section(
        model,
        corpus["name"],
        corpus["documents"],
        min(len(results[method]) for method, number in planned.items() if number == most),
        sum(number - len(results[method]) for method, number in planned.items()),
        corpus.get("available"),
        sum(right.values()),
        len(right),
        tuple(tables),
        tuple(_cost(method, results[method], planned[method]) for method in results),
        tuple(failure for method in results for failure in _failures(method, results[method])),
    )


def _table(plan: EvaluationPlan, perturb: str, measured: Measured) -> Table:
    measures = FAITHFUL if perturb else PLAUSIBLE
    values = {
        (method, measure.key): {
            result.document: value for result, numbers in of_method if (value := score(numbers, measure)) is not None
        }
        for method, of_method in measured.items()
        for measure in measures
    }
    first, *others = plan.methods
    pairs = {
        (method, measure.key): pair
        for method in others
        for measure in measures
        if (pair := _paired(values[method, measure.key], values[first, measure.key]))[0]
    }
    means = _intervals({place: list(column.values()) for place, column in values.items() if column}, plan.seed)
    gains = _intervals({place: differences(*pair) for place, pair in pairs.items()}, plan.seed)
    tested = [(method, measure.key) for method in others for measure in measures if measure.tested]
    tested = [place for place in tested if place in pairs]
    corrected = dict(zip(tested, holm([paired_p(*pairs[place], plan.seed) for place in tested]), strict=True))
    rows = []
    for method in plan.methods:
        places = {measure.key: (method, measure.key) for measure in measures}
        cells = {key: MeasureCell(means.get(at), gains.get(at), corrected.get(at)) for key, at in places.items()}
        curves = _curves([numbers for _, numbers in measured[method] if numbers] if perturb else [])
        rows.append(MethodRow(method, cells, *curves))
    counted = {result.document for of_method in measured.values() for result, numbers in of_method if numbers}
    replacements = [n["replacement"] for of_method in measured.values() for _, n in of_method if n.get("replacement")]
    return Table(perturb, replacements[0] if replacements else "", len(counted), len(tested), tuple(rows))


def _paired(column: Mapping[str, float], reference: Mapping[str, float]) -> tuple[list[float], list[float]]:
    common = [document for document in column if document in reference]
    return [column[document] for document in common], [reference[document] for document in common]


def _intervals(columns: Mapping[Place, Sequence[float]], seed: int) -> dict[Place, Interval]:
    return dict(zip(columns, mean_intervals(list(columns.values()), seed), strict=True))


def _curves(documents: Sequence[Mapping[str, Any]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean curves, MoRF and LeRF, of documents with any number of steps."""
    if not documents:
        return (), ()
    means = []
    for name in ("morf", "lerf"):
        curves = [np.interp(SHARES, d[name]["shares"], d[name]["logits"]) - d["logit"] for d in documents]
        means.append(tuple(float(value) for value in np.mean(curves, axis=0)))
    return means[0], means[1]


def _cost(method: str, results: Sequence[Result], planned: int) -> MethodCost:
    done = [r for r in results if r.forwards is not None and r.seconds is not None]
    if not done:
        return MethodCost(method, None, None, 0, planned)
    return MethodCost(
        method,
        statistics.fmean(r.forwards or 0.0 for r in done),
        statistics.median(r.seconds or 0.0 for r in done),
        len(done),
        planned,
    )


def _failures(method: str, results: Sequence[Result]) -> list[MethodFailure]:
    failures = []
    kinds = Counter(kind for result in results for kind in result.failures)
    for kind, count in sorted(kinds.items()):
        example = next(result for result in results if kind in result.failures)
        perturb = "" if kind == SCORES else kind
        failures.append(MethodFailure(method, perturb, count, example.document, example.failures[kind]))
    return failures
