"""Models as people have them: with adapters, in half precision, checkpointed, compiled, quantized, written by hand."""

import copy
import warnings

import architecture_sweep
import pytest
import tiny_models
import torch
from single_operations import PRESETS
from torch import nn

import textlrp
from textlrp.errors import UnsupportedOperationError
from textlrp.results.ledger import TOLERANCES

pytestmark = pytest.mark.architectures


def explain(model, inputs, rules="attnlrp"):
    """Another label for each document; logits and padding are checked here, the ledgers by `propagate`."""
    plain = copy.deepcopy(model).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The PyTorch API of nested tensors")  # torch's encoders use them
        expected = logits_of(plain(**inputs))
    propagation = textlrp.propagate(model, [0, 1, 2], rules, **inputs)
    torch.testing.assert_close(propagation.logits, expected, rtol=1e-5, atol=1e-6)
    assert propagation.relevance[inputs["attention_mask"] == 0].eq(0).all()
    assert propagation.relevance.abs().sum() > 0
    return propagation


def logits_of(output):
    return output["logits"] if isinstance(output, dict) else getattr(output, "logits", output)


def assert_same(actual, expected, tolerance=1e-5):
    assert architecture_sweep.difference(actual.relevance, expected.relevance) <= tolerance
    for left, right in zip(actual.ledgers, expected.ledgers, strict=True):
        assert dict(left) == pytest.approx(dict(right), abs=tolerance * right.scale)


# -- adapters ---------------------------------------------------------------------------------------------------------

ADAPTERS = {
    "LoRA": lambda peft, where: peft.LoraConfig(task_type="SEQ_CLS", r=4, target_modules=where, bias="lora_only"),
    "LoRA on every layer": lambda peft, _: peft.LoraConfig(task_type="SEQ_CLS", r=4, target_modules="all-linear"),
    "DoRA": lambda peft, where: peft.LoraConfig(task_type="SEQ_CLS", r=4, target_modules=where, use_dora=True),
    "IA3": lambda peft, where: peft.IA3Config(task_type="SEQ_CLS", target_modules=where, feedforward_modules=[]),
}
WHERE = {"bert": ["query", "value"], "llama": ["q_proj", "v_proj"], "gpt2": ["c_attn"], "t5": ["q", "v"]}


def adapt(model, config):
    """PEFT's own warnings (of a setting that it corrects, of a name that transformers gives up) are not tested here."""
    peft = pytest.importorskip("peft", reason="adapters need peft")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.get_peft_model(model, config(peft))


def adapted(name, kind):
    """A tiny model with an adapter that does something: as PEFT makes it, it adds zero."""
    model = adapt(tiny_models.build(name), lambda peft: ADAPTERS[kind](peft, WHERE[name]))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:  # the adapter's own
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@PRESETS
@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("name", WHERE)
def test_adapters_merged_and_not(name, kind, rules):
    """A low-rank update is linear: its two thin layers and the merged one give the same."""
    model = adapted(name, kind)
    inputs = tiny_models.inputs(tiny_models.build(name), name)
    plain = textlrp.propagate(tiny_models.build(name), [0, 1, 2], rules, **inputs)
    apart = explain(model, inputs, rules)
    assert architecture_sweep.difference(apart.logits, plain.logits) > 1e-3, "the adapter does something"
    merged = model.merge_and_unload()
    assert_same(explain(merged, inputs, rules), apart, TOLERANCES["float32"])  # merged weights round differently


def test_an_adapter_through_the_explainer(folder):
    base = textlrp.Explainer.from_pretrained(str(folder))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options = {"task_type": "SEQ_CLS", "r": 4, "target_modules": ["query"], "init_lora_weights": False}
        model = adapt(base.model, lambda peft: peft.LoraConfig(**options))
    explanation = textlrp.Explainer(model, base.tokenizer).explain("a great film", target="POS")
    merged = textlrp.Explainer(model.merge_and_unload(), base.tokenizer).explain("a great film", target="POS")
    assert [token.text for token in explanation.tokens if not token.special] == ["a", "great", "film"]
    assert explanation.logit == pytest.approx(merged.logit, rel=1e-5)
    for left, right in zip(explanation.tokens, merged.tokens, strict=True):
        assert left.relevance == pytest.approx(right.relevance, abs=1e-5)


