"""An operation without a rule is refused by name and place, and the model is left as it was."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from reference_rules import IDS, Probe
from single_operations import Cube, check, table
from torch import nn

import textlrp
from textlrp.errors import InputError, LRPError, NonFiniteError, UnsupportedOperationError

# -- fail closed ------------------------------------------------------------------------------------------------------


class Body(nn.Module):
    """Puts an operation into a module with a name, `operation.body`."""

    def __init__(self, function):
        super().__init__()
        self.body = Inner(function)

    def forward(self, probe, x):
        return self.body(x)


class Inner(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.register_buffer("nothing", torch.zeros(()))  # a module without tensors could be taken for an activation

    def forward(self, x):
        return self.function(x)


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        @torch.jit.script
        def function(x):
            return torch.tanh(x) * x

        return function


REFUSED = [
    ("cumprod", lambda x: torch.cumprod(x, 1), "torch.cumprod"),
    ("Tensor.prod", lambda x: x.prod(1), "prod"),
    ("fmod", lambda x: torch.fmod(x, 0.7), "fmod"),
    ("atan2", lambda x: torch.atan2(x, x.flip(1)), "atan2"),
    ("pow of two activations", lambda x: torch.pow(x, x), "pow"),
    ("kernels from activations", lambda x: F.conv1d(x, x[0, :, :, None]), "F?.*conv1d with kernels computed"),
    ("norm weights from activations", lambda x: F.layer_norm(x, (4,), x[0, 0]), "F.layer_norm with weights computed"),
    ("out=", lambda x: torch.mul(x, 2, out=torch.empty(0, dtype=x.dtype)), "with out="),
    ("custom function", Cube.apply, "Cube"),
    ("scripted function", scripted(), "Tanh|Mul|scripted|jit"),
]


@pytest.mark.parametrize(("function", "words"), [pytest.param(f, words, id=name) for name, f, words in REFUSED])
def test_an_operation_without_a_rule_is_refused_by_name_and_place(function, words):
    probe = Probe(lambda m, x: x)
    probe.operation = Body(function)
    with torch.no_grad():
        try:
            out = function(probe.table(IDS)).shape
        except RuntimeError:
            out = (2, 4, 4)
    probe.head = nn.Linear(math.prod(out[1:]), 3, dtype=torch.float64)
    with pytest.raises(UnsupportedOperationError, match=words) as refusal:
        textlrp.propagate(probe, 0, input_ids=IDS)
    assert "operation.body (Inner)" in str(refusal.value)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + torch.rand_like(x),
        lambda x: x + torch.randn_like(x) * 0.1,
        lambda x: x * torch.bernoulli(x.sigmoid()),
        lambda x: x * torch.bernoulli(torch.full_like(x, 0.5)),
        lambda x: F.gumbel_softmax(x, dim=-1),
        lambda x: x + torch.empty_like(x).normal_(),
        lambda x: (x * 1.0).normal_(),
    ],
    ids=["rand_like", "randn_like", "bernoulli", "bernoulli of constants", "gumbel_softmax", "normal_", "overwritten"],
)
def test_random_numbers_are_seeded_and_accounted_for_or_refused(function):
    """Random numbers that a model draws are constants; a sample that depends on relevance has no rule."""
    probe = Probe(lambda m, x: function(x))
    torch.manual_seed(3)
    with torch.no_grad():
        plain = probe(IDS[:1])
    torch.manual_seed(3)
    try:
        propagation = textlrp.propagate(probe, 0, input_ids=IDS[:1])
    except LRPError:
        return
    assert torch.equal(propagation.logits, plain)
    assert propagation.ledgers[0].balanced


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x + torch.func.grad(lambda r: (r**3).sum())(x.detach()), r"under torch\.func"),
        (
            lambda x: x * torch.autograd.functional.jacobian(lambda r: r**2, x.detach()).sum(),
            "a derivative by detached",
        ),
        (lambda x: x + torch.autograd.grad((x * x).sum(), x)[0], r"torch\.autograd.*grad, a derivative"),
        (lambda x: torch.vmap(torch.tanh)(x), "no rule covers Tanh"),
        (lambda x: x + torch.from_numpy(x.detach().numpy() * 2), r"Tensor\.numpy of activations"),
        (lambda x: x + x.sum().item(), r"Tensor\.item"),
        (lambda x: x + torch.tensor(x.detach().tolist()), r"Tensor\.tolist"),
        (lambda x: torch.ops.aten.tanh(x), r"torch\.ops\.aten\.tanh"),
    ],
    ids=["func.grad", "jacobian", "autograd.grad", "vmap", "numpy", "item", "tolist", "ops"],
)
def test_leaving_the_forward_pass_is_refused(function, words):
    """Derivatives would change with the rules; numbers that leave torch come back as constants without a source."""
    probe = Probe(lambda m, x: x)
    probe.operation = lambda m, x: function(x)
    with pytest.raises(UnsupportedOperationError, match=words):
        textlrp.propagate(probe, 0, input_ids=IDS)


def test_constants_are_mapped_over():
    """transformers makes its masks in this way."""
    check(lambda m, x: x * torch.vmap(lambda r: r * 2)(m.row))


def test_detached_activations_are_constants():
    check(lambda m, x: x + x.detach(), lambda m, x, c: x * c, posted={"constants"})


@table(
    ("maximum", lambda m, x: torch.maximum(x, m.row - 1)),
    ("minimum of a constant first", lambda m, x: torch.minimum(m.row - 1, x)),
    ("torch.max of two", lambda m, x: torch.max(x, m.row - 1)),
    ("Tensor.min of two", lambda m, x: x.min(other=m.row - 1)),
    ("clamp by tensors", lambda m, x: torch.clamp(x, -m.row, m.other)),
    ("clamp from below", lambda m, x: x.clamp(min=-m.row)),
)
def test_a_constant_that_wins_is_posted(operation):
    propagation = check(operation)
    assert all(abs(ledger["constants"]) > 1e-6 for ledger in propagation.ledgers)


def test_ties_are_shared():
    check(lambda m, x: torch.maximum(x, torch.zeros_like(x)) + torch.maximum(x, x), None)
    check(lambda m, x: torch.maximum(x * 0 + m.row, m.row), lambda m, x, c: 0 * x * c)


def test_slopes_by_channel():
    slopes = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    check(lambda m, x: F.prelu(x.mT, slopes).mT, lambda m, x, c: torch.where(x > 0, x, slopes * x) * c, posted=set())


def test_a_complex_constant():
    def operation(m, x):
        return torch.view_as_real(torch.view_as_complex(x.view(2, 4, 2, 2)) + (1 + 2j)).flatten(2)

    check(operation, posted={"constants"})


@pytest.mark.parametrize("bias", [True, False])
def test_weights_computed_from_activations(bias):
    """A hypernetwork: both sides get half, and the bias is posted."""
    propagation = check(
        lambda m, x: F.linear(m.square, x[0], m.row if bias else None).expand(2, 4, 4) * 0 + F.linear(x, m.square),
        lambda m, x, c: x * (c @ m.square),
    )
    assert propagation.ledgers[0].balanced
    probe = Probe(lambda m, x: F.linear(x[:1], x[0], m.row if bias else None))
    propagation = textlrp.propagate(probe, 1, input_ids=IDS[:1])
    assert propagation.ledgers[0].balanced


def test_a_scripted_submodule_is_refused_by_its_place():
    probe = Probe(lambda m, x: x)
    probe.operation = Body(torch.tanh)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        probe.operation.body.scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.Tanh()).double())
    probe.operation.body.function = lambda x: probe.operation.body.scripted(x)
    with pytest.raises(UnsupportedOperationError, match=r"operation.body \(Inner\)"):
        textlrp.propagate(probe, 0, input_ids=IDS)


def test_nothing_is_left_behind():
    probe = Probe(lambda m, x: torch.cumprod(x, 1))
    before = torch.autograd.Function.__dict__["apply"]
    with pytest.raises(LRPError):
        textlrp.propagate(probe, 0, input_ids=IDS)
    assert torch.autograd.Function.__dict__["apply"] is before
    assert torch.overrides._get_current_function_mode_stack() == []
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in probe.modules())


# -- NaN and infinity -------------------------------------------------------------------------------------------------


def test_a_parameter_with_a_nan_is_named():
    probe = Probe(Body(lambda x: x * 1.0))
    with torch.no_grad():
        probe.table.weight[4, 0] = torch.nan
    with pytest.raises(NonFiniteError, match=r"first in the output of table \(Embedding\); the parameter table.weight"):
        textlrp.propagate(probe, 0, input_ids=IDS)


def test_a_forward_pass_that_overflows_is_located():
    probe = Probe(Body(lambda x: x * 6e4 * 6e4), dtype=torch.float16)
    with pytest.raises(NonFiniteError, match=r"first in the output of operation.body \(Inner\)"):
        textlrp.propagate(probe, 0, input_ids=IDS)


def test_a_backward_pass_that_overflows_is_an_error():
    """Multipliers of ten millions, even scaled down by 256, are too large for float16."""
    probe = Probe(lambda m, x: x * 4096 * 4096, dtype=torch.float16)
    with torch.no_grad():
        probe.table.weight.mul_(1e-5)
        probe.head.weight.mul_(10)
        assert probe(IDS).isfinite().all()
    with pytest.raises(NonFiniteError, match="the backward pass overflowed"):
        textlrp.propagate(probe, 0, input_ids=IDS)


def test_embeddings_in_place_of_ids_are_refused():
    with pytest.raises(InputError, match="pass input_ids, not inputs_embeds"):
        textlrp.propagate(Probe(lambda m, x: x), inputs_embeds=torch.ones(1, 4, 4))
