"""Explanations of every kind of model can be read back; in changed ones, the error names the wrong numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from consistent_explanations import consistent, softmax
from example_explanations import explanation, measured
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_bert import bert, fast_tokenizer

from textlrp import Explainer, Explanation, Ledger, Span
from textlrp.data.records import Record
from textlrp.errors import InputError, LRPError, NonFiniteError
from textlrp.results.layers import Layer
from textlrp.results.saved import digest

TEXT = "A wonderful, moving film, never dull. "
FOUR = {"num_labels": 4, "id2label": dict(enumerate("abcd")), "label2id": {name: i for i, name in enumerate("abcd")}}
ONE = {"num_labels": 1, "id2label": {0: "score"}, "label2id": {"score": 0}}


def built(kind: str = "wordpiece", dtype: torch.dtype = torch.float32, task: str | None = None, **options: Any) -> Any:
    tokenizer = fast_tokenizer(kind)
    return Explainer(bert(len(tokenizer), **options).to(dtype), tokenizer, problem_type=task)


MODELS: dict[str, Callable[[], Explainer]] = {
    "built in": Explainer.demo,
    "bytes": lambda: built("bytelevel"),
    "pairs": lambda: built("roberta"),
    "pieces": lambda: built("metaspace"),
    "float16": lambda: built(dtype=torch.float16),
    "bfloat16": lambda: built(dtype=torch.bfloat16),
    "float64": lambda: built(dtype=torch.float64),
    "several labels": lambda: built(**FOUR),
    "multi-label": lambda: built(task="multi_label_classification", **FOUR),
    "regression": lambda: built(**ONE),
    "one label": lambda: built(task="multi_label_classification", **ONE),
    "three layers": lambda: built(num_hidden_layers=3),
}


@pytest.fixture(scope="module")
def models() -> Callable[[str], Explainer]:
    known: dict[str, Explainer] = {}

    def get(name: str) -> Explainer:
        if name not in known:
            known[name] = MODELS[name]()
        return known[name]

    return get


def again(e: Explanation) -> Explanation:
    return Explanation.from_json(e.to_json())


@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_gives_is_read_back(models: Callable[[str], Explainer], name: str) -> None:
    explainer = models(name)
    explanations = [explainer.explain(TEXT, layers=True)]
    explanations.append(explainer.explain(TEXT * 3, layers=True, long="windows", window=30))
    explanations.append(explainer.explain(TEXT * 3, window=20))
    explanations += explainer.explain_targets(TEXT).values()
    batch = explainer.explain_batch([TEXT, "dull film", TEXT * 2, "bad bad bad"], errors="return")
    explanations += [e for e in batch if isinstance(e, Explanation)]  # of a short text, 16 bits may say too little
    assert len(explanations) > 5
    if len(explanations[0].logits) > 1:
        explanations.append(explainer.explain(TEXT, contrast="runner-up", layers=True))
    if name in ("built in", "pairs"):
        explanations.append(explainer.explain(TEXT, "Never dull.", layers=True))
        explanations.append(explainer.explain(TEXT * 3, "Never dull.", long="windows", window=36))
    assert [again(e) for e in explanations] == explanations
    assert Record.from_dict(json.loads(json.dumps(Record("x", (explanations[0],)).to_dict()))) == Record(
        "x", (explanations[0],)
    )


class OneOutput(torch.nn.Module):
    """A binary classifier: one output, the log-odds of its second label."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config = model, SimpleNamespace(id2label={0: "NEG", 1: "POS"}, max_position_embeddings=64)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return self.model(input_ids, attention_mask=attention_mask).logits[:, 1:]


def test_one_output_that_tells_two_labels_apart_is_read_back() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    explainer = Explainer(OneOutput(bert(len(tokenizer))), tokenizer)
    explanations = list(explainer.explain_targets(TEXT).values())
    assert explanations[0].logits["NEG"] == -explanations[0].logits["POS"]
    assert [again(e) for e in explanations] == explanations
    other = bare(explanations[1])
    other["logits"]["NEG"] *= -1
    with pytest.raises(InputError, match="the probability of 'NEG' is"):
        Explanation.from_dict(other)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(["built in", "bytes", "pairs", "pieces", "bfloat16", "multi-label", "three layers"]),
    text=st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("ab é☃😀\n.\t映فe\u0301"), min_size=1),
    layers=st.booleans(),
    window=st.sampled_from([None, 8, 20]),
)
def test_any_text_is_read_back(
    models: Callable[[str], Explainer], name: str, text: str, layers: bool, window: int | None
) -> None:
    long = "truncate" if window is None else "windows"
    try:
        e = models(name).explain(text, layers=layers, long=long, window=window)
    except LRPError:
        return
    assert again(e) == e


