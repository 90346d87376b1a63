"""Spans and ledger to rich: colors where the terminal has them, marks where it has none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import regex
from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style
from rich.text import Text

from textlrp import ledger, palette
from textlrp.spans import Span, merge_overlaps

if TYPE_CHECKING:
    from textlrp.explanation import Explanation

_GRAPHEME = regex.compile(r"\X")


def render(explanation: Explanation) -> View:
    """Return a rich renderable of an explanation."""
    return View(explanation)


class View:
    """Shows an explanation: verdict, text, legend and ledger."""

    def __init__(self, explanation: Explanation) -> None:
        self._explanation = explanation

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        e = self._explanation
        yield verdict(e)
        yield Text()
        yield colored_text(e.text, e.tokens, e.strongest, console)
        if e.truncated:
            yield cut_notice(e)
        yield Text()
        yield legend(e, console)
        yield ledger_line(e.ledger)


def verdict(e: Explanation) -> Text:
    """Return the predicted label with its probability, and what is explained."""
    line = Text()
    line.append(shown(e.predicted), style="bold")
    if e.probabilities:
        line.append(f" {100 * e.probabilities[e.predicted]:.1f} %")
    target = shown(e.target)
    explained = f"{target} against {shown(e.contrast)}" if e.contrast else target
    line.append(f"   explained: {explained}, logit {signed(e.logit)}   {shown(e.rules)}, {shown(e.model)}", style="dim")
    return line


def colored_text(text: str, spans: tuple[Span, ...], strongest: float, console: Console) -> Text:
    """Return the text as it was written, each span colored by its relevance relative to the strongest.

    Colors change between grapheme clusters only: an escape sequence inside an emoji or between a letter and its accent
    would tear it apart.
    """
    line = Text()
    at = 0
    for span in on_graphemes(text, merge_overlaps(spans)):
        weight = span.relevance / strongest if strongest else 0.0
        line.append(shown(text[at : span.start]))
        if console.color_system is None:
            before, after = palette.marks(weight)
            line.append(before + shown(span.text) + after)
        else:
            line.append(shown(span.text), style=style(weight, console))
        at = span.end
    line.append(shown(text[at:]))
    return line


def on_graphemes(text: str, spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Widen spans to whole grapheme clusters, and join those that share one; the total relevance stays."""
    edges = [match.end() for match in _GRAPHEME.finditer(text)]
    starts = [0, *edges[:-1]]
    widened: list[Span] = []
    i = 0
    for span in spans:
        while i < len(edges) and edges[i] <= span.start:
            i += 1
        j = i
        while j < len(edges) and edges[j] < span.end:
            j += 1
        start, end = starts[i], edges[j]
        if widened and start < widened[-1].end:
            last = widened.pop()
            span = Span(last.start, end, text[last.start : end], last.relevance + span.relevance)
            widened.append(span)
        else:
            widened.append(Span(start, end, text[start:end], span.relevance))
    return tuple(widened)


def style(weight: float, console: Console) -> Style:
    """Return the style of a span of relative weight -1 to 1 on a console with colors."""
    if console.color_system in ("standard", "windows"):
        return Style.parse(palette.ansi(weight))
    behind = palette.background(weight, dark=on_dark())
    return Style(color=palette.ink(behind).hex, bgcolor=behind.hex) if behind else Style()


def on_dark() -> bool:
    """Whether the terminal's background is dark, as far as it says so; most are."""
    return os.environ.get("COLORFGBG", "").split(";")[-1] not in ("7", "15")


def legend(e: Explanation, console: Console) -> Text:
    """Return the scale with its ends as numbers."""
    line = Text("relevance  ", style="dim")
    steps = (-1.0, -0.5, -0.1, 0.1, 0.5, 1.0)
    line.append(f"{signed(-e.strongest)} against {shown(e.target)} ")
    for step in steps:
        if console.color_system is None:
            line.append("".join(palette.marks(step)) + " ")
        else:
            line.append("   ", style=style(step, console))
    line.append(f"{'' if console.color_system is None else ' '}for {shown(e.target)} {signed(e.strongest)}")
    return line


def ledger_line(books: ledger.Ledger) -> Text:
    """Return the whole ledger in one line: the logit and the rows that add up to it."""
    rows = [f"{heading} {signed(value)}" for heading, value in books.items() if heading != ledger.RESIDUE]
    line = Text("ledger     ", style="dim")
    line.append(f"logit {signed(books.logit)} = {', '.join(rows)}, residue {books.residue:+.0e}")
    return line


def cut_notice(e: Explanation) -> Text:
    """Say which characters the model did not read."""
    assert e.truncated is not None
    start, end = e.truncated
    share = (end - start) / len(e.text)
    return Text(
        f"! The model did not read characters {start:,} to {end:,} ({share:.0%} of the text): it takes no longer text.",
        style="bold",
    )


def signed(value: float) -> str:
    """Return a number with its sign and a true minus."""
    digits = f"{value:+.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:+.1g}"
    return digits.replace("-", "−")


def shown(text: str) -> str:
    """Replace control characters by their pictures: a text must not command the terminal."""
    return "".join(_picture(char) if char < " " or "\x7f" <= char < "\xa0" else char for char in text)


def _picture(char: str) -> str:
    if char in "\n\t":
        return char
    if char < " ":
        return chr(0x2400 + ord(char))
    return "␡" if char == "\x7f" else "�"
