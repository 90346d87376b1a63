"""Two thousand random calls; `make fuzz` makes ten times as many, and others with another seed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reliability import fuzz, laws

from textlrp import Explainer, Explanation, LRPError

CALLS, PARTS = 2000, 4


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_random_calls_are_explained_or_refused_in_a_sentence(part: int) -> None:
    size = CALLS // PARTS
    tally = fuzz.run(range(part * size, (part + 1) * size), seed=0)
    assert tally.faults == []
    assert tally.outcomes.total() == size
    assert tally.outcomes["explained"] > size / 2


def test_a_call_is_made_again_by_its_number() -> None:
    first, again, other = fuzz.call(1, 5), fuzz.call(1, 5), fuzz.call(2, 5)
    assert fuzz.describe(first) == fuzz.describe(again) != fuzz.describe(other)


@pytest.mark.parametrize("law", ["books", "kept"])
def test_a_fault_is_found_and_named(law: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The laws themselves are tried on an explanation whose numbers were changed."""
    e = Explainer.demo().explain("a wonderful film")
    for right in laws.books, laws.kept:
        right(e)
    laws.printed(e, "word", 80, None)
    laws.paged(e, "word")
    if law == "books":
        first, *others = e.tokens
        wrong = [
            replace(e, tokens=(first, replace(others[0], relevance=others[0].relevance + 0.1), *others[1:])),
            replace(e, logit=e.logit + 0.1),
            replace(e, tokens=(first, replace(others[0], text="x"), *others[1:])),
            replace(e, text="x" + e.text[1:]),
        ]
        for changed in wrong:
            with pytest.raises(laws.Broken):
                laws.books(changed)
    else:
        monkeypatch.setattr(Explanation, "from_json", classmethod(lambda cls, written: replace(e, model="other")))
        with pytest.raises(laws.Broken, match="another explanation"):
            laws.kept(e)


def test_a_raw_error_and_one_of_two_lines_are_faults() -> None:
    laws.sentence(LRPError("one line"))
    for error in LRPError("one\ntwo"), LRPError(""), ValueError("one line"), LRPError("Traceback (most recent"):
        with pytest.raises(laws.Broken):
            laws.sentence(error)
