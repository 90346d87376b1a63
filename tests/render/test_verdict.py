"""What is said of a reference: in a terminal, on a page and between the layers."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from example_explanations import explanation, measured
from printed_terminal import printed

from textlrp import Explanation
from textlrp.render import page
from textlrp.render.format import signed
from textlrp.render.heatmap import holdings
from textlrp.render.ledger_rows import MEANINGS
from textlrp.render.page_parts import command, facts, ledger_rows
from textlrp.render.verdict import PINNED, color_end, sentences
from textlrp.results.ledger import HEADINGS, RESIDUE, Ledger

MEAN4 = {"name": "mean of 4 references", "given": ("a", "b", "c", "d")}


#: The words that stand out in the example, for the label, against it, and for another label.
FOR = ', above all "wonderful" and "is"; "thin" and "plot" speak against it.'
AGAINST = ', above all "wonderful" and "is"; "thin" and "plot" speak for it.'
NEG = ', above all "wonderful" and "is"; "thin" and "plot" speak for NEG.'


def said(**changes: Any) -> str:
    return "".join(part.text for part in sentences(measured(**changes), signed))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "Without its words the model would say POS -0.50. The words add +1.75" + FOR),
        ({"target": "NEG"}, "Without its words the model would say NEG +0.75. The words add -1.75" + AGAINST),
        (
            {"windows": 4},
            "Without its words the model would say POS -0.50 (mean of 4 windows). The words add +1.75" + FOR,
        ),
        (
            {"contrast": "NEG"},
            "Without its words the scores of POS and NEG would differ by -1.25. The words add +3.50" + NEG,
        ),
        ({"probabilities": {}}, "Without its words the model would return -0.50 for POS. The words add +1.75" + FOR),
        (
            {"probabilities": {}, "logits": {"POS": 1.25}},
            "Without its words the model would return -0.50. The words add +1.75" + FOR,
        ),
        (
            {"name": "the token '.'", "given": (".",)},
            "For the reference (the token '.') the model says POS -0.50. The words add +1.75" + FOR,
        ),
        (
            {**MEAN4, "contrast": "NEG"},
            "For the reference (mean of 4 references) the scores of POS and NEG differ by -1.25. The words add +3.50"
            + NEG,
        ),
        (
            {**MEAN4, "probabilities": {}},
            "For the reference (mean of 4 references) the model returns -0.50 for POS. The words add +1.75" + FOR,
        ),
        (
            {"others": {"masked": 0.25}},
            "Without its words the model would say POS -0.50. The words add +1.50"
            + FOR
            + " Other parts of the model add +0.25.",
        ),
    ],
)
def test_the_sentence_is_true_of_each_kind(changes: dict[str, Any], says: str) -> None:
    assert said(**changes) == says


PINNED_AT = " ([MASK]), run with the choices that the model makes for this text, "


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, f"From the reference{PINNED_AT}POS starts at -0.50. The words add +1.75" + FOR),
        (
            {"windows": 4},
            f"From the reference{PINNED_AT}POS starts at -0.50 (mean of 4 windows). The words add +1.75" + FOR,
        ),
        (
            {"contrast": "NEG"},
            f"From the reference{PINNED_AT}the difference of the scores of POS and NEG starts at -1.25. "
            f"The words add +3.50" + NEG,
        ),
        (
            {"probabilities": {}},
            f"From the reference{PINNED_AT}the model's number for POS starts at -0.50. The words add +1.75" + FOR,
        ),
        (
            {"probabilities": {}, "logits": {"POS": 1.25}},
            f"From the reference{PINNED_AT}the model's number starts at -0.50. The words add +1.75" + FOR,
        ),
        (
            {**MEAN4, "others": {"masked": 0.25}},
            "From the reference (mean of 4 references), run with the choices that the model makes for this text, POS "
            "starts at -0.50. The words add +1.50" + FOR + " Other parts of the model add +0.25.",
        ),
    ],
)
def test_a_pinned_reference_is_not_what_the_model_would_say(changes: dict[str, Any], says: str) -> None:
    assert said(heading="reference (pinned)", **changes) == says


def of_words(relevances: dict[str, float], biases: float = 0.0, **changes: Any) -> Explanation:
    """An explanation from zero of some words."""
    tokens = math.fsum(relevances.values())
    book = Ledger({"tokens": tokens, "biases": biases}, tokens + biases)
    logits = {"NEG": -1.0, "POS": book.logit}
    return explanation(
        " ".join(relevances), relevances.values(), ledger=book, logit=book.logit, logits=logits, **changes
    )


@pytest.mark.parametrize(
    ("e", "says"),
    [
        (
            of_words({"good": 2.0, "the": 0.01, "bad": -0.5}),
            'The words add +1.51 to the score, above all "good"; "bad" speaks against it.',
        ),
        (
            of_words({"good": 2.0, "fine": 1.0, "warm": 0.5}, 0.5),
            'The words add +3.50 to the score, above all "good" and "fine"; nothing speaks against it. Other parts '
            "of the model add +0.50.",
        ),
        (
            of_words({"good": 0.5, "bad": -2.0, "dull": -1.0}),
            'The words add -2.50 to the score, above all "bad" and "dull"; "good" speaks for it.',
        ),
        (
            of_words({"good": 0.5, "bad": -2.0}, contrast="NEG"),
            'The words add -1.50 to the difference, above all "bad"; "good" speaks for POS.',
        ),
        (
            of_words({",": 3.0, "good": 0.5}),
            'The words add +3.50 to the score, above all "good"; nothing speaks against it.',
        ),
        (of_words({",": 3.0, "!": 0.5}), "The words add +3.50 to the score."),
        (
            of_words({"good": 2.0, "fine": 0.5, "bad": -2.45}, 1.0),
            'The words add little to the score: +0.05. "good" and "fine" speak for it, "bad" speaks against it. Other '
            "parts of the model add +1.00.",
        ),
        (
            of_words({"good": 0.02, "bad": -0.01}, -2.0),
            "The words add little to the score: +0.01. Other parts of the model add -2.00.",
        ),
    ],
)
def test_from_zero_it_says_what_the_words_add(e: Explanation, says: str) -> None:
    assert "".join(part.text for part in sentences(e, signed)) == says
    assert printed(e, width=200).splitlines()[1] == says


@pytest.mark.parametrize(
    ("e", "end"),
    [
        (of_words({"good": 2.0, "bad": -1.0}), 2.0),  # the words hold more than the score
        (of_words({"good": 2.0, "fine": 1.0}, 3.0), 4.0),  # they hold half of it
        (of_words({"good": 0.0}, 3.0), 0.0),
    ],
)
def test_colors_fade_with_the_share_of_the_words(e: Explanation, end: float) -> None:
    assert color_end(e, e.words) == pytest.approx(end)


def test_an_explanation_from_zero_says_nothing_of_a_reference() -> None:
    e = explanation("a film")
    for shown in (printed(e, width=100), page.page(e), page.fragment(e)):
        assert "eference" not in re.sub(r"<style>.*?</style>", "", shown, flags=re.DOTALL)


def test_a_terminal_says_it_under_the_verdict() -> None:
    lines = printed(measured(), width=200).splitlines()
    said = "Without its words the model would say POS -0.50. The words add +1.75" + FOR
    assert lines[1] == f"{said}   reference: [MASK]"
    assert lines[2] == ""
    assert lines[-1] == "ledger     +1.25 = reference -0.50, tokens +1.75, residue 0"
    pinned = printed(measured("reference (pinned)"), width=200).splitlines()
    assert pinned[1].startswith("From the reference ([MASK]), run with the choices that the model makes for this text")
    assert pinned[1].endswith(", POS starts at -0.50. The words add +1.75" + FOR)
    assert pinned[2] == PINNED
    assert PINNED[:40] not in printed(measured(), width=200)


def test_a_narrow_terminal_keeps_the_reference() -> None:
    others = {"special tokens": 2**-7, "masked": 2**-6, "detached": 2**-5}
    (line,) = [line for line in printed(measured(others=others), width=90).splitlines() if line.startswith("ledger")]
    assert line.startswith("ledger     +1.25 = reference -0.50, tokens +1.70, ")
    assert "others" in line
    assert "reference" in printed(measured(others=others), width=20)


def test_a_page_names_the_reference() -> None:
    e = measured("reference (pinned)", "<b>reference</b>", ("a&b",))
    for shown in (page.page(e), page.fragment(e)):
        assert "From the reference (<bdi" in shown
        assert "<b>reference" not in shown
        assert "The words add +1.75, above all" in shown
        assert "By its own choices, the model may give the reference another score." in shown
        assert "the model says" not in shown
        assert "cannot be credited" not in shown
    assert ("Reference", "<b>reference</b>") in facts(e, "word")
    assert "--reference 'a&b'" in command(e, "word")
    assert not [part for part in command(measured(), "word") if "reference" in part]
    assert "--reference mean" in command(measured(given=("mean", "zero")), "word")
    assert "--reference zero" in command(measured(given=("mean", "zero")), "word")


def test_the_chart_of_the_ledger_starts_at_the_reference() -> None:
    rows = ledger_rows(measured(others={"masked": -0.25}).ledger)
    assert [row.name for row in rows] == ["reference", "tokens", "masked", "residue", "score"]
    start, tokens, masked, _, score = (row.bar for row in rows)
    # The axis goes from -0.5 to 2.0 on 200 units, and its zero is at 40.
    assert (start.x, start.width, start.css, start.zero) == (0.0, 40.0, "total", 40.0)
    assert (tokens.x, tokens.width, tokens.css) == (0.0, 160.0, "for")
    assert (masked.x, masked.width, masked.css) == (140.0, 20.0, "against")
    assert (score.x, score.width, score.css) == (40.0, 100.0, "total")


def test_a_reference_of_zero_is_a_row_of_the_chart() -> None:
    rows = ledger_rows(Ledger({"reference": 0.0, "tokens": 1.25}, 1.25))
    assert [row.name for row in rows] == ["reference", "tokens", "residue", "score"]


def test_every_row_has_a_meaning() -> None:
    assert set(MEANINGS) == {*HEADINGS, RESIDUE}


def test_a_layer_holds_the_score_minus_that_of_the_reference() -> None:
    e = measured(blocks=3)
    for holding in holdings(e):
        assert holding.held == e.ledger["tokens"]
        assert holding.posted == holding.around == 0.0
    shown = printed(e, width=120)
    assert "left above" not in shown
    assert "Each layer holds what the score is more than that of the reference." in shown
    html = page.page(e)
    assert "Left above" not in html
    assert "belong to no word" not in html
    assert "the score minus the reference's, +1.75" in html
    posted = printed(measured(blocks=3, others={"masked": 0.25}), width=120)
    assert "left above" in posted
