"""An explanation runs on a copy of the model that shares its weights: the model itself never changes meanwhile."""

import functools
import gc
import threading
import weakref

import pytest
import tiny_models
import torch
from reference_rules import IDS
from torch import nn

import textlrp
from textlrp.errors import ModelError
from textlrp.guard import working_copy


class Classifier(nn.Module):
    """A bag of words with a layer, a buffer and settings, which starts in training mode."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.layer, self.head = nn.Embedding(12, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.act, self.dropout = nn.GELU(), nn.Dropout(0.5)
        self.register_buffer("scale", torch.ones(4))
        self.shift = torch.zeros(4)
        self.settings = {"inside": {"factor": 1.0}}
        self.seen = []

    def forward(self, input_ids):
        x = self.dropout(self.act(self.layer(self.table(input_ids))))
        return self.head((x * self.scale + self.shift).mean(1) * self.settings["inside"]["factor"])


def relevance(model):
    return textlrp.propagate(model, 0, input_ids=IDS).relevance


def plain(model):
    was = model.training
    with torch.no_grad():
        logits = model.eval()(IDS)
    model.train(was)
    return logits


def test_while_a_model_is_explained_it_stays_in_training():
    model, seen = Classifier(), []
    outside = [model]

    def observe_the_model():
        original = outside[0]
        seen.append((original.training, original.dropout.training, original.head.weight.requires_grad))

    def observe(module, args):
        other = threading.Thread(target=observe_the_model)
        other.start()
        other.join()
        seen.append((module.training, module.weight.requires_grad))

    model.head.register_forward_pre_hook(observe)
    relevance(model)
    assert seen == [(True, True, True), (False, False)], "the model itself, and the copy that runs"


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.head.weight.data.mul_(2),
        lambda m: setattr(m.head.weight, "data", m.head.weight.data * 2),
        lambda m: setattr(m.head, "weight", nn.Parameter(m.head.weight.detach() * 2)),
        lambda m: setattr(m, "head", nn.Linear(4, 3)),
        lambda m: m.scale.data.fill_(3.0),
        lambda m: setattr(m, "scale", torch.full((4,), 3.0)),
        lambda m: m.shift.fill_(1.0),
        lambda m: m.settings["inside"].update(factor=5.0),
        lambda m: m.layer.register_forward_hook(lambda module, args, y: y * 2),
        lambda m: setattr(m, "act", nn.Tanh()),
        lambda m: m.double(),
        lambda m: setattr(m, "forward", lambda input_ids: Classifier.forward(m, input_ids) * 2),
    ],
    ids="weight data parameter module buffer buffer-replaced tensor setting hook activation dtype forward".split(),
)
def test_a_changed_model_is_explained_as_it_is_now(change):
    model = Classifier()
    for _ in range(2):
        before = textlrp.propagate(model, 0, input_ids=IDS)
    change(model)
    for _ in range(2):
        after = textlrp.propagate(model, 0, input_ids=IDS)
        assert torch.equal(after.logits, plain(model))
        assert after.logits.dtype != before.logits.dtype or not torch.equal(after.logits, before.logits)


def test_hooks_leave_their_results_with_their_user():
    class Notes:
        def __init__(self, model):
            self.model, self.seen = model, 0

        def note(self, module, args, y):
            self.seen += 1

    model, seen = Classifier(), []
    notes = Notes(model)
    model.head.register_forward_hook(notes.note)
    model.layer.register_forward_hook(lambda module, args, y: seen.append(module))
    relevance(model)
    assert notes.seen == len(seen) == 1
    assert seen[0] is not model.layer, "hooks get the copy"


def wrap_in_a_function(model):
    original = model.layer.forward

    def forward(x):
        return original(x) * 2

    model.layer.forward = forward


def wrap_in_a_partial(model):
    model.layer.forward = functools.partial(lambda module, x: nn.Linear.forward(module, x) * 2, model.layer)


def hold_in_a_list(model):
    hidden = [nn.Linear(4, 4)]
    model.hidden = hidden
    model.layer.forward = lambda x: model.hidden[0](x)


def hold_weakly(model):
    model.layer.parent = weakref.ref(model)
    model.act.forward = lambda x: nn.functional.gelu(x) * 2
    model.layer.register_forward_hook(lambda module, args, y: y * module.parent().scale)


def hold_in_an_object(model):
    class Helper:
        def __init__(self, layer):
            self.layer = layer

        def __call__(self, x):
            return nn.Linear.forward(self.layer, x) * 3

    model.layer.helper = Helper(model.layer)
    model.layer.forward = model.layer.helper.__call__


def compile_the_forward(model):
    model.layer.forward = torch.compile(model.layer.forward, backend="eager")


def compile_in_place(model):
    model.layer.compile(backend="eager")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "change",
    [
        wrap_in_a_function,
        wrap_in_a_partial,
        hold_in_a_list,
        hold_weakly,
        hold_in_an_object,
        compile_the_forward,
        compile_in_place,
    ],
)
def test_references_to_a_module_lead_to_its_copy(change):
    """However a model reaches its modules, only the copy runs, so the model does not change."""
    model = Classifier()
    change(model)
    expected = plain(model)
    ran, original = [], id(model.layer)
    model.layer.register_forward_pre_hook(lambda module, args: ran.append(id(module) == original))
    model.train()
    propagation = textlrp.propagate(model, 0, capture=["layer"], input_ids=IDS)
    assert torch.equal(propagation.logits, expected)
    assert propagation.ledgers[0].balanced
    assert propagation.captured["layer"][0].multiplier.abs().sum() > 0
    assert not any(ran)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_a_model_that_writes_over_its_buffers_and_tensors():
    class Writes(Classifier):
        def forward(self, input_ids):
            self.scale += 1
            self.shift[0] = 7.0
            self.seen.append(len(self.seen))
            return super().forward(input_ids)

    model = Writes()
    first = relevance(model)
    assert torch.equal(relevance(model), first)
    assert model.scale.tolist() == [1.0] * 4
    assert model.shift.tolist() == [0.0] * 4
    assert model.seen == []


def test_a_model_that_is_gone_takes_its_copies_along():
    for name in ("bert", "llama"):
        model = tiny_models.build(name)
        textlrp.propagate(model, 0, **tiny_models.inputs(model, name))
        gone = weakref.ref(model)
        del model
        gc.collect()
        assert gone() is None
    wrapped = Classifier()
    wrap_in_a_function(wrapped)
    wrapped.layer.back = wrapped.forward  # it refers to the model
    relevance(wrapped)
    gone = weakref.ref(wrapped)
    del wrapped
    gc.collect()
    assert gone() is None


def test_settings_that_a_model_notes_in_its_config_stay_in_the_copy():
    model = tiny_models.build("llama")
    model.config.use_cache = True

    def note(module, args, kwargs):
        module.config.noted = True

    model.register_forward_pre_hook(note, with_kwargs=True)
    textlrp.propagate(model, 0, **tiny_models.inputs(model, "llama"))
    assert model.config.use_cache is True
    assert not hasattr(model.config, "noted")


def test_a_copy_shares_the_weights_and_is_used_again():
    model = Classifier()
    first = working_copy.take(model)
    working_copy.give_back(model, first)
    again = working_copy.take(model)
    assert again is first
    assert working_copy.take(model) is not first, "the first is in use"
    assert all(shared.is_set_to(p) for shared, p in zip(again.parts.parameters, model.parameters(), strict=True))


def test_weights_made_in_inference_mode_are_refused():
    with torch.inference_mode():
        model = Classifier()
    for _ in range(2):
        with pytest.raises(ModelError, match=r"the model's weights were made in torch\.inference_mode"):
            relevance(model)
