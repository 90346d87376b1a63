"""Measures whether scores are faithful to a model: units of the text are perturbed by their scores, and read again.

Units are tokens, words or sentences, and are perturbed on the text's ids. Measures are in logits of the target, unless
they name a probability. Every result states its perturbation: rules whose reference is the mask token do well under
``"mask"``, and those whose reference is zero under ``"zero"``, so a table with only one of them misleads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from textlrp.basics import options
from textlrp.errors import InputError
from textlrp.evaluate import faithfulness_measures as measures
from textlrp.evaluate.background import Background
from textlrp.evaluate.faithfulness_measures import BINS, PerturbationCurve
from textlrp.evaluate.stability import stability as stability
from textlrp.evaluate.text_units import TextUnit as TextUnit
from textlrp.evaluate.text_units import units as units
from textlrp.results.attribution import Attribution
from textlrp.results.explanation import Explanation
from textlrp.results.saved import is_format

if TYPE_CHECKING:
    from textlrp.evaluate.perturbation import Outcome, Perturbed
    from textlrp.explain.explainer import Explainer

#: The measures of one document by their names in :class:`Faithfulness`, and whether more of each is better.
MEASURES: Mapping[str, bool] = {
    "area": True,
    "area_probability": True,
    "comprehensiveness": True,
    "sufficiency": False,
    "comprehensiveness_logit": True,
    "sufficiency_logit": False,
    "leave_one_out": True,
    "infidelity": False,
    "infidelity_scaled": False,
    "shapley": True,
    "completeness_error": False,
}

#: The most units that are left out one at a time, and the number of random sets of units for infidelity.
LEFT_OUT, DRAWS = 128, 50

#: The most units of a text that is read without every set of them, 512 sets, for exact Shapley values.
SHAPLEY_UNITS = 9

#: More sets would take days, and not make the mean more precise.
MOST_DRAWS = 1_000_000

_FORMAT = 1


@dataclass(frozen=True)
class Faithfulness:
    """The faithfulness of the scores of one document.

    Attributes:
        method: the name of the method (of the rules, for an explanation).
        target, contrast: the labels.
        perturbation: ``"mask"``, ``"delete"``, ``"zero"`` or ``"replace"``.
        replacement: the token that replaced others, such as ``[MASK]``; empty if none did.
        by: the units that were perturbed: ``"token"``, ``"word"`` or ``"sentence"``.
        units: how many the text has.
        seed: of ties and draws.
        logit, probability: of the unchanged text; probabilities are None for regression.
        empty_logit, empty_probability: of the text with all units perturbed.
        morf, lerf: the curves with the most relevant units perturbed first, and with the least relevant first.
        area: between the curves of the logit; more is better (:func:`textlrp.evaluate.faithfulness_measures.area`).
        area_probability: between the curves of the probability.
        comprehensiveness: the mean of ``p(x) - p(x without its most relevant units)``; more is better.
        sufficiency: the mean of ``p(x) - p(only its most relevant units)``; less is better.
        comprehensiveness_at, sufficiency_at: the values that they average (AOPC): at 1, 5, 10, 20 and 50 % of the
            units, rounded up; empty without probabilities.
        comprehensiveness_logit, sufficiency_logit: both means for the logit, which does not saturate.
        leave_one_out: Kendall's tau-b of the scores with the fall of the logit as one unit alone is perturbed; more is
            better; None if the scores or the falls are the same for all units.
        left_out: for how many units that was measured; for a long text, a random sample.
        infidelity: in squared logits; less is better (:func:`textlrp.evaluate.faithfulness_measures.infidelity`).
        infidelity_scaled: at the best scale, 0 to 1; less is better; None if nothing changes the logit.
        draws: the number of random sets of units for infidelity.
        forwards: how many texts the model read; those read for other scores of the text are not read again.
        shapley: Pearson's correlation of the scores with the exact Shapley values of the units under the perturbation;
            more is better; None for a text of more than nine units, and if either are the same for all units.
        completeness: the sum of the scores over the fall of the logit as all units are perturbed; 1 is best; None if
            the logit does not change.
        completeness_error: its distance from 1; less is better.

    Sources: Samek et al. 2017 (curves); DeYoung et al. 2020, section 4.2 (comprehensiveness and sufficiency; the means
    are those of its published code: over the five shares, where the paper's formula divides by one more); Jain and
    Wallace 2019 (agreement with leave-one-out); Yeh et al. 2019 (infidelity); Shapley 1953 (values);
    Sundararajan et al. 2017 (completeness).
    """

    method: str
    target: str
    contrast: str | None
    perturbation: str
    replacement: str
    by: str
    units: int
    seed: int
    logit: float
    probability: float | None
    empty_logit: float
    empty_probability: float | None
    morf: PerturbationCurve
    lerf: PerturbationCurve
    area: float
    area_probability: float | None
    comprehensiveness: float | None
    sufficiency: float | None
    comprehensiveness_at: tuple[float, ...]
    sufficiency_at: tuple[float, ...]
    comprehensiveness_logit: float
    sufficiency_logit: float
    leave_one_out: float | None
    left_out: int
    infidelity: float
    infidelity_scaled: float | None
    draws: int
    forwards: int
    # Results that an earlier version saved have none of these.
    shapley: float | None = None
    completeness: float | None = None
    completeness_error: float | None = None

    @property
    def scores(self) -> dict[str, float | None]:
        """The measures by their names in :data:`MEASURES`."""
        return {name: getattr(self, name) for name in MEASURES}

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-ready values."""
        values = {"format": _FORMAT} | asdict(self) | {"morf": self.morf.to_dict(), "lerf": self.lerf.to_dict()}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Faithfulness:
        """Rebuild a result from :meth:`to_dict`.

        Raises:
            InputError: the values are not a result that this version reads.
        """
        if not isinstance(values, Mapping) or not is_format(values.get("format"), _FORMAT):
            raise InputError(f"this is not a result of faithfulness of format {_FORMAT}, which this version reads")
        try:
            arguments = {key: value for key, value in values.items() if key != "format"}
            for name in ("morf", "lerf"):
                arguments[name] = PerturbationCurve.from_dict(arguments[name])
            for name in ("comprehensiveness_at", "sufficiency_at"):
                arguments[name] = tuple(arguments[name])
            for field in fields(cls):
                if field.name in arguments or field.default is MISSING:
                    _check_kind(field.name, arguments[field.name], str(field.type))
            return cls(**arguments)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"this is not a result of faithfulness, or it was changed: {error}") from None


