"""The tokens of other texts: which there are, and what is drawn from them."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from bag_of_words import explainer

from textlrp.errors import InputError
from textlrp.evaluate.background import Background, read_background

TEXTS = ["great film", "bad", "a dull plot"]


def words(model: Any, ids: tuple[int, ...]) -> str:
    return " ".join(model.tokenizer.convert_ids_to_tokens(list(ids)))


def test_it_holds_all_tokens_but_special_ones_and_those_of_the_text_itself() -> None:
    model = explainer()
    found = Background.of(model, ["great film", "", "bad", "a dull plot"])
    assert [(text, words(model, ids)) for text, ids in found.documents] == [(text, text) for text in TEXTS]
    assert words(model, found.apart_from("never")) == "great film bad a dull plot"
    assert words(model, found.apart_from("bad")) == "great film a dull plot"
    assert words(model, found.apart_from("bad", "great film")) == "a dull plot"
    with pytest.raises(InputError, match="the background holds nothing but this text"):
        Background.of(model, ["bad", "bad"]).apart_from("bad")


def test_many_documents_are_sampled_in_their_order() -> None:
    model = explainer()
    texts = [f"{word} " * (i + 1) for i, word in enumerate(["great", "bad"] * 150)]
    found = Background.of(model, texts)
    places = [texts.index(text) for text, _ in found.documents]
    assert len(places) == 200
    assert places == sorted(set(places))
    assert found == Background.of(model, texts) != Background.of(model, texts, seed=1)


def test_draws_have_the_frequency_of_the_tokens() -> None:
    model = explainer()
    found = Background.of(model, ["great great film", "bad"])
    (drawn,) = found.draws("a text", None, 4000, 1, 0)
    counts = Counter(words(model, (number,)) for number in drawn)
    assert counts == {"great": pytest.approx(2000, abs=150), "film": pytest.approx(1000, abs=150), "bad": counts["bad"]}
    assert found.draws("a text", None, 9, 2, 0) == found.draws("a text", None, 9, 2, 0)
    assert len({found.draws(*key)[0] for key in [("a", None, 9, 1, 0), ("a", "b", 9, 1, 0), ("a", None, 9, 1, 1)]}) == 3


def test_stretches_are_tokens_in_a_row_from_anywhere() -> None:
    model = explainer()
    found = Background.of(model, TEXTS)
    stretches = {words(model, ids) for ids in found.stretches("bad", None, 3, 60, 0)}
    assert stretches == {"great film a", "film a dull", "a dull plot", "dull plot great", "plot great film"}
    assert words(model, Background.of(model, ["bad"]).stretches("a text", None, 3, 1, 0)[0]) == "bad bad bad"


def test_a_background_is_texts_that_this_model_reads() -> None:
    model = explainer()
    made = Background.of(model, TEXTS)
    assert read_background(made, model) is made
    assert read_background(TEXTS, model) == made
    assert read_background(None, model) is None
    with pytest.raises(InputError, match="the ids of another model's tokenizer"):
        read_background(made, explainer())
    for wrong, says in (
        ("a text", "not 'a text'"),
        ([], r"not \[\]"),
        ([1], r"not \[1\]"),
        ([" "], "no text of the back"),
    ):
        with pytest.raises(InputError, match=says):
            read_background(wrong, model)  # type: ignore[arg-type]


def test_the_background_does_not_disturb_other_random_numbers() -> None:
    random.seed(5)
    expected = random.random()
    random.seed(5)
    Background.of(explainer(), TEXTS).draws("a text", None, 3, 2, 0)
    assert random.random() == expected
