"""The checks of an audit, on texts that a model reads, classifies and explains by some rules."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from textlrp.check import cost
from textlrp.errors import LRPError, first_line
from textlrp.explain.classifier import FORWARD_LIMITS
from textlrp.explain.explainer import Explainer
from textlrp.lrp.request import Target, precision_of
from textlrp.lrp.result import Propagation
from textlrp.results.ledger import TOLERANCES
from textlrp.rules import Frozen, Rules
from textlrp.text.batch import Batch
from textlrp.text.encoding import Encoding

T = TypeVar("T")

#: The number of texts in the padded batch.
BATCH = 4

_NOTHING = "no text was explained"
_NOT_BY_ALL = "no text was explained by all rules"
_NO_BATCH = "no batch was explained"
_RELATIVE = "of all relevance"


@dataclass(frozen=True)
class Check:
    """A check of a model, and its result.

    Attributes:
        name: the name of the check.
        passed: the result; None if the check was skipped, for the reason in :attr:`detail`.
        value: the worst measured value, or None without one.
        limit: the largest value that passes, or None without one.
        detail: the meaning and the place of the value, or the error.
    """

    name: str
    passed: bool | None
    value: float | None = None
    limit: float | None = None
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the check as JSON-ready values; a number that is not finite is None."""
        value = self.value if self.value is None or math.isfinite(self.value) else None
        return {"name": self.name, "passed": self.passed, "value": value, "limit": self.limit, "detail": self.detail}


@dataclass(frozen=True)
class TrialFailure:
    """Takes the place of a missing result, with the reason."""

    reason: str


def attempt(function: Callable[..., T], *arguments: Any) -> T | TrialFailure:
    """Return the result of a function; a failure, of the function or among its arguments, is returned, not raised."""
    for value in arguments:
        if isinstance(value, TrialFailure):
            return value
    try:
        return function(*arguments)
    except LRPError as error:
        return TrialFailure(str(error))
    except Exception as error:  # an audit reports whatever a model raises
        frame = traceback.extract_tb(error.__traceback__)[-1]
        line = first_line(error)
        place = f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
        return TrialFailure(f"{place}: {line}" if line else place)


