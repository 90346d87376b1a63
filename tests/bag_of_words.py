"""A classifier whose logits can be added up by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from tiny_bert import fast_tokenizer
from torch import Tensor, nn

from textlrp import Explainer
from textlrp.results.attribution import Attribution
from textlrp.results.spans import Span

WEIGHTS = {"great": 3.0, "film": 0.0, "bad": -2.0, "moving": 1.0}


class Bag(nn.Module):
    """Adds up a weight for each id that it reads, and one for each id whatever it is: logits are 0 and that sum.

    Args:
        tokenizer: whose ids they are.
        weights: by token; others weigh nothing.
        each: what every id that is read weighs on top of that, special tokens included.
        problem_type: as in a transformers config.
    """

    def __init__(self, tokenizer: Any, weights: Mapping[str, float], each: float = 0.0, **config: Any) -> None:
        super().__init__()
        self.table = nn.Embedding(len(tokenizer), 1)
        self.each = each
        self.config = SimpleNamespace(id2label={0: "NEG", 1: "POS"}, **config)
        # No list: those of a model are given back what they held before it was used.
        self.shapes: deque[tuple[int, ...]] = deque()
        with torch.no_grad():
            self.table.weight.zero_()
            for token, weight in weights.items():
                self.table.weight[tokenizer.convert_tokens_to_ids(token)] = weight

    def get_input_embeddings(self) -> nn.Module:
        return self.table

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        self.shapes.append(tuple(input_ids.shape))
        read = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        score = ((self.table(input_ids)[..., 0] + self.each) * read).sum(1)
        return torch.stack([torch.zeros_like(score), score], 1)


def explainer(each: float = 0.0, **more: float) -> Explainer:
    """A bag of words with WordPiece tokens; ``mask=`` is the weight of the mask token."""
    tokenizer = fast_tokenizer("wordpiece")
    weights = WEIGHTS | {f"[{name.upper()}]": weight for name, weight in more.items()}
    return Explainer(Bag(tokenizer, weights, each), tokenizer)


def scored(
    explainer: Explainer, text: str, scores: Mapping[str, float] | list[float], target: str = "POS"
) -> Attribution:
    """An attribution with a score for each token, by its piece or in order; special tokens have 100."""
    encoding = explainer.encode(text)
    listed = iter(scores if isinstance(scores, list) else ())
    tokens = []
    for piece, (start, end), special in zip(encoding.pieces, encoding.offsets, encoding.special, strict=True):
        score = 100.0 if special else scores.get(piece, 0.0) if isinstance(scores, Mapping) else next(listed)
        tokens.append(Span(start, end, text[start:end], score, special, piece))
    return Attribution(text, target, None, "by hand", tuple(tokens), 0.0, 0.0, 0.0)
