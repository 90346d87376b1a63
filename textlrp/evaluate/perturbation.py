"""Texts without some of their tokens, as a model reads them: ids are changed, not decoded and tokenized again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from textlrp.basics import options
from textlrp.errors import InputError, LRPError, ModelError, NonFiniteError, error_summary
from textlrp.evaluate.background import Background, read_background
from textlrp.explain.batching import IDS, PADDING, buckets
from textlrp.explain.embedding_tables import word_tables
from textlrp.explain.labels import Choice, Pick
from textlrp.text.batch import Batch
from textlrp.text.encoding import Encoding

if TYPE_CHECKING:
    from textlrp.explain.explainer import Explainer

MASK, DELETE, ZERO, REPLACE = "mask", "delete", "zero", "replace"

#: How tokens can be removed from a text.
PERTURBATIONS = (MASK, DELETE, ZERO, REPLACE)

#: How often the tokens of other texts are drawn in the place of removed ones.
DRAWS = 5


class Outcome(NamedTuple):
    """The output of a model for a text, or its mean over several draws of what replaces tokens.

    Attributes:
        logit: of the target, or its difference to the contrast's.
        probability: of the target, or None for regression.
    """

    logit: float
    probability: float | None


class _Variant(NamedTuple):
    removed: frozenset[int]
    encoding: Encoding


class Perturbed:
    """A text whose tokens can be removed by one of four perturbations.

    - ``"mask"``: their ids become that of the tokenizer's mask token, or else its unknown token, or else its padding
      token; ``replacement`` names it.
    - ``"delete"``: their ids are left out, and the positions of the others close up. If no id is left, because the
      tokenizer adds no special tokens, one token of ``"mask"`` stands for the empty text.
    - ``"zero"``: their rows of the embedding table are zero once they are looked up; ids and positions stay.
    - ``"replace"``: their ids become ids of other texts, drawn by their frequency there. The outcome is the mean over
      five draws. A token gets the same five ids whatever else is removed, and for every method.

    Special tokens always stay. Texts are read in batches of at most ``textlrp.explain.batching.IDS`` ids, or one by one
    if the model gives a text other logits in a batch. No text is read twice.

    Args:
        explainer: the model and its tokenizer.
        text: the document; truncated to what the model reads.
        target: a label name or index; default: the predicted label.
        contrast: a label, ``"runner-up"``, or None; see :meth:`textlrp.Explainer.explain`.
        text_pair: the second text of a pair, or None.
        perturb: ``"mask"``, ``"delete"``, ``"zero"`` or ``"replace"``.
        background: the other texts for ``"replace"``; this text is left out of them.
        seed: of the draws from the background, which depend on the text, too.

    Attributes:
        encoding: the text as the model reads it.
        special: for each token, whether it is special.
        pieces: the tokenizer's own symbol of each token.
        perturb: the perturbation.
        replacement: the token that replaces others, such as ``[MASK]``; empty if none does.
        target, contrast: the labels, by name.
        logits: the model's outputs for the unchanged text, ``[outputs]``, float64.
        original: the target's output for it.
        forwards: how many texts the model read so far, including the original and checks.

    Raises:
        InputError: the perturbation or label does not exist, the tokenizer has no token to mask with, or the background
            no other text.
        LRPError: the text cannot be read.
    """

    def __init__(
        self,
        explainer: Explainer,
        text: str,
        *,
        target: str | int | None = None,
        contrast: str | int | None = None,
        text_pair: str | None = None,
        perturb: str = MASK,
        background: Background | Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        if not isinstance(perturb, str) or perturb not in PERTURBATIONS:
            raise InputError(f"a text is perturbed by {', '.join(PERTURBATIONS)}, not by {perturb!r}")
        self._classifier, self._head = explainer.classifier, explainer.head
        choice = Choice(target, contrast)
        choice.check(self._head)
        self.text, self.text_pair, self.perturb = text, text_pair, perturb
        self.seed = options.whole(seed, "seed is a whole number")
        self.encoding = explainer.encode(text, text_pair)
        self._tokens = self.encoding.tokens
        self.special = tuple(self.encoding.special[i] for i, *_ in self._tokens)
        self.pieces = tuple(self.encoding.pieces[i] for i, *_ in self._tokens)
        bare = perturb == DELETE and not any(self.encoding.special)
        self._filler = _filler(explainer.tokenizer) if perturb == MASK or bare else None
        self.replacement = self._filler[1] if self._filler else ""
        self._drawn: list[tuple[int, ...]] = []
        if perturb == REPLACE:
            known = read_background(background, explainer)
            if known is None:
                raise InputError(
                    f"to perturb by {REPLACE!r}, other texts must be given: background= takes a list of texts like "
                    f"this one"
                )
            self._drawn = known.draws(text, text_pair, len(self._tokens), DRAWS, self.seed)
        self.forwards = 0
        self._pads = getattr(explainer.tokenizer, "pad_token_id", None) is not None
        self._together = True
        self._checked: set[bool] = set()
        self.logits = outputs = self._read([_Variant(frozenset(), self.encoding)])[0]
        self._pick: Pick = choice.pick(self._head, outputs)
        labels = self._head.labels(outputs.shape[0])
        self.target = labels[self._pick.target]
        self.contrast = None if self._pick.contrast is None else labels[self._pick.contrast]
        self.original = self._outcome(outputs)
        self._known = {frozenset[int](): self.original}

    def outcomes(self, removals: Iterable[Iterable[int]]) -> list[Outcome]:
        """Return the output for the text without some tokens, for each set of token indices.

        Raises:
            InputError: an index is that of a special token, or out of range.
            ModelError: the model fails on a perturbed text, or does not look its ids up as ``"zero"`` needs.
            NonFiniteError: a logit is NaN or infinite.
        """
        says = "a set of tokens to take from the text holds their indices"
        sets = [frozenset(options.whole(i, says) for i in removed) for removed in removals]
        places = {i for i, special in enumerate(self.special) if not special}
        for removed in sets:
            if not removed <= places:
                raise InputError(
                    f"token {min(removed - places)} cannot be taken from the text: it is a special token, or none of "
                    f"its {len(self.special)}"
                )
        sets = [frozenset(i for token in removed for i in self._tokens[token]) for removed in sets]
        unknown = [removed for removed in dict.fromkeys(sets) if removed not in self._known]
        new = [variant for removed in unknown for variant in self._variants(removed)]
        found: dict[frozenset[int], list[Outcome]] = {removed: [] for removed in unknown}
        lengths = [len(variant.encoding.input_ids) for variant in new]
        for bucket in buckets(lengths, IDS, PADDING if self._pads else 0.0):
            variants = [new[i] for i in bucket]
            for variant, outputs in zip(variants, self._read(variants), strict=True):
                found[variant.removed].append(self._outcome(outputs))
        self._known |= {removed: _mean(drawn) for removed, drawn in found.items()}
        return [self._known[removed] for removed in sets]

    def _variants(self, removed: frozenset[int]) -> list[_Variant]:
        """Return the text without some tokens: one variant, or one for each draw from the background."""
        encoding = self.encoding
        if self.perturb == ZERO:
            return [_Variant(removed, encoding)]
        kept = [i for i in range(len(encoding.input_ids)) if i not in removed]
        if self.perturb == DELETE and kept:
            return [_Variant(removed, encoding.take(kept))]
        if self.perturb == REPLACE:
            return [self._replaced(removed, drawn) for drawn in self._drawn]
        assert self._filler is not None
        masked = self._replaced(removed, [self._filler[0]] * len(self._tokens))
        return [masked if self.perturb == MASK else _Variant(removed, masked.encoding.take([0]))]

    def _replaced(self, removed: frozenset[int], by: Sequence[int]) -> _Variant:
        ids = list(self.encoding.input_ids)
        for token, places in zip(by, self._tokens, strict=True):
            for i in removed.intersection(places):
                ids[i] = token
        return _Variant(removed, replace(self.encoding, inputs={**self.encoding.inputs, "input_ids": ids}))

    def _outcome(self, outputs: Tensor) -> Outcome:
        weights = torch.tensor(self._head.weights(self._pick, outputs.shape[0]), dtype=outputs.dtype)
        return Outcome(float(weights @ outputs), self._head.probabilities(outputs).get(self.target))

    def _read(self, variants: Sequence[_Variant]) -> list[Tensor]:
        """Return the outputs ``[outputs]`` of each text, float64, read in one batch if possible."""
        alike = len({len(variant.encoding.input_ids) for variant in variants}) == 1
        if len(variants) > 1 and not (self._together and (alike or self._pads)):
            lengths = [len(v.encoding.input_ids) if self._together else i for i, v in enumerate(variants)]
            apart = groupby(zip(lengths, variants, strict=True), lambda pair: pair[0])
            return [row for _, group in apart for row in self._read([variant for _, variant in group])]
        try:
            outputs = self._forward(variants)
            trusted = (
                len(variants) == 1
                or alike in self._checked
                or self._classifier.reads_alike(
                    [variant.encoding for variant in variants], outputs, lambda row: self._forward([variants[row]])[0]
                )
            )
        except LRPError:
            if len(variants) == 1:
                raise
            trusted = False
        except Exception as error:  # a decoder without a padding token, say, takes one text at a time
            if len(variants) == 1:
                raise ModelError(f"the model fails on the perturbed text: {error_summary(error)}") from error
            trusted = False
        if not trusted:
            self._pads = False
            self._together &= not alike
            return self._read(variants)
        if len(variants) > 1:
            self._checked.add(alike)
        if not bool(torch.isfinite(outputs).all()):
            raise NonFiniteError(f"the model's logits are not finite for a text perturbed by {self.perturb!r}")
        return list(outputs)

    def _forward(self, variants: Sequence[_Variant]) -> Tensor:
        batch = self._classifier.pad([variant.encoding for variant in variants])
        if self.perturb == ZERO and any(variant.removed for variant in variants):
            outputs = self._zeroed(batch, [variant.removed for variant in variants])
        else:
            outputs = self._classifier.logits(batch)
        self.forwards += len(variants)
        return outputs.cpu().double()

    def _zeroed(self, batch: Batch, removed: Sequence[frozenset[int]]) -> Tensor:
        """Return the logits with the embedding rows of some tokens zero in every lookup."""
        name, ids = type(self._classifier.model).__name__, torch.tensor(self.encoding.input_ids)
        rows = torch.zeros(len(removed), len(ids), dtype=torch.bool)
        for row, places in enumerate(removed):
            rows[row, sorted(places)] = True
        looked_up = []

        def erase(module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor:
            index = args[0] if args else kwargs.get("input", next(iter(kwargs.values()), None))
            looked_up.append(_moved(rows, ids, index, name))
            return output.masked_fill(looked_up[-1].to(output.device)[..., None], 0.0)

        def watch_lookups(model: nn.Module) -> None:
            for module in word_tables(model):
                module.register_forward_hook(erase, with_kwargs=True)

        logits = self._classifier.logits(batch, watch_lookups)
        if not looked_up:
            raise ModelError(
                f"{name} does not call a table of its input ids that get_input_embeddings() names, so "
                f"no row of it can be zero: perturb by {MASK!r} or {DELETE!r}"
            )
        return logits


def _mean(drawn: Sequence[Outcome]) -> Outcome:
    """Return the mean over draws, whatever their order."""
    probabilities = [outcome.probability for outcome in drawn if outcome.probability is not None]
    return Outcome(
        math.fsum(outcome.logit for outcome in drawn) / len(drawn),
        math.fsum(probabilities) / len(drawn) if probabilities else None,
    )


def _moved(rows: Tensor, ids: Tensor, index: Any, name: str) -> Tensor:
    """Move marked positions as the model moved the ids: not at all, by one (decoders), or into a longer text."""
    if isinstance(index, Tensor) and index.dim() == 2 and index.shape[0] == rows.shape[0]:
        looked_up, (count, width) = index.cpu(), (len(ids), index.shape[1])
        if width >= count and bool((looked_up[:, :count] == ids).all()):
            return torch.nn.functional.pad(rows, (0, width - count))
        if width == count and bool((looked_up[:, 1:] == ids[:-1]).all()):
            return torch.nn.functional.pad(rows[:, :-1], (1, 0))
    raise ModelError(
        f"{name} looks up other ids than those of the text, so it is not known which rows must be zero: perturb by "
        f"{MASK!r} or {DELETE!r}"
    )


def _filler(tokenizer: Any) -> tuple[int, str]:
    """Return the id and the token that replace others."""
    for kind in ("mask", "unk", "pad"):
        token_id = getattr(tokenizer, f"{kind}_token_id", None)
        if token_id is not None:
            return token_id, str(getattr(tokenizer, f"{kind}_token"))
    raise InputError(
        f"{type(tokenizer).__name__} has no mask, unknown or padding token to put in the place of others: perturb by "
        f"{ZERO!r}, or by {DELETE!r} where it adds special tokens"
    )
