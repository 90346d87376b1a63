"""An evaluation as tables for the terminal, and the wording that tables and pages share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from textlrp.basics.characters import printable
from textlrp.evaluate import measures as measured
from textlrp.evaluate.intervals import LEVEL, Interval
from textlrp.evaluate.measures import Measure
from textlrp.evaluate.run_folder import EvaluationPlan
from textlrp.evaluate.summary import MeasureCell, MethodCost, MethodFailure, Section, Summary, Table
from textlrp.render.format import named, percent
from textlrp.render.table import rich_table, spaced

#: Stands for a missing number.
NOTHING = "–"

#: The largest p at which a difference gets a star.
ALPHA = 0.05


def render(summary: Summary) -> RenderableType:
    """Return an evaluation as rich tables: for each model and corpus its measures and costs, then how to read them."""
    parts: list[RenderableType] = []
    for section in summary.sections:
        parts.append(Text(f"{named(section.model)} on {named(section.corpus)}", style="bold"))
        parts.append(Text(facts(section)))
        parts += [shown for table in section.tables for shown in (_first(summary, table), *_others(table))]
        parts.append(_costs(section))
        parts += [Text(failure(failed), style="bold") for failed in section.failures]
    parts += [Text(sentence) for sentence in explained(summary)]
    tables = [table for section in summary.sections for table in section.tables]
    means = [(cell.mean, table) for table in tables for row in table.rows for cell in row.cells.values()]
    if any(mean is not None and mean.count < table.documents for mean, table in means):
        parts.append(Text("A mean or difference over fewer documents than the table has their number in brackets."))
    if len(summary.plan.methods) > 1:
        parts.append(Text(f"A star marks a difference to {named(summary.plan.methods[0])} with p < {ALPHA}."))
    return spaced(parts)


def title(table: Table, plan: EvaluationPlan) -> str:
    """Return the title of a table."""
    if not table.perturb:
        return f"plausibility, {counted(table.documents)} with marked words"
    replacement = f" ({printable(table.replacement)})" if table.replacement else ""
    return f"faithfulness, {plan.by}s {measured.PERTURBATIONS[table.perturb]}{replacement}, {counted(table.documents)}"


def facts(section: Section) -> str:
    """Return the number of documents, measured so far or at all, and how often the model is right."""
    right = (
        f", {percent(section.right / section.labeled)} of {section.labeled:,} labels right" if section.labeled else ""
    )
    if section.missing:
        return f"{section.measured:,} of {counted(section.documents)} so far{right}"
    drawn = f", drawn at random from {section.available:,}" if section.available is not None else ""
    return f"{counted(section.documents)}{drawn}{right}"


def counted(count: int) -> str:
    """Return a number of documents."""
    return f"{count:,} document{'' if count == 1 else 's'}"


def failure(failed: MethodFailure) -> str:
    """Return how often a method failed, and the first reason."""
    how = f", tokens {measured.PERTURBATIONS[failed.perturb]}" if failed.perturb else ""
    subject = f"{named(failed.method)}{how}: {counted(failed.documents)} not measured"
    return f"{subject}; {named(failed.example)}: {printable(failed.reason)}"


def heading(measure: Measure) -> str:
    """Return a measure's name with an arrow in the better direction."""
    return f"{measure.name} {'↑' if measure.more else '↓'}"


def tested(table: Table) -> list[Measure]:
    """Return the measures that tables show."""
    return [measure for measure in table.measures if measure.tested]


def number(value: float) -> str:
    """Return a number with three digits, or three decimals below 1."""
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "\u2212")


def signed(value: float) -> str:
    """Return :func:`number` with its sign."""
    written = number(value)
    return written if written.startswith("\u2212") else f"+{written}"


def interval(ends: Interval) -> str:
    """Return the ends of an interval."""
    return f"{number(ends.low)} to {number(ends.high)}"