def _check_kind(name: str, value: Any, kind: str) -> None:
    """Check that a value is of its field's type: text, a whole number, numbers, or None if allowed."""
    if isinstance(value, PerturbationCurve):
        for part in ("shares", "logits", "probabilities"):
            _check_kind(f"{name}.{part}", getattr(value, part), "tuple[float, ...]")
    elif isinstance(value, tuple):
        for number in value:
            _check_kind(name, number, "float")
    elif value is not None or "None" not in kind:
        whole, real = options.as_whole(value), options.as_real(value)
        sound = {"str": isinstance(value, str), "int": whole is not None}.get(kind.split(" |")[0], real is not None)
        if not sound:
            raise InputError(
                f"this is not a result of faithfulness, or it was changed: {name} is {options.brief(value)}"
            )


def perturbed(
    explainer: Explainer,
    attribution: Attribution | Explanation,
    perturb: str = "mask",
    *,
    background: Background | Sequence[str] | None = None,
    seed: int = 0,
) -> Perturbed:
    """Return the text of an attribution, ready to be perturbed; attributions of the same text and target can share it.

    The options are those of :class:`textlrp.evaluate.perturbation.Perturbed`.

    Raises:
        InputError: the perturbation does not exist, or what it puts in the place of tokens is missing.
    """
    from textlrp.evaluate.perturbation import Perturbed

    return Perturbed(
        explainer,
        attribution.text,
        target=attribution.target,
        contrast=attribution.contrast,
        text_pair=attribution.text_pair,
        perturb=perturb,
        background=background,
        seed=seed,
    )


