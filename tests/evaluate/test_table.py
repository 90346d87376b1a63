"""The tables of an evaluation."""

from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING

from example_evaluations import plan, results
from rich.console import Console

from textlrp.evaluate.page import page as evaluation_page
from textlrp.evaluate.summary import Summary, summarize
from textlrp.evaluate.table import render

if TYPE_CHECKING:
    pass


def printed(summary: Summary, width: int = 80) -> list[str]:
    buffer = StringIO()
    Console(file=buffer, width=width, color_system=None).print(render(summary), soft_wrap=True)
    return [line.rstrip() for line in buffer.getvalue().splitlines()]


def test_in_the_terminal() -> None:
    lines = printed(summarize(plan(), results()))
    assert lines[: lines.index("plausibility, 4 documents with marked words")] == [
        "tiny on notes",
        "",
        "4 documents, 100.0 % of 4 labels right",
        "",
        "faithfulness, tokens masked ([MASK]), 4 documents",
        "method     area ↑      interval  vs one      interval     p",
        "───────────────────────────────────────────────────────────",
        "one         0.250  0.150, 0.350",
        "two     0.500 (3)  0.300, 0.900  +0.300  0.100, 0.600  1.00",
        "",
        "method    compreh. ↑     suffic. ↓     LOO tau ↑  infidelity ↓",
        "──────────────────────────────────────────────────────────────",
        "one            0.500         0.250         0.750         0.125",
        "        0.500, 0.500  0.250, 0.250  0.750, 0.750  0.125, 0.125",
        "two        0.500 (3)     0.250 (3)     0.750 (3)     0.125 (3)",
        "        0.500, 0.500  0.250, 0.250  0.750, 0.750  0.125, 0.125",
        "",
        "method  Shapley r ↑   sum error ↓",
        "─────────────────────────────────",
        "one               –         0.062",
        "                     0.062, 0.062",
        "two               –     0.062 (3)",
        "                     0.062, 0.062",
        "",
    ]
    assert "two                 40  250 ms" in lines
    assert "two: 1 document not measured; d: the model has no attention" in lines


def test_no_method_left_and_no_documents_measured() -> None:
    nothing = summarize(plan(), [])
    assert nothing.sections[0].tables[0].rows[0].cells["area"].mean is None
    assert "one          –" in printed(nothing)
    json.loads(nothing.to_json())
    assert "<svg" not in evaluation_page(nothing).partition("How to read it")[0]
