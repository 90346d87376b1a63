"""A check keeps the failures of what it calls; whole audits are in test_audit.py."""

from __future__ import annotations

import math

import pytest

from textlrp.check.checks import Check, TrialFailure, attempt
from textlrp.errors import LRPError


def fails(error: Exception) -> None:
    raise error


def test_a_result_is_returned_and_a_failure_handed_on() -> None:
    failed = TrialFailure("too long")
    assert attempt(divmod, 7, 2) == (3, 1)
    assert attempt(lambda *values: pytest.fail("called"), 1, failed) is failed


def test_an_error_becomes_a_reason() -> None:
    assert attempt(fails, LRPError("no rule")) == TrialFailure("no rule")
    reason = attempt(fails, ValueError("odd\nand more"))
    assert isinstance(reason, TrialFailure)
    assert reason.reason.startswith("ValueError in test_checks.py, line ")
    assert reason.reason.endswith(": odd")


def test_json_has_no_infinity() -> None:
    values = Check("padding", False, math.inf, 0.0, "spilled").to_dict()
    assert values == {"name": "padding", "passed": False, "value": None, "limit": 0.0, "detail": "spilled"}