@PRESETS
def test_a_soft_prompt_is_not_a_token(rules):
    """Learned vectors in front of the text are not among its tokens."""
    options = {"task_type": "SEQ_CLS", "num_virtual_tokens": 3}
    model = adapt(tiny_models.build("bert"), lambda peft: peft.PromptTuningConfig(**options))
    inputs = tiny_models.inputs(tiny_models.build("bert"), "bert")
    propagation = explain(model, inputs, rules)
    assert propagation.relevance.shape == inputs["input_ids"].shape
    for relevance, ledger in zip(propagation.relevance, propagation.ledgers, strict=True):
        assert ledger["tokens"] == pytest.approx(relevance.sum().item(), abs=1e-5)


# -- precision --------------------------------------------------------------------------------------------------------

HALF = ["bert", "roberta", "deberta-v2", "modernbert", "gpt2", "llama", "qwen3", "gemma3_text", "mixtral", "t5", "bart"]


@PRESETS
@pytest.mark.parametrize("name", HALF)
def test_bfloat16(name, rules):
    """Activations have eight bits: the ledgers balance within `TOLERANCES`, and the words agree with float32."""
    inputs = tiny_models.inputs(tiny_models.build(name), name)
    single, half = (
        textlrp.propagate(tiny_models.build(name, dtype=dtype), [0, 1, 2], rules, **inputs)
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert half.relevance.dtype == torch.float32
    assert all(ledger.tolerance == TOLERANCES["bfloat16"] for ledger in half.ledgers)
    assert half.relevance[inputs["attention_mask"] == 0].eq(0).all()
    words = inputs["attention_mask"] != 0
    assert torch.corrcoef(torch.stack([half.relevance[words], single.relevance[words]]))[0, 1] > 0.95


@PRESETS
def test_a_mixture_of_precisions(rules):
    """A head that was left in float32 on a bfloat16 body: the coarsest dtype decides."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = tiny_models.build("llama", dtype=torch.bfloat16).model, nn.Linear(32, 3)

        def forward(self, input_ids, attention_mask):
            return self.head(self.body(input_ids, attention_mask).last_hidden_state.float()[:, -1])

    inputs = tiny_models.inputs(tiny_models.build("llama"), "llama")
    propagation = textlrp.propagate(Mixed(), 0, rules, **inputs)
    assert [ledger.tolerance for ledger in propagation.ledgers] == [TOLERANCES["bfloat16"]] * 3


def calibrated():
    """I-BERT computes with integers, whose ranges it learns in training."""
    model = tiny_models.build("ibert", quant_mode=True).train()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for seed in range(4):
            model(**tiny_models.inputs(model, "ibert", seed=seed + 20))
    return model.eval()


@PRESETS
def test_a_model_of_integers(rules):
    model = calibrated()
    inputs = tiny_models.inputs(model, "ibert")
    propagation = explain(model, inputs, rules)
    floats = textlrp.propagate(tiny_models.build("ibert"), [0, 1, 2], rules, **inputs)
    words = inputs["attention_mask"] != 0
    assert torch.corrcoef(torch.stack([propagation.relevance[words], floats.relevance[words]]))[0, 1] > 0.8


def test_quantized_layers_are_refused_by_name():
    with warnings.catch_warnings():  # deprecated, and still how models on a processor are often found
        warnings.simplefilter("ignore")
        quantize = getattr(getattr(torch.ao, "quantization", None), "quantize_dynamic", None)
        if quantize is None or not torch.backends.quantized.supported_engines[1:]:
            pytest.skip("this torch cannot quantize layers")
        model = quantize(tiny_models.build("bert"), {nn.Linear}, dtype=torch.qint8)
        with pytest.raises(UnsupportedOperationError, match=r"quantized\.linear_dynamic.*attention\.self\.query"):
            textlrp.propagate(model, 0, **tiny_models.inputs(model, "bert"))


class Stored(nn.Module):
    """A linear layer whose weights are stored as bytes and made floats when they are needed."""

    def __init__(self, layer):
        super().__init__()
        weight = layer.weight.detach()
        scale = weight.abs().amax(1, keepdim=True) / 127
        self.register_buffer("bytes", (weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = layer.bias

    def forward(self, x):
        return nn.functional.linear(x, self.bytes.to(x.dtype) * self.scale, self.bias)


@PRESETS
def test_weights_stored_as_bytes(rules):
    """Weights are constants however they are stored: the same model with the rounded weights gives the same."""
    stored, rounded = tiny_models.build("bert"), tiny_models.build("bert")
    for of_stored, of_rounded in zip(stored.bert.encoder.layer, rounded.bert.encoder.layer, strict=True):
        layer = of_stored.output.dense = Stored(of_stored.output.dense)
        of_rounded.output.dense.weight.data.copy_(layer.bytes.float() * layer.scale)
    inputs = tiny_models.inputs(stored, "bert")
    assert_same(explain(stored, inputs, rules), explain(rounded, inputs, rules))


@PRESETS
@pytest.mark.parametrize("name", ["bert", "modernbert", "llama", "gpt2"])
def test_autocast(name, rules):
    """Under autocast, the tolerance is that of the dtype to which it casts."""
    model = tiny_models.build(name)
    inputs = tiny_models.inputs(model, name)
    expected = textlrp.propagate(model, 0, rules, **inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = textlrp.propagate(model, 0, rules, **inputs)
    assert {ledger.tolerance for ledger in actual.ledgers} == {TOLERANCES["bfloat16"]}
    assert architecture_sweep.difference(actual.relevance, expected.relevance) < 0.2
    assert actual.relevance.dtype == torch.float32


# -- checkpointed, compiled, on a GPU ---------------------------------------------------------------------------------


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("name", ["gpt2", "llama", "modernbert", "mixtral", "t5", "bart"])
def test_gradient_checkpointing(name, use_reentrant):
    """transformers checkpoints only in training mode, but an explanation runs in evaluation mode: both must work."""
    model = tiny_models.build(name)
    inputs = tiny_models.inputs(model, name)
    expected = textlrp.propagate(model, 0, **inputs)
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": use_reentrant})
    for training in (True, False):
        model.train(training)
        assert_same(textlrp.propagate(model, 0, **inputs), expected)
        assert all(module.training is training for module in model.modules())


class Small(nn.Module):
    """A model that compiles in a second."""

    def __init__(self):
        super().__init__()
        self.table, self.layer, self.head = nn.Embedding(128, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, input_ids):
        return self.head((torch.tanh(self.layer(self.table(input_ids))) * 0.5 + 1).mean(1))


def compiled(model, part):
    if part == "a wrapped model":
        return torch.compile(model, backend="eager")
    (model if part == "a model in place" else model.layer).compile(backend="eager")
    return model


@pytest.mark.parametrize("used", [True, False], ids=["used before", "new"])
@pytest.mark.parametrize("part", ["a wrapped model", "a model in place", "a layer"])
def test_compiled_models_run_as_they_were_written(part, used):
    model = Small()
    ids = torch.tensor([[3, 1, 4], [1, 5, 9]])
    expected = textlrp.propagate(model, 0, input_ids=ids)
    model = compiled(model, part)
    with warnings.catch_warnings(), torch.no_grad():  # the compiler's warnings are not tested here
        warnings.simplefilter("ignore")
        if used:
            model(ids)
        actual = textlrp.propagate(model, 0, input_ids=ids)
        torch.testing.assert_close(model(ids), expected.logits)  # and it goes on as compiled
    torch._dynamo.reset()
    assert torch.equal(actual.relevance, expected.relevance)
    assert actual.ledgers == expected.ledgers


@PRESETS
@pytest.mark.parametrize("name", ["bert", "llama", "modernbert", "t5", "mixtral"])
def test_on_a_gpu(name, rules):
    if not torch.cuda.is_available():
        pytest.skip("this machine has no GPU that torch can use")
    model = tiny_models.build(name)
    inputs = tiny_models.inputs(model, name)
    expected = textlrp.propagate(model, [0, 1, 2], rules, **inputs)
    actual = textlrp.propagate(model.cuda(), [0, 1, 2], rules, **{key: value.cuda() for key, value in inputs.items()})
    assert actual.relevance.device.type == actual.logits.device.type == "cuda"
    assert architecture_sweep.difference(actual.logits.cpu(), expected.logits) < 1e-4
    assert architecture_sweep.difference(actual.relevance.cpu(), expected.relevance) < 1e-3
    half = textlrp.propagate(model.bfloat16(), 0, rules, **{key: value.cuda() for key, value in inputs.items()})
    assert all(ledger.balanced for ledger in half.ledgers)


# -- written by hand --------------------------------------------------------------------------------------------------


class Encoder(nn.Module):
    """Torch's own encoder layers between a table and a head; `options` are those of the layers."""

    def __init__(self, pooling, **options):
        super().__init__()
        self.words, self.positions = nn.Embedding(128, 16, padding_idx=0), nn.Embedding(16, 16)
        layer = nn.TransformerEncoderLayer(16, 4, 24, **options)
        with warnings.catch_warnings():  # torch: no shortcut for nested tensors with these options
            warnings.simplefilter("ignore")
            self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(16), enable_nested_tensor=False)
        self.head, self.pooling, self.batch_first = nn.Linear(16, 3), pooling, options.get("batch_first", False)

    def forward(self, input_ids, attention_mask):
        x = self.words(input_ids) + self.positions(torch.arange(input_ids.shape[1]))
        x = x if self.batch_first else x.transpose(0, 1)
        x = self.encoder(x, src_key_padding_mask=attention_mask == 0)
        x = x if self.batch_first else x.transpose(0, 1)
        if self.pooling == "first":
            return self.head(x[:, 0])
        keep = attention_mask[..., None] != 0
        if self.pooling == "largest":
            return self.head(x.masked_fill(~keep, -torch.inf).amax(1))
        return self.head(x.where(keep, 0).sum(1) / keep.sum(1))


