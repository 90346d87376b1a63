"""Prepares the view between the layers for its template: a curve, a table, and maps of words and heads."""

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
    """A line through the relevance that each layer holds, in a drawing of 600 by 170."""

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
    """A column of a map: its number, and the path of its module."""

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
    """A map of cells."""

    columns: list[Column]
    rows: list[MapRow]

    @property
    def width(self) -> str:
        """The CSS class of the cells' width: the more columns, the narrower."""
        count = len(self.columns)
        return "" if count <= 16 else "narrow" if count <= 32 else "thin"


class Layers(NamedTuple):
    """The content of the section on layers."""

    curve: Curve
    table: list[Holds]
    around: bool
    posted: bool
    words: Grid
    left_out: int
    heads: Grid
    heads_strongest: tuple[str, str]


def layers(e: Explanation, by: str) -> Layers | None:
    """Return the content of the section on layers, or None if the explanation has no layers."""
    if not e.layers:
        return None
    held = holdings(e)
    values = [value for holding in held for value in (holding.held, holding.posted, holding.around)]
    scale = max(map(abs, [e.ledger.explained, *values]))
    table = [
        Holds(
            holding.name,
            layer.name,
            number(holding.held, scale),
            number(holding.posted, scale),
            number(holding.around, scale),
            [f"{100 * holding.shares[path]:.0f} %" if path in holding.shares else "" for path in _PATHS],
        )
        for holding, layer in zip(held, e.layers, strict=True)
    ]
    words, left_out = _words(e, by)
    heads, strongest = _heads(e)
    return Layers(
        _curve([holding.held for holding in held], e.ledger.explained),
        table,
        any(holding.around for holding in held),
        e.reference is None or any(holding.posted for holding in held),
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
    words = heatmap(e, by, _MOST)
    numbers = {layer.name: i for i, layer in enumerate(e.layers)}
    columns = [Column(str(numbers[layer.name]), layer.name) for layer in words.layers]
    rows = [
        MapRow(
            excerpt(row.text),
            row.special,
            [
                Cell(palette.css_class(weight), number(value, most))
                for weight, value, most in zip(words.weights(row), row.relevance, words.strongest, strict=True)
            ],
        )
        for row in words.rows
    ]
    return Grid(columns, rows if columns else []), words.left_out


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
