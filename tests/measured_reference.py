"""Texts for references, and an engine in the place of difference rules, which shares the difference out evenly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tiny_bert import fast_tokenizer
from torch import Tensor

from textlrp.lrp.request import Options, several
from textlrp.lrp.result import Propagation
from textlrp.results.ledger import Ledger

TEXT = "the film is dull"
PAIR = ("the film is dull", "a great plot .")


def tokenizer_of_pairs() -> Any:
    from tokenizers import processors

    tokenizer = fast_tokenizer("wordpiece")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", tokenizer.cls_token_id), ("[SEP]", tokenizer.sep_token_id)],
    )
    return tokenizer


class SharedOut:
    """Takes the place of :func:`textlrp.lrp.propagation.run`, and notes the references that it was given."""

    def __init__(self, heading: str = "reference") -> None:
        self.given: list[Any] = []
        self.inputs: list[dict[str, Any]] = []
        self.heading = heading

    def __call__(
        self, model: Any, targets: Any, options: Options, model_inputs: dict[str, Any]
    ) -> tuple[Propagation, ...]:
        self.given.append(options.reference)
        self.inputs.append(model_inputs)
        assert options.special_tokens_mask is not None
        words = options.special_tokens_mask == 0
        references = options.reference if isinstance(options.reference, list) else [options.reference]
        with torch.no_grad():
            logits = model(**model_inputs).logits
            ids = [self._ids(one, model_inputs["input_ids"], words) for one in references]
            reference = torch.stack([model(**{**model_inputs, "input_ids": one}).logits for one in ids]).mean(0)
        chosen = targets(logits) if callable(targets) else several(targets)
        return tuple(self._shared(weights, logits, reference, words) for weights in self._weights(chosen, logits))

    def _weights(self, chosen: Sequence[Any], logits: Tensor) -> list[Tensor]:
        return [
            torch.eye(logits.shape[1])[logits.argmax(-1)] if one is None else torch.as_tensor(one) for one in chosen
        ]

    def _ids(self, reference: Any, ids: Tensor, words: Tensor) -> Tensor:
        if isinstance(reference, Tensor):
            return reference
        return torch.where(words, reference if isinstance(reference, int) else 0, ids)

    def _shared(self, weights: Tensor, logits: Tensor, reference: Tensor, words: Tensor) -> Propagation:
        logit, start = ((weights * of).sum(-1).double() for of in (logits, reference))
        relevance = words * ((logit - start) / words.sum(-1))[:, None]
        ledgers = tuple(
            Ledger({self.heading: float(start[i]), "tokens": float(relevance[i].sum())}, float(logit[i]))
            for i in range(len(logits))
        )
        return Propagation(relevance, ledgers, logits, weights, reference_logits=reference)
