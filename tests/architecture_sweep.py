"""What the sweep over the architectures measures of one of them: everything that an explanation promises, as numbers.

It runs in a child of its own (`tiny_models.in_child`) and returns plain values, so that a failure of one architecture
is a line of a report and the tests decide what to make of it.
"""

from __future__ import annotations

import copy
import itertools
import traceback
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import tiny_models
import torch
from torch.overrides import TorchFunctionMode

import textlrp
from textlrp.results.ledger import REFERENCE_PINNED

PRESETS = ("attnlrp", "cp-lrp", "difference")
#: The id that stands for the words in the reference.
REFERENCE_ID = 7
DTYPES = {"float32": torch.float32, "float64": torch.float64}

#: The largest difference that is rounding, as a share of the largest value, by dtype: of logits to the plain model's,
#: and of relevances to those of the document alone, whose sums run in another order.
SAME_LOGITS = {"float32": 1e-5, "float64": 1e-12}
SAME_RELEVANCE = {"float32": 1e-4, "float64": 1e-9}

# A document's own logits may move by this share of the largest when it is padded, and still count as the same.
SAME_PADDED = 1e-4


@dataclass(frozen=True)
class Case:
    """One architecture, and how its models and documents differ from those of tiny_models."""

    model_type: str
    size: tiny_models.Size | str = "tiny"
    seed: int = 0
    lengths: tuple[int, ...] | None = None
    batch: int = 3
    settings: dict[str, Any] = field(default_factory=dict)
    dtypes: tuple[str, ...] = tuple(DTYPES)
    attentions: tuple[str, ...] = ("eager", "sdpa")


@dataclass(frozen=True)
class Finding:
    """What one combination of attention, dtype and rules gave.

    Attributes:
        error: the exception, if the explanation was refused or failed.
        imbalance: the largest of the ledgers.
        logits: largest difference of the logits to the plain model's, as a share of the largest logit.
        alone: in float64, the largest difference of the relevances to those of the document alone, as a share of the
            largest relevance.
        on_padding: the largest relevance of a padding token.
        relevance: the largest relevance of any token.
        disturbed: what of the model changed.
        passes: forward passes of the model for the batch: one, or one more for each document.
        reference: under difference rules, the largest difference of the reference's logits to the plain model's, as a
            share of the largest logit; 0 where the text's choices changed them.
        pinned: whether they did.
        unmoved: the reference has the same logits as the documents, so that their words add nothing.
    """

    attention: str
    dtype: str
    rules: str
    error: str = ""
    imbalance: float = 0.0
    logits: float = 0.0
    alone: float = 0.0
    on_padding: float = 0.0
    relevance: float = 0.0
    disturbed: tuple[str, ...] = ()
    passes: int = 1
    reference: float = 0.0
    pinned: bool = False
    unmoved: bool = False

    @property
    def complaints(self) -> list[str]:
        """What is wrong with it, in words; empty if all is well."""
        label = f"{self.attention} {self.dtype} {self.rules}"
        if self.error:
            return [f"{label}: {self.error}"]
        tolerance = textlrp.results.ledger.TOLERANCES[self.dtype]
        wrong = {
            f"imbalance {self.imbalance:.1e}": not self.imbalance <= tolerance,
            f"logits differ by {self.logits:.1e}": not self.logits <= SAME_LOGITS[self.dtype],
            f"logits of the reference differ by {self.reference:.1e}": not self.reference <= SAME_LOGITS[self.dtype],
            f"relevances differ from those alone by {self.alone:.1e}": not self.alone <= SAME_RELEVANCE[self.dtype],
            f"padding has relevance {self.on_padding:.1e}": self.on_padding != 0,
            "no token has relevance": not self.relevance > 0 and not self.unmoved,
            f"the model changed: {', '.join(self.disturbed)}": bool(self.disturbed),
        }
        return [f"{label}: {text}" for text, is_wrong in wrong.items() if is_wrong]


