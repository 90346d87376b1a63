"""Attention by torch's own modules: the fused kernel, `MultiheadAttention` and the encoders built on it."""

import math

import pytest
import reference_rules
import tiny_models
import torch
import torch.nn.functional as F
from reference_rules import IDS, Probe
from single_operations import PRESETS
from torch import nn

import textlrp
from textlrp.errors import UnsupportedOperationError
from textlrp.results.ledger import HEADINGS


def filled(module):
    """Random parameters: biases that are zero by initialization would hide a missing row."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2)
    return module.double().eval()


class Wrapped(nn.Module):
    """A module as the operation of a probe."""

    def __init__(self, module, call):
        super().__init__()
        self.module, self.call = module, call

    def forward(self, probe, x):
        return self.call(self.module, x)


def balanced(operation, rules="attnlrp"):
    """The ledgers balance; the logits equal the plain model's up to rounding: torch has shortcuts for these modules."""
    probe = Probe(operation)
    with torch.no_grad():
        plain = probe(IDS)
    propagation = textlrp.propagate(probe, 1, rules, input_ids=IDS)
    torch.testing.assert_close(propagation.logits, plain, rtol=1e-12, atol=1e-14)
    assert all(ledger.balanced for ledger in propagation.ledgers)
    return propagation


def by_hand(module, x, mask=None):
    """`MultiheadAttention` of ``[batch, time, width]``, step by step."""
    q, k, v = F.linear(x, module.in_proj_weight, module.in_proj_bias).chunk(3, -1)
    heads = module.num_heads
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores + mask
    mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    return F.linear(mixed, module.out_proj.weight, module.out_proj.bias)


@PRESETS
@pytest.mark.parametrize("weights", [True, False], ids=["with weights", "without weights"])
@pytest.mark.parametrize("batch_first", [True, False], ids=["batch first", "time first"])
def test_multi_head_attention(rules, weights, batch_first):
    module = filled(nn.MultiheadAttention(4, 2, batch_first=batch_first))

    def call(m, x):
        x = x if batch_first else x.transpose(0, 1)
        y = m(x, x, x, need_weights=weights)[0]
        return y if batch_first else y.transpose(0, 1)

    actual = balanced(Wrapped(module, call), rules)
    expected = textlrp.propagate(Probe(Wrapped(module, by_hand)), 1, rules, input_ids=IDS)
    torch.testing.assert_close(actual.relevance, expected.relevance, rtol=1e-9, atol=1e-10)
    for left, right in zip(actual.ledgers, expected.ledgers, strict=True):
        assert dict(left) == pytest.approx(dict(right), abs=1e-9)


@PRESETS
def test_multi_head_attention_with_masks(rules):
    module = filled(nn.MultiheadAttention(4, 2, batch_first=True))
    causal = torch.full((4, 4), -torch.inf, dtype=torch.float64).triu(1)
    padding = torch.tensor([[False, False, False, True], [False, False, True, True]])

    def call(m, x):
        rows = padding[:, : x.shape[1]] if len(x) == 2 else padding[:1]
        return m(x, x, x, key_padding_mask=rows, attn_mask=causal.isinf())[0]

    def step_by_step(m, x):
        closed = torch.zeros(2, 1, 1, 4, dtype=torch.float64).masked_fill(padding[:, None, None], -torch.inf)
        return by_hand(m, x, closed + causal)

    actual = balanced(Wrapped(module, call), rules)
    expected = textlrp.propagate(Probe(Wrapped(module, step_by_step)), 1, rules, input_ids=IDS)
    torch.testing.assert_close(actual.relevance, expected.relevance, rtol=1e-9, atol=1e-10)


@PRESETS
@pytest.mark.parametrize("kind", ["keys and values of other widths", "no bias", "cross", "a document without batch"])
def test_multi_head_attention_in_other_forms(rules, kind):
    if kind == "keys and values of other widths":
        module = nn.MultiheadAttention(4, 2, kdim=2, vdim=3, batch_first=True)
        operation = Wrapped(filled(module), lambda m, x: m(x, x[..., :2], x[..., 1:])[0])
    elif kind == "no bias":
        module = nn.MultiheadAttention(4, 2, bias=False, batch_first=True)
        operation = Wrapped(filled(module), lambda m, x: m(x, x, x)[0])
    elif kind == "cross":
        module = nn.MultiheadAttention(4, 1, batch_first=True)
        operation = Wrapped(filled(module), lambda m, x: m(x[:, :1], x[:, 1:], x[:, 1:] * 2)[0])
    else:
        module = nn.MultiheadAttention(4, 2)
        operation = Wrapped(filled(module), lambda m, x: torch.stack([m(row, row, row)[0] for row in x]))
    balanced(operation, rules)