class Pooling(nn.Module):
    """Convolutions, and a learned query that attends to them: torch's attention as people use it."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(128, 16)
        self.layers = nn.ModuleList(nn.Conv1d(16, 16, 1) for _ in range(2))
        self.query = nn.Parameter(torch.zeros(1, 1, 16))
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.head = nn.Sequential(nn.LayerNorm(16), nn.Dropout(0.1), nn.Linear(16, 3))

    def forward(self, input_ids, attention_mask):
        x = self.words(input_ids)
        for layer in self.layers:
            x = x + nn.functional.silu(layer(x.mT).mT)
        pooled, _ = self.attention(self.query.expand(len(x), -1, -1), x, x, key_padding_mask=attention_mask == 0)
        return {"logits": self.head(pooled[:, 0])}


class Translator(nn.Module):
    """`nn.Transformer`: the decoder reads the same words and is classified at its start."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(128, 16)
        options = {"dim_feedforward": 24, "num_encoder_layers": 1, "num_decoder_layers": 1, "batch_first": True}
        self.body, self.head = nn.Transformer(16, 4, activation="gelu", **options), nn.Linear(16, 3)

    def forward(self, input_ids, attention_mask):
        x, padding = self.words(input_ids), attention_mask == 0
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        masks = {f"{name}_key_padding_mask": padding for name in ("src", "tgt", "memory")}
        return self.head(self.body(x, x, tgt_mask=causal, **masks)[:, 0])


