"""Methods against each other: models x corpora x methods, measured document by document, resumed after a stop.

For each document the label that the model predicts is explained by every method, and each attribution is measured
(:mod:`textlrp.evaluate.measures`). A document that fails for one method is noted, and the run goes on.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlrp.basics import extras, options
from textlrp.data.document_sets import DocumentSet
from textlrp.data.documents import InputDocument
from textlrp.data.fingerprints import model_facts, rules_fingerprints
from textlrp.data.short_names import method_names
from textlrp.errors import InputError, LRPError
from textlrp.evaluate import measures as measured
from textlrp.evaluate.run_folder import SCORES, EvaluationPlan, Log, Result
from textlrp.evaluate.summary import Summary, summarize
from textlrp.explain.progress import ProgressBar

if TYPE_CHECKING:
    from textlrp.evaluate.perturbation import Perturbed
    from textlrp.evaluate.scorers import Scorer
    from textlrp.explain.explainer import Explainer
    from textlrp.results.attribution import Attribution

#: The methods that are compared where none are named; the first is what the others are compared with.
METHODS = ("attnlrp", "cp-lrp", "gradient-x-input", "integrated-gradients", "rollout", "occlusion", "random")

#: How tokens are taken away where nothing is said: in two ways, as a method whose reference is one of them has it easy.
PERTURB = ("mask", "zero")

#: What measures, intervals and tests are computed by: asked for before hours are spent.
_STATISTICS = ("scipy", "sklearn", "statsmodels")

#: Methods that a library of its own computes, whose version counts.
_CAPTUM = ("lime", "shapley")


def evaluate(
    models: Mapping[str, Callable[[], Explainer]],
    corpora: Sequence[DocumentSet],
    methods: Sequence[str] = METHODS,
    *,
    perturb: Sequence[str] = PERTURB,
    by: str = "token",
    measures: Sequence[str] = measured.MEASURES,
    limit: int | None = None,
    seed: int = 0,
    folder: Path | None = None,
    progress: bool = False,
) -> Summary:
    """Measure methods on corpora and models.

    Args:
        models: what loads each model, by the name that tables call it; one is in memory at a time.
        corpora: the documents (:func:`textlrp.data.document_sets.read_document_sets`).
        methods: names as :func:`textlrp.evaluate.baselines.scorer` takes them; the others are
            compared with the first.
        perturb: how tokens are taken away, each for itself: ``"mask"``, ``"delete"``, ``"zero"``.
        by: what is taken away at a time: ``"token"`` or ``"word"``.
        measures: ``"faithfulness"``, ``"plausibility"`` or both.
        limit: how many documents each corpus was cut to, for the record.
        seed: what methods that sample, intervals and tests depend on.
        folder: where results are kept as they come; a run that was stopped there goes on. Default: nowhere.
        progress: whether to show a bar where it takes more than two seconds in a terminal.

    Raises:
        InputError: an option cannot be used as given, or the folder holds a run with other options or data.
        LRPError: a model cannot be loaded, or a library of the extra ``evaluate`` is not installed.
    """
    from textlrp.evaluate import baselines

    _check(models, corpora, methods, perturb, by, measures)
    for library in _STATISTICS:
        extras.check(library, "evaluate", "an evaluation")
    if limit is not None:
        limit = options.whole(limit, "limit is a number of documents, 1 or more", 1)
    seed = options.whole(seed, "seed is a whole number, 0 or more", 0)
    scorers = dict(zip(method_names(methods), map(baselines.scorer, methods), strict=True))
    loader = _Loader(models)
    plan = EvaluationPlan(
        methods=tuple(scorers),
        perturb=tuple(perturb) if "faithfulness" in measures else (),
        by=by,
        measures=tuple(measures),
        limit=limit,
        seed=seed,
        rules=dict(zip(method_names(list(rules := rules_fingerprints(methods))), rules.values(), strict=True)),
        models=tuple(model_facts(name, loader(name)) for name in models),
        corpora=tuple(corpus.to_dict() for corpus in corpora),
        versions=_versions(methods),
        machine=_machine(loader),
    )
    with Log(plan, folder) as log:
        total = len(models) * len(scorers) * sum(len(corpus.documents) for corpus in corpora)
        with ProgressBar("evaluating", total, progress) as bar:
            bar.advance(len(log.results))
            for name in models:
                for corpus in corpora:
                    run = _Run(name, corpus, scorers, log, bar)
                    if run.pending():
                        run(loader(name))
        return summarize(log.plan, log.results.values())


class _Loader:
    """Loads models by name, and keeps the one that was asked for last."""

    def __init__(self, models: Mapping[str, Callable[[], Explainer]]) -> None:
        self._models = models
        self._last: tuple[str, Explainer] | None = None

    def __call__(self, name: str) -> Explainer:
        if self._last is None or self._last[0] != name:
            self._last = None  # the memory of one is free before the next is loaded
            self._last = name, self._models[name]()
        return self._last[1]

    @property
    def last(self) -> Explainer:
        assert self._last is not None
        return self._last[1]


@dataclass
class _Run:
    """One model on one corpus."""

    model: str
    corpus: DocumentSet
    scorers: Mapping[str, Scorer]
    log: Log
    bar: ProgressBar

    def pending(self) -> list[tuple[InputDocument, list[str]]]:
        """Return the documents with the methods that are not measured yet."""
        found = [
            (
                document,
                [m for m in self.scorers if (self.model, self.corpus.name, m, document.id) not in self.log.results],
            )
            for document in self.corpus.documents
        ]
        return [each for each in found if each[1]]

    def __call__(self, explainer: Explainer) -> None:
        right = self.corpus.right(_labels(explainer))
        warm: set[str] = set()
        for document, methods in self.pending():
            known: dict[str, Perturbed] = {}
            self._read_again(explainer, document, methods, known)
            for method in methods:
                if method not in warm:  # what is done once and never again is not part of the time
                    warm.add(method)
                    _attempt(self.scorers[method], explainer, document, self.log.plan.seed)
                self.log.add(self._result(explainer, document, method, right.get(document.id), known))
                self.bar.advance()

    def _read_again(
        self, explainer: Explainer, document: InputDocument, methods: Sequence[str], known: dict[str, Perturbed]
    ) -> None:
        """Let the model read what it read for the methods that were measured before the run was stopped.

        A method pays for what no method before it asked for. Without this, the first one of a run that goes on within
        a document would pay once more for what those before it have paid for.
        """
        for method in self.scorers:
            if method in methods:
                return  # they are measured in order, so what is missing comes last
            self._result(explainer, document, method, None, known)

    def _result(
        self,
        explainer: Explainer,
        document: InputDocument,
        method: str,
        right: Sequence[str] | None,
        known: dict[str, Perturbed],
    ) -> Result:
        plan = self.log.plan
        which = (self.model, self.corpus.name, method, document.id)
        found = _attempt(self.scorers[method], explainer, document, plan.seed)
        if isinstance(found, LRPError):
            return Result(*which, failures={SCORES: _sentence(found)})
        fits = None if right is None else found.target in right
        faithfulness: dict[str, Mapping[str, Any]] = {}
        failures: dict[str, str] = {}
        for perturb in plan.perturb:
            try:
                faithfulness[perturb] = measured.faithfulness(explainer, found, perturb, plan.by, plan.seed, known)
            except LRPError as error:
                failures[perturb] = _sentence(error)
        plausibility: Mapping[str, float] = {}
        # What people marked are reasons for the right labels, and for no other.
        if "plausibility" in plan.measures and (fits or not self.corpus.labels[document.id]):
            plausibility = measured.plausibility(found, document.rationales)
        return Result(
            *which,
            target=found.target,
            right=fits,
            forwards=found.forwards,
            seconds=found.seconds,
            faithfulness=faithfulness,
            plausibility=plausibility,
            failures=failures,
        )


def _attempt(scorer: Scorer, explainer: Explainer, document: InputDocument, seed: int) -> Attribution | LRPError:
    try:
        return scorer(explainer, document.text, document.text_pair, seed=seed)
    except LRPError as error:
        return error


def _sentence(error: LRPError) -> str:
    return " ".join(str(error).split())


def _labels(explainer: Explainer) -> Sequence[str]:
    outputs = getattr(explainer.config, "num_labels", None)
    return explainer.head.labels(outputs) if isinstance(outputs, int) else ()


def _check(
    models: Mapping[str, Any],
    corpora: Sequence[DocumentSet],
    methods: Sequence[str],
    perturb: Sequence[str],
    by: str,
    measures: Sequence[str],
) -> None:
    if not models or not corpora or not methods or not perturb or not measures:
        raise InputError(
            "an evaluation needs a model, a corpus, a method, a perturbation and a measure, at least one each"
        )
    for given, known, what in (
        (perturb, measured.PERTURBATIONS, "tokens are taken away by"),
        ([by], ("token", "word"), "a text is taken apart by"),
        (measures, measured.MEASURES, "measures are"),
    ):
        for each in given:
            if each not in known:
                raise InputError(f"{what} {', '.join(known)}, not {each!r}")
    if len(set(perturb)) < len(perturb):
        raise InputError("a perturbation is given twice: name each once")


def _versions(methods: Sequence[str]) -> dict[str, str]:
    names = ["textlrp", "torch", "transformers", "tokenizers", "numpy", "scipy", "scikit-learn", "statsmodels"]
    if any(method.partition(":")[0] in _CAPTUM for method in methods):
        names.append("captum")
    return {"Python": platform.python_version()} | dict(_installed(names))


def _installed(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def _machine(loader: _Loader) -> dict[str, Any]:
    import torch

    device = loader.last.classifier.device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }
