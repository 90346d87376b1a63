"""A score for words over many documents: does a word pull toward a label more than a word of them does by chance?"""

from __future__ import annotations

import math

#: From this score on, a word stands out: among words that pull as any other does, about one in forty reaches it.
CLEAR = 2.0


class Moments:
    """The mean and the standard deviation of numbers that are added one by one (Welford 1962)."""

    __slots__ = ("_squares", "count", "mean")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, number: float) -> None:
        """Add a number."""
        self.count += 1
        before = number - self.mean
        self.mean += before / self.count
        self._squares += before * (number - self.mean)

    @property
    def deviation(self) -> float:
        """The standard deviation, with ``count - 1`` below the sum of squares; 0 for fewer than two numbers."""
        return math.sqrt(self._squares / (self.count - 1)) if self.count > 1 else 0.0


def score(word: Moments, corpus: Moments) -> float:
    """Return how clearly a word pulls toward a label, in standard errors of its mean; negative if it pulls away.

    The score is ``(m - M) * sqrt(n) / max(s, S)``: the t-statistic of one sample (Student 1908) that the word's mean
    relevance ``m`` over ``n`` documents is that of any word of the corpus, ``M``. A frequent word whose relevance is
    that of any other has a score near 0, however large its sum is; a rare one needs a high mean. The spread is at least
    that of the corpus, ``S``: as in the statistic of Tusher, Tibshirani and Chu (2001, eq. 1), which adds a constant to
    it, a few relevances that happen to be alike do not make a word clear. If the word's own spread ``s`` is larger, as
    that of a word with a single strong document is, that one counts.

    Args:
        word: one number a document, the mean relevance of the word there: the same word twice in a text is no second
            witness.
        corpus: the relevance of every word in the same documents.
    """
    spread = max(word.deviation, corpus.deviation)
    return (word.mean - corpus.mean) * math.sqrt(word.count) / spread if spread else 0.0