@dataclass(frozen=True)
class Trial:
    """Texts as a model reads, classifies and explains them; a failure takes the place of a result.

    Attributes:
        explainer: the model and its tokenizer.
        rules: the sets of rules.
        encodings: each text as the model reads it.
        logits: ``[1, labels]`` of each text, by the plain model.
        propagations: by the name of the rules, the explanation of each text.
    """

    explainer: Explainer
    rules: tuple[Rules, ...]
    encodings: tuple[Encoding | TrialFailure, ...]
    logits: tuple[Tensor | TrialFailure, ...]
    propagations: dict[str, tuple[Propagation | TrialFailure, ...]]

    @classmethod
    def of(cls, explainer: Explainer, documents: Sequence[tuple[str, str | None]], rules: Sequence[Rules]) -> Trial:
        """Read, classify and explain each text, or pair of texts, by each set of rules."""
        encodings = tuple(attempt(_read, explainer, *document) for document in documents)
        batches = [attempt(lambda encoding: explainer.classifier.pad([encoding]), read) for read in encodings]
        logits = tuple(attempt(_classify, explainer, batch) for batch in batches)
        propagations = {
            chosen.name: tuple(
                plain if isinstance(plain, TrialFailure) else attempt(_explain, explainer, batch, chosen)
                for batch, plain in zip(batches, logits, strict=True)
            )
            for chosen in rules
        }
        return cls(explainer, tuple(rules), encodings, logits, propagations)

    @property
    def explained(self) -> list[tuple[int, str, Propagation]]:
        """The successful explanations, with the index of the text and the name of the rules."""
        return [
            (i, name, result)
            for name, row in self.propagations.items()
            for i, result in enumerate(row)
            if not isinstance(result, TrialFailure)
        ]

    @property
    def longest(self) -> Encoding | None:
        """The longest text that every set of rules explained, or None."""
        encodings = self._explained_by_all()
        return max(encodings.values(), key=lambda encoding: len(encoding.input_ids), default=None)

    def checks(self) -> Iterator[Check]:
        """Yield the checks of all that textlrp promises of an explanation."""
        yield self._tokenization()
        yield self._explanation()
        yield self._balance()
        yield self._forward_equality()
        yield from self._batch()
        yield self._repeatability()
        yield from self._frozen_softmax()

    def cost(self, repeats: int) -> cost.Cost | str:
        """Return the cost of explaining the longest text, or the reason why it was not measured."""
        if self.longest is None:
            return _NOT_BY_ALL
        inputs = self.explainer.classifier.inputs(self.explainer.classifier.pad([self.longest]))
        measured = attempt(cost.measure, self.explainer.classifier.model, inputs, self.rules, repeats)
        return measured.reason if isinstance(measured, TrialFailure) else measured

    # -- the checks ----------------------------------------------------------------------------------------------

    def _tokenization(self) -> Check:
        failed = [(i, "", read.reason) for i, read in enumerate(self.encodings) if isinstance(read, TrialFailure)]
        if failed:
            return Check("tokenization", False, detail=self._listed(failed))
        lengths = [len(_present(encoding).input_ids) for encoding in self.encodings]
        span = f"{lengths[0]} ids" if len(lengths) == 1 else f"{min(lengths)} to {max(lengths)} ids"
        return Check("tokenization", True, detail=f"{span} a text")

    def _explanation(self) -> Check:
        failed = []
        for i, (encoding, plain) in enumerate(zip(self.encodings, self.logits, strict=True)):
            if isinstance(encoding, TrialFailure):
                continue
            if isinstance(plain, TrialFailure):
                failed.append((i, "", f"the model fails without textlrp, too: {plain.reason}"))
                continue
            row = {name: results[i] for name, results in self.propagations.items()}
            failed += [(i, name, result.reason) for name, result in row.items() if isinstance(result, TrialFailure)]
        if failed:
            return Check("explanation", False, detail=self._listed(failed))
        if not self.explained:
            return Check("explanation", None, detail="no text was read")
        return Check("explanation", True, detail="every operation met a rule, every number is finite")

    def _balance(self) -> Check:
        ledgers = ((result.ledgers[0], i, name) for i, name, result in self.explained)
        worst = max(ledgers, key=lambda entry: entry[0].imbalance, default=None)
        if worst is None:
            return Check("ledger balance", None, detail=_NOTHING)
        ledger, i, rules = worst
        detail = f"largest residue, relative to the words' relevance (text {i + 1}, {rules})"
        return Check("ledger balance", ledger.balanced, ledger.imbalance, ledger.tolerance, detail)

    def _forward_equality(self) -> Check:
        if not self.explained:
            return Check("forward equality", None, detail=_NOTHING)
        limit = FORWARD_LIMITS[precision_of(self.explainer.model.parameters())]
        differences = [
            (_difference(result.logits, _present(self.logits[i])), i, name) for i, name, result in self.explained
        ]
        value, i, rules = max(differences)
        detail = f"largest difference, relative to the largest plain logit (text {i + 1}, {rules})"
        if all(torch.equal(result.logits, _present(self.logits[i])) for i, _, result in self.explained):
            detail = "bit by bit the logits of the plain model"
        return Check("forward equality", value <= limit, value, limit, detail)

    def _batch(self) -> tuple[Check, Check]:
        """Explain texts as one padded batch, and compare it with each text alone."""

        def skip(reason: str) -> tuple[Check, Check]:
            return Check("batch equality", None, detail=reason), Check("padding", None, detail=reason)

        encodings = dict(list(self._explained_by_all().items())[:BATCH])
        if len(encodings) < 2:
            return skip("a batch takes two texts that were explained")
        batch = attempt(self.explainer.classifier.pad, list(encodings.values()))
        if isinstance(batch, TrialFailure):
            return skip(batch.reason)
        logits = attempt(_classify, self.explainer, batch)
        if isinstance(logits, TrialFailure):
            return skip(f"the model itself fails on such a batch: {logits.reason}")
        limit = TOLERANCES[precision_of(self.explainer.model.parameters())]
        shift = max(_difference(logits[row : row + 1], _present(self.logits[i])) for row, i in enumerate(encodings))
        if not shift <= limit:
            reason = f"the model itself gives other logits in a padded batch (by {shift:.0e} of the largest)"
            return skip(reason + self._other_padding())
        side = "left" if any(place.start for place in batch.places) else "right"
        worst, spilled = (0.0, 0, ""), 0.0
        for rules in self.rules:
            alone = {i: _present(self.propagations[rules.name][i]) for i in encodings}
            targets = [int(result.weights.argmax()) for result in alone.values()]
            together = attempt(_explain, self.explainer, batch, rules, targets)
            if isinstance(together, TrialFailure):
                reason = f"{len(encodings)} texts at once, {rules.name}: {together.reason}"
                return Check("batch equality", False, None, limit, reason), Check("padding", None, detail=_NO_BATCH)
            for row, (i, result) in enumerate(alone.items()):
                padded, place = together.relevance[row], batch.places[row]
                worst = max(worst, (_shift(padded[place], result.relevance[0]), i, rules.name))
                outside = padded.clone()
                outside[place] = 0.0
                spilled = max(spilled, float(outside.abs().max()))
        value, i, name = worst
        detail = f"largest change, {_RELATIVE}, in {len(encodings)} texts padded on the {side}"
        equal = Check("batch equality", value <= limit, value, limit, f"{detail} (text {i + 1}, {name})")
        if all(place == slice(0, len(batch.special[0])) for place in batch.places):
            return equal, Check("padding", None, detail="the texts have the same length")
        return equal, Check("padding", spilled == 0, spilled, 0.0, "largest relevance of padding")

    def _other_padding(self) -> str:
        """Say that the tokenizer pads with another id than the model expects; empty if it does not."""
        config = self.explainer.config
        expected = getattr(getattr(config, "get_text_config", lambda: config)(), "pad_token_id", None)
        used = getattr(self.explainer.tokenizer, "pad_token_id", None)
        differ = expected is not None and expected != used
        return f"; its config says that padding is {expected}, and the tokenizer pads with {used}" if differ else ""

    def _repeatability(self) -> Check:
        if self.longest is None:
            return Check("repeatability", None, detail=_NOT_BY_ALL)
        batch = self.explainer.classifier.pad([self.longest])
        i = self.encodings.index(self.longest)
        limit = TOLERANCES[precision_of(self.explainer.model.parameters())]
        worst, same = (0.0, ""), True
        for rules in self.rules:
            first, second = _present(self.propagations[rules.name][i]), attempt(_explain, self.explainer, batch, rules)
            if isinstance(second, TrialFailure):
                return Check("repeatability", False, None, limit, self._listed([(i, rules.name, second.reason)]))
            same &= torch.equal(first.relevance, second.relevance) and first.ledgers == second.ledgers
            worst = max(worst, (_shift(second.relevance, first.relevance), rules.name))
        value, name = worst
        detail = f"largest change, {_RELATIVE}, when asked again (text {i + 1}, {name})"
        return Check(
            "repeatability", value <= limit, value, limit, "asked again, bit by bit the same" if same else detail
        )

    def _frozen_softmax(self) -> Iterator[Check]:
        """Yield a failed check if rules that hold softmax constant met exponentials of activations, but no softmax."""
        for rules in self.rules:
            if rules.difference or not isinstance(rules.softmax, Frozen):
                continue
            met = {key for _, name, result in self.explained if name == rules.name for key in result.met}
            exponentials = sorted(name for name, rule in met if "exp" in name and rule != "frozen")
            if exponentials and not any(rule == "frozen" for _, rule in met):
                yield Check(
                    "frozen softmax",
                    False,
                    detail=f"{rules.name} holds a softmax constant, and none was recognized: {', '.join(exponentials)} "
                    f"met the rule of elementwise functions",
                )

    def _listed(self, failed: list[tuple[int, str, str]]) -> str:
        """Return at most three reasons, with the texts and the rules (unless all) that share them."""
        shared: dict[str, list[tuple[int, str]]] = {}
        for i, rules, reason in failed:
            shared.setdefault(reason, []).append((i, rules))
        listed = []
        for reason, failures in shared.items():
            places = list(dict.fromkeys(i + 1 for i, _ in failures))
            numbers = ", ".join(map(str, places[:5])) + (", ..." if len(places) > 5 else "")
            texts = f"texts {numbers}" if len(places) > 1 else f"text {numbers}"
            if 1 < len(places) == len(self.encodings):
                texts = "all texts"
            names = list(dict.fromkeys(rules for _, rules in failures if rules))
            by = f" by {', '.join(names)}" if 0 < len(names) < len(self.rules) else ""
            listed.append(f"{texts}{by}: {reason}")
        more = [f"and {len(listed) - 3} more reasons"] if len(listed) > 3 else []
        return "; ".join(listed[:3] + more)

    def _explained_by_all(self) -> dict[int, Encoding]:
        """Return the texts that every set of rules explained, by index."""
        return {
            i: _present(encoding)
            for i, encoding in enumerate(self.encodings)
            if not any(isinstance(row[i], TrialFailure) for row in self.propagations.values())
        }


