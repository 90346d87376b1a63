"""A search for the order of tokens with the largest area between the curves: the ceiling of that measure.

With ``T_k`` the k most relevant of n tokens, the area is ``1/n sum_k f(only T_k kept) - f(T_k removed)``, so the best
order is the chain of sets ``T_1 < T_2 < ...`` with the largest sum. The search keeps the best few sets of each size. It
reads hundreds of texts, and is for short texts. A measured curve has 20 steps at most: with more tokens, the
ceiling is that of a finer curve.
"""

from __future__ import annotations

import random

from textlrp.errors import InputError
from textlrp.evaluate.methods.passes import Passes
from textlrp.evaluate.perturbation import MASK

#: The most tokens of a text that is searched: twice as many take four times as many passes, and the search finds less.
LONGEST = 24


def beam(passes: Passes, seed: int, width: int, perturb: str | None) -> list[float]:
    """Return n for the most relevant of n tokens, down to 1, by the chain with the largest area that a beam finds.

    Args:
        passes: the text.
        seed: of the order of ties.
        width: how many sets of each size are kept.
        perturb: how tokens are removed: ``"mask"`` (the default), ``"delete"`` or ``"zero"``, see
            :class:`textlrp.evaluate.perturbation.Perturbed`.

    Raises:
        InputError: the text has more than 24 tokens, or none can take the place of others.
    """
    words = frozenset(passes.words)
    if len(words) > LONGEST:
        raise InputError(
            f"beam searches texts of up to {LONGEST} tokens, and this one has {len(words):,}: choose shorter texts, or "
            f"another method"
        )
    read = passes.perturbed(perturb or MASK)
    generator = random.Random(passes.seed(seed))
    chains: dict[frozenset[int], tuple[float, tuple[int, ...]]] = {frozenset(): (0.0, ())}
    for _ in range(1, len(words)):
        grown: dict[frozenset[int], tuple[float, tuple[int, ...]]] = {}
        for top, (total, order) in chains.items():  # the best come first, so the first chain to a set is its best
            for token in words - top:
                grown.setdefault(top | {token}, (total, (*order, token)))
        tops = sorted(grown, key=sorted)
        generator.shuffle(tops)
        outcomes = read.outcomes([*(words - top for top in tops), *tops])
        pairs = zip(tops, outcomes, outcomes[len(tops) :], strict=False)
        totals = {top: grown[top][0] + kept.logit - removed.logit for top, kept, removed in pairs}
        best = sorted(tops, key=lambda top: -totals[top])[:width]
        chains = {top: (totals[top], grown[top][1]) for top in best}
    passes.forwards += read.forwards
    passes.keep_logits(read.logits)
    _, order = next(iter(chains.values()))
    ranked = [*order, *(words - {*order})]
    scores = {token: float(len(words) - rank) for rank, token in enumerate(ranked)}
    return passes.at_words([scores[token] for token in passes.words])
