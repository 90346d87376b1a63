"""The bytes of a page, for every kind of explanation; test_page_browser.py tests how a browser shows it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import hostile_strings
import pytest
from click.testing import CliRunner
from consistent_explanations import consistent
from example_explanations import explanation, held
from hypothesis import given, settings
from hypothesis import strategies as st

from textlrp import Explanation, Ledger, Span
from textlrp.cli import main
from textlrp.errors import InputError
from textlrp.render.format import shown
from textlrp.render.html import breakable
from textlrp.render.ledger_rows import MEANINGS
from textlrp.render.page_parts import BUILT_IN, command, excerpt, facts, label_rows, ledger_rows, listed
from textlrp.results.ledger import HEADINGS, RESIDUE


class Parts(HTMLParser):
    """The text in elements of a class, and every tag and attribute that there is."""

    def __init__(self, written: str, css: str = "text") -> None:
        super().__init__()
        self.css, self.depth = css, 0
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(written)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        if self.depth:
            self.depth += 1
        elif dict(attributes).get("class") == self.css:
            self.depth = 1
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.depth = max(0, self.depth - 1)

    def handle_data(self, data: str) -> None:
        if self.depth:
            self.texts[-1] += data


def text_of(e: Explanation, by: str = "word") -> str:
    """What stands in the page's text, as it is written."""
    text = re.search(r'<div class="text" dir="...">(.*?)</div>', e.to_html(by=by), re.DOTALL)
    assert text is not None
    return text[1]


def test_the_text_is_colored_by_word_relative_to_the_strongest() -> None:
    e = explanation("A <wonderful>\n\tfilm", [0.01, 2.2, -0.5])
    assert text_of(e) == (
        'A <span class="p2" title="+0.20 for POS">&lt;</span><span class="p10" title="+1.80 for POS">wonderful</span>'
        '<span class="p2" title="+0.20 for POS">&gt;</span>\n\t<span class="n3" title="−0.50 against POS">film</span>'
    )


def test_the_text_is_colored_by_token_or_sentence() -> None:
    e = explanation("It isn't bad. No.", [0.01, 1.0, 0.5, -1.2], size=4, ledger=held(0.31))
    assert text_of(e, "token") == (
        'It <span class="p9" title="+1.00 for POS">isn&#39;</span><span class="p5" title="+0.50 for POS">t</span> '
        '<span class="n10" title="−1.20 against POS">bad.</span> No.'
    )
    assert text_of(e, "sentence") == '<span class="p10" title="+0.310 for POS">It isn&#39;t bad. </span>No.'
    with pytest.raises(InputError, match="a text is shown by token, word, sentence, not by 'letter'"):
        e.to_html(by="letter")


def test_a_contrast_is_named_in_the_hints_the_legend_and_the_sentences() -> None:
    written = explanation("dull film", [-1.0, 0.5], contrast="NEG", ledger=held(-0.5)).to_html()
    assert 'title="−1.00 for NEG">dull<' in written
    assert '<span class="side">for <bdi class="name">NEG</bdi></span>' in written
    assert '<span class="end">−1.00</span>' in written
    assert 'Why <bdi class="name">POS</bdi> and not <bdi class="name">NEG</bdi>?' in written
    assert "logit of POS minus logit of NEG" in written
    assert "<bdi>--target POS</bdi> <bdi>--contrast NEG</bdi>" in written


def test_another_target_than_the_chosen_one_is_said_so() -> None:
    written = explanation("dull film", target="NEG", logit=-1.0).to_html()
    assert '<h1><bdi class="name">POS</bdi> <span class="share">97.1\u00a0%</span></h1>' in written
    assert 'This explains <bdi class="name">NEG</bdi> (2.9\u00a0%) instead' in written
    assert '<span class="side">against <bdi class="name">NEG</bdi></span>' in written


def test_what_was_not_read_is_gray_and_said_so() -> None:
    text = "read this " + "and not this " * 100
    e = explanation(text, [1.0, 0.0], truncated=(9, len(text)), ledger=held(1.0))
    assert text_of(e) == (
        '<span class="p10" title="+1.00 for POS">read</span> this<span class="unread end">' + text[9:] + "</span>"
    )
    sentence = "The text is longer than the model reads: it read only the {} of 1,310 characters. The part in gray ({}"
    assert sentence.format("first 9", "99.3\u00a0%) played no role.") in e.to_html()
    left = explanation(text, [0.0] * 999, truncated=(0, len(text) - 5))
    assert text_of(left) == '<span class="unread start">' + text[:-5] + "</span>" + text[-5:]
    assert sentence.format("last 5", "99.6\u00a0%) played no role.") in left.to_html()
    assert "not read" not in re.sub("<style>.*?</style>", "", explanation(text).to_html(), flags=re.DOTALL)


