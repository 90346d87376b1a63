"""Ctrl-C ends any command soon, with one line and status 130, and leaves nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from interrupted_commands import End, interrupt

from textlrp.cli import main
from textlrp.explain.explainer import Explainer

linux = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="looks for threads in /proc")


@linux
@pytest.mark.parametrize(
    ("name", "moment"),
    [("explain", 0.0), ("explain", 1.0), ("explain", 8.0), ("report", 7.0), ("evaluate", 8.0), ("serve", 5.0)],
)
def test_a_command_ends(name: str, moment: float, tmp_path: Path) -> None:
    outcome = interrupt(name, tmp_path, moment)
    assert outcome is not None
    assert outcome.clean, outcome


@linux
def test_who_presses_it_often_gets_the_same(tmp_path: Path) -> None:
    outcome = interrupt("explain", tmp_path, 3.0, presses=10)
    assert outcome is not None
    assert outcome.clean, outcome


def ended(script: str) -> End:
    """How a command ends that a script replaces."""
    whole = f"from textlrp.commands.interrupts import run\nimport os, signal, threading, time\n{script}\nrun(command)\n"
    done = subprocess.run([sys.executable, "-W", "error", "-c", whole], capture_output=True, text=True, timeout=60)
    return End(done.returncode, 0.0, done.stderr, [])


PRESS = "os.kill(os.getpid(), signal.SIGINT)"


@pytest.mark.parametrize(
    "script",
    [
        f"def command():\n    {PRESS}\n    time.sleep(30)",
        # It is lost in a destructor.
        f"class A:\n    def __del__(self):\n        {PRESS}\n        time.sleep(0.1)\n"
        "def command():\n    A()\n    time.sleep(30)",
        # A library turns it into an error of its own, or goes on.
        f"def command():\n    try:\n        {PRESS}\n        time.sleep(1)\n    except BaseException:\n        pass",
        f"def command():\n    try:\n        {PRESS}\n        time.sleep(1)\n    finally:\n        raise SystemExit(0)",
        # It is pressed again and again.
        f"def command():\n    for _ in range(50):\n        try:\n            {PRESS}\n            time.sleep(0.1)\n"
        "        except BaseException:\n            pass",
        # Something computes on: no step of Python ends it, and a thread would hold the process back.
        "def command():\n    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "    import torch\n    torch.ones(20_000, 20_000) @ torch.ones(20_000, 20_000)",
        f"def command():\n    threading.Thread(target=time.sleep, args=(30,)).start()\n    {PRESS}\n    time.sleep(9)",
        # While a module is loaded.
        f"def command():\n    from importlib import _bootstrap\n    _bootstrap._call_with_frames_removed(run, None)\n"
        f"def run(_):\n    {PRESS}\n    time.sleep(30)",
    ],
    ids=["plain", "destructor", "swallowed", "another end", "many", "one long operation", "a thread", "an import"],
)
def test_it_ends_whatever_becomes_of_the_keyboard_interrupt(script: str) -> None:
    assert ended(script.replace("def run(_)", "def load(_)").replace("removed(run,", "removed(load,")).clean


PATIENT = "from textlrp.commands.interrupts import check, patient\ndef command():\n    with patient():\n"


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_patient_command_has_time_even_if_a_library_drops_the_interrupt(name: str, status: int) -> None:
    outcome = ended(
        f"{PATIENT}        try:\n            os.kill(os.getpid(), signal.{name})\n            time.sleep(1)\n"
        "        except BaseException:\n            pass\n        try:\n            check()\n"
        "        except KeyboardInterrupt:\n            time.sleep(2)\n            os.write(2, b'the table\\n')"
    )
    assert outcome.status == status
    assert outcome.error == "Ending with what there is; Ctrl-C again ends at once.\nthe table\nInterrupted.\n"


def test_a_second_press_ends_a_patient_command_at_once() -> None:
    began = time.monotonic()
    outcome = ended(
        f"{PATIENT}        threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        f"        try:\n            {PRESS}\n        except BaseException:\n            pass\n        time.sleep(25)"
    )
    assert outcome.status == 130
    assert time.monotonic() - began < 20


def test_what_ends_by_itself_ends_as_it_would() -> None:
    outcome = ended("def command():\n    raise SystemExit(3)")
    assert (outcome.status, outcome.error) == (3, "")


def test_files_that_were_begun_are_taken_away() -> None:
    script = (
        "import tempfile, pathlib\ndef command():\n    with tempfile.TemporaryDirectory() as folder:\n"
        f"        print(folder, flush=True)\n        try:\n            {PRESS}\n            time.sleep(9)\n"
        "        finally:\n            print('cleaned', flush=True)"
    )
    whole = f"from textlrp.commands.interrupts import run\nimport os, signal, time\n{script}\nrun(command)\n"
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, timeout=60)
    folder, said = done.stdout.split()
    assert (done.returncode, said, os.path.exists(folder)) == (130, "cleaned", False)


def test_inside_of_another_program_the_status_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Explainer, "demo", pressed)
    result = CliRunner().invoke(main, ["explain", "a film"])
    assert (result.exit_code, result.output) == (130, "")
    assert signal.getsignal(signal.SIGINT) is before
