"""Zero-shot classification: the scores are the pipeline's, and the ledger balances over all hypotheses."""

from __future__ import annotations

import math
from typing import Any

import language_texts
import pytest
import tiny_models
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_bert import bert

import textlrp
from textlrp import Explainer, Explanation
from textlrp.errors import InputError, ModelError
from textlrp.evaluate.perturbation import Perturbed

TEXT = "The film is wonderful, but the plot is dull!"
LABELS = ["cinema", "food and drink", "the weather of tomorrow"]
RELATIONS = {"contradiction": 0, "neutral": 1, "entailment": 2}


def inference(tokenizer: Any, relations: dict[str, int], **options: Any) -> Any:
    names = {index: name for name, index in relations.items()}
    return bert(len(tokenizer), num_labels=len(relations), id2label=names, label2id=relations, **options)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return language_texts.train("wordpiece", list(language_texts.TEXTS.values()), 700)


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> Any:
    return inference(tokenizer, RELATIONS)


def pipeline(model: Any, tokenizer: Any, **options: Any) -> Any:
    return transformers.pipeline(
        "zero-shot-classification", model=model, tokenizer=tokenizer, device="cpu", **options
    )  # fmt: skip


def scores(pipe: Any, text: str, **options: Any) -> dict[str, float]:
    told = pipe(text, **options)
    return dict(zip(told["labels"], told["scores"], strict=True))


def check(e: Explanation) -> None:
    assert e.ledger.balanced
    assert e.prompt is not None
    tokens = math.fsum(span.relevance for span in e.tokens if not span.special)
    assert e.ledger["tokens"] == tokens
    assert math.fsum(span.relevance for span in e.words) == pytest.approx(tokens, abs=1e-9)
    assert e.ledger["prompt"] == e.prompt.relevance == math.fsum(span.relevance for span in e.prompt.tokens)
    assert "".join(word.text for word in e.prompt.words) == e.prompt.text
    assert Explanation.from_json(e.to_json()) == e


@pytest.mark.parametrize("relations", [RELATIONS, {"ENTAILMENT": 0, "neutral": 1, "contradiction": 2}])
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("labels", [LABELS, ["cinema"]])
def test_scores_are_the_pipeline_s(tokenizer: Any, relations: Any, multi_label: bool, labels: list[str]) -> None:
    model = inference(tokenizer, relations)
    options = {"hypothesis_template": "This is about {}.", "multi_label": multi_label}
    expected = scores(pipeline(model, tokenizer), TEXT, candidate_labels=labels, **options)
    explainer = Explainer.zero_shot(
        model, tokenizer, labels=labels, template="This is about {}.", multi_label=multi_label
    )
    assert explainer.labels == tuple(labels)
    e = explainer.explain(TEXT)
    assert {label: pytest.approx(share, abs=1e-6) for label, share in e.probabilities.items()} == expected
    assert e.target == max(expected, key=lambda label: expected[label])


@pytest.mark.parametrize("rules", ["attnlrp", "difference"])
@pytest.mark.parametrize("options", [{}, {"target": "cinema"}, {"target": "cinema", "contrast": "runner-up"}])
@pytest.mark.parametrize("multi_label", [False, True])
def test_the_ledger_balances_and_the_hypothesis_stands_apart(
    model: Any, tokenizer: Any, rules: str, options: dict[str, Any], multi_label: bool
) -> None:
    explainer = Explainer.zero_shot(model, tokenizer, labels=LABELS, multi_label=multi_label)
    e = explainer.explain(TEXT, rules=rules, **options)
    check(e)
    expected = [f"This example is {label}." for label in (e.target, e.contrast) if label is not None]
    assert e.prompt is not None
    assert e.prompt.text == "\n".join(expected)
    assert "".join(span.text for span in e.tokens) == TEXT.replace(" ", "")
    # A label's words are those that its entailment has in a run of the model on the pair alone.
    pair = Explainer(model, tokenizer)
    total = [0.0] * len(e.words)
    for label, sign in ((e.target, 1), (e.contrast, -1)):
        if label is None:
            continue
        index = {"contrast": "contradiction"} if multi_label else {}
        alone = pair.explain(TEXT, f"This example is {label}.", target="entailment", rules=rules, **index)
        words = [word.relevance for word in alone.words if word.source == "text"]
        total = [sum_ + sign * value for sum_, value in zip(total, words, strict=True)]
    if rules == "attnlrp":  # in difference rules, the pair's reference has no hypothesis either
        assert [word.relevance for word in e.words] == pytest.approx(total, abs=1e-5)


