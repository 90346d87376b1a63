"""What an evaluation costs, estimated before it starts: forward passes, and seconds by passes that are timed.

A document of median length stands for its corpus: methods and measures are timed on it, and other documents count by
their lengths.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from textlrp.basics.characters import printable
from textlrp.data.document_sets import DocumentSet
from textlrp.data.documents import InputDocument
from textlrp.errors import LRPError
from textlrp.evaluate import measures as measured
from textlrp.evaluate.faithfulness import DRAWS, LEFT_OUT, SHAPLEY_UNITS
from textlrp.evaluate.run_folder import EvaluationPlan
from textlrp.render.format import duration

if TYPE_CHECKING:
    from textlrp.evaluate.background import Background
    from textlrp.evaluate.perturbation import Perturbed
    from textlrp.evaluate.scorers import Scorer
    from textlrp.explain.explainer import Explainer
    from textlrp.results.attribution import Attribution

#: A method is costly if it takes more forward passes than this for a document of median length.
COSTLY = 100

#: How many documents of a corpus are looked at, at most, for their lengths.
_SAMPLE = 200

#: What is expected to take more seconds than this is not run to be timed, but computed from single passes.
_TIMED = 2.0

#: The most texts in a batch that is timed.
_ROWS = 16

_Result = TypeVar("_Result")

#: The lengths of documents, in rising order, by the names of a model and a corpus.
Lengths: TypeAlias = "dict[tuple[str, str], list[Length]]"


class Length(NamedTuple):
    """The length of a document: its tokens without special ones, and the units that are removed."""

    tokens: int
    units: int
    document: InputDocument


@dataclass(frozen=True)
class Speed:
    """Seconds that the document of median length takes.

    Attributes:
        methods: to score its tokens, by method.
        first: to measure its first method, by perturbation.
        further: to measure a further method, which shares outputs of the model with the first, by perturbation.
    """

    methods: Mapping[str, float]
    first: Mapping[str, float]
    further: Mapping[str, float]


class Cost(NamedTuple):
    """Forward passes and seconds."""

    passes: float
    seconds: float


def lengths(explainer: Explainer, corpus: DocumentSet, by: str) -> list[Length]:
    """Return the lengths of a sample of the documents, in rising order; a document that cannot be read has none."""
    found = []
    for document in corpus.sample(_SAMPLE).documents:
        try:
            encoding = explainer.encode(document.text, document.text_pair)
        except LRPError:
            continue
        tokens = max(1, sum(not encoding.special[i] for i, *_ in encoding.tokens))
        words = max(1, len(f"{document.text} {document.text_pair or ''}".split()))
        found.append(Length(tokens, min(tokens, words) if by == "word" else tokens, document))
    return sorted(found, key=lambda length: length.tokens)


def median(sizes: Sequence[Length]) -> Length:
    """Return the document of median length."""
    return sizes[len(sizes) // 2]


def costly(
    scorers: Mapping[str, Scorer], corpora: Sequence[DocumentSet], limit_costly: int | None, lengths: Lengths
) -> dict[str, tuple[str, ...]]:
    """Return the costly methods, under any of the models, of each corpus that has more documents than their limit."""
    found: dict[str, tuple[str, ...]] = {}
    for corpus in corpora:
        if limit_costly is not None and limit_costly < len(corpus.documents):
            sizes = [sizes for (_, name), sizes in lengths.items() if name == corpus.name and sizes]
            tokens = max((median(each).tokens for each in sizes), default=0)
            methods = tuple(name for name, scorer in scorers.items() if scorer.passes(tokens) > COSTLY)
            found |= {corpus.name: methods} if methods else {}
    return found


def cuts(plan: EvaluationPlan, corpora: Sequence[DocumentSet]) -> Iterator[str]:
    """Yield a sentence for each limit that leaves documents out."""
    for corpus in corpora:
        name, count = printable(corpus.name), len(corpus.documents)
        if corpus.available is not None:
            yield f"{name}: {count:,} of {corpus.available:,} documents, drawn at random; --limit 0 takes all"
        if methods := plan.costly.get(corpus.name, ()):
            yield (
                f"{name}: {plan.limit_costly:,} of its {count:,} documents for {', '.join(map(printable, methods))}, "
                f"more than {COSTLY} forward passes each; --limit-costly 0 takes all"
            )


def reads(units: int, steps: int, texts: int, *, first: bool) -> int:
    """Return about how many texts the model reads to measure a method by one perturbation.

    Each method needs its own curves. The first method of a document also needs what all methods share: the text
    without each unit alone, and without random units; of a short text, every set of its units.

    Args:
        units: how many the text has.
        steps: the most steps of a curve; the shares of a text that are taken away or kept are nearly all among them.
        texts: how many are read for each set of units.
        first: whether it is the first method of a document.
    """
    if units <= SHAPLEY_UNITS:
        return texts * 2**units if first else 0
    return texts * (2 * min(steps, units) + (min(LEFT_OUT, units) + DRAWS if first else 0))


def timed(
    explainer: Explainer,
    typical: Length,
    scorers: Mapping[str, Scorer],
    plan: EvaluationPlan,
    background: Background | None,
) -> Speed:
    """Time methods and measures on a document of median length."""
    document, one = typical.document, _pass(explainer, typical.document)
    methods: dict[str, float] = {}
    scores: list[Attribution] = []
    for name, scorer in scorers.items():
        methods[name] = one * scorer.passes(typical.tokens)
        if methods[name] <= _TIMED:
            texts = (document.text, document.text_pair)
            done = _twice(partial(scorer, explainer, *texts, seed=plan.seed, background=background))
            if done is not None:
                methods[name] = done[0]
                scores.append(done[1])
    first, further = (
        {perturb: one * reads(typical.units, plan.steps, _texts(plan, perturb), first=it) for perturb in plan.perturb}
        for it in (True, False)
    )
    for perturb in plan.perturb:
        if scores and first[perturb] <= _TIMED:
            measures = _twice(partial(_measure, explainer, scores, perturb, plan, background))
            # A perturbation that fails on this document fails at once on most.
            first[perturb], *rest = (0.0, 0.0) if measures is None else measures[1]
            further[perturb] = fmean(rest or [first[perturb]])
    return Speed(methods, first, further)


def _texts(plan: EvaluationPlan, perturb: str) -> int:
    """Return how many texts are read for each set of units."""
    return plan.background["draws"] if perturb == "replace" else 1


def cost(
    sizes: Sequence[Length],
    speed: Speed,
    scorers: Mapping[str, Scorer],
    plan: EvaluationPlan,
    pending: Sequence[Sequence[str]],
) -> Cost:
    """Return the cost of the methods that are to be measured on each document of a corpus.

    Args:
        sizes: lengths of a sample of the corpus.
        speed: from :func:`timed`.
        scorers: by method.
        plan: the plan of the evaluation.
        pending: for each document that is not done, its methods.
    """
    counts = Counter(method for methods in pending for method in methods)
    parts = [(n, scorers[method].passes, speed.methods[method]) for method, n in counts.items()]
    measured_first, measured_further = len(pending), counts.total() - len(pending)
    typical = median(sizes)
    passes = seconds = 0.0
    for count, of_tokens, took in parts:
        passes += count * fmean(of_tokens(size.tokens) for size in sizes)
        seconds += count * took * _relative([of_tokens(s.tokens) for s in sizes], sizes, of_tokens(typical.tokens))
    for first, count, took_by in ((True, measured_first, speed.first), (False, measured_further, speed.further)):
        for perturb, took in took_by.items():
            read = [reads(size.units, plan.steps, _texts(plan, perturb), first=first) for size in sizes]
            of_typical = reads(typical.units, plan.steps, _texts(plan, perturb), first=first)
            if not of_typical:  # the typical text shares all it needs, and longer ones do not
                of_typical = reads(typical.units, plan.steps, _texts(plan, perturb), first=True)
                took = speed.first[perturb]
            passes += count * fmean(read)
            seconds += count * took * _relative(read, sizes, of_typical)
    return Cost(passes, seconds)


def sentence(plan: EvaluationPlan, done: int, missing: int, costs: Sequence[Cost]) -> str:
    """Return what is to do, in a sentence.

    Args:
        plan: the plan of the evaluation.
        done, missing: how many results there are, and how many are not.
        costs: the parts of the cost of the missing ones.
    """
    passes, seconds = (sum(values) for values in zip(*costs, strict=True))
    left = f"about {float(f'{passes:.2g}'):,.0f} forward passes"
    left += f", about {duration(seconds)}" if math.isfinite(seconds) else ""
    if done:
        return f"going on after {done:,} of {done + missing:,} results: {left}"
    documents = sum(corpus["documents"] for corpus in plan.corpora)
    counts = [(documents, "document"), (len(plan.methods), "method"), (len(plan.perturb), "perturbation")]
    counts += [(len(plan.models), "model")]
    listed = " x ".join(f"{count:,} {noun}{'' if count == 1 else 's'}" for count, noun in counts if count)
    return f"evaluating {listed}: {left}"


def _relative(passes: Sequence[float], sizes: Sequence[Length], typical: float) -> float:
    """Return the mean time of documents relative to that of the document of median length."""
    of_median = median(sizes).tokens
    return fmean(p * size.tokens / (typical * of_median) for p, size in zip(passes, sizes, strict=True))


def _pass(explainer: Explainer, document: InputDocument) -> float:
    """Return the seconds of a plain pass of a document, in a batch if that is quick; infinite if it fails."""
    from textlrp.explain.batching import IDS

    classifier, encoding = explainer.classifier, explainer.encode(document.text, document.text_pair)

    def run(rows: int) -> float:
        done = _twice(lambda: classifier.logits(classifier.pad([encoding] * rows)).cpu())
        return math.inf if done is None else done[0] / rows

    alone = run(1)
    rows = max(1, min(_ROWS, IDS // len(encoding.input_ids)))
    return min(alone, run(rows)) if alone * rows <= _TIMED else alone


def _measure(
    explainer: Explainer,
    scores: Sequence[Attribution],
    perturb: str,
    plan: EvaluationPlan,
    background: Background | None,
) -> list[float]:
    """Measure several methods on a document, and return the seconds of each."""
    known: dict[str, Perturbed] = {}
    taken = []
    for attribution in scores:
        start = time.perf_counter()
        measured.faithfulness(explainer, attribution, perturb, plan, known, background)
        taken.append(time.perf_counter() - start)
    return taken


def _twice(call: Callable[[], _Result]) -> tuple[float, _Result] | None:
    """Return the seconds of a call and its result, or None if it fails.

    A call that does not take long runs again, since the first one loads and caches.
    """
    try:
        for _ in range(2):
            start = time.perf_counter()
            result = call()
            seconds = time.perf_counter() - start
            if seconds > _TIMED:
                break
    except Exception:  # whatever fails is reported where it is measured
        return None
    return seconds, result
