"""Sick models, damaged inputs and hostile folders: quick forms of the scripts under ``tests/reliability``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from reliability import commands, damaged_inputs, hostile_folders, sick_models, suite
from strict_python import STRICT

#: One of every kind of sickness.
SICK = (
    "all weights NaN",
    "one weight 1e+30",
    "a NaN for a word that is not read",
    "weights made in inference mode",
    "in training mode in part",
    "a hook that raises",
    "a hook on the way back that raises",
    "returns nothing",
    "returns logits cut off",
    "returns a view turned around",
    "raises an error of three lines",
    "raises an error that cannot be shown",
    "raises an error of 100,000 characters",
    "leaves Python",
    "writes over its ids",
    "changes its config",
    "keeps its activations",
    "goes into training mode",
    "switches gradients off for good",
    "seeds all random numbers",
    "asks for a petabyte",
    "quantized",
    "nothing",
)


def test_sick_models_are_explained_right_or_refused_and_left_as_they_were() -> None:
    tally = sick_models.run(SICK, count=1, seed=1)
    assert tally.faults == []
    assert tally.outcomes.total() == len(SICK)
    assert set(tally.outcomes) == {"explained", "refused", "exits"}


def test_what_a_sick_model_changes_is_seen() -> None:
    model = sick_models.healthy()
    before = sick_models.picture(model)
    assert not sick_models.differs(before, sick_models.picture(model))
    changes = (
        lambda: model.classifier.bias.data.add_(1e-6),
        lambda: model.bert.encoder.train(),
        lambda: model.classifier.weight.requires_grad_(False),
        lambda: model.bert.register_forward_hook(lambda *_: None),
        lambda: setattr(model.config, "changed", 1),
    )
    for change in changes:
        then = sick_models.picture(model)
        change()
        assert sick_models.differs(then, sick_models.picture(model))


@pytest.fixture(scope="module")
def forks() -> None:
    if not hasattr(os, "fork"):
        pytest.skip("commands are tried in forked processes")
    commands.ready()


@pytest.mark.slow
@pytest.mark.usefixtures("forks")
def test_damaged_inputs_are_refused_in_a_sentence() -> None:
    tally = damaged_inputs.run(list(damaged_inputs.DAMAGE), count=10, seed=1, every=16)
    assert tally.faults == []
    assert tally.outcomes["refused"] > 25


@pytest.mark.usefixtures("forks")
def test_hostile_folders_are_refused_in_a_sentence() -> None:
    names = list(hostile_folders.DAMAGE)[::4]
    assert "nothing" in names
    tally = hostile_folders.run(names, count=5, seed=1)
    assert tally.faults == []
    assert tally.outcomes["refused"] > 15
    if not commands.gradients_after_a_fork():
        pytest.skip("this torch computes no gradients in a forked process, so no folder is explained there")
    assert tally.outcomes["explained"] > 0


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ((1, "Error: no\n", False), None),
        ((0, "", False), "exit status 0"),
        ((1, "", False), "no sentence"),
        ((1, "Error: one\nmore\n", False), "no sentence"),
        ((2, "Error: one\nError: two\n", False), "not one sentence"),
        ((98, "Traceback (most recent call last):\n", False), "a traceback"),
        ((-11, "", False), "exit status -11"),
        ((-9, "", True), "no answer"),
    ],
)
def test_an_answer_that_is_none_is_seen(answer: tuple[int, str, bool], fault: str | None) -> None:
    if fault is None:
        commands.refused(commands.Answer(*answer))
    else:
        with pytest.raises(commands.laws.Broken, match=fault):
            commands.refused(commands.Answer(*answer))


@pytest.mark.slow
def test_all_scripts_are_run_by_one_command(tmp_path: Path) -> None:
    scripts = suite.scripts()
    assert {"fuzz", "sick_models", "damaged_inputs", "hostile_folders"} <= set(scripts)
    assert not {"suite", "attack", "laws", "commands"} & set(scripts)
    command = [*STRICT, suite.__file__, "fuzz", "--count", "20", "--seed", "3"]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.splitlines()[-1] == "no faults"
    assert "20 calls in " in answer.stdout
    unknown = subprocess.run([sys.executable, suite.__file__, "nobody"], capture_output=True, text=True, check=False)
    assert unknown.returncode == 2
    assert "there is no nobody" in unknown.stderr