def test_a_pipeline_brings_its_labels(model: Any, tokenizer: Any) -> None:
    pipe = pipeline(model, tokenizer, candidate_labels="cinema, food", multi_label=True)
    e = Explainer.from_pipeline(pipe).explain(TEXT, target="food")
    expected = scores(pipe, TEXT, candidate_labels=["cinema", "food"], multi_label=True)
    assert {label: pytest.approx(share, abs=1e-6) for label, share in e.probabilities.items()} == expected
    other = Explainer.from_pipeline(pipe, labels=["a", "b"], template="It is {}.", multi_label=False)
    e = other.explain(TEXT, target="b")
    assert e.prompt is not None
    assert e.prompt.text == "It is b."
    assert sum(e.probabilities.values()) == pytest.approx(1)
    with pytest.raises(InputError, match=r"gets its labels when it is called: give them here, as labels=\["):
        Explainer.from_pipeline(pipeline(model, tokenizer))


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_long_text_is_cut_for_each_hypothesis_as_the_pipeline_cuts_it(model: Any, side: str) -> None:
    tokenizer = language_texts.train("wordpiece", list(language_texts.TEXTS.values()), 700)
    tokenizer.model_max_length, tokenizer.truncation_side = 32, side
    long = " ".join([TEXT] * 5)
    explainer = Explainer.zero_shot(model, tokenizer, labels=LABELS)
    e = explainer.explain(long)
    expected = scores(pipeline(model, tokenizer), long, candidate_labels=LABELS)
    assert {label: pytest.approx(share, abs=1e-6) for label, share in e.probabilities.items()} == expected
    check(e)
    start, end = e.words[0].start, e.words[-1].end
    assert e.truncated == ((end, len(long)) if side == "right" else (0, start))
    whole = explainer.explain(long, long="windows")
    check(whole)
    assert whole.windows > 1
    assert "".join(word.text for word in whole.words) == long


def test_texts_in_a_batch_are_explained_as_alone(model: Any, tokenizer: Any) -> None:
    explainer = Explainer.zero_shot(model, tokenizer, labels=LABELS)
    texts = [TEXT, "Rain.", f"{TEXT}!", "The plot is dull, but the film is wonderful!"]
    for text, e in zip(texts, explainer.explain_batch(texts, contrast="runner-up"), strict=True):
        check(e)
        alone = explainer.explain(text, contrast="runner-up")
        assert (e.target, e.contrast) == (alone.target, alone.contrast)
        expected = [span.relevance for span in alone.tokens]
        assert [span.relevance for span in e.tokens] == pytest.approx(expected, abs=1e-5)


def test_pages_show_the_hypothesis(model: Any, tokenizer: Any) -> None:
    e = Explainer.zero_shot(model, tokenizer, labels=LABELS).explain(TEXT, target="cinema")
    assert "The words around the text" in e.to_html()
    assert "The words around the text" in e._repr_html_()
    assert "textlrp explain" not in e.to_html()  # no command gives labels and a template
    assert "The words around the text" not in Explainer(model, tokenizer).explain(TEXT).to_html()


def test_a_prompt_that_was_changed_is_noticed(model: Any, tokenizer: Any) -> None:
    e = Explainer.zero_shot(model, tokenizer, labels=LABELS).explain(TEXT)
    values = e.to_dict()
    del values["digest"]
    values["prompt"]["tokens"][0]["relevance"] += 1.0
    with pytest.raises(InputError, match="the relevances of the prompt add up to"):
        Explanation.from_dict(values)
    values["prompt"] = None
    with pytest.raises(InputError, match="it has no prompt, and its ledger has a row 'prompt'"):
        Explanation.from_dict(values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": []}, "labels is empty"),
        ({"labels": ["a", " "]}, "a label is empty"),
        ({"labels": ["a", "b", "a"]}, "the label 'a' is there more than once"),
        ({"labels": 3}, "labels is a list of names, not 3"),
        ({"labels": ["a", 3]}, "a label is a name, not 3"),
        ({"labels": ["a"], "template": "This is it."}, "template is a sentence with {} in place of the label, not 'Th"),
        ({"labels": ["a"], "template": "{} and {}"}, "template is a sentence with {} in place of the label, not '{} a"),
        ({"labels": ["a"], "template": "{0.x}"}, "template is a sentence with {} in place of the label, not '{0.x}'"),
        ({"labels": ["a"], "template": "{"}, "template is a sentence with {} in place of the label, not '{'"),
        ({"labels": ["a"], "template": None}, "template is a sentence with {} in place of the label, not None"),
    ],
)
def test_labels_and_templates_that_cannot_be_used(model: Any, tokenizer: Any, options: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        Explainer.zero_shot(model, tokenizer, **options)
    assert message in str(error.value)


def test_what_a_zero_shot_classifier_cannot_do_is_said(model: Any, tokenizer: Any) -> None:
    explainer = Explainer.zero_shot(model, tokenizer, labels=LABELS)
    with pytest.raises(InputError, match="which are its second texts: give one text"):
        explainer.explain(TEXT, "another")
    with pytest.raises(InputError, match="reads its input in 3 runs: leave layers out"):
        explainer.explain(TEXT, layers=True)
    with pytest.raises(InputError, match="reads its input in 3 runs: leave layers out"):
        explainer.explain_batch([TEXT], layers=True)
    with pytest.raises(ModelError, match="one of whose labels starts with 'entail', and this one has 'NEG', 'POS'"):
        Explainer.zero_shot(bert(len(tokenizer)), tokenizer, labels=LABELS)
    tight = inference(tokenizer, RELATIONS, max_position_embeddings=8)
    with pytest.raises(InputError, match="reads 8 ids at once, and the words around the text leave no room for it"):
        Explainer.zero_shot(tight, tokenizer, labels=LABELS).explain(TEXT)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    text=st.lists(st.sampled_from(["film", "wonderful", "映画", "👩‍👧", "{}", "\n", "don't"]), min_size=1).map(
        " ".join
    ),
    labels=st.lists(st.sampled_from(["a", "good film", "映画", "{text}"]), min_size=1, unique=True),
)
def test_any_text_and_labels(model: Any, tokenizer: Any, text: str, labels: list[str]) -> None:
    if text.strip():
        check(Explainer.zero_shot(model, tokenizer, labels=labels).explain(text))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("text-generation", r"use Explainer.prompted\(pipeline.model, pipeline.tokenizer, ...\)"),
        ("fill-mask", "fine-tune its model to classify texts first"),
        ("image-classification", "give a text-classification or zero-shot-classification pipeline"),
    ],
)
def test_pipelines_of_another_task_are_refused(model: Any, tokenizer: Any, task: str, message: str) -> None:
    pipe = pipeline(model, tokenizer)
    pipe.task = task
    with pytest.raises(ModelError, match=f"this is a pipeline for '{task}', .*{message}"):
        Explainer.from_pipeline(pipe)


