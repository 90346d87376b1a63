"""Whole models beside their reference: threads, memory, batches, layers, several references, and what is refused."""

from __future__ import annotations

import gc
import threading

import pytest
import tiny_models
import torch
import torch.nn.functional as F
from difference_probes import OTHER, logits, measured, obeys, table
from reference_rules import IDS, Probe
from torch import nn

import textlrp
from textlrp.errors import InputError
from textlrp.lrp import reference as reference_run
from textlrp.lrp.propagation import propagate_targets


def test_two_threads_have_references_of_their_own():
    probe = Probe(lambda m, x: F.gelu(x) @ m.square)
    references = [OTHER, OTHER.flip(0), IDS.flip(1), IDS]
    expected = [measured(probe, IDS, other).relevance for other in references]
    found = {}

    def explain(i):
        for _ in range(8):
            found[i] = textlrp.propagate(probe, 1, "difference", reference=references[i], input_ids=IDS).relevance

    threads = [threading.Thread(target=explain, args=(i,)) for i in range(len(references))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, relevance in enumerate(expected):
        assert torch.equal(found[i], relevance)


def test_model_and_ids_are_left_as_they_were():
    probe = Probe(lambda m, x: F.layer_norm(x, (4,), m.row).softmax(-1) @ m.square)
    before = {name: value.clone() for name, value in probe.state_dict().items()}
    plain, attributes = logits(probe, IDS), set(vars(probe))
    ids, other = IDS.clone(), OTHER.clone()
    measured(probe, ids, other, capture=["table"])
    assert torch.equal(logits(probe, IDS), plain)
    assert set(vars(probe)) == attributes
    assert torch.equal(ids, IDS)
    assert torch.equal(other, OTHER)
    for name, value in probe.state_dict().items():
        assert torch.equal(value, before[name])
        assert reference_run.partner(value) is None
    assert all(reference_run.partner(x) is None for x in (*probe.parameters(), *probe.buffers(), ids, other))


# -- memory -----------------------------------------------------------------------------------------------------------


class Deep(nn.Module):
    """Blocks one after the other; at the end, it counts the tensors that have a partner."""

    def __init__(self, step, depth):
        super().__init__()
        torch.manual_seed(1)
        self.table = nn.Embedding(12, 8, dtype=torch.float64)
        self.maps = nn.ModuleList(nn.Linear(8, 8, dtype=torch.float64) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(8, dtype=torch.float64) for _ in range(depth))
        self.head, self.step, self.alive = nn.Linear(8, 2, dtype=torch.float64), step, 0

    def forward(self, input_ids):
        x = self.table(input_ids)
        for linear, norm in zip(self.maps, self.norms, strict=True):
            x = self.step(x, linear, norm)
        y = self.head(x.mean(1))
        gc.collect()
        COUNTS.append(
            sum(issubclass(type(x), torch.Tensor) and "_textlrp_partner" in vars(x) for x in gc.get_objects())
        )
        return y


COUNTS: list[int] = []


@table(
    ("linear", lambda x, linear, norm: x + linear(x)),
    ("norm", lambda x, linear, norm: norm(x + linear(x))),
    ("function", lambda x, linear, norm: x + F.gelu(linear(x))),
    ("gate", lambda x, linear, norm: x + F.silu(linear(x)) * norm(x)),
    ("softmax", lambda x, linear, norm: x + linear(x).softmax(-1)),
    ("attention", lambda x, linear, norm: x + F.scaled_dot_product_attention(linear(x), norm(x), x)),
    ("attention written out", lambda x, linear, norm: x + (linear(x) @ norm(x).mT).softmax(-1) @ x),
    ("root mean square", lambda x, linear, norm: x + x * x.square().mean(-1, keepdim=True).add(1).rsqrt()),
    ("maximum", lambda x, linear, norm: x + linear(x).amax(1, keepdim=True)),
    ("pooling", lambda x, linear, norm: x + F.max_pool1d(linear(x), 3, 1, 1) + F.avg_pool1d(norm(x), 3, 1, 1)),
    ("convolution", lambda x, linear, norm: x + F.conv1d(norm(x).mT, linear.weight[..., None]).mT),
    ("order", lambda x, linear, norm: x + norm(x).sort(1).values + norm(x).topk(1, 1).values),
    (
        "moves",
        lambda x, linear, norm: x + norm(x).cumsum(1) + norm(x)[:, :1] + norm(x).mean(1, keepdim=True).expand_as(x),
    ),
    ("batch norm", lambda x, linear, norm: x + F.batch_norm(norm(x).mT, norm.weight, norm.weight, norm.bias).mT),
    ("einsum", lambda x, linear, norm: x + torch.einsum("btd,bsd,bse->bte", norm(x), norm(x), linear(x))),
    ("statistics", lambda x, linear, norm: x + F.normalize(norm(x), dim=-1) + norm(x).std(-1, keepdim=True)),
    ("softmax written out", lambda x, linear, norm: x + (lambda e: e / e.sum(-1, keepdim=True))(norm(x).exp())),
)
def test_partners_do_not_outlive_their_tensors(row):
    """A model three times as deep has no more tensors with partners alive at its end."""
    counts = []
    gc.collect()
    gc.freeze()  # of no interest, and it takes long to go through
    try:
        for depth in (3, 9):
            COUNTS.clear()
            measured(Deep(row[1], depth), IDS, OTHER)
            counts.append(COUNTS[0])
    finally:
        gc.unfreeze()
    assert counts[0] > 0
    assert counts[1] == counts[0]


@pytest.fixture(scope="module")
def models():
    built = {}

    def get(name, **options):
        key = (name, *options.items())
        if key not in built:
            model = tiny_models.build(name, dtype=torch.float64, **options)
            built[key] = (model, tiny_models.inputs(model, name))
        return built[key]

    return get


def same(found, expected, rtol=1e-9, atol=1e-11):
    torch.testing.assert_close(found.relevance, expected.relevance, rtol=rtol, atol=atol)
    torch.testing.assert_close(found.logits, expected.logits, rtol=rtol, atol=atol)
    torch.testing.assert_close(found.reference_logits, expected.reference_logits, rtol=rtol, atol=atol)
    for one, other in zip(found.ledgers, expected.ledgers, strict=True):
        assert dict(one.rows) == pytest.approx(dict(other.rows), rel=rtol, abs=atol)


@pytest.mark.parametrize("name", ["bert", "modernbert", "llama", "t5", "gpt2"])
def test_checkpointing_changes_nothing(models, name):
    model, inputs = models(name)
    plain = textlrp.propagate(model, 1, "difference", reference=9, **inputs)
    same(textlrp.propagate(model, 1, "difference", reference=9, checkpointing=True, **inputs), plain)


# Padding at the right, and at the left. A Llama of zeros is zero everywhere, where its norms have no scale.
@pytest.mark.parametrize(
    ("name", "reference"), [("bert", "mean"), ("bert", "zero"), ("bert", 9), ("llama", "mean"), ("llama", 9)]
)
def test_documents_of_a_batch_are_explained_as_alone(models, name, reference):
    model, inputs = models(name)
    batch = textlrp.propagate(model, [0, 1, 2], "difference", reference=reference, **inputs)
    words = inputs["attention_mask"].bool()
    assert not bool(batch.relevance[~words].any())
    assert not bool(words.all())
    differences = batch.logits.diagonal() - batch.reference_logits.diagonal()
    torch.testing.assert_close(batch.relevance.sum(-1), differences, rtol=1e-9, atol=1e-12)
    for i, place in enumerate(words):
        ids = inputs["input_ids"][i][place][None]
        alone = textlrp.propagate(model, i, "difference", reference=reference, input_ids=ids)
        torch.testing.assert_close(batch.relevance[i][place], alone.relevance[0], rtol=1e-9, atol=1e-11)
        assert dict(alone.ledgers[0].rows) == pytest.approx(
            {heading: value for heading, value in batch.ledgers[i].rows.items() if heading in alone.ledgers[0]},
            rel=1e-9,
            abs=1e-11,
        )


@pytest.mark.parametrize("name", ["bert", "llama", "bart"])
def test_several_targets_are_explained_as_one_by_one(models, name):
    model, inputs = models(name)
    together = propagate_targets(model, [0, 2, torch.tensor([1.0, -1.0, 0.0])], "difference", reference=9, **inputs)
    for target, found in zip([0, 2], together, strict=False):
        same(found, textlrp.propagate(model, target, "difference", reference=9, **inputs))
    weights = torch.tensor([1.0, -1.0, 0.0])
    same(together[2], textlrp.propagate(model, weights, "difference", reference=9, **inputs))


def test_a_contrast_is_the_difference_of_its_targets(models):
    model, inputs = models("bert")
    one, two, contrast = propagate_targets(
        model, [0, 1, torch.tensor([1.0, -1.0, 0.0])], "difference", reference="zero", **inputs
    )
    torch.testing.assert_close(contrast.relevance, one.relevance - two.relevance)
    for rows in zip(one.ledgers, two.ledgers, contrast.ledgers, strict=True):
        assert rows[2]["reference"] == pytest.approx(rows[0]["reference"] - rows[1]["reference"])


# -- layers, heads, captures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bert", "llama", "bart", "t5"])
def test_words_hold_the_same_at_every_layer(models, name):
    model, inputs = models(name)
    ends = model.config.eos_token_id if model.config.is_encoder_decoder else -1
    kept = (inputs["input_ids"] == ends).long()  # an encoder-decoder looks for it
    found = textlrp.propagate(model, 1, "difference", reference=9, special_tokens_mask=kept, layers=True, **inputs)
    assert len(found.layers) >= 3
    for layer in found.layers:
        for i, ledger in enumerate(layer.ledgers):
            assert ledger.imbalance < 1e-11
            assert set(ledger.rows) <= {"reference", "tokens", "special tokens", "other paths"}
            assert ledger["reference"] == pytest.approx(float(found.reference_logits[i, 1]), rel=1e-12)
            held = ledger["tokens"] + ledger["special tokens"] + ledger["other paths"]
            assert held == pytest.approx(float(found.relevance[i].sum()), rel=1e-9, abs=1e-12)
            if name in ("bert", "llama"):  # nothing goes around a layer
                assert ledger["other paths"] == 0


def test_a_layer_is_the_difference_of_its_output_times_its_multiplier(models):
    model, inputs = models("bert")
    other = inputs["input_ids"].masked_fill(inputs["attention_mask"].bool(), 9)
    blocks = ["bert.encoder.layer.0", "bert.encoder.layer.1"]
    found = textlrp.propagate(model, 1, "difference", reference=other, capture=blocks, **inputs)
    layers = textlrp.propagate(model, 1, "difference", reference=other, layers=True, **inputs).layers
    with torch.no_grad():
        own, plain = (
            model(input_ids=ids, attention_mask=inputs["attention_mask"], output_hidden_states=True).hidden_states
            for ids in (inputs["input_ids"], other)
        )
    for i, block in enumerate(blocks):
        (captured,) = found.captured[block]
        torch.testing.assert_close(captured.activation, own[i + 1])
        torch.testing.assert_close(captured.reference, plain[i + 1])
        expected = (own[i + 1] - plain[i + 1]) * captured.multiplier
        torch.testing.assert_close(captured.relevance, expected)
        torch.testing.assert_close(layers[i + 1].relevance, expected.sum(-1))


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_paths_through_a_block_leave_nothing_over(models, name):
    """Norms and biases shift nothing between two runs, so the paths hold all that a layer holds."""
    model, inputs = models(name)
    for layer in textlrp.propagate(model, 1, "difference", reference=9, layers=True, **inputs).layers[1:]:
        assert set(layer.paths) == {"attention", "feed-forward", "residual", "other"}
        size = layer.relevance.abs().sum(-1)
        assert bool((layer.paths["other"].abs() <= 1e-10 * size).all())
        shares = layer.paths["attention"] + layer.paths["feed-forward"] + layer.paths["residual"]
        torch.testing.assert_close(shares, layer.relevance.sum(-1), rtol=1e-9, atol=1e-11)
        assert all(bool(share.any()) for path, share in layer.paths.items() if path != "other")


def test_paths_are_the_differences_of_the_branches(models):
    model, inputs = models("gpt2")
    blocks = [f"transformer.h.{i}" for i in range(2)]
    at = [f"{block}{part}" for block in blocks for part in ("", ".attn", ".mlp")]
    latent = textlrp.propagate(model, 1, "difference", reference=9, capture=at, **inputs).captured
    layers = textlrp.propagate(model, 1, "difference", reference=9, layers=True, **inputs).layers
    for block, layer in zip(blocks, layers[1:], strict=True):
        c = latent[block][0].multiplier
        for path, part in {"attention": "attn", "feed-forward": "mlp"}.items():
            (branch,) = latent[f"{block}.{part}"]
            expected = ((branch.activation - branch.reference) * c).sum((1, 2))
            torch.testing.assert_close(layer.paths[path], expected)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_heads_add_up_to_their_module(models, attention):
    model, inputs = models("bert", attention=attention)
    path = "bert.encoder.layer.0.attention.self"
    (captured,) = textlrp.propagate(model, 1, "difference", reference=9, capture=[path], **inputs).captured[path]
    heads = textlrp.propagate(model, 1, "difference", reference=9, layers=True, **inputs).layers[1].heads
    expected = captured.relevance.unflatten(-1, (model.config.num_attention_heads, -1)).sum((1, 3))
    torch.testing.assert_close(heads[path], expected)
    assert bool((heads[path] != 0).all())


def test_a_condition_keeps_the_difference_of_its_channels(models):
    model, inputs = models("bert")
    width = model.config.hidden_size
    options = {"reference": 9, "capture": ["bert.pooler"], **inputs}
    plain = textlrp.propagate(model, 1, "difference", **options)
    some = textlrp.propagate(model, 1, "difference", keep={"bert.pooler": [0, 3]}, **options)
    rest = [i for i in range(width) if i not in (0, 3)]
    others = textlrp.propagate(model, 1, "difference", keep={"bert.pooler": rest}, **options)
    torch.testing.assert_close(some.relevance + others.relevance, plain.relevance)
    (captured,) = plain.captured["bert.pooler"]
    dropped = ((captured.activation - captured.reference) * captured.multiplier)[..., rest].sum(-1)
    for i, ledger in enumerate(some.ledgers):
        assert ledger.balanced
        assert ledger["masked"] == pytest.approx(float(dropped[i]), rel=1e-6)
        assert ledger["reference"] == plain.ledgers[i]["reference"]


# -- references -------------------------------------------------------------------------------------------------------


def test_several_references_are_averaged(models):
    model, inputs = models("bert")
    several = ["mean", 9, inputs["input_ids"].flip(0), "zero"]
    options = {"capture": ["bert.pooler"], **inputs}
    singles = [textlrp.propagate(model, 1, "difference", reference=one, **options) for one in several]
    found = textlrp.propagate(model, 1, "difference", reference=several, **options)

    def mean(of):
        return torch.stack([of(single) for single in singles]).mean(0)

    torch.testing.assert_close(found.relevance, mean(lambda one: one.relevance))
    torch.testing.assert_close(found.reference_logits, mean(lambda one: one.reference_logits))
    torch.testing.assert_close(found.logits, singles[0].logits)
    for name in ("relevance", "multiplier", "reference"):
        part = getattr(found.captured["bert.pooler"][0], name)
        torch.testing.assert_close(part, mean(lambda one, n=name: getattr(one.captured["bert.pooler"][0], n)))
    for i, ledger in enumerate(found.ledgers):
        assert ledger.balanced
        for heading in ("reference", "tokens"):
            assert ledger[heading] == pytest.approx(sum(one.ledgers[i][heading] for one in singles) / 4, abs=1e-12)
    layers = textlrp.propagate(model, 1, "difference", reference=several, layers=True, **inputs).layers
    singles = [
        textlrp.propagate(model, 1, "difference", reference=one, layers=True, **inputs).layers for one in several
    ]
    for i, layer in enumerate(layers):
        torch.testing.assert_close(layer.relevance, torch.stack([one[i].relevance for one in singles]).mean(0))
        assert all(ledger.balanced for ledger in layer.ledgers)


def test_the_default_is_the_mean_of_the_table_at_all_words(models):
    model, inputs = models("bert")
    special = torch.zeros_like(inputs["input_ids"])
    special[:, 0] = 1
    words = "bert.embeddings.word_embeddings"
    found = textlrp.propagate(model, 1, "difference", special_tokens_mask=special, capture=[words], **inputs)
    (captured,) = found.captured[words]
    table_rows = model.get_input_embeddings().weight.detach()
    replaced = inputs["attention_mask"].bool() & ~special.bool()
    expected = torch.where(replaced[..., None], table_rows.mean(0), table_rows[inputs["input_ids"]])
    torch.testing.assert_close(captured.reference, expected)
    assert not bool(found.relevance[:, 0].any())
    same(textlrp.propagate(model, 1, "difference", reference="mean", special_tokens_mask=special, **inputs), found)


@pytest.mark.parametrize("reference", ["mean", "zero"])
@pytest.mark.parametrize("name", ["bert", "bart", "gpt2"])
def test_rows_that_stand_for_no_id_obey_the_law(models, name, reference):
    model, inputs = models(name)
    obeys(textlrp.propagate(model, 1, "difference", reference=reference, **inputs))


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        (torch.tensor([1, 2, 3]), r"ids of shape \[3\], and input_ids have \[2, 4\]"),
        (torch.ones(3, 4, dtype=torch.long), r"ids of shape \[3, 4\], and input_ids have \[2, 4\]"),
        (torch.ones(2, 4), "a token id, a tensor of ids"),
        ("mask", "'mean', 'zero', a token id.*not 'mask'"),
        (-1, "a token id.*not -1"),
        (1.5, "not 1.5"),
        (True, "not True"),
        (["mean", "maen"], "not 'maen'"),
        ([], "empty list"),
        ({"a": 1}, "a token id"),
    ],
    ids=repr,
)
def test_a_reference_that_does_not_fit_is_an_input_error(reference, sentence):
    probe = Probe(lambda m, x: x.tanh())
    with pytest.raises(InputError, match=sentence):
        textlrp.propagate(probe, 1, "difference", reference=reference, input_ids=IDS)


