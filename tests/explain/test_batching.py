"""Texts in batches get their explanations alone, and layers balance, on every architecture; a bad text fails alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import batch_sweep
import pytest
import tiny_models
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tiny_bert import bert, fast_tokenizer

from textlrp import Explainer, Explanation
from textlrp.errors import BatchError, InputError, LRPError, ModelError
from textlrp.explain.batching import buckets
from textlrp.explain.classifier import Classifier

LENGTHS = st.lists(st.integers(1, 600), max_size=60)
TEXTS = [
    "A wonderful, moving film.",
    "dull",
    "the plot is never dull, and the film is wonderful! " * 2,
    "bad film.",
    "no, no, no",
    "great",
]


@given(lengths=LENGTHS, batch_size=st.integers(1, 20), padding=st.sampled_from([0.0, 0.1, 0.5]))
def test_texts_of_like_length_share_a_batch(lengths: list[int], batch_size: int, padding: float) -> None:
    batches = buckets(lengths, batch_size, padding, ids=2000)
    assert sorted(i for bucket in batches for i in bucket) == list(range(len(lengths)))
    for bucket in batches:
        sizes = [lengths[i] for i in bucket]
        padded = len(bucket) * max(sizes)
        assert 1 <= len(bucket) <= batch_size
        assert len(bucket) == 1 or padded <= 2000
        assert sum(sizes) >= (1 - padding) * padded
    longest = [max(lengths[i] for i in bucket) for bucket in batches]
    assert longest == sorted(longest, reverse=True)


def test_batches_are_full_where_they_can_be() -> None:
    assert buckets([7] * 10, 4) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert buckets([3, 9, 9, 3], 4) == [[1, 2], [0, 3]]
    assert buckets([10, 100, 95], 4) == [[1, 2], [0]]
    assert buckets([4096, 4096, 1], 4) == [[0], [1], [2]]
    assert buckets([], 4) == []


@pytest.fixture(scope="module")
def examined(ahead: Any, selected: Any) -> dict[str, Future[Any]]:
    return {name: ahead(batch_sweep.examine, name) for name in selected("architecture")}


@pytest.mark.architectures
@pytest.mark.parametrize("architecture", tiny_models.ARCHITECTURES)
def test_batches_windows_labels_and_layers_on_every_architecture(architecture: str, examined: Any) -> None:
    differences = examined[architecture].result()
    assert not isinstance(differences, tiny_models.Failure), differences
    assert max(differences.logits, differences.batch, differences.targets) <= 1e-5, differences
    assert differences.windows <= 1e-4, differences
    assert differences.seen <= 1e-5, differences
    assert differences.layers <= 1e-4, differences
    assert differences.flat <= 1e-6, differences
    assert differences.states >= 3, differences


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    tokenizer = fast_tokenizer("wordpiece")
    return Explainer(bert(len(tokenizer)), tokenizer)


def same(one: Explanation, other: Explanation) -> None:
    assert (one.text, one.target, one.contrast, one.predicted) == (
        other.text,
        other.target,
        other.contrast,
        other.predicted,
    )
    assert one.ledger.balanced
    assert batch_sweep.difference(one, other) <= 1e-5


def test_the_answers_come_in_order_and_are_those_of_the_texts_alone(explainer: Explainer) -> None:
    for options in ({}, {"batch_size": 2}, {"contrast": "runner-up", "rules": "cp-lrp"}):
        asked = {key: value for key, value in options.items() if key != "batch_size"}
        for one, text in zip(explainer.explain_batch(TEXTS, **options), TEXTS, strict=True):  # type: ignore[arg-type]
            same(one, explainer.explain(text, **asked))  # type: ignore[arg-type]


def test_each_text_has_its_target(explainer: Explainer) -> None:
    targets = ["POS", None, 0, "neg", "1", None]
    for one, text, target in zip(explainer.explain_batch(TEXTS, target=targets), TEXTS, targets, strict=True):
        same(one, explainer.explain(text, target=target))
    assert {e.target for e in explainer.explain_batch(TEXTS, target="POS")} == {"POS"}
    assert {e.target for e in explainer.explain_batch(TEXTS, target=torch.tensor(0))} == {"NEG"}  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"target has 2 labels for 6 texts: give one for each, or one for all"):
        explainer.explain_batch(TEXTS, target=["POS", "NEG"])
    with pytest.raises(InputError, match="did you mean 'POS'"):
        explainer.explain_batch(TEXTS, target=[*targets[:-1], "POSS"])


def test_long_texts_are_cut_or_read_in_windows(explainer: Explainer) -> None:
    texts = [TEXTS[0], TEXTS[2] * 6, TEXTS[1], TEXTS[2] * 9]
    for long in ("truncate", "windows"):
        for one, text in zip(explainer.explain_batch(texts, long=long), texts, strict=True):
            alone = explainer.explain(text, long=long)
            assert (one.windows, one.truncated) == (alone.windows, alone.truncated)
            same(one, alone)
    with pytest.raises(BatchError, match=r"2 of 4 texts .*texts\[1\]: the text takes \d+ ids, and 64 are read at once"):
        explainer.explain_batch(texts, long="error")


def test_bad_texts_are_named_and_lose_no_other(explainer: Explainer) -> None:
    texts = [TEXTS[0], "", TEXTS[1], None, "\u200b", ("a", "b", "c"), {"label": 3}, TEXTS[3]]
    outcomes = explainer.explain_batch(texts, errors="return")
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [Explanation, *[InputError, Explanation, *[InputError] * 4], Explanation]
    for place in (0, 2, 7):
        same(outcomes[place], explainer.explain(texts[place]))
    assert [str(outcome).split(";")[0] for outcome in outcomes if isinstance(outcome, LRPError)] == [
        "the text is empty",
        "the text must be a string, not NoneType",
        "the tokenizer finds no token in the text of 1 characters: there is nothing to explain",
        "a pair has two texts, not 3",
        "a pair is a dict with text and text_pair, not with label",
    ]
    with pytest.raises(
        BatchError, match=r"^5 of 8 texts .*\(texts\[1\]: the text is empty; .*; and 2 more\)"
    ) as caught:
        explainer.explain_batch(texts)
    assert list(caught.value.errors) == [1, 3, 4, 5, 6]
    assert caught.value.explanations == []
    assert isinstance(caught.value, LRPError)


def failing(explainer: Explainer, fails: Callable[[Any], bool], error: Exception) -> Explainer:
    """An explainer whose model fails on some batches."""
    model = bert(len(explainer.tokenizer))

    def fail(module: Any, args: Any, kwargs: Any) -> None:
        if fails(kwargs["input_ids"]):
            raise error

    model.register_forward_pre_hook(fail, with_kwargs=True)
    return Explainer(model, explainer.tokenizer)


def test_a_text_that_the_model_fails_on_loses_no_other(explainer: Explainer) -> None:
    (word,) = explainer.tokenizer.convert_tokens_to_ids(["great"])
    bad = failing(explainer, lambda ids: bool((ids == word).any()), RuntimeError("no great\nfilms"))
    outcomes = bad.explain_batch(TEXTS, errors="return")
    for one, text in zip(outcomes[:-1], TEXTS[:-1], strict=True):
        same(one, explainer.explain(text))
    assert isinstance(outcomes[-1], ModelError)
    assert str(outcomes[-1]) == "the model fails on this text: RuntimeError: no great"
    assert isinstance(outcomes[-1].__cause__, RuntimeError)
    with pytest.raises(BatchError, match=r"1 of 6 texts cannot be explained \(texts\[5\]: the model fails") as caught:
        bad.explain_batch(TEXTS)
    assert [type(each).__name__ for each in caught.value.explanations] == ["Explanation"] * 5 + ["NoneType"]
    with pytest.raises(ModelError, match="the model fails on this text: RuntimeError: no great"):
        bad.explain("great")
    with pytest.raises(ModelError, match="the model fails on this text: RuntimeError: no great"):
        bad.explain("great film " * 60, long="windows")


def test_a_model_that_takes_no_batches_gets_one_text_at_a_time(explainer: Explainer) -> None:
    tried: list[int] = []

    def several(ids: Any) -> bool:
        tried.append(len(ids))
        return len(ids) > 1

    single = failing(explainer, several, ValueError("one at a time"))
    for one, text in zip(single.explain_batch(TEXTS * 3, batch_size=4), TEXTS * 3, strict=True):
        same(one, explainer.explain(text))
    assert max(tried) > 1
    assert tried.count(1) >= 18
    tried.clear()
    single.explain_batch(TEXTS)
    assert set(tried) == {1}


def test_a_decoder_without_a_padding_token_is_given_texts_of_one_length_at_most() -> None:
    tokenizer = fast_tokenizer("bytelevel")
    tokenizer.pad_token = None
    torch.manual_seed(0)
    model = transformers.GPT2ForSequenceClassification(
        transformers.GPT2Config(vocab_size=320, n_embd=16, n_layer=1, n_head=2, n_positions=99)
    )
    explainer = Explainer(model, tokenizer)
    texts = [*TEXTS, TEXTS[0]]
    for one, text in zip(explainer.explain_batch(texts), texts, strict=True):
        same(one, explainer.explain(text))
    windows = explainer.explain(TEXTS[2] * 5, long="windows")
    assert windows.windows > 1
    assert windows.ledger.balanced


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"errors": "ignore"}, "errors is 'raise' or 'return', not 'ignore'"),
        ({"batch_size": 0}, "batch_size is a number of texts, 1 or more, not 0"),
        ({"batch_size": True}, "batch_size is a number of texts, 1 or more, not True"),
        ({"long": "cut"}, "long is one of truncate, windows, error, not 'cut'"),
        ({"window": 65}, "window is a number of ids from 1 to 64, the most that the model reads, not 65"),
        ({"window": "5"}, "window is a number of ids, 1 or more, not '5'"),
        ({"overlap": 5}, "overlap goes with long='windows'"),
    ],
)
def test_options_that_cannot_be_used_are_said_so(explainer: Explainer, options: Any, message: str) -> None:
    with pytest.raises(LRPError, match=message):
        explainer.explain_batch(["great"], **options)


def test_no_texts_are_no_explanations(explainer: Explainer) -> None:
    assert explainer.explain_batch([]) == []
    assert explainer.explain_batch(iter(())) == []


def test_the_first_batches_are_tried_and_then_one_in_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """With padding and without; a batch that is tried costs a forward pass more."""
    tokenizer = fast_tokenizer("wordpiece")
    explainer = Explainer(bert(len(tokenizer)), tokenizer)
    tried: list[bool] = []

    def same(self: Classifier, encodings: Any, logits: Any) -> bool:
        tried.append(len({len(encoding.input_ids) for encoding in encodings}) > 1)
        return True

    monkeypatch.setattr(Classifier, "reads_alike", same)
    explainer.explain_batch(["dull film"] * 40, batch_size=2)  # 20 batches without padding
    assert tried == [False] * 6
    tried.clear()
    texts = [text for _ in range(12) for text in ("the plot is never dull and the film is great", "x " * 8 + "dull")]
    explainer.explain_batch(texts, batch_size=24)
    assert tried == [True], "padding is something new"