def test_options_of_zero_shot_belong_to_such_pipelines(tokenizer: Any) -> None:
    pipe = transformers.pipeline("text-classification", model=bert(len(tokenizer)), tokenizer=tokenizer, device="cpu")
    with pytest.raises(InputError, match="labels belongs to zero-shot classification"):
        Explainer.from_pipeline(pipe, labels=["a"])


def test_a_model_stays_as_it_is(model: Any, tokenizer: Any) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    Explainer.zero_shot(model, tokenizer, labels=LABELS).explain(TEXT)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("perturb", ["mask", "delete", "replace"])
def test_a_word_is_taken_from_all_runs(model: Any, tokenizer: Any, perturb: str) -> None:
    explainer = Explainer.zero_shot(model, tokenizer, labels=LABELS)
    e = explainer.explain("The film is dull.", target="cinema", rules="difference")
    options = {"perturb": perturb, "background": [TEXT] if perturb == "replace" else None}
    read = Perturbed(explainer, e.text, target="cinema", **options)
    assert read.original.logit == pytest.approx(e.logit, abs=1e-5)
    words = [i for i, span in enumerate(e.tokens) if not span.special]
    (outcome,) = read.outcomes([words])
    assert e.reference is not None
    if perturb == "mask":
        assert outcome.logit == pytest.approx(e.reference.logits["cinema"], abs=1e-5)
    else:
        assert outcome.logit != pytest.approx(e.logit, abs=1e-3)
    assert textlrp.faithfulness.assess(explainer, e, **options).morf.logits[0] == pytest.approx(e.logit, abs=1e-5)


def test_methods_that_look_into_one_run_say_so(model: Any, tokenizer: Any) -> None:
    explainer = Explainer.zero_shot(model, tokenizer, labels=LABELS)
    with pytest.raises(InputError, match="reads its input in 3 runs: compare rules of textlrp"):
        textlrp.baselines.scorer("occlusion")(explainer, TEXT)


def test_a_text_measured_from_itself_adds_nothing(model: Any, tokenizer: Any) -> None:
    explainer = Explainer.zero_shot(model, tokenizer, labels=LABELS)
    e = explainer.explain(TEXT, rules="difference", reference=TEXT)
    assert (e.ledger["tokens"], e.ledger.reference) == (0.0, pytest.approx(e.logit, abs=1e-6))


@pytest.mark.parametrize("model_type", ["bart", "roberta", "deberta-v2", "gpt2"])
def test_models_that_find_the_end_of_a_run_by_its_padding(model_type: str) -> None:
    tokenizer = language_texts.train("bytelevel", list(language_texts.TEXTS.values()), 600)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    names = {index: name for name, index in RELATIONS.items()}
    ids = {"vocab_size": len(tokenizer), "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    model = tiny_models.build(model_type, id2label=names, label2id=RELATIONS, **ids)
    expected = scores(pipeline(model, tokenizer), TEXT, candidate_labels=LABELS)
    for rules in ("attnlrp", "difference"):
        e, *_ = Explainer.zero_shot(model, tokenizer, labels=LABELS).explain_batch([TEXT, f"{TEXT}!"], rules=rules)
        check(e)
        assert {label: pytest.approx(share, abs=1e-6) for label, share in e.probabilities.items()} == expected
