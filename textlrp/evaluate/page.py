"""An evaluation as one page: curves, intervals on a common scale, and the command that makes it again.

The page loads nothing and runs no script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from markupsafe import Markup

from textlrp.basics.version import __version__
from textlrp.evaluate import table as evaluation_table
from textlrp.evaluate.intervals import Interval
from textlrp.evaluate.measures import Measure
from textlrp.evaluate.summary import SHARES, MeasureCell, MethodRow, Section, Summary, Table
from textlrp.render import html

#: The size of a plot of curves and its margins, in pixels.
_WIDTH, _HEIGHT = 236, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 8, 10, 24

#: The size of a plot of one interval.
_BAR_WIDTH, _BAR_HEIGHT = 120, 18


@dataclass(frozen=True)
class Scale:
    """Maps numbers to pixels.

    Attributes:
        low, high: the ends of the numbers, which differ.
        start, end: the pixels of both ends.
        ticks: round numbers between the ends.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        """Return the pixel of a number, to a tenth."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1) + 0.0

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, count: int = 4) -> Scale:
        """Return a scale from zero over all values, with about ``count`` ticks."""
        low, high = min(0.0, *values), max(0.0, *values)
        if low == high:
            high = low + 1
        step = _round_step((high - low) / count)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        ticks = tuple(round(i * step, 10) + 0.0 for i in range(first, last + 1))
        return cls(ticks[0], ticks[-1], start, end, ticks)


@dataclass(frozen=True)
class Plot:
    """The curves of one method as SVG.

    Attributes:
        method: its name.
        says: a description for screen readers.
        morf, lerf: the points of the lines.
        between: the outline of the area between them.
        reference_morf, reference_lerf: the lines of the first method; empty in its own plot.
    """

    method: str
    says: str
    morf: str
    lerf: str
    between: str
    reference_morf: str = ""
    reference_lerf: str = ""


@dataclass(frozen=True)
class CellText:
    """A cell of a table as text: mean and interval, difference and its interval, p, and the direction.

    ``better`` is ``"better"`` or ``"worse"`` if the difference to the first method has a p below 0.05.
    """

    mean: str
    interval: str = ""
    fewer: str = ""
    difference: str = ""
    difference_interval: str = ""
    p: str = ""
    better: str = ""


@dataclass(frozen=True)
class IntervalBar:
    """An interval as SVG: the pixels of its ends, its mean and zero."""

    low: float
    high: float
    mean: float
    zero: float


@dataclass(frozen=True)
class Line:
    """A row of a table: the first measure with its bar, the other measures, the cost."""

    method: str
    first: CellText
    bar: IntervalBar | None
    others: tuple[CellText, ...]
    cost: tuple[str, str]


@dataclass(frozen=True)
class PlottedTable:
    """A table with its plots, ready for the template."""

    key: str
    title: str
    measures: tuple[Measure, ...]
    lines: tuple[Line, ...]
    plots: tuple[Plot, ...]
    down: Scale | None


@dataclass(frozen=True)
class Part:
    """A section with its tables; ``key`` is its number on the page."""

    key: str
    section: Section
    facts: str
    views: tuple[PlottedTable, ...]
    failures: tuple[str, ...]


def page(summary: Summary) -> str:
    """Return the page; the same evaluation gives the same bytes."""
    sheet = _sheet()
    return (
        html.environment()
        .get_template("evaluation.html")
        .render(
            policy=html.policy(sheet),
            sheet=Markup(sheet),
            plan=summary.plan,
            parts=tuple(_part(summary, number, section) for number, section in enumerate(summary.sections, 1)),
            lead=_lead(summary),
            explained=evaluation_table.explained(summary),
            heading=evaluation_table.heading,
            command=evaluation_table.command(summary.plan),
            size=(_WIDTH, _HEIGHT),
            field=(_LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM),
            across=Scale(0.0, 1.0, _LEFT, _WIDTH - _RIGHT, (0.0, 0.5, 1.0)),
            bar_size=(_BAR_WIDTH, _BAR_HEIGHT),
            number=evaluation_table.number,
            version=__version__,
        )
    )


def _lead(summary: Summary) -> str:
    plan = summary.plan
    counts = (
        (len(plan.methods), "method"),
        (len(plan.models), "model"),
        (len(plan.corpora), "corpus"),
    )
    plural = {"corpus": "corpora"}
    listed = [f"{n:,} {noun if n == 1 else plural.get(noun, noun + 's')}" for n, noun in counts]
    documents = sum(corpus["documents"] for corpus in plan.corpora)
    return f"{', '.join(listed[:-1])} and {listed[-1]} of {evaluation_table.counted(documents)}"


def _part(summary: Summary, number: int, section: Section) -> Part:
    views = tuple(_view(summary, section, table, f"{number}-{table.perturb or 'marked'}") for table in section.tables)
    failures = tuple(map(evaluation_table.failure, section.failures))
    return Part(str(number), section, evaluation_table.facts(section), views, failures)


def _view(summary: Summary, section: Section, table: Table, key: str) -> PlottedTable:
    measures = tuple(evaluation_table.tested(table))
    costs = {cost.method: evaluation_table.cost_cells(cost) for cost in section.costs}
    first = measures[0].key
    ends = [end for row in table.rows if (mean := row.cells[first].mean) for end in (mean.low, mean.high)]
    scale = Scale(min([0.0, *ends]), max([0.0, *ends]) or 1.0, 4, _BAR_WIDTH - 4, ())
    lines = tuple(
        Line(
            row.method,
            _entry(row.cells[first], measures[0], table),
            _bar(row.cells[first].mean, scale),
            tuple(_entry(row.cells[measure.key], measure, table) for measure in measures[1:]),
            costs[row.method],
        )
        for row in table.rows
    )
    drawn = [row for row in table.rows if row.morf]
    title = evaluation_table.title(table, summary.plan)
    title = title[0].upper() + title[1:]
    if not drawn:
        return PlottedTable(key, title, measures, lines, (), None)
    down = Scale.over([value for row in drawn for value in (*row.morf, *row.lerf)], _HEIGHT - _BOTTOM, _TOP)
    reference = drawn[0] if drawn[0].method == summary.plan.methods[0] else None
    plots = tuple(_plot(row, None if row is reference else reference, down, first) for row in drawn)
    return PlottedTable(key, title, measures, lines, plots, down)


def _plot(row: MethodRow, reference: MethodRow | None, down: Scale, measure: str) -> Plot:
    across = Scale(0.0, 1.0, _LEFT, _WIDTH - _RIGHT, ())

    def points(values: Sequence[float]) -> list[str]:
        return [f"{across(share):g},{down(value):g}" for share, value in zip(SHARES, values, strict=True)]

    morf, lerf = points(row.morf), points(row.lerf)
    mean = row.cells[measure].mean
    middle = len(SHARES) // 2
    says = (
        f"{row.method}: change of the logit with half of the text removed: "
        f"{evaluation_table.number(row.morf[middle])} the most relevant first, "
        f"{evaluation_table.number(row.lerf[middle])} the least relevant first"
    )
    return Plot(
        row.method,
        says + (f"; area {evaluation_table.number(mean.mean)}" if mean else ""),
        " ".join(morf),
        " ".join(lerf),
        " ".join([*morf, *reversed(lerf)]),
        " ".join(points(reference.morf)) if reference else "",
        " ".join(points(reference.lerf)) if reference else "",
    )


def _bar(interval: Interval | None, scale: Scale) -> IntervalBar | None:
    if interval is None:
        return None
    return IntervalBar(scale(interval.low), scale(interval.high), scale(interval.mean), scale(0.0))


def _entry(cell: MeasureCell, measure: Measure, table: Table) -> CellText:
    if cell.mean is None:
        return CellText(evaluation_table.NOTHING)
    fewer = f"{cell.mean.count:,} of {table.documents:,}" if cell.mean.count < table.documents else ""
    written = CellText(evaluation_table.number(cell.mean.mean), evaluation_table.interval(cell.mean), fewer)
    if cell.difference is None or cell.p is None:
        return written
    better = ""
    if cell.p < evaluation_table.ALPHA:
        better = "better" if (cell.difference.mean > 0) is measure.more else "worse"
    return CellText(
        written.mean,
        written.interval,
        fewer,
        evaluation_table.signed(cell.difference.mean)
        + (f" on {cell.difference.count:,}" if evaluation_table.fewer_pairs(cell) else ""),
        evaluation_table.interval(cell.difference),
        evaluation_table.probability(cell.p),
        better,
    )


def _round_step(step: float) -> float:
    """Return the least of 1, 2 and 5 times a power of ten that is not below a number."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


@cache
def _sheet() -> str:
    return f"{html.themes()}{html.source('evaluation.css')}"
