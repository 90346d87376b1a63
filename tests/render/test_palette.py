"""Everyone can read the colors and tell them apart: on light and dark, with 16 colors and with none."""

from __future__ import annotations

import math

import pytest
from rich.palette import Palette
from rich.style import Style

from textlrp.render import palette

WEIGHTS = [i / 200 for i in range(-200, 201)] + [3.0, -3.0, math.inf, -math.inf]

# fmt: off
VGA = Palette(
    [
        (0, 0, 0), (170, 0, 0), (0, 170, 0), (170, 85, 0),
        (0, 0, 170), (170, 0, 170), (0, 170, 170), (170, 170, 170),
        (85, 85, 85), (255, 85, 85), (85, 255, 85), (255, 255, 85),
        (85, 85, 255), (255, 85, 255), (85, 255, 255), (255, 255, 255),
    ]
)
XTERM = Palette(
    [
        (0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0),
        (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229),
        (127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0),
        (92, 92, 255), (255, 0, 255), (0, 255, 255), (255, 255, 255),
    ]
)
# fmt: on


@pytest.mark.parametrize("dark", [False, True])
def test_text_keeps_its_contrast_on_every_color(dark: bool) -> None:
    for weight in WEIGHTS:
        behind = palette.background(weight, dark)
        if behind is not None:
            assert palette.contrast(palette.ink(behind), behind) >= 4.5, (weight, behind)


@pytest.mark.parametrize("colors", [VGA, XTERM], ids=["vga", "xterm"])
def test_text_keeps_its_contrast_with_16_colors(colors: Palette) -> None:
    for weight in WEIGHTS:
        style = Style.parse(palette.ansi(weight))
        if style.color is None:
            assert abs(weight) < palette.THRESHOLD
            continue
        assert style.bgcolor is not None
        assert style.bgcolor.number is not None
        assert style.color.number is not None
        behind = palette.Color(*colors[style.bgcolor.number])
        assert not style.bold  # many terminals show bold black as gray
        assert palette.contrast(palette.Color(*colors[style.color.number]), behind) >= 4.5


@pytest.mark.parametrize("dark", [False, True])
def test_the_stronger_the_weight_the_further_from_the_paper(dark: bool) -> None:
    paper = palette.Color(255, 255, 255) if not dark else palette.Color(24, 24, 27)
    for sign in (-1, 1):
        colors = [palette.background(sign * weight / 20, dark) for weight in range(2, 21)]
        distances = [math.dist(color, paper) for color in colors if color is not None]
        assert len(distances) == 19
        assert distances == sorted(distances)


def seen(color: palette.Color, matrix: list[list[float]]) -> list[float]:
    """The color as someone with a color blindness sees it (Viénot et al. 1999; Machado et al. 2009)."""
    return [sum(share * channel for share, channel in zip(row, color, strict=True)) for row in matrix]


BLINDNESS = {
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize("kind", BLINDNESS)
@pytest.mark.parametrize("dark", [False, True])
def test_for_and_against_stay_apart_for_color_blind_eyes(kind: str, dark: bool) -> None:
    for size in (0.5, 0.75, 1.0):
        for_, against = palette.background(size, dark), palette.background(-size, dark)
        assert for_ is not None
        assert against is not None
        assert math.dist(seen(for_, BLINDNESS[kind]), seen(against, BLINDNESS[kind])) > 60


def test_noise_and_nan_stay_uncolored() -> None:
    for weight in (0.0, -0.0, 0.049, -0.049, math.nan):
        assert palette.background(weight) is None
        assert palette.ansi(weight) == ""
        assert palette.marks(weight) == ("", "")


def test_marks_and_colors_name_the_sign_and_the_strength() -> None:
    assert [palette.marks(weight)[0] for weight in (-1, -0.2, 0.2, 1)] == ["[--", "[-", "[+", "[++"]
    assert len({palette.ansi(weight) for weight in (-1, -0.2, 0.2, 1)}) == 4
    assert palette.Color(240, 130, 20).hex == "#f08214"
    assert palette.background(1.0) == palette.Color(240, 130, 20)


@pytest.mark.parametrize(
    ("weight", "name"),
    [
        (0.0, ""),
        (math.nan, ""),
        (0.099, ""),
        (0.1, "p1"),
        (-0.1, "n1"),
        (0.1001, "p2"),
        (-0.5, "n5"),
        (-0.51, "n6"),
        (0.95, "p10"),
        (1.0, "p10"),
        (-1.0, "n10"),
        (1.0000000001, "p10"),
        (math.inf, "p10"),
        (-math.inf, "n10"),
    ],
)
def test_a_page_has_ten_steps_on_each_side(weight: float, name: str) -> None:
    assert palette.css_class(weight) == name


def test_the_stylesheet_has_each_step_light_and_dark() -> None:
    sheet = palette.stylesheet()
    classes = [f"{sign}{step}" for sign in "pn" for step in range(1, 11)]
    assert {palette.css_class(weight) for weight in WEIGHTS} - {""} == set(classes)
    light, by_system, by_choice = sheet.splitlines()[:3]
    for name in classes:
        assert f".{name}{{background-color:var(--{name});color:var(--{name}-ink)}}\n" in sheet
    assert light.startswith(":root{--p1:#fce7d2;--p1-ink:#000000;--p2:")
    assert "--p10:#f08214;--p10-ink:#000000;" in light
    assert by_system.startswith("@media screen and (prefers-color-scheme:dark){:root:not([data-theme=light]){--p1:#")
    assert by_choice.startswith("@media screen{:root[data-theme=dark]{--p1:#")
    for line in (by_system, by_choice):
        assert line.count("--") == 40
        assert "--n10:#5091f0;--n10-ink:#000000}}" in line
    assert "print-color-adjust:exact" in sheet


def test_the_rules_of_a_fragment_stay_inside_of_it() -> None:
    rules = palette.css_rules(".textlrp").splitlines()
    assert rules[0] == ".textlrp .p1{background-color:var(--p1);color:var(--p1-ink)}"
    assert all(part.startswith(".textlrp .") for rule in rules for part in rule.split("{")[0].split(","))
