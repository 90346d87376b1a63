"""Arbitrary text, long text, pairs and tables: spans tile the part that was read, and the ledger balances."""

from __future__ import annotations

import math
import sys
import unicodedata
from dataclasses import replace
from itertools import pairwise
from typing import Any

import datasets
import language_texts
import pandas
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slow_tokenizer import Slow
from tiny_bert import bert, fast_tokenizer

import textlrp
from textlrp import Explainer, Explanation, Span
from textlrp.errors import AlignmentError, InputError, ModelError

TEXT = "The film is wonderful. It never loses its way, but the plot is dull!"
LONG = "The film is wonderful; the plot is dull and bad. " * 30


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    tokenizer = fast_tokenizer("wordpiece")
    return Explainer(bert(len(tokenizer)), tokenizer)


@pytest.fixture(scope="module")
def pairs() -> Explainer:
    tokenizer = language_texts.train("wordpiece", list(language_texts.TEXTS.values()), 700)
    return Explainer(bert(len(tokenizer), num_labels=3, id2label=None, label2id=None), tokenizer)


def check(e: Explanation) -> None:
    """Spans tile the part of each text that was read, special tokens apart, and every sum is the ledger's."""
    assert e.ledger.balanced
    tokens = math.fsum(span.relevance for span in e.tokens if not span.special)
    assert tokens == e.ledger["tokens"]
    assert math.fsum(e.ledger.values()) == pytest.approx(e.logit, abs=1e-12 * e.ledger.scale)
    for spans in (e.words, e.sentences):
        assert abs(math.fsum(span.relevance for span in spans) - tokens) <= 1e-12 * e.ledger.scale
        for source, text, truncated in e.texts:
            own = [span for span in spans if span.source == source]
            start, end = own[0].start, own[-1].end
            assert "".join(span.text for span in own) == text[start:end]
            assert all(before.end == after.start < after.end for before, after in pairwise(own))
            if truncated is None:
                assert (start, end) == (0, len(text))
            else:  # only a character whose bytes were cut through is read, and not read
                assert 0 <= end - truncated[0] <= 1 or 0 <= truncated[1] - start <= 1
    texts = {source: text for source, text, _ in e.texts}
    assert all(span.text == texts[span.source][span.start : span.end] for span in e.tokens)


ANY = st.one_of(
    st.text(max_size=30),
    st.text(st.characters(), max_size=30),
    st.text(alphabet="ab é\u0301\u200d\u202e\u2066\ufeff\x00\x07\x85\u2028\n\r\t👩👧🏽🇩🇪ัคነह्한映ß", max_size=30),
    st.lists(st.sampled_from(["film", "wonderful", " ", "https://a.org/b?c", "👩‍👧", "映画", "don't", "\n"])).map(
        "".join
    ),
)
KINDS = ("wordpiece", "bytelevel", "roberta", "metaspace", "slow")


@pytest.fixture(scope="module", params=KINDS)
def reader(request: pytest.FixtureRequest) -> Explainer:
    tokenizer: Any = Slow("characters") if request.param == "slow" else fast_tokenizer(request.param)
    tokenizer.model_max_length = 24
    return Explainer(bert(400, pad_token_id=0), tokenizer)


