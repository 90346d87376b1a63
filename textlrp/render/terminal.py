"""Shows an explanation with rich: in colors if the terminal has them, else with marks.

Everything around the text is ASCII, so that it works in every terminal and every pipe.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style
from rich.text import Text

from textlrp.basics.characters import Printable
from textlrp.render import palette
from textlrp.render.format import exactness, named, percent, rewriting, signed
from textlrp.render.ledger_rows import KEPT, about_zero, others
from textlrp.render.terminal_colors import has_colors, style
from textlrp.render.terminal_layers import layer_lines
from textlrp.render.verdict import PINNED, color_end, none_reached, plain, sentences
from textlrp.results.graphemes import whole_units
from textlrp.results.ledger import RESIDUE, Ledger
from textlrp.results.spans import Span, read_range

if TYPE_CHECKING:
    from textlrp.results.explanation import Explanation

_TITLE = 11  # columns for the words "relevance" and "ledger", so that the lines after them are aligned


def render(explanation: Explanation, by: str = "word") -> View:
    """Return a rich renderable of an explanation, its text colored by ``"token"``, ``"word"`` or ``"sentence"``."""
    return View(explanation, by)


class View:
    """Shows an explanation: verdict, text, legend and ledger."""

    def __init__(self, explanation: Explanation, by: str) -> None:
        self._explanation, self._by = explanation, by
        self._units = explanation.units(by)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Pipes and files get long lines, and tabs stay tabs there.
        width = None if options.no_wrap else options.max_width
        lines = _lines(self._explanation, self._units, console, width)
        if self._explanation.layers:
            lines = chain(lines, layer_lines(self._explanation, self._by, console, width))
        for line in lines:
            if width is None:
                yield from line.render(console, end="\n")
            else:
                yield line


def _lines(e: Explanation, units: tuple[Span, ...], console: Console, width: int | None) -> Iterator[Text]:
    shown_by = {
        source: whole_units(text, tuple(span for span in units if span.source == source)) for source, text, _ in e.texts
    }
    strongest = color_end(e, (span for spans in shown_by.values() for span in spans))
    yield verdict(e)
    yield from reference_lines(e)
    for number, (source, text, truncated) in enumerate(e.texts, 1):
        yield Text()
        if len(e.texts) > 1:
            yield Text(f"text {number}", style="dim")
        start, end = read_range(text, truncated)
        if truncated is None:
            end = len(text.rstrip("\r\n")) or len(text)
        elif start > 0:
            yield cut_notice(text, truncated)
        yield colored_text(text, shown_by[source], strongest, console, (start, end))
        if truncated is not None and start == 0:
            yield cut_notice(text, truncated)
    yield Text()
    yield legend(e, strongest, console, width)
    yield ledger_line(e.ledger, width)
    for title, note in (("rounding", exactness(e.ledger)), ("tokens", rewriting(e))):
        if note:
            yield Text.assemble((title.ljust(_TITLE), "dim"), note)


def verdict(e: Explanation) -> Text:
    """Return the predicted labels with their probabilities, the explained logit, the rules and the model."""
    chosen = e.predicted_labels
    line = Text(plain(none_reached(e)), style="bold")
    for i, label in enumerate(chosen):
        line.append(", " if i else "")
        line.append(named(label), style="bold")
        if label in e.probabilities:
            line.append(f" {percent(e.probabilities[label])}", style="bold")
    what = f"{'why ' if e.contrast is not None else ''}{named(e.target)}"
    if e.target not in (chosen or (e.predicted,)) and e.target in e.probabilities:
        what += f" {percent(e.probabilities[e.target])}"
    what += f" and not {named(e.contrast)}, logits differ by" if e.contrast is not None else ", logit"
    if e.windows > 1:
        what += f" (mean of {e.windows:,} windows)"
    described = Text(f"   explained: {what} {signed(e.logit)}", style="not bold")
    line.append_text(described)
    line.append("   " + ", ".join(named(part) for part in (e.rules, e.model) if part), style="not bold dim")
    return line


def reference_lines(e: Explanation) -> Iterator[Text]:
    """Yield how much of the score the words hold, or what the model says of the reference and what they add to it."""
    said = plain(sentences(e, signed))
    is_unnamed = e.reference is not None and e.reference.wordless and not e.ledger.pinned
    name = f"   reference: {named(e.reference.name)}" if e.reference is not None and is_unnamed else ""
    yield Text.assemble(said, (name, "dim"))
    if e.ledger.pinned:
        yield Text(PINNED)


def colored_text(
    text: str, spans: tuple[Span, ...], strongest: float, console: Console, within: tuple[int, int] | None = None
) -> Text:
    """Return the text as it was written, each span colored by its relevance relative to the strongest.

    Args:
        text: the whole text.
        spans: the spans to color, in reading order, as :func:`whole_units` returns them.
        strongest: the relevance at the end of the color scale.
        console: the console to write to.
        within: the characters ``[start, end)`` to show; default: all.
    """
    at, stop = within or (0, len(text))
    line, printed = Text(), Printable(text)
    marked = ("", "")
    for span in spans:
        start, end = max(at, span.start), min(stop, span.end)
        if start >= end:
            continue
        weight = span.relevance / strongest if strongest else 0.0
        if has_colors(console):
            _append(line, printed, at, start)
            _append(line, printed, start, end, style(weight, console))
        else:
            marks = palette.marks(weight)
            if start > at or marks != marked:  # neighboring pieces with the same mark share their brackets
                line.append(marked[1])
                _append(line, printed, at, start)
                line.append(marks[0])
            _append(line, printed, start, end)
            marked = marks
        at = end
    line.append(marked[1])
    _append(line, printed, at, stop)
    return line


def _append(line: Text, printed: Printable, start: int, end: int, style: Style | None = None) -> None:
    """Append characters of a text; replacements of characters that cannot be shown are dim."""
    for piece, replaced in printed.pieces(start, end):
        line.append(piece, (style or Style()) + Style(dim=True) if replaced else style)


def legend(e: Explanation, strongest: float, console: Console, width: int | None = None) -> Text:
    """Return the color scale with numbers at its ends; it has fewer steps where ``width`` is small."""
    line = Text("relevance".ljust(_TITLE), style="dim")
    low = f"for {named(e.contrast)}" if e.contrast is not None else f"against {named(e.target)}"
    high = f"for {named(e.target)}"
    plain = Style(dim=False)
    if not has_colors(console):
        strong, weak = palette.STRONG * strongest, palette.THRESHOLD * strongest
        ends = [signed(value, strongest) for value in (-strong, -weak, weak, strong)]
        steps = "[--] {} [-] {} .. {} [+] {} [++]".format(*ends)
        line.append(f"{signed(-strongest)} {low} {steps} {high} {signed(strongest)}", style=plain)
        return line
    line.append(f"{signed(-strongest)} {low} ", style=plain)
    end = f" {high} {signed(strongest)}"
    few = console.color_system in ("standard", "windows")
    is_narrow = width is not None and line.cell_len + 2 * palette.STEPS + 1 + cell_len(end) > width
    each_side = palette.STEPS // 2 if is_narrow else palette.STEPS
    weights = [-1.0, -0.25, 0.0, 0.25, 1.0] if few else [i / each_side for i in range(-each_side, each_side + 1)]
    for weight in weights:
        line.append("   " if few and not is_narrow else " ", style=plain + style(weight, console))
    line.append(end, style=plain)
    return line


def ledger_line(books: Ledger, width: int | None = None) -> Text:
    """Return the ledger in one line: the logit and the rows that are not 0, which add up to it.

    Rows that are about 0 are added up as ``others``, and if ``width`` is too small, the smallest of the rest, too, but
    not reference and tokens.
    """
    rows = {heading: value for heading, value in books.items() if heading != RESIDUE and value != 0}
    scale = max((abs(value) for value in (books.logit, *rows.values())), default=0.0)
    residue = f"residue {books.residue:+.0e}" if books.residue else "residue 0"
    folded = [rows.pop(heading) for heading in about_zero(books)]
    while True:
        listed = [f"{heading} {signed(value, scale)}" for heading, value in rows.items()]
        listed += [_folded(folded, books, scale)] if folded else []
        line = f"{signed(books.logit, scale)} = {', '.join([*listed, residue])}"
        if width is None or _TITLE + len(line) <= width or len(rows) <= 1 or all(heading in KEPT for heading in rows):
            break
        smallest = min(rows, key=lambda heading: (heading in KEPT, abs(rows[heading])))
        folded.append(rows.pop(smallest))
    return Text.assemble(("ledger".ljust(_TITLE), "dim"), line)


def _folded(values: list[float], books: Ledger, scale: float) -> str:
    total, is_small = others(values, books)
    count = "1 other" if len(values) == 1 else f"{len(values)} others"
    return f"{count} {'about 0' if is_small else signed(total, scale)}"


def cut_notice(text: str, truncated: tuple[int, int]) -> Text:
    """Say which characters the model did not read."""
    start, end = truncated
    share = (end - start) / len(text)
    return Text(
        f"! NOT READ: characters {start:,} to {end:,} of {len(text):,} ({percent(share)}): the text is longer "
        f"than the model reads.",
        style="bold reverse",
    )
