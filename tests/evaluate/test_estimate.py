"""Estimates: what methods and measures cost is what they are said to cost, and what costs much is known before."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from example_evaluations import plan
from tiny_bert import bert, fast_tokenizer

from textlrp import Explainer
from textlrp.data.document_sets import DocumentSet
from textlrp.data.documents import InputDocument
from textlrp.errors import ModelError
from textlrp.evaluate import baselines, faithfulness
from textlrp.evaluate.estimate import (
    Cost,
    Length,
    Speed,
    cost,
    costly,
    cuts,
    lengths,
    median,
    reads,
    sentence,
    timed,
)
from textlrp.evaluate.scorers import Scorer, Task
from textlrp.results.attribution import Attribution

TEXT = "A wonderful moving film never dull"


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    tokenizer = fast_tokenizer("wordpiece")
    return Explainer(bert(len(tokenizer), num_hidden_layers=2), tokenizer)


def document(text: str) -> InputDocument:
    return InputDocument(text, text, None, None, ())


def corpus(*texts: str, available: int | None = None) -> DocumentSet:
    return DocumentSet("notes", tuple(map(document, texts)), dict.fromkeys(texts, ()), available)


def sizes(*tokens: int) -> list[Length]:
    return [Length(count, count, document(str(count))) for count in tokens]


@pytest.mark.parametrize(
    "name",
    [
        "attnlrp",
        "difference",
        "gradient-norm",
        "gradient-x-input",
        "integrated-gradients:7",
        "lrp-path:3",
        "occlusion",
        "random",
        "rollout",
        "beam:1",
        "difference:documents:3",
        "lime:40",
        "shapley:4",
    ],
)
def test_methods_cost_what_they_are_said_to_cost(explainer: Explainer, name: str) -> None:
    if name.startswith(("lime", "shapley")):
        pytest.importorskip("captum")
    method = baselines.scorer(name)
    scores = method(explainer, TEXT, background=["another dull film", "one that I never saw"])
    tokens = sum(not token.special for token in scores.tokens)
    assert tokens == 7
    assert method.passes(tokens) == pytest.approx(scores.forwards, rel=0.2)


@pytest.mark.parametrize("repeats", [1, 4, 8])
def test_measuring_reads_about_as_many_texts_as_said(explainer: Explainer, repeats: int) -> None:
    one, two = (baselines.scorer("random")(explainer, TEXT * repeats, seed=seed) for seed in (0, 1))
    units = sum(not token.special for token in one.tokens)
    known = faithfulness.perturbed(explainer, one)
    first = faithfulness.assess(explainer, one, known=known).forwards
    further = faithfulness.assess(explainer, two, known=known).forwards
    assert reads(units, 20, 1, first=True) == pytest.approx(first, rel=0.1)
    assert reads(units, 20, 1, first=False) == pytest.approx(further, rel=0.1)
    assert reads(units, 20, 5, first=True) == 5 * reads(units, 20, 1, first=True)


def test_lengths_are_those_that_the_model_reads(explainer: Explainer) -> None:
    texts = corpus("never dull", TEXT, "dull")
    assert [(each.tokens, each.document.text) for each in lengths(explainer, texts, "token")] == [
        (1, "dull"),
        (2, "never dull"),
        (7, TEXT),
    ]
    assert median(lengths(explainer, texts, "token")).document.text == "never dull"
    split = corpus("never ,.!, dull")
    assert [each.units for each in lengths(explainer, split, "token")] == [6]
    assert [each.units for each in lengths(explainer, split, "word")] == [3]
    (most,) = lengths(explainer, corpus("dull " * 500), "token")
    assert most.tokens == 62  # it is cut to the 64 ids that the model reads


def test_a_method_is_costly_by_the_passes_for_a_document_of_median_length() -> None:
    methods = {name: baselines.scorer(name) for name in ("attnlrp", "integrated-gradients:34", "occlusion")}
    documents = [corpus(*"abcde")]
    short, long = {("bert", "notes"): sizes(1, 99, 500)}, {("gpt2", "notes"): sizes(100)}
    assert costly(methods, documents, 3, short) == {"notes": ("integrated-gradients:34",)}
    assert costly(methods, documents, 3, {**short, **long}) == {"notes": ("integrated-gradients:34", "occlusion")}
    assert costly(methods, documents, 5, long) == {}
    assert costly(methods, documents, None, long) == {}


def test_what_is_cut_is_said() -> None:
    limited = plan(limit_costly=2, costly={"notes": ("occlusion", "lime")})
    assert list(cuts(limited, [corpus(*"abcde", available=1200)])) == [
        "notes: 5 of 1,200 documents, drawn at random; --limit 0 takes all",
        "notes: 2 of its 5 documents for occlusion, lime, more than 100 forward passes each; --limit-costly 0 takes "
        "all",
    ]
    assert list(cuts(plan(), [corpus(*"abcde")])) == []


def test_a_cost_by_hand() -> None:
    methods = {"attnlrp": baselines.scorer("attnlrp"), "occlusion": baselines.scorer("occlusion")}
    speed = Speed({"attnlrp": 0.5, "occlusion": 2.0}, {"mask": 4.0}, {"mask": 1.0})
    # Ten tokens: 3 and 11 passes, 80 to measure the first and 20 for the second.
    pending: Sequence[Sequence[str]] = [["attnlrp", "occlusion"], ["occlusion"]]
    assert cost(sizes(10), speed, methods, plan(), pending) == Cost(
        3 + 2 * 11 + 2 * 80 + 20, 0.5 + 2 * 2.0 + 2 * 4.0 + 1.0
    )
    # Texts that are twice as long cost twice as much for each pass, and occlusion takes about twice as many.
    longer = cost(sizes(10, 10, 20), speed, methods, plan(), [["occlusion"]])
    assert longer.passes == pytest.approx((11 + 11 + 21) / 3 + (80 + 80 + 110) / 3)
    assert longer.seconds == pytest.approx(2.0 * (1 + 1 + 2 * 21 / 11) / 3 + 4.0 * (1 + 1 + 2 * 110 / 80) / 3)


def test_sentences() -> None:
    assert sentence(plan(), 0, 8, [Cost(1234.0, 30.0), Cost(1000.0, 100.0)]) == (
        "evaluating 4 documents x 2 methods x 1 perturbation x 1 model: about 2,200 forward passes, about 2 minutes"
    )
    assert sentence(plan(), 3, 5, [Cost(99.0, 7.0)]) == (
        "going on after 3 of 8 results: about 99 forward passes, about 7 seconds"
    )


def test_what_fails_is_left_to_the_run(explainer: Explainer) -> None:
    def fail(task: Task) -> Attribution:
        raise ModelError("no attention")

    methods = {"broken": Scorer(fail), "random": baselines.scorer("random")}
    speed = timed(
        explainer, lengths(explainer, corpus(TEXT), "token")[0], methods, plan(perturb=("mask", "zero")), None
    )
    assert sorted(speed.methods) == ["broken", "random"]
    assert all(seconds > 0 for seconds in [*speed.methods.values(), *speed.first.values(), *speed.further.values()])
