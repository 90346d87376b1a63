"""Prepares an explanation for its template: pieces of text, rows with bars, facts, and the command that repeats it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from textlrp.basics.characters import printable
from textlrp.render import palette
from textlrp.render.format import number, percent
from textlrp.render.ledger_rows import MEANINGS, about_zero, others
from textlrp.results.graphemes import direction, whole_units
from textlrp.results.ledger import REFERENCE, REFERENCE_PINNED, RESIDUE, Ledger
from textlrp.results.spans import Span, read_range
from textlrp.rules import PRESETS

if TYPE_CHECKING:
    from textlrp.results.explanation import Explanation

# The name of the built-in classifier, which the command line uses without --model.
BUILT_IN = "textlrp demo"

_MOST = 8  # words in each of the two short lists
_LISTED = 200  # rows of the table of all words
_NO_PLACES: Mapping[int, str] = {}
_EXCERPT = 120  # characters of a sentence in a list


class Piece(NamedTuple):
    """A stretch of text, the class of its color, its hint for a pointer and its place, each empty if it has none."""

    text: str
    css: str = ""
    hint: str = ""
    place: str = ""


class Bar(NamedTuple):
    """A bar in a chart of width 200: its start, width and color, and the position of zero."""

    x: float
    width: float
    css: str
    zero: float


class Row(NamedTuple):
    """A row of a table with a bar: its name, its number, a note, the number in full, and the rows folded into it."""

    name: str
    value: str
    bar: Bar
    note: str = ""
    exact: str = ""
    folded: tuple[Row, ...] = ()


class Passage(NamedTuple):
    """A text as it is shown: a title if there are two texts, its direction, a notice if it was cut, and its pieces."""

    title: str
    direction: str
    notice: str
    pieces: Sequence[Piece]


class Unit(NamedTuple):
    """A word in the table of all words; ``text_number`` is 1, or 2 in the second text of a pair."""

    text: str
    value: str
    text_number: int
    start: int


def place(text_number: int, span: Span) -> str:
    """Return the name of a span's place: the number of its text, and its characters ``[start, end)``."""
    return f"{text_number}:{span.start}-{span.end}"


def pieces(
    text: str,
    spans: Sequence[Span],
    strongest: float,
    truncated: tuple[int, int] | None,
    e: Explanation,
    places: Mapping[int, str] = _NO_PLACES,
) -> list[Piece]:
    """Return the whole text in pieces: spans with a color or a place, parts that were not read, and the rest.

    Args:
        text: the text.
        spans: its words, sentences or tokens.
        strongest: the relevance of the strongest color.
        truncated: the characters that were not read, or None.
        e: the explanation.
        places: the place of each span that has one, by its start.
    """
    start, end = read_range(text, truncated)
    shown: list[Piece] = []
    at = 0
    if start > 0:
        shown.append(Piece(text[:start], "unread start"))
        at = start
    for span in spans:
        css = palette.css_class(span.relevance / strongest) if strongest else ""
        # If the cut goes through a character, only the part that was read is colored.
        begin, stop = max(at, span.start), min(max(end, at), span.end)
        name = places.get(span.start, "")
        if not (css or name) or begin >= stop:
            continue
        if begin > at:
            shown.append(Piece(text[at:begin]))
        shown.append(
            Piece(text[begin:stop], css, f"{number(span.relevance, strongest)} {side(e, span.relevance)}", name)
        )
        at = stop
    if end > at:
        shown.append(Piece(text[at:end]))
    if end < len(text):
        shown.append(Piece(text[end:], "unread end"))
    return shown


def around(e: Explanation, strongest: float) -> Passage | None:
    """Return the words around the text, with the colors that words of the text have; None if there are none."""
    if e.prompt is None:
        return None
    text = e.prompt.text
    return Passage("", direction(text), "", pieces(text, whole_units(text, e.prompt.words), strongest, None, e))


def side(e: Explanation, relevance: float) -> str:
    """Say which label a relevance speaks for, or against."""
    if relevance >= 0:
        return f"for {e.target}"
    return f"against {e.target}" if e.contrast is None else f"for {e.contrast}"


