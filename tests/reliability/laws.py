"""What holds for whatever textlrp gives or says: the laws that the attacks of this folder check."""

from __future__ import annotations

import io
import math
import re
import unicodedata
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

from rich.console import Console

from textlrp import Explanation, LRPError
from textlrp.render.terminal import render

_COLORS = re.compile(r"\x1b\[[0-9;]*m")

#: What turns the direction of all that follows.
_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

_ADDRESSES = ("href", "src", "action", "xlink:href")

#: Every element that a page of textlrp has; what a text holds is no element of the page.
_ELEMENTS = set(
    "bdi body circle code dd details div dl dt figcaption figure footer g h1 h2 h3 head header html line main meta p "
    "path polyline pre rect section span style summary svg table tbody td text th thead title tr wbr".split()
)


class Broken(AssertionError):
    """A law that does not hold, in a few words."""


def hold(law: bool, words: str) -> None:
    if not law:
        raise Broken(words)


def sentence(error: BaseException) -> None:
    """An error is one of textlrp's, and one line that a person can read."""
    hold(isinstance(error, LRPError), f"{type(error).__name__} instead of an LRPError: {str(error)[:300]!r}")
    said = str(error)
    hold(bool(said.strip()), f"{type(error).__name__} says nothing")
    hold(len(said.splitlines()) == 1, f"more than one line: {said[:300]!r}")
    hold(len(said) < 2000, f"{len(said)} characters: {said[:300]!r}")
    hold("Traceback" not in said and ".py" not in said, f"the inside of Python: {said[:300]!r}")


def books(e: Explanation) -> None:
    """The ledger balances, words and sentences tile what was read, and all sums are the ledger's."""
    numbers = [e.logit, *e.logits.values(), *e.probabilities.values(), *e.ledger.values()]
    hold(all(map(math.isfinite, [*numbers, *(span.relevance for span in e.tokens)])), "a NaN or an infinity")
    hold(e.ledger.balanced, f"an imbalance of {e.ledger.imbalance:.1e}")
    scale = max(e.ledger.scale, abs(e.logit))
    tokens = math.fsum(span.relevance for span in e.tokens if not span.special)
    hold(tokens == e.ledger["tokens"], "tokens do not add up to their row")
    hold(abs(math.fsum(e.ledger.values()) - e.logit) <= 1e-9 * scale, "rows do not add up to the logit")
    if e.probabilities:
        hold(all(0 <= share <= 1 for share in e.probabilities.values()), "a probability beyond 0 and 1")
    expected = e.logits[e.target] - (0 if e.contrast is None else e.logits[e.contrast])
    hold(abs(expected - e.logit) <= 1e-9 * max(1.0, *map(abs, e.logits.values())), "the logit is not the target's")
    texts = {source: text for source, text, _ in e.texts}
    hold(all(span.text == texts[span.source][span.start : span.end] for span in e.tokens), "a token is not in the text")
    for by, spans in (("words", e.words), ("sentences", e.sentences)):
        total = math.fsum(span.relevance for span in spans)
        magnitude = math.fsum(abs(span.relevance) for span in e.tokens)
        hold(abs(total - tokens) <= 1e-11 * max(magnitude, scale), f"{by} do not add up")
        for source, text, truncated in e.texts:
            own = [span for span in spans if span.source == source]
            hold(bool(own), f"no {by}")
            read = "".join(span.text for span in own)
            hold(read == text[own[0].start : own[-1].end], f"{by} do not spell the text")
            hold(all(a.end == b.start < b.end for a, b in pairwise(own)), f"{by} do not tile the text")
            hold(truncated is not None or read == text, f"{by} leave out a part of a text that was read whole")


def kept(e: Explanation) -> None:
    """What was written as JSON is read as it was."""
    written = e.to_json()
    hold(Explanation.from_json(written) == e, "another explanation after a round through JSON")
    hold(not any(unicodedata.category(c) == "Cc" and c != "\n" for c in written), "controls in JSON")


def printed(e: Explanation, by: str, width: int, color: str | None) -> None:
    """What the terminal gets is colors and text, and nothing else that would command it."""
    options: dict[str, Any] = {"color_system": color, "force_terminal": True} if color else {"color_system": None}
    console = Console(file=io.StringIO(), width=width, highlight=False, legacy_windows=False, **options)
    console.print(render(e, by))
    plain = _COLORS.sub("", console.file.getvalue())  # type: ignore[attr-defined]
    commands = {c for c in plain if c in _TURNING or (unicodedata.category(c) == "Cc" and c not in "\n\t")}
    hold(not commands, f"controls in the terminal: {sorted(map(ascii, commands))}")
    label = "".join(e.target.split())
    hold(label in "".join(plain.split()) or not label.isprintable() or len(label) > 40, "the label is not shown")


class _Page(HTMLParser):
    def __init__(self, written: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.active: list[str] = []
        self.feed(written)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for name, value in attributes:
            if name.startswith("on") or (name in _ADDRESSES and "javascript:" in (value or "").lower()):
                self.active.append(f"{tag} {name}={value}")


def paged(e: Explanation, by: str) -> None:
    """A page holds the text as text: no element, no script, no control character comes from it."""
    written = e.to_html(by=by)
    page = _Page(written)
    hold(page.elements <= _ELEMENTS, f"elements: {sorted(page.elements - _ELEMENTS)}")
    hold(not page.active, f"what runs: {page.active[:3]}")
    commands = {c for c in written if unicodedata.category(c) == "Cc" and c not in "\n\t"}
    hold(not commands, f"controls in the page: {sorted(map(ascii, commands))}")


def same(a: Explanation, b: Explanation, limit: float) -> None:
    """Two ways lead to the same numbers, up to rounding."""
    scale = max(e.ledger.scale for e in (a, b)) + max(map(abs, a.logits.values()))
    hold((a.text, a.target, a.contrast, a.truncated) == (b.text, b.target, b.contrast, b.truncated), "other labels")
    hold([span.piece for span in a.tokens] == [span.piece for span in b.tokens], "other tokens")
    worst = max(abs(x.relevance - y.relevance) for x, y in zip(a.tokens, b.tokens, strict=True))
    hold(worst <= limit * scale, f"relevances differ by {worst / scale if scale else worst:.1e} of the ledger")
    hold(abs(a.logit - b.logit) <= limit * scale, "other logits")
