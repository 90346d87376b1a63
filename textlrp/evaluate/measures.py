"""The measures of an evaluation: their names in tables, which direction is better, and their values for a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textlrp.evaluate import plausibility as marked
from textlrp.evaluate import rationales
from textlrp.evaluate.faithfulness import assess, perturbed
from textlrp.results.spans import TEXT

if TYPE_CHECKING:
    from textlrp.evaluate.background import Background
    from textlrp.evaluate.perturbation import Perturbed
    from textlrp.evaluate.run_folder import EvaluationPlan
    from textlrp.explain.explainer import Explainer
    from textlrp.results.attribution import Attribution

FAITHFULNESS, PLAUSIBILITY = "faithfulness", "plausibility"

#: The groups of measures.
MEASURES = (FAITHFULNESS, PLAUSIBILITY)

#: How tokens are removed, and the word for it.
PERTURBATIONS = {"mask": "masked", "delete": "deleted", "zero": "zeroed", "replace": "replaced"}


@dataclass(frozen=True)
class Measure:
    """A measure that gives a number for each document.

    Attributes:
        key: its name in results.
        name: its name in tables.
        more: whether more is better.
        says: its meaning in a clause.
        tested: whether tables show it and its differences are tested; the JSON has the others, too.
    """

    key: str
    name: str
    more: bool
    says: str
    tested: bool = True


#: The measures of faithfulness, the first of which ranks methods.
FAITHFUL = (
    Measure(
        "area", "area", True, "between the curves, in logits: the least relevant first minus the most relevant first"
    ),
    Measure("comprehensiveness", "compreh.", True, "how far the probability falls without the most relevant 1 to 50 %"),
    Measure("sufficiency", "suffic.", False, "how far the probability falls with the most relevant 1 to 50 % alone"),
    Measure("leave_one_out", "LOO tau", True, "Kendall's tau with the fall of the logit as one alone is removed"),
    Measure(
        "infidelity_scaled",
        "infidelity",
        False,
        "error of relevance as a prediction of the logit's change, at its best scale, 0 to 1",
    ),
    Measure("shapley", "Shapley r", True, "correlation with the exact Shapley values, for texts of up to nine units"),
    Measure(
        "completeness_error",
        "sum error",
        False,
        "how far the sum of the relevance (in logits) is from the fall of the logit as all is removed, as its share",
    ),
    Measure("infidelity", "infidelity, unscaled", False, "the same in squared logits", tested=False),
    Measure("area_probability", "area, probability", True, "the area in probabilities", tested=False),
    Measure("comprehensiveness_logit", "comprehensiveness, logit", True, "the same in logits", tested=False),
    Measure("sufficiency_logit", "sufficiency, logit", False, "the same in logits", tested=False),
)

#: The measures of plausibility, all 0 to 1.
PLAUSIBLE = (
    Measure("auprc", "AUPRC", True, "area under precision and recall of the marked words, by falling relevance"),
    Measure("token_f1", "token F1", True, "of as many words of the highest relevance as are marked"),
    Measure("iou_f1", "IOU F1", True, "of their spans, which match if they overlap by half or more"),
    Measure("pointing", "pointing", True, "how often the most relevant word is a marked one"),
)


def faithfulness(
    explainer: Explainer,
    attribution: Attribution,
    perturb: str,
    plan: EvaluationPlan,
    known: dict[str, Perturbed],
    background: Background | None = None,
) -> Mapping[str, Any]:
    """Return the result of :func:`textlrp.evaluate.faithfulness.assess` as JSON-ready values.

    Args:
        explainer: the model.
        attribution: the scores of a document.
        perturb: see there.
        plan: the plan of the evaluation: units, steps and seed.
        known: the outputs for this document that other methods needed, by perturbation; new ones are added.
        background: the other texts for ``"replace"``.

    Raises:
        LRPError: the document cannot be measured.
    """
    if perturb not in known:
        known[perturb] = perturbed(explainer, attribution, perturb, background=background, seed=plan.seed)
    return assess(
        explainer,
        attribution,
        perturb=perturb,
        by=plan.by,
        steps=plan.steps,
        seed=plan.seed,
        known=known[perturb],
    ).to_dict()


def plausibility(attribution: Attribution, marks: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Return the measures of :data:`PLAUSIBLE` against marked words; none if no word that the model read is marked."""
    words = rationales.words(attribution)
    votes = marked.marked_words(words, [(start, end, TEXT) for start, end in marks])
    if not any(votes):
        return {}
    relevances = [word.relevance for word in words]
    chosen = marked.chosen_words(relevances, sum(votes))
    return {
        "auprc": marked.auprc(relevances, votes),
        "token_f1": marked.token_f1(chosen, votes),
        "iou_f1": marked.iou_f1(marked.runs(chosen), marked.runs(votes)),
        "pointing": rationales.pointing(relevances, votes),
    }


def score(values: Mapping[str, Any], measure: Measure) -> float | None:
    """Return a measure of a document, or None if it is not defined for it."""
    value = values.get(measure.key)
    return None if value is None else float(value)
