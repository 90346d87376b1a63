"""Methods that rules are compared with: other ways to score the tokens of a text, all called in the same way.

``scorer("occlusion")(explainer, "text", target="POS")`` is an
:class:`~textlrp.results.attribution.Attribution`. Sets of rules are scorers, too, so that one table
can compare all methods.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
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

#: The cost of an explanation by difference rules, which also run the reference forward; for each reference.
DIFFERENCE = 4.0

_RULES = "rules:"

#: The options of ``difference:documents``.
_STRETCHES = Method("", "", 4, "stretches", most=1000)


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
    ``beam[:WIDTH][:mask|delete|zero]``: ranks, by a search for the order with the largest area between the curves
    (:func:`textlrp.evaluate.faithfulness_measures.area`) as tokens are removed in this way (default: mask); keeps 4
    sets of each size. It is a ceiling to compare with, for texts of up to 24 tokens.
    ``lime[:SAMPLES][:mask|pad|delete]``, ``shapley[:PERMUTATIONS][:mask|pad|delete]``: sampled, by captum
    (``pip install "textlrp[captum]"``).
    Rules: a preset, ``epsilon=1e-6``, ``gamma=0.25``, or ``rules:FILE.json``.
    ``difference[:mask|pad|mean|zero]``: the preset, measured from a text of mask tokens (the default if the tokenizer
    has one), of padding, of mean embeddings (the default otherwise), or of zeros.
    ``difference:documents[:N]``: the preset, averaged over N stretches of other documents, each as long as the text's
    own tokens; special tokens stay. It needs ``background=``, and costs N times as much; 4 stretches.

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
    if first == "difference" and words[:1] == ["documents"]:
        (number,) = read_options("difference:documents", _STRETCHES, words[1:])
        return _from_documents(name, Rules.parse(first), number)
    if first == "difference" and words:
        if len(words) > 1 or words[0] not in WORDLESS:
            raise InputError(f"difference takes one of {', '.join(WORDLESS)}, documents, not {':'.join(words)!r}")
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
    def named(explainer: Explainer) -> str:
        from textlrp.explain.references import References

        read = References.read(reference, rules, explainer.classifier)
        assert read is not None
        return read.name

    cost = DIFFERENCE if rules.difference else EXPLANATION
    explained = partial(_explained, name, rules=rules, references=[reference])
    return Scorer(explained, named if rules.difference else None, passes=lambda tokens: cost)


def _from_documents(name: str, rules: Rules, number: int) -> Scorer:
    def score(task: Task) -> Attribution:
        if task.background is None:
            raise InputError(
                f"{name} measures a text from stretches of other texts: background= takes a list of texts like this one"
            )
        encoding = task.explainer.encode(task.text, task.text_pair)
        own = [ids for ids in encoding.tokens if not encoding.special[ids[0]]]
        references = []
        for stretch in task.background.stretches(task.text, task.text_pair, len(own), number, task.seed):
            placed = {i: token for ids, token in zip(own, stretch, strict=True) for i in ids}
            references.append([placed.get(i, token) for i, token in enumerate(encoding.input_ids)])
        return _explained(name, task, rules, references)

    says = f"{number} stretches of other documents" if number > 1 else "a stretch of other documents"
    return Scorer(score, lambda explainer: says, needs_background=True, passes=lambda tokens: DIFFERENCE * number)


def _explained(name: str, task: Task, rules: Rules, references: Sequence[Any]) -> Attribution:
    """Return the mean relevance over references, each explained for itself so that its logit is known."""
    start = time.perf_counter()
    found = [
        task.explainer.explain(
            task.text, task.text_pair, target=task.target, contrast=task.contrast, rules=rules, reference=reference
        )
        for reference in references
    ]
    e = found[0]
    columns = zip(*(one.tokens for one in found), strict=True)
    means = [math.fsum(span.relevance for span in spans) / len(found) for spans in columns]
    return Attribution(
        text=e.text,
        target=e.target,
        contrast=e.contrast,
        method=name,
        tokens=tuple(replace(span, relevance=mean) for span, mean in zip(e.tokens, means, strict=True)),
        logit=e.logit,
        forwards=DIFFERENCE * len(found) if rules.difference else EXPLANATION,
        seconds=time.perf_counter() - start,
        text_pair=e.text_pair,
        truncated=e.truncated,
        truncated_pair=e.truncated_pair,
        reference_logits=tuple(
            one.reference.logit(one.target, one.contrast) for one in found if one.reference is not None
        ),
    )
