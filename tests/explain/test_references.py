"""The option reference: what users give, what the engine gets, and what an explanation says of it."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import tiny_models
import torch
from measured_reference import PAIR, TEXT, SharedOut, tokenizer_of_pairs
from tiny_bert import bert, fast_tokenizer

from textlrp import Explainer, Explanation, InputError, Rules
from textlrp.errors import BatchError
from textlrp.explain import classifier


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    tokenizer = tokenizer_of_pairs()
    return Explainer(bert(len(tokenizer)), tokenizer, "tiny")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SharedOut:
    engine = SharedOut()
    monkeypatch.setattr(classifier, "run", engine)
    return engine


def ids(explainer: Explainer, *texts: str) -> list[int]:
    return explainer.encode(*texts).input_ids


def token(explainer: Explainer, piece: str) -> int:
    return int(explainer.tokenizer.convert_tokens_to_ids(piece))


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def given(explainer: Explainer, engine: SharedOut, reference: Any, *texts: str, **options: Any) -> tuple[Any, Any]:
    """What the engine gets, and the reference of the explanation."""
    e = explainer.explain(*(texts or (TEXT,)), rules="difference", reference=reference, **options)
    assert e.reference is not None
    assert Explanation.from_json(e.to_json()) == e
    return engine.given[-1], e.reference


@pytest.mark.parametrize(
    ("reference", "value", "name", "kept"),
    [
        (None, 4, "[MASK]", ()),
        ("mask", 4, "[MASK]", ("mask",)),
        ("[MASK]", 4, "[MASK]", ("mask",)),
        ("pad", 0, "[PAD]", ("pad",)),
        ("mean", "mean", "mean embedding", ("mean",)),
        ("zero", "zero", "zero embedding", ("zero",)),
        (".", ".", "the token '.'", (".",)),
        ("Great", "great", "the token 'Great'", ("Great",)),
        (["mean"], "mean", "mean embedding", ("mean",)),
        (["mean", ".", "mask"], ["mean", ".", 4], "mean of 3 references", ("mean", ".", "mask")),
        (("mean", "zero", "."), ["mean", "zero", "."], "mean of 3 references", ("mean", "zero", ".")),
    ],
)
def test_words_for_a_reference(
    explainer: Explainer, engine: SharedOut, reference: Any, value: Any, name: str, kept: tuple[str, ...]
) -> None:
    got, said = given(explainer, engine, reference)
    tokens = [one if one in ("mean", "zero", 4, 0) else token(explainer, one) for one in listed(value)]
    assert listed(got) == tokens
    assert (said.name, said.given) == (name, kept)


def test_another_text_of_as_many_ids(explainer: Explainer, engine: SharedOut) -> None:
    value, said = given(explainer, engine, "a plot and wonder")
    assert value.tolist() == [ids(explainer, "a plot and wonder")]
    assert said.name == "the text 'a plot and wonder'"
    assert not said.wordless


def test_ids_of_any_library(explainer: Explainer, engine: SharedOut) -> None:
    wanted = [2, 5, 5, 5, 5, 3]
    for reference in (wanted, tuple(wanted), torch.tensor(wanted), numpy.array(wanted), [torch.tensor(wanted)]):
        value, said = given(explainer, engine, reference)
        assert value.tolist() == [wanted]
        assert said.name == "given ids"
    value, said = given(explainer, engine, torch.tensor([wanted, wanted[::-1]]))
    assert [row.tolist() for row in value] == [[wanted], [wanted[::-1]]]
    assert said.name == "mean of 2 references"


def test_the_logits_are_those_of_the_reference(explainer: Explainer, engine: SharedOut) -> None:
    e = explainer.explain(TEXT, target="POS", rules="difference", reference="a plot and wonder")
    plain = explainer.explain("a plot and wonder", target="POS", rules="difference")
    assert e.reference is not None
    assert e.reference.logits == pytest.approx(plain.logits)
    assert e.ledger["reference"] == e.reference.logits["POS"] == e.reference.logit("POS")
    assert e.ledger.explained == pytest.approx(e.ledger["tokens"])
    against = explainer.explain(TEXT, target="POS", contrast="NEG", rules="difference")
    assert against.reference is not None
    assert against.ledger["reference"] == against.reference.logit("POS", "NEG")


def test_several_labels_have_one_reference(explainer: Explainer, engine: SharedOut) -> None:
    by_label = explainer.explain_targets(TEXT, rules="difference", reference="mean")
    references = [e.reference for e in by_label.values()]
    assert references[0] == references[1] is not None
    for label, e in by_label.items():
        assert e.reference is not None
        assert e.ledger["reference"] == e.reference.logits[label]


def test_a_pair_as_a_reference_of_a_pair(explainer: Explainer, engine: SharedOut) -> None:
    other = ("a plot and wonder", "the film is bad")
    value, said = given(explainer, engine, other, *PAIR)
    assert value.tolist() == [ids(explainer, *other)]
    assert said.name == "the texts 'a plot and wonder' and 'the film is bad'"
    value, said = given(explainer, engine, [other, "mean"], *PAIR)
    assert value[1] == "mean"
    assert said.name == "mean of 2 references"


def test_windows_take_their_part_of_the_ids(explainer: Explainer, engine: SharedOut) -> None:
    other = ids(explainer, "a plot and wonder . , ! x")
    explained = "the film is dull a great film !"
    e = explainer.explain(explained, rules="difference", reference=other, long="windows", window=6, overlap=2)
    assert e.windows == 3
    rows = [row for value in engine.given for row in value.tolist()]
    assert all(row[0] == 2 and row[-1] == 3 and len(row) == 6 for row in rows)
    assert [row[1:-1] for row in rows] == [other[1:5], other[3:7], other[5:9]]
    assert e.reference is not None
    alone = explainer.explain("a plot and wonder . , ! x", rules="difference", long="windows", window=6, overlap=2)
    assert e.reference.logits == pytest.approx(alone.logits)


def test_a_long_reference_is_cut_as_the_text_is(explainer: Explainer, engine: SharedOut) -> None:
    value, _ = given(explainer, engine, "a plot and wonder . ! , !", "the film is dull and no great !", window=6)
    assert value.tolist() == [ids(explainer, "a plot and wonder")]


def test_a_batch_is_padded_with_its_references(explainer: Explainer, engine: SharedOut) -> None:
    texts = ["the film is dull", "a bad film", "no"]
    explanations = explainer.explain_batch(texts, rules="difference", reference=["mean", "."])
    assert engine.given == [["mean", token(explainer, ".")]] * len(engine.given)
    assert [e.reference.name for e in explanations] == ["mean of 2 references"] * 3
    streamed = list(explainer.explain_stream(texts, rules="difference"))
    assert [e.reference.name for e in streamed] == ["[MASK]"] * 3


def test_a_text_fits_the_texts_of_a_batch_that_have_as_many_ids(explainer: Explainer, engine: SharedOut) -> None:
    texts = ["the film is dull", "a bad film", "no great plot !"]
    options: dict[str, Any] = {"rules": "difference", "reference": "a plot and wonder"}
    first, second, third = explainer.explain_batch(texts, errors="return", **options)
    assert first.reference == pytest.approx(third.reference)
    assert isinstance(second, InputError)
    engine.given.clear()
    with pytest.raises(BatchError):
        explainer.explain_batch(texts, **options)
    assert not engine.given  # before the model runs


def test_ids_of_a_padded_batch_are_padded(explainer: Explainer) -> None:
    from textlrp.explain.references import Fitted, batched

    for side, expected in (("right", [[9, 8, 7], [6, 5, 0]]), ("left", [[9, 8, 7], [0, 6, 5]])):
        explainer.tokenizer.padding_side = side
        encodings = [explainer.encode(text).take(range(count)) for text, count in ((TEXT, 3), (TEXT, 2))]
        fitted = [Fitted("ids", (), ((9, 8, 7),)), Fitted("ids", (), ((6, 5),))]
        value = batched(fitted, explainer.classifier.pad(encodings), torch.device("cpu"))
        assert value.tolist() == expected
    explainer.tokenizer.padding_side = "right"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("maks", "'maks' is no token of the vocabulary, and as a text it takes 6 ids, where the explained one takes 7"),
        ("maks", "did you mean 'mask'?"),
        ("a plot", "as a text it takes 4 ids, where the explained one takes 7"),
        ("", "the reference is empty: give mask, pad, mean, zero, a token"),
        ("  ", "the reference is blank"),
        ([], "the list of references is empty"),
        ([2, 5, 3], "the reference has 3 ids, and the text takes 7, special tokens included"),
        ([2, 5, 5, 5, 5, 5, 1000], "the reference has the id 1000, and the model has ids from 0 to"),
        ([2, 5, 5, 5, 5, 5, -1], "the reference has the id -1"),
        ([2.5, 1], "a reference is mask, pad, mean, zero, a token"),
        (True, "a reference is mask, pad, mean, zero, a token, a text or ids"),
        (7, "the reference is the single number 7: give a list of ids, one for each id of the text"),
        (numpy.int64(7), "the reference is the single number 7: give a list of ids"),
        (torch.tensor(7), "the reference is the single number 7: give a list of ids"),
        (["mean", numpy.int64(7)], "the reference is the single number 7: give a list of ids"),
        (7.5, "not 7.5"),
        ({"a": 1}, "not {'a': 1}"),
        ([None], "not None"),
        (("a film", "a plot"), "the reference is a pair of texts, and one text is explained"),
        (torch.tensor([0.5]), "a reference is mask"),
    ],
)
def test_what_is_no_reference_is_said_before_the_model_runs(
    explainer: Explainer, engine: SharedOut, reference: Any, says: str
) -> None:
    with pytest.raises(InputError) as caught:
        explainer.explain("the film is dull .", rules="difference", reference=reference)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not engine.given


@pytest.mark.parametrize(
    ("reference", "kind", "means"),
    [
        ("MASK", "mask", "the mask token"),
        ("Mask", "mask", "the mask token"),
        (" mask", "mask", "the mask token"),
        ("PAD", "pad", "the padding token"),
        ("Mean", "mean", "the mean embedding"),
        ("Zero", "zero", "embeddings of zeros"),
        (["mean", "ZERO"], "zero", "embeddings of zeros"),
    ],
)
def test_a_word_in_other_letters_asks_what_is_meant(
    explainer: Explainer, engine: SharedOut, reference: Any, kind: str, means: str
) -> None:
    word = reference if isinstance(reference, str) else reference[-1]
    with pytest.raises(InputError) as caught:
        explainer.explain(TEXT, rules="difference", reference=reference)
    assert str(caught.value) == (
        f"the reference {word!r} can mean {means} or the word {word.strip()!r}: give {kind!r} for {means}, or in "
        f"Python a list of ids for the word"
    )
    assert not engine.given


def test_a_special_token_is_one_however_it_is_written(engine: SharedOut) -> None:
    tokenizer = fast_tokenizer("wordpiece")
    tokenizer.add_special_tokens({"mask_token": "MASK"})
    explainer = Explainer(bert(len(tokenizer)), tokenizer)
    value, said = given(explainer, engine, "MASK")
    assert (value, said.name, said.given) == (tokenizer.mask_token_id, "MASK", ("mask",))


def test_what_is_no_reference_of_a_pair(explainer: Explainer, engine: SharedOut) -> None:
    for reference, says in (
        ("a film that is bad", "is one text, and a pair is explained: give a tuple of two texts"),
        (("a film", "the plot is"), "take 2 and 3 ids, and those of the pair 4 and 4"),
    ):
        with pytest.raises(InputError, match=says):
            explainer.explain(*PAIR, rules="difference", reference=reference)


@pytest.mark.parametrize("rules", ["attnlrp", Rules()])
def test_rules_from_zero_take_no_reference(explainer: Explainer, rules: Any) -> None:
    for call in (explainer.explain, explainer.explain_targets):
        with pytest.raises(InputError, match="measure from zero and take no reference"):
            call(TEXT, rules=rules, reference="mean")
    for many in (explainer.explain_batch, explainer.explain_stream):
        with pytest.raises(InputError, match="measure from zero and take no reference"):
            many([TEXT], rules=rules, reference="mean")
    assert explainer.explain(TEXT, rules=rules).reference is None


def test_a_tokenizer_without_a_mask_token(engine: SharedOut) -> None:
    tokenizer = fast_tokenizer("metaspace")
    explainer = Explainer(bert(len(tokenizer)), tokenizer)
    value, said = given(explainer, engine, None)
    assert value == "mean"
    assert (said.name, said.given) == ("mean embedding", ())
    with pytest.raises(InputError, match="has no mask token for a reference: give mask, pad"):
        given(explainer, engine, "mask")
    value, said = given(explainer, engine, "pad")
    assert said.name == "<pad>"


def test_a_mask_token_without_a_row(engine: SharedOut) -> None:
    tokenizer = fast_tokenizer("metaspace")
    model = bert(len(tokenizer))
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    explainer = Explainer.__new__(Explainer)
    explainer.classifier = classifier.Classifier.__new__(classifier.Classifier)
    explainer.classifier.model, explainer.classifier.tokenizer = model, tokenizer
    assert explainer.classifier.default_reference == "mean"


def test_a_pinned_reference_is_one_row(explainer: Explainer, engine: SharedOut) -> None:
    engine.heading = "reference (pinned)"
    e = explainer.explain(TEXT, rules="difference")
    assert e.ledger.pinned
    assert "reference" not in e.ledger
    assert e.reference is not None
    assert e.ledger.reference == e.reference.logits[e.target]


def test_a_tokenizer_of_characters_knows_no_words() -> None:
    """CANINE's raises at a token of several characters, where others return the unknown token."""
    from transformers import CanineTokenizer

    explainer = Explainer(tiny_models.build("canine"), CanineTokenizer(), "characters")
    with pytest.raises(InputError, match="'maks'"):
        explainer.explain("ab", rules="difference", reference="maks")
