"""An evaluation as tables for the terminal, and the words that tables and pages share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from textlrp import evaluation_measures as measured
from textlrp.evaluation_log import Plan
from textlrp.evaluation_measures import Measure
from textlrp.evaluation_summary import Cell, Cost, Failure, Row, Section, Summary, Table
from textlrp.intervals import LEVEL, Interval
from textlrp.wording import named, percent

#: What stands where there is no number.
NOTHING = "–"

#: The largest p at which a difference gets a star.
ALPHA = 0.05


def render(summary: Summary) -> RenderableType:
    """Return an evaluation as rich tables: for each model and corpus its measures and costs, then how to read them."""
    parts: list[RenderableType] = []
    for section in summary.sections:
        parts.append(Text(f"{named(section.model)} on {named(section.corpus)}", style="bold"))
        parts.append(Text(facts(section)))
        parts += [_table(summary, table) for table in section.tables]
        parts.append(_costs(section))
        parts += [Text(failure(each), style="bold") for each in section.failures]
    parts += [Text(sentence) for sentence in explained(summary)]
    return Group(*(each for part in parts for each in (part, Text())))


def title(table: Table, plan: Plan) -> str:
    """Return what a table shows."""
    if not table.perturb:
        return f"plausibility, {counted(table.documents)} with marked words"
    stand_in = f" ({table.replacement})" if table.replacement else ""
    return f"faithfulness, {plan.by}s {measured.PERTURBATIONS[table.perturb]}{stand_in}, {counted(table.documents)}"


def facts(section: Section) -> str:
    """Return how many documents there are, and how often the model is right."""
    right = (
        f", {percent(section.right / section.labeled)} of {section.labeled:,} labels right" if section.labeled else ""
    )
    return f"{counted(section.documents)}{right}"


def counted(count: int) -> str:
    """Return a number of documents."""
    return f"{count:,} document{'' if count == 1 else 's'}"


def failure(failed: Failure) -> str:
    """Return what failed how often, and why the first time."""
    how = f", tokens {measured.PERTURBATIONS[failed.perturb]}" if failed.perturb else ""
    return f"{failed.method}{how}: {counted(failed.documents)} not measured; {named(failed.example)}: {failed.reason}"


def heading(measure: Measure) -> str:
    """Return a measure's name with an arrow to where it is better."""
    return f"{measure.name} {'↑' if measure.more else '↓'}"


def tested(table: Table) -> list[Measure]:
    """Return the measures that tables show."""
    return [measure for measure in table.measures if measure.tested]


def number(value: float) -> str:
    """Return a number with three digits, or three decimals where it is less than 1."""
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "\u2212")


def signed(value: float) -> str:
    """Return :func:`number` with its sign."""
    written = number(value)
    return written if written.startswith("\u2212") else f"+{written}"


def interval(found: Interval) -> str:
    """Return the ends of an interval."""
    return f"{number(found.low)} to {number(found.high)}"


