"""No saved file with one number changed is read: the quick form of ``reliability/changed_numbers.py``."""

from __future__ import annotations

from reliability.changed_numbers import attack


def test_no_file_with_one_number_changed_is_read() -> None:
    found = attack(300, seed=7)
    assert min(found.tried[kind] for kind in ("explanation", "run", "report")) > 50
    assert not found.accepted, "\n".join(map(str, found.accepted))


def test_without_digests_sums_find_what_they_can() -> None:
    found = attack(300, seed=8, digests=False)
    assert not [each for each in found.accepted if not each.listed], "\n".join(map(str, found.accepted))
    assert len(found.accepted) < 30
