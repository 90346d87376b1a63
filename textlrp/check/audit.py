"""Audits a model: whether textlrp explains it, whether its ledgers balance, and the cost."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from textlrp.basics import options
from textlrp.basics.files import write_whole
from textlrp.check.checks import Check, Trial, TrialFailure
from textlrp.check.cost import Cost
from textlrp.errors import InputError
from textlrp.explain.explainer import Explainer
from textlrp.explain.references import References
from textlrp.guard import quantized
from textlrp.results.ledger import RESIDUE, Ledger
from textlrp.rules import Rules, as_rules
from textlrp.text.encoding import Encoding, check_text

#: The default rules of an audit: from zero, and from a reference.
RULES = ("attnlrp", "cp-lrp", "difference")

#: The default texts of an audit: plain sentences, short to long, that every vocabulary can spell.
TEXTS = (
    "The train leaves at nine.",
    "It rained in the morning, but the afternoon was warm and dry.",
    "The library opens at ten and closes at six; on Sundays it opens two hours later, and in August it stays closed.",
    "We walked along the river to the old mill, where a man was painting the door. He told us that the mill had not "
    "worked for thirty years, and that his grandfather had been the last one to grind corn there. Then he put down "
    "his brush, offered us tea, and asked where we came from and how long we would stay in the valley.",
)


@dataclass(frozen=True)
class AuditedText:
    """A text of an audit, and how much of it the model reads.

    Attributes:
        text: the whole text.
        text_pair: the second text, for a model that takes two; None for any other.
        tokens: how many ids the model reads, special tokens included; None if the text could not be read.
        truncated: the characters ``[start, end)`` that the model does not read, or None.
    """

    text: str
    text_pair: str | None
    tokens: int | None
    truncated: tuple[int, int] | None

    def to_dict(self) -> dict[str, Any]:
        """Return the document as JSON-ready values."""
        truncated = list(self.truncated) if self.truncated else None
        return {"text": self.text, "text_pair": self.text_pair, "tokens": self.tokens, "truncated": truncated}


@dataclass(frozen=True)
class Preset:
    """The results of one set of rules.

    Attributes:
        name: the name of the rules.
        met: operation, rule, and how often the rule was used for it in one explanation (the maximum over the texts).
        ledgers: one for each text, None if it was not explained.
        reference: what the rules measure the texts from; None for rules from zero.
        pinned_by: the functions by which a text chose otherwise than the reference would have, by name.
    """

    name: str
    met: tuple[tuple[str, str, int], ...]
    ledgers: tuple[Ledger | None, ...]
    reference: str | None = None
    pinned_by: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the preset as JSON-ready values."""
        return {
            "name": self.name,
            "operations": [{"operation": name, "rule": rule, "count": count} for name, rule, count in self.met],
            "reference": self.reference,
            "pinned_by": list(self.pinned_by),
            "ledgers": [None if ledger is None else _ledger(ledger) for ledger in self.ledgers],
        }


def _ledger(ledger: Ledger) -> dict[str, Any]:
    """Return a ledger as JSON-ready values, with its residue, its imbalance, and the share that the words hold."""
    more = {RESIDUE: ledger.residue, "imbalance": ledger.imbalance, "words_hold": ledger.held}
    return {**ledger.to_dict(), **more}


