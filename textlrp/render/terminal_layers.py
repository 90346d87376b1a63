"""The view between the layers in the terminal: each layer's part of the logit, and a map of layers x words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from textlrp.basics.characters import printable
from textlrp.render import palette
from textlrp.render.format import signed
from textlrp.render.heatmap import Heatmap, Holding, heatmap, holdings
from textlrp.render.terminal_colors import has_colors, style

if TYPE_CHECKING:
    from textlrp.results.explanation import Explanation

_MOST = 40  # rows of the map
_WORD = 20  # columns of a word
_PATHS = ("residual", "attention", "feed-forward")


def layer_lines(e: Explanation, by: str, console: Console, width: int | None) -> Iterator[Text]:
    """Yield the lines that show the layers of an explanation, from the embeddings up."""
    held = holdings(e)
    scale = max((abs(holding.held) for holding in held), default=0.0)
    yield Text()
    posted = e.reference is None or any(holding.posted for holding in held)
    yield from _table(held, scale, width, posted)
    if e.reference is not None:
        yield Text("Each layer holds what the score is more than that of the reference.", style="dim")
    words = heatmap(e, by, _MOST)
    if words.layers:
        yield Text()
        yield from _map(words, [layer.name for layer in e.layers], console, width)


def _table(held: list[Holding], scale: float, width: int | None, posted: bool) -> Iterator[Text]:
    """Yield a line for each layer: its number, its name, and the part of the logit that it holds."""
    around = any(holding.around for holding in held)
    titles = [
        "layer",
        "holds",
        *(["left above"] if posted else []),
        *(["other paths"] if around else []),
        *_PATHS,
        "top head",
    ]
    rows = [titles]
    for i, holding in enumerate(held):
        size = max(scale, abs(holding.posted), abs(holding.around))
        row = [f"{i:>2} {printable(holding.name)}", signed(holding.held, size)]
        row += [signed(holding.posted, size)] if posted else []
        row += [signed(holding.around, size)] if around else []
        row += [f"{100 * holding.shares[path]:.0f} %" if path in holding.shares else "" for path in _PATHS]
        row.append("" if holding.head is None else f"{holding.head[0]}: {signed(holding.head[1], size)}")
        rows.append(row)
    widths = [max(cell_len(row[i]) for row in rows) for i in range(len(titles))]
    while width is not None and len(widths) > 3 and sum(widths) + 2 * (len(widths) - 1) > width:
        widths.pop()  # a narrow terminal shows fewer columns
    for number, row in enumerate(rows):
        cells = [set_cell_size(row[0], widths[0])]
        cells += [" " * (room - cell_len(cell)) + cell for cell, room in zip(row[1:], widths[1:], strict=False)]
        yield Text("  ".join(cells).rstrip(), style="" if number else "dim")


def _map(words: Heatmap, names: list[str], console: Console, width: int | None) -> Iterator[Text]:
    numbers = [names.index(layer.name) for layer in words.layers]
    room = (width or 80) - _WORD - 1
    cell = next((size for size in (4, 3, 2) if size * len(numbers) <= room), 1)
    line = Text(set_cell_size("layer", _WORD) + " ", style="dim")
    for number in numbers:
        line.append(f"{number if cell > 1 else number % 10:>{cell}}")
    yield line
    for row in words.rows:
        line = Text(set_cell_size(_short(row.text), _WORD), style="dim" if row.special else "") + Text(" ")
        for weight in words.weights(row):
            if has_colors(console):
                line.append(" " * cell, style=style(weight, console))
            else:
                mark = palette.marks(weight)[0].removeprefix("[") or "."
                line.append(f"{mark if cell > len(mark) - 1 else mark[:1]:>{cell}}")
        line.rstrip() if not has_colors(console) else None
        yield line
    left = f"{words.left_out:,} more words are weaker at every layer. " if words.left_out else ""
    yield Text(f"{left}Each layer has its own scale, which ends at its strongest word.", style="dim")


def _short(text: str) -> str:
    word = " ".join(printable(text, "\n\t").split())
    return word if cell_len(word) <= _WORD else set_cell_size(word, _WORD - 3) + "..."
