"""Whether a terminal shows colors, and the style of a weight there."""

from __future__ import annotations

import os

from rich.color import Color, ColorSystem
from rich.console import Console
from rich.style import Style

from textlrp.render import palette


def has_colors(console: Console) -> bool:
    """Return whether a console shows colors: not in a pipe, in a dumb terminal or with ``NO_COLOR``."""
    return console.color_system is not None and not console.no_color


def style(weight: float, console: Console) -> Style:
    """Return the style of a span of relative weight -1 to 1 on a console with colors."""
    if console.color_system in ("standard", "windows"):
        return Style.parse(palette.ansi(weight))
    behind = palette.background(weight, dark=on_dark())
    if behind is None:
        return Style()
    color = Color.from_rgb(*behind)
    if console.color_system == "256":
        color = color.downgrade(ColorSystem.EIGHT_BIT)
        behind = palette.Color(*color.get_truecolor())
    return Style(color=palette.ink(behind).hex, bgcolor=color)


def on_dark() -> bool:
    """Return whether the terminal's background is dark.

    ``TEXTLRP_BACKGROUND`` (``light`` or ``dark``) decides, or else ``COLORFGBG``, which some terminals set. Without
    either it is dark, as most terminals are.
    """
    said = os.environ.get("TEXTLRP_BACKGROUND", "").lower()
    if said in ("light", "dark"):
        return said == "dark"
    return os.environ.get("COLORFGBG", "").split(";")[-1] not in ("7", "15")
