"""The colors of marks in annotation tools."""

from __future__ import annotations

from collections.abc import Sequence

from textlrp.data.records import Record
from textlrp.export.marks import labels
from textlrp.render import palette
from textlrp.render.palette import Color

#: Hues that color-blind readers can tell apart.
#: Source: Okabe and Ito 2008, "Color Universal Design"; black and yellow are left out.
HUES = (
    Color(230, 159, 0),
    Color(86, 180, 233),
    Color(0, 158, 115),
    Color(204, 121, 167),
    Color(213, 94, 0),
    Color(0, 114, 178),
)


def colors(records: Sequence[Record]) -> dict[str, Color]:
    """Return the color of every label that marks of the records can have.

    Words for the only explained label and against it have the colors of the report. Of several explained labels, each
    has a hue of its own, which is paler for words against it.
    """
    signs = labels(records)
    if list(signs.values()) == [1, -1]:
        return {name: _of(palette.background(float(sign))) for name, sign in signs.items()}
    hues: dict[str, Color] = {}
    chosen = {}
    for name in signs:
        side, _, label = name.partition(" ")
        hue = hues.setdefault(label, HUES[len(hues) % len(HUES)])
        chosen[name] = hue if side == "for" else _pale(hue)
    return chosen


def _of(color: Color | None) -> Color:
    assert color is not None
    return color


def _pale(hue: Color) -> Color:
    return Color(*(round(channel + (255 - channel) * 0.6) for channel in hue))