@dataclass(frozen=True)
class Report:
    """All combinations of one case.

    Attributes:
        padding_counts: the plain model itself gives a document other logits when it is padded, or cannot read it
            unpadded, so that alone means the padded row as a batch of one.
        mixes: the plain model itself gives a document other logits when its batch holds others (Doge's experts are
            routed by the tokens of two documents), so that there is nothing to compare where textlrp keeps the batch.
        draws: the plain model draws random numbers, so that every call starts from the same seed.
        pinned: the model chooses by the text, and the reference is run with the text's choices.
    """

    case: Case
    findings: tuple[Finding, ...]
    padding_counts: bool = False
    mixes: bool = False
    draws: bool = False

    @property
    def complaints(self) -> list[str]:
        return [complaint for finding in self.findings for complaint in finding.complaints]

    @property
    def attentions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(finding.attention for finding in self.findings))

    @property
    def pinned(self) -> bool:
        return any(finding.pinned for finding in self.findings)

    @property
    def one_at_a_time(self) -> bool:
        """Whether textlrp took the documents of some batch one at a time."""
        return any(finding.passes > 1 for finding in self.findings)


def examine(case: Case) -> Report:
    """Measure one case in every combination."""
    attentions = case.attentions if tiny_models.supports_sdpa(case.model_type) else case.attentions[:1]
    findings, traits = [], {"padding_counts": False, "mixes": False, "draws": False}
    for attention, dtype in itertools.product(attentions, case.dtypes):
        try:
            subject = Subject(case, attention, dtype)
        except Exception:
            error = f"the plain model fails: {traceback.format_exc(limit=-3)}"
            findings += [Finding(attention, dtype, rules, error) for rules in PRESETS]
            continue
        traits = {name: known or getattr(subject, name) for name, known in traits.items()}
        for rules in PRESETS:
            try:
                findings.append(subject.explain(rules))
            except Exception:
                findings.append(Finding(attention, dtype, rules, traceback.format_exc(limit=-4)))
    return Report(case, tuple(findings), **traits)


