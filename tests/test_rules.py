"""A set of rules is a value: named, compared, refused."""

import dataclasses
import subprocess
import sys

import pytest

from textlrp import rules
from textlrp.errors import InputError
from textlrp.rules import LRP0, Epsilon, Frozen, Rules, Taylor


def test_presets_are_those_of_the_papers():
    assert Rules.preset("attnlrp") == Rules(linear=LRP0(), softmax=Taylor()) == Rules()
    assert Rules.preset("cp-lrp") == Rules(linear=LRP0(), softmax=Frozen())
    assert set(rules.PRESETS) == {"attnlrp", "cp-lrp"}


def test_names():
    assert Rules().name == "attnlrp"
    assert Rules(softmax=Frozen()).name == "cp-lrp"
    assert Rules(linear=Epsilon(0.5)).name == "Rules(linear=Epsilon(epsilon=0.5), softmax=Taylor())"


def test_rules_are_values():
    assert hash(Rules(linear=Epsilon(1e-3))) == hash(Rules(linear=Epsilon(1e-3)))
    assert Rules(linear=Epsilon(1e-3)) != Rules(linear=Epsilon(1e-2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        Rules().linear = Epsilon()


@pytest.mark.parametrize("epsilon", [0, -1e-6, float("nan"), float("inf")])
def test_epsilon_must_be_positive(epsilon):
    with pytest.raises(InputError, match=r"epsilon must be a positive number, not .*; use LRP0"):
        Epsilon(epsilon)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"linear": Taylor()}, r"linear takes LRP0\(\) or Epsilon\(...\), not Taylor\(\)"),
        ({"linear": "epsilon"}, "not 'epsilon'"),
        ({"softmax": LRP0()}, r"softmax takes Taylor\(\) or Frozen\(\), not LRP0\(\)"),
        ({"softmax": None}, "not None"),
        ({"softmax": Frozen}, "not <class"),
    ],
)
def test_a_rule_in_the_wrong_place_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        Rules(**options)


@pytest.mark.parametrize(
    ("name", "hint"), [("attn-lrp", "attnlrp"), ("AttnLRP", "attnlrp"), ("cplrp", "cp-lrp"), ("CP-LRP", "cp-lrp")]
)
def test_a_misspelled_preset_gets_a_hint(name, hint):
    with pytest.raises(InputError, match=f"no rules are called '{name}': .*; did you mean '{hint}'"):
        Rules.preset(name)


def test_an_unknown_preset_gets_the_list():
    with pytest.raises(InputError, match=r"the presets are attnlrp, cp-lrp$"):
        Rules.preset("shapley")


def test_as_rules_takes_a_name_or_rules():
    own = Rules(linear=Epsilon())
    assert rules.as_rules(own) is own
    assert rules.as_rules("cp-lrp").softmax == Frozen()
    for wrong in (None, 3, Rules, Epsilon()):
        with pytest.raises(InputError, match="rules takes the name of a preset"):
            rules.as_rules(wrong)


def test_no_torch_is_needed():
    code = "import sys, textlrp.rules, textlrp.ledger; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
