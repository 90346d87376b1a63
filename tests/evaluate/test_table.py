"""The tables of an evaluation."""

from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING

from example_evaluations import plan, results
from rich.console import Console

from textlrp.evaluate.page import page as evaluation_page
from textlrp.evaluate.summary import Summary, summarize
from textlrp.evaluate.table import command, render

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
    assert "one             4               3  250 ms" in lines
    assert "two        3 of 4              40  250 ms" in lines
    assert "two: 1 document not measured; d: the model has no attention" in lines


def test_no_method_left_and_no_documents_measured() -> None:
    nothing = summarize(plan(), [])
    assert nothing.sections[0].tables[0].rows[0].cells["area"].mean is None
    assert "one          –" in printed(nothing)
    json.loads(nothing.to_json())
    assert "<svg" not in evaluation_page(nothing).partition("How to read it")[0]


def test_a_part_of_a_run_says_that_it_is_one() -> None:
    measured = [each for each in results() if each.document in "ab" or (each.document, each.method) == ("c", "two")]
    part = summarize(plan(), measured)
    assert part.partial
    lines = printed(part)
    assert lines[2] == "2 of 4 documents so far, 100.0 % of 3 labels right"
    assert "one        2 of 4               3  250 ms" in lines
    assert "two        3 of 4              40  250 ms" in lines
    assert "This is a part of an evaluation: not every document is measured yet." in evaluation_page(part)
    assert json.loads(part.to_json())["partial"] is True
    assert summarize(plan(), results()).to_dict()["partial"] is False


def test_costly_methods_have_fewer_documents_and_their_number_is_said() -> None:
    drawn = ({**plan().corpora[0], "available": 900},)
    limited = plan(limit=4, limit_costly=2, costly={"notes": ("one",)}, corpora=drawn)
    found = [each for each in results() if each.method == "two" or each.document in "bc"]
    summary = summarize(limited, found)
    assert (summary.partial, summary.sections[0].measured) == (False, 4)
    lines = printed(summary)
    assert lines[2] == "4 documents, drawn at random from 900, 100.0 % of 3 labels right"
    assert "one     0.250 (2)  0.200, 0.300" in lines
    # The difference is over the two documents that both have: 0.3 and 0.9 against 0.2 and 0.3.
    assert "two         0.500  0.300, 0.900  +0.350 (2)  0.100, 0.600  1.00" in lines
    assert "one             2               3  250 ms" in lines
    assert "A mean or difference over fewer documents than the table has their number in brackets." in lines
    assert "+0.350 on 2" in evaluation_page(summary)
    assert command(limited)[-2:] == ("--limit 4", "--limit-costly 2")
    assert command(plan())[-2:] == ("--limit 0", "--limit-costly 0")
    assert "--steps 6" in command(plan(steps=6))