def assess(
    explainer: Explainer,
    attribution: Attribution | Explanation,
    *,
    perturb: str = "mask",
    by: str = "token",
    steps: int = 20,
    seed: int = 0,
    left_out: int = LEFT_OUT,
    draws: int = DRAWS,
    background: Background | Sequence[str] | None = None,
    known: Perturbed | None = None,
) -> Faithfulness:
    """Measure the faithfulness of an attribution.

    All measures share the model's outputs: the unchanged text and the empty one are read once.

    Args:
        explainer: the model that was scored.
        attribution: the scores of a text, or an explanation of it.
        perturb: ``"mask"``, ``"delete"``, ``"zero"`` or ``"replace"``; see
            :class:`textlrp.evaluate.perturbation.Perturbed`.
        by: ``"token"``, ``"word"`` or ``"sentence"``.
        steps: the most steps of a curve; a text of fewer units gets one for each.
        seed: of the order of ties and of random draws, which depend on the text too, but not on the method.
        left_out: the most units that are perturbed one at a time.
        draws: the number of random sets of units for infidelity.
        background: for ``"replace"``: other texts, whose tokens take the place of this text's.
        known: from :func:`perturbed`, to share outputs with other attributions of the same text and target; it has a
            background of its own.

    Raises:
        InputError: an option is invalid, the scores are not of the tokens that the model reads at once, or one of them
            is not finite.
        LRPError: the model fails on a perturbed text.
    """
    steps = options.whole(steps, "steps is a number of steps, 1 or more", 1)
    left_out = options.whole(left_out, "left_out is a number of units, 1 or more", 1)
    draws = options.whole(draws, f"draws is a number of sets of units from 1 to {MOST_DRAWS:,}", 1, MOST_DRAWS)
    seed = options.whole(seed, "seed is a whole number")
    before = 0 if known is None else known.forwards
    read = known or perturbed(explainer, attribution, perturb, background=background, seed=seed)
    _check(attribution, read, perturb, seed)
    parts = units(attribution, by)
    size, relevances = len(parts), [unit.relevance for unit in parts]
    order = measures.order(relevances, f"ties {seed} {attribution.text}")
    steps_taken, bins = measures.counts(size, steps), [measures.at_percent(size, percent) for percent in BINS]
    sample = measures.sample(size, left_out, f"left out {seed} {attribution.text}")
    sets = measures.draws(size, draws, f"draws {seed} {attribution.text}")
    # Unit i is in the set where bit i of its number is set.
    numbered = range(2**size if size <= SHAPLEY_UNITS else 0)
    removed: list[list[Iterable[int]]] = [
        [order[:count] for count in steps_taken],
        [order[size - count :] for count in steps_taken],
        [order[:count] for count in bins],
        [order[count:] for count in bins],
        [[i] for i in sample],
        list(sets),
        [[i for i in range(size) if number >> i & 1] for number in numbered],
    ]
    removals = [_tokens(parts, chosen) for group in removed for chosen in group]
    outcomes = iter(read.outcomes(removals))
    most, least, without, only, alone, random_sets, every = ([next(outcomes) for _ in group] for group in removed)
    x, empty = read.original, most[-1]
    shares = tuple(count / size for count in steps_taken)
    morf, lerf = _curve(shares, most), _curve(shares, least)
    expected = [math.fsum(relevances[i] for i in chosen) for chosen in sets]
    observed = _logit_falls(x, random_sets)
    values = measures.shapley_values([outcome.logit for outcome in every]) if every else []
    complete = measures.completeness(relevances, x.logit, empty.logit)
    return Faithfulness(
        method=attribution.method if isinstance(attribution, Attribution) else attribution.rules,
        target=read.target,
        contrast=read.contrast,
        perturbation=read.perturb,
        replacement=read.replacement,
        by=by,
        units=size,
        seed=seed,
        logit=x.logit,
        probability=x.probability,
        empty_logit=empty.logit,
        empty_probability=empty.probability,
        morf=morf,
        lerf=lerf,
        area=measures.area(morf.logits, lerf.logits, shares),
        area_probability=_area_of_probabilities(morf, lerf),
        comprehensiveness=_mean(_probability_falls(x, without)),
        sufficiency=_mean(_probability_falls(x, only)),
        comprehensiveness_at=tuple(_probability_falls(x, without)),
        sufficiency_at=tuple(_probability_falls(x, only)),
        comprehensiveness_logit=math.fsum(_logit_falls(x, without)) / len(BINS),
        sufficiency_logit=math.fsum(_logit_falls(x, only)) / len(BINS),
        leave_one_out=measures.kendall([relevances[i] for i in sample], _logit_falls(x, alone)),
        left_out=len(sample),
        infidelity=measures.infidelity(expected, observed),
        infidelity_scaled=measures.scaled_infidelity(expected, observed),
        draws=draws,
        shapley=measures.pearson(relevances, values) if values else None,
        completeness=complete,
        completeness_error=None if complete is None else abs(complete - 1),
        forwards=read.forwards - before,
    )