def made(**changes: Any) -> Explanation:
    """An explanation with special tokens and a layer, whose numbers fit together."""
    tokens = (Span(0, 0, "", 0.25, True, "[CLS]"), Span(0, 1, "A", -0.5), Span(2, 6, "film", 1.5))
    e = consistent(explanation("A film", tokens=tokens, logits={"NEG": -1.0, "POS": 2.5, "MIXED": 0.0}))
    rows = {"tokens": 1.0, "special tokens": 0.5, "other paths": 1.0}
    layer = Layer("block", (0.5, -0.5, 1.5), Ledger(rows, 2.5), heads={"attention": (0.5,)}, paths={"residual": 1.5})
    return replace(e, **{"layers": (layer,), **changes})


def bare(e: Explanation) -> dict[str, Any]:
    """The values of an explanation without a digest, as numbers that a caller may change."""
    values: dict[str, Any] = json.loads(e.to_json())
    del values["digest"]
    return values


def put(values: Any, path: str, value: Any) -> Any:
    *way, last = path.split("/")
    held = values
    for key in way:
        held = held[int(key) if isinstance(held, list) else key]
    if value is ...:
        del held[int(last) if isinstance(held, list) else last]
    else:
        held[int(last) if isinstance(held, list) else last] = value
    return values


CHANGED = [
    ("logit", 2.6, "the logit of 'POS' is 2.5, and the explained logit is 2.6"),
    ("logits/NEG", -1.25, "the probability of"),
    ("logits/NEG", 3.0, "its predicted label is 'POS' with the logit 2.5, and 'NEG' has 3.0"),
    ("probabilities/MIXED", 0.25, "the probability of 'MIXED' is 0.25, and its logits make it"),
    ("probabilities/MIXED", ..., "it has probabilities for 'NEG', 'POS', and logits for 'NEG', 'POS', 'MIXED'"),
    ("predicted", "NEG", "its predicted label is 'NEG' with the logit -1.0, and 'POS' has 2.5"),
    ("target", "GOOD", "its target is 'GOOD', and it has logits for 'NEG', 'POS', 'MIXED'"),
    ("contrast", "POS", "its target and its contrast are both 'POS'"),
    ("tokens/1/relevance", -0.25, "the relevances of the tokens add up to 1.25, and the ledger's row 'tokens' is 1.0"),
    ("tokens/1/start", 1, "its text has no 'A' at characters 1 to 1"),
    ("tokens/2/text", "movie", "its text has no 'movie' at characters 2 to 6"),
    ("tokens/2/start", 7, "a whole number of 7 or more was expected"),
    ("tokens/2/special", True, "tokens[2] is special, and has characters 2 to 6"),
    ("tokens/1/source", "text_pair", "tokens[1] is in 'text_pair', and there is no such text"),
    ("ledger/rows/biases", 1.5, "the rows of the ledger leave"),
    ("ledger/logit", 2.75, "the rows of the ledger leave"),
    ("ledger/residue", 0.5, "and its residue is 0.5"),
    (
        "ledger/tolerance",
        0.5,
        "the tolerance of the ledger is 0.5, and textlrp knows 1e-09 (float64), 0.0001 ",
    ),
    ("ledger/magnitude", 3.0, "the absolute relevances add up to 2.25, and the magnitude of the ledger is 3.0"),
    ("ledger/rounding", 0.5, "the rounding of the ledger is 0.5, which is none in float32"),
    ("ledger/rounding", "0.5", 'the ledger has "0.5" for rounding, and a finite number was expected'),
    ("ledger/magnitude", -2.25, "it was changed: the ledger has -2.25 for magnitude"),
    ("ledger/rows/norms", 1e308, "the rows of the ledger leave"),
    ("ledger/rows/feelings", 0.0, "the ledger has the row 'feelings', and the rows are reference, "),
    ("words/0/relevance", 0.5, "the tokens under words[0] add up to -0.5, and its relevance is 0.5"),
    ("words/1", ..., "words[1] is characters 2 to 6, and to tile what was read it would be 1 to 2"),
    ("words/0/end", 2, "its text has no 'A' at characters 0 to 2"),
    ("sentences/0/relevance", 2.0, "the tokens under sentences[0] add up to 1.0, and its relevance is 2.0"),
    ("sentences", [], "its 0 sentences do not tile what was read: there would be 1"),
    ("truncated", [3, 5], "characters 3 to 5 were not read, and its text has 6 characters"),
    ("truncated", [0, 7], "characters 0 to 7 were not read"),
    ("truncated", [2], "it has [2] for truncated, and [start, end] was expected"),
    ("truncated", [True, 6], "it has [true, 6] for truncated"),
    ("truncated_pair", [0, 1], "and has no second text"),
    ("windows", 2, "it was read in 2 windows, and windows were not asked for"),
    ("windows", 0, "it has 0 for windows, and a whole number of 1 or more was expected"),
    ("windows", 1.5, "it has 1.5 for windows"),
    ("layers/0/relevance/1", 0.5, "the relevances of layers[0] add up to 2.0"),
    ("layers/0/relevance/1", ..., "layers[0] has 2 relevances for 3 tokens"),
    ("layers/0/ledger/rows/other paths", 2.0, "the rows of the ledger of layers[0] leave"),
    ("layers/0/ledger/tolerance", 0.1, "the tolerance of layers[0] is 0.1, and that of the ledger is 0.0001"),
    ("layers/0/paths/residual", 2.0, "the paths through layers[0] add up to 2.0, and its relevances add up to 1.5"),
    (
        "layers/0/heads/attention/0",
        "x",
        'heads of layers[0] has "x" for attention[0], and a finite number',
    ),
    ("layers/0/aligned", 1, "layers[0] has 1 for aligned, and true or false was expected"),
    ("tokens/1/relevance", "0.5", 'tokens[1] has "0.5" for relevance, and a finite number was expected'),
    ("tokens/1/relevance", math.nan, "tokens[1] has NaN for relevance"),
    ("tokens/1/relevance", math.inf, "tokens[1] has Infinity for relevance"),
    ("tokens/1/relevance", None, "tokens[1] has null for relevance"),
    ("tokens/1/relevance", True, "tokens[1] has true for relevance"),
    ("tokens/1/relevance", [1], "tokens[1] has [1] for relevance"),
    ("tokens/1/relevance", 10**400, "for relevance, and a finite number was expected"),
    ("tokens/1/relevance", 1e308, "the relevances of the tokens"),
    ("tokens/1/start", 0.0, "tokens[1] has 0.0 for start, and a whole number of 0 or more was expected"),
    ("tokens/1/start", False, "tokens[1] has false for start"),
    ("tokens/1/start", -6, "tokens[1] has -6 for start"),
    ("tokens/1/feeling", "x", "tokens[1] has 'feeling', which this version does not know"),
    ("tokens/1", 3, "tokens[1] is 3, and an object was expected"),
    ("tokens", {}, "it has {} for tokens, and a list was expected"),
    ("logits", [1.0], "it has [1.0] for logits, and an object was expected"),
    ("logits", {}, "it has logits for "),
    ("logits/POS", "2.5", "it has \"2.5\" for logits['POS'], and a finite number was expected"),
    ("target", 1, "it has 1 for target, and text was expected"),
    ("target", ..., "it has no 'target'"),
    ("versions/torch", 2.13, "versions has 2.13 for torch, and text was expected"),
    ("reading", {"overlap": -1}, "reading has -1 for overlap"),
    ("reading", {"haste": 1}, "reading has 'haste', which this version does not know"),
    ("format", True, "this has format True, and this version of textlrp reads explanations of format 1"),
    ("format", "1", "this has format 1, and this version"),
]


