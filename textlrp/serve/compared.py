"""What an edit changed: the score of a text and that of the text before, and which words gained or lost relevance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from textlrp.render import palette
from textlrp.render.format import named, number
from textlrp.render.page_parts import excerpt
from textlrp.results.explanation import Explanation
from textlrp.results.spans import Span
from textlrp.serve.worker import Message

# The most words in the table of changes.
_ROWS = 12
# The most words of a text in which those that stayed are looked for; the search may take the square of it.
_WORDS = 4000


class Change(NamedTuple):
    """A word with its relevance in the text before and now; None where it does not stand."""

    text: str
    before: float | None
    now: float | None

    @property
    def size(self) -> float:
        """How much relevance it gained; less than 0 if it lost some."""
        return (self.now or 0.0) - (self.before or 0.0)


def changes(before: Explanation, now: Explanation, by: str = "word") -> list[Change]:
    """Return the words of two texts, in reading order: those that stayed, those that went and those that are new."""
    found: list[Change] = []
    for source in ("text", "text_pair"):
        old, new = _words(before, source, by), _words(now, source, by)
        same = _same([span.text for span in old], [span.text for span in new])
        i = j = 0
        for a, b in [*same, (len(old), len(new))]:
            found += [Change(span.text, span.relevance, None) for span in old[i:a]]
            found += [Change(span.text, None, span.relevance) for span in new[j:b]]
            if a < len(old):
                found.append(Change(old[a].text, old[a].relevance, new[b].relevance))
            i, j = a + 1, b + 1
    return found


def told(before: Explanation, now: Explanation, by: str) -> Message:
    """Return the scores of two texts for the same label, and the words whose relevance changed most."""
    found = changes(before, now, by)
    strongest = max((abs(value) for change in found for value in (change.before, change.now) if value), default=0.0)
    least = palette.THRESHOLD * strongest  # less has no color in the text, either
    changed = [change for change in found if change.size and abs(change.size) >= least]
    changed.sort(key=lambda change: -abs(change.size))
    scale = max(abs(before.logit), abs(now.logit), abs(now.logit - before.logit))
    return {
        "text": excerpt(before.text),
        "target": named(now.target),
        "contrast": None if now.contrast is None else named(now.contrast),
        "before": number(before.logit, scale),
        "now": number(now.logit, scale),
        "change": number(now.logit - before.logit, scale),
        "predicted": [named(before.predicted), named(now.predicted)],
        "rows": [
            [
                excerpt(change.text),
                "" if change.before is None else number(change.before, strongest),
                "" if change.now is None else number(change.now, strongest),
                number(change.size, strongest),
            ]
            for change in changed[:_ROWS]
        ],
        "more": len(changed[_ROWS:]),
        "rest": number(math.fsum(change.size for change in changed[_ROWS:]), strongest),
    }


def _words(explanation: Explanation, source: str, by: str) -> list[Span]:
    return [
        span
        for span in explanation.units(by)
        if span.source == source and not span.special and span.text and not span.text.isspace()
    ]


def _same(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Return the places of words that stayed, in both texts."""
    if max(len(old), len(new)) > _WORDS:
        # Of a long text, only what is before the first change and behind the last is known to have stayed.
        shorter = min(len(old), len(new))
        start = next((i for i in range(shorter) if old[i] != new[i]), shorter)
        end = next((i for i in range(shorter - start) if old[-1 - i] != new[-1 - i]), shorter - start)
        tail = [(len(old) - i, len(new) - i) for i in range(end, 0, -1)]
        return [*((i, i) for i in range(start)), *tail]
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    return [(block.a + i, block.b + i) for block in blocks for i in range(block.size)]
