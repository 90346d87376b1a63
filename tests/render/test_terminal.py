"""The terminal: colors and marks between whole characters, a fixed layout, and no commands from the text."""

from __future__ import annotations

import io
import re
from itertools import pairwise
from typing import Any

import pytest
import regex
from example_explanations import explanation as example
from example_explanations import held
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from printed_terminal import printed
from rich.cells import cell_len
from rich.console import Console

from textlrp.render import palette, terminal, terminal_colors
from textlrp.results.explanation import Explanation
from textlrp.results.graphemes import whole_units
from textlrp.results.ledger import Ledger
from textlrp.results.spans import Span

SEQUENCE = re.compile(r"\x1b\[[0-9;]*m")
GRAPHEME = regex.compile(r"\X")

SCRIPTS = st.text(
    alphabet="abc \n\téñe\u0301ﬁ映画でした。كتابجداًנפלא🧑\u200d🚀👩🇩🇪🇯👍🏽नमस्ते\u200c\u0300",
    min_size=1,
    max_size=60,
)


def explanation(text: str, relevances: Any = None, size: int = 1, **changes: Any) -> Explanation:
    """An explanation whose tokens are runs of ``size`` characters without white space, and that names no versions."""
    return example(text, relevances, size, **{"versions": {}, **changes})


def test_the_whole_of_it_without_colors() -> None:
    e = explanation("A wonderful film, dull at times.", [0.02, 2.0, 0.5, -1.2, 0.0, -0.3], size=20)
    assert printed(e, wrap=False, by="token") == (
        "POS 97.1 %   explained: POS, logit +2.50   attnlrp, tiny\n"
        'The words add +2.25 to the score, above all "wonderful" and "film"; "dull" and "times" speak against it. '
        "Other parts of the model add +0.25.\n"
        "\n"
        "A [++wonderful] [+film,] [--dull] at [-times.]\n"
        "\n"
        "relevance  -2.00 against POS [--] -1.00 [-] -0.20 .. +0.20 [+] +1.00 [++] for POS +2.00\n"
        "ledger     +2.50 = tokens +2.25, special tokens +0.20, biases +0.05, norms -4e-04, residue 0\n"
    )


def test_the_whole_of_it_in_color() -> None:
    e = explanation("A dull film", [0.0, -1.0, 0.5], size=20, ledger=held(-0.5))
    written = printed(e, "truecolor").splitlines()
    assert (
        written[3] == "A \x1b[38;2;0;0;0;48;2;80;145;240mdull\x1b[0m \x1b[38;2;255;255;255;48;2;146;93;40mfilm\x1b[0m"
    )
    assert SEQUENCE.sub("", written[5]) == f"relevance  -1.00 against POS {' ' * 21} for POS +1.00"


def test_the_contrast_and_another_target_are_named() -> None:
    e = explanation("film", contrast="NEG", logit=3.5)
    lines = printed(e, wrap=False).splitlines()
    assert lines[0].startswith("POS 97.1 %   explained: why POS and not NEG, logits differ by +3.50")
    assert "for NEG [--]" in lines[5]
    assert "[++] for POS" in lines[5]
    other = printed(explanation("film", target="NEG", logit=-1.0), wrap=False).splitlines()
    assert other[0].startswith("POS 97.1 %   explained: NEG 2.9 %, logit -1.00")
    regression = printed(explanation("film", probabilities={}), wrap=False).splitlines()
    assert regression[0].startswith("POS   explained: POS, logit +2.50")


def split_at_sequences(written: str) -> list[str]:
    return [part for part in SEQUENCE.split(written) if part]