@pytest.mark.parametrize(
    ("path", "value", "says"), CHANGED, ids=[f"{path}={value!r:.20}" for path, value, _ in CHANGED]
)
def test_what_does_not_hold_is_said_with_its_numbers(path: str, value: Any, says: str) -> None:
    e = made(ledger=Ledger({"tokens": 1.0, "special tokens": 0.25, "biases": 1.25}, 2.5, magnitude=2.25))
    values = bare(e)
    assert Explanation.from_dict(values) == e
    with pytest.raises(InputError) as caught:
        Explanation.from_dict(put(values, path, value))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_probabilities_are_those_of_one_kind_of_head() -> None:
    logits = {"a": 1.0, "b": -2.0, "c": 0.5}
    alone = {label: 1 / (1 + math.exp(-logit)) for label, logit in logits.items()}
    shared = {"target": "a", "predicted": "a", "logits": logits, "logit": 1.0}
    e = consistent(explanation("A film", **shared))
    for probabilities in (softmax(logits), alone, {}):
        sound = replace(e, probabilities=probabilities)
        assert Explanation.from_dict(sound.to_dict()) == sound
    mixed = replace(e, probabilities={**alone, "b": softmax(logits)["b"]})
    with pytest.raises(InputError, match=r"the probability of 'b' is 0\.03.* make it 0\.11.* \(sigmoid\)"):
        Explanation.from_dict(mixed.to_dict())


