"""Several targets share a forward pass, and their backward passes are mapped: the same numbers as one by one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models
import torch
import torch.utils.checkpoint
from reference_rules import IDS, Probe
from single_operations import PRESETS
from torch import nn
from written_models import ATTENTION, Checkpointed

import textlrp
from textlrp.lrp import attempt, propagation

SEVERAL = (0, 1, 2, torch.tensor([1.0, -1.0, 0.5]), [2, 0, 1])


@pytest.fixture
def passes(monkeypatch):
    """How many targets each backward pass took, and whether it succeeded."""
    taken = []
    backward = attempt._backward

    def counted(interception, logits, weights, last):
        taken.append((len(weights), False))
        result = backward(interception, logits, weights, last)
        taken[-1] = (len(weights), True)
        return result

    monkeypatch.setattr(attempt, "_backward", counted)
    return taken


def agree(actual, expected, tolerance=1e-11):
    """The same relevance and the same rows, up to the order of the sums."""
    for left, right in zip(actual, expected, strict=True):
        assert torch.equal(left.weights, right.weights)
        assert torch.equal(left.logits, right.logits)
        assert left.met == right.met
        for i, (ledger, alone) in enumerate(zip(left.ledgers, right.ledgers, strict=True)):
            scale = right.relevance[i].abs().sum().item()
            assert (left.relevance[i] - right.relevance[i]).abs().max() <= tolerance * scale
            assert ledger.logit == alone.logit
            assert dict(ledger) == pytest.approx(dict(alone), abs=tolerance * scale)


@PRESETS
@pytest.mark.parametrize(
    "name",
    "bert big_bird bart convbert deberta-v2 fnet funnel gpt_oss llama longformer mixtral reformer xlnet yoso "
    "zamba2".split(),
)
def test_several_targets_pass_back_at_once(name, rules, passes, monkeypatch):
    """Time first, heads merged, ids read twice, documents alone, complex numbers, experts, custom functions."""
    model = tiny_models.build(name, dtype=torch.float64)
    inputs = tiny_models.inputs(model, name)
    together = propagation.propagate_targets(model, SEVERAL, rules, **inputs)
    assert {*passes} == {(5, True)}
    passes.clear()
    monkeypatch.setattr(attempt, "_AT_ONCE", 1)
    agree(together, propagation.propagate_targets(model, SEVERAL, rules, **inputs))
    assert {*passes} == {(1, True)}


@PRESETS
@ATTENTION
@pytest.mark.parametrize("name", ["bert", "llama"])
def test_several_targets_of_one_document_equal_each(name, rules, attention, passes):
    model = tiny_models.build(name, attention=attention)
    inputs = {key: value[:1] for key, value in tiny_models.inputs(model, name).items()}
    special = torch.zeros_like(inputs["input_ids"])
    special[:, 0] = 1
    together = propagation.propagate_targets(model, [2, 0, 1], rules, special_tokens_mask=special, **inputs)
    alone = [textlrp.propagate(model, i, rules, special_tokens_mask=special, **inputs) for i in (2, 0, 1)]
    assert passes == [(3, True)] + 3 * [(1, True)]
    agree(together, alone, 1e-5)


def test_as_many_targets_at_once_as_memory_allows(bert, passes, monkeypatch):
    model, inputs = bert
    monkeypatch.setattr(attempt, "_AT_ONCE", 3 * inputs["input_ids"].numel() + 5)
    propagations = propagation.propagate_targets(model, [0, 1, 2, 0, 1, 2, 0], **inputs)
    assert passes == [(3, True), (3, True), (1, True)]
    agree(propagations, [propagations[i] for i in (0, 1, 2, 0, 1, 2, 0)], 1e-5)
    assert propagation.propagate_targets(model, [], **inputs) == ()


def test_several_targets_in_half_precision(passes):
    model = tiny_models.build("bert", dtype=torch.bfloat16)
    inputs = tiny_models.inputs(model, "bert")
    propagations = propagation.propagate_targets(model, [0, 1, 2], **inputs)
    assert passes == [(3, True)]
    for i, single in enumerate(propagations):
        assert all(ledger.balanced for ledger in single.ledgers)
        alone = textlrp.propagate(model, i, **inputs).relevance
        assert torch.corrcoef(torch.stack([single.relevance.flatten(), alone.flatten()]))[0, 1] > 0.99


@PRESETS
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_several_targets_of_a_model_with_checkpoints(use_reentrant, rules, passes):
    """A checkpoint runs operations again, whose rules cannot be mapped: the targets go one by one."""
    propagations = propagation.propagate_targets(Checkpointed(use_reentrant).double(), [0, 1, 2], rules, input_ids=IDS)
    assert passes == ([(3, True)] if use_reentrant else [(3, False)] + 3 * [(1, True)])
    agree(propagations, [textlrp.propagate(Checkpointed(None).double(), i, rules, input_ids=IDS) for i in range(3)])


def test_a_backward_pass_that_reads_its_numbers_takes_targets_one_by_one(passes):
    def mix(m, x):
        y = x * 2
        if y.requires_grad:
            y.register_hook(lambda c: c if bool((c != 0).any()) else None)
        return y

    probe = Probe(mix)
    propagations = propagation.propagate_targets(probe, [0, 1, 2], input_ids=IDS)
    assert passes == [(3, False)] + 3 * [(1, True)]
    agree(propagations, [textlrp.propagate(probe, i, input_ids=IDS) for i in range(3)])


def test_an_error_of_the_backward_pass_is_not_hidden(passes):
    def broken(c):
        raise RuntimeError("broken backward pass")

    def mix(m, x):
        y = x * 2
        if y.requires_grad:
            y.register_hook(broken)
        return y

    with pytest.raises(RuntimeError, match="broken backward pass"):
        propagation.propagate_targets(Probe(mix), [0, 1], input_ids=IDS)
    assert passes == 2 * [(2, False), (1, False)]  # the second time on copies of what the rules keep


FIRST = """
import sys
import reference_rules, torch
from textlrp.lrp.propagation import propagate_targets
assert "torch._dynamo" not in sys.modules
found = propagate_targets(reference_rules.Probe(lambda m, x: x * 2), [0, 1], input_ids=reference_rules.IDS)
print(len(found), torch._C._len_torch_function_stack())
"""


def test_several_targets_are_the_first_that_a_process_does():
    """``torch.vmap`` of older releases then imports the compiler, which fails where functions are not overridden."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(textlrp.__file__).parents[1])])
    found = subprocess.run(
        [sys.executable, "-c", FIRST], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert found.stdout.split() == ["2", "0"], found.stderr


def test_torch_warns_again_of_operations_that_it_cannot_map(bert):
    model, inputs = bert
    propagation.propagate_targets(model, [0, 1], **inputs)
    q = torch.rand(1, 2, 8, 4, requires_grad=True)
    y = nn.functional.scaled_dot_product_attention(q, q, q)
    with pytest.warns(UserWarning, match="batching rule"):
        torch.vmap(lambda c: torch.autograd.grad(y, q, c, retain_graph=True)[0])(torch.rand(2, *y.shape))
