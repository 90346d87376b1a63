"""Nodes of the autograd graph that no rule accounts for are found and named."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from textlrp.lrp import coverage
from textlrp.lrp.elementwise import Square


class Custom(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, c):
        return c * 2


def carrier(*shape):
    return torch.rand(shape, dtype=torch.float64, requires_grad=True)


def ruleless_kinds(y, products=()):
    return sorted(coverage.kind(node) for node in coverage.ruleless(y.grad_fn, set(products)))


def test_kinds_are_named_without_the_suffixes_of_autograd():
    x = carrier(2, 2)
    kinds = {
        coverage.kind(y.grad_fn) for y in (x.exp(), x + 1, F.conv1d(x, torch.ones(2, 2, 1).double()), Custom.apply(x))
    }
    assert kinds == {"Exp", "Add", "Squeeze", "Custom"}


def test_linear_operations_pass():
    x, constant = carrier(3, 4), torch.rand(4, 5, dtype=torch.float64)
    y = torch.cat([x, x.flip(0)]).view(3, 2, 4).transpose(0, 1).mean(0) @ constant
    y = F.linear(y[:, 1:] * 2 - 1, torch.rand(3, 4).double(), torch.rand(3).double()) / torch.tensor(3.0)
    y = torch.where(y > 0, y, y.roll(1)).cumsum(0)
    assert ruleless_kinds(y.sum() + F.relu(y).amax()) == []
    assert ruleless_kinds(F.conv1d(x[None], torch.rand(2, 3, 2).double())) == []


def test_products_of_carriers_are_found_unless_they_were_given_their_rule():
    x = carrier(3, 3)
    for y, kind in ((x * x.flip(0), "Mul"), (x @ x.T, "Mm"), (torch.addmm(x, x, x), "Addmm"), (x / x, "Div")):
        assert ruleless_kinds(y.sum()) == [kind]
        assert ruleless_kinds(y.sum(), {y.grad_fn}) == []


def test_lerp_multiplies_by_its_weight_alone():
    x, y, weight = carrier(3), carrier(3), torch.rand(3, dtype=torch.float64)
    assert ruleless_kinds(torch.lerp(x, y, 0.3)) == []
    assert ruleless_kinds(torch.lerp(x, y, weight)) == []
    assert ruleless_kinds(torch.lerp(x, y.detach(), weight)) == []
    assert ruleless_kinds(torch.lerp(x, y, carrier(3))) == ["Lerp"]


def test_a_constant_divided_by_a_carrier_is_found():
    x = carrier(3)
    assert ruleless_kinds(1.5 / x * 2)
    assert ruleless_kinds(x / torch.ones(3)) == []


def test_nonlinear_nodes_are_found_wherever_they_are():
    x = carrier(3, 3)
    assert ruleless_kinds((x.exp() + x.tanh().exp()).sum()) == ["Exp", "Exp", "Tanh"]
    assert ruleless_kinds(Custom.apply(x).sum()) == ["Custom"]
    assert ruleless_kinds(F.layer_norm(x, (3,)).sum()) == ["NativeLayerNorm"]
    assert ruleless_kinds(x.softmax(-1).sum()) == ["Softmax"]


def test_a_surrogate_passes():
    x = carrier(3)
    assert ruleless_kinds(Square.apply(x, x.detach() ** 2).sum()) == []


def test_attention_passes_for_values_alone():
    x, constant = carrier(1, 1, 3, 4), torch.rand(1, 1, 3, 4, dtype=torch.float64)
    for q, k, v, passes in ((constant, constant, x, True), (x, x, x, False), (x, constant, constant, False)):
        y = F.scaled_dot_product_attention(q, k, v)
        assert (ruleless_kinds(y.sum()) == []) is passes


def test_between_stops_at_the_bottom():
    x = carrier(3)
    a = x * 2
    b = a.exp()
    c = b + 1
    inside = coverage.between(c.grad_fn, {a.grad_fn})
    assert {coverage.kind(node) for node in inside} == {"Add", "Exp"}


def test_a_deep_graph_needs_no_deep_stack():
    y = carrier(1)
    for _ in range(5000):
        y = y + 1
    assert ruleless_kinds(y) == []


def test_the_recorder_sees_torch_and_nothing_else():
    x = carrier(3)
    start = x * 1.0
    with coverage.Recorder() as recorder:
        y = Custom.apply(start.exp()).tanh()
    known = recorder.visible | coverage.between(start.grad_fn, set())
    assert [coverage.kind(node) for node in coverage.unseen(y.grad_fn, known)] == ["Custom"]
    with coverage.Recorder() as recorder:
        y = start.exp().tanh()
    assert coverage.unseen(y.grad_fn, recorder.visible | coverage.between(start.grad_fn, set())) == []


def test_the_owner_of_a_node_is_the_innermost_module_and_no_hook_stays():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(3, 3), nn.Tanh())

        def forward(self, x):
            return self.inner(x).exp()

    model = Outer().requires_grad_(False)
    recorded = coverage.NodeOwners(model)
    y = model(torch.rand(2, 3, requires_grad=True))
    recorded.close()
    owners = {coverage.kind(node): place for node, place in recorded.owner.items()}
    assert owners["Exp"] == "the model (Outer)"
    assert owners["Tanh"] == "inner.1 (Tanh)"
    assert owners["Addmm"] == "inner.0 (Linear)"
    assert y.grad_fn in recorded.owner
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.skipif(not hasattr(F, "grouped_mm"), reason="an older torch lacks some of the names")
def test_every_name_in_the_list_of_trusted_nodes_is_a_node_of_this_torch():
    """A name without a node would trust any node to which a later torch gives that name."""
    nodes = {coverage._operation(name) for name in dir(torch._C._functions)}
    assert coverage._LINEAR - nodes == set()
    assert coverage._BILINEAR.keys() - nodes == set()
    assert any(name.startswith(coverage._ATTENTION) for name in nodes)
