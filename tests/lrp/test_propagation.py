"""Whole models against their twins; targets, inputs, batches and padding; classifiers of every form."""

from types import SimpleNamespace

import pytest
import reference_rules
import tiny_models
import torch
import torch.utils.checkpoint
from reference_rules import IDS, Probe
from single_operations import PRESETS, Returns
from torch import nn
from written_models import ATTENTION, Checkpointed

import textlrp
from textlrp.errors import InputError, ModelError, NonFiniteError, UnbalancedLedgerError

# -- whole models against their twins ---------------------------------------------------------------------------------


def compare(model, twin, inputs, rules, tolerance):
    """A padded batch by textlrp, each document alone by its twin: relevance, logits and every row."""
    propagation = textlrp.propagate(model, [0, 1, 2], rules, **inputs)
    for i, (ids, mask) in enumerate(zip(inputs["input_ids"], inputs["attention_mask"].bool(), strict=True)):
        relevance, logits, posted = twin(model.state_dict(), model.config, ids[mask], i, rules)
        largest = relevance.abs().max()
        assert (propagation.relevance[i][mask].double() - relevance).abs().max() <= tolerance * largest
        assert propagation.relevance[i][~mask].eq(0).all()
        assert (propagation.logits[i].double() - logits).abs().max() <= tolerance * logits.abs().max()
        ledger = propagation.ledgers[i]
        assert ledger["tokens"] == pytest.approx(relevance.sum().item(), abs=tolerance * ledger.scale)
        for heading in ("positions", "token types", "biases", "norms", "softmax", "constants", "stabilizer"):
            assert ledger[heading] == pytest.approx(posted.get(heading, 0.0), abs=tolerance * ledger.scale), heading


@PRESETS
@ATTENTION
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-9)], ids=str)
def test_bert_equals_its_twin(rules, attention, dtype, tolerance):
    model = tiny_models.build("bert", attention=attention, dtype=dtype)
    compare(model, reference_rules.bert, tiny_models.inputs(model, "bert"), rules, tolerance)


@pytest.mark.parametrize("rules", ["attnlrp", "cp-lrp", "cp-lrp-gates"])
@ATTENTION
@pytest.mark.parametrize("groups", [4, 2], ids=["all heads", "grouped heads"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-9)], ids=str)
def test_llama_equals_its_twin(rules, attention, groups, dtype, tolerance):
    model = tiny_models.build("llama", attention=attention, dtype=dtype, num_key_value_heads=groups)
    compare(model, reference_rules.llama, tiny_models.inputs(model, "llama"), rules, tolerance)


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma3_text", "phi3", "gpt_oss"])
def test_the_gate_is_found_wherever_it_stands(name):
    model = tiny_models.build(name)
    met = textlrp.propagate(model, 0, "cp-lrp-gates", **tiny_models.inputs(model, name)).met
    assert sum(count for (_, rule), count in met.items() if rule == "gate constant") == model.config.num_hidden_layers


def test_labels_of_a_batch_are_left_out():
    model = tiny_models.build("bert")
    inputs = tiny_models.inputs(model, "bert")
    expected = textlrp.propagate(model, 0, **inputs)
    found = textlrp.propagate(model, 0, **inputs, labels=torch.tensor([0, 1, 0]))
    assert torch.equal(found.relevance, expected.relevance)


def test_backward_hooks_take_no_part():
    """They are for gradients, which an explanation does not compute."""
    model = tiny_models.build("bert")
    inputs, called = tiny_models.inputs(model, "bert"), []
    expected = textlrp.propagate(model, 0, **inputs)
    model.bert.encoder.layer[0].register_full_backward_hook(lambda module, arriving, leaving: called.append(module))
    model.bert.encoder.layer[1].register_full_backward_pre_hook(lambda module, arriving: called.append(module))
    assert torch.equal(textlrp.propagate(model, 0, **inputs).relevance, expected.relevance)
    assert called == []
    model(**inputs).logits.sum().backward()
    assert len(called) == 2


