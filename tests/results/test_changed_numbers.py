"""No saved file with one number changed is read: the quick form of ``reliability/changed_numbers.py``."""

from __future__ import annotations

from reliability.changed_numbers import attack


def test_no_file_with_one_number_changed_is_read() -> None:
    outcome = attack(300, seed=7)
    assert min(outcome.tried[kind] for kind in ("explanation", "run", "report")) > 50
    assert not outcome.accepted, "\n".join(map(str, outcome.accepted))


def test_without_digests_sums_find_what_they_can() -> None:
    outcome = attack(300, seed=8, digests=False)
    assert not [change for change in outcome.accepted if not change.listed], "\n".join(map(str, outcome.accepted))
    assert len(outcome.accepted) < 30