@dataclass(frozen=True)
class Audit:
    """The results of an audit.

    Attributes:
        model: the model's name.
        architecture: its class.
        task: what it is asked about a text.
        beside: what it reads beside the text: hypotheses, or a prompt and the words for the labels.
        runs: the number of runs in which it reads a text.
        model_type: the type in its config, or None.
        attention: the implementation of attention in its config, or None.
        parameters: the number of its parameters.
        labels: how many logits it returns, or None if it classified no text.
        tokenizer: the tokenizer's class.
        device: where the model computes.
        dtype: the dtypes of its weights.
        quantized: how many layers hold their weights in 4 or 8 bits, and by what; empty if none does.
        versions: of textlrp and the libraries that it uses.
        documents: the texts, as the model reads them.
        presets: one entry for each set of rules.
        checks: the checks and their results.
        cost: the cost of explaining the longest text, or the reason why it was not measured.
    """

    model: str
    architecture: str
    task: str
    beside: tuple[str, ...]
    runs: int
    model_type: str | None
    attention: str | None
    parameters: int
    labels: int | None
    tokenizer: str
    device: str
    dtype: str
    quantized: str
    versions: Mapping[str, str]
    documents: tuple[AuditedText, ...]
    presets: tuple[Preset, ...]
    checks: tuple[Check, ...]
    cost: Cost | str

    @property
    def passed(self) -> bool:
        """Whether all checks passed or were skipped."""
        return all(check.passed is not False for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as JSON-ready values."""
        measured = isinstance(self.cost, Cost)
        return {
            "passed": self.passed,
            "model": self.model,
            "architecture": self.architecture,
            "task": self.task,
            "beside": list(self.beside),
            "runs": self.runs,
            "model_type": self.model_type,
            "attention": self.attention,
            "parameters": self.parameters,
            "labels": self.labels,
            "tokenizer": self.tokenizer,
            "device": self.device,
            "dtype": self.dtype,
            "quantized": self.quantized,
            "versions": dict(self.versions),
            "texts": [document.to_dict() for document in self.documents],
            "checks": [check.to_dict() for check in self.checks],
            "rules": [preset.to_dict() for preset in self.presets],
            "cost": self.cost.to_dict() if isinstance(self.cost, Cost) else None,
            "cost_not_measured": None if measured else self.cost,
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the audit as JSON, and write it to ``path`` if one is given."""
        written = json.dumps(self.to_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
        if path is not None:
            write_whole(Path(path), written)
        return written


def audit(
    explainer: Explainer,
    texts: Sequence[str] | None = None,
    rules: Sequence[Rules | str] = RULES,
    repeats: int = 7,
) -> Audit:
    """Check on some texts whether textlrp keeps its promises for a model.

    If the model fails, a check fails; no exception is raised, so that the other checks still run.

    Args:
        explainer: the model and its tokenizer.
        texts: the texts to explain; default: :data:`TEXTS`. The first few are explained as one batch, too. A model that
            takes two texts gets each with the one after it.
        rules: presets' names or :class:`textlrp.Rules`.
        repeats: how often to time each candidate for the cost.

    Raises:
        InputError: texts or rules are missing or invalid.
    """
    chosen = list(dict.fromkeys(map(as_rules, rules)))
    texts = tuple(TEXTS if texts is None else texts)
    if not texts or not chosen:
        raise InputError("an audit takes one text or more, and one set of rules or more")
    repeats = options.whole(repeats, "repeats is how often each is timed, 1 or more", 1)
    for text in texts:
        check_text(text)
    model, config = explainer.model, explainer.config
    before = _state(model)
    task = explainer.classifier.task
    documents = [(text, texts[(i + 1) % len(texts)] if task.pairs else None) for i, text in enumerate(texts)]
    trial = Trial.of(explainer, documents, chosen)
    checks = tuple(trial.checks())
    measured = trial.cost(repeats)
    checks += (_unchanged(before, _state(model)),)
    return Audit(
        model=explainer.name,
        architecture=type(model).__name__,
        task=task.name,
        beside=task.beside,
        runs=explainer.classifier.reader.runs,
        model_type=getattr(config, "model_type", None),
        attention=getattr(config, "_attn_implementation", None),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        labels=next((logits.shape[1] for logits in trial.logits if isinstance(logits, Tensor)), None),
        tokenizer=type(explainer.tokenizer).__name__,
        device=_device(model),
        dtype=", ".join(sorted({str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()})),
        quantized=quantized.described(model),
        versions=_versions(),
        documents=tuple(_document(*document, read) for document, read in zip(documents, trial.encodings, strict=True)),
        presets=tuple(_preset(trial, chosen_rules) for chosen_rules in chosen),
        checks=checks,
        cost=measured,
    )


def _document(text: str, text_pair: str | None, read: Encoding | TrialFailure) -> AuditedText:
    if isinstance(read, TrialFailure):
        return AuditedText(text, text_pair, None, None)
    return AuditedText(text, text_pair, len(read.input_ids), next(filter(None, read.truncated), None))


def _preset(trial: Trial, rules: Rules) -> Preset:
    met: dict[tuple[str, str], int] = {}
    ledgers: list[Ledger | None] = []
    pinned_by: dict[str, None] = {}
    for result in trial.propagations[rules.name]:
        ledgers.append(None if isinstance(result, TrialFailure) else result.ledgers[0])
        if not isinstance(result, TrialFailure):
            pinned_by |= dict.fromkeys(result.pinned_by)
            for key, count in result.met.items():
                met[key] = max(count, met.get(key, 0))
    references = References.read(None, rules, trial.explainer.classifier)
    operations = tuple((*key, count) for key, count in sorted(met.items()))
    measured_from = None if references is None else references.name
    return Preset(rules.name, operations, tuple(ledgers), measured_from, tuple(pinned_by))


def _versions() -> dict[str, str]:
    packages = ("textlrp", "torch", "transformers", "tokenizers")
    versions = {package: importlib.metadata.version(package) for package in packages}
    return {**versions, "python": platform.python_version(), "platform": platform.platform()}


def _device(model: nn.Module) -> str:
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def _state(model: nn.Module) -> dict[str, Any]:
    """Return everything about a model that an explanation must not change."""
    digest = hashlib.sha256()
    for tensor in (*model.parameters(), *model.buffers()):
        digest.update(quantized.plain_tensor(tensor).cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    modules = list(model.modules())
    settings: dict[str, Any] = getattr(getattr(model, "config", None), "to_dict", dict)()
    return {
        "parameters and buffers": digest.digest(),
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "gradients": [parameter.grad is None for parameter in model.parameters()],
        "training mode": [module.training for module in modules],
        "modules": [id(module) for module in modules],
        "hooks": [_hooks(module) for module in modules],
        "config": settings,
    }


def _hooks(module: nn.Module) -> int:
    """Return the number of hooks of a module."""
    return sum(
        len(value) for name, value in vars(module).items() if name.endswith("_hooks") and isinstance(value, dict)
    )


def _unchanged(before: dict[str, Any], after: dict[str, Any]) -> Check:
    """Check that a model is unchanged."""
    changed = [part for part in before if before[part] != after[part]]
    if changed:
        return Check("model unchanged", False, detail=f"explaining changed its {', its '.join(changed)}")
    return Check("model unchanged", True, detail=", ".join(before))