def test_a_cast_to_a_coarser_dtype_is_named():
    class Cast(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(12, 4), nn.Linear(4, 3)

        def forward(self, input_ids):
            return self.head((self.table(input_ids) * 3.0).to(torch.bfloat16).float().sum(1))

    with pytest.raises(
        UnbalancedLedgerError, match=r"weights are float32, but the model \(Cast\) computes in bfloat16"
    ):
        textlrp.propagate(Cast(), 0, input_ids=torch.tensor([[1, 2, 3, 4]]))


# -- targets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "weights"),
    [
        (1, [[0, 1, 0]] * 3),
        ([2, 0, 1], [[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
        ((2, 0, 1), [[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
        (torch.tensor([2, 0, 1]), [[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
        (torch.tensor([2, 0, 1], dtype=torch.int32), [[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
        (torch.tensor(2), [[0, 0, 1]] * 3),
        ([1], [[0, 1, 0]] * 3),
        (torch.tensor([1.0, -1.0, 0.0]), [[1, -1, 0]] * 3),
        (torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64), [[1, -1, 0.5]] * 3),
        (torch.arange(9.0).view(3, 3), [[0, 1, 2], [3, 4, 5], [6, 7, 8]]),
        (lambda logits: logits.argmin(-1), None),
        (lambda logits: torch.tensor([0.0, 0.0, 2.0]), [[0, 0, 2]] * 3),
        (None, None),
    ],
    ids=[
        "label",
        "list",
        "tuple",
        "tensor",
        "int32",
        "scalar",
        "one",
        "row",
        "double",
        "matrix",
        "min",
        "made",
        "none",
    ],
)
def test_targets(bert, target, weights):
    model, inputs = bert
    propagation = textlrp.propagate(model, target, **inputs)
    if weights is None:
        chosen = propagation.logits.argmin(-1) if callable(target) else propagation.logits.argmax(-1)
        weights = torch.eye(3)[chosen].tolist()
    assert propagation.weights.tolist() == weights
    for i, ledger in enumerate(propagation.ledgers):
        assert ledger.logit == pytest.approx(
            float((propagation.logits[i] * propagation.weights[i]).sum()), rel=1e-6, abs=1e-6
        )
        assert sum(ledger.values()) == pytest.approx(ledger.logit, rel=1e-12)


def test_relevance_is_linear_in_the_target(bert):
    model, inputs = bert
    first, second, both = (
        textlrp.propagate(model, target, **inputs).relevance for target in (0, 2, torch.tensor([2.0, 0.0, -1.0]))
    )
    torch.testing.assert_close(both, 2 * first - second, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (3, "target 3 is out of range: the model has labels 0 to 2"),
        (-1, "target -1 is out of range"),
        ([0, 1, 5], "out of range"),
        ([0, 1], "target must be a label index or one index for each of the 3 documents, not \\[0, 1\\]"),
        ([[0, 1, 2]], "target must be a label index"),
        ([True, False, True], "target must be a label index"),
        ([0.5, 1.0, 2.0], "target must be a label index"),
        ("POS", "target must be a label index"),
        (1.0, "target must be a label index"),
        (True, "target must be a label index"),
        ([], "target must be a label index"),
        (torch.ones(4), r"weights of the logits must have shape \[3\] or \[3, 3\], not \[4\]"),
        (torch.ones(2, 3), r"not \[2, 3\]"),
        (torch.tensor([1.0, torch.nan, 0.0]), "NaN|finite"),
        (torch.tensor([1.0, torch.inf, 0.0]), "infinit|finite"),
        (lambda logits: 7, "out of range"),
        (lambda logits: None, "target"),
    ],
    ids=lambda value: "function" if callable(value) else str(value),
)
def test_bad_targets(bert, target, message):
    model, inputs = bert
    with pytest.raises((InputError, NonFiniteError), match=message):
        textlrp.propagate(model, target, **inputs)
    assert torch.autograd.Function.apply.__func__ is ORIGINAL.__func__


ORIGINAL = torch.autograd.Function.__dict__["apply"]


# -- inputs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "input_ids must be a tensor of integers .*, not NoneType"),
        ({"input_ids": [[1, 2]]}, "not list"),
        ({"input_ids": torch.ones(1, 3)}, r"not Tensor of shape \[1, 3\]"),
        ({"input_ids": torch.ones(3, dtype=torch.long)}, r"of shape \[3\]"),
        ({"input_ids": torch.ones(1, 0, dtype=torch.long)}, r"of shape \[1, 0\]"),
        ({"inputs_embeds": torch.ones(1, 3, 32)}, "pass input_ids, not inputs_embeds"),
        ({"input_ids": torch.ones(1, 3, dtype=torch.bool)}, "input_ids must be a tensor of integers"),
    ],
    ids=["nothing", "list", "floats", "one dimension", "empty", "embeddings", "booleans"],
)
def test_bad_inputs(bert, inputs, message):
    with pytest.raises(InputError, match=message):
        textlrp.propagate(bert[0], **inputs)


@pytest.mark.parametrize("shape", [(2, 4), (3,), (2, 3, 1), (1, 4)], ids=str)
def test_a_mask_of_special_tokens_must_fit(bert, shape):
    model = bert[0]
    with pytest.raises(InputError, match="special_tokens_mask"):
        textlrp.propagate(model, special_tokens_mask=torch.ones(shape), input_ids=torch.ones(2, 3, dtype=torch.long))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
def test_ids_of_any_integer_type(bert, dtype):
    model, inputs = bert
    propagation = textlrp.propagate(model, 0, **{**inputs, "input_ids": inputs["input_ids"].to(dtype)})
    assert torch.equal(propagation.relevance, textlrp.propagate(model, 0, **inputs).relevance)


@pytest.mark.parametrize(
    ("form", "labels"),
    [
        (lambda y: y, 3),
        (lambda y: (y, "hidden states"), 3),
        (lambda y: [y], 3),
        (lambda y: {"logits": y}, 3),
        (lambda y: SimpleNamespace(logits=y), 3),
        (lambda y: y, 1),
        (lambda y: y.squeeze(-1), 1),
    ],
    ids=["tensor", "tuple", "list", "dict", "object", "one label", "one label squeezed"],
)
def test_every_form_of_logits(form, labels):
    propagation = textlrp.propagate(Returns(form, labels), 0, input_ids=IDS)
    assert propagation.logits.shape == (2, labels)
    assert not propagation.logits.requires_grad


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        (lambda y: y[:, None], r"\[2, 1, 3\]"),
        (lambda y: y[0], r"\[3\]"),
        (lambda y: y.sum(), r"\[\]"),
        (lambda y: "positive", "str"),
        (lambda y: None, "NoneType"),
        (lambda y: {}, "NoneType"),
        (lambda y: (), "tuple|NoneType"),
    ],
    ids=["by token", "one document", "a number", "text", "nothing", "empty dict", "empty tuple"],
)
def test_a_model_that_is_not_a_classifier_is_refused(form, shape):
    with pytest.raises(ModelError, match=f"returns logits .*; this model returned {shape}"):
        textlrp.propagate(Returns(form), 0, input_ids=IDS)


# -- batches, padding, special tokens ---------------------------------------------------------------------------------


@PRESETS
@pytest.mark.parametrize("name", ["bert", "xlnet", "llama", "bart", "gpt2"])
def test_a_batch_equals_its_documents(name, rules):
    """XLNet puts time first, the decoders pool the last token, BART reads its ids twice."""
    model = tiny_models.build(name)
    inputs = tiny_models.inputs(model, name)
    together = textlrp.propagate(model, [0, 1, 2], rules, **inputs)
    for i in range(3):
        one = {key: value[i : i + 1] for key, value in inputs.items()}
        alone = textlrp.propagate(model, i, rules, **one)
        scale = alone.relevance.abs().max()
        assert (together.relevance[i] - alone.relevance[0]).abs().max() <= 2e-5 * scale
        tolerance = 2e-5 * together.ledgers[i].scale
        assert dict(together.ledgers[i]) == pytest.approx(dict(alone.ledgers[0]), abs=tolerance)


@pytest.mark.parametrize("name", ["bart", "t5", "plbart"])
def test_a_decoder_credits_the_token_that_it_reads(name):
    """A decoder reads the token at ``t`` at ``t + 1``: if it gets the same ids unmarked, the encoder's share is left.

    The shift drops the last id of the longest document, which the decoder therefore cannot credit. (Under AttnLRP the
    encoder's share itself depends on whether the queries carry relevance.)
    """
    rules = "cp-lrp"
    model = tiny_models.build(name)
    inputs = tiny_models.inputs(model, name)
    seen = {}
    table = (model.transformer if name == "t5" else model.model).decoder.embed_tokens
    hook = table.register_forward_hook(lambda module, args, output: seen.update(ids=args[0].clone()))
    with torch.no_grad():
        model(**inputs)
    hook.remove()
    assert not torch.equal(seen["ids"], inputs["input_ids"])
    whole = textlrp.propagate(model, 0, rules, **inputs)
    encoder = textlrp.propagate(model, 0, rules, decoder_input_ids=seen["ids"], **inputs)
    torch.testing.assert_close(whole.logits, encoder.logits)
    share = whole.relevance - encoder.relevance
    if name != "plbart":  # PLBart moves the last token to the front
        assert share[0, -1].abs() <= 1e-5 * share.abs().max()
        assert abs(whole.ledgers[0]["special tokens"]) > 1e-6, "the decoder's start is not a token of the document"
    assert share[0, 0].abs() > 1e-6


@pytest.mark.parametrize("name", ["bert", "xlnet", "llama", "gpt2"])
def test_padding_changes_nothing_and_gets_nothing(name):
    model = tiny_models.build(name)
    inputs = tiny_models.inputs(model, name)
    together = textlrp.propagate(model, 0, **inputs)
    for i, mask in enumerate(inputs["attention_mask"].bool()):
        alone = textlrp.propagate(
            model, 0, input_ids=inputs["input_ids"][i : i + 1, mask], attention_mask=torch.ones(1, int(mask.sum()))
        )
        assert together.relevance[i, ~mask].tolist() == [0.0] * int((~mask).sum())
        scale = alone.relevance.abs().max()
        assert (together.relevance[i, mask] - alone.relevance[0]).abs().max() <= 2e-5 * scale


def test_relevance_and_rows_agree(bert):
    model, inputs = bert
    propagation = textlrp.propagate(model, **inputs)
    assert propagation.relevance.shape == inputs["input_ids"].shape
    assert propagation.relevance.dtype == torch.float32
    for i, ledger in enumerate(propagation.ledgers):
        assert ledger["tokens"] == pytest.approx(propagation.relevance[i].double().sum().item(), rel=1e-5)
        assert ledger["special tokens"] == 0.0
        assert ledger.tolerance == 1e-4
        assert ledger.balanced


def test_special_tokens_have_their_row(bert):
    model, inputs = bert
    special = torch.zeros_like(inputs["input_ids"])
    special[:, 0] = 1
    special[torch.arange(3), inputs["attention_mask"].sum(1) - 1] = 1
    plain = textlrp.propagate(model, 0, **inputs)
    for mask in (special, special.bool(), special.float()):
        split = textlrp.propagate(model, 0, special_tokens_mask=mask, **inputs)
        assert torch.equal(split.relevance, plain.relevance)
        for i, ledger in enumerate(split.ledgers):
            relevance = split.relevance[i].double()
            assert ledger["special tokens"] == pytest.approx((relevance * special[i]).sum().item(), rel=1e-5)
            assert ledger["tokens"] == pytest.approx((relevance * (1 - special[i])).sum().item(), rel=1e-5)
            rest = ("tokens", "special tokens", "residue")
            for heading in set(ledger) - set(rest):
                assert ledger[heading] == plain.ledgers[i][heading]


def test_documents_that_share_a_tensor_are_explained_alone():
    """A statistic over the batch belongs to no document: each one then gets the ledger that it has alone."""
    probe = Probe(lambda m, x: x.reshape(-1, 4).T @ x.reshape(-1, 4) @ x.mT + m.row[:, None])
    propagation = textlrp.propagate(probe, [0, 1], input_ids=IDS)
    for i in range(2):
        alone = textlrp.propagate(probe, i, input_ids=IDS[i : i + 1])
        torch.testing.assert_close(propagation.relevance[i], alone.relevance[0])
        assert propagation.ledgers[i] == alone.ledgers[0]


@pytest.mark.parametrize(
    "target",
    [2, [2, 0], torch.tensor([2, 0]), torch.tensor([[1.0, 0, -1], [0, 2, 0]]), lambda logits: logits.argmax(-1), None],
    ids=["label", "list", "tensor", "matrix", "function", "none"],
)
def test_targets_of_documents_that_are_explained_alone(target):
    probe = Probe(lambda m, x: x + torch.rand(4, dtype=x.dtype))
    torch.manual_seed(1)
    propagation = textlrp.propagate(probe, target, special_tokens_mask=IDS == 1, input_ids=IDS)
    assert propagation.weights.shape == propagation.logits.shape == (2, 3)
    for i, ledger in enumerate(propagation.ledgers):
        assert ledger.logit == pytest.approx(float((propagation.logits[i] * propagation.weights[i]).sum()))
    assert propagation.ledgers[0]["special tokens"] == pytest.approx(propagation.relevance[0, [1, 3]].sum().item())


def test_float64_stays_float64():
    model = tiny_models.build("bert", dtype=torch.float64)
    propagation = textlrp.propagate(model, 0, **tiny_models.inputs(model, "bert"))
    assert propagation.relevance.dtype == torch.float64
    assert all(ledger.tolerance == 1e-9 and ledger.balanced for ledger in propagation.ledgers)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_summed_in_float32(dtype):
    model = tiny_models.build("bert", dtype=dtype)
    inputs = tiny_models.inputs(model, "bert")
    propagation = textlrp.propagate(model, 0, **inputs)
    assert propagation.relevance.dtype == torch.float32
    assert all(ledger.balanced for ledger in propagation.ledgers)
    single = textlrp.propagate(tiny_models.build("bert"), 0, **inputs)
    assert torch.corrcoef(torch.stack([propagation.relevance.flatten(), single.relevance.flatten()]))[0, 1] > 0.97


# -- gradient checkpointing -------------------------------------------------------------------------------------------


@PRESETS
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradient_checkpointing(use_reentrant, rules):
    actual, expected = (
        textlrp.propagate(Checkpointed(form).double(), 1, rules, input_ids=IDS) for form in (use_reentrant, None)
    )
    torch.testing.assert_close(actual.relevance, expected.relevance, rtol=1e-9, atol=1e-10)
    for left, right in zip(actual.ledgers, expected.ledgers, strict=True):
        assert dict(left) == pytest.approx(dict(right), abs=1e-9)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradient_checkpointing_of_transformers(use_reentrant):
    model = tiny_models.build("bert")
    inputs = tiny_models.inputs(model, "bert")
    expected = textlrp.propagate(model, 0, **inputs)
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": use_reentrant})
    model.train()
    actual = textlrp.propagate(model, 0, **inputs)
    torch.testing.assert_close(actual.relevance, expected.relevance)
    assert model.training


# -- other classifiers ------------------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.table, self.rnn, self.head = nn.Embedding(12, 4), kind(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, input_ids):
        return self.head(self.rnn(self.table(input_ids))[0][:, -1])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_classifiers(kind):
    model = Recurrent(kind).double()
    found = textlrp.propagate(model, 0, "difference", input_ids=IDS)
    assert found.ledgers[0]["tokens"] == pytest.approx(float(found.logits[0, 0] - found.reference_logits[0, 0]))
    assert textlrp.propagate(model, 0, input_ids=IDS).relevance.abs().min() > 0


def test_a_bag_of_words_is_exact():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(12, 4), nn.Linear(4, 3)

        def forward(self, input_ids):
            return self.head(self.table(input_ids).mean(1))

    model = Bag().double()
    propagation = textlrp.propagate(model, 1, input_ids=IDS)
    expected = (model.table(IDS) @ model.head.weight[1] / 4).detach()
    torch.testing.assert_close(propagation.relevance, expected)
    assert propagation.ledgers[0]["biases"] == pytest.approx(model.head.bias[1].item())


def test_a_convolutional_classifier():
    class Convolutional(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(12, 4)
            self.layers = nn.Sequential(
                nn.Conv1d(4, 6, 3, padding=1), nn.BatchNorm1d(6), nn.ReLU(inplace=True), nn.Dropout(0.3)
            )
            self.head = nn.Linear(6, 3)

        def forward(self, input_ids):
            x = self.layers(self.table(input_ids).mT)
            return self.head(torch.cat([x, x.neg()], 1)[:, :6].amax(-1))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Convolutional()
        model(IDS)  # statistics of the batch norm
    for rules in ("attnlrp", textlrp.Rules(linear=textlrp.rules.Epsilon(1e-2))):
        for ledger in textlrp.propagate(model, 0, rules, input_ids=IDS).ledgers:
            assert ledger.balanced
            assert abs(ledger["biases"] + ledger["constants"]) > 1e-3


def test_logits_that_rest_on_no_token():
    """A model that looks its ids up and decides without them: everything is a bias, nothing is relevance."""

    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(12, 4), nn.Linear(4, 3)

        def forward(self, input_ids):
            return self.head(self.table(input_ids).mean(1) * 0)

    propagation = textlrp.propagate(Stubborn(), 0, input_ids=IDS)
    assert propagation.relevance.abs().sum() == 0
    assert propagation.ledgers[0]["biases"] == pytest.approx(propagation.logits[0, 0].item())


def test_a_model_that_detaches_its_embeddings_is_refused():
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(12, 4), nn.Linear(4, 3)

        def forward(self, input_ids):
            return self.head(self.table(input_ids).detach().mean(1))

    with pytest.raises(textlrp.LRPError):
        textlrp.propagate(Detached(), 0, input_ids=IDS)


def test_the_rules_of_the_operations_are_counted(bert):
    model, inputs = bert
    met = textlrp.propagate(model, 0, **inputs).met
    assert met["F.embedding", "relevance of tokens"] == 1
    assert met["F.layer_norm", "statistics constant"] == 5
    assert met["F.linear", "LRP-0"] == 14
    assert met["F.gelu", "identity"] == 2


def test_epsilon_absorbs_little_when_it_is_small(bert):
    model, inputs = bert
    plain = textlrp.propagate(model, 0, **inputs)
    tiny = textlrp.propagate(model, 0, textlrp.Rules(linear=textlrp.rules.Epsilon(1e-9)), **inputs)
    large = textlrp.propagate(model, 0, textlrp.Rules(linear=textlrp.rules.Epsilon(0.5)), **inputs)
    torch.testing.assert_close(tiny.relevance, plain.relevance, rtol=1e-3, atol=1e-4)
    assert abs(large.ledgers[0]["stabilizer"]) > 1e-2
    assert large.ledgers[0].balanced


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"captrue": ["classifier"]},
            "propagate has the option capture, and BertForSequenceClassification takes no captrue",
        ),
        ({"kep": {"classifier": [0]}}, "propagate has the option keep"),
        ({"at": ["classifier"]}, "propagate takes capture=, paths of modules, and keep=, channels by path"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_misspelled_option_is_not_an_input_of_the_model(bert, options, message):
    model, inputs = bert
    with pytest.raises(InputError, match=message):
        textlrp.propagate(model, 0, **options, **inputs)
