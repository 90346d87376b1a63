"""Texts one after the other: how many are drawn ahead and kept, how a stream ends, and the same numbers."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from itertools import count, cycle, islice
from typing import Any

import datasets
import pandas
import pytest
from tiny_bert import bert, fast_tokenizer

from textlrp import Explainer, Explanation
from textlrp.errors import BatchError, InputError, ModelError
from textlrp.explain.batching import PendingDocument

WORDS = "the film plot is wonderful moving never dull bad no great".split()


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    tokenizer = fast_tokenizer("wordpiece")
    tokenizer.model_max_length = 64
    return Explainer(bert(len(tokenizer)), tokenizer)


def texts(number: int) -> list[str]:
    """Short texts of several lengths, each another one."""
    return [" ".join(islice(cycle(WORDS), i % 11, i % 11 + 2 + i % 7)) + " x" * (i % 5) for i in range(number)]


class Drawn:
    """Gives out texts one by one, and counts them."""

    def __init__(self, values: Any) -> None:
        self.count, self._values = 0, iter(values)

    def __iter__(self) -> Iterator[Any]:
        for value in self._values:
            self.count += 1
            yield value


def relevances(e: Explanation) -> list[float]:
    return [span.relevance for span in e.tokens]


def test_a_stream_gives_what_explain_gives_in_order(explainer: Explainer) -> None:
    asked = texts(60)
    explained = list(explainer.explain_stream(Drawn(asked), batch_size=4))
    assert [e.text for e in explained] == asked
    for e, other, text in zip(explained, explainer.explain_batch(asked), asked, strict=True):
        alone = explainer.explain(text)
        for one in (e, other):
            assert (one.target, one.ledger.balanced, one.reading) == (alone.target, True, alone.reading)
            assert one.logit == pytest.approx(alone.logit, abs=1e-5)
            assert relevances(one) == pytest.approx(relevances(alone), abs=1e-5)


def test_long_texts_and_options_go_through(explainer: Explainer) -> None:
    text = "the film is wonderful " * 40
    (e,) = explainer.explain_stream([text], contrast="runner-up", rules="cp-lrp", long="windows", window=32, overlap=10)
    alone = explainer.explain(text, contrast="runner-up", rules="cp-lrp", long="windows", window=32, overlap=10)
    assert (e.windows, e.contrast, e.rules) == (alone.windows, alone.contrast, "cp-lrp")
    assert relevances(e) == pytest.approx(relevances(alone), abs=1e-5)


def test_texts_are_drawn_as_they_are_needed(explainer: Explainer) -> None:
    drawn = Drawn(cycle(texts(30)))  # there is no end of them
    stream = explainer.explain_stream(drawn, batch_size=2)
    assert drawn.count == 0
    ahead = []
    for given, _ in enumerate(islice(stream, 200), 1):
        ahead.append(drawn.count - given)
    assert ahead[:8] == [0] * 8
    assert all(more <= given / 4 for given, more in enumerate(ahead, 1))
    assert max(ahead) == 31  # 16 batches of two
    stream.close()
    assert drawn.count <= 200 + 32


def test_long_texts_are_not_drawn_by_the_hundred(explainer: Explainer) -> None:
    drawn = Drawn(cycle(["film " + "x" * 300_000]))  # few ids, and many characters: four of them are a million
    stream = explainer.explain_stream(drawn)
    for given in range(1, 31):
        next(stream)
        assert drawn.count - given <= 3
    stream.close()


def living(kind: type) -> int:
    return sum(type(each) is kind for each in gc.get_objects())


@pytest.mark.slow
def test_nothing_is_kept_of_what_was_given_out(explainer: Explainer) -> None:
    gc.collect()
    before = living(Explanation), living(PendingDocument)
    most = [0, 0]
    given = 0
    for e in explainer.explain_stream((text for text in texts(300)), batch_size=2):
        given += isinstance(e, Explanation)
        if given % 25 == 0:
            counts = living(Explanation) - before[0], living(PendingDocument) - before[1]
            most = [max(one, other) for one, other in zip(most, counts, strict=True)]
    assert 1 <= most[0] <= 2  # the one that is looked at
    assert 1 <= most[1] <= 33  # those that are read ahead
    assert given == 300
    del e
    gc.collect()
    assert (living(Explanation), living(PendingDocument)) == before


def end(stream: Any, how: str) -> None:
    """End a stream. Its error is freed with this frame: an error holds the frames that it went through."""
    if how == "close":
        stream.close()
        return
    error = RuntimeError("enough") if how == "an error" else KeyboardInterrupt("enough")
    with pytest.raises(type(error), match="enough"):
        stream.throw(error)


@pytest.mark.parametrize("how", ["close", "an error", "an interrupt"])
def test_a_stream_that_ends_early_leaves_all_as_it_was(explainer: Explainer, how: str) -> None:
    gc.collect()  # errors of earlier tests hold the frames that they went through until then
    before = living(PendingDocument)
    state = {name: parameter.requires_grad for name, parameter in explainer.model.named_parameters()}
    stream = explainer.explain_stream(Drawn(texts(40)), batch_size=4, progress=True)
    for given, e in enumerate(stream):
        # Between two of them the model is free, for this thread and for others.
        assert explainer.explain(e.text).logit == pytest.approx(e.logit, abs=1e-5)
        if given == 12:
            break
    end(stream, how)
    assert list(stream) == []
    del stream, e
    gc.collect()
    assert living(PendingDocument) == before
    assert {name: parameter.requires_grad for name, parameter in explainer.model.named_parameters()} == state
    assert not explainer.model.training


def test_the_first_bad_text_is_an_error_behind_those_before_it(explainer: Explainer) -> None:
    drawn = Drawn([*texts(14), "", *texts(9), None])
    explained: list[Any] = []
    with pytest.raises(
        BatchError, match=r"1 of 15 texts cannot be explained \(texts\[14\]: the text is empty"
    ) as caught:
        explained.extend(explainer.explain_stream(drawn, batch_size=4))
    # `extend` keeps what came before the error.
    assert [e.text for e in explained] == texts(14)
    assert list(caught.value.errors) == [14]
    assert drawn.count == 15


def test_a_text_that_the_model_fails_on_is_an_error_in_its_place(explainer: Explainer) -> None:
    model = bert(len(explainer.tokenizer))
    (word,) = explainer.tokenizer.convert_tokens_to_ids(["great"])

    def fail(module: Any, args: Any, kwargs: Any) -> None:
        if bool((kwargs["input_ids"] == word).any()):
            raise RuntimeError("no great films")

    model.register_forward_pre_hook(fail, with_kwargs=True)
    bad = Explainer(model, explainer.tokenizer)
    asked = ["the film", "a dull plot", "great", "the film is bad"]
    kinds = [type(each) for each in bad.explain_stream(asked, errors="return")]
    assert kinds == [Explanation, Explanation, ModelError, Explanation]
    explained: list[Any] = []
    with pytest.raises(BatchError, match=r"texts\[2\]: the model fails on this text: RuntimeError: no great films"):
        explained.extend(bad.explain_stream(asked))
    assert [e.text for e in explained] == asked[:2]


def test_bad_texts_are_returned_in_their_places(explainer: Explainer) -> None:
    asked = ["the film", "", 7, *texts(20), "\u200b"]
    outcomes = list(explainer.explain_stream(iter(asked), errors="return"))
    assert [i for i, outcome in enumerate(outcomes) if isinstance(outcome, InputError)] == [1, 2, 23]
    assert [outcome.text for outcome in outcomes if isinstance(outcome, Explanation)] == ["the film", *texts(20)]


def test_what_drawing_raises_is_raised_behind_what_was_drawn(explainer: Explainer) -> None:
    def broken() -> Iterator[str]:
        yield from texts(13)
        raise OSError("the disk is gone")

    explained: list[Any] = []
    with pytest.raises(OSError, match="the disk is gone"):
        explained.extend(explainer.explain_stream(broken(), batch_size=4))
    assert [e.text for e in explained] == texts(13)


def test_targets_are_one_for_all_or_drawn_one_for_each(explainer: Explainer) -> None:
    assert {e.target for e in explainer.explain_stream(texts(9), target="POS")} == {"POS"}
    labels = Drawn(cycle(["POS", 0, None]))
    stream = explainer.explain_stream(cycle(texts(9)), target=labels, batch_size=2)
    explained = list(islice(stream, 40))
    assert labels.count <= 50
    assert [e.target for e in explained[::3]] == ["POS"] * 14
    assert [e.target for e in explained[1::3]] == ["NEG"] * 13
    assert [e.target for e in explained[2::3]] == [e.predicted for e in explained[2::3]]
    stream.close()


@pytest.mark.parametrize(
    ("targets", "says", "before"),
    [
        (iter(["POS"] * 6), "target has 6 labels, and there are more texts: give one for each, or one for all", 6),
        (["POS"] * 9, "target has more labels than the 8 texts: give one for each, or one for all", 8),
        (["POS"] * 5 + ["POSS"] * 3, "no label 'POSS'", 5),
    ],
)
def test_targets_that_do_not_fit_end_the_stream(explainer: Explainer, targets: Any, says: str, before: int) -> None:
    explained: list[Any] = []
    with pytest.raises(InputError) as caught:
        explained.extend(explainer.explain_stream(texts(8), target=targets, errors="return"))
    assert says in str(caught.value)
    assert len(explained) == before


def test_columns_of_tables_are_streams_of_texts(explainer: Explainer) -> None:
    asked = texts(12)
    for column in (datasets.Dataset.from_dict({"text": asked})["text"], pandas.DataFrame({"text": asked})["text"]):
        assert [e.text for e in explainer.explain_stream(column)] == asked
    dicts = explainer.explain_stream([{"text": "the film"}, ("a plot", None)])
    assert [e.text for e in dicts] == ["the film", "a plot"]


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (["great"], {"errors": "ignore"}, "errors is 'raise' or 'return', not 'ignore'"),
        (["great"], {"batch_size": 0}, "batch_size is a number of texts, 1 or more, not 0"),
        (["great"], {"long": "cut"}, "long is one of truncate, windows, error, not 'cut'"),
        (["great"], {"target": "POSS"}, "no label 'POSS'"),
        (["great"], {"target": {"a": 1}}, "target takes a list"),
        (["great"], {"contrast": "POSS", "target": ["POS"]}, "no label 'POSS'"),
        ("great", {}, "texts takes a list, not a single string"),
        (7, {}, "texts takes a list, a generator or a column of texts, not int"),
    ],
)
def test_options_are_checked_before_a_text_is_drawn(
    explainer: Explainer, values: Any, options: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        explainer.explain_stream(values, **options)


def test_no_texts_are_no_explanations(explainer: Explainer) -> None:
    assert list(explainer.explain_stream(iter(()))) == []
    assert list(explainer.explain_stream([], target=iter(()))) == []


def test_an_endless_stream_counts_what_is_done(explainer: Explainer) -> None:
    from textlrp.explain.progress import watched

    seen: list[tuple[int, int]] = []
    with watched(lambda done, total: seen.append((done, total))):
        list(islice(explainer.explain_stream(str(i) + " film" for i in count()), 3))
        assert seen == [(1, 1), (2, 2), (3, 3)]
        seen.clear()
        list(explainer.explain_stream(["the film", "", "a plot"], errors="return"))
        assert seen == [(1, 3), (2, 3), (3, 3)]
