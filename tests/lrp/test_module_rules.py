"""Other rules for some modules: the deepest match counts, and a pattern that matches nothing is an error."""

from __future__ import annotations

import pytest
import tiny_models
import torch

import textlrp
from textlrp import Rules
from textlrp.errors import InputError
from textlrp.lrp.module_rules import resolve
from textlrp.rules import Epsilon, Frozen, Gamma, Gradient


def test_an_override_of_everything_is_the_rules_themselves(bert):
    model, inputs = bert
    for override in (Rules(linear=Gamma()), Rules(softmax=Frozen()), Rules(nonlinearity=Gradient())):
        everywhere = Rules(overrides={"*": override})
        expected, actual = (textlrp.propagate(model, 0, rules, **inputs) for rules in (override, everywhere))
        torch.testing.assert_close(actual.relevance, expected.relevance)
        assert actual.met == expected.met


def test_only_the_modules_that_match_follow_other_rules(bert):
    model, inputs = bert
    plain = textlrp.propagate(model, 0, **inputs).met
    met = textlrp.propagate(model, 0, Rules(overrides={"*.layer.0.*": Rules(linear=Gamma())}), **inputs).met
    layers = model.config.num_hidden_layers
    assert met["F.linear", "Gamma"] == 6
    assert met["F.linear", "LRP-0"] == plain["F.linear", "LRP-0"] - 6
    assert layers > 1
    one = textlrp.propagate(model, 0, Rules(overrides={"classifier": Rules(linear=Epsilon(0.1))}), **inputs)
    assert one.met["F.linear", "LRP-epsilon"] == 1
    assert all(ledger.balanced for ledger in one.ledgers)


def test_a_deeper_match_counts_and_a_later_one_before_an_earlier_one(bert):
    model, inputs = bert
    epsilon, gamma = Rules(linear=Epsilon(0.1)), Rules(linear=Gamma())
    for overrides, expected in (
        ({"bert.encoder": epsilon, "*.layer.0": gamma}, 6),
        ({"*.layer.0": gamma, "bert.encoder": epsilon}, 6),
        ({"*.layer.0": gamma, "*.layer.?": epsilon}, 0),
        ({"*.layer.0": epsilon, "*.layer.0.output*": gamma}, 1),
    ):
        met = textlrp.propagate(model, 0, Rules(overrides=overrides), **inputs).met
        assert met.get(("F.linear", "Gamma"), 0) == expected, overrides


def test_an_activation_module_has_rules_of_its_own():
    model = tiny_models.build("gpt2")
    inputs = tiny_models.inputs(model, "gpt2")
    met = textlrp.propagate(model, 0, Rules(overrides={"*.act": Rules(nonlinearity=Gradient())}), **inputs).met
    assert sum(count for (_, rule), count in met.items() if rule == "identity") == 0
    assert met["torch.tanh", "plain gradient"] == model.config.n_layer


def test_nothing_is_left_behind(bert):
    model, inputs = bert
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    expected = textlrp.propagate(model, 0, **inputs)
    with pytest.raises(InputError, match="Pass"):
        textlrp.propagate(model, 0, Rules(overrides={"*.intermediate": Rules(linear=textlrp.rules.Pass())}), **inputs)
    assert hooks == [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    assert torch.equal(textlrp.propagate(model, 0, **inputs).relevance, expected.relevance)


def test_a_pattern_that_matches_nothing_lists_the_nearest_paths(bert):
    model, _ = bert
    for pattern, near in (("clasifier", "'classifier'"), ("classifier.*", "'classifier'"), ("*.layers.0", "layer.0'")):
        with pytest.raises(InputError, match=f"the pattern '.*' matches no module of Bert.*; near are .*{near}"):
            resolve(model, Rules(overrides={pattern: Rules()}))
    with pytest.raises(InputError, match=r"matches no module of .*; there are 'bert', 'dropout', 'classifier'"):
        resolve(model, Rules(overrides={"####": Rules()}))