def test_a_token_that_the_model_does_not_have_is_an_input_error():
    with pytest.raises(InputError, match="own vocabulary"):
        textlrp.propagate(Probe(lambda m, x: x.tanh()), 1, "difference", reference=12, input_ids=IDS)


@pytest.mark.parametrize("rules", ["attnlrp", "cp-lrp", textlrp.Rules()])
def test_rules_from_zero_take_no_reference(rules):
    with pytest.raises(InputError, match="difference rules"):
        textlrp.propagate(Probe(lambda m, x: x.tanh()), 1, rules, reference="mean", input_ids=IDS)


@pytest.mark.parametrize("difference", [(True, False), (False, True)])
def test_rules_that_differ_by_module_are_refused(difference):
    with pytest.raises(InputError, match="whole model"):
        textlrp.Rules(difference=difference[0], overrides={"head": textlrp.Rules(difference=difference[1])})


def test_a_reference_of_one_row_serves_all_documents():
    probe = Probe(lambda m, x: x.tanh() @ m.square)
    row = measured(probe, IDS, OTHER[:1].expand(2, -1))
    same(textlrp.propagate(probe, 1, "difference", reference=OTHER[0], input_ids=IDS), row)


def test_a_text_as_its_own_reference_says_nothing():
    probe = Probe(lambda m, x: (x @ x.mT).softmax(-1) @ F.gelu(x))
    found = measured(probe, IDS, IDS)
    assert not bool(found.relevance.any())
    assert torch.equal(found.logits, found.reference_logits)