@PRESETS
def test_queries_of_parameters_attend_to_tokens(rules):
    """A learned query carries no relevance of a token; the keys and values do."""

    class Pooling(nn.Module):
        def __init__(self):
            super().__init__()
            self.query = nn.Parameter(torch.rand(1, 2, 4, dtype=torch.float64))
            self.attention = filled(nn.MultiheadAttention(4, 2, batch_first=True))

        def forward(self, probe, x):
            return self.attention(self.query.expand(len(x), -1, -1), x, x)[0]

    balanced(Pooling(), rules)


@pytest.mark.parametrize("options", [{"add_bias_kv": True}, {"add_zero_attn": True}], ids=str)
def test_rare_options_are_refused(options):
    module = filled(nn.MultiheadAttention(4, 2, batch_first=True, **options))
    with pytest.raises(UnsupportedOperationError, match="MultiheadAttention with bias_k, static_k or add_zero_attn"):
        textlrp.propagate(Probe(Wrapped(module, lambda m, x: m(x, x, x)[0])), 0, input_ids=IDS)


@PRESETS
@pytest.mark.parametrize("first", [True, False], ids=["norm first", "norm last"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_transformer_encoder(rules, first, activation):
    layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, norm_first=first, activation=activation)
    encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(4), enable_nested_tensor=False)
    propagation = balanced(Wrapped(filled(encoder), lambda m, x: m(x)), rules)
    assert (propagation.ledgers[0]["softmax"] != 0) == (rules == "attnlrp")


@PRESETS
def test_transformer_encoder_with_padding(rules):
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), 1)

    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.encoder, self.head = nn.Embedding(12, 4), encoder, nn.Linear(4, 3)
            filled(self)

        def forward(self, input_ids, attention_mask):
            x = self.encoder(self.table(input_ids), src_key_padding_mask=attention_mask == 0)
            x = x * attention_mask[..., None]
            return self.head(x.sum(1) / attention_mask.sum(1, keepdim=True))

    model, mask = Padded(), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    together = textlrp.propagate(model, 0, rules, input_ids=IDS, attention_mask=mask)
    alone = textlrp.propagate(model, 0, rules, input_ids=IDS[1:, :2], attention_mask=mask[1:, :2])
    torch.testing.assert_close(together.relevance[1:, :2], alone.relevance, rtol=1e-9, atol=1e-10)
    assert together.relevance[1, 2:].tolist() == [0.0, 0.0]


@PRESETS
def test_transformer_decoder(rules):
    layer = nn.TransformerDecoderLayer(4, 2, 6, batch_first=True)
    decoder = filled(nn.TransformerDecoder(layer, 2))
    causal = nn.Transformer.generate_square_subsequent_mask(3, dtype=torch.float64)
    balanced(Wrapped(decoder, lambda m, x: m(x[:, :3], x[:, 3:], tgt_mask=causal)), rules)


@PRESETS
@pytest.mark.parametrize("which", ["query", "key", "value", "query and key", "value and key"])
def test_only_some_inputs_carry_relevance(which, rules):
    """The shares depend on the inputs that carry relevance: a constant factor makes the product linear."""

    def part(m, x, name):
        return x if name in which else m.square.expand(x.shape)

    def fused(m, x):
        return x + F.scaled_dot_product_attention(*(part(m, x, name) for name in ("query", "key", "value")))

    def step_by_step(m, x):
        q, k, v = (part(m, x, name) for name in ("query", "key", "value"))
        return x + (q @ k.mT / 2).softmax(-1) @ v

    actual, expected = (textlrp.propagate(Probe(o), 1, rules, input_ids=IDS) for o in (fused, step_by_step))
    torch.testing.assert_close(actual.relevance, expected.relevance, rtol=1e-9, atol=1e-10)
    for left, right in zip(actual.ledgers, expected.ledgers, strict=True):
        assert dict(left) == pytest.approx(dict(right), abs=1e-9)