@pytest.mark.slow
@settings(max_examples=420, suppress_health_check=list(HealthCheck))
@given(text=ANY, long=st.sampled_from(["truncate", "windows"]))
def test_any_text_is_tiled_and_balanced_or_refused_with_a_reason(reader: Explainer, text: str, long: str) -> None:
    """2,100 texts in all, 420 for each kind of tokenizer."""
    refused = {
        "the text is empty": not text,
        "the text is blank": bool(text) and not text.strip(),
        "the text holds a NUL": "\0" in text,
        "the text holds a lone surrogate": any("\ud800" <= char <= "\udfff" for char in text),
    }
    (outcome,) = reader.explain_batch([text], long=long, errors="return")
    if isinstance(outcome, Explanation):
        check(outcome)
        assert not any(refused.values())
    elif isinstance(outcome, AlignmentError):
        assert not reader.tokenizer.is_fast
    elif not any(refused[reason] and str(outcome).startswith(reason) for reason in refused):
        assert str(outcome).startswith("the tokenizer finds no token in the text")
        # Fast tokenizers read all but what Unicode calls marks, separators and control characters.
        assert all(unicodedata.category(char)[0] in "CMZ" for char in text)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "👍🏽",
        "\u202eabc\u202c abc",
        "a\x07b\x1b[31mc",
        "שלום world مرحبا",
        "e\u0301" * 3,
        "a\ufeffb",
        "[SEP]",
        "\u200b a",
    ],
)
def test_unusual_texts_are_explained(reader: Explainer, text: str) -> None:
    check(reader.explain(text))


def test_a_million_characters_are_read_as_far_as_the_model_reads(explainer: Explainer) -> None:
    text = "a wonderful film, " * 55_556
    e = explainer.explain(text)
    check(e)
    assert len(text) > 1_000_000
    assert e.truncated is not None
    assert e.truncated[1] == len(text)


def tiny_t5(**options: Any) -> Explainer:
    tokenizer = fast_tokenizer("metaspace")
    config = transformers.T5Config(
        vocab_size=160, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2, decoder_start_token_id=0,
        pad_token_id=0, eos_token_id=tokenizer.sep_token_id, **options,
    )  # fmt: skip
    torch.manual_seed(0)
    return Explainer(transformers.T5ForSequenceClassification(config).eval(), tokenizer)


def test_a_text_that_takes_more_memory_than_there_is_is_refused_before_it_is_tried() -> None:
    unlimited = tiny_t5()
    with pytest.raises(InputError, match=r"takes \d{3},\d{3} ids, .* about [\d,]+ GiB of memory, of which"):
        unlimited.explain("a wonderful film, " * 50_000)
    cut = unlimited.explain("a wonderful film, " * 500, window=100)
    check(cut)
    assert (len(cut.tokens), cut.windows) == (100, 1)
    windows = unlimited.explain("a wonderful film, " * 500, long="windows", window=200)
    check(windows)
    assert windows.windows > 1
    whole = unlimited.explain("a wonderful film, " * 20, long="windows")
    check(whole)
    assert (whole.windows, whole.truncated) == (1, None)


# -- long documents ------------------------------------------------------------------------------------------------


def test_windows_give_the_mean_of_their_logits_and_one_axis_of_characters(explainer: Explainer) -> None:
    e = explainer.explain(LONG, target="POS", long="windows")
    check(e)
    encoding = explainer.classifier.encode(LONG, None)
    assert [span.piece for span in e.tokens] == list(encoding.pieces)
    assert e.truncated is None
    starts = [round(i * (len(encoding.pieces) - 64) / (e.windows - 1) - 0.5 + 1e-9) for i in range(e.windows)]
    rows = encoding.input_ids[1:-1]
    expected, relevance = [], torch.zeros(len(encoding.pieces))
    for start in starts:
        ids = torch.tensor([[encoding.input_ids[0], *rows[start : start + 62], encoding.input_ids[-1]]])
        with torch.no_grad():
            expected.append(explainer.model(input_ids=ids).logits[0])
        places = [0, *range(start + 1, start + 63), len(encoding.pieces) - 1]
        relevance[places] += textlrp.propagate(explainer.model, 1, input_ids=ids).relevance[0]
    mean = torch.stack(expected).mean(0)
    torch.testing.assert_close(torch.tensor(list(e.logits.values())), mean)
    torch.testing.assert_close(torch.tensor([span.relevance for span in e.tokens]), relevance / e.windows)
    assert e.logit == e.logits["POS"]