class Subject:
    """A model, its documents and what the plain model says of them."""

    def __init__(self, case: Case, attention: str, dtype: str) -> None:
        self.attention, self.dtype = attention, dtype
        options = {"size": case.size, "seed": case.seed, **case.settings}
        self.model = tiny_models.build(case.model_type, attention=attention, dtype=DTYPES[dtype], **options)
        self.words = tiny_models.places(case.model_type, case.batch, case.lengths)
        self.documents = tiny_models.inputs(
            self.model, case.model_type, batch=case.batch, seed=case.seed, lengths=case.lengths
        )
        self.ends = torch.zeros_like(self.documents["input_ids"])  # the first and the last id of each document
        for i, words in enumerate(self.words):
            self.ends[i, words.nonzero().squeeze(1)[[0, -1]]] = 1
        self.passes = passes = []
        self.model.register_forward_pre_hook(lambda module, args: passes.append(1))
        self.logits = self.plain(self.documents)
        self.draws = not torch.equal(self.plain(self.documents, seed=1), self.logits)
        self.logits_of_rows = torch.cat([self.plain(self.padded(i)) for i in range(case.batch)])
        self.mixes = difference(self.logits_of_rows, self.logits) > SAME_PADDED
        try:
            unpadded = torch.cat([self.plain(self.unpadded(i)) for i in range(case.batch)])
            self.padding_counts = difference(unpadded, self.logits_of_rows) > SAME_PADDED
        except (RuntimeError, ValueError, IndexError):  # fewer words than a stride or a kernel is long
            self.padding_counts = True

    def plain(self, documents: dict[str, Any], seed: int = 0) -> torch.Tensor:
        """The logits of a model that nobody explains: of a copy, for BigBird changes for good on a short document."""
        model = copy.deepcopy(self.model)
        torch.manual_seed(seed)
        with torch.no_grad(), Doubles() if self.dtype == "float64" else nullcontext():
            return model(**documents).logits

    def padded(self, i: int) -> dict[str, Any]:
        return {key: value[i : i + 1] for key, value in self.documents.items()}

    def unpadded(self, i: int) -> dict[str, Any]:
        return {key: value[i : i + 1, self.words[i]] for key, value in self.documents.items()}

    def explain(self, rules: str) -> Finding:
        """Explain the batch, and each of its documents alone."""
        targets = [i % self.logits.shape[1] for i in range(len(self.logits))]
        before = state(self.model)
        self.passes.clear()
        torch.manual_seed(0)
        options = self.options(rules, slice(None))
        found = textlrp.propagate(self.model, targets, rules, **options, **self.documents)
        passes = len(self.passes)
        after = state(self.model)
        alone = 0.0
        # In float64, where a difference cannot hide in the rounding.
        compares = self.dtype == "float64" and (not self.mixes or passes > 1)
        for i, target in enumerate(targets if compares else ()):
            torch.manual_seed(0)
            document = self.padded(i) if self.padding_counts else self.unpadded(i)
            options = self.options(rules, (slice(i, i + 1), ... if self.padding_counts else self.words[i]))
            relevance = textlrp.propagate(self.model, target, rules, **options, **document).relevance[0]
            relevance = relevance[self.words[i]] if self.padding_counts else relevance
            alone = max(alone, difference(found.relevance[i, self.words[i]], relevance))
        pinned = any(REFERENCE_PINNED in ledger.rows for ledger in found.ledgers)
        return Finding(
            self.attention,
            self.dtype,
            rules,
            imbalance=max(ledger.imbalance for ledger in found.ledgers),
            logits=difference(found.logits, self.logits_of_rows if self.mixes and passes > 1 else self.logits),
            alone=alone,
            on_padding=float(found.relevance[~self.words].abs().sum()),
            relevance=float(found.relevance.abs().max()),
            disturbed=tuple(sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))),
            passes=passes,
            reference=0.0 if rules != "difference" or pinned else self.beside_reference(found.reference_logits, passes),
            pinned=pinned,
            unmoved=found.reference_logits is not None
            and difference(found.reference_logits, found.logits) <= SAME_LOGITS[self.dtype],
        )

    def options(self, rules: str, part: Any) -> dict[str, Any]:
        """The options of an explanation of a part of the documents: ends of documents stay in the reference."""
        if rules != "difference":
            return {}
        return {"reference": REFERENCE_ID, "special_tokens_mask": self.ends[part]}

    def beside_reference(self, logits: Any, passes: int) -> float:
        """Compare the logits of the reference with the plain model's on its ids."""
        ids = self.documents["input_ids"].masked_fill(self.words & (self.ends == 0), REFERENCE_ID)
        documents = {**self.documents, "input_ids": ids}
        if not (self.mixes and passes > 1):
            return difference(logits, self.plain(documents))
        rows = [{key: value[i : i + 1] for key, value in documents.items()} for i in range(len(ids))]
        return difference(logits, torch.cat([self.plain(row) for row in rows]))


class Doubles(TorchFunctionMode):
    """Keeps a float64 model in float64 where it asks for float32.

    Norms, softmax and rotations do, and then a mask of float64's lowest number overflows: with padding on the left,
    Gemma's logits are NaN in float64. textlrp stays in float64, so its yardstick has to.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def wide(value: Any) -> Any:
            return torch.float64 if value is torch.float32 else value

        func = torch.Tensor.double if func is torch.Tensor.float else func
        return func(*map(wide, args), **{key: wide(value) for key, value in (kwargs or {}).items()})


def difference(left: torch.Tensor, right: torch.Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return float((left - right).abs().max() / right.abs().max().clamp_min(1e-30))


def state(model: Any) -> dict[str, Any]:
    """All that an explanation could disturb, as values that compare."""
    found: dict[str, Any] = {
        "config": repr(model.config.to_dict()),
        "Function.apply": torch.autograd.Function.__dict__["apply"],
        "function modes": torch.overrides._get_current_function_mode_stack(),
        "grad mode": torch.is_grad_enabled(),
    }
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            # Tables of submodules, parameters and hooks by who is in them.
            members = list(value.items()) if isinstance(value, dict) else [(key, value)]
            found[f"{name}.{key}"] = [(k, v if isinstance(v, str | int | float) else id(v)) for k, v in members]
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        value = tensor.numpy(force=True).tobytes()
        found[f"value of {name}"] = (tensor.requires_grad, tensor.grad is None, value)
    return found
