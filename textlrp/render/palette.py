"""Weights to colors, for every renderer: orange speaks for the label, blue against it.

Orange and blue stay apart for every common kind of color blindness, unlike red and green.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Color(NamedTuple):
    """A color in sRGB, each channel from 0 to 255."""

    red: int
    green: int
    blue: int

    @property
    def hex(self) -> str:
        """The color as ``#rrggbb``."""
        return f"#{self.red:02x}{self.green:02x}{self.blue:02x}"

    @property
    def luminance(self) -> float:
        """Relative luminance from 0 to 1 (WCAG 2.2)."""

        def linear(channel: int) -> float:
            share = channel / 255
            return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

        return 0.2126 * linear(self.red) + 0.7152 * linear(self.green) + 0.0722 * linear(self.blue)


BLACK, WHITE = Color(0, 0, 0), Color(255, 255, 255)
_PAPER = {False: Color(255, 255, 255), True: Color(24, 24, 27)}
_FOR = {False: Color(240, 130, 20), True: Color(245, 150, 50)}
_AGAINST = {False: Color(70, 130, 220), True: Color(80, 145, 240)}

#: Smaller weights get no color, so that noise does not catch the eye.
THRESHOLD = 0.1

#: From this size on, weights are marked as strong if there are few colors or none.
STRONG = 0.5


def background(weight: float, dark: bool = False) -> Color | None:
    """Return the color behind a span of relative weight -1 to 1, or None if it gets no color."""
    if not abs(weight) >= THRESHOLD:
        return None
    end = (_FOR if weight > 0 else _AGAINST)[dark]
    paper, share = _PAPER[dark], min(1.0, abs(weight)) * 0.9 + 0.1
    return Color(*(round(a + (b - a) * share) for a, b in zip(paper, end, strict=True)))


def contrast(one: Color, other: Color) -> float:
    """Return the contrast ratio of two colors, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((one.luminance, other.luminance))
    return (high + 0.05) / (low + 0.05)


def ink(behind: Color) -> Color:
    """Return black or white, the one with more contrast; on every color of this module it is 4.5 or more."""
    return max((BLACK, WHITE), key=lambda color: contrast(color, behind))


def ansi(weight: float) -> str:
    """Return a style for terminals of 16 colors: the hue shows the sign, an underline the strength.

    Black on bright yellow and bright white on blue keep 4.5:1 in the usual palettes. Plain yellow is brown in some and
    pale in others, and bold black is often shown as gray.
    """
    if not abs(weight) >= THRESHOLD:
        return ""
    strength = "underline " if abs(weight) >= STRONG else ""
    return strength + ("black on bright_yellow" if weight > 0 else "bright_white on blue")


def marks(weight: float) -> tuple[str, str]:
    """Return the marks to write before and after a span if there are no colors."""
    if not abs(weight) >= THRESHOLD:
        return "", ""
    sign = "+" if weight > 0 else "-"
    return f"[{sign * (2 if abs(weight) >= STRONG else 1)}", "]"


#: The number of color steps on each side of the scale of a page.
STEPS = 10


def css_class(weight: float) -> str:
    """Return the class of a span of relative weight -1 to 1 on a page: ``p1`` to ``p10`` for the label, ``n1`` to
    ``n10`` against it, or nothing if it gets no color."""
    if not abs(weight) >= THRESHOLD:
        return ""
    return f"{'p' if weight > 0 else 'n'}{math.ceil(min(1.0, abs(weight)) * STEPS)}"


def stylesheet() -> str:
    """Return the CSS of the classes of :func:`css_class`: light, dark and printed.

    A page is dark if the system is, unless ``<html data-theme>`` says otherwise. Paper is light.
    """
    light, dark = css_variables(), css_variables(dark=True)
    return f""":root{{{light}}}
@media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}
@media screen{{:root[data-theme=dark]{{{dark}}}}}
{css_rules()}
"""


def css_variables(dark: bool = False) -> str:
    """Return the colors and inks of all classes as CSS variables, ``--p1`` and ``--p1-ink`` and so on."""
    variables = []
    for name, weight in _classes():
        behind = background(weight, dark)
        assert behind is not None
        variables.append(f"--{name}:{behind.hex};--{name}-ink:{ink(behind).hex}")
    return ";".join(variables)


def css_rules(within: str = "") -> str:
    """Return the CSS rules that color the classes by the variables, inside of a selector or everywhere."""
    before = f"{within} " if within else ""
    rules = [f"{before}.{name}{{background-color:var(--{name});color:var(--{name}-ink)}}" for name, _ in _classes()]
    against = ",".join(f"{before}.{name}" for name, weight in _classes() if weight < 0)
    # An underline helps readers who do not see the colors, and printers without colors.
    rules.append(f"{against}{{text-decoration:underline dotted 1px;text-underline-offset:0.2em}}")
    every = ",".join(f"{before}.{name}" for name, _ in _classes())
    # Otherwise printers leave backgrounds out, and high-contrast modes replace them.
    rules.append(f"{every}{{-webkit-print-color-adjust:exact;print-color-adjust:exact;forced-color-adjust:none}}")
    return "\n".join(rules)


def _classes() -> list[tuple[str, float]]:
    return [
        (f"{name}{step}", sign * step / STEPS) for name, sign in (("p", 1), ("n", -1)) for step in range(1, STEPS + 1)
    ]