def test_the_predicted_label_is_that_of_the_whole_document(explainer: Explainer) -> None:
    e = explainer.explain(LONG, long="windows", contrast="runner-up")
    check(e)
    assert e.predicted == e.target == max(e.logits, key=lambda label: e.logits[label])
    assert e.contrast not in (None, e.target)
    assert {e.target} < set(explainer.explain_targets(LONG, long="windows"))


def test_a_short_text_is_read_in_one_window_and_a_long_one_may_be_an_error(explainer: Explainer) -> None:
    plain = explainer.explain(TEXT)
    for long in ("windows", "error"):
        assert explainer.explain(TEXT, long=long) == replace(plain, reading={"long": long})
    with pytest.raises(
        InputError, match=r"the text takes \d+ ids, and 64 are read at once: shorten it, or read it with"
    ):
        explainer.explain(LONG, long="error")
    e = explainer.explain(TEXT, window=12)
    check(e)
    assert len(e.tokens) == 12


@pytest.mark.parametrize("limit", [512, 8192])
def test_the_limit_of_the_model_decides(limit: int) -> None:
    tokenizer = fast_tokenizer("wordpiece")
    explainer = Explainer(bert(len(tokenizer), max_position_embeddings=limit), tokenizer)
    text = "the plot is dull. " * (limit // 5 + 20)
    e = explainer.explain(text)
    check(e)
    assert len(e.tokens) == limit
    assert e.truncated is not None
    windows = explainer.explain(text, long="windows")
    check(windows)
    assert windows.windows == 2
    assert len(windows.tokens) > limit


# -- pairs -----------------------------------------------------------------------------------------------------------


def test_spans_of_a_pair_say_which_text_they_belong_to(pairs: Explainer) -> None:
    first, second = "Das Essen war gut.", "El final es triste. Non?"
    e = pairs.explain(first, second)
    check(e)
    assert (e.text, e.text_pair) == (first, second)
    assert "".join(w.text for w in e.words if w.source == "text") == first
    assert "".join(w.text for w in e.words if w.source == "text_pair") == second
    assert [(s.text, s.source) for s in e.sentences] == [
        (first, "text"),
        ("El final es triste. ", "text_pair"),
        ("Non?", "text_pair"),
    ]
    assert [span.source for span in e.tokens if span.special] == ["text", "text", "text_pair"]
    assert Explanation.from_json(e.to_json()) == e
    with torch.no_grad():
        logits = pairs.model(**pairs.tokenizer(first, second, return_tensors="pt")).logits[0]
    torch.testing.assert_close(torch.tensor(list(e.logits.values())), logits)
    alone = pairs.explain(f"{first} {second}")
    assert list(alone.logits.values()) != list(e.logits.values())


def test_long_pairs_are_cut_or_read_in_windows(pairs: Explainer) -> None:
    short, long = (
        "El final es triste.",
        " ".join(language_texts.TEXTS[name] for name in ("deu_Latn", "fra_Latn", "fin_Latn")),
    )
    e = pairs.explain(long, short)
    check(e)
    assert e.truncated is not None
    assert e.truncated_pair is None
    for texts in ((long, short), (short, long)):
        windows = pairs.explain(*texts, long="windows")
        check(windows)
        assert windows.windows > 1
        assert (windows.truncated, windows.truncated_pair) == (None, None)
    both = pairs.explain(long, long)
    check(both)
    assert None not in (both.truncated, both.truncated_pair)
    with pytest.raises(InputError, match="the shorter text of the pair takes"):
        pairs.explain(long, long, long="windows")


def test_pairs_come_in_batches_as_tuples_and_dicts(pairs: Explainer) -> None:
    explained = pairs.explain_batch(
        ["Das Essen", ("Das Essen", "war gut"), {"text": "Das", "text_pair": "gut"}, {"text": "x"}]
    )
    assert [e.text_pair for e in explained] == [None, "war gut", "gut", None]
    for e in explained:
        check(e)
        alone = pairs.explain(e.text, e.text_pair)
        assert [s.relevance for s in e.tokens] == pytest.approx([s.relevance for s in alone.tokens], abs=1e-5)


def test_a_model_whose_tokenizer_takes_no_pairs_is_said_so(explainer: Explainer) -> None:
    with pytest.raises(ModelError, match="takes no pairs"):
        explainer.explain("the film", "a film")


# -- targets ---------------------------------------------------------------------------------------------------------


def test_all_labels_share_one_forward_pass(pairs: Explainer) -> None:
    passes: list[int] = []
    hook = pairs.model.register_forward_pre_hook(lambda *_: passes.append(1))
    by_label = pairs.explain_targets("Das Essen war gut.")
    hook.remove()
    assert len(passes) == 1
    assert list(by_label) == ["LABEL_0", "LABEL_1", "LABEL_2"]
    for label, e in by_label.items():
        assert e.target == label
        check(e)
        alone = pairs.explain("Das Essen war gut.", target=label)
        assert (e.logits, e.probabilities, e.logit) == (alone.logits, alone.probabilities, alone.logit)
        assert [s.relevance for s in e.tokens] == pytest.approx([s.relevance for s in alone.tokens], abs=1e-6)
    assert list(pairs.explain_targets("Das Essen.", targets=[2, "label_0"])) == ["LABEL_2", "LABEL_0"]
    assert list(pairs.explain_targets("Das Essen.", targets=1)) == ["LABEL_1"]
    assert list(pairs.explain_targets("Das Essen.", "El final.", targets="LABEL_1")) == ["LABEL_1"]
    against = pairs.explain_targets("Das Essen.", contrast="LABEL_1")
    assert {label: e.contrast for label, e in against.items()} == {"LABEL_0": "LABEL_1", "LABEL_2": "LABEL_1"}


def test_a_text_with_several_labels_has_all_of_them_explained() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    names = {i: f"emotion {i}" for i in range(28)}
    options = {"id2label": names, "label2id": {v: k for k, v in names.items()}}
    several = Explainer(bert(len(tokenizer), problem_type="multi_label_classification", **options), tokenizer)
    shares = several.explain(TEXT).probabilities
    expected = [label for label, share in shares.items() if share >= 0.5]
    assert 0 < len(expected) < 28
    assert list(several.explain_targets(TEXT, targets="predicted")) == expected
    assert list(several.explain_targets(TEXT, targets="all", threshold=0.5)) == expected
    assert len(several.explain_targets(TEXT)) == 28
    assert several.explain_targets(TEXT, targets="predicted", threshold=1.0) == {}
    with pytest.raises(InputError, match="threshold is a probability from 0 to 1, not 2"):
        several.explain_targets(TEXT, threshold=2)
    with pytest.raises(InputError, match="did you mean 'emotion 3'"):
        several.explain_targets(TEXT, targets=["emotion 33"])
    said = Explainer(bert(len(tokenizer), **options), tokenizer, problem_type="multi_label_classification")
    assert said.explain(TEXT).probabilities == pytest.approx(shares)


def test_a_long_text_over_no_threshold_has_no_explanation() -> None:
    """No label is chosen, which is not the same as that nothing was chosen yet."""
    tokenizer = fast_tokenizer("wordpiece")
    several = Explainer(bert(len(tokenizer), problem_type="multi_label_classification"), tokenizer)
    runs: list[Any] = []
    several.model.register_forward_pre_hook(lambda module, args: runs.append(1))
    long: Any = {"long": "windows", "window": 8}
    whole = several.explain(TEXT, target=0, **long)
    assert whole.windows > 1
    # A little more than the mean of the windows: some of them, alone, are over it.
    over = max(whole.probabilities.values()) + 1e-6
    for targets in ("predicted", "all", [0, 1]):
        runs.clear()
        assert several.explain_targets(TEXT, targets=targets, threshold=over, **long) == {}
        assert len(runs) <= whole.windows  # for the choice, and none to explain it
    least = min(whole.probabilities.values())
    assert len(several.explain_targets(TEXT, targets="all", threshold=least, **long)) == 2


def test_one_output_is_a_number_or_log_odds_as_the_config_or_the_user_says(tmp_path: Any) -> None:
    tokenizer = fast_tokenizer("wordpiece")
    one = {"id2label": {0: "toxic"}, "label2id": {"toxic": 0}, "num_labels": 1}
    silent = bert(len(tokenizer), **one)
    plain = Explainer(silent, tokenizer).explain(TEXT)
    check(plain)
    assert (plain.target, plain.probabilities) == ("toxic", {})
    odds = 1 / (1 + math.exp(-plain.logit))
    for kind in ("single_label_classification", "multi_label_classification"):
        assert Explainer(silent, tokenizer, problem_type=kind).explain(TEXT).probabilities == {
            "toxic": pytest.approx(odds)
        }
    for kind, expected in (("multi_label_classification", {"toxic": pytest.approx(odds)}), ("regression", {})):
        model = bert(len(tokenizer), problem_type=kind, **one)
        assert Explainer(model, tokenizer).explain(TEXT).probabilities == expected
    pipe = transformers.pipeline("text-classification", model=silent, tokenizer=tokenizer, device="cpu")
    assert Explainer.from_pipeline(pipe).explain(TEXT).probabilities["toxic"] == pytest.approx(pipe(TEXT)[0]["score"])
    silent.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = Explainer.from_pretrained(tmp_path, problem_type="single_label_classification")
    assert loaded.explain(TEXT).probabilities == {"toxic": pytest.approx(odds)}
    with pytest.raises(InputError, match="problem_type is one of"):
        Explainer(silent, tokenizer, problem_type="binary")


class OneOutput(torch.nn.Module):
    """Log-odds of the second of two labels."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    def get_input_embeddings(self) -> Any:
        return self.model.get_input_embeddings()

    def forward(self, input_ids: Any, attention_mask: Any = None) -> Any:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits[:, 1:]


def test_one_output_for_two_labels_explains_either_side(explainer: Explainer) -> None:
    binary = Explainer(OneOutput(explainer.model), explainer.tokenizer)
    by_label = binary.explain_targets(TEXT)
    assert list(by_label) == ["NEG", "POS"]
    for e in by_label.values():
        check(e)
    neg, pos = by_label["NEG"], by_label["POS"]
    assert neg.logit == -pos.logit
    assert [s.relevance for s in neg.tokens] == pytest.approx([-s.relevance for s in pos.tokens], abs=1e-6)
    assert neg.probabilities["NEG"] + neg.probabilities["POS"] == pytest.approx(1)
    assert neg.predicted == max(neg.probabilities, key=lambda label: neg.probabilities[label])
    with pytest.raises(InputError, match="sets one against the other already: leave contrast out"):
        binary.explain(TEXT, target="POS", contrast="NEG")


def test_a_pipeline_with_its_own_function_and_length_is_taken_as_it_is(explainer: Explainer) -> None:
    pipe = transformers.pipeline(
        "text-classification", model=explainer.model, tokenizer=explainer.tokenizer, device="cpu",
        function_to_apply="sigmoid", truncation=True, max_length=10,
    )  # fmt: skip
    taken = Explainer.from_pipeline(pipe)
    e = taken.explain(TEXT)
    assert len(e.tokens) == 10
    scores = {row["label"]: row["score"] for row in pipe(TEXT, top_k=None)}
    assert scores == {label: pytest.approx(share, abs=1e-6) for label, share in e.probabilities.items()}


# -- tables ----------------------------------------------------------------------------------------------------------


def test_columns_lists_and_generators_are_taken_as_they_are(explainer: Explainer) -> None:
    texts = ["a wonderful film", "the plot is dull", "bad"]
    expected = explainer.explain_batch(texts)
    table = pandas.DataFrame({"text": texts, "stars": [5, 1, 1], "label": ["POS", "NEG", "NEG"]})
    rows = datasets.Dataset.from_dict({"text": texts, "label": [1, 0, 0]})
    for given_texts in (
        tuple(texts),
        (text for text in texts),
        table["text"],
        table["text"].to_numpy(),
        rows["text"],
        rows.select(range(3))["text"][:],
        dict.fromkeys(texts).keys(),
    ):
        assert explainer.explain_batch(given_texts) == expected
    targets = [e.target for e in explainer.explain_batch(texts, target=table["label"])]
    assert targets == [e.target for e in explainer.explain_batch(texts, target=rows["label"])] == ["POS", "NEG", "NEG"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a text", "texts takes a list, not a single string: put it in brackets, or use explain"),
        (pandas.DataFrame({"a": ["x"], "b": ["y"]}), r"DataFrame has several \(a, b\): choose one"),
        (datasets.Dataset.from_dict({"a": ["x"], "b": ["y"]}), r"Dataset has several \(a, b\): choose one"),
        ({"text": "x"}, "texts takes a list, a generator or a column of texts, not dict"),
        (None, "not NoneType"),
        (3, "not int"),
    ],
)
def test_what_is_no_column_is_said_so(explainer: Explainer, texts: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        explainer.explain_batch(texts)


def test_a_missing_value_is_a_bad_text(explainer: Explainer) -> None:
    outcomes = explainer.explain_batch(pandas.Series(["bad", None, float("nan")], dtype=object), errors="return")
    assert [type(outcome).__name__ for outcome in outcomes] == ["Explanation", "InputError", "InputError"]


def test_a_bar_is_shown_for_slow_work_alone(explainer: Explainer, capfd: pytest.CaptureFixture[str]) -> None:
    explainer.explain_batch(["bad", "dull"], progress=True)
    explainer.explain(LONG, long="windows", progress=True)
    assert sys.stderr is not None
    assert capfd.readouterr() == ("", "")


def test_words_of_a_token_are_where_the_token_is(explainer: Explainer) -> None:
    e = explainer.explain("wonderful bad")
    assert [(w.start, w.end, w.text) for w in e.words] == [(0, 9, "wonderful"), (9, 10, " "), (10, 13, "bad")]
    parts = [span for span in e.tokens if not span.special]
    assert e.words[0].relevance == pytest.approx(math.fsum(s.relevance for s in parts if s.end <= 9))
    assert isinstance(e.words[0], Span)
    assert e.units("word") is e.words
    with pytest.raises(InputError, match="a text is shown by token, word, sentence, not by 'line'"):
        e.units("line")


class PanicException(BaseException):
    """The error of tokenizers whose Rust code fails: a class of this name that is not an Exception."""


@pytest.mark.parametrize("kind", [TypeError, PanicException])
def test_a_tokenizer_that_fails_is_an_error_of_that_text_alone(explainer: Explainer, kind: type[BaseException]) -> None:
    class Fails:
        is_fast, pad_token_id = True, 0

        def __init__(self, tokenizer: Any) -> None:
            self.inner = tokenizer

        def __call__(self, text: str, **options: Any) -> Any:
            if "dull" in text:
                raise kind("no such word\nin any book")
            return self.inner(text, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    failing = Explainer(explainer.model, Fails(explainer.tokenizer))
    outcomes = failing.explain_batch(["a film", "a dull film"], errors="return")
    assert isinstance(outcomes[0], Explanation)
    assert isinstance(outcomes[1], ModelError)
    assert str(outcomes[1]) == f"the tokenizer fails on this text: {kind.__name__}: no such word"


def test_an_interrupt_in_a_tokenizer_is_an_interrupt(explainer: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("textlrp.text.readers.encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        explainer.explain("a film")