def notice(text: str, truncated: tuple[int, int] | None) -> str:
    """Say how much of a text the model read; empty if it read all of it."""
    if truncated is None:
        return ""
    start, end = read_range(text, truncated)
    where = "last" if start > 0 else "first"
    read = f"only the {where} {end - start:,} of {len(text):,} characters" if end > start else "nothing of this text"
    left_out = truncated[1] - truncated[0]
    return (
        f"The text is longer than the model reads: it read {read}. The part in gray "
        f"({_percent(left_out / len(text))}) played no role."
    )


def most(shown_by: dict[str, tuple[Span, ...]], strongest: float) -> tuple[list[Row], list[Row]]:
    """Return the strongest spans for the label, and the strongest against it."""
    lists = []
    spans = [span for spans in shown_by.values() for span in spans]
    for sign in (1, -1):
        ranked = sorted(spans, key=lambda span: -sign * span.relevance)[:_MOST]
        kept = [span for span in ranked if strongest and sign * span.relevance >= palette.THRESHOLD * strongest]
        lists.append(
            [
                Row(excerpt(span.text), number(span.relevance, strongest), bar(abs(span.relevance), 0, strongest, sign))
                for span in kept
            ]
        )
    return lists[0], lists[1]


def listed(shown_by: dict[str, tuple[Span, ...]], strongest: float) -> tuple[list[Unit], int, str]:
    """Return the strongest of all words, the number of the others, and the sum of the others."""
    ranked = [(span, count) for count, spans in enumerate(shown_by.values(), 1) for span in spans if span.relevance]
    ranked.sort(key=lambda pair: -abs(pair[0].relevance))
    rows = [
        Unit(excerpt(span.text), number(span.relevance, strongest), count, span.start)
        for span, count in ranked[:_LISTED]
    ]
    rest = ranked[_LISTED:]
    return rows, len(rest), number(math.fsum(span.relevance for span, _ in rest), strongest)


def excerpt(text: str) -> str:
    """Return a word or a sentence on one line, cut if it is long; white space alone gets a name."""
    line = " ".join(text.split())
    if not line:
        return "(line break)" if "\n" in text or "\r" in text else "(space)"
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + "…"


def bar(value: float, low: float, high: float, sign: float | None = None, start: float = 0.0) -> Bar:
    """Return the bar of a value on an axis from ``low`` to ``high``, which includes 0.

    Args:
        value: its length, from ``start`` on.
        low, high: the ends of the axis.
        sign: decides its color; default: the value.
        start: where it begins.
    """
    width = (high - low) or 1.0
    begin, end = sorted((start, start + value))
    color = "total" if sign == 0 else "for" if (value if sign is None else sign) >= 0 else "against"
    return Bar(
        round((begin - low) / width * 200, 1),
        round((end - begin) / width * 200, 1),
        color,
        round(-low / width * 200, 1),
    )


def ledger_rows(books: Ledger) -> list[Row]:
    """Return the rows of a ledger that are not 0, the residue, and the score that they add up to.

    Rows that are about 0 fold into one, which comes before the residue.

    Without a reference, every bar starts at 0. With one, its own bar does, and each other one where the bar above ends.
    """
    starts = {REFERENCE, REFERENCE_PINNED}
    rows = {heading: value for heading, value in books.items() if value != 0 or heading in (RESIDUE, *starts)}
    small = {heading: rows.pop(heading) for heading in about_zero(books)}
    if small:
        total, is_small = others(small.values(), books)
        residue = rows.pop(RESIDUE)
        rows |= {f"{len(small)} others{', about 0' if is_small else ''}": total, RESIDUE: residue}
    reached = list(accumulate(rows.values())) if starts & rows.keys() else []
    values = (books.logit, *rows.values(), *reached)
    low, high, scale = min(0.0, *values), max(0.0, *values), max(map(abs, values))

    def row(heading: str, value: float, start: float, folded: tuple[Row, ...] = ()) -> Row:
        chart = bar(value, low, high, 0 if heading in starts else None, start)
        return Row(heading, number(value, scale), chart, MEANINGS.get(heading, ""), f"{value:.6g}", folded)

    within = tuple(row(heading, value, 0.0) for heading, value in small.items())
    listed = [
        row(heading, value, end - value, () if heading in MEANINGS else within)
        for (heading, value), end in zip(rows.items(), reached or rows.values(), strict=True)
    ]
    return [*listed, Row("score", number(books.logit, scale), bar(books.logit, low, high, 0), "", f"{books.logit:.6g}")]