def joined(before: str, after: str) -> bool:
    """Whether two neighbors are one grapheme cluster, or letters of a cursive script that join hands."""
    cursive = bool(re.search("[\u0620-\u064a][\u064b-\u0652]*$", before) and re.match("[\u0620-\u064a]", after))
    return cursive or any(match.start() < len(before) < match.end() for match in GRAPHEME.finditer(before + after))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    text=SCRIPTS.filter(lambda text: "\t" not in text),
    color=st.sampled_from(["truecolor", "256", "standard"]),
    size=st.integers(1, 3),
)
def test_escape_sequences_stand_between_whole_characters_only(text: str, color: str, size: int) -> None:
    e = explanation(text, size=size)
    console = Console(color_system=color, force_terminal=True, width=10_000, file=io.StringIO())  # type: ignore[arg-type]
    spans = whole_units(text, e.tokens)
    console.print(terminal.colored_text(text, spans, 1.0, console), soft_wrap=True, end="")
    written = console.file.getvalue()  # type: ignore[attr-defined]
    for line in written.split("\n"):
        parts = split_at_sequences(line)
        assert not any(joined(before, after) for before, after in pairwise(parts)), parts
    assert SEQUENCE.sub("", written) == text


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=SCRIPTS, width=st.integers(20, 60))
def test_no_line_is_wider_than_the_terminal_and_no_character_is_lost(text: str, width: int) -> None:
    written = printed(explanation(text), "truecolor", width=width)
    plain = SEQUENCE.sub("", written)
    assert all(cell_len(line) <= width for line in plain.splitlines())
    shown = "".join(plain.split())
    assert "".join(text.split()) in shown


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(min_size=1, max_size=60).filter(str.strip))
def test_a_text_cannot_command_the_terminal(text: str) -> None:
    for color in ("truecolor", None):
        written = printed(explanation(text, target=text, model=text), color, wrap=False)
        left = SEQUENCE.sub("", written)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", left)
        left.encode()


def test_control_characters_are_shown_as_pictures() -> None:
    written = printed(explanation("a\x1b[31mb\x07\x9b2J\x7f\rc\r\nd", size=99), wrap=False, by="token")
    assert "[--a␛[31mb␇\\x9b2J␡]␍[++c]\n[++d]\n" in written


def test_what_turns_the_text_around_is_an_escape_dim_where_there_are_colors() -> None:
    text = "not \u202ereally\u202c good \U000e0041"
    e = explanation(text, [1.0] * 9, size=99, target="\u202eSOP", predicted="\u202eSOP", model="\u2066owner/model")
    plain = printed(e, wrap=False)
    assert "not \\u202ereally\\u202c good \\U000e0041" in re.sub(r"\[[+-]{1,2}|\]", "", plain)
    assert "explained: \\u202eSOP, logit" in plain
    assert "for \\u202eSOP" in plain
    assert "\\u2066owner/model" in plain
    colored = printed(e, "truecolor", wrap=False)
    assert re.search(r"\x1b\[2;38;2;[\d;]+m\\u202e\x1b\[0m\x1b\[38;2;", colored)
    for written in (plain, colored):
        assert not set(written) & set("\u202e\u202c\u2066\U000e0041")


def test_newlines_and_tabs_stay_in_a_pipe_and_long_lines_are_not_wrapped() -> None:
    text = "\tone\n\n  two\tthree " + "word " * 60 + "end"
    written = printed(explanation(text, [0.0] * 99, size=20), wrap=False)
    assert text in written
    assert terminal.ledger_line(explanation("x").ledger, None).plain in written


def test_marks_are_shared_by_the_pieces_of_a_word() -> None:
    e = explanation("wonderful", [1.0, 0.9, 0.8, -0.2, 0.0], size=2)
    assert "[++wonder][-fu]l" in printed(e, wrap=False, by="token")
    assert "[++wonderful]" in printed(e, wrap=False)


def test_what_was_not_read_is_not_shown_as_read() -> None:
    text = "read this " + "and not this " * 100
    written = printed(explanation(text, size=20, truncated=(9, len(text))), wrap=False)
    assert "and not" not in written
    assert "! NOT READ: characters 9 to 1,310 of 1,310 (99.3 %): the text is longer than the model reads." in written
    left = printed(explanation(text, [0.0] * 999, size=20, truncated=(0, len(text) - 5)), wrap=False)
    assert left.index("NOT READ") < left.index("this")


@pytest.mark.parametrize("color", ["standard", "256", "truecolor"])
@pytest.mark.parametrize("width", [56, 60, 80])
def test_the_legend_stays_on_one_line(width: int, color: str) -> None:
    lines = SEQUENCE.sub("", printed(explanation("good film"), color, width=width)).splitlines()
    (legend,) = (line for line in lines if line.startswith("relevance"))
    assert legend.endswith("for POS +2.00")


@pytest.mark.parametrize("width", [70, 80, 100])
def test_the_ledger_stays_on_one_line_and_small_rows_make_room(width: int) -> None:
    headings = ("tokens", "special tokens", "positions", "token types", "biases", "norms", "constants", "softmax")
    rows = {heading: 2.0**i / 50 for i, heading in enumerate(headings)}
    books = Ledger(rows, sum(rows.values()))
    line = terminal.ledger_line(books, width).plain
    assert len(line) <= width
    assert "= tokens +0.02" in line
    assert width == 70 or "softmax +2.56" in line
    assert "others" in line
    assert all(heading in terminal.ledger_line(books).plain for heading in headings)