def test_pairs_and_windows_are_shown() -> None:
    tokens = (Span(0, 6, "A film", 1.0), Span(0, 4, "Dull", -0.5, source="text_pair"))
    more = {"text_pair": "Dull. Unread", "truncated_pair": (5, 12), "windows": 1200}
    e = explanation("A film", tokens=tokens, ledger=held(0.5), **more)
    written = e.to_html()
    assert Parts(written).texts == ["A film", "Dull. Unread"]
    at = [written.index(part) for part in ("First text", ">film</span>", "Second text", ">Dull</span>")]
    assert at == sorted(at)
    assert '<bdi>Dull</bdi></th><td class="number">0 of text 2</td><td class="number">−0.500</td>' in written
    assert "textlrp explain &#39;A film&#39;" in written
    assert "--pair &#39;Dull. Unread&#39;" in written
    assert "--long windows" in written


def test_a_regression_has_a_score_and_no_probability() -> None:
    written = explanation("film", logits={"LABEL_0": 3.25}, probabilities={}, predicted="LABEL_0", target="LABEL_0")
    rows = label_rows(written)
    assert [(row.name, row.value, row.exact) for row in rows] == [("LABEL_0", "+3.25", "")]
    assert "%" not in re.sub("<style>.*?</style>", "", written.to_html(), flags=re.DOTALL)


def test_many_labels_are_shown_from_the_likeliest_and_folded() -> None:
    logits = {f"topic {i}": float(i) for i in range(30)}
    e = explanation("film", logits=logits, probabilities={}, predicted="topic 29", target="topic 29")
    assert [row.name for row in label_rows(e)][:2] == ["topic 29", "topic 28"]
    assert "<summary>20 more labels</summary>" in e.to_html()


def test_each_label_is_given_its_part() -> None:
    e = explanation(
        "film", target="a", contrast="b", predicted="b", logits={"a": 1.0, "b": 2.0}, probabilities={"b": 0.7}
    )
    assert [(row.name, row.value, row.note, row.exact) for row in label_rows(e)] == [
        ("b", "70.0\u00a0%", "chosen, contrast", "+2.00"),
        ("a", "+1.00", "explained", ""),
    ]
    says = 'The model chose <bdi class="name">b</bdi>. Why <bdi class="name">a</bdi> and not <bdi class="name">b</bdi>?'
    assert says in " ".join(e.to_html().split())


def test_the_ledger_adds_up_before_the_eyes() -> None:
    rows = ledger_rows(Ledger({"tokens": -1.5, "biases": 4.0, "norms": 0.004, "softmax": 0.0}, 2.504))
    assert [(row.name, row.value) for row in rows] == [
        ("tokens", "−1.50"),
        ("biases", "+4.00"),
        ("norms", "+0.004"),
        ("residue", "0"),
        ("score", "+2.50"),
    ]
    assert [(row.bar.x, row.bar.width, row.bar.css, row.bar.zero) for row in rows[:2]] == [
        (0.0, 54.5, "against", 54.5),
        (54.5, 145.5, "for", 54.5),
    ]
    assert all(row.note.endswith(".") for row in rows[:-1])


def test_rows_about_zero_fold_into_one_and_the_sum_stays() -> None:
    books = Ledger({"tokens": 0.001, "biases": 4.0, "norms": 0.004, "softmax": -0.01, "special tokens": 0.03}, 4.025)
    rows = ledger_rows(books)
    assert [(row.name, row.exact) for row in rows] == [
        ("tokens", "0.001"),  # the words are never folded
        ("special tokens", "0.03"),
        ("biases", "4"),
        ("2 others, about 0", "-0.006"),
        ("residue", "0"),
        ("score", "4.025"),
    ]
    assert [(row.name, row.value, row.note) for row in rows[3].folded] == [
        ("norms", "≈ 0", MEANINGS["norms"]),
        ("softmax", "\u22120.01", MEANINGS["softmax"]),
    ]
    written = explanation("film", [0.001], ledger=books).to_html()
    assert "<details><summary>2 others, about 0</summary>" in written
    many = dict.fromkeys(("norms", "softmax", "products", "constants", "positions"), 0.004)
    assert "5 others" in [row.name for row in ledger_rows(Ledger({"tokens": 1.0, **many}, 1.02))]