def _check(attribution: Attribution | Explanation, read: Perturbed, perturb: str, seed: int) -> None:
    if (read.text, read.text_pair, read.perturb) != (attribution.text, attribution.text_pair, perturb):
        raise InputError("known= belongs to another text or to another perturbation than the scores do")
    if read.perturb == "replace" and read.seed != seed:
        raise InputError(f"known= has drawn from the background with the seed {read.seed}, and seed= is {seed}")
    if (read.target, read.contrast) != (attribution.target, attribution.contrast):
        raise InputError(
            f"the scores are for {attribution.target!r} against {attribution.contrast!r}, and known= is for "
            f"{read.target!r} against {read.contrast!r}"
        )
    tokens = [(span.piece, span.special) for span in attribution.tokens]
    if tokens != list(zip(read.pieces, read.special, strict=True)):
        raise InputError(
            f"the scores are for {len(tokens)} tokens, and they are not the {len(read.special)} that the model reads "
            f"of this text at once: score the text with this model, and truncate it where it is too long"
        )
    worst = next((span for span in attribution.tokens if not math.isfinite(span.relevance)), None)
    if worst is not None:
        raise InputError(f"the score of {worst.piece!r} at character {worst.start} is {worst.relevance}, no number")


def _tokens(parts: Sequence[TextUnit], chosen: Iterable[int]) -> frozenset[int]:
    return frozenset[int]().union(*(parts[i].tokens for i in chosen))


def _curve(shares: tuple[float, ...], outcomes: Sequence[Outcome]) -> PerturbationCurve:
    probabilities = tuple(outcome.probability for outcome in outcomes if outcome.probability is not None)
    return PerturbationCurve(shares, tuple(outcome.logit for outcome in outcomes), probabilities)


def _area_of_probabilities(morf: PerturbationCurve, lerf: PerturbationCurve) -> float | None:
    return measures.area(morf.probabilities, lerf.probabilities, morf.shares) if morf.probabilities else None


def _logit_falls(x: Outcome, outcomes: Sequence[Outcome]) -> list[float]:
    return [x.logit - outcome.logit for outcome in outcomes]


def _probability_falls(x: Outcome, outcomes: Sequence[Outcome]) -> list[float]:
    if x.probability is None:
        return []
    return [x.probability - outcome.probability for outcome in outcomes if outcome.probability is not None]


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