def test_rows_about_zero_are_one_entry_of_the_ledger() -> None:
    books = Ledger({"tokens": 1.0, "norms": 0.004, "softmax": -0.003, "biases": 0.5}, 1.501)
    assert (
        terminal.ledger_line(books).plain
        == "ledger     +1.50 = tokens +1.00, biases +0.50, 2 others about 0, residue 0"
    )
    many = dict.fromkeys(("norms", "softmax", "products", "constants", "positions"), 0.004)
    line = terminal.ledger_line(Ledger({"tokens": 1.0, **many}, 1.02)).plain
    assert line == "ledger     +1.02 = tokens +1.00, 5 others +0.02, residue 0"


def test_no_label_is_named_as_the_verdict_where_none_is_likely() -> None:
    logits, shares = {"toxic": -0.8, "rude": -2.0}, {"toxic": 0.31, "rude": 0.119}
    e = explanation("film", target="toxic", predicted="toxic", logits=logits, probabilities=shares, multi_label=True)
    verdict = printed(e, width=200).splitlines()[0]
    assert verdict.startswith("No label reaches 50 %; the highest is toxic (31.0 %)   explained: toxic, logit +2.50")
    alone = explanation(
        "film", target="spam", predicted="spam", logits={"spam": -0.8}, probabilities={"spam": 0.31}, multi_label=True
    )
    assert printed(alone, width=200).startswith("No label reaches 50 %; the highest is spam (31.0 %)")


@pytest.mark.parametrize("color", ["truecolor", "256"])
@pytest.mark.parametrize("ground", ["light", "dark"])
def test_text_keeps_its_contrast_in_every_color_that_is_written(
    color: str, ground: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTLRP_BACKGROUND", ground)
    console = Console(color_system=color, force_terminal=True)  # type: ignore[arg-type]
    for i in range(-200, 201):
        style = terminal_colors.style(i / 200, console)
        if style.color and style.bgcolor:
            ink, behind = style.color.get_truecolor(), style.bgcolor.get_truecolor()
            assert palette.contrast(palette.Color(*ink), palette.Color(*behind)) >= 4.5
        else:
            assert abs(i / 200) < palette.THRESHOLD


def test_the_background_is_what_the_terminal_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEXTLRP_BACKGROUND", raising=False)
    for said, dark in (("15;0", True), ("0;15", False), ("0;default;7", False), ("", True)):
        monkeypatch.setenv("COLORFGBG", said)
        assert terminal_colors.on_dark() is dark
    monkeypatch.setenv("TEXTLRP_BACKGROUND", "light")
    assert terminal_colors.on_dark() is False


def test_nothing_relevant_is_shown_without_a_division_by_zero() -> None:
    assert "film" in printed(explanation("film", [0.0], size=9), "truecolor")


def pair() -> Explanation:
    tokens = (
        Span(0, 0, "", 0.2, True, "[CLS]"),
        Span(0, 1, "A", 0.0),
        Span(2, 6, "film", 1.0),
        Span(6, 6, "", 0.0, True, "[SEP]"),
        Span(0, 4, "Dull", -0.5, source="text_pair"),
        Span(4, 5, ".", 0.0, source="text_pair"),
        Span(5, 5, "", 0.0, True, "[SEP]", "text_pair"),
    )
    text_pair = "Dull. And what was not read"
    return explanation(
        "A film", tokens=tokens, text_pair=text_pair, truncated_pair=(5, len(text_pair)), ledger=held(0.5)
    )


def test_both_texts_of_a_pair_are_shown() -> None:
    assert printed(pair(), wrap=False).splitlines()[3:9] == [
        "text 1",
        "A [++film]",
        "",
        "text 2",
        "[--Dull].",
        "! NOT READ: characters 5 to 27 of 27 (81.5 %): the text is longer than the model reads.",
    ]


def test_a_text_is_shown_by_token_word_or_sentence() -> None:
    e = explanation("It isn't bad. No.", [0.01, 1.0, 0.5, -1.2], size=4, ledger=held(0.31))
    assert printed(e, wrap=False, by="token").splitlines()[3] == "It [++isn'][+t] [--bad.] No."
    assert printed(e, wrap=False, by="word").splitlines()[3] == "It [++isn't] [--bad][-.] No."
    assert printed(e, wrap=False, by="sentence").splitlines()[3] == "[++It isn't bad. ]No."


def test_windows_are_counted() -> None:
    line = printed(explanation("film", windows=1200), wrap=False).splitlines()[0]
    assert "explained: POS, logit (mean of 1,200 windows) +2.50" in line
