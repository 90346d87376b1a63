"""A module gets one rule as a whole if and only if it acts on each element alone."""

import math

import pytest
import torch
import torch.nn.functional as F
from reference_rules import IDS, Probe
from single_operations import Cube
from torch import Tensor, nn
from transformers.activations import ACT2FN

import textlrp
from textlrp.errors import UnsupportedOperationError
from textlrp.lrp.activations import composed_activations, signature
from textlrp.lrp.elementwise import anchor


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


# Activations of transformers that are written in Python; the others are torch's own modules, or call one function.
WRITTEN_IN_PYTHON = ("gelu_new", "gelu_fast", "gelu_accurate", "quick_gelu", "gelu_10", "laplace", "relu2")


@pytest.mark.parametrize("name", WRITTEN_IN_PYTHON)
def test_the_activations_of_transformers_are_found(name):
    module = ACT2FN[name]
    composed = composed_activations(nn.ModuleList([module]))
    assert composed == [module] or type(module).__module__.startswith("torch.nn.")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * torch.sigmoid(1.7 * x),
        lambda x: x * x + 1,
        lambda x: torch.where(x > 0, x, 0.1 * x),
        lambda x: x.clamp(min=0) ** 2,
        lambda x: torch.log(x.abs() + 1),
        lambda x: 0.5 * x,
    ],
    ids=["quick gelu", "square", "where", "relu squared", "log", "scale"],
)
def test_elementwise_functions_are_found(function):
    module = Function(function)
    assert composed_activations(nn.Sequential(nn.Linear(2, 2), module)) == [module]


def test_a_function_without_a_value_at_zero_is_not_found():
    """The identity rule needs ``f(0)``: the parts get their own rules, and here one of them has none."""
    for function in (lambda x: 1 / x + 1, lambda x: x.abs().log() * 2):
        assert composed_activations(nn.Sequential(nn.Linear(2, 2), Function(function))) == []
    part = Function(lambda x: x.abs().log() * 2)
    probe = Probe(lambda m, x: part(x))
    probe.part = part
    with pytest.raises(UnsupportedOperationError, match=r"Tensor.log, called in part \(Function\), has no rule"):
        textlrp.propagate(probe, 0, input_ids=IDS)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x,
        torch.tanh,  # one function, which has its own rule
        lambda x: F.softmax(x, -1),
        lambda x: F.softmax(x, 0),
        lambda x: F.log_softmax(x, -1),
        lambda x: x / x.norm(dim=-1, keepdim=True),
        lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6),
        lambda x: x - x.mean(-1, keepdim=True),
        lambda x: F.layer_norm(x, x.shape[-1:]),
        lambda x: x * x.flip(-1),
        lambda x: x * x.flip(1),
        lambda x: x * x.flip(0),
        lambda x: x + x.mean(1, keepdim=True),
        lambda x: x + x.amax((0, 1), keepdim=True),
        lambda x: x.cumsum(-1),
        lambda x: x * torch.arange(x.shape[-1]),
        lambda x: x.transpose(-1, -2).reshape(x.shape) * 2,
        lambda x: x.sum(-1),
        lambda x: x.long(),
        lambda x: (x, x),
        lambda x: x[:, :5] * x[:, 5:],
        lambda x, y: x + y,
    ],
    ids=[
        "identity",
        "one function",
        "softmax",
        "softmax over documents",
        "log-softmax",
        "normalize",
        "rms norm",
        "centering",
        "layer norm",
        "mirrored width",
        "mirrored time",
        "mirrored documents",
        "mean over time",
        "maximum of a column",
        "cumsum",
        "by place",
        "shuffle",
        "sum",
        "integers",
        "two results",
        "shape error",
        "two arguments",
    ],
)
def test_functions_that_mix_elements_are_not_found(function):
    assert composed_activations(nn.Sequential(Function(function))) == []


def test_a_norm_in_a_module_without_parameters_keeps_its_rule():
    """The mean of a LayerNorm, here over the tokens, takes part; the identity rule would leave it out."""

    def norm(x):
        return F.layer_norm(x, x.shape[-1:])

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = Function(norm)

        def forward(self, probe, x):
            return self.norm(x.mT).mT

    actual, expected = (
        textlrp.propagate(Probe(operation), 1, input_ids=IDS) for operation in (Wrapped(), lambda m, x: norm(x.mT).mT)
    )
    torch.testing.assert_close(actual.relevance, expected.relevance)


