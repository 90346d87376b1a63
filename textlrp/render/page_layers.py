"""What happens between the layers, ready for its template: a curve, a table, and maps of words and heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from textlrp.render import palette
from textlrp.render.format import number
from textlrp.render.heatmap import heatmap, holdings, short_names
from textlrp.render.page_parts import excerpt

if TYPE_CHECKING:
    from textlrp.results.explanation import Explanation

_MOST = 80  # rows of the map
_TICKS = 16  # numbers below the curve
_PATHS = ("residual", "attention", "feed-forward")
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 580.0, 22.0, 140.0  # of the curve


class Curve(NamedTuple):
    """A line through what each layer holds, in a drawing of 600 by 170."""

    points: str
    marks: list[tuple[float, float, str]]
    zero: float
    logit: float
    logit_label: float
    whole: str


class Holds(NamedTuple):
    """A row of the table of layers."""

    name: str
    path: str
    held: str
    posted: str
    around: str
    shares: list[str]


class Column(NamedTuple):
    """A column of a map: its number, and the path that it stands for."""

    tick: str
    path: str


class Cell(NamedTuple):
    """A cell of a map: the class of its color and its number."""

    css: str
    value: str


class MapRow(NamedTuple):
    """A row of a map."""

    name: str
    muted: bool
    cells: list[Cell]


class Grid(NamedTuple):
    """A map; its cells are as wide as its columns leave room for."""

    columns: list[Column]
    rows: list[MapRow]

    @property
    def width(self) -> str:
        """The class of the width of its cells."""
        count = len(self.columns)
        return "" if count <= 16 else "narrow" if count <= 32 else "thin"


class Layers(NamedTuple):
    """All that the section on layers shows."""

    curve: Curve
    table: list[Holds]
    around: bool
    words: Grid
    left_out: int
    heads: Grid
    heads_strongest: tuple[str, str]


def layers(e: Explanation, by: str) -> Layers | None:
    """Return what the section on layers shows, or None where the explanation has no layers."""
    if not e.layers:
        return None
    held = holdings(e)
    scale = max([abs(e.logit), *(abs(value) for each in held for value in (each.held, each.posted, each.around))])
    table = [
        Holds(
            each.name,
            layer.name,
            number(each.held, scale),
            number(each.posted, scale),
            number(each.around, scale),
            [f"{100 * each.shares[path]:.0f} %" if path in each.shares else "" for path in _PATHS],
        )
        for each, layer in zip(held, e.layers, strict=True)
    ]
    words, left_out = _words(e, by)
    heads, strongest = _heads(e)
    return Layers(
        _curve([each.held for each in held], e.logit),
        table,
        any(each.around for each in held),
        words,
        left_out,
        heads,
        (number(-strongest, strongest), number(strongest, strongest)),
    )


def _curve(held: list[float], logit: float) -> Curve:
    low, high = min(0.0, logit, *held), max(0.0, logit, *held)
    size = (high - low) or 1.0

    def height(value: float) -> float:
        return round(_BOTTOM - (value - low) / size * (_BOTTOM - _TOP), 2)

    step = (_RIGHT - _LEFT) / max(1, len(held) - 1)
    every = -(-len(held) // _TICKS)
    marks = [(round(_LEFT + i * step, 2), height(value), "" if i % every else str(i)) for i, value in enumerate(held)]
    points = " ".join(f"{x},{y}" for x, y, _ in marks)
    whole = height(logit)
    return Curve(points, marks, height(0.0), whole, whole - 6 if logit >= 0 else whole + 14, number(logit))


def _words(e: Explanation, by: str) -> tuple[Grid, int]:
    found = heatmap(e, by, _MOST)
    numbers = {layer.name: i for i, layer in enumerate(e.layers)}
    columns = [Column(str(numbers[layer.name]), layer.name) for layer in found.layers]
    rows = [
        MapRow(
            excerpt(row.text),
            row.special,
            [
                Cell(palette.css_class(weight), number(value, most))
                for weight, value, most in zip(found.weights(row), row.relevance, found.strongest, strict=True)
            ],
        )
        for row in found.rows
    ]
    return Grid(columns, rows if columns else []), found.left_out


def _heads(e: Explanation) -> tuple[Grid, float]:
    modules = [(path, heads) for layer in e.layers for path, heads in layer.heads.items()]
    strongest = max((abs(value) for _, heads in modules for value in heads), default=0.0)
    names = short_names([path for path, _ in modules])
    width = max((len(heads) for _, heads in modules), default=0)
    rows = [
        MapRow(
            name,
            False,
            [
                Cell(palette.css_class(value / strongest) if strongest else "", number(value, strongest))
                for value in heads
            ]
            + [Cell("", "")] * (width - len(heads)),
        )
        for name, (_, heads) in zip(names, modules, strict=True)
    ]
    return Grid([Column(str(i + 1), f"head {i + 1}") for i in range(width)], rows), strongest
