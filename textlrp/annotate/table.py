"""A comparison as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from textlrp.annotate.annotations import VERDICTS
from textlrp.annotate.comparison import Comparison, ModelRow
from textlrp.annotate.document import Plausibility
from textlrp.basics.characters import printable
from textlrp.render.format import named
from textlrp.render.table import rich_table, spaced

#: Stands for a missing number.
NOTHING = "-"

EXPLAINED = (
    "Numbers are means over documents, 0 to 1; in brackets, those of as many words chosen at random. Token F1 "
    "counts words, IOU F1 spans that overlap by half or more, span F1 spans that are equal. The model's words are "
    "those of the highest relevance for the label, as many as the annotator marked; AUPRC uses all ranks. Intervals "
    "are of 1,000 draws of documents, with replacement."
)
PEOPLE = (
    "The last two rows compare the model with a person, and two people with each other, on the same documents: a model "
    "cannot be expected to agree more."
)


def render(comparison: Comparison) -> RenderableType:
    """Return a comparison as rich tables: annotators, labels, words, the model, and notes."""
    who, model, how_many = headline(comparison)
    parts: list[RenderableType] = [
        Text(f"{who}{' of ' if model else ''}{model}: {how_many}"),
        rich_table(("annotator", *ANNOTATORS), annotator_rows(comparison), "annotators"),
    ]
    if comparison.labels:
        parts.append(rich_table(("annotators", *LABELS), label_rows(comparison), "agreement on labels"))
    if comparison.rationales:
        parts.append(rich_table(("annotators", *WORDS), word_rows(comparison), "agreement on words"))
    parts.append(rich_table(("against", *MODEL), model_rows(comparison), "the model's words"))
    if comparison.against:
        rows = model_rows(comparison, against=True)
        parts.append(rich_table(("against", *MODEL), rows, "the model's words against the label"))
    if comparison.intervals:
        parts.append(rich_table(("annotators", *INTERVALS), interval_rows(comparison), "95 % intervals"))
    parts += [Text(note) for note in explained(comparison)]
    parts += [Text(printable(note), style="bold") for note in comparison.notes]
    return spaced(parts)


ANNOTATORS = ("documents", "blind", "agree", "disagree", "unsure", "words", "comments", "model right")
LABELS = ("alpha", "kappa", "equal", "documents")
WORDS = ("span F1", "IOU F1", "token F1", "documents")
INTERVALS = ("measure", "from", "to")
MODEL = ("token F1", "IOU F1", "AUPRC", "documents", "blind")


def explained(comparison: Comparison) -> list[str]:
    """Return sentences that explain the numbers."""
    return [EXPLAINED, PEOPLE] if comparison.everyone is not None else [EXPLAINED]


def headline(comparison: Comparison) -> tuple[str, str, str]:
    """Return the number of annotators and the report, the model, and how many documents are marked."""
    people = len(comparison.annotators)
    covered = [f"{count:,} by {number}" for number, count in comparison.covered if number]
    marked = sum(count for number, count in comparison.covered if number)
    return (
        f"{people} {'annotator' if people == 1 else 'annotators'} of report {named(comparison.report[:12])}",
        named(comparison.model) if comparison.model else "",
        f"{marked:,} of {comparison.size:,} documents marked" + (f" ({', '.join(covered)})" if people > 1 else ""),
    )


def annotator_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return a row for each annotator, and below it one for the documents marked blind, if these are some of all."""
    rows: list[tuple[str, ...]] = []
    for a in comparison.annotators:
        blind = sum(a.blind.values())
        right = f"{a.right} of {a.labeled}" if a.labeled else NOTHING
        verdicts = [f"{a.verdicts[verdict]:,}" for verdict in VERDICTS]
        others = (f"{a.rationales:,}", f"{a.comments:,}", right)
        rows.append((named(a.name), f"{a.documents:,}", f"{blind:,}", *verdicts, *others))
        if 0 < blind < a.documents:
            verdicts = [f"{a.blind[verdict]:,}" for verdict in VERDICTS]
            rows.append(("  blind", f"{blind:,}", f"{blind:,}", *verdicts, *[NOTHING] * 3))
    return rows


def label_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return a row for all annotators, with alpha, one for each label of several, and for each pair, with kappa."""
    rows: list[tuple[str, ...]] = [
        ("all", number(comparison.alpha), NOTHING, NOTHING, f"{comparison.alpha_documents:,}")
    ]
    for label, alpha in comparison.alpha_by_label.items():
        rows.append((f"  {named(label)}", number(alpha), NOTHING, NOTHING, f"{comparison.alpha_documents:,}"))
    for pair in comparison.labels:
        rows.append((together(pair.annotators), NOTHING, number(pair.kappa), number(pair.equal), f"{pair.documents:,}"))
    return rows


def word_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return a row for each pair, and one for the means if there are several."""
    pairs = [(together(pair.annotators), pair) for pair in comparison.rationales]
    if comparison.rationales_mean is not None:
        pairs.insert(0, ("all", comparison.rationales_mean))
    return [
        (name, number(pair.span_f1), number(pair.iou_f1), number(pair.token_f1), f"{pair.documents:,}")
        for name, pair in pairs
    ]


def interval_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return a row for each interval."""
    return [
        (together(row.annotators) or "all", row.measure, number(row.low), number(row.high))
        for row in comparison.intervals
    ]


def model_rows(comparison: Comparison, against: bool = False) -> list[tuple[str, ...]]:
    """Return a row for each annotator, one for the majority, and one for pairs of people.

    Args:
        comparison: the comparison.
        against: of words against the label, which have rows of annotators alone.
    """
    if against:
        return [_model_row(named(row.against or ""), row) for row in comparison.against]
    rows = [_model_row("majority" if row.against is None else named(row.against), row) for row in comparison.rows]
    if comparison.everyone is not None:
        rows.append(_model_row("a person", comparison.everyone))
        rows.append(("two people", *_measures(comparison.people, None), *rows[-1][-2:]))
    return rows


def _model_row(name: str, row: ModelRow) -> tuple[str, ...]:
    return (name, *_measures(row.model, row.chance), f"{row.documents:,}", f"{row.blind:,}")


def _measures(model: Plausibility | None, chance: Plausibility | None) -> tuple[str, str, str]:
    pairs = [(model.token_f1, model.iou_f1, model.auprc) if model else (None,) * 3]
    pairs.append((chance.token_f1, chance.iou_f1, chance.auprc) if chance else (None,) * 3)
    first, second, third = (
        number(value) + (f" ({number(random)})" if random is not None else "")
        for value, random in zip(*pairs, strict=True)
    )
    return first, second, third


def number(value: float | None) -> str:
    """Return a number with two decimals, or a dash."""
    return NOTHING if value is None else f"{round(value, 2) + 0.0:.2f}"  # no negative zero


def together(names: Sequence[str]) -> str:
    """Return two names joined by "and"."""
    return " and ".join(map(named, names))
