"""A language model as a classifier: the score of a label is the logit of the token that would follow a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from textlrp.basics import options
from textlrp.errors import InputError, ModelError, error_summary
from textlrp.explain.classifier import Classifier, Task
from textlrp.explain.labels import SINGLE, Head, named_labels
from textlrp.explain.runs import Answer, NextToken, filler_of
from textlrp.results.prompt import FIELDS
from textlrp.text.prompt_readers import FIRST, MEAN, ContinuedPrompts, EncodedPrompts, check_answers
from textlrp.text.readers import Reader
from textlrp.text.templates import Template


def classifier(
    model: nn.Module, tokenizer: Any, template: Any, labels: Any, score: str, chat_options: Mapping[str, Any] | None
) -> tuple[Classifier, Head]:
    """Return a prompted classifier and its labels; :meth:`textlrp.Explainer.prompted` describes the arguments.

    Raises:
        InputError: the template, a label or an option cannot be used.
        ModelError: the tokenizer has no chat template, or the model does not say how its decoder starts.
    """
    options.choice(score, (FIRST, MEAN), "score is 'first' or 'mean'")
    continuations = _continuations(labels)
    plain = Classifier(model, tokenizer)  # checks both
    made, filler = Template.of(template, tokenizer, chat_options), filler_of(tokenizer)
    reader: Reader
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        answers = [_decoded(model, tokenizer, words, score) for words in continuations.values()]
        check_answers(tokenizer, tuple(continuations), [answer.ids for answer in answers], score)
        if score == FIRST and len({answer.decoder for answer in answers}) > 1:
            raise InputError(
                "the tokenizer puts other special tokens before some labels than before others, so they cannot be read "
                "off one pass: let score='mean' give each a pass of its own"
            )
        reader = EncodedPrompts(tokenizer, made, filler, 1 if score == FIRST else len(answers))
    else:
        continued = ContinuedPrompts(tokenizer, made, filler, continuations, score)
        answers, reader = [Answer(ids) for ids in continued.answers], continued
    task = Task("prompted classification", (made.prompt, *continuations.values()), FIELDS[1] in made.fields)
    return plain.reading(NextToken(model, filler, answers), reader, task), Head(tuple(continuations), SINGLE)


def _continuations(labels: Any) -> dict[str, str]:
    """Return the words that stand for each label."""
    says = "labels is a dict with the words for each label, such as {'POS': ' positive', 'NEG': ' negative'}"
    if not isinstance(labels, Mapping):
        raise InputError(f"{says}, not {options.brief(labels)}")
    names = named_labels(list(labels))
    words = [options.text(value, says) for value in labels.values()]
    if not all(word.strip() for word in words):
        raise InputError(f"{says}; those for {names[[bool(word.strip()) for word in words].index(False)]!r} are blank")
    return dict(zip(names, words, strict=True))


def _decoded(model: nn.Module, tokenizer: Any, words: str, score: str) -> Answer:
    """Return what a decoder reads and is asked for, given the words for a label.

    Raises:
        InputError: the tokenizer finds no token in them.
        ModelError: the model does not say how its decoder starts.
    """
    ids = list(tokenizer(text_target=words)["input_ids"])
    special = set(tokenizer.all_special_ids) - {getattr(tokenizer, "unk_token_id", None)}
    own = [i for i, token in enumerate(ids) if token not in special]
    if not own:
        raise InputError(f"the tokenizer finds no token in {words!r}: give other words for the label")
    last = own[0] if score == FIRST else own[-1]
    return Answer(tuple(ids[own[0] : last + 1]), tuple(_shifted(model, ids)[: last + 1]))


def _shifted(model: nn.Module, ids: list[int]) -> list[int]:
    """Return what the decoder reads if it is to write some ids: the start, and all but the last of them."""
    prepare: Any = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    try:
        if prepare is not None:
            return [int(token) for token in prepare(labels=torch.tensor([ids]))[0]]
        return [int(model.config.decoder_start_token_id), *ids[:-1]]  # type: ignore[arg-type, union-attr]
    except Exception as error:  # models raise anything if their config does not tell
        raise ModelError(
            f"the model does not say how its decoder starts ({error_summary(error)}): set "
            f"model.config.decoder_start_token_id"
        ) from error
