"""Slow work shows a bar in a terminal, and a line now and then elsewhere; quick work shows nothing."""

from __future__ import annotations

import io
import re
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
    assert not any(thread.name == "textlrp-progress" for thread in threading.enumerate())


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
def test_quick_or_unwanted_work_is_silent(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, wanted: bool) -> None:
    on(stream, monkeypatch)
    with progress.ProgressBar("explaining", 4, wanted) as bar:
        bar.advance(2)
        time.sleep(0.2)
    assert stream.getvalue() == ""


def lines(monkeypatch: pytest.MonkeyPatch, total: int | None, before: int = 0) -> list[str]:
    """The lines of work without a terminal that does one step."""
    pipe = on(io.StringIO(), monkeypatch)
    monkeypatch.setattr(progress, "EVERY", 0.05)
    with progress.ProgressBar("evaluating", total, True, before) as bar:
        bar.advance()
        until = time.monotonic() + 60
        while pipe.getvalue().count("\n") < 2 and time.monotonic() < until:
            time.sleep(0.01)
    return pipe.getvalue().splitlines()


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = lines(monkeypatch, 1200)[:2]
    assert re.fullmatch(r"evaluating: 1 of 1,200 \(0 %\), about \d+ (seconds|minutes) left", first)
    assert second.startswith("evaluating: 1 of 1,200 (0 %), about ")
    assert lines(monkeypatch, None)[0] == "evaluating: 1 done"


def test_steps_of_an_earlier_run_do_not_make_this_one_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = progress.ProgressBar("evaluating", 1200, True, before=200)
    assert bar._line(30.0) == "evaluating: 200 of 1,200 (17 %)"
    bar.advance(40)
    assert bar._line(60.0) == "evaluating: 240 of 1,200 (20 %), about 24 minutes left"


def test_nobody_who_reads_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = on(io.StringIO(), monkeypatch)
    monkeypatch.setattr(progress, "EVERY", 0.01)
    pipe.close()
    with progress.ProgressBar("evaluating", 4, True) as bar:
        time.sleep(0.1)
        bar.advance()
