"""Models of sentence-transformers and SetFit: cross-encoders, classifiers on embeddings, and similarity.

They are known by the names of their classes, so that textlrp does not import these packages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor, nn

from textlrp.basics import options
from textlrp.errors import InputError, ModelError
from textlrp.explain.classifier import Classifier, Task
from textlrp.explain.embedding_tables import word_table
from textlrp.explain.labels import MULTI, REGRESSION, SINGLE, Head, named_labels
from textlrp.explain.runs import Runs, filler_of
from textlrp.text.batch import Batch, pad
from textlrp.text.encoding import Encoding, encode
from textlrp.text.prompts import apart
from textlrp.text.readers import TokenizerReader


class Unpacked(NamedTuple):
    """What a model of these packages consists of: its transformer, and how it classifies."""

    transformer: nn.Module
    classifier: Classifier
    head: Head


def is_a(model: Any, name: str) -> bool:
    """Return whether a model is of a class of that name, or of one derived from it."""
    return any(cls.__name__ == name for cls in type(model).__mro__)


def unpacked(model: Any, problem_type: str | None) -> Unpacked | None:
    """Return the parts of a cross-encoder or of a SetFit model, or None for another model.

    Raises:
        ModelError: it is of a kind that cannot be explained; the message says what to do.
    """
    if is_a(model, "CrossEncoder"):
        return _cross_encoder(model, problem_type)
    if is_a(model, "SetFitModel"):
        names = None if model.labels is None else [str(label) for label in model.labels]
        return on_embeddings(model.model_body, model.model_head, names, normalized=bool(model.normalize_embeddings))
    if is_a(model, "SentenceTransformer"):
        raise ModelError(
            "a SentenceTransformer gives embeddings and no labels: use Explainer.on_embeddings(model, head) with the "
            "classifier on top of them, or Explainer.similarity(model) for pairs"
        )
    return None


def _cross_encoder(model: Any, problem_type: str | None) -> Unpacked:
    transformer = model.model
    if not isinstance(transformer, nn.Module) or (isinstance(model, nn.Sequential) and len(model) > 1):
        raise ModelError(
            "this CrossEncoder is more than a sequence classifier of transformers, and textlrp takes those alone"
        )
    _check_no_prompt(model)
    function = type(model.activation_fn).__name__
    outputs = getattr(transformer.config, "num_labels", None)
    kind = {"Sigmoid": MULTI, "Softmax": SINGLE}.get(function, REGRESSION if outputs == 1 else None)
    classifier = Classifier(transformer, model.tokenizer)
    longest = getattr(model, "max_seq_length", None) or model.max_length  # its name before release 6
    classifier.limit = _least(classifier.limit, longest)
    return Unpacked(transformer, classifier, Head.of(transformer.config, problem_type or kind))


def on_embeddings(encoder: Any, head: Any, labels: Any = None, *, normalized: bool = False) -> Unpacked:
    """Return a classifier on the embeddings of a SentenceTransformer.

    Args:
        encoder: the SentenceTransformer.
        head: a linear classifier of scikit-learn, or a torch module from embeddings to logits.
        labels: their names; default: those that the head knows.
        normalized: whether embeddings are scaled to length 1 before the head.

    Raises:
        InputError: the labels are not as many as the head has.
        ModelError: the encoder is none, or the head is not linear.
    """
    base, transformer = _encoder(encoder)
    names = None if labels is None else named_labels(labels)
    module, kind, own = _head(head)
    names = own if names is None else names
    if names is not None and own is not None and len(names) != len(own):
        raise InputError(f"labels names {len(names)}, and the head has {len(own)}: name each of them")
    task = Task("classification of sentence embeddings")
    classifier = base.reading(OnEmbeddings(encoder, module, normalized), TokenizerReader(base.tokenizer), task)
    return Unpacked(transformer, classifier, Head(names, kind))


def similarity(encoder: Any) -> Unpacked:
    """Return the similarity of two texts by a SentenceTransformer, as a classifier of pairs.

    Raises:
        ModelError: the encoder is none, or measures distances.
    """
    base, transformer = _encoder(encoder)
    measure = str(getattr(encoder.similarity_fn_name, "value", encoder.similarity_fn_name))
    if measure not in ("cosine", "dot"):
        raise ModelError(f"the similarity is measured by {measure!r}, and textlrp explains 'cosine' and 'dot'")
    filler = filler_of(base.tokenizer)
    module = Similarity(encoder, filler, measure == "cosine")
    reader = ApartReader(base.tokenizer, filler)
    classifier = base.reading(module, reader, Task("similarity of two sentence embeddings", pairs=True))
    return Unpacked(transformer, classifier, Head(("similarity",), REGRESSION))


class OnEmbeddings(nn.Module):
    """A SentenceTransformer with a classifier on its embeddings.

    Args:
        encoder: the SentenceTransformer.
        head: from embeddings to logits.
        normalized: whether embeddings are scaled to length 1 in between.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module, normalized: bool) -> None:
        super().__init__()
        self.encoder, self.head, self.normalized = encoder, head, normalized

    def get_input_embeddings(self) -> Any:
        """Return the encoder's table of input embeddings."""
        return word_table(_transformer(self.encoder))

    def forward(self, **rows: Tensor) -> Tensor:
        """Return the logits, ``[documents, labels]``."""
        embedding = _embedding(self.encoder, rows)
        logits: Tensor = self.head(nn.functional.normalize(embedding, dim=-1) if self.normalized else embedding)
        return logits


