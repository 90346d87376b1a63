"""Models of sentence-transformers and SetFit, with the real packages: their own scores, and a ledger that balances."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import language_texts
import numpy
import pytest
import torch
from sklearn import linear_model, svm
from tiny_bert import bert

from textlrp import Explainer, Explanation
from textlrp.errors import InputError, ModelError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    sentence_transformers = pytest.importorskip(
        "sentence_transformers", reason="sentence-transformers is not installed"
    )

TEXT, OTHER = "The film is wonderful, but the plot is dull!", "Gutes Essen; a moving film."
TEXTS = list(language_texts.TEXTS.values())[:12]

pytestmark = pytest.mark.filterwarnings("ignore")  # these packages are no part of textlrp


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return language_texts.train("wordpiece", list(language_texts.TEXTS.values()), 700)


def folder(path: Path, tokenizer: Any, **options: Any) -> str:
    bert(len(tokenizer), **options).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


def cross_encoder(path: Path, tokenizer: Any, outputs: int, **options: Any) -> Any:
    name = folder(path, tokenizer, num_labels=outputs, id2label=None, label2id=None)
    return sentence_transformers.CrossEncoder(name, device="cpu", **options)


@pytest.fixture(scope="module")
def encoder(tokenizer: Any, tmp_path_factory: Any) -> Any:
    bert(len(tokenizer)).bert.save_pretrained(path := tmp_path_factory.mktemp("encoder"))
    tokenizer.save_pretrained(path)
    return sentence_transformers.SentenceTransformer(str(path), device="cpu")


def check(e: Explanation) -> None:
    assert e.ledger.balanced
    assert math.fsum(s.relevance for s in e.tokens if not s.special) == pytest.approx(e.ledger["tokens"], abs=1e-9)
    assert Explanation.from_json(e.to_json()) == e
    assert "".join(word.text for word in e.words if word.source == "text") == e.text


@pytest.mark.parametrize(("outputs", "function"), [(1, None), (1, torch.nn.Identity()), (3, None)])
def test_a_cross_encoder_scores_pairs(tokenizer: Any, tmp_path: Path, outputs: int, function: Any) -> None:
    model = cross_encoder(tmp_path, tokenizer, outputs, **({} if function is None else {"activation_fn": function}))
    expected = model.predict([(TEXT, OTHER)])[0]
    e = Explainer(model).explain(TEXT, OTHER)
    check(e)
    if outputs == 1 and function is None:
        assert list(e.probabilities.values()) == pytest.approx([expected], abs=1e-6)
    elif outputs == 1:
        assert (e.logit, e.probabilities) == (pytest.approx(float(expected), abs=1e-6), {})
    else:
        assert list(e.logits.values()) == pytest.approx(expected.tolist(), abs=1e-6)
    assert Explainer(model).classifier.limit == 64


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("kind", [linear_model.LogisticRegression, svm.LinearSVC, linear_model.RidgeClassifier])
def test_a_linear_head_of_scikit_learn(encoder: Any, kind: Any, labels: int) -> None:
    names = numpy.array(["A", "B", "C"])[numpy.arange(len(TEXTS)) % labels]
    head = kind().fit(encoder.encode(TEXTS), names)
    explainer = Explainer.on_embeddings(encoder, head)
    e = explainer.explain(TEXT)
    check(e)
    embedding = encoder.encode([TEXT])
    decision = numpy.atleast_1d(head.decision_function(embedding)[0])
    scores = [-decision[0], decision[0]] if labels == 2 else decision
    assert list(e.logits.values()) == pytest.approx(list(scores), abs=1e-4)
    assert e.predicted == head.predict(embedding)[0]
    if kind is linear_model.LogisticRegression:
        assert list(e.probabilities.values()) == pytest.approx(head.predict_proba(embedding)[0].tolist(), abs=1e-5)
    else:
        assert e.probabilities == {}
    assert explainer.labels == tuple("ABC"[:labels])


@pytest.mark.parametrize("rules", ["attnlrp", "difference"])
def test_a_torch_head_and_batches(encoder: Any, rules: str) -> None:
    torch.manual_seed(0)
    explainer = Explainer.on_embeddings(encoder, torch.nn.Linear(16, 2), labels=["A", "B"])
    texts = [TEXT, f"{TEXT}!", OTHER]
    for text, e in zip(texts, explainer.explain_batch(texts, rules=rules), strict=True):
        check(e)
        alone = explainer.explain(text, rules=rules, layers=True)
        assert [s.relevance for s in e.tokens] == pytest.approx([s.relevance for s in alone.tokens], abs=1e-5)


@pytest.mark.parametrize("rules", ["attnlrp", "difference"])
@pytest.mark.parametrize("measure", ["cosine", "dot"])
def test_the_similarity_of_two_texts(encoder: Any, rules: str, measure: str) -> None:
    encoder.similarity_fn_name = measure
    explainer = Explainer.similarity(encoder)
    for first, second in ((TEXT, OTHER), (OTHER, TEXT), (TEXT, TEXT)):
        e = explainer.explain(first, second, rules=rules)
        check(e)
        expected = float(encoder.similarity(encoder.encode([first]), encoder.encode([second])))
        assert e.logit == pytest.approx(expected, abs=1e-4)
        assert "".join(word.text for word in e.words if word.source == "text_pair") == second
    halves = {s: math.fsum(t.relevance for t in e.tokens if t.source == s) for s in ("text", "text_pair")}
    assert halves["text"] == pytest.approx(halves["text_pair"], abs=1e-5)  # the same text twice
    together = explainer.explain_batch([(TEXT, OTHER), (OTHER, TEXT)], rules=rules)
    assert together[0].logit == pytest.approx(together[1].logit, abs=1e-5)
    encoder.similarity_fn_name = "cosine"


def test_long_pairs_are_cut_each_for_itself(encoder: Any) -> None:
    explainer = Explainer.similarity(encoder)
    e = explainer.explain(" ".join([TEXT] * 9), OTHER)
    assert e.truncated is not None
    assert e.truncated_pair is None
    with pytest.raises(InputError, match="texts that are read apart have no windows"):
        explainer.explain(" ".join([TEXT] * 9), OTHER, long="windows")
    with pytest.raises(InputError, match="a similarity is that of two texts"):
        explainer.explain(TEXT)


def test_what_is_no_classifier_is_said(encoder: Any) -> None:
    with pytest.raises(ModelError, match=r"use Explainer.on_embeddings\(model, head\)"):
        Explainer(encoder)
    with pytest.raises(ModelError, match="a head is a trained linear classifier of scikit-learn"):
        Explainer.on_embeddings(encoder, linear_model.LogisticRegression())
    trained = svm.SVC(kernel="rbf").fit(encoder.encode(TEXTS), [i % 2 for i in range(len(TEXTS))])
    with pytest.raises(ModelError, match="and this SVC is neither"):
        Explainer.on_embeddings(encoder, trained)
    with pytest.raises(ModelError, match="an encoder is a SentenceTransformer, not int"):
        Explainer.on_embeddings(3, torch.nn.Linear(1, 1))
    encoder.similarity_fn_name = "euclidean"
    with pytest.raises(ModelError, match="the similarity is measured by 'euclidean'"):
        Explainer.similarity(encoder)
    encoder.similarity_fn_name = "cosine"
    encoder.prompts, encoder.default_prompt_name = {"query": "query: "}, "query"
    with pytest.raises(ModelError, match="the model puts the prompt 'query: ' before each text"):
        Explainer.similarity(encoder)
    encoder.default_prompt_name = None


@pytest.mark.parametrize("differentiable", [False, True])
@pytest.mark.parametrize("normalized", [False, True])
def test_a_set_fit_model(encoder: Any, differentiable: bool, normalized: bool) -> None:
    setfit = pytest.importorskip("setfit", reason="SetFit is not installed")
    names = ["A", "B", "C"]
    torch.manual_seed(0)
    if differentiable:
        head = setfit.SetFitHead(in_features=16, out_features=3, device="cpu")
    else:
        embeddings = encoder.encode(TEXTS, normalize_embeddings=normalized)
        head = linear_model.LogisticRegression().fit(embeddings, [i % 3 for i in range(len(TEXTS))])
    model = setfit.SetFitModel(model_body=encoder, model_head=head, labels=names, normalize_embeddings=normalized)
    e = Explainer(model).explain(TEXT)
    check(e)
    expected = model.predict_proba([TEXT])[0]
    assert list(e.probabilities) == names
    assert list(e.probabilities.values()) == pytest.approx([float(share) for share in expected], abs=1e-5)
    assert e.predicted == model.predict([TEXT])[0]
