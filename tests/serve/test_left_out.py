"""The score without some words, what an edit changed, and what requests may say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import served_models
import torch

from textlrp import Explainer, Rules
from textlrp.errors import InputError
from textlrp.serve import compared, left_out, server
from textlrp.serve.question import LeftOut, Question

TEXT = "The film is bad, really."
BAD = "1:12-15"


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer.demo()


@pytest.fixture(scope="module")
def state(explainer: Explainer) -> Iterator[server.ServerState]:
    state = server.ServerState([server.Model.of(explainer), *served_models.MODELS])
    yield state
    state.jobs.close()


def answer(state: server.ServerState, text: str, **asked: Any) -> Any:
    return state.answer(Question.of(json.dumps({"text": text, **asked}).encode(), len(state.models)))


def without(state: server.ServerState, number: int, *places: str, how: str = "delete") -> Any:
    return state.without(LeftOut("", number, places, how))


def plain_score(explainer: Explainer, ids: list[int], label: int) -> float:
    with torch.no_grad():
        return float(explainer.model(input_ids=torch.tensor([ids])).logits[0, label])


@pytest.mark.parametrize("how", ["delete", "mask"])
def test_the_scores_are_those_of_the_plain_model(explainer: Explainer, how: str) -> None:
    explanation = explainer.explain(TEXT)
    ids = explainer.tokenizer(TEXT)["input_ids"]
    (bad,) = explainer.tokenizer.convert_tokens_to_ids(["bad"])
    changed = [i if i != bad else explainer.tokenizer.mask_token_id for i in ids if how == "mask" or i != bad]
    assert len(changed) == len(ids) - (how == "delete")
    label = explainer.labels.index("NEG")
    tokens = left_out.units(explanation, "word")[BAD].tokens
    before, after = left_out.scores(explainer)(explanation, tokens, how)
    assert before == pytest.approx(plain_score(explainer, ids, label), abs=1e-5)
    assert after == pytest.approx(plain_score(explainer, changed, label), abs=1e-5)


def test_a_change_stands_beside_the_relevance(state: server.ServerState) -> None:
    number = answer(state, TEXT)["number"]
    assert without(state, number, BAD) == {
        "words": ["bad"],
        "before": "+0.71",
        "after": "\u22120.35",
        "change": "\u22121.06",
        "relevance": "+0.64",
        "target": "NEG",
        "contrast": None,
    }
    several = without(state, number, BAD, "1:4-8", how="mask")
    assert several["words"] == ["bad", "film"]
    assert several["relevance"] == "+0.619"


def test_words_of_both_texts_of_a_pair(state: server.ServerState) -> None:
    told = answer(state, "one two", pair="drei vier", model=1)
    assert 'data-place="2:5-9"' in told["html"]
    # By hand: each first word has +1, each second one -0.5; deleting takes twice that, masking once.
    assert without(state, told["number"], "1:4-7", "2:0-4") == {
        "words": ["two", "drei"],
        "before": "+1.50",
        "after": "+0.50",
        "change": "\u22121.00",
        "relevance": "+0.50",
        "target": "POS",
        "contrast": None,
    }
    assert without(state, told["number"], "1:4-7", "2:0-4", how="mask")["after"] == "+1.00"


@pytest.mark.parametrize(
    ("by", "places"),
    [
        ("word", ["1:0-3", "1:4-9", "1:9-10", "1:11-16"]),
        ("sentence", ["1:0-11", "1:11-16"]),
        ("token", ["1:0-3", "1:4-9", "1:9-10", "1:11-16"]),
    ],
)
def test_units_have_tokens_and_places(explainer: Explainer, by: str, places: list[str]) -> None:
    found = left_out.units(explainer.explain("the movie. Great"), by)
    assert list(found) == places
    assert sorted(i for unit in found.values() for i in unit.tokens) == [1, 2, 3, 4]


def test_a_letter_that_is_several_tokens_is_one_unit() -> None:
    explanation = served_models.explain("a\u0301 b", rules=Rules.parse("attnlrp"))
    assert {place: unit.text for place, unit in left_out.units(explanation, "word").items()} == {
        "1:0-2": "a\u0301",
        "1:3-4": "b",
    }


def test_what_cannot_be_left_out_is_a_sentence(state: server.ServerState) -> None:
    number = answer(state, TEXT)["number"]
    with pytest.raises(InputError, match=r"^the text has no word at 1:0-99: explain the text again$"):
        without(state, number, "1:0-99")
    with pytest.raises(InputError, match=r"^this explanation is no longer kept: explain the text again$"):
        without(state, 10**6, BAD)
    number = answer(state, "a good film", model=2)["number"]
    with pytest.raises(InputError, match=r"^this model has no mask token: delete words instead$"):
        without(state, number, "1:2-6", how="mask")
    told = answer(state, "a good film", model=3)
    assert "data-place" not in told["html"]
    with pytest.raises(InputError, match=r"^words cannot be left out of a text of <script>alert\(1\)</script>$"):
        without(state, told["number"], "1:2-6")
    told = answer(state, "good film, " * 400, long="windows")
    assert "data-place" not in told["html"]
    with pytest.raises(InputError, match=r"^words cannot be left out of a text that is read in windows$"):
        without(state, told["number"], "1:0-4")


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"number": "1"}, "number is that of an explanation, not '1'"),
        ({"number": 1, "places": []}, r"places are a list of words to leave out, not \[\]"),
        ({"number": 1, "places": [1]}, r"places are a list of words to leave out, not \[1\]"),
        ({"number": 1, "places": [BAD], "how": "zero"}, "words are left out by delete or mask, not by 'zero'"),
        ({"number": 1, "places": [BAD], "how": "mask", "page": "x" * 101}, "page is a name of up to 100 .*"),
        ([], "this request is not a JSON object"),
    ],
)
def test_a_request_that_no_page_makes_is_refused(request_: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^{sentence}$"):
        LeftOut.of(json.dumps(request_).encode())


# The text before


def test_an_edit_shows_both_scores_and_the_words_that_changed(state: server.ServerState) -> None:
    told = answer(state, TEXT, before="The film is good, really.")["compared"]
    assert told == {
        "text": "The film is good, really.",
        "target": "NEG",
        "contrast": None,
        "before": "\u22120.85",
        "now": "+0.71",
        "change": "+1.56",
        "predicted": ["POS", "NEG"],
        "rows": [["bad", "", "+0.639", "+0.639"], ["good", "\u22120.299", "", "+0.299"]],
        "more": 0,
        "rest": "0",
    }
    assert answer(state, TEXT)["compared"] is None


def test_a_text_before_that_cannot_be_explained_is_a_sentence(state: server.ServerState) -> None:
    told = answer(state, "a good film", model=1, before="unknown")["compared"]
    assert told == {
        "error": "The text before cannot be explained like this one: "
        "there is no label 'X': the model's labels are POS, NEG"
    }


@pytest.mark.parametrize("filler", [0, 5000])
def test_words_that_stayed_are_matched(filler: int) -> None:
    rules = Rules.parse("attnlrp")
    before = served_models.explain("a b c" + " x" * filler, "p", rules=rules)
    now = served_models.explain("a new b c" + " x" * filler, "p q", rules=rules)
    found = [change for change in compared.changes(before, now) if change.text != "x"]
    assert [(c.text, c.before is None, c.now is None) for c in found] == [
        ("a", False, False),
        ("new", True, False),
        ("b", False, False),
        ("c", False, False),
        ("p", False, False),
        ("q", True, False),
    ]
    assert (found[2].before, found[2].now) == pytest.approx((-0.5, 1 / 3))
