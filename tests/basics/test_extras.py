"""A library that is not installed is one sentence that says how to get it."""

from __future__ import annotations

import sys

import pytest

from textlrp.basics import extras
from textlrp.errors import InputError, LRPError


def test_an_installed_library_is_imported_when_it_is_asked_for() -> None:
    extras.check("json", "evaluate", "a test")
    assert extras.load("json.decoder", "evaluate", "a test") is sys.modules["json.decoder"]


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    says = r'^a test needs scikit-learn, which is not installed: pip install "textlrp\[evaluate\]"$'
    with pytest.raises(LRPError, match=says):
        extras.check("sklearn", "evaluate", "a test")
    with pytest.raises(LRPError, match=says) as caught:
        extras.load("sklearn.metrics", "evaluate", "a test")
    assert not isinstance(caught.value, InputError)  # exit status 1: what was given can be used
    with pytest.raises(LRPError, match="a test needs no_such_library"):
        extras.load("no_such_library", "evaluate", "a test")