def _read(explainer: Explainer, text: str, text_pair: str | None) -> Encoding:
    """Return a text as the model reads it; raise if the model lacks an embedding row for an id."""
    encoding = explainer.encode(text, text_pair)
    explainer.classifier.inputs(explainer.classifier.pad([encoding]))
    return encoding


def _classify(explainer: Explainer, batch: Batch) -> Tensor:
    """Return the logits of the plain model, ``[batch, labels]``."""
    return explainer.classifier.logits(batch)


def _explain(explainer: Explainer, batch: Batch, rules: Rules, target: Target = None) -> Propagation:
    """Explain texts as :meth:`Explainer.explain` does; by default, their predicted labels."""
    (result,) = explainer.classifier.propagate(batch, (target,), rules)
    return result


def _difference(logits: Tensor, plain: Tensor) -> float:
    """Return the largest difference of two tensors, relative to the largest number of the second."""
    return _ratio((logits - plain).abs().max(), plain.abs().max())


def _shift(relevance: Tensor, other: Tensor) -> float:
    """Return the largest difference of two relevances, relative to the sum of the absolute values of the second."""
    return _ratio((relevance - other).abs().max(), other.abs().sum())


def _ratio(difference: Tensor, scale: Tensor) -> float:
    """Return a share of a scale: 0 for no difference, infinity if the share is not finite."""
    share = float(difference) / float(scale) if difference else 0.0
    return share if math.isfinite(share) else math.inf


def _present(value: T | TrialFailure) -> T:
    """Return a value that is known not to be a failure."""
    assert not isinstance(value, TrialFailure)
    return value
