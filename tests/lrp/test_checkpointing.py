"""Blocks that drop their activations and compute them again."""

import copy

import pytest
import tiny_models
import torch
from reference_rules import IDS
from single_operations import PRESETS
from torch import nn

import textlrp
from textlrp.check import cost
from textlrp.errors import InputError
from textlrp.lrp.propagation import propagate_targets


def assert_same(actual, expected):
    torch.testing.assert_close(actual.relevance, expected.relevance, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(actual.logits, expected.logits)
    for left, right in zip(actual.ledgers, expected.ledgers, strict=True):
        assert dict(left.rows) == pytest.approx(dict(right.rows), rel=1e-5, abs=1e-6)


MODELS = [
    "bert",
    "modernbert",
    "albert",
    "gpt2",
    "llama",
    "t5",
    "bart",
    "mixtral",
    "funnel",
    "zamba2",
    "reformer",
    "xlm",
]


@PRESETS
@pytest.mark.parametrize("name", MODELS)
def test_models(name, rules):
    model = tiny_models.build(name, size="small")
    inputs = tiny_models.inputs(model, name)
    expected = textlrp.propagate(model, [0, 1, 2], rules, **inputs)
    assert_same(textlrp.propagate(model, [0, 1, 2], rules, checkpointing=True, **inputs), expected)


@pytest.mark.parametrize("name", ["bert", "modernbert", "llama"])
def test_fewer_activations_are_saved(name):
    model = tiny_models.build(name, size="small")
    inputs = tiny_models.inputs(model, name)
    saved = [
        cost.saved_bytes(model, lambda on=on: textlrp.propagate(model, 0, checkpointing=on, **inputs))
        for on in (False, True)
    ]
    assert saved[1] < 0.5 * saved[0]


def counted(model):
    """Count how often the blocks of a BERT run."""
    runs = []
    for i, layer in enumerate(model.bert.encoder.layer):
        layer.attention.register_forward_pre_hook(lambda module, args, i=i: runs.append(i))
    return runs


def test_blocks_run_again_from_the_last_but_one_to_the_first():
    model = tiny_models.build("bert", size="small")
    runs = counted(model)
    textlrp.propagate(model, 0, checkpointing=True, **tiny_models.inputs(model, "bert"))
    assert runs == [0, 1, 2, 3, 2, 1, 0]


def test_a_model_that_was_told_to_checkpoint_does():
    model = tiny_models.build("bert", size="small")
    inputs = tiny_models.inputs(model, "bert")
    expected = textlrp.propagate(model, 0, **inputs)
    (getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable)()
    runs = counted(model)
    assert_same(textlrp.propagate(model, 0, **inputs), expected)
    assert len(runs) == 7
    runs.clear()
    assert_same(textlrp.propagate(model, 0, checkpointing=False, **inputs), expected)
    assert len(runs) == 4
    runs.clear()
    propagation = textlrp.propagate(model, 0, layers=True, **inputs)  # layers=True observes the blocks
    assert len(propagation.layers) == 5
    assert runs[:4] == [0, 1, 2, 3]


def test_several_targets():
    model = tiny_models.build("bert")
    inputs = tiny_models.inputs(model, "bert")
    propagations = propagate_targets(model, [0, 1, 2], checkpointing=True, **inputs)
    for i, propagation in enumerate(propagations):
        assert_same(propagation, textlrp.propagate(model, i, **inputs))


@pytest.mark.parametrize(
    "options", [{"layers": True}, {"capture": ["bert.encoder.layer.0"]}], ids=["layers", "capture"]
)
def test_observed_blocks_cannot_be_checkpointed(options):
    model = tiny_models.build("bert")
    with pytest.raises(InputError, match="checkpointing=True drops the activations inside the blocks"):
        textlrp.propagate(model, 0, checkpointing=True, **options, **tiny_models.inputs(model, "bert"))


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.head = nn.Embedding(12, 4), nn.Linear(4, 3)

    def forward(self, input_ids):
        return self.head(self.table(input_ids).mean(1))


def test_a_model_without_blocks_is_refused():
    with pytest.raises(InputError, match="Bag holds its layers in no list"):
        textlrp.propagate(Bag(), 0, checkpointing=True, input_ids=IDS)


class Moody(nn.Module):
    """Blocks that compute something else in the backward pass."""

    def __init__(self, other):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.head = nn.Embedding(12, 4), nn.Linear(4, 3)
        self.layers = nn.ModuleList(Turning(other) for _ in range(3))

    def forward(self, input_ids):
        x = self.table(input_ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(1))


class Turning(nn.Module):
    def __init__(self, other):
        super().__init__()
        self.weight, self.other = nn.Parameter(torch.randn(4, 4)), other

    def forward(self, x):
        in_backward = torch._C._current_graph_task_id() != -1
        return self.other(self.weight, x) if in_backward else torch.tanh(x @ self.weight)


@pytest.mark.parametrize(
    "other",
    [lambda w, x: torch.tanh(x @ w * 3), lambda w, x: x * 2],
    ids=["other numbers", "other operations"],
)
def test_blocks_that_cannot_run_again_keep_their_activations(other):
    """The ledgers do not balance, or torch notices."""
    expected = textlrp.propagate(Moody(other), 0, input_ids=IDS)
    assert_same(textlrp.propagate(Moody(other), 0, checkpointing=True, input_ids=IDS), expected)


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5", "bart"])
def test_no_keys_and_values_are_kept_and_the_settings_are_left_alone(name):
    model = tiny_models.build(name)
    model.config.use_cache = True
    before = copy.deepcopy([vars(m.config) for m in model.modules() if hasattr(m, "config")])
    seen = []
    model.register_forward_hook(lambda module, args, output: seen.append(output.get("past_key_values")))
    textlrp.propagate(model, 0, **tiny_models.inputs(model, name))
    assert seen == [None]
    assert [vars(m.config) for m in model.modules() if hasattr(m, "config")] == before
