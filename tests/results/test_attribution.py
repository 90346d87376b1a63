"""Attributions group their tokens as explanations do, and need no torch."""

from __future__ import annotations

import subprocess

import example_explanations
import pytest
from strict_python import STRICT

from textlrp import Explanation, Span
from textlrp.errors import InputError
from textlrp.results.attribution import Attribution


def attribution_of(e: Explanation) -> Attribution:
    return Attribution(e.text, e.target, e.contrast, "occlusion", e.tokens, e.logit, 7.0, 0.1, e.text_pair, e.truncated)


def test_words_and_sentences_are_those_of_an_explanation() -> None:
    e = example_explanations.explanation("Never dull! A film to see.", size=4)
    a = attribution_of(e)
    assert [span.text for span in a.words] == [
        "Never",
        " ",
        "dull",
        "!",
        " ",
        "A",
        " ",
        *"film| |to| |see|.".split("|"),
    ]
    assert [span.text for span in a.sentences] == ["Never dull! ", "A film to see."]
    assert (a.words, a.sentences) == (e.words, e.sentences)
    assert (a.units("token"), a.units("word"), a.units("sentence")) == (a.tokens, a.words, a.sentences)
    with pytest.raises(InputError, match="by token, word, sentence, not by 'line'"):
        a.units("line")


def test_pairs_and_what_was_not_read() -> None:
    tokens = (
        Span(0, 0, "", 9.0, True, "[CLS]"),
        Span(0, 4, "dull", -2.0),
        Span(0, 5, "moves", 3.0, source="text_pair"),
    )
    a = Attribution("dull film", "POS", None, "lime", tokens, 1.0, 1.0, 0.0, "moves", truncated=(4, 9))
    assert [(span.text, span.relevance, span.source) for span in a.words] == [
        ("dull", -2.0, "text"),
        ("moves", 3.0, "text_pair"),
    ]


def test_torch_is_not_needed_to_hold_scores_and_to_name_methods() -> None:
    program = (
        "import sys\n"
        "from textlrp import baselines; from textlrp.results import attribution\n"
        "assert 'occlusion' in baselines.NAMES\n"
        "assert not {'torch', 'captum', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([*STRICT, "-c", program], check=True, timeout=60)
