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

#: What stands where there is no number.
NOTHING = "-"

EXPLAINED = (
    "Numbers are means over documents, 0 to 1; in brackets what as many words chosen at random would get. Token F1 "
    "counts words, IOU F1 spans that overlap by half or more, span F1 spans that are equal. The model's words are "
    "those of the highest relevance for the label, as many as the annotator marked; AUPRC uses all ranks."
)
PEOPLE = (
    "The last two rows say how far the model agrees with a person, and two people with each other, on the same "
    "documents: what can be asked of a model."
)


def render(found: Comparison) -> RenderableType:
    """Return a comparison as rich tables: annotators, labels, words, the model, and what to know."""
    who, model, how_many = headline(found)
    parts: list[RenderableType] = [
        Text(f"{who}{' of ' if model else ''}{model}: {how_many}"),
        rich_table(("annotator", *ANNOTATORS), annotator_rows(found), "annotators"),
    ]
    if found.labels:
        parts.append(rich_table(("annotators", *LABELS), label_rows(found), "agreement on labels"))
    if found.rationales:
        parts.append(rich_table(("annotators", *WORDS), word_rows(found), "agreement on words"))
    parts.append(rich_table(("against", *MODEL), model_rows(found), "the model's words"))
    parts += [Text(note) for note in explained(found)]
    parts += [Text(printable(note), style="bold") for note in found.notes]
    return spaced(parts)


ANNOTATORS = ("documents", "blind", "agree", "disagree", "unsure", "words", "comments", "model right")
LABELS = ("alpha", "kappa", "equal", "documents")
WORDS = ("span F1", "IOU F1", "token F1", "documents")
MODEL = ("token F1", "IOU F1", "AUPRC", "documents", "blind")


def explained(found: Comparison) -> list[str]:
    """Return how to read the numbers."""
    return [EXPLAINED, PEOPLE] if found.everyone is not None else [EXPLAINED]


def headline(found: Comparison) -> tuple[str, str, str]:
    """Return who marked which report, of which model, and how much of it."""
    people = len(found.annotators)
    covered = [f"{count:,} by {number}" for number, count in found.covered if number]
    marked = sum(count for number, count in found.covered if number)
    return (
        f"{people} {'annotator' if people == 1 else 'annotators'} of report {named(found.report[:12])}",
        named(found.model) if found.model else "",
        f"{marked:,} of {found.size:,} documents marked" + (f" ({', '.join(covered)})" if people > 1 else ""),
    )


def annotator_rows(found: Comparison) -> list[tuple[str, ...]]:
    """Return a row for each annotator, and below it one for the documents marked blind where those are some of all."""
    rows: list[tuple[str, ...]] = []
    for each in found.annotators:
        blind = sum(each.blind.values())
        right = f"{each.right} of {each.labeled}" if each.labeled else NOTHING
        verdicts = [f"{each.verdicts[verdict]:,}" for verdict in VERDICTS]
        others = (f"{each.rationales:,}", f"{each.comments:,}", right)
        rows.append((named(each.name), f"{each.documents:,}", f"{blind:,}", *verdicts, *others))
        if 0 < blind < each.documents:
            verdicts = [f"{each.blind[verdict]:,}" for verdict in VERDICTS]
            rows.append(("  blind", f"{blind:,}", f"{blind:,}", *verdicts, *[NOTHING] * 3))
    return rows


def label_rows(found: Comparison) -> list[tuple[str, ...]]:
    """Return a row for all annotators, with alpha, and one for each pair, with kappa."""
    rows: list[tuple[str, ...]] = [("all", number(found.alpha), NOTHING, NOTHING, f"{found.alpha_documents:,}")]
    for pair in found.labels:
        rows.append((together(pair.annotators), NOTHING, number(pair.kappa), number(pair.equal), f"{pair.documents:,}"))
    return rows


def word_rows(found: Comparison) -> list[tuple[str, ...]]:
    """Return a row for each pair, and one for the means where there are several."""
    pairs = [(together(pair.annotators), pair) for pair in found.rationales]
    if found.rationales_mean is not None:
        pairs.insert(0, ("all", found.rationales_mean))
    return [
        (name, number(pair.span_f1), number(pair.iou_f1), number(pair.token_f1), f"{pair.documents:,}")
        for name, pair in pairs
    ]


def model_rows(found: Comparison) -> list[tuple[str, ...]]:
    """Return a row for each annotator, one for the majority, and one for people among each other."""
    rows = [_model_row("majority" if row.against is None else named(row.against), row) for row in found.rows]
    if found.everyone is not None:
        rows.append(_model_row("a person", found.everyone))
        rows.append(("two people", *_measures(found.people, None), *rows[-1][-2:]))
    return rows


def _model_row(name: str, row: ModelRow) -> tuple[str, ...]:
    return (name, *_measures(row.model, row.chance), f"{row.documents:,}", f"{row.blind:,}")


def _measures(own: Plausibility | None, chance: Plausibility | None) -> tuple[str, str, str]:
    pairs = [(own.token_f1, own.iou_f1, own.auprc) if own else (None,) * 3]
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
    """Return two names in one."""
    return " and ".join(map(named, names))
