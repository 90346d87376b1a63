"""A set of rules is a value: named, compared, refused."""

import dataclasses
import subprocess
import sys

import pytest

from textlrp import rules
from textlrp.errors import InputError
from textlrp.rules import (
    LRP0,
    AlphaBeta,
    Epsilon,
    Flat,
    Frozen,
    Gamma,
    Gradient,
    Identity,
    Pass,
    Rules,
    Taylor,
    Uniform,
    WSquare,
    ZPlus,
)


def test_presets_are_those_of_the_papers():
    assert Rules.preset("attnlrp") == Rules(linear=LRP0(), softmax=Taylor()) == Rules()
    assert Rules.preset("cp-lrp") == Rules(linear=LRP0(), softmax=Frozen())
    assert Rules.preset("cp-lrp-gates") == Rules(softmax=Frozen(), product=Frozen())
    assert Rules.preset("lrp-0") == Rules.preset("attnlrp")
    assert Rules.preset("epsilon") == Rules(linear=Epsilon(1e-6))
    assert Rules.preset("gamma") == Rules(linear=Gamma(0.25))
    assert Rules.preset("ln-lrp") == Rules(product=Taylor())
    assert Rules.preset("difference") == Rules(difference=True)
    assert Rules.preset("attnlrp-positions") == Rules(positions="tokens")
    from_zero = {"attnlrp", "cp-lrp", "cp-lrp-gates", "ln-lrp", "lrp-0", "epsilon", "gamma", "attnlrp-positions"}
    assert set(rules.PRESETS) == {*from_zero, "difference"}


def test_names():
    assert Rules().name == "attnlrp"
    assert Rules(softmax=Frozen()).name == "cp-lrp"
    assert Rules.preset("lrp-0").name == "attnlrp"
    assert Rules(linear=Epsilon(0.5)).name == "Rules(linear=Epsilon(epsilon=0.5))"
    own = Rules(product=Frozen(), overrides={"classifier": Rules(linear=Pass()), "*.0.*": Rules(softmax=Frozen())})
    assert repr(own) == (
        "Rules(product=Frozen(), overrides={'classifier': Rules(linear=Pass()), '*.0.*': Rules(softmax=Frozen())})"
    )
    assert eval(repr(own)) == own


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
        ({"linear": Taylor()}, r"linear takes one of LRP0\(\), .*, or an object with the method multiplier, not"),
        ({"embedding": Uniform()}, r"embedding takes one of LRP0\(\), .*, not Uniform\(\)"),
        ({"product": Identity()}, r"product takes one of Uniform\(\), Taylor\(\), Frozen\(\), not Identity\(\)"),
        ({"nonlinearity": LRP0()}, r"nonlinearity takes one of Identity\(\), Gradient\(\), not LRP0\(\)"),
        ({"overrides": {"a": "attnlrp"}}, "the override 'a' takes Rules without overrides of their own, not 'attnlrp'"),
        ({"overrides": {"a": Rules(overrides={"b": Rules()})}}, "the override 'a' takes Rules without overrides"),
        ({"overrides": {3: Rules()}}, "overrides is a mapping from patterns of module paths to Rules"),
        ({"linear": "epsilon"}, "not 'epsilon'"),
        ({"softmax": LRP0()}, r"softmax takes one of Taylor\(\), Frozen\(\), Uniform\(\), not LRP0\(\)"),
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
    with pytest.raises(
        InputError,
        match=r"the presets are attnlrp, cp-lrp, cp-lrp-gates, ln-lrp, lrp-0, epsilon, gamma, attnlrp-positions, diff",
    ):
        Rules.preset("shapley")


def test_as_rules_takes_a_name_or_rules():
    own = Rules(linear=Epsilon())
    assert rules.as_rules(own) is own
    assert rules.as_rules("cp-lrp").softmax == Frozen()
    for wrong in (None, 3, Rules, Epsilon()):
        with pytest.raises(InputError, match="rules takes the name of a preset"):
            rules.as_rules(wrong)


def test_no_torch_is_needed():
    code = "import sys, textlrp.rules, textlrp.results.ledger; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


