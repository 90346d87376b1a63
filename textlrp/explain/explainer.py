"""The public class, and what it can be made of: a model and its tokenizer, a folder, a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from textlrp.basics import options
from textlrp.errors import InputError, ModelError
from textlrp.explain import loading, pipelines, prompted, sentence_models, zero_shot
from textlrp.explain.classifier import Classifier
from textlrp.explain.labels import MULTI, Head, kind_of
from textlrp.explain.text_explainer import TextExplainer
from textlrp.text.function_reader import FunctionReader

#: The built-in classifier's folder and name.
DEMO_FOLDER = Path(__file__).parents[1] / "demo"
DEMO_NAME = "textlrp demo"


_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


class Explainer(TextExplainer):
    """Explains the decisions of a Hugging Face text classifier.

    Args:
        model: a sequence classifier; it stays on its device and unchanged. A ``CrossEncoder`` of sentence-transformers
            and a ``SetFitModel`` bring their tokenizer.
        tokenizer: the tokenizer that the model was trained with.
        name: the name of the model in explanations; default: the name that it was loaded under.
        problem_type: the kind of the outputs: ``"single_label_classification"`` (softmax, or sigmoid of a single
            output), ``"multi_label_classification"`` (sigmoid) or ``"regression"`` (no probabilities); default: the
            kind in the model's config, or else softmax for several outputs and regression for one.
        encode: a function for a model without a tokenizer of transformers. It returns a dict for a text, as a tokenizer
            does: ``input_ids``, ``offset_mapping`` (the characters ``[start, end)`` of each id) and the model's other
            inputs, a list, an array or a tensor each. An id without characters is special, unless
            ``special_tokens_mask`` is in the dict. Texts are padded with the ``pad_token_id`` of the model's config.

    Raises:
        ModelError: the model is not a torch module or has no weights, or the tokenizer is missing.
        InputError: the problem_type is unknown, or the name is not a text.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any = None,
        name: str | None = None,
        *,
        problem_type: str | None = None,
        encode: Callable[[str], Any] | None = None,
    ) -> None:
        model = unwrapped(model)
        parts = sentence_models.unpacked(model, problem_type) if tokenizer is None and encode is None else None
        if parts is not None:
            self._start(*parts, _checked(name))
            return
        head = Head.of(getattr(model, "config", None), problem_type)
        self._start(model, Classifier(model, tokenizer, _reader(model, tokenizer, encode)), head, _checked(name))

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        revision: str | None = None,
        problem_type: str | None = None,
        trust_remote_code: bool = False,
        labels: Any = None,
        template: str | Sequence[Mapping[str, str]] | None = None,
        multi_label: bool = False,
        **more: Any,
    ) -> Explainer:
        """Load a classifier and its tokenizer from a folder or from the hub.

        Args:
            name: a folder, or a hub name such as ``"owner/model"``.
            device: the device of the model (``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...); default: the CPU.
            dtype: the dtype of the weights (``torch.float32``, ``"float32"``, ``"auto"``); default: as stored.
            revision: a branch, tag or commit of the hub's repository.
            problem_type: the kind of the outputs; see :class:`Explainer`.
            trust_remote_code: whether to run code in the model's files (``auto_map`` of its configs, kernels). Without
                it none runs: a model that transformers knows, too, is loaded with the code of transformers.
            labels, template, multi_label: for a model that has no labels of its own: names of labels, as
                :meth:`zero_shot` takes them, or a dict with the words for each, as :meth:`prompted` takes them with its
                template; then a language model is loaded.
            **more: options of ``AutoModelForSequenceClassification.from_pretrained``.

        Raises:
            InputError: there is no folder of that name, or the device, dtype, problem_type or template is invalid.
            ModelError: the model cannot be loaded, needs code that is not trusted, or is not a text classifier.
        """
        named = loading.name_of(name)
        _check_task(labels, template, multi_label, problem_type)
        is_prompted = isinstance(labels, Mapping)
        model, tokenizer = loading.load(
            named,
            device=device,
            dtype=dtype,
            revision=revision,
            trust_remote_code=trust_remote_code,
            generates=is_prompted,
            **more,
        )
        if is_prompted:
            explainer = cls.prompted(model, tokenizer, template=template or "", labels=labels, name=named)
        elif labels is not None:
            hypothesis: Any = template or zero_shot.TEMPLATE
            more_labels = {"labels": labels, "template": hypothesis, "multi_label": multi_label}
            explainer = cls.zero_shot(model, tokenizer, **more_labels, name=named)
        else:
            explainer = cls(model, tokenizer, named, problem_type=problem_type)
        explainer.revision = explainer.revision or revision or ""
        return explainer

    @classmethod
    def from_pipeline(
        cls,
        pipeline: Any,
        *,
        problem_type: str | None = None,
        labels: Any = None,
        template: str | None = None,
        multi_label: bool | None = None,
    ) -> Explainer:
        """Take the model and the tokenizer of a ``transformers`` pipeline, as they are.

        Args:
            pipeline: a pipeline for text classification, or for zero-shot classification.
            problem_type: the kind of the outputs; default: what the function that the pipeline applies to them tells.
                Its ``max_length`` is the model's limit.
            labels, template, multi_label: as :meth:`zero_shot` takes them, for a zero-shot pipeline; default: the
                ``candidate_labels``, ``hypothesis_template`` and ``multi_label`` that it was made with.

        Raises:
            ModelError: the pipeline has another task, no torch model or no tokenizer.
            InputError: a zero-shot pipeline has no labels, and none are given.
        """
        model, tokenizer, is_zero_shot = pipelines.taken(pipeline)
        given = {"labels": labels, "template": template, "multi_label": multi_label}
        if is_zero_shot:
            return cls.zero_shot(model, tokenizer, **pipelines.zero_shot_options(pipeline, given))
        unused = [name for name, value in given.items() if value is not None]
        if unused:
            raise InputError(f"{unused[0]} belongs to zero-shot classification, and this pipeline classifies by itself")
        applied = pipelines.setting(pipeline, "postprocess", "function_to_apply")
        explainer = cls(model, tokenizer, problem_type=kind_of([applied]) if problem_type is None else problem_type)
        if explainer.head.problem_type is None and getattr(explainer.config, "num_labels", None) == 1:
            # By default, a pipeline reads a single output as log-odds.
            explainer = cls(model, tokenizer, problem_type=MULTI)
        length = pipelines.setting(pipeline, "preprocess", "max_length")
        if length is not None:
            explainer.classifier.limit = min(length, explainer.classifier.limit or length)
        return explainer

    @classmethod
    def zero_shot(
        cls,
        model: nn.Module,
        tokenizer: Any,
        *,
        labels: Any,
        template: str = zero_shot.TEMPLATE,
        multi_label: bool = False,
        name: str | None = None,
    ) -> Explainer:
        """Make a classifier of any labels from a model of natural-language inference, as zero-shot pipelines do.

        The model reads the text once with each label's hypothesis. The logit of a label is that of entailment, and the
        labels' probabilities are the softmax of these logits; with ``multi_label`` it is the logit of entailment less
        that of contradiction, and each label has a probability of its own. The relevance of a word is the sum over the
        runs; that of the hypothesis is the ledger's row ``prompt``, and by words in ``prompt`` of an explanation.

        Args:
            model: a sequence classifier one of whose labels starts with ``entail``.
            tokenizer: the tokenizer that the model was trained with.
            labels: the names of the labels, a list or a text with commas between them.
            template: the hypothesis, with ``{}`` in place of the label.
            multi_label: whether several labels can be true of a text; a single label always is on its own.
            name: the name of the model in explanations.

        Raises:
            InputError: a label or the template cannot be used.
            ModelError: the model does not say which of its outputs is entailment.
        """
        return cls._made(model, *zero_shot.classifier(model, tokenizer, labels, template, multi_label), name)

    @classmethod
    def prompted(
        cls,
        model: nn.Module,
        tokenizer: Any,
        *,
        template: str | Sequence[Mapping[str, str]],
        labels: Mapping[str, str],
        score: str = "first",
        chat_options: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Explainer:
        """Make a classifier of a language model: a prompt asks for the label, and the model's answer is its score.

        The logit of a label is that of the first token of its words where they would follow the prompt; all labels are
        read off one pass. Prompt and words are tokenized as one text. Probabilities are those among the labels, the
        softmax of their logits. The prompt is the same for all texts: its relevance is the ledger's row ``prompt``, and
        by words in ``prompt`` of an explanation.

        Args:
            model: a causal language model, or one with an encoder and a decoder.
            tokenizer: the tokenizer that the model was trained with.
            template: the prompt, with ``{text}`` where the text stands and for pairs ``{text_pair}``:
                ``"Review: {text}\\nSentiment:"``. A list of messages, dicts with ``role`` and ``content``, is written
                out by the tokenizer's chat template; if the last is the assistant's, the model goes on with it.
            labels: the words for each label, with a space before them if the template ends without one:
                ``{"POS": " positive", "NEG": " negative"}``.
            score: ``"first"``, or ``"mean"`` for the mean over the logits of all tokens of a label, which costs a pass
                a label.
            chat_options: options of the chat template, such as ``{"enable_thinking": False}``.
            name: the name of the model in explanations.

        Raises:
            InputError: the template or a label cannot be used, or two labels start with the same token.
            ModelError: the tokenizer has no chat template, or the model does not say how its decoder starts.
        """
        made = prompted.classifier(model, tokenizer, template, labels, score, chat_options)
        return cls._made(model, *made, name)

    @classmethod
    def on_embeddings(cls, encoder: Any, head: Any, *, labels: Any = None, name: str | None = None) -> Explainer:
        """Take a ``SentenceTransformer`` and a classifier that was trained on its embeddings.

        Args:
            encoder: the ``SentenceTransformer``.
            head: a linear classifier of scikit-learn (its decision function is explained), or a torch module from
                embeddings ``[batch, size]`` to logits ``[batch, labels]``.
            labels: the names of the labels; default: the ``classes_`` of a head of scikit-learn, or numbers.
            name: the name of the model in explanations.

        Raises:
            InputError: the labels are not as many as the head has.
            ModelError: the encoder is none, or the head is not linear.
        """
        parts = sentence_models.on_embeddings(encoder, head, labels)
        return cls._made(parts.transformer, parts.classifier, parts.head, name)

    @classmethod
    def similarity(cls, encoder: Any, *, name: str | None = None) -> Explainer:
        """Explain the similarity of two texts by a ``SentenceTransformer``: ``explain(text, text_pair)``.

        The cosine, or the product, of the two embeddings is the logit. The texts are read apart, and half of each
        product belongs to each of them.

        Args:
            encoder: the ``SentenceTransformer``.
            name: the name of the model in explanations.

        Raises:
            ModelError: the encoder is none, or measures distances.
        """
        parts = sentence_models.similarity(encoder)
        return cls._made(parts.transformer, parts.classifier, parts.head, name)

    @classmethod
    def _made(cls, model: nn.Module, classifier: Classifier, head: Head, name: str | None) -> Explainer:
        explainer = cls.__new__(cls)
        explainer._start(model, classifier, head, _checked(name))
        return explainer

    @classmethod
    def demo(cls, *, device: str | torch.device | None = None) -> Explainer:
        """Load the built-in classifier: English reviews, NEG or POS. It needs no network."""
        if not (DEMO_FOLDER / "config.json").is_file():
            raise ModelError(
                f"the built-in classifier is missing from this installation: there is no {str(DEMO_FOLDER)!r}"
            )
        explainer = cls.from_pretrained(DEMO_FOLDER, device=device, dtype=torch.float32)
        explainer.name = DEMO_NAME
        return explainer


def _check_task(labels: Any, template: Any, multi_label: Any, problem_type: str | None) -> None:
    """Check that the options on labels fit together, before a model is loaded.

    Raises:
        InputError: one lacks another, or excludes it.
    """
    if labels is None and (template is not None or multi_label):
        raise InputError(f"{'template' if template is not None else 'multi_label'} goes with labels: name them, too")
    if labels is not None and problem_type is not None:
        raise InputError("problem_type is that of a model with labels of its own: leave it out, or the labels")
    if isinstance(labels, Mapping) and template is None:
        raise InputError(
            "labels with words for each ask a language model, which needs a template: 'Review: {text}\nSentiment:'"
        )
    if isinstance(labels, Mapping) and multi_label:
        raise InputError("multi_label goes with zero-shot classification: a language model is asked for one label")


def unwrapped(model: Any) -> Any:
    """Return the model inside wrappers that spread it over devices, whose config and names are the model's own."""
    while isinstance(model, _WRAPPERS) or type(model).__name__ == "FullyShardedDataParallel":
        model = model.module
    return model


def _reader(model: nn.Module, tokenizer: Any, encode: Any) -> FunctionReader | None:
    """Return what reads texts by a user's function, if there is one.

    Raises:
        InputError: it cannot be called, or there is a tokenizer, too.
    """
    if encode is None:
        return None
    if not callable(encode) or tokenizer is not None:
        what = options.brief(encode) if tokenizer is None else "a tokenizer, too"
        raise InputError(f"encode is a function from a text to the model's inputs, in place of a tokenizer, not {what}")
    filler = getattr(getattr(model, "config", None), "pad_token_id", None)
    return FunctionReader(encode, filler if isinstance(filler, int) else None)


def _checked(name: Any) -> str | None:
    """Return the name of a model as a user gives it."""
    return None if name is None else options.text(name, "name is the name of the model in explanations")
