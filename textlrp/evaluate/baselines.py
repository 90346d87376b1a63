"""What rules are measured against: other ways to score the tokens of a text, all called in the same way.

``scorer("occlusion")(explainer, "text", target="POS")`` is an
:class:`~textlrp.results.attribution.Attribution`. Sets of rules are scorers, too, so that one table holds all.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlrp.basics.options import brief, whole
from textlrp.errors import InputError
from textlrp.results.attribution import Attribution, Scorer
from textlrp.rules import PRESETS, Rules

if TYPE_CHECKING:
    from textlrp.explain.explainer import Explainer

#: What a token can be replaced by; the default is the first that the tokenizer has a token for.
REPLACEMENTS = ("mask", "pad", "delete")

#: What an explanation costs in forward passes: one forward, and a backward that counts two.
EXPLANATION = 3.0

_RULES = "rules:"


@dataclass(frozen=True)
class Method:
    """A method and what can be said of it behind its name, as in ``"integrated-gradients:50:zero"``.

    Attributes:
        module: where it lives; what needs torch is loaded when it is first asked for.
        function: ``function(passes, seed, ...)`` returns the score of each id.
        count: the default of the number that it takes, or None for no number.
        counted: what that number counts.
        choices: the words that it takes, of which it takes one.
        most: the largest number that it takes: more changes nothing that can be told, and takes days.
        extra: the package that it needs, which is an extra of textlrp, or empty.
    """

    module: str
    function: str
    count: int | None = None
    counted: str = ""
    choices: tuple[str, ...] = ()
    extra: str = ""
    most: int = 1_000_000


#: The methods by name. Sources: Abnar and Zuidema 2020 (rollout); Sundararajan et al. 2017 (integrated gradients);
#: Zeiler and Fergus 2014, Li et al. 2016 (occlusion); Ribeiro et al. 2016 (LIME); Castro et al. 2009 (Shapley values).
METHODS = {
    "random": Method("passes", "random"),
    "attention": Method("attention", "attention"),
    "rollout": Method("attention", "rollout"),
    "gradient-norm": Method("gradients", "gradient_norm"),
    "gradient-x-input": Method("gradients", "gradient_x_input"),
    "integrated-gradients": Method(
        "gradients", "integrated_gradients", 20, "steps", ("mask", "pad", "zero"), most=1000
    ),
    "lrp-path": Method("paths", "lrp_path", 2, "points", ("mask", "pad", "zero"), most=1000),
    "occlusion": Method("sampling", "occlusion", choices=REPLACEMENTS),
    "lime": Method("sampling", "lime", 200, "samples", REPLACEMENTS, "captum"),
    "shapley": Method("sampling", "shapley", 20, "permutations", REPLACEMENTS, "captum"),
}
NAMES = tuple(METHODS)


def scorer(name: str) -> Scorer:
    """Return the method of that name.

    ``random``: uniform scores, other ones for each text and seed.
    ``attention``: the last layer's attention, mean over the heads, from the position that the classifier reads.
    ``rollout``: attention through all layers from there, with the residual paths (Abnar and Zuidema 2020).
    ``gradient-norm``: the Euclidean norm of the logit's gradient at a token's embedding.
    ``gradient-x-input``: that gradient times the embedding.
    ``integrated-gradients[:STEPS][:mask|pad|zero]``: from a reference where each token is the mask token (the default
    where the tokenizer has one), the padding token, or zero (the default otherwise); 20 steps.
    ``lrp-path[:POINTS][:mask|pad|zero]``: the multipliers of the preset ``ln-lrp`` at points between such a reference
    and the text, times their difference; 2 points.
    ``occlusion[:mask|pad|delete]``: what the logit loses when a token is replaced or left out.
    ``lime[:SAMPLES][:mask|pad|delete]``, ``shapley[:PERMUTATIONS][:mask|pad|delete]``: sampled, by captum
    (``pip install "textlrp[captum]"``).
    Rules: a preset, ``epsilon=1e-6``, ``gamma=0.25``, or ``rules:FILE.json``.

    Special tokens of the tokenizer stay where a method replaces tokens; their score is then zero.

    Raises:
        InputError: there is no such method, it does not take what stands behind its name, or its package is missing.
    """
    if not isinstance(name, str):
        raise InputError(f"a method is called by its name, not {brief(name)}")
    first, *said = name.split(":")
    if first in METHODS:
        method = METHODS[first]
        options = _options(first, method, said)
        if method.extra and importlib.util.find_spec(method.extra) is None:
            raise InputError(
                f'{first} samples by {method.extra}, which is not installed: pip install "textlrp[{method.extra}]"'
            )
        return _method(name, method, options)
    if name.startswith(_RULES):
        return _rules(name, Rules.from_json(Path(name.removeprefix(_RULES))))
    if name in PRESETS or name.partition("=")[0] in ("epsilon", "gamma"):
        return _rules(name, Rules.parse(name))
    known = [*NAMES, *PRESETS]
    near = difflib.get_close_matches(first.lower(), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InputError(f"no method is called {name!r}: there are {', '.join(known)} and rules:FILE.json{hint}")


def _method(name: str, method: Method, options: tuple[Any, ...]) -> Scorer:
    def score(
        explainer: Explainer,
        text: str,
        text_pair: str | None = None,
        *,
        target: str | int | None = None,
        contrast: str | int | None = None,
        seed: int = 0,
    ) -> Attribution:
        from textlrp.evaluate.methods.passes import Passes
        from textlrp.guard.model_guard import contained

        function = getattr(importlib.import_module(f"textlrp.evaluate.methods.{method.module}"), method.function)
        if method.extra:
            importlib.import_module(f"{method.extra}.attr")
        seed = whole(seed, "seed is a whole number")
        start = time.perf_counter()
        passes = Passes(explainer, text, text_pair, target, contrast)
        scores = contained(lambda: function(passes, seed, *options))
        # The scores are numbers by now, so an accelerator is through with them.
        return passes.attribution(name, scores, time.perf_counter() - start)

    return score


def _rules(name: str, rules: Rules) -> Scorer:
    def score(
        explainer: Explainer,
        text: str,
        text_pair: str | None = None,
        *,
        target: str | int | None = None,
        contrast: str | int | None = None,
        seed: int = 0,
    ) -> Attribution:
        whole(seed, "seed is a whole number")
        start = time.perf_counter()
        e = explainer.explain(text, text_pair, target=target, contrast=contrast, rules=rules)
        return Attribution(
            text=text,
            target=e.target,
            contrast=e.contrast,
            method=name,
            tokens=e.tokens,
            logit=e.logit,
            forwards=EXPLANATION,
            seconds=time.perf_counter() - start,
            text_pair=text_pair,
            truncated=e.truncated,
            truncated_pair=e.truncated_pair,
        )

    return score


def _options(name: str, method: Method, said: Sequence[str]) -> tuple[Any, ...]:
    """Return what a method is given behind passes and seed: its number and its word, those that it takes.

    Raises:
        InputError: it does not take what was said.
    """
    takes = [f"a number of {method.counted}"] if method.count is not None else []
    takes += [f"one of {', '.join(method.choices)}"] if method.choices else []
    takes_number = method.count is not None
    numbers = [part.lstrip("0") for part in said if takes_number and part.isascii() and part.isdecimal()]
    words = [part for part in said if part in method.choices]
    if len(numbers) + len(words) < len(said) or len(numbers) > 1 or len(words) > 1 or "" in numbers:
        raise InputError(f"{name} takes {' and '.join(takes) or 'no options'}, not {':'.join(said)!r}")
    if numbers and (len(numbers[0]) > len(str(method.most)) or int(numbers[0]) > method.most):
        raise InputError(f"{name} takes up to {method.most:,} {method.counted}, not {numbers[0][:20]}")
    given: list[Any] = [*map(int, numbers), method.count][:1] if method.count is not None else []
    return (*given, *([*words, None][:1] if method.choices else []))
