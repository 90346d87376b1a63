"""Methods that rules are compared with: other ways to score the tokens of a text, all called in the same way.

``scorer("occlusion")(explainer, "text", target="POS")`` is an
:class:`~textlrp.results.attribution.Attribution`. Sets of rules are scorers, too, so that one table
can compare all methods.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlrp.basics.options import brief
from textlrp.errors import InputError
from textlrp.evaluate.methods.catalog import METHODS, Method, read_options
from textlrp.evaluate.scorers import Scorer, Task
from textlrp.results.attribution import Attribution
from textlrp.results.reference import WORDLESS
from textlrp.rules import PRESETS, Rules

if TYPE_CHECKING:
    from textlrp.explain.explainer import Explainer

#: The names of the methods that are not rules.
NAMES = tuple(METHODS)

#: The cost of an explanation in forward passes: one forward, and one backward that counts as two.
EXPLANATION = 3.0

#: The cost of an explanation by difference rules, which also run the reference forward.
DIFFERENCE = 4.0

_RULES = "rules:"


def scorer(name: str) -> Scorer:
    """Return the method of this name.

    ``random``: uniform scores, different ones for each text and seed.
    ``attention``: the last layer's attention, mean over the heads, from the position that the classifier reads.
    ``rollout``: attention through all layers from there, with the residual paths (Abnar and Zuidema 2020).
    ``gradient-norm``: the Euclidean norm of the logit's gradient at a token's embedding.
    ``gradient-x-input``: that gradient times the embedding.
    ``integrated-gradients[:STEPS][:mask|pad|zero]``: from a reference in which each token is the mask token (the
    default if the tokenizer has one), the padding token, or zero (the default otherwise); 20 steps.
    ``lrp-path[:POINTS][:mask|pad|zero]``: the multipliers of the preset ``ln-lrp`` at points between such a reference
    and the text, times their difference; 2 points.
    ``occlusion[:mask|pad|delete]``: the fall of the logit when a token is replaced or deleted.
    ``lime[:SAMPLES][:mask|pad|delete]``, ``shapley[:PERMUTATIONS][:mask|pad|delete]``: sampled, by captum
    (``pip install "textlrp[captum]"``).
    Rules: a preset, ``epsilon=1e-6``, ``gamma=0.25``, or ``rules:FILE.json``.
    ``difference[:mask|pad|mean|zero]``: the preset, measured from a text of mask tokens (the default if the tokenizer
    has one), of padding, of mean embeddings (the default otherwise), or of zeros.

    Methods that replace tokens leave the special tokens; the score of these is then zero.

    Raises:
        InputError: the method does not exist, does not take the options behind its name, or its package is missing.
    """
    if not isinstance(name, str):
        raise InputError(f"a method is called by its name, not {brief(name)}")
    first, *words = name.split(":")
    if first in METHODS:
        method = METHODS[first]
        options = read_options(first, method, words)
        if method.extra and importlib.util.find_spec(method.extra) is None:
            raise InputError(
                f'{first} samples by {method.extra}, which is not installed: pip install "textlrp[{method.extra}]"'
            )
        return _method(name, method, options)
    if first == "difference" and words:
        if len(words) > 1 or words[0] not in WORDLESS:
            raise InputError(f"difference takes one of {', '.join(WORDLESS)}, not {':'.join(words)!r}")
        return _rules(name, Rules.parse(first), words[0])
    if name.startswith(_RULES):
        return _rules(name, Rules.from_json(Path(name.removeprefix(_RULES))))
    if name in PRESETS or name.partition("=")[0] in ("epsilon", "gamma"):
        return _rules(name, Rules.parse(name))
    known = [*NAMES, *PRESETS]
    near = difflib.get_close_matches(first.lower(), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InputError(f"no method is called {name!r}: there are {', '.join(known)} and rules:FILE.json{hint}")


def _method(name: str, method: Method, options: tuple[Any, ...]) -> Scorer:
    def score(task: Task) -> Attribution:
        from textlrp.evaluate.methods.passes import Passes
        from textlrp.guard.model_guard import contained

        function = getattr(importlib.import_module(f"textlrp.evaluate.methods.{method.module}"), method.function)
        if method.extra:
            importlib.import_module(f"{method.extra}.attr")
        start = time.perf_counter()
        passes = Passes(task)
        scores = contained(lambda: function(passes, task.seed, *options))
        # The scores are Python numbers, so an accelerator has finished computing them.
        return passes.attribution(name, scores, time.perf_counter() - start)

    number = next((option for option in options if isinstance(option, int)), 0)
    return Scorer(score, passes=lambda tokens: method.passes(number, tokens))


def _rules(name: str, rules: Rules, reference: str | None = None) -> Scorer:
    cost = DIFFERENCE if rules.difference else EXPLANATION

    def score(task: Task) -> Attribution:
        start = time.perf_counter()
        e = task.explainer.explain(
            task.text, task.text_pair, target=task.target, contrast=task.contrast, rules=rules, reference=reference
        )
        return Attribution(
            text=e.text,
            target=e.target,
            contrast=e.contrast,
            method=name,
            tokens=e.tokens,
            logit=e.logit,
            forwards=cost,
            seconds=time.perf_counter() - start,
            text_pair=e.text_pair,
            truncated=e.truncated,
            truncated_pair=e.truncated_pair,
        )

    def named(explainer: Explainer) -> str:
        from textlrp.explain.references import References

        read = References.read(reference, rules, explainer.classifier)
        assert read is not None
        return read.name

    return Scorer(score, named if rules.difference else None, lambda tokens: cost)