class Similarity(Runs):
    """The similarity of two texts: the product of their embeddings, each from a run of its own.

    Args:
        encoder: the SentenceTransformer.
        filler: the id that the shorter text is filled up with.
        cosine: whether the embeddings are scaled to length 1.
    """

    def __init__(self, encoder: nn.Module, filler: int, cosine: bool) -> None:
        super().__init__(encoder, filler)
        self.cosine = cosine

    def get_input_embeddings(self) -> Any:
        """Return the encoder's table of input embeddings."""
        return word_table(_transformer(self.model))

    def forward(self, **rows: Tensor) -> Tensor:
        """Return the similarity of each pair, ``[pairs, 1]``."""
        inputs, count = self.divided(rows)
        embedding = _embedding(self.model, inputs)
        embedding = nn.functional.normalize(embedding, dim=-1) if self.cosine else embedding
        first, second = embedding.view(-1, count, embedding.shape[-1]).unbind(1)
        return (first * second).sum(-1, keepdim=True)


class ApartReader:
    """Reads two texts, each in a run of its own.

    Args:
        tokenizer: the tokenizer.
        filler: the id to pad with.
    """

    pads, runs = True, 2

    def __init__(self, tokenizer: Any, filler: int) -> None:
        self.tokenizer, self.filler = tokenizer, filler

    def encode(self, text: str, limit: int | None, text_pair: str | None) -> Encoding:
        """Return both texts, each cut at ``limit`` ids; :func:`textlrp.text.encoding.encode` raises."""
        if text_pair is None:
            raise InputError("a similarity is that of two texts: give the second one, too")
        return apart(encode(self.tokenizer, text, limit), encode(self.tokenizer, text_pair, limit))

    def pad(self, encodings: Sequence[Encoding]) -> Batch:
        """Put pairs into one batch."""
        return pad(self.tokenizer, encodings, filler=self.filler)


class _Scores(nn.Module):
    """The decision function of a linear classifier of scikit-learn, a score for each label."""

    def __init__(self, weight: Tensor, bias: Tensor, opposed: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(weight.shape[1], weight.shape[0])
        self.opposed = opposed
        with torch.no_grad():
            self.linear.weight.copy_(weight)
            self.linear.bias.copy_(bias)

    def forward(self, embedding: Tensor) -> Tensor:
        scores: Tensor = self.linear(embedding)
        return torch.cat([-scores, scores], -1) if self.opposed else scores


def _head(head: Any) -> tuple[nn.Module, str | None, tuple[str, ...] | None]:
    """Return a classifier on embeddings as a module, the kind of its outputs, and its labels if it knows them.

    Raises:
        ModelError: it is not linear.
    """
    if is_a(head, "SetFitHead"):
        scaled = _Scores(
            head.linear.weight.detach() / (head.temperature + head.eps),
            (0.0 if head.linear.bias is None else head.linear.bias.detach()) / (head.temperature + head.eps)
            + torch.zeros(head.linear.out_features),
            False,
        )
        return scaled.to(head.linear.weight.device), MULTI if head.multitarget else SINGLE, None
    if isinstance(head, nn.Module):
        return head, None, None
    weight, bias, classes = (getattr(head, name, None) for name in ("coef_", "intercept_", "classes_"))
    if weight is None or bias is None or classes is None or not _is_linear(head, weight, bias):
        raise ModelError(
            f"a head is a trained linear classifier of scikit-learn, such as LogisticRegression, or a torch module "
            f"from embeddings to logits, and this {type(head).__name__} is neither"
        )
    weight = numpy.atleast_2d(weight)
    # Only these are trained so that the softmax of their scores, or the sigmoid of a single one, is the probability.
    probable = type(head).__name__ in ("LogisticRegression", "LogisticRegressionCV")
    module = _Scores(torch.tensor(weight), torch.tensor(bias), opposed=len(weight) == 1 and not probable)
    return module, SINGLE if probable else REGRESSION, tuple(map(str, classes.tolist()))


def _is_linear(head: Any, weight: Any, bias: Any) -> bool:
    """Return whether the decision function of a trained classifier is the linear map of its attributes, on a trial."""
    trial = numpy.random.default_rng(0).normal(size=(4, numpy.atleast_2d(weight).shape[1]))
    expected = (trial @ numpy.atleast_2d(weight).T + bias).reshape(-1)
    scores = numpy.asarray(head.decision_function(trial)).reshape(-1)
    return scores.shape == expected.shape and bool(numpy.allclose(scores, expected))


def _encoder(encoder: Any) -> tuple[Classifier, nn.Module]:
    """Return a SentenceTransformer's transformer as it reads texts.

    Raises:
        ModelError: it is none, or it puts a prompt before each text.
    """
    if not is_a(encoder, "SentenceTransformer"):
        raise ModelError(f"an encoder is a SentenceTransformer, not {type(encoder).__name__}")
    _check_no_prompt(encoder)
    transformer = _transformer(encoder)
    classifier = Classifier(transformer, encoder.tokenizer)
    classifier.limit = _least(classifier.limit, encoder.max_seq_length)
    return classifier, transformer


def _transformer(encoder: Any) -> nn.Module:
    transformer = getattr(encoder[0], "auto_model", None)
    if not isinstance(transformer, nn.Module):
        raise ModelError(f"the encoder starts with {type(encoder[0]).__name__}, and textlrp takes a transformer there")
    return transformer


def _embedding(encoder: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    embedding: Tensor = encoder(dict(inputs))["sentence_embedding"]
    return embedding


def _check_no_prompt(model: Any) -> None:
    name = getattr(model, "default_prompt_name", None)
    if name is not None and model.prompts.get(name):
        raise ModelError(
            f"the model puts the prompt {options.brief(model.prompts[name])} before each text: set "
            f"model.default_prompt_name = None, and give texts with it"
        )


def _least(limit: int | None, other: Any) -> int | None:
    return min(limit or other, other) if isinstance(other, int) else limit
