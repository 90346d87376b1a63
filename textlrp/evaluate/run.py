"""Compares methods: models x corpora x methods, measured document by document, resumed after a stop.

Every method explains the label that the model predicts for a document, and each attribution is measured
(:mod:`textlrp.evaluate.measures`). If a method fails on a document, the run records it and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlrp.basics import extras, options
from textlrp.data.document_sets import DocumentSet, checked_limit
from textlrp.data.documents import InputDocument
from textlrp.data.fingerprints import model_facts, rules_fingerprints
from textlrp.data.short_names import method_names
from textlrp.errors import InputError, LRPError
from textlrp.evaluate import circumstances, estimate
from textlrp.evaluate import measures as measured
from textlrp.evaluate.background import DOCUMENTS, Background
from textlrp.evaluate.run_folder import SCORES, EvaluationPlan, Log, Result
from textlrp.evaluate.summary import Summary, summarize
from textlrp.explain.label_names import LabelReading
from textlrp.explain.progress import ProgressBar, say

if TYPE_CHECKING:
    from textlrp.evaluate.perturbation import Perturbed
    from textlrp.evaluate.scorers import Scorer
    from textlrp.explain.explainer import Explainer
    from textlrp.results.attribution import Attribution

#: The default methods; the others are compared with the first.
METHODS = ("attnlrp", "cp-lrp", "gradient-x-input", "integrated-gradients", "rollout", "occlusion", "random")

#: The default perturbations: two, as each favors the methods that use it as their reference.
PERTURB = ("mask", "zero")

#: The libraries for measures, intervals and tests: looked for before an evaluation spends hours.
_STATISTICS = ("scipy", "sklearn", "statsmodels")


def evaluate(
    models: Mapping[str, Callable[[], Explainer]],
    corpora: Sequence[DocumentSet],
    methods: Sequence[str] = METHODS,
    *,
    perturb: Sequence[str] = PERTURB,
    by: str = "token",
    steps: int = 20,
    measures: Sequence[str] = measured.MEASURES,
    limit: int | None = None,
    limit_costly: int | None = None,
    label_map: Mapping[str, str] | None = None,
    seed: int = 0,
    folder: Path | None = None,
    progress: bool = False,
) -> Summary:
    """Measure methods on corpora and models.

    Args:
        models: a function that loads each model, by its name in tables; one model is in memory at a time.
        corpora: the documents (:func:`textlrp.data.document_sets.read_document_sets`).
        methods: names as :func:`textlrp.evaluate.baselines.scorer` takes them; the others are
            compared with the first.
        perturb: how tokens are removed, each measured separately: ``"mask"``, ``"delete"``, ``"zero"``,
            ``"replace"`` (by tokens of the corpus's other documents).
        by: the units that are removed: ``"token"`` or ``"word"``.
        steps: the most steps of a curve; a text of fewer units gets one for each.
        measures: ``"faithfulness"``, ``"plausibility"`` or both.
        limit: the most documents of each corpus, drawn at random. Default: all.
        limit_costly: the most of these for methods that take more than :data:`textlrp.evaluate.estimate.COSTLY` forward
            passes for a document of median length, drawn at random. Default: all.
        label_map: what labels of the corpora mean, by the label (:func:`textlrp.explain.label_names.read_labels`).
        seed: of methods that sample, documents that are drawn, intervals and tests.
        folder: gets each result at once; a stopped run there goes on. Default: no folder.
        progress: whether to say on standard error how long it takes, and how far it is.

    Raises:
        InputError: an option is invalid, labels of a corpus can be read in two ways, or the folder holds a run with
            other options or data.
        LRPError: a model cannot be loaded, or a library of the extra ``evaluate`` is not installed.
        EvaluationStopped: Ctrl-C; it has what is measured.
    """
    from textlrp.evaluate import baselines

    _check(models, corpora, methods, perturb, by, measures)
    for library in _STATISTICS:
        extras.check(library, "evaluate", "an evaluation")
    limit, limit_costly = checked_limit(limit), checked_limit(limit_costly, "limit_costly")
    seed = options.whole(seed, "seed is a whole number, 0 or more", 0)
    scorers = dict(zip(method_names(methods), map(baselines.scorer, methods), strict=True))
    corpora = [corpus.sample(limit, seed) for corpus in corpora]
    loader = _Loader(models)
    facts, references, lengths, readings = _facts(models, loader, scorers, corpora, by, label_map)
    said = dict.fromkeys(
        f"{corpus}: {sentence}" for (_, corpus), reading in readings.items() for sentence in reading.sentences
    )
    plan = EvaluationPlan(
        methods=tuple(scorers),
        perturb=tuple(perturb) if "faithfulness" in measures else (),
        by=by,
        steps=options.whole(steps, "steps is a number of steps of a curve, 1 or more", 1),
        measures=tuple(measures),
        limit=limit,
        limit_costly=limit_costly,
        label_map=dict(label_map or {}),
        readings=tuple(said),
        costly=estimate.costly(scorers, corpora, limit_costly, lengths),
        seed=seed,
        rules=dict(zip(method_names(list(rules := rules_fingerprints(methods))), rules.values(), strict=True)),
        models=facts,
        corpora=tuple(
            corpus.to_dict() | ({} if corpus.available is None else {"available": corpus.available})
            for corpus in corpora
        ),
        versions=circumstances.versions(methods),
        machine=circumstances.machine(loader.last),
        references=references,
        background=_background_facts(perturb, measures, scorers.values()),
    )
    with Log(plan, folder) as log:
        try:
            if progress:
                for sentence in said:
                    say(sentence)
            _measure(models, corpora, scorers, log, loader, lengths, readings, progress)
            return summarize(log.plan, log.results.values())
        except KeyboardInterrupt:
            raise EvaluationStopped(log.plan, tuple(log.results.values())) from None


class EvaluationStopped(KeyboardInterrupt):
    """Ctrl-C during an evaluation.

    Args:
        plan: the plan of the evaluation.
        results: what is measured.
    """

    def __init__(self, plan: EvaluationPlan, results: tuple[Result, ...]) -> None:
        super().__init__("the evaluation was stopped")
        self.plan, self.results = plan, results

    def summary(self) -> Summary:
        """Return the tables of what is measured."""
        return summarize(self.plan, self.results)


def _measure(
    models: Iterable[str],
    corpora: Sequence[DocumentSet],
    scorers: Mapping[str, Scorer],
    log: Log,
    loader: _Loader,
    lengths: estimate.Lengths,
    readings: Mapping[tuple[str, str], LabelReading],
    progress: bool,
) -> None:
    """Measure what is not measured yet."""
    runs = [_Run(name, corpus, scorers, log, readings[name, corpus.name]) for name in models for corpus in corpora]
    if progress:
        for line in (*estimate.cuts(log.plan, corpora), *_expected(log, runs, loader, lengths)):
            say(line)
    done = len(log.results)
    total = done + sum(len(missing) for run in runs for _, missing in run.pending())
    with ProgressBar("evaluating", total, progress, before=done) as bar:
        for run in runs:
            if run.pending():
                run(loader(run.model), bar)


def _facts(
    models: Iterable[str],
    loader: _Loader,
    scorers: Mapping[str, Scorer],
    corpora: Sequence[DocumentSet],
    by: str,
    label_map: Mapping[str, str] | None,
) -> tuple[tuple[dict[str, Any], ...], dict[str, str], estimate.Lengths, dict[tuple[str, str], LabelReading]]:
    """Return the facts of each model, by method the references of difference rules, the lengths of documents, and how
    the labels of each corpus are read for each model."""
    facts, references = [], dict[str, dict[str, None]]()
    readings: dict[tuple[str, str], LabelReading] = {}
    lengths: estimate.Lengths = {}
    for name in models:
        explainer = loader(name)
        facts.append(model_facts(name, explainer))
        for corpus in corpora:
            readings[name, corpus.name] = explainer.head.read(corpus.all_labels, explainer.labels, label_map)
        lengths.update({(name, corpus.name): estimate.lengths(explainer, corpus, by) for corpus in corpora})
        for method, scorer in scorers.items():
            if scorer.reference is not None:
                with suppress(InputError):  # the model has no such token: its documents will say so
                    references.setdefault(method, {})[scorer.reference(explainer)] = None
    return tuple(facts), {method: ", ".join(named) for method, named in references.items()}, lengths, readings


def _expected(log: Log, runs: Sequence[_Run], loader: _Loader, lengths: estimate.Lengths) -> Iterator[str]:
    """Yield a sentence on what is left to do: passes and seconds, by documents that are timed.

    Models are timed from the last, which is in memory, to the first, which is measured first.
    """
    plan, costs = log.plan, []
    pending = [(run, [missing for _, missing in run.pending()]) for run in runs]
    for run, missing in reversed(pending):
        sizes = lengths[run.model, run.corpus.name]
        if missing and sizes:
            typical = estimate.median(sizes)
            explainer = loader(run.model)
            speed = estimate.timed(explainer, typical, run.scorers, plan, run.background(explainer))
            costs.append(estimate.cost(sizes, speed, run.scorers, plan, missing))
    if costs:
        yield estimate.sentence(plan, len(log.results), sum(len(methods) for _, m in pending for methods in m), costs)


def _background_facts(perturb: Sequence[str], measures: Sequence[str], scorers: Iterable[Scorer]) -> dict[str, int]:
    """Return the most documents of a background and the draws from it, or nothing if none is needed."""
    from textlrp.evaluate.perturbation import DRAWS

    replaces = "faithfulness" in measures and "replace" in perturb
    needed = replaces or any(scorer.needs_background for scorer in scorers)
    return ({"documents": DOCUMENTS} if needed else {}) | ({"draws": DRAWS} if replaces else {})


class _Loader:
    """Loads models by name, and keeps the last one."""

    def __init__(self, models: Mapping[str, Callable[[], Explainer]]) -> None:
        self._models = models
        self._last: tuple[str, Explainer] | None = None

    def __call__(self, name: str) -> Explainer:
        if self._last is None or self._last[0] != name:
            self._last = None  # frees its memory before the next is loaded
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
    reading: LabelReading

    def __post_init__(self) -> None:
        plan = self.log.plan
        self._costly = set(plan.costly.get(self.corpus.name, ()))
        self._few = {document.id for document in self.corpus.sample(plan.limit_costly, plan.seed).documents}
        self._background: Background | None = None

    def background(self, explainer: Explainer) -> Background | None:
        """Return the tokens of the corpus that methods and perturbations take, or None if they take none."""
        if self._background is None and self.log.plan.background:
            texts = [text for d in self.corpus.documents for text in (d.text, d.text_pair) if text is not None]
            self._background = Background.of(explainer, texts, self.log.plan.seed)
        return self._background

    def pending(self) -> list[tuple[InputDocument, list[str]]]:
        """Return the documents with the methods that are not measured yet."""
        documents = [
            (
                document,
                [
                    method
                    for method in self._methods(document)
                    if (self.model, self.corpus.name, method, document.id) not in self.log.results
                ],
            )
            for document in self.corpus.documents
        ]
        return [(document, methods) for document, methods in documents if methods]

    def _methods(self, document: InputDocument) -> list[str]:
        """Return the methods that a document is measured with, in order."""
        return [method for method in self.scorers if method not in self._costly or document.id in self._few]

    def __call__(self, explainer: Explainer, bar: ProgressBar) -> None:
        right = self.corpus.right(self.reading)
        warm: set[str] = set()
        for document, methods in self.pending():
            known: dict[str, Perturbed] = {}
            self._read_again(explainer, document, methods, known)
            for method in methods:
                if method not in warm:  # the first call loads and caches: it is not timed
                    warm.add(method)
                    self._attempt(explainer, document, method)
                self.log.add(self._result(explainer, document, method, right.get(document.id), known))
                bar.advance()

    def _read_again(
        self, explainer: Explainer, document: InputDocument, methods: Sequence[str], known: dict[str, Perturbed]
    ) -> None:
        """Measure again the methods that were measured before the run was stopped, so that their outputs are known.

        A method is charged for outputs that no earlier method needed. Without this, the first method after a stop
        within a document would be charged for outputs of earlier methods.
        """
        for method in self._methods(document):
            if method in methods:
                return  # methods are measured in order, so the missing ones come last
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
        key = (self.model, self.corpus.name, method, document.id)
        scores = self._attempt(explainer, document, method)
        if isinstance(scores, LRPError):
            return Result(*key, failures={SCORES: _sentence(scores)})
        fits = None if right is None else scores.target in right
        faithfulness: dict[str, Mapping[str, Any]] = {}
        failures: dict[str, str] = {}
        for perturb in plan.perturb:
            try:
                faithfulness[perturb] = measured.faithfulness(
                    explainer, scores, perturb, plan, known, self.background(explainer)
                )
            except LRPError as error:
                failures[perturb] = _sentence(error)
        plausibility: Mapping[str, float] = {}
        # People marked reasons for the right labels only.
        if "plausibility" in plan.measures and (fits or not self.reading.of(self.corpus.labels[document.id])):
            plausibility = measured.plausibility(scores, document.rationales)
        return Result(
            *key,
            target=scores.target,
            right=fits,
            forwards=scores.forwards,
            seconds=scores.seconds,
            faithfulness=faithfulness,
            plausibility=plausibility,
            failures=failures,
        )

    def _attempt(self, explainer: Explainer, document: InputDocument, method: str) -> Attribution | LRPError:
        seed, background = self.log.plan.seed, self.background(explainer)
        try:
            return self.scorers[method](explainer, document.text, document.text_pair, seed=seed, background=background)
        except LRPError as error:
            return error


def _sentence(error: LRPError) -> str:
    return " ".join(str(error).split())


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
    for names, known, subject in (
        (perturb, measured.PERTURBATIONS, "tokens are removed by"),
        ([by], ("token", "word"), "units are removed by"),
        (measures, measured.MEASURES, "measures are"),
    ):
        for name in names:
            if name not in known:
                raise InputError(f"{subject} {', '.join(known)}, not {name!r}")
    if len(set(perturb)) < len(perturb):
        raise InputError("a perturbation is given twice: name each once")
