"""An audit of a model: does textlrp explain it, do its books close, and what does that cost."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import platform
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from textlrp import cost
from textlrp.errors import InputError, LRPError
from textlrp.explainer import Explainer, seeded
from textlrp.explanation import write_whole
from textlrp.isolation import undisturbed
from textlrp.ledger import RESIDUE, TOLERANCES, Ledger
from textlrp.propagation import Propagation, propagate
from textlrp.rules import Rules, as_rules
from textlrp.tokens import Batch, check_text, pad

if TYPE_CHECKING:
    from rich.console import RenderableType

T = TypeVar("T")

#: What a model is tried on where the user gives no texts: plain sentences of growing length that any vocabulary can spell.
TEXTS = (
    "The train leaves at nine.",
    "It rained in the morning, but the afternoon was warm and dry.",
    "The library opens at ten and closes at six; on Sundays it opens two hours later, and in August it stays closed.",
    "We walked along the river to the old mill, where a man was painting the door. He told us that the mill had not "
    "worked for thirty years, and that his grandfather had been the last one to grind corn there. Then he put down "
    "his brush, offered us tea, and asked where we came from and how long we would stay in the valley.",
)

#: How many of the texts are put into one padded batch.
BATCH = 4

#: The largest difference of logits that counts as rounding, relative to the largest logit, by the model's dtype.
#: Interception computes float64 models in float64 throughout; the plain model may fall back to float32 in its norms.
FORWARD_LIMITS = {"float64": 1e-5, "float32": 1e-5, "float16": 1e-2, "bfloat16": 5e-2}


@dataclass(frozen=True)
class Check:
    """One question that the audit asks.

    Attributes:
        name: what is checked.
        passed: the answer; None where the question does not arise, and :attr:`detail` says why.
        value: the worst that was measured, or None where nothing was.
        limit: the largest value that passes, or None where the check has no number.
        detail: what the value is and where it was found, or what went wrong.
    """

    name: str
    passed: bool | None
    value: float | None
    limit: float | None
    detail: str

    def to_dict(self) -> dict[str, Any]:
        """Return the check as JSON-ready values; what is not finite is None."""
        finite = None if self.value is None or not math.isfinite(self.value) else self.value
        return {"name": self.name, "passed": self.passed, "value": finite, "limit": self.limit, "detail": self.detail}


@dataclass(frozen=True)
class Preset:
    """What came of one set of rules.

    Attributes:
        name: the rules' name.
        met: operation, rule, and how often they met in one explanation: the most often among the texts.
        ledgers: one for each text; None where the text was not explained.
    """

    name: str
    met: tuple[tuple[str, str, int], ...]
    ledgers: tuple[Ledger | None, ...]


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        model: the model's name.
        architecture, model_type, attention: its class, its config's type and its implementation of attention, which are
            None where it does not say.
        parameters: how many numbers its parameters hold.
        labels: how many logits it returns, or None where no text got that far.
        tokenizer: the tokenizer's class.
        device, dtype: where the model is, and the dtypes of its weights.
        versions: of textlrp, of what it runs on, and of the platform.
        texts: the texts.
        tokens: how many ids each of them has as the model reads it, special tokens included; None where it was not read.
        presets: one entry for each set of rules.
        checks: the questions and answers.
        cost: what an explanation of the longest text costs, or why that was not measured.
    """

    model: str
    architecture: str
    model_type: str | None
    attention: str | None
    parameters: int
    labels: int | None
    tokenizer: str
    device: str
    dtype: str
    versions: Mapping[str, str]
    texts: tuple[str, ...]
    tokens: tuple[int | None, ...]
    presets: tuple[Preset, ...]
    checks: tuple[Check, ...]
    cost: cost.Cost | str

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.passed is not False for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as JSON-ready values."""
        plain = ("model", "architecture", "model_type", "attention", "parameters", "labels", "tokenizer")
        measured = isinstance(self.cost, cost.Cost)
        return {
            "passed": self.passed,
            **{name: getattr(self, name) for name in (*plain, "device", "dtype")},
            "versions": dict(self.versions),
            "texts": [{"text": text, "tokens": n} for text, n in zip(self.texts, self.tokens, strict=True)],
            "checks": [check.to_dict() for check in self.checks],
            "rules": {
                preset.name: {
                    "operations": [{"operation": a, "rule": b, "count": n} for a, b, n in preset.met],
                    "ledgers": [None if books is None else _ledger_values(books) for books in preset.ledgers],
                }
                for preset in self.presets
            },
            "cost": self.cost.to_dict() if isinstance(self.cost, cost.Cost) else None,
            "cost_not_measured": None if measured else self.cost,
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the audit as JSON, and write it to ``path`` if one is given."""
        written = json.dumps(self.to_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
        if path is not None:
            write_whole(Path(path), written)
        return written

    def __rich__(self) -> RenderableType:
        from textlrp.audit_view import AuditView

        return AuditView(self)


def _ledger_values(books: Ledger) -> dict[str, Any]:
    return {**books.to_dict(), RESIDUE: books.residue, "imbalance": books.imbalance}


@dataclass(frozen=True)
class _Failure:
    """What stands in place of a result: why there is none."""

    reason: str


def audit(
    explainer: Explainer,
    texts: Sequence[str] | None = None,
    rules: Sequence[Rules | str] = ("attnlrp", "cp-lrp"),
    repeats: int = 7,
) -> Audit:
    """Explain some texts by some rules, and check everything that textlrp promises about a model.

    What fails is a failed check and no exception, so that the rest of the audit can still be read.

    Args:
        explainer: the model and its tokenizer.
        texts: what to explain; default: :data:`TEXTS`. The first :data:`BATCH` are also explained as one batch.
        rules: presets' names or :class:`textlrp.Rules`.
        repeats: how often to time each candidate when the cost is measured.

    Raises:
        InputError: there are no texts or rules, or one of them cannot be used.
    """
    chosen = [as_rules(each) for each in rules]
    texts = tuple(TEXTS if texts is None else texts)
    if not texts or not chosen:
        raise InputError("an audit needs at least one text and one set of rules")
    for text in texts:
        check_text(text)
    before = _state(explainer.model)
    trial = _Trial(explainer, texts, chosen)
    measured = trial.cost(repeats)
    after = _state(explainer.model)
    changed = [part for part in before if before[part] != after[part]]
    unchanged = Check(
        "model unchanged", not changed, None, None, f"changed: {', '.join(changed)}" if changed else ", ".join(before)
    )
    model, config = explainer.model, explainer.config
    return Audit(
        model=explainer.name,
        architecture=type(model).__name__,
        model_type=getattr(config, "model_type", None),
        attention=getattr(config, "_attn_implementation", None),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        labels=next((logits.shape[1] for logits in trial.plain if isinstance(logits, Tensor)), None),
        tokenizer=type(explainer.tokenizer).__name__,
        device=_device(model),
        dtype=", ".join(sorted({str(dtype).removeprefix("torch.") for dtype in _dtypes(model)})),
        versions=_versions(),
        texts=texts,
        tokens=tuple(None if isinstance(read, _Failure) else len(read.special[0]) for read in trial.read),
        presets=tuple(trial.preset(each.name) for each in chosen),
        checks=(*trial.checks(), unchanged),
        cost=measured,
    )


class _Trial:
    """Every text, read, classified and explained; what fails is kept as a failure."""

    def __init__(self, explainer: Explainer, texts: tuple[str, ...], rules: list[Rules]) -> None:
        self.explainer, self.rules = explainer, rules
        self.encodings = [_attempt(lambda text=text: explainer.encode(text)) for text in texts]  # type: ignore[misc]
        self.read = [_attempt(lambda x=x: pad(explainer.tokenizer, [_good(x)])) for x in self.encodings]
