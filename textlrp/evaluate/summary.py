"""From the results of an evaluation to its tables: means with intervals, differences to the first method, costs.

It needs no torch: a summary can be made again from a run's folder.
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

_FORMAT = 1

#: The shares of a text at which mean curves are given.
SHARES = tuple(i / 20 for i in range(21))


@dataclass(frozen=True)
class MeasureCell:
    """One measure of one method.

    Attributes:
        mean: over the documents that it is defined for, with its interval; None where there is none.
        difference: the method's minus the first method's, over the documents that both have; None for the first.
        p: of that difference, corrected for all comparisons of the table; None where it is not tested.
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
        morf, lerf: mean logits as more and more is taken away, at :data:`SHARES`, as changes from the text as it is;
            empty where there are no curves.
    """

    method: str
    cells: Mapping[str, MeasureCell]
    morf: tuple[float, ...] = ()
    lerf: tuple[float, ...] = ()


@dataclass(frozen=True)
class Table:
    """The methods by one group of measures.

    Attributes:
        perturb: how tokens are taken away; empty for plausibility.
        replacement: the token that stands in the place of others, empty where none does.
        documents: how many documents count for at least one method.
        comparisons: for how many comparisons each p is corrected.
        rows: the methods in the order of the plan.
    """

    perturb: str
    replacement: str
    documents: int
    comparisons: int
    rows: tuple[MethodRow, ...]

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures that every row has, those that tables show first."""
        return FAITHFUL if self.perturb else PLAUSIBLE


@dataclass(frozen=True)
class MethodCost:
    """What a method costs for a document: the mean number of forward passes, the median seconds."""

    method: str
    forwards: float | None
    seconds: float | None
    documents: int


@dataclass(frozen=True)
class MethodFailure:
    """How often a method could not be measured (``perturb``: by one way only), and why the first time."""

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
        right, labeled: on how many of the labeled documents the model predicts their label.
        tables: one for each perturbation, and one for plausibility if there are marked words.
        costs: of each method.
        failures: what could not be measured.
    """

    model: str
    corpus: str
    documents: int
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

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as JSON-ready values."""
        plan = self.plan.to_dict()
        return {
            "textlrp": "evaluation table",
            "format": _FORMAT,
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
        plan: what was measured.
        results: what was found, in any order; what is missing counts as not measured.
    """
    found: dict[tuple[str, str], dict[str, dict[str, Result]]] = {}
    for result in results:
        by_method = found.setdefault((result.model, result.corpus), {})
        by_method.setdefault(result.method, {})[result.document] = result
    return Summary(
        plan,
        tuple(
            _section(plan, model["name"], corpus, found.get((model["name"], corpus["name"]), {}))
            for model in plan.models
            for corpus in plan.corpora
        ),
    )


def _section(
    plan: EvaluationPlan, model: str, corpus: Mapping[str, Any], found: dict[str, dict[str, Result]]
) -> Section:
    # In the order of their ids: whether a run was stopped, or how it was resumed, changes nothing.
    results = {method: [each for _, each in sorted(found.get(method, {}).items())] for method in plan.methods}
    tables = []
    for perturb in plan.perturb:
        tables.append(
            _table(plan, perturb, {m: [(r, r.faithfulness.get(perturb, {})) for r in results[m]] for m in results})
        )
    if PLAUSIBILITY in plan.measures and any(each.plausibility for m in results for each in results[m]):
        tables.append(_table(plan, "", {m: [(r, r.plausibility) for r in results[m]] for m in results}))
    right = {
        each.document: each.right for of_method in results.values() for each in of_method if each.right is not None
    }
    return Section(
        model,
        corpus["name"],
        corpus["documents"],
        sum(right.values()),
        len(right),
        tuple(tables),
        tuple(_cost(method, results[method]) for method in results),
        tuple(failure for method in results for failure in _failures(method, results[method])),
    )


def _table(
    plan: EvaluationPlan, perturb: str, measured: Mapping[str, Sequence[tuple[Result, Mapping[str, Any]]]]
) -> Table:
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
    means = _intervals({place: list(own.values()) for place, own in values.items() if own}, plan.seed)
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
    stand_ins = [n["replacement"] for of_method in measured.values() for _, n in of_method if n.get("replacement")]
    return Table(perturb, stand_ins[0] if stand_ins else "", len(counted), len(tested), tuple(rows))


def _paired(own: Mapping[str, float], reference: Mapping[str, float]) -> tuple[list[float], list[float]]:
    common = [document for document in own if document in reference]
    return [own[document] for document in common], [reference[document] for document in common]


def _intervals(columns: Mapping[Place, Sequence[float]], seed: int) -> dict[Place, Interval]:
    return dict(zip(columns, mean_intervals(list(columns.values()), seed), strict=True))


def _curves(found: Sequence[Mapping[str, Any]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean curves, MoRF and LeRF, of documents with any number of steps."""
    if not found:
        return (), ()
    means = []
    for name in ("morf", "lerf"):
        curves = [np.interp(SHARES, each[name]["shares"], each[name]["logits"]) - each["logit"] for each in found]
        means.append(tuple(float(value) for value in np.mean(curves, axis=0)))
    return means[0], means[1]


def _cost(method: str, results: Sequence[Result]) -> MethodCost:
    done = [each for each in results if each.forwards is not None and each.seconds is not None]
    if not done:
        return MethodCost(method, None, None, 0)
    return MethodCost(
        method,
        statistics.fmean(each.forwards or 0.0 for each in done),
        statistics.median(each.seconds or 0.0 for each in done),
        len(done),
    )


def _failures(method: str, results: Sequence[Result]) -> list[MethodFailure]:
    found = []
    kinds = Counter(kind for each in results for kind in each.failures)
    for kind, count in sorted(kinds.items()):
        example = next(each for each in results if kind in each.failures)
        perturb = "" if kind == SCORES else kind
        found.append(MethodFailure(method, perturb, count, example.document, example.failures[kind]))
    return found