def test_a_softmax_in_a_module_keeps_its_rule():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.softmax = Function(lambda x: F.softmax(x, -1))

        def forward(self, probe, x):
            return self.softmax(x)

    propagation = textlrp.propagate(Probe(Wrapped()), 1, input_ids=IDS)
    assert abs(propagation.ledgers[0]["softmax"]) > 1e-6


def test_modules_with_parameters_or_buffers_are_not_found():
    class Swish(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.ones(4))

        def forward(self, x):
            return x * torch.sigmoid(self.slope * x)

    assert composed_activations(nn.Sequential(Swish(), nn.ReLU(), nn.Dropout())) == []


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.mul(x, 2.0, out=torch.empty(0)),
        lambda x: x.add_(1.0) if not x.requires_grad else 1 / 0,
        lambda x: x * x.numpy().mean(),
        lambda x: torch.from_numpy(x.numpy() * 2),
    ],
    ids=["out=", "fails with gradients", "numpy", "through numpy"],
)
def test_a_module_that_cannot_run_with_gradients_is_not_found(function):
    assert composed_activations(nn.Sequential(Function(function))) == []


def test_a_module_that_hides_its_function_is_not_found():
    assert composed_activations(nn.Sequential(Function(Cube.apply))) == []

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.cube = Function(Cube.apply)

        def forward(self, probe, x):
            return self.cube(x)

    with pytest.raises(UnsupportedOperationError, match=r"Cube.* in operation.cube \(Function\)"):
        textlrp.propagate(Probe(Wrapped()), 0, input_ids=IDS)


def test_a_trial_does_not_change_the_module():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x * torch.sigmoid(x)

    module = Counting().train()
    assert composed_activations(nn.Sequential(module)) == [module]
    assert module.calls == 0
    assert module.training


def anchor_of_function(function, args, options, like):
    return anchor(lambda x: function(x, *args, **options), like, None)


def anchor_of_module(module, like):
    return anchor(module.forward, like, signature(module))


def test_anchors_of_functions():
    like = torch.zeros(1, dtype=torch.float64)
    assert anchor_of_function(torch.sigmoid, (), {}, like) == (0.5, 0.25)
    assert anchor_of_function(F.gelu, (), {"approximate": "none"}, like) == (0.0, pytest.approx(0.5))
    assert anchor_of_function(F.elu, (2.0,), {}, like) == (0.0, 2.0)
    assert anchor_of_function(torch.log, (), {}, like)[0] is None
    assert anchor_of_function(torch.sign, (), {}, like) == (0.0, 0.0)
    assert anchor_of_function(torch.clamp, (torch.tensor(0.5),), {}, like) == (0.5, 0.0)


def test_anchors_of_modules():
    like = torch.zeros(1, dtype=torch.float64)
    for _ in range(2):
        assert anchor_of_module(ACT2FN["gelu_new"], like) == (0.0, pytest.approx(0.5))
        assert anchor_of_module(Function(torch.cos), like) == (1.0, 0.0)
    assert anchor_of_module(Function(torch.exp), like) == (1.0, 1.0)


def test_two_modules_of_one_class_are_told_apart_by_their_settings():
    class Scaled(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.scale = scale

        def forward(self, x):
            return self.scale + torch.tanh(x) if self.scale else x.cumsum(-1)

    one, two, none = Scaled(1.0), Scaled(2.0), Scaled(0.0)
    assert composed_activations(nn.Sequential(one, two, none)) == [one, two]
    like = torch.zeros(1, dtype=torch.float64)
    assert [anchor_of_module(module, like)[0] for module in (one, two)] == [1.0, 2.0]


def test_two_functions_of_one_name_are_told_apart():
    """Lambdas share their qualified name."""
    functions = [lambda x: torch.tanh(x) * 2, lambda x: x.cumsum(-1)]
    modules = [Function(function) for function in functions]
    assert composed_activations(nn.Sequential(*modules)) == modules[:1]
    assert composed_activations(nn.Sequential(*modules[::-1])) == modules[:1]
    like = torch.zeros(1, dtype=torch.float64)
    assert [anchor_of_module(Function(f), like) for f in (lambda x: x + 1, lambda x: x * 3 + 2)] == [(1, 1), (2, 3)]


def test_close_to_zero_a_composed_activation_is_bounded():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = Function(lambda x: 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * x)))

        def forward(self, probe, x):
            return self.act(x * 0)

    assert textlrp.propagate(Probe(Wrapped()), 0, input_ids=IDS).relevance.tolist() == [[0.0] * 4] * 2