def probability(p: float) -> str:
    """Return a p with two or three decimals."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.0995 else f"p = {p:.2f}"


def seconds(value: float) -> str:
    """Return seconds, or milliseconds below one second."""
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.0f} ms" if value >= 0.01 else f"{1000 * value:.1f} ms"


def forwards(value: float) -> str:
    """Return a mean number of forward passes."""
    return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"


def explained(summary: Summary) -> list[str]:
    """Return how to read the numbers, in sentences."""
    plan = summary.plan
    tables = [table for section in summary.sections for table in section.tables]
    sentences = ["This is a part of an evaluation: not every document is measured yet."] if summary.partial else []
    sentences += [
        f"Means over documents with {LEVEL:.0%} bootstrap intervals. ↑: more is better; ↓: less is better. The label "
        f"that the model predicts is explained."
    ]
    if len(plan.methods) > 1:
        first = named(plan.methods[0])
        sentences.append(
            f"“vs {first}” is the difference to {first} on the documents that both have, with its interval, "
            f"and the p of a paired sign-flip test by Holm’s correction for all comparisons of the table."
        )
    for method, reference in plan.references.items():
        sentences.append(f"{named(method)} measures a text from a reference: {named(reference)}.")
    for faithful in (True, False):
        shown = next((table for table in tables if bool(table.perturb) is faithful), None)
        if shown is not None:
            sentences.append("; ".join(f"{measure.name}: {measure.says}" for measure in tested(shown)) + ".")
        if shown is not None and faithful and any(m.partition(":")[0] == "occlusion" for m in plan.methods):
            sentences.append("Occlusion leaves one out, so its tau is 1 where it removes tokens in the same way.")
        if shown is not None and not faithful:
            sentences.append("Marked words count if the model predicts the label that they are reasons for.")
    sentences.append(
        "Forward passes are the cost of a method for one document, a backward pass counted as two; seconds are medians "
        f"on {named(plan.machine.get('device', 'an unknown device'))}."
    )
    return sentences


def command(plan: EvaluationPlan) -> tuple[str, ...]:
    """Return the command that makes an evaluation again, in parts, with models and files by their short names."""
    parts = ["textlrp evaluate"]
    for option, names in (
        ("--model", [model["name"] for model in plan.models if not model.get("built_in")]),
        ("--corpus", [corpus["name"] for corpus in plan.corpora]),
        ("--method", plan.methods),
        ("--perturb", plan.perturb),
    ):
        parts += [shlex.join([option, name]) for name in names]
    parts += [
        f"--by {plan.by}",
        f"--steps {plan.steps}",
        f"--measures {','.join(plan.measures)}",
        f"--seed {plan.seed}",
    ]
    return (*parts, f"--limit {plan.limit or 0}", f"--limit-costly {plan.limit_costly or 0}")


def _first(summary: Summary, shown: Table) -> RichTable:
    """Return the table of the first measure, with intervals and differences."""
    measure, reference = tested(shown)[0], summary.plan.methods[0]
    columns = ["method", heading(measure), "interval"]
    columns += [f"vs {named(reference)}", "interval", "p"] if len(shown.rows) > 1 else []
    rows = []
    for row in shown.rows:
        cell = row.cells[measure.key]
        cells = [named(row.method), *((_mean(cell, shown), _ends(cell.mean)) if cell.mean else (NOTHING, ""))]
        if cell.difference is not None and cell.p is not None:
            p = probability(cell.p).removeprefix("p ").removeprefix("= ")
            fewer = f" ({cell.difference.count:,})" if fewer_pairs(cell) else ""
            cells += [signed(cell.difference.mean) + fewer, _ends(cell.difference), p]
        rows.append(cells)
    return rich_table(columns, rows, title(shown, summary.plan))


def _others(shown: Table) -> list[RichTable]:
    """Return the other measures, four to a table, with intervals below and a star at significant differences."""
    measures = tested(shown)[1:]
    return [_several(shown, measures[i : i + 4]) for i in range(0, len(measures), 4)]


def _several(shown: Table, measures: Sequence[Measure]) -> RichTable:
    rows = []
    for row in shown.rows:
        cells = [Text(named(row.method))]
        for cell in (row.cells[measure.key] for measure in measures):
            if cell.mean is None:
                cells.append(Text(NOTHING))
                continue
            star = "*" if cell.p is not None and cell.p < ALPHA else ""
            cells.append(Text.assemble(_mean(cell, shown) + star, "\n", (_ends(cell.mean), "dim")))
        rows.append(cells)
    return rich_table(["method", *map(heading, measures)], rows)


def fewer_pairs(cell: MeasureCell) -> bool:
    """Return whether a difference is over fewer documents than the mean."""
    return bool(cell.mean and cell.difference and cell.difference.count < cell.mean.count)


def _ends(ends: Interval) -> str:
    return f"{number(ends.low)}, {number(ends.high)}"


def _mean(cell: MeasureCell, table: Table) -> str:
    """Return the mean, with the number of documents if some are missing."""
    assert cell.mean is not None
    fewer = f" ({cell.mean.count:,})" if cell.mean.count < table.documents else ""
    return number(cell.mean.mean) + fewer


def _costs(section: Section) -> RichTable:
    rows = [(named(cost.method), _documents(cost), *cost_cells(cost)) for cost in section.costs]
    return rich_table(("method", "documents", "forward passes", "time"), rows, "cost of a document")


def _documents(cost: MethodCost) -> str:
    """Return how many documents a method scored, and of how many if some are missing."""
    return f"{cost.documents:,}" + (f" of {cost.planned:,}" if cost.documents < cost.planned else "")


def cost_cells(cost: MethodCost) -> tuple[str, str]:
    """Return forward passes and time of a method."""
    if cost.forwards is None or cost.seconds is None:
        return NOTHING, NOTHING
    return forwards(cost.forwards), seconds(cost.seconds)