#: A text that may have several labels, and has none.
NONE: dict[str, Any] = {
    "multi_label": True,
    "target": "toxic",
    "predicted": "toxic",
    "logits": {"toxic": -0.8, "rude": -2.0, "spam": -3.0},
    "probabilities": {"toxic": 0.31, "rude": 0.119, "spam": 0.047},
}


def test_no_label_is_chosen_where_none_is_likely() -> None:
    e = explanation("film", **NONE)
    for written in (e.to_html(), e._repr_html_()):
        written = " ".join(written.split())
        assert "chose " not in written
        assert 'No label reaches 50 %; the highest is <bdi class="name">toxic</bdi> (31.0 %). Orange words' in written
    assert "<title>No label ·" in e.to_html()
    assert label_rows(e)[0].note == "highest, explained"


def test_one_label_is_chosen_where_they_exclude_each_other_or_one_is_likely() -> None:
    logits = {"a": 0.4, "b": 0.2, "c": 0.1}
    shares = {"a": 0.391, "b": 0.320, "c": 0.289}
    e = explanation("film", target="a", predicted="a", logits=logits, probabilities=shares)
    assert 'The model chose <bdi class="name">a</bdi>' in e.to_html()
    likely = {"logits": {"toxic": 0.5, "rude": 0.1}, "probabilities": {"toxic": 0.622, "rude": 0.525}}
    both = " ".join(explanation("film", **{**NONE, **likely}).to_html().split())
    assert 'The model chose <bdi class="name">toxic</bdi> and <bdi class="name">rude</bdi>.' in both
    assert 'Orange words speak for <bdi class="name">toxic</bdi>' in both


def test_every_heading_has_a_meaning() -> None:
    assert set(MEANINGS) == {*HEADINGS, RESIDUE}
    assert len(set(MEANINGS.values())) == len(MEANINGS)


def test_every_word_is_listed_and_many_are_summed_up() -> None:
    e = explanation(" ".join(["word"] * 250), [1.0] * 199 + [-2.0] + [0.5] * 50)
    rows, others, rest = listed({"text": e.words}, 2.0)
    assert (rows[0].value, rows[1].value, len(rows), others, rest) == ("−2.00", "+1.00", 200, 50, "+25.00")
    assert "50 weaker ones together" in e.to_html()


def test_white_space_and_long_sentences_have_names_in_lists() -> None:
    assert [excerpt(text) for text in (" ", "\n ", "two\nlines", "x" * 200)] == [
        "(space)",
        "(line break)",
        "two lines",
        "x" * 119 + "…",
    ]


def test_nothing_relevant_and_nothing_read_are_shown_all_the_same() -> None:
    e = explanation("film", [0.0], truncated=(0, 4), ledger=Ledger({}, 0.0), logit=0.0)
    assert text_of(e) == '<span class="unread start">film</span>'
    assert "it read nothing of this text" in e.to_html()
    assert e.to_html().count("Nothing.") == 2


def test_right_to_left_texts_begin_on_the_right_and_cursive_words_stay_whole() -> None:
    written = explanation("فيلم رائع", [1.0] * 9, size=1).to_html()
    assert '<div class="text" dir="rtl"><span class="p10" title="+4.00 for POS">فيلم</span> <span' in written


def test_hostile_strings_become_nothing_but_text() -> None:
    assert len(hostile_strings.STRINGS) >= 200
    plain = Parts(explanation("film", contrast="NEG").to_html())
    for name in hostile_strings.STRINGS:
        e = explanation(name, target=name, predicted=name, contrast="NEG", model=name, logits={name: 1.0, "NEG": 0.0})
        for written in (e.to_html(), e._repr_html_()):
            written.encode()
            parts = Parts(written)
            assert parts.texts == [shown(name)]
            assert parts.tags <= plain.tags | {"div", "wbr"}
            assert parts.attributes <= plain.attributes


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), min_size=1, max_size=60), st.sampled_from(["token", "word", "sentence"]))
def test_the_text_is_all_there(text: str, by: str) -> None:
    written = explanation(text, size=3).to_html(by=by)
    written.encode()
    assert Parts(written).texts == [shown(text)]


@given(st.text(), st.text())
def test_the_command_names_a_model_and_a_label_whatever_they_are_called(model: str, label: str) -> None:
    words = shlex.split(" ".join(command(explanation("film", model=model, target=label, rules="cp-lrp"), "token")))
    expected = ["textlrp", "explain", "film"]
    expected += ["--model", model] if model not in ("", BUILT_IN) else []  # the built-in one is the default
    expected += ["--target", label]  # of which a model may have one that is called ""
    assert words == [*expected, "--rules", "cp-lrp", "--by", "token"]