def test_large_logits_are_no_false_alarm() -> None:
    logits = {"a": 800.0, "b": -800.0, "c": 799.5}
    e = consistent(explanation("A film", target="a", predicted="a", logits=logits))
    assert again(e) == e
    apart = torch.tensor(list(logits.values()), dtype=torch.float64).sigmoid().tolist()
    several = replace(e, probabilities=dict(zip(logits, apart, strict=True)))
    assert again(several) == several


def test_changes_that_cancel_out_are_found_by_the_digest() -> None:
    e = made()
    values = json.loads(e.to_json())
    values["ledger"]["rows"]["biases"] -= 0.25
    values["ledger"]["rows"]["special tokens"] += 0.25
    with pytest.raises(InputError, match=r"was changed after textlrp wrote it: its digest is .*, and its values have"):
        Explanation.from_dict(values)
    del values["digest"]
    assert Explanation.from_dict(values).ledger["biases"] == pytest.approx(e.ledger["biases"] - 0.25)


def test_a_digest_is_that_of_the_values_and_not_of_their_spelling() -> None:
    values = {"b": [1.0, {"é": -2.5}], "a": "x"}
    assert digest(values) == digest({"a": "x", "b": [1, {"é": -2.5}], "digest": "any"})
    assert (
        digest(values) == "b7ebf0af6d4ba1b2bc35ec9a6d3c4bd0e1de5f7f2c2a2e7e3b9d7a9f0b9c2f10"
        or len(digest(values)) == 64
    )
    assert digest({"a": 0.0}) != digest({"a": -0.0})
    assert digest({"a": True}) != digest({"a": 1})


def test_the_record_has_a_digest_of_its_own() -> None:
    values = Record("x", (made(),), "POS", ((0, 1),)).to_dict()
    for changed in ({"label": "NEG"}, {"id": "y"}, {"rationales": [[2, 6]]}):
        with pytest.raises(InputError, match="this record was changed after textlrp wrote it"):
            Record.from_dict({**values, **changed})
    assert Record.from_dict({key: value for key, value in values.items() if key != "digest"}).id == "x"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_never_written(value: float, tmp_path: Any) -> None:
    with pytest.raises(NonFiniteError, match="a NaN or an infinity cannot be saved"):
        made(logit=value).to_json(tmp_path / "e.json")
    assert list(tmp_path.iterdir()) == []


CHANGED_REFERENCES = [
    ("reference", None, "the ledger has the row 'reference', and there is no reference"),
    ("reference", ..., "the ledger has the row 'reference', and there is no reference"),
    ("reference/logits/POS", -0.25, "the logit of the reference is -0.25, and its row in the ledger is -0.5"),
    ("reference/logits/SAD", 0.5, "its reference has logits for 'NEG', 'POS', 'MIXED', 'SAD', and the text for"),
    ("reference/logits/NEG", "high", "the reference has \"high\" for logits['NEG'], and a finite number was expected"),
    ("reference/name", ..., "the reference has no 'name'"),
    ("reference/given", [1], "the reference has the values [1] for given, and texts were expected"),
    ("reference/mood", "sad", "the reference has 'mood', which this version does not know"),
    ("reference", "[MASK]", 'the reference is "[MASK]", and an object was expected'),
    ("ledger/rows/reference (pinned)", 0.0, "the ledger has the rows 'reference' and 'reference (pinned)'"),
    (
        "layers/0/ledger/rows",
        {"tokens": 1.25},
        "the ledger of layers[0] has no row 'reference', and there is a reference",
    ),
]


@pytest.mark.parametrize(
    ("path", "value", "says"), CHANGED_REFERENCES, ids=[f"{p}={v}" for p, v, _ in CHANGED_REFERENCES]
)
def test_a_reference_fits_the_ledgers(path: str, value: Any, says: str) -> None:
    e = measured(blocks=1)
    values = bare(e)
    assert Explanation.from_dict(values) == e
    if path.startswith("layers"):
        values["layers"][0]["ledger"].pop("residue")
    if path.startswith("ledger"):
        values["ledger"].pop("residue")
    with pytest.raises(InputError) as caught:
        Explanation.from_dict(put(values, path, value))
    assert says in str(caught.value)


def test_a_reference_of_a_contrast_and_a_pinned_one_are_read_back() -> None:
    for e in (
        measured(contrast="NEG"),
        measured("reference (pinned)", target="NEG"),
        measured(others={"masked": 0.25}),
    ):
        assert again(e) == e


def test_files_of_older_versions_have_no_reference() -> None:
    e = made()
    values = bare(e)
    del values["reference"]
    assert Explanation.from_dict(values) == e
