"""Whether two texts that hardly differ get like relevance."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from textlrp.errors import InputError
from textlrp.evaluate.background import Background
from textlrp.evaluate.faithfulness_measures import kendall
from textlrp.evaluate.rationales import words

if TYPE_CHECKING:
    from textlrp.evaluate.scorers import Scorer
    from textlrp.explain.explainer import Explainer


def stability(
    explainer: Explainer,
    scorer: Scorer,
    text: str,
    other: str,
    *,
    target: str | int | None = None,
    seed: int = 0,
    background: Background | Sequence[str] | None = None,
) -> float | None:
    """Return Kendall's tau-b of the relevance of the words that two texts share: 1 is the same order, 0 is chance.

    The other text is the first with a synonym, a typo or a word more. Shared words are the longest matching blocks of
    ``difflib`` over the words in lower case, without punctuation. Both texts are explained for the same label. A model
    that reads the two texts differently lowers tau, too, so compare methods and not models.

    Args:
        explainer: the model.
        scorer: the method, from :func:`textlrp.evaluate.baselines.scorer`.
        text, other: the texts.
        target: a label; default: the one predicted for the first text.
        seed, background: see :meth:`textlrp.evaluate.scorers.Scorer.__call__`.

    Returns:
        None if all shared words of a text have the same relevance.

    Raises:
        InputError: the texts share fewer than two words, or one of them cannot be scored as given.
        LRPError: the method fails on a text.
    """
    first = scorer(explainer, text, target=target, seed=seed, background=background)
    second = scorer(explainer, other, target=first.target, seed=seed, background=background)
    ours, theirs = words(first), words(second)
    one, two = ([word.text.lower() for word in side] for side in (ours, theirs))
    blocks = SequenceMatcher(None, one, two, autojunk=False).get_matching_blocks()
    pairs = [(ours[a + i], theirs[b + i]) for a, b, size in blocks for i in range(size)]
    if len(pairs) < 2:
        raise InputError(
            f"the texts share {len(pairs)} of the words that the model reads: stability compares texts that differ in "
            f"a few words"
        )
    return kendall([word.relevance for word, _ in pairs], [word.relevance for _, word in pairs])