def label_rows(e: Explanation) -> list[Row]:
    """Return every label with its probability (or logit, if there are no probabilities), the highest first."""
    scale = max(map(abs, e.logits.values()), default=0.0)
    low, high = min(0.0, *e.logits.values()), max(0.0, *e.logits.values())
    roles = {"chosen" if e.predicted_labels else "highest": e.predicted, "explained": e.target, "contrast": e.contrast}
    rows = []
    for label in sorted(e.logits, key=lambda label: -e.logits[label]):
        logit = number(e.logits[label], scale)
        note = ", ".join(role for role, of in roles.items() if of == label)
        if label in e.probabilities:
            chart = bar(e.probabilities[label], 0, 1, 0)
            rows.append(Row(label, _percent(e.probabilities[label]), chart, note, logit))
        else:
            rows.append(Row(label, logit, bar(e.logits[label], low, high, 0), note, ""))
    return rows


def facts(e: Explanation, by: str) -> list[tuple[str, str]]:
    """Return the names and values that are needed to repeat an explanation."""
    score = f"logit of {printable(e.target)}"
    score += f" minus logit of {printable(e.contrast)}" if e.contrast is not None else ""
    listed = [
        ("Model", e.model or "not recorded"),
        ("Revision", e.revision),
        ("Score explained", score),
        ("Rules", e.rules),
        ("Reference", e.reference.name if e.reference is not None else ""),
        ("Windows", f"{e.windows:,}, overlapping; the scores are their means" if e.windows > 1 else ""),
        ("Reading options", ", ".join(f"{name} {value}" for name, value in e.reading.items() if name != "spans")),
        ("Shown by", by),
        ("Versions", ", ".join(f"{name} {version}" for name, version in e.versions.items())),
    ]
    return [(name, value) for name, value in listed if value]


#: The file that holds the text, in the command that explains it again.
FILE = "text.txt"
_SHORT = 200


def command(e: Explanation, by: str) -> tuple[str, ...]:
    """Return the command that explains the text again; each part is an option. Long texts come from a file.

    It is empty if the model read other words around the text, which no command can give.
    """
    if e.prompt is not None:
        return ()
    reading = {**({"long": "windows"} if e.windows > 1 else {}), **e.reading}
    options = [
        ("--model", e.model if e.model not in ("", BUILT_IN) else None),
        ("--revision", e.revision or None),
        ("--target", e.target),  # a model may call a label ""
        ("--contrast", e.contrast),
        ("--rules", e.rules if e.rules in PRESETS else "rules.json"),
        *(("--reference", value) for value in (e.reference.given if e.reference is not None else ())),
        *((f"--{name}", str(value)) for name, value in reading.items() if name in ("long", "window", "overlap")),
        ("--by", by if by != "word" else None),
    ]
    given = [f"{name} {shlex.quote(value)}" for name, value in options if value is not None]
    own, second = f"--file {FILE}", '--pair "$(cat second-text.txt)"'
    quoted = [f"textlrp explain {shlex.quote(e.text) if _is_short(e.text) else own}", *given]
    quoted += ["--layers"] if e.layers else []
    if e.text_pair is not None:
        quoted.insert(1, f"--pair {shlex.quote(e.text_pair)}" if _is_short(e.text_pair) else second)
    return tuple(quoted)


def _is_short(text: str) -> bool:
    """Return whether a text can stand in a command: a short line that is no option."""
    return 0 < len(text) <= _SHORT and text.isprintable() and bool(text.strip()) and not text.startswith("-")


def share(e: Explanation, label: str) -> str:
    """Return a label's probability as a percentage; empty if there is none."""
    return _percent(e.probabilities[label]) if label in e.probabilities else ""


def _percent(share: float) -> str:
    return percent(share).replace(" ", "\u00a0")  # a line never breaks before the %