@pytest.mark.parametrize("text", ["two\nlines", "-x", "long " * 50, " "])
def test_a_text_that_no_command_line_holds_is_read_from_a_file(text: str) -> None:
    e = explanation("film", text_pair=text, tokens=(Span(0, 4, "film", 1.0),), ledger=held(1.0))
    assert command(e, "word")[:2] == ("textlrp explain film", '--pair "$(cat second-text.txt)"')
    assert "save it as text.txt (and the second one as second-text.txt)" in " ".join(e.to_html().split())
    assert command(explanation(text), "word")[0] == "textlrp explain --file text.txt"


def test_names_break_between_their_parts() -> None:
    assert breakable("owner/model_a-b") == "owner/<wbr>model_<wbr>a-<wbr>b"
    assert breakable("a\n<b>--") == "a\n&lt;b&gt;--"
    assert breakable("") == ""


def test_the_footer_has_what_repeats_it() -> None:
    e = explanation(
        "film", model="owner/model", revision="abc123", reading={"window": 128}, rules="Rules(linear=LRP0())"
    )
    assert dict(facts(e, "word")) == {
        "Model": "owner/model",
        "Revision": "abc123",
        "Score explained": "logit of POS",
        "Rules": "Rules(linear=LRP0())",
        "Reading options": "window 128",
        "Shown by": "word",
        "Versions": "textlrp 0.1.0, torch 2.13.0",
    }
    assert " ".join(command(e, "word")) == (
        "textlrp explain film --model owner/model --revision abc123 --target POS --rules rules.json --window 128"
    )
    saved = consistent(e)
    assert Explanation.from_json(saved.to_json()) == saved


def test_the_built_in_classifier_needs_no_name() -> None:
    from textlrp.explain.explainer import DEMO_NAME

    assert BUILT_IN == DEMO_NAME
    assert "--model" not in " ".join(command(explanation("film", model=DEMO_NAME), "word"))


def test_the_policy_lets_nothing_in_but_the_page_s_own_style() -> None:
    written = explanation("film").to_html()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', written)
    assert policy is not None
    assert re.fullmatch(
        r"default-src &#39;none&#39;; style-src &#39;sha256-[\w+/=]{44}&#39;; img-src data:; "
        r"base-uri &#39;none&#39;; form-action &#39;none&#39;",
        policy[1],
    )
    assert not {"script", "link", "img", "iframe", "a", "form"} & Parts(written).tags
    assert not {"style", "src", "href", "id", "onclick"} & Parts(written).attributes
    assert "url(" not in written
    assert "@import" not in written


def test_it_is_the_same_on_every_run_and_needs_no_torch(tmp_path: Path) -> None:
    e = consistent(explanation("A wonderful film, dull at times.", logits={"b": 1.0, "a": 1.0, "POS": 1.0}))
    e.to_json(tmp_path / "e.json")
    script = (
        "import sys, textlrp\n"
        "e = textlrp.Explanation.from_json(sys.argv[1]); e.to_html(sys.argv[2]); print(e._repr_html_())\n"
        "loaded = {'torch', 'transformers', 'rich', 'numpy'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    fragments = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"}
        arguments = [sys.executable, "-W", "error", "-c", script, tmp_path / "e.json", tmp_path / f"{seed}.html"]
        fragments.add(subprocess.run(arguments, stdout=subprocess.PIPE, env=environment, check=True).stdout)
    assert len(fragments) == 1
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes() == e.to_html().encode()


def test_the_command_line_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "e.html"
    arguments = ["explain", "A dull film.", "--format", "html"]
    assert CliRunner().invoke(main, [*arguments, "-o", str(path)]).output == ""
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>\n<html lang=")
    assert CliRunner().invoke(main, arguments).stdout_bytes == path.read_bytes()
    assert os.listdir(tmp_path) == ["e.html"]


def test_the_command_in_the_footer_gives_the_very_same_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("A warm and funny film.\n\nThe ending is a mess, sadly.", encoding="utf-8", newline="")
    options = "--file text.txt --window 8 --contrast runner-up --by token --rules cp-lrp --long windows".split()
    first = CliRunner().invoke(main, ["explain", *options, "--format", "html"])
    named = Parts(first.stdout, "command").texts[0]
    assert named == (
        "textlrp explain --file text.txt --target POS --contrast NEG --rules cp-lrp --long windows --window 8 "
        "--by token"
    )
    again = CliRunner().invoke(main, [*shlex.split(named)[1:], "--format", "html"])
    assert again.stdout_bytes == first.stdout_bytes
