"""A model is left exactly as it was, whatever it does while it runs, and other threads are not disturbed."""

import gc
import threading

import pytest
import tiny_models
import torch
import torch.utils.checkpoint
from model_states import assert_same, state_of, unusual
from reference_rules import IDS, Probe
from single_operations import Returns
from torch import nn

import textlrp
from textlrp.errors import NonFiniteError, UnsupportedOperationError

# -- the model is left as it was --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bert", "llama", "gpt2", "albert", "bart"])
def test_the_model_is_left_as_it_was(name):
    model = tiny_models.build(name)
    inputs = tiny_models.inputs(model, name)
    with torch.no_grad():
        plain = model(**inputs).logits
    before = state_of(unusual(model))
    propagation = textlrp.propagate(model, **inputs)
    assert_same(before, state_of(model))
    assert torch.equal(propagation.logits, plain), "logits are those of the plain model in evaluation mode"


class Rewrites(nn.Module):
    """A classifier that rewrites its buffers while it runs, as rotations that grow with the text do."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(12, 4), nn.Linear(4, 3)
        self.register_buffer("written", torch.ones(4))
        self.register_buffer("part", torch.ones(2, 4))
        self.register_buffer("replaced", torch.ones(4))

    def forward(self, input_ids):
        self.written.copy_(torch.arange(4.0))
        self.part[0] = 5.0
        self.register_buffer("replaced", self.replaced * 2)
        return self.head((self.table(input_ids) * self.written + self.part[0] + self.replaced).mean(1))


def test_buffers_that_a_model_rewrites_are_restored():
    model = Rewrites()
    before = dict(model.named_buffers())
    propagation = textlrp.propagate(model, 0, input_ids=IDS)
    after = dict(model.named_buffers())
    assert list(after) == list(before)
    assert all(after[name] is buffer and bool((buffer == 1).all()) for name, buffer in before.items())
    assert torch.equal(model(IDS), propagation.logits)
    model.table.weight.data[3, 0] = torch.nan
    model.written.fill_(1.0)
    model.part.fill_(1.0)
    with pytest.raises(NonFiniteError):
        textlrp.propagate(model, 0, input_ids=IDS)
    assert bool((model.written == 1).all())
    assert bool((model.part == 1).all())


def test_hooks_and_lists_that_a_model_grows_are_restored():
    class Grows(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head, self.seen = nn.Embedding(12, 4), nn.Linear(4, 3), []

        def forward(self, input_ids):
            self.head.register_forward_hook(lambda *_: None)
            self.seen.append(input_ids.shape)
            return self.head(self.table(input_ids).mean(1))

    model = Grows()
    hook = model.head.register_forward_hook(lambda *_: None)
    textlrp.propagate(model, 0, input_ids=IDS)
    assert list(model.head._forward_hooks) == [hook.id]
    assert model.seen == []


class Fails(nn.Module):
    """A classifier that breaks in the middle of its forward pass, or of the backward pass."""

    def __init__(self, when):
        super().__init__()
        self.table, self.act, self.head, self.when = nn.Embedding(12, 4), nn.GELU(), nn.Linear(4, 3), when

    def forward(self, input_ids):
        x = self.act(self.table(input_ids))
        if self.when == "forward":
            raise KeyError("broken model")
        if self.when == "backward" and x.requires_grad:
            x.register_hook(self.fail)
        return self.head(x.mean(1))

    def fail(self, c):
        raise KeyError("broken model")


@pytest.mark.parametrize("when", ["forward", "backward"])
def test_the_model_is_left_as_it_was_when_it_fails(when):
    model = unusual(Fails(when))
    before = state_of(model)
    with pytest.raises(KeyError, match="broken model"):
        textlrp.propagate(model, 0, input_ids=IDS)
    assert_same(before, state_of(model))
    model.when = "never"
    assert textlrp.propagate(model, 0, input_ids=IDS).ledgers[0].balanced, "it still works"


def test_the_model_is_left_as_it_was_when_it_is_refused():
    model = unusual(Probe(lambda m, x: x.cumprod(1)))
    before = state_of(model)
    with pytest.raises(UnsupportedOperationError):
        textlrp.propagate(model, 0, input_ids=IDS)
    assert_same(before, state_of(model))


def test_inputs_are_left_as_they_were(bert):
    model, inputs = bert
    copies = {key: value.clone() for key, value in inputs.items()}
    textlrp.propagate(model, 0, **inputs)
    assert all(torch.equal(value, copies[key]) for key, value in inputs.items())
    assert all(not vars(value) for value in inputs.values()), "no mark stays on a tensor of the caller"


def test_a_model_that_trains_goes_on_training():
    model = Returns(lambda y: y).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loss = model(IDS).square().sum()
    textlrp.propagate(model, 0, input_ids=IDS)
    loss.backward()
    optimizer.step()
    textlrp.propagate(model, 0, input_ids=IDS)
    assert all(parameter.grad is not None and parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_every_grad_mode_around_the_call(bert, context):
    model, inputs = bert
    expected = textlrp.propagate(model, 0, **inputs)
    with context():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        actual = textlrp.propagate(model, 0, **inputs)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    assert torch.equal(actual.relevance, expected.relevance)
    assert actual.ledgers == expected.ledgers


def test_inputs_made_in_inference_mode(bert):
    model, inputs = bert
    with torch.inference_mode():
        made = {key: value.clone() for key, value in inputs.items()}
    assert torch.equal(textlrp.propagate(model, 0, **made).relevance, textlrp.propagate(model, 0, **inputs).relevance)


def test_the_random_state_is_untouched(bert):
    model, inputs = bert
    drawing = Probe(lambda m, x: x + torch.rand(4, dtype=x.dtype))
    before = torch.get_rng_state()
    textlrp.propagate(model, 0, **inputs)
    textlrp.propagate(drawing, 0, input_ids=IDS)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_call_gives_the_same_bits(bert):
    model, inputs = bert
    first, second = (textlrp.propagate(model, 0, **inputs) for _ in range(2))
    assert torch.equal(first.relevance, second.relevance)
    assert first.ledgers == second.ledgers
    assert first.met == second.met


def test_nothing_of_the_graph_is_kept(bert):
    """The result of a call holds no autograd graph, and the graph of the call is gone."""
    model, inputs = bert
    gc.collect()
    textlrp.propagate(model, 0, **inputs)
    gc.collect()
    before = sum(issubclass(type(item), torch.Tensor) for item in gc.get_objects())
    for _ in range(3):
        propagation = textlrp.propagate(model, 0, **inputs)
    assert propagation.relevance.grad_fn is None
    assert propagation.logits.grad_fn is None
    del propagation
    gc.collect()
    assert sum(issubclass(type(item), torch.Tensor) for item in gc.get_objects()) <= before


# -- threads ----------------------------------------------------------------------------------------------------------


def in_threads(*functions):
    results, errors = [None] * len(functions), []

    def call(i, function):
        try:
            results[i] = function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=pair) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors, errors
    return results


def test_two_threads_on_one_model(bert):
    model, inputs = bert
    before = state_of(model)
    expected = [textlrp.propagate(model, target, **inputs) for target in (0, 1)]
    for first, second in [
        in_threads(*(lambda t=t: textlrp.propagate(model, t, **inputs) for t in (0, 1))) for _ in range(4)
    ]:
        assert torch.equal(first.relevance, expected[0].relevance)
        assert torch.equal(second.relevance, expected[1].relevance)
    assert_same(before, state_of(model))


def test_two_threads_on_two_models():
    models = {name: tiny_models.build(name) for name in ("bert", "gpt2")}
    calls = [
        lambda name=name, model=model: textlrp.propagate(model, 0, **tiny_models.inputs(model, name)).relevance
        for name, model in models.items()
    ]
    expected = [call() for call in calls]
    for _ in range(4):
        assert all(torch.equal(*pair) for pair in zip(in_threads(*calls), expected, strict=True))


def test_a_plain_call_in_another_thread_is_not_disturbed():
    model = tiny_models.build("gpt2").requires_grad_(False)
    inputs = tiny_models.inputs(model, "gpt2")
    with torch.no_grad():
        expected = model(**inputs).logits

    def plain():
        with torch.no_grad():
            return [model(**inputs).logits for _ in range(10)]

    def explain():
        return [textlrp.propagate(model, 0, **inputs).logits for _ in range(5)]

    for logits in in_threads(plain, explain):
        assert all(torch.equal(run, expected) for run in logits)


def test_a_call_in_inference_mode_may_multiply_activations_by_an_input():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.table, self.head = nn.Embedding(12, 4), nn.Linear(4, 2)

        def forward(self, input_ids, weights):
            x = self.table(input_ids)
            return self.head((x * x * weights[..., None]).mean(1))

    model, ids = Masked(), torch.tensor([[1, 2, 3]])
    expected = textlrp.propagate(model, 0, input_ids=ids, weights=torch.tensor([[1.0, 0.5, 0.0]]))
    with torch.inference_mode():
        weights = torch.tensor([[1.0, 0.5, 0.0]])
        relevance = textlrp.propagate(model, 0, input_ids=ids, weights=weights).relevance
    assert torch.equal(relevance, expected.relevance)