ALL = [
    Rules(),
    Rules(linear=Gamma(0.5, 1e-3), embedding=WSquare(), softmax=Frozen(), product=Taylor(), nonlinearity=Gradient()),
    Rules(linear=AlphaBeta(2, 1), embedding=Flat(), product=Frozen()),
    Rules(linear=ZPlus(), overrides={"classifier": Rules(linear=Pass()), "*.layer.0.*": Rules(linear=Epsilon(0.1))}),
]


@pytest.mark.parametrize("own", ALL)
def test_rules_go_through_json(own, tmp_path):
    assert Rules.from_json(own.to_json()) == own
    assert hash(Rules.from_dict(own.to_dict())) == hash(own)
    path = tmp_path / "rules.json"
    own.to_json(path)
    assert Rules.from_json(path) == Rules.parse(str(path)) == own


def test_json_may_leave_out_and_abbreviate():
    written = '{"linear": {"rule": "gamma"}, "softmax": "frozen", "overrides": {"a*": {"product": "taylor"}}}'
    expected = Rules(linear=Gamma(), softmax=Frozen(), overrides={"a*": Rules(product=Taylor())})
    assert Rules.from_json(written) == expected
    assert Rules.from_dict({}) == Rules()


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ('{"linear": "gama"}', "linear has no rule 'gama': it has lrp-0, epsilon, gamma"),
        ('{"linear": {"rule": "gamma", "gama": 1}}', "the rule 'gamma' does not take gama"),
        ('{"linear": {"rule": "gamma", "gamma": -1}}', "gamma must be a number of 0 or more, not -1"),
        ('{"softmax": "gamma"}', "softmax has no rule 'gamma'"),
        ('{"mask": "plain"}', "rules have linear, .* overrides, positions and difference, and no mask"),
        ('{"overrides": []}', "overrides is an object from patterns of module paths to rules, not "),
        ('{"overrides": {"a": "x"}}', "rules are an object with linear, "),
        ("{", "the text given is not JSON"),
    ],
)
def test_json_that_holds_no_rules_is_said_so(written, message):
    with pytest.raises(InputError, match=message):
        Rules.from_json(written)


def test_the_command_line_names_rules():
    assert Rules.parse("cp-lrp") == Rules.preset("cp-lrp")
    assert Rules.parse("epsilon=1e-3") == Rules(linear=Epsilon(1e-3))
    assert Rules.parse("gamma=0.5") == Rules(linear=Gamma(0.5))
    for wrong, message in (
        ("gamma=x", "gamma takes a number, such as gamma=0.25, not 'x'"),
        ("epsilon=0", "epsilon must be a positive number"),
        ("none.json", "cannot read 'none.json': No such file"),
        ("gama", "did you mean 'gamma'"),
        ("alpha=1", "no rules are called 'alpha=1'"),
    ):
        with pytest.raises(InputError, match=message):
            Rules.parse(wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gamma(-0.1), "gamma must be a number of 0 or more, not -0.1"),
        (lambda: Gamma(float("nan")), "gamma must be a number of 0 or more, not nan"),
        (lambda: Gamma("x"), "gamma must be a number of 0 or more, not 'x'"),
        (lambda: ZPlus(0), "epsilon must be a positive number, not 0"),
        (lambda: AlphaBeta(2, 2), "alpha - beta must be 1, or relevance is not kept: 2 - 2 is not"),
        (lambda: AlphaBeta(0.5, -0.5), "beta must be a number of 0 or more"),
        (lambda: Flat(-1), "epsilon must be a positive number"),
    ],
)
def test_numbers_that_make_no_rule_are_said_so(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    "own", [Rules(difference=True), Rules(positions="tokens"), Rules(softmax=Frozen(), positions="tokens")]
)
def test_difference_and_positions_in_json_and_repr(own):
    assert Rules.from_json(own.to_json()) == own
    assert eval(repr(own)) == own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"difference": True, "softmax": Frozen()}, "takes no other rule for softmax"),
        ({"difference": True, "positions": "tokens"}, "takes no other rule for positions"),
        ({"difference": True, "overrides": {"head": Rules()}}, "hold for a whole model"),
        ({"overrides": {"head": Rules(difference=True)}}, "hold for a whole model"),
        ({"difference": 1}, "difference is True or False, not 1"),
        ({"positions": "words"}, "positions is 'row' or 'tokens', not 'words'"),
    ],
)
def test_difference_is_for_a_whole_model(options, message):
    with pytest.raises(InputError, match=message):
        Rules(**options)
