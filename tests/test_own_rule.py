"""The example of a rule of one's own: its law test passes, it runs, and it works with overrides, ledger and JSON."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from reference_rules import IDS, Probe
from torch import nn

import textlrp
from textlrp import Rules
from textlrp.errors import InputError
from textlrp.rules import LRP0

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_rule.py"
SquareRoot = runpy.run_path(str(EXAMPLE))["SquareRoot"]


class PlainMap:
    """LRP-0, written as a rule of one's own."""

    def multiplier(self, linear_map, c, post):
        if linear_map.bias is not None:
            post("biases", linear_map.bias * c)
        return linear_map.transposed(linear_map.weight, c)


def test_the_example_obeys_the_law():
    torch.manual_seed(0)
    runpy.run_path(str(EXAMPLE))["test_relevance_is_neither_made_nor_lost"]()


def test_the_example_runs(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert "dull" in capsys.readouterr().out


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x: m.hidden(x),
        lambda m, x: F.conv1d(x.mT, m.hidden.weight[:, :, None], m.hidden.bias).mT,
        lambda m, x: x @ m.hidden.weight.mT,
        lambda m, x: torch.baddbmm(m.hidden.bias, x, m.hidden.weight.mT.expand(len(x), -1, -1)),
    ],
    ids=["linear", "conv1d", "matmul", "baddbmm"],
)
def test_a_rule_gets_the_same_map_whatever_function_the_model_calls(call):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.table, self.hidden, self.head = nn.Embedding(12, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, input_ids):
            return self.head(call(self, self.table(input_ids)).mean(1))

    model = Model().double()
    plain = textlrp.propagate(model, 0, Rules(linear=LRP0()), input_ids=IDS)
    own = textlrp.propagate(model, 0, Rules(linear=PlainMap()), input_ids=IDS)
    torch.testing.assert_close(own.relevance, plain.relevance)
    for left, right in zip(own.ledgers, plain.ledgers, strict=True):
        assert left["tokens"] == pytest.approx(right["tokens"])
        assert left["biases"] + left["constants"] == pytest.approx(right["biases"] + right["constants"])
    assert any(rule == "PlainMap" for _, rule in own.met)


def test_overrides_and_the_ledger():
    probe = Probe(lambda m, x: x @ m.square.T)
    rules = Rules(linear=SquareRoot())
    found = textlrp.propagate(probe, 0, rules, input_ids=IDS)
    assert all(ledger.balanced for ledger in found.ledgers)
    assert found.ledgers[0]["stabilizer"] != 0


def test_in_json_a_rule_is_a_name_that_the_reader_hands_an_object_for():
    rule = SquareRoot()
    rules = Rules(linear=rule, overrides={"head": Rules(linear=rule)})
    assert rules.to_dict()["linear"] == {"own": "SquareRoot"}
    assert rules.name == "Rules(linear=SquareRoot(), overrides={'head': Rules(linear=SquareRoot())})"
    assert Rules.from_json(rules.to_json(), own={"SquareRoot": rule}) == rules
    with pytest.raises(InputError, match=r"'SquareRoot', which a file cannot hold: read the rules in Python"):
        Rules.from_json(rules.to_json())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x[:, :1], r"Bad.multiplier must return a tensor of the shape of the map's input"),
        (lambda x: None, r"not NoneType"),
    ],
    ids=["shape", "None"],
)
def test_a_rule_that_returns_something_else_is_refused(answer, message):
    class Bad:
        def multiplier(self, linear_map, c, post):
            return answer(linear_map.x)

    with pytest.raises(InputError, match=message):
        textlrp.propagate(Probe(lambda m, x: x @ m.square.T), 0, Rules(linear=Bad()), input_ids=IDS)


def test_a_rule_that_loses_relevance_is_found():
    class Loses:
        def multiplier(self, linear_map, c, post):
            return linear_map.transposed(linear_map.weight, c) * 0.5

    with pytest.raises(textlrp.errors.UnbalancedLedgerError):
        textlrp.propagate(Probe(lambda m, x: x @ m.square.T), 0, Rules(linear=Loses()), input_ids=IDS)


@pytest.mark.parametrize("value", [object(), SquareRoot, "SquareRoot", None], ids=["object", "class", "name", "None"])
def test_what_is_no_rule_is_refused(value):
    with pytest.raises(InputError, match="or an object with the method multiplier"):
        Rules(linear=value)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda m, c, post: post("bias", c), r"Odd posts to 'bias', and the ledger's rows are reference, "),
        (lambda m, c, post: post("biases", 1.0), r"Odd posts 1.0 to biases: post a tensor"),
        (lambda m, c, post: 1 / 0, r"Odd.multiplier fails: ZeroDivisionError: division by zero"),
        (lambda m, c: c, r"Odd.multiplier fails: TypeError"),
        (lambda m, c, post: m.x * float("nan"), r"Odd.multiplier returns a NaN or an infinity"),
    ],
    ids=["row", "number", "raises", "arguments", "NaN"],
)
def test_a_fault_of_a_rule_is_named_as_its_own(rule, message):
    class Odd:
        multiplier = staticmethod(rule)

    with pytest.raises(textlrp.LRPError, match=message):
        textlrp.propagate(Probe(lambda m, x: x @ m.square.T), 0, Rules(linear=Odd()), input_ids=IDS)


def test_own_rules_are_handed_over_in_a_mapping():
    with pytest.raises(InputError, match="own is a mapping from names of classes to rules"):
        Rules.from_json(Rules(linear=SquareRoot()).to_json(), own=SquareRoot())
