"""The map of layers x words, as rows and as the lines of a terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from layered_explanation import WORDS, explanation
from rich.cells import cell_len
from rich.console import Console

from textlrp.render.heatmap import heatmap, holdings
from textlrp.results.explanation import Explanation


def lines(e: Explanation, width: int = 80, color: str | None = None, by: str = "word") -> list[str]:
    from textlrp.render.terminal import render

    file = io.StringIO()
    Console(file=file, width=width, color_system=color, force_terminal=color is not None).print(render(e, by))
    return file.getvalue().splitlines()


def test_rows_are_words_in_reading_order_between_their_special_tokens() -> None:
    words = heatmap(explanation())
    assert words.names == ("embeddings", "layer 0", "layer 1")
    assert [row.text for row in words.rows] == ["[CLS]", "Not", "bad", "\x1b", "[", "31m", "好好", "at", "all", "[SEP]"]
    assert words.strongest == (2.0 * words.strongest[1] / 0.5, words.strongest[1], words.strongest[1])
    weights = [weight for row in words.rows for weight in words.weights(row)]
    assert max(map(abs, weights)) == 1.0
    tokens = heatmap(explanation(), by="token")
    assert [row.text for row in tokens.rows] == ["[CLS]", *WORDS, "[SEP]"]
    assert tokens.rows[2].relevance == (-4.0, -1.0, -1.0)
    assert tokens.weights(tokens.rows[1]) == [0.5, 0.5, 0.5]


def test_the_weakest_words_are_left_out_where_there_are_many() -> None:
    words = heatmap(explanation(), by="token", most=3)
    assert [row.text for row in words.rows] == ["[CLS]", "Not", "bad\x1b[31m"]
    assert words.left_out == 4
    assert words.strongest == (4.0, 1.0, 1.0)


def test_layers_of_other_positions_are_left_out_of_the_map() -> None:
    e = explanation()
    pooled = replace(e.layers[1], name="bert.pooled", relevance=(1.0,), aligned=False)
    words = heatmap(replace(e, layers=(e.layers[0], pooled, e.layers[2])))
    assert words.names == ("embeddings", "encoder.layer.1")
    assert [holding.name for holding in holdings(replace(e, layers=(*e.layers, pooled)))][-1] == "pooled"


def test_what_a_layer_holds_adds_up_to_the_logit() -> None:
    for holding, layer in zip(holdings(explanation()), explanation().layers, strict=True):
        assert holding.held + holding.around + holding.posted == pytest.approx(2.0)
        assert holding.held == pytest.approx(layer.total)
    first, second, _ = holdings(explanation())
    assert first.head is None
    assert second.head == (2, -0.4)
    assert second.shares == pytest.approx({"residual": 0.6, "attention": 0.3, "feed-forward": 0.1, "other": 0.0})


def test_the_terminal_shows_what_each_layer_holds_and_the_map() -> None:
    shown = lines(explanation(), by="token")
    at = next(i for i, line in enumerate(shown) if line.startswith("layer"))
    assert shown[at : at + 4] == [
        "layer          holds  left above  residual  attention  feed-forward  top head",
        " 0 embeddings  -0.40       +2.40",
        " 1 layer 0     -0.10       +2.10      60 %       30 %          10 %  2: -0.40",
        " 2 layer 1     -0.10       +2.10      60 %       30 %          10 %  2: -0.40",
    ]
    assert "[CLS]                   +   +   +" in shown
    assert "bad␛[31m               --  --  --" in shown
    assert "好好                    +   +   +" in shown
    assert shown[-1] == "Each layer has its own scale, which ends at its strongest word."
    assert "\x1b" not in "".join(shown)


@pytest.mark.parametrize(("blocks", "width"), [(2, 80), (12, 80), (28, 80), (48, 80), (12, 40)])
def test_the_map_fits_the_terminal(blocks: int, width: int) -> None:
    shown = lines(explanation(blocks), width)
    start = next(i for i, line in enumerate(shown) if line.startswith("[CLS]"))
    assert all(cell_len(line) <= max(width, 21 + blocks + 1) for line in shown[start : start + 8])
    assert all(cell_len(line) <= width for line in shown[start - blocks - 4 : start - 1])


def test_colors_carry_the_weights_where_there_are_colors() -> None:
    shown = lines(explanation(), color="truecolor", by="token")
    row = next(line for line in shown if line.startswith("bad"))
    assert row.count("\x1b[38;2;") == 3
    assert "-" not in row