@PRESETS
@pytest.mark.parametrize("kind", ["floats", "one row", "carries", "per head", "causal by floats"])
def test_masks_that_are_biases(kind, rules):
    def mask(m, x):
        bias = m.square.expand(len(x), 1, 4, 4)
        if kind == "one row":
            return m.row.expand(1, 1, 1, 4)
        if kind == "carries":
            return (x @ m.square)[:, None]
        if kind == "per head":
            return torch.stack([m.square, m.square.T]).expand(len(x), 2, 4, 4)
        if kind == "causal by floats":
            return bias.masked_fill(torch.ones(4, 4, dtype=torch.bool).triu(1), -torch.inf)
        return bias

    def heads(x):
        return x.unflatten(-1, (2, 2)).transpose(1, 2)

    def fused(m, x):
        return F.scaled_dot_product_attention(heads(x), heads(x), heads(x), attn_mask=mask(m, x)).flatten(2)

    def step_by_step(m, x):
        return ((heads(x) @ heads(x).mT / math.sqrt(2) + mask(m, x)).softmax(-1) @ heads(x)).flatten(2)

    actual, expected = (textlrp.propagate(Probe(o), 1, rules, input_ids=IDS) for o in (fused, step_by_step))
    torch.testing.assert_close(actual.relevance, expected.relevance, rtol=1e-9, atol=1e-10)
    for left, right in zip(actual.ledgers, expected.ledgers, strict=True):
        assert dict(left) == pytest.approx(dict(right), abs=1e-9)


def test_a_scale_of_zero_is_a_scale():
    operations = (
        lambda m, x: F.scaled_dot_product_attention(x, x, x, scale=0.0),
        lambda m, x: torch.ones(len(x), 4, 4, dtype=x.dtype) / 4 @ x,
    )
    actual, expected = (textlrp.propagate(Probe(o), 1, "cp-lrp", input_ids=IDS) for o in operations)
    torch.testing.assert_close(actual.relevance, expected.relevance)


def test_a_query_whose_keys_are_all_masked_gets_nothing():
    """torch returns zeros for it."""
    seen = torch.ones(4, 4, dtype=torch.bool).index_fill(0, torch.tensor([1]), False)
    for rules in ("attnlrp", "cp-lrp"):
        balanced(lambda m, x: F.scaled_dot_product_attention(x, x, x, seen), rules)


def test_the_shares_are_those_of_the_twin():
    probe = Probe(lambda m, x: F.scaled_dot_product_attention(x, x @ m.square, x * m.row))
    propagation = textlrp.propagate(probe, 1, input_ids=IDS)
    x = probe.table(IDS).detach()
    c = probe.head.weight[1].detach().view(4, 4)
    for b in range(2):
        q, k, v = x[b], x[b] @ probe.square, x[b] * probe.row
        y = (q @ k.T / 2).softmax(-1) @ v
        of_q, of_k, of_v, remainder = reference_rules.attention(q, k, v, None, 0.5, y * c)
        of_inputs = sum(
            reference_rules.linear(x[b, t], probe.square.T, None, of_k[t])[0].sum() * one(t) for t in range(4)
        )
        expected = of_q.sum(-1) + of_v.sum(-1) + of_inputs
        torch.testing.assert_close(propagation.relevance[b], expected, rtol=1e-9, atol=1e-10)
        assert propagation.ledgers[b]["softmax"] == pytest.approx(remainder)


def one(t):
    return torch.eye(4, dtype=torch.float64)[t]


@pytest.mark.parametrize("model_type", ["bert", "llama", "t5"])
@pytest.mark.parametrize(
    "rules", [textlrp.Rules(), textlrp.Rules(product=textlrp.rules.Taylor())], ids=["uniform", "taylor"]
)
def test_the_fused_kernel_equals_its_steps(model_type, rules):
    """Relevances and every row of the ledgers, with a mask for padding."""
    propagations = []
    for attention in ("sdpa", "eager"):
        model = tiny_models.build(model_type, dtype=torch.float64, attention=attention)
        propagations.append(textlrp.propagate(model, 1, rules, **tiny_models.inputs(model, model_type)))
    fused, steps = propagations
    assert any("attention" in name for name, _ in fused.met)
    torch.testing.assert_close(fused.relevance, steps.relevance, rtol=1e-9, atol=1e-12)
    for one, other in zip(fused.ledgers, steps.ledgers, strict=True):
        assert [one[row] for row in HEADINGS] == pytest.approx([other[row] for row in HEADINGS], rel=1e-9, abs=1e-12)
