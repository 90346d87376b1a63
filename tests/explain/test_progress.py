"""A bar appears for slow work in a terminal, and nowhere else."""

from __future__ import annotations

import io
import sys
import threading
import time

import pytest

from textlrp.explain import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, patience: float = 0.05) -> io.StringIO:
    """Let a stream be standard error. A fixture cannot: pytest sets it anew between a fixture and its test."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "PATIENCE", patience)
    return stream


def appears(stream: io.StringIO) -> bool:
    """Whether a bar is written, within a minute."""
    until = time.monotonic() + 60
    while "2/4" not in stream.getvalue() and time.monotonic() < until:
        time.sleep(0.01)
    return "explaining" in stream.getvalue()


def test_slow_work_shows_a_bar_until_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on(Terminal(), monkeypatch)
    with progress.ProgressBar("explaining", 4, True) as bar:
        bar.advance(2)
        assert appears(terminal)
        bar.advance(2)
    assert "\x1b[?25h" in terminal.getvalue()  # the cursor is back
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())


def test_the_bar_goes_when_the_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on(Terminal(), monkeypatch)
    with pytest.raises(KeyError):
        failing(terminal)
    assert "\x1b[?25h" in terminal.getvalue()


def failing(stream: io.StringIO) -> None:
    with progress.ProgressBar("explaining", 4, True) as bar:
        bar.advance(2)
        assert appears(stream)
        raise KeyError


def test_quick_work_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on(Terminal(), monkeypatch, 60.0)
    with progress.ProgressBar("explaining", 4, True) as bar:
        bar.advance(4)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(("stream", "wanted"), [(io.StringIO(), True), (Terminal(), False)], ids=["a pipe", "unwanted"])
def test_otherwise_it_is_silent(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, wanted: bool) -> None:
    on(stream, monkeypatch)
    with progress.ProgressBar("explaining", 4, wanted) as bar:
        bar.advance(2)
        time.sleep(0.2)
    assert stream.getvalue() == ""
