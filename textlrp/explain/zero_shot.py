"""Zero-shot classification: a model of natural-language inference tests a text for a hypothesis about each label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from textlrp.basics import options
from textlrp.errors import InputError, ModelError
from textlrp.explain.classifier import Classifier, Task
from textlrp.explain.labels import MULTI, SINGLE, Head, named_labels
from textlrp.explain.runs import Entailment, filler_of
from textlrp.text.batch import Batch, pad
from textlrp.text.encoding import Encoding
from textlrp.text.prompts import encode_against

#: The hypothesis that the pipeline of transformers tests by default.
TEMPLATE = "This example is {}."

NO_PAIR = "a text is tested for hypotheses, which are its second texts: give one text"


class HypothesisReader:
    """Reads a text once with each hypothesis.

    Args:
        tokenizer: the tokenizer.
        hypotheses: one for each label.
        filler: the id to pad with.
    """

    pads = True

    def __init__(self, tokenizer: Any, hypotheses: Sequence[str], filler: int) -> None:
        self.tokenizer, self.hypotheses, self.filler = tokenizer, tuple(hypotheses), filler

    @property
    def runs(self) -> int:
        """One for each hypothesis."""
        return len(self.hypotheses)

    def encode(self, text: str, limit: int | None, text_pair: str | None) -> Encoding:
        """Return a text with all hypotheses; :func:`textlrp.text.prompts.encode_against` raises."""
        if text_pair is not None:
            raise InputError(NO_PAIR)
        return encode_against(self.tokenizer, text, self.hypotheses, limit)

    def pad(self, encodings: Sequence[Encoding]) -> Batch:
        """Put texts into one batch."""
        return pad(self.tokenizer, encodings, filler=self.filler)


def classifier(
    model: nn.Module, tokenizer: Any, labels: Any, template: str, multi_label: bool
) -> tuple[Classifier, Head]:
    """Return a zero-shot classifier and its labels; :meth:`textlrp.Explainer.zero_shot` describes the arguments.

    Raises:
        InputError: there is no label, one is repeated or empty, or the template has no place for it.
        ModelError: the model does not say which of its outputs is entailment.
    """
    names = named_labels(labels)
    hypotheses = [hypothesis(template, label) for label in names]
    multi = options.flag(multi_label, "multi_label") or len(names) == 1
    plain = Classifier(model, tokenizer)  # checks both
    entailment, contradiction = _outputs(model)
    filler = filler_of(tokenizer)
    runs = Entailment(model, filler, entailment, contradiction if multi else None)
    task = Task("zero-shot classification", tuple(hypotheses))
    made = plain.reading(runs, HypothesisReader(tokenizer, hypotheses, filler), task)
    return made, Head(names, MULTI if multi else SINGLE)


def hypothesis(template: Any, label: str) -> str:
    """Return the hypothesis of a label.

    Raises:
        InputError: the template has no place for it.
    """
    says = "template is a sentence with {} in place of the label"
    try:
        written = options.text(template, says).format(label)
    except (LookupError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        written = template
    if written == template or label not in written:
        raise InputError(f"{says}, not {options.brief(template)}")
    return written


def _outputs(model: nn.Module) -> tuple[int, int]:
    """Return the indices of entailment and contradiction, as the pipeline of transformers finds them.

    Raises:
        ModelError: the config names no entailment.
    """
    indices: dict[str, int] = getattr(getattr(model, "config", None), "label2id", None) or {}
    entailment = next((index for name, index in indices.items() if name.lower().startswith("entail")), None)
    if entailment is None:
        raise ModelError(
            f"zero-shot classification needs a model of natural-language inference, one of whose labels starts with "
            f"'entail', and this one has {', '.join(map(options.brief, indices)) or 'no labels'}: take another model, "
            f"or name its outputs in model.config.label2id"
        )
    # The pipeline takes the last output for contradiction if the first is entailment, and else the first.
    return entailment, -1 if entailment == 0 else 0