def probability(p: float) -> str:
    """Return a p with as many digits as it deserves."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.0995 else f"p = {p:.2f}"


def seconds(value: float) -> str:
    """Return seconds, or milliseconds of less than one."""
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.0f} ms" if value >= 0.01 else f"{1000 * value:.1f} ms"


def forwards(value: float) -> str:
    """Return a mean number of forward passes."""
    return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"


def explained(summary: Summary) -> list[str]:
    """Return how to read the numbers, in sentences."""
    plan = summary.plan
    tables = [table for section in summary.sections for table in section.tables]
    found = [
        f"Means over documents, below them {LEVEL:.0%} bootstrap intervals. ↑: more is better; ↓: less is better. "
        f"The label that the model predicts is explained."
    ]
    if len(plan.methods) > 1:
        found.append(
            f"“vs {plan.methods[0]}” is the difference to {plan.methods[0]} on the documents that both have, with its "
            f"interval, and the p of a paired sign-flip test by Holm’s correction for all comparisons of the table; a "
            f"star marks p < {ALPHA} in the other columns."
        )
    for faithful in (True, False):
        shown = next((table for table in tables if bool(table.perturb) is faithful), None)
        if shown is not None:
            found.append("; ".join(f"{measure.name}: {measure.says}" for measure in tested(shown)) + ".")
        if shown is not None and not faithful:
            found.append("Marked words count where the model predicts the label that they are reasons for.")
    found.append(
        "Forward passes are what a method costs for one document, a backward pass counted as two; seconds are medians "
        f"on {plan.machine.get('device', 'an unknown device')}."
    )
    return found


def command(plan: Plan) -> str:
    """Return the command that makes an evaluation again, with models and files by their short names."""
    parts = ["textlrp", "evaluate"]
    for option, names in (
        ("--model", [model["name"] for model in plan.models if not model.get("built_in")]),
        ("--corpus", [corpus["name"] for corpus in plan.corpora]),
        ("--method", plan.methods),
        ("--perturb", plan.perturb),
    ):
        parts += [part for name in names for part in (option, name)]
    parts += ["--by", plan.by, "--measures", ",".join(plan.measures), "--seed", str(plan.seed)]
    if plan.limit is not None:
        parts += ["--limit", str(plan.limit)]
    return shlex.join(parts)


def _table(summary: Summary, table: Table) -> RichTable:
    measures, reference = tested(table), summary.plan.methods[0]
    made = _grid(title(table, summary.plan), ["method", heading(measures[0])])
    for column in [f"vs {reference}", *(heading(measure) for measure in measures[1:])]:
        made.add_column(column, justify="right")
    for row in table.rows:
        first = row.cells[measures[0].key]
        made.add_row(
            Text(row.method),
            _mean(first, table),
            _difference(first),
            *(_compared(row.cells[measure.key], table) for measure in measures[1:]),
        )
    return made


def _mean(cell: Cell, table: Table) -> Text:
    if cell.mean is None:
        return Text(NOTHING)
    fewer = f" ({cell.mean.count})" if cell.mean.count < table.documents else ""
    return Text.assemble(number(cell.mean.mean) + fewer, "\n", (interval(cell.mean), "dim"))


def _difference(cell: Cell) -> Text:
    if cell.difference is None or cell.p is None:
        return Text("")
    return Text.assemble(
        signed(cell.difference.mean), f", {probability(cell.p)}", "\n", (interval(cell.difference), "dim")
    )


def _compared(cell: Cell, table: Table) -> Text:
    """The mean, with a star where it differs from the first method's at a corrected p of 0.05."""
    first, _, rest = _mean(cell, table).plain.partition("\n")
    star = "*" if cell.p is not None and cell.p < ALPHA else ""
    return Text.assemble(first + star, "\n", (rest, "dim")) if rest else Text(first)


def _costs(section: Section) -> RichTable:
    made = _grid("cost of a document", ["method", "forward passes"])
    made.add_column("time", justify="right", no_wrap=True)
    for cost in section.costs:
        made.add_row(Text(cost.method), *map(Text, cost_cells(cost)))
    return made


def cost_cells(cost: Cost) -> tuple[str, str]:
    """Return forward passes and time of a method."""
    if cost.forwards is None or cost.seconds is None:
        return NOTHING, NOTHING
    return forwards(cost.forwards), seconds(cost.seconds)


def _grid(name: str, columns: Sequence[str]) -> RichTable:
    made = RichTable(
        box=box.SIMPLE_HEAD,
        title=name,
        title_justify="left",
        title_style="bold",
        padding=(0, 0, 0, 1),
        pad_edge=False,
        show_edge=False,
    )
    for i, column in enumerate(columns):
        made.add_column(column, justify="right" if i else "left", overflow="fold", no_wrap=not i)
    return made


def best(rows: Sequence[Row], measure: Measure) -> str | None:
    """Return the method with the best mean, or None where there is none."""
    have = [(cell.mean.mean, row.method) for row in rows if (cell := row.cells[measure.key]).mean is not None]
    if not have:
        return None
    return max(have, key=lambda each: each[0] if measure.more else -each[0])[1]