CLASSIFIERS = {
    "encoder": lambda: Encoder("first", batch_first=True),
    "encoder, norm first": lambda: Encoder("mean", batch_first=True, norm_first=True),
    "encoder, time first": lambda: Encoder("mean", activation="gelu"),
    "encoder without biases": lambda: Encoder("largest", batch_first=True, bias=False),
    "attention pooling": Pooling,
    "encoder and decoder": Translator,
}


@PRESETS
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")  # without grad, torch takes a path of its own
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_classifiers_of_torch_modules(kind, dtype, rules):
    """No `PreTrainedModel`, no config: a padded batch, and each document alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CLASSIFIERS[kind]()
    tiny_models.perturb(model, seed=1)
    model = model.to(dtype).eval()
    mask = tiny_models.places("bert").long()
    ids = torch.randint(1, 128, mask.shape, generator=torch.Generator().manual_seed(2)) * mask
    propagation = explain(model, {"input_ids": ids, "attention_mask": mask}, rules)
    for i, length in enumerate(mask.sum(1).tolist()):
        one = {"input_ids": ids[i : i + 1, :length], "attention_mask": mask[i : i + 1, :length]}
        alone = textlrp.propagate(model, i, rules, **one)
        tolerance = 1e-5 if dtype is torch.float32 else 1e-12
        assert architecture_sweep.difference(propagation.relevance[i, :length], alone.relevance[0]) <= tolerance
