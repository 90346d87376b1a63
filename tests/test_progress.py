"""A bar appears for slow work in a terminal, and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

from textlrp import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def worked(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, seconds: float, wanted: bool = True) -> str:
    clock = iter(i * seconds for i in range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with progress.Bar("explaining", 4, wanted) as bar:
        for _ in range(4):
            bar.advance()
    return stream.getvalue()


def test_slow_work_shows_a_bar_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "explaining" in worked(monkeypatch, Terminal(), 1.5)


@pytest.mark.parametrize(
    ("stream", "seconds", "wanted"),
    [(io.StringIO(), 1.5, True), (Terminal(), 0.1, True), (Terminal(), 1.5, False)],
    ids=["no terminal", "quick", "not wanted"],
)
def test_otherwise_it_is_silent(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, seconds: float, wanted: bool
) -> None:
    assert worked(monkeypatch, stream, seconds, wanted) == ""


def test_the_bar_goes_when_the_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clock = Terminal(), iter(range(0, 1000, 3))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(KeyError):
        failing(stream)
    assert "\x1b[?25h" in stream.getvalue()  # the cursor is back


def failing(stream: io.StringIO) -> None:
    with progress.Bar("explaining", 4, True) as bar:
        bar.advance()
        assert "explaining" in stream.getvalue()
        raise KeyError
