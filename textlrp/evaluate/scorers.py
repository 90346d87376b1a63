"""The signature that every method of attribution is called with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlrp.basics.options import whole
from textlrp.evaluate.background import Background, read_background

if TYPE_CHECKING:
    from textlrp.explain.explainer import Explainer
    from textlrp.results.attribution import Attribution


@dataclass(frozen=True)
class Task:
    """A text for a method to score: the arguments of :meth:`Scorer.__call__`."""

    explainer: Explainer
    text: str
    text_pair: str | None
    target: str | int | None
    contrast: str | int | None
    seed: int
    background: Background | None = None


@dataclass(frozen=True)
class Scorer:
    """A method that scores the tokens of a text for a label (default: the predicted one).

    Attributes:
        method: scores a text.
        reference: names what difference rules measure the texts of a model from; None for other methods.
        needs_background: whether the method takes tokens of other texts.
        passes: about how many forward passes it takes for a text of that many tokens, special ones not counted.
    """

    method: Callable[[Task], Attribution]
    reference: Callable[[Explainer], str] | None = None
    needs_background: bool = False
    passes: Callable[[int], float] = lambda tokens: 1

    def __call__(
        self,
        explainer: Explainer,
        text: str,
        text_pair: str | None = None,
        *,
        target: str | int | None = None,
        contrast: str | int | None = None,
        seed: int = 0,
        background: Background | Sequence[str] | None = None,
    ) -> Attribution:
        """Return the scores of the tokens.

        Args:
            explainer: the model.
            text, text_pair, target, contrast: see :meth:`textlrp.Explainer.explain`.
            seed: of methods that draw at random.
            background: other texts, for methods that need them; this text is left out of them.

        Raises:
            InputError: the text, a label, the seed or the background cannot be used as given.
            LRPError: the method fails on this text or model; the message says why.
        """
        seed = whole(seed, "seed is a whole number")
        known = read_background(background, explainer) if self.needs_background else None
        return self.method(Task(explainer, text, text_pair, target, contrast, seed, known))
