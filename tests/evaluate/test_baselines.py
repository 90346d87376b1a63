"""Baselines are what they say: captum's own numbers where captum has them, equations written out where not."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
import transformers
from model_states import assert_same, state_of, unusual
from tiny_bert import bert, fast_tokenizer
from tokenizers import processors

from textlrp import Explainer, Rules
from textlrp.errors import InputError, ModelError
from textlrp.evaluate import baselines
from textlrp.evaluate.background import Background
from textlrp.results.attribution import Attribution
from textlrp.rules import Gradient, Plain, Taylor

TEXT = "A wonderful, moving film, never dull!"
SHORT = "never dull"


@pytest.fixture(scope="module")
def encoder() -> Explainer:
    tokenizer = fast_tokenizer("wordpiece")
    return Explainer(bert(len(tokenizer), num_hidden_layers=2), tokenizer)


@pytest.fixture(scope="module")
def decoder() -> Explainer:
    """A tiny GPT-2 that finds the last token by the padding id, with three labels that do not exclude each other."""
    torch.manual_seed(1)
    tokenizer = fast_tokenizer("bytelevel")
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=16,
        n_layer=2,
        n_head=2,
        initializer_range=0.4,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=None,
        id2label={0: "joy", 1: "anger", 2: "fear"},
        label2id={"joy": 0, "anger": 1, "fear": 2},
        problem_type="multi_label_classification",
    )
    return Explainer(transformers.GPT2ForSequenceClassification(config).eval(), tokenizer)


@pytest.fixture(params=["encoder", "decoder"])
def explainer(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def score(name: str, explainer: Explainer, text: str = TEXT, **options: Any) -> Attribution:
    return baselines.scorer(name)(explainer, text, **options)


def relevances(a: Any) -> torch.Tensor:
    return torch.tensor([span.relevance for span in a.tokens])


def same(a: Attribution, expected: torch.Tensor) -> None:
    torch.testing.assert_close(relevances(a), expected.detach().float(), rtol=1e-5, atol=1e-5)


def ids_of(explainer: Explainer, text: str = TEXT) -> torch.Tensor:
    return torch.tensor([explainer.encode(text).input_ids])


def words_of(explainer: Explainer, text: str = TEXT) -> torch.Tensor:
    return ~torch.tensor(explainer.encode(text).special)


def logit_of(explainer: Explainer, target: int = 1) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda ids: explainer.model(input_ids=ids).logits[:, target]


def from_embeddings(explainer: Explainer, target: int = 1) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda rows: explainer.model(inputs_embeds=rows).logits[:, target]


# -- as captum has them ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def captum() -> Any:
    return pytest.importorskip("captum.attr", reason="captum is not installed")


def test_gradient_x_input_equals_captum(captum: Any, explainer: Explainer) -> None:
    method = captum.LayerGradientXActivation(logit_of(explainer), explainer.model.get_input_embeddings())
    a = score("gradient-x-input", explainer, target=1)
    same(a, method.attribute(ids_of(explainer))[0].sum(-1))
    assert a.forwards == 3


def test_gradient_norm_equals_captum(captum: Any, encoder: Explainer) -> None:
    rows = encoder.model.get_input_embeddings()(ids_of(encoder)).detach().requires_grad_()
    gradient = captum.Saliency(from_embeddings(encoder)).attribute(rows, abs=False)
    a = score("gradient-norm", encoder, target="POS")
    same(a, gradient[0].norm(dim=-1))
    assert a.forwards == 3


@pytest.mark.parametrize("reference", ["mask", "pad"])
def test_integrated_gradients_equal_captum(captum: Any, encoder: Explainer, reference: str) -> None:
    ids, table = ids_of(encoder), encoder.model.get_input_embeddings()
    replaced = torch.where(words_of(encoder), getattr(encoder.tokenizer, f"{reference}_token_id"), ids)
    method = captum.LayerIntegratedGradients(logit_of(encoder), table)
    a = score(f"integrated-gradients:{reference}", encoder, target="POS")
    same(a, method.attribute(ids, replaced, n_steps=20)[0].sum(-1))
    assert a.forwards == 61


def test_integrated_gradients_from_zero_equal_captum(captum: Any, decoder: Explainer) -> None:
    ids, table = ids_of(decoder), decoder.model.get_input_embeddings()
    rows = table(ids).detach()

    def logit(rows: torch.Tensor) -> torch.Tensor:
        hook = table.register_forward_hook(lambda *_: rows)
        try:
            return logit_of(decoder)(ids.expand(len(rows), -1))  # the ids tell the decoder where the text ends
        finally:
            hook.remove()

    expected = captum.IntegratedGradients(logit).attribute(rows, torch.zeros_like(rows), n_steps=7)[0].sum(-1)
    same(score("integrated-gradients:7", decoder, target=1), expected)
    assert decoder.tokenizer.mask_token is None


@pytest.mark.parametrize(("name", "reference"), [("encoder", "mask"), ("decoder", "pad")])
def test_occlusion_equals_captum(captum: Any, request: pytest.FixtureRequest, name: str, reference: str) -> None:
    explainer = request.getfixturevalue(name)
    ids = ids_of(explainer)
    replaced = torch.where(words_of(explainer), getattr(explainer.tokenizer, f"{reference}_token_id"), ids)
    expected = captum.FeatureAblation(logit_of(explainer)).attribute(ids, replaced)[0]
    a = score("occlusion", explainer, target=1)
    same(a, expected)
    assert a == Attribution(
        **{**vars(score(f"occlusion:{reference}", explainer, target=1)), "method": "occlusion"} | {"seconds": a.seconds}
    )
    assert a.forwards == 1 + int(words_of(explainer).sum())


def test_shapley_values_are_those_of_all_permutations(captum: Any, encoder: Explainer) -> None:
    ids, text = ids_of(encoder, "bad great plot"), "bad great plot"
    replaced = torch.where(words_of(encoder, text), encoder.tokenizer.mask_token_id, ids)
    features = torch.tensor([[0, 1, 2, 3, 4]])
    expected = captum.ShapleyValues(logit_of(encoder)).attribute(ids, replaced, feature_mask=features)[0]
    a = score("shapley:30", encoder, text, target="POS")
    torch.testing.assert_close(relevances(a), expected, rtol=0, atol=0.2 * float(expected.abs().max()))
    whole, none = logit_of(encoder)(torch.cat([ids, replaced])).tolist()
    assert math.fsum(relevances(a).tolist()) == pytest.approx(whole - none, abs=1e-5)
    assert a.forwards == 1 + 1 + 3 * 30


def test_lime_is_a_weighted_ridge_regression(encoder: Explainer) -> None:
    from sklearn.linear_model import Ridge

    from textlrp.evaluate.methods.sampling import Ridge as Own
    from textlrp.evaluate.methods.sampling import _similarity

    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(40, 5, generator=generator).round(), torch.randn(40, generator=generator)
    weights = torch.tensor([_similarity(x[:1], row[None], row[None]) for row in x])
    own = Own(1.0)
    own.fit([(x[:25], y[:25], weights[:25]), (x[25:], y[25:], weights[25:])])
    expected = Ridge(alpha=1.0).fit(x.numpy(), y.numpy(), sample_weight=weights.numpy()).coef_
    torch.testing.assert_close(own.representation(), torch.tensor(expected).double(), rtol=1e-5, atol=1e-6)
    assert _similarity(x[:1], x[:1], torch.ones(1, 4)) == 1.0
    assert _similarity(x[:1], x[:1], torch.tensor([[1.0, 0, 0, 0]])) == pytest.approx(math.exp(-2.0))  # d = 50, k = 25
    a = score("lime:60", encoder, target="POS")
    assert a.forwards == 61
    assert (
        torch.corrcoef(torch.stack([relevances(a), relevances(score("occlusion", encoder, target="POS"))]))[0, 1] > 0.5
    )


# -- as the equations have them --------------------------------------------------------------------------------------


def test_integrated_gradients_are_complete(encoder: Explainer) -> None:
    ids = ids_of(encoder)
    replaced = torch.where(words_of(encoder), encoder.tokenizer.mask_token_id, ids)
    whole, none = logit_of(encoder)(torch.cat([ids, replaced])).tolist()
    a = score("integrated-gradients:100", encoder, target="POS")
    assert math.fsum(relevances(a).tolist()) == pytest.approx(whole - none, abs=1e-4)
    assert a.logit == pytest.approx(whole, abs=1e-6)
    assert [span.relevance for span in a.tokens if span.special] == [0.0, 0.0]


def test_attention_and_rollout_look_from_where_the_classifier_reads(explainer: Explainer) -> None:
    ids = ids_of(explainer)
    explainer.model.set_attn_implementation("eager")
    layers = [each[0].mean(0) for each in explainer.model(input_ids=ids, output_attentions=True).attentions]
    explainer.model.set_attn_implementation("sdpa")
    query = -1 if explainer.tokenizer.mask_token is None else 0
    same(score("attention", explainer, target=1), layers[-1][query])
    first, second = ((weights + torch.eye(len(weights))) / 2 for weights in layers)
    a = score("rollout", explainer, target=1)
    same(a, (second @ first)[query])
    assert a.forwards == 1
    assert explainer.model.config._attn_implementation == "sdpa"


def test_a_classifier_of_means_reads_all_positions() -> None:
    from transformers import ModernBertConfig, ModernBertForSequenceClassification

    torch.manual_seed(0)
    tokenizer = fast_tokenizer("wordpiece")
    config = ModernBertConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        pad_token_id=0, bos_token_id=None, eos_token_id=None, cls_token_id=None, sep_token_id=None,
        classifier_pooling="mean", global_attn_every_n_layers=1,
    )  # fmt: skip
    explainer = Explainer(ModernBertForSequenceClassification(config).eval(), tokenizer)
    a = score("attention", explainer, SHORT)
    explainer.model.set_attn_implementation("eager")
    weights = (
        explainer.model(input_ids=ids_of(explainer, SHORT), output_attentions=True).attentions[-1][0].mean(0).detach()
    )
    assert sum(relevances(a).tolist()) == pytest.approx(1)
    assert float((relevances(a) - weights.mean(0)).abs().max()) < 0.1  # norms weigh the positions not quite equally


def test_deletion_leaves_ids_out(explainer: Explainer) -> None:
    ids = ids_of(explainer)[0]

    def logit(*parts: torch.Tensor) -> float:
        return logit_of(explainer)(torch.cat(parts)[None]).tolist()[0]

    expected = [
        logit(ids) - logit(ids[:i], ids[i + 1 :]) if word else 0.0
        for i, word in enumerate(words_of(explainer).tolist())
    ]
    same(score("occlusion:delete", explainer, target=1), torch.tensor(expected))


@pytest.mark.parametrize("name", ["bart", "t5", "t5gemma", "xlnet", "ctrl"])
def test_every_lookup_of_a_token_counts(name: str) -> None:
    """Encoder-decoders look ids up twice, in one table or two; plain gradients by textlrp's own way know both."""
    import batch_sweep

    model = tiny_models.build(name)
    tokenizer, words = batch_sweep.word_tokenizer(model, name)
    explainer = Explainer(model, tokenizer)
    text = " ".join(f"w{word}" for word in words[:9])
    plain = Rules(nonlinearity=Gradient(), product=Taylor(), norm=Plain())
    same(
        score("gradient-x-input", explainer, text, target=0), relevances(explainer.explain(text, target=0, rules=plain))
    )
    a = score("integrated-gradients:200:pad", explainer, text, target=0)
    ids = ids_of(explainer, text)
    replaced = torch.where(words_of(explainer, text), tokenizer.pad_token_id, ids)
    if name in ("bart", "t5"):  # the others find the end of the text by the padding id
        whole, none = logit_of(explainer, 0)(torch.cat([ids, replaced])).tolist()
        assert math.fsum(relevances(a).tolist()) == pytest.approx(whole - none, rel=0.02)
    if model.config.is_encoder_decoder:
        with pytest.raises(ModelError, match="has an encoder and a decoder"):
            score("attention", explainer, text)


# -- the same interface ----------------------------------------------------------------------------------------------

ALL = ["random", "attention", "rollout", "gradient-norm", "gradient-x-input", "integrated-gradients:3", "occlusion",
       "beam:1", "lime:20", "shapley:2"]  # fmt: skip


def test_all_methods_answer_alike_and_leave_the_model_as_it_was(explainer: Explainer) -> None:
    model = explainer.model
    logits = torch.tensor(list(explainer.explain(TEXT).logits.values()))
    training = [module.training for module in model.modules()]
    trainable = [parameter.requires_grad for parameter in model.parameters()]
    unusual(model)
    config, before = dict(vars(model.config)), state_of(model)
    torch.manual_seed(7)
    chance = torch.get_rng_state()
    for name in [*ALL, "attnlrp", "epsilon=0.1", "difference"]:
        a = score(name, explainer)
        e = explainer.explain(TEXT)
        assert (a.method, a.text, a.target, a.contrast) == (name, TEXT, e.predicted, None)
        assert a.logit == pytest.approx(float(logits.max()), abs=1e-5)
        assert [(s.start, s.end, s.piece, s.special) for s in a.tokens] == [
            (s.start, s.end, s.piece, s.special) for s in e.tokens
        ]
        assert [span.text for span in a.words] == [span.text for span in e.words]
        assert a.forwards >= 1
        assert a.seconds > 0
        assert relevances(a).abs().sum() > 0
    assert torch.equal(torch.get_rng_state(), chance)
    assert dict(vars(model.config)) == config
    assert_same(before, state_of(model))
    for module, was in zip(model.modules(), training, strict=True):
        module.training = was
    for parameter, was in zip(model.parameters(), trainable, strict=True):
        parameter.requires_grad_(was)


@pytest.mark.parametrize("name", ["random", "lime:20", "shapley:2"])
def test_chance_follows_the_seed_and_the_text(encoder: Explainer, name: str) -> None:
    first = relevances(score(name, encoder))
    assert torch.equal(relevances(score(name, encoder, seed=0)), first)
    assert not torch.equal(relevances(score(name, encoder, seed=1)), first)
    assert not torch.equal(relevances(score(name, encoder, TEXT.replace("A", "a"))), first)


def test_labels_contrasts_and_pairs(encoder: Explainer, decoder: Explainer) -> None:
    joy, fear = (relevances(score("occlusion", decoder, target=label)) for label in ("joy", "FEAR"))
    same(score("occlusion", decoder, target="joy", contrast="fear"), joy - fear)
    assert score("random", decoder, target=2).target == "fear"
    best = score("gradient-x-input", decoder)
    assert best.target == decoder.explain(TEXT).predicted
    assert score("attention", decoder, contrast="runner-up").contrast != best.target
    with pytest.raises(InputError, match=r"there is no label 'joyy'.*did you mean 'joy'"):
        score("occlusion", decoder, target="joyy")
    with pytest.raises(InputError, match="empty"):
        score("random", encoder, "")


def test_a_text_that_is_too_long_is_cut(encoder: Explainer) -> None:
    long = "bad film. " * 40
    a, e = score("occlusion", encoder, long), encoder.explain(long)
    assert len(a.tokens) == 64
    assert a.truncated == e.truncated is not None
    assert a.words[-1].end == a.truncated[0]


def test_rules_are_methods(encoder: Explainer, tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    Rules.preset("cp-lrp").to_json(path)
    for name, rules in (("cp-lrp", "cp-lrp"), (f"rules:{path}", "cp-lrp"), ("gamma=0.5", Rules.parse("gamma=0.5"))):
        a = score(name, encoder, target="NEG")
        same(a, relevances(encoder.explain(TEXT, target="NEG", rules=rules)))
        assert (a.forwards, a.method, a.target) == (3, name, "NEG")


def test_difference_rules_are_methods_with_a_reference(encoder: Explainer, decoder: Explainer) -> None:
    for name, reference in (("difference", None), ("difference:mean", "mean"), ("difference:pad", "pad")):
        a = score(name, encoder, target="NEG")
        same(a, relevances(encoder.explain(TEXT, target="NEG", rules="difference", reference=reference)))
        assert (a.forwards, a.method) == (4, name)
    same(score("difference", encoder), relevances(score("difference:mask", encoder)))
    same(score("difference", decoder), relevances(score("difference:mean", decoder)))
    with pytest.raises(InputError, match="has no mask token"):
        score("difference:mask", decoder)


def test_other_documents_are_references(encoder: Explainer) -> None:
    text, others = "never dull , great", ["the plot is bad", "no film", "a wonderful plot and moving film"]
    a = score("difference:documents:3", encoder, text, target="NEG", background=[*others, text])
    ids = encoder.encode(text).input_ids
    stretches = Background.of(encoder, others).stretches(text, None, 4, 3, 0)
    references = [[ids[0], *stretch, ids[-1]] for stretch in stretches]
    together = encoder.explain(text, target="NEG", rules="difference", reference=references)
    same(a, relevances(together))
    assert together.reference is not None
    alone = [logit_of(encoder, 0)(torch.tensor([ids])).item() for ids in references]
    assert len(set(alone)) == 3
    assert a.reference_logits == pytest.approx(alone, abs=1e-5)
    assert math.fsum(a.reference_logits) / 3 == pytest.approx(together.reference.logit("NEG"), abs=1e-5)
    assert (a.forwards, a.method, a.logit) == (12, "difference:documents:3", pytest.approx(together.logit, abs=1e-5))
    again = score("difference:documents:3", encoder, text, target="NEG", background=Background.of(encoder, others))
    assert torch.equal(relevances(again), relevances(a))
    other = score("difference:documents:3", encoder, text, target="NEG", background=others, seed=1)
    assert other.reference_logits != a.reference_logits
    assert len(score("difference:documents", encoder, text, background=others).reference_logits) == 4
    assert len(score("difference", encoder, text).reference_logits) == 1
    assert score("attnlrp", encoder, text).reference_logits == score("random", encoder, text).reference_logits == ()
    with pytest.raises(InputError, match="difference:documents measures a text from stretches of other texts: backgr"):
        score("difference:documents", encoder, text)
    with pytest.raises(InputError, match="the background holds nothing but this text"):
        score("difference:documents", encoder, text, background=[text])


def test_a_pair_is_measured_from_stretches_around_its_special_tokens(encoder: Explainer) -> None:
    tokenizer = fast_tokenizer("wordpiece")
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    tokenizer.backend_tokenizer.post_processor = processors.BertProcessing(("[SEP]", sep), ("[CLS]", cls))
    model = Explainer(encoder.model, tokenizer)
    a = score("difference:documents:1", model, "a film", text_pair="never dull", target=1, background=["great plot"])
    great, plot = tokenizer.convert_tokens_to_ids(["great", "plot"])
    expected = []
    for words in ([great, plot, great, plot], [plot, great, plot, great]):
        inputs = {**model.encode("a film", "never dull").inputs, "input_ids": [cls, *words[:2], sep, *words[2:], sep]}
        tensors = {name: torch.tensor([values]) for name, values in inputs.items()}
        expected.append(encoder.model(**tensors).logits[0, 1].item())
    assert min(abs(a.reference_logits[0] - logit) for logit in expected) < 1e-5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("difference:delete", "difference takes one of mask, pad, mean, zero, documents, not 'delete'"),
        ("difference:mask:pad", "difference takes one of mask, pad, mean, zero, documents, not 'mask:pad'"),
        ("difference:documents:0", "difference:documents takes a number of stretches, not '0'"),
        ("difference:documents:mask", "difference:documents takes a number of stretches, not 'mask'"),
        ("difference:documents:1001", "difference:documents takes up to 1,000 stretches, not 1001"),
        ("oclusion", "no method is called 'oclusion': there are random, attention, .*; did you mean 'occlusion'"),
        ("attnlpr", "did you mean 'attnlrp'"),
        ("random:5", "random takes no options, not '5'"),
        ("occlusion:zero", "occlusion takes one of mask, pad, delete, not 'zero'"),
        ("occlusion:5", "occlusion takes one of mask, pad, delete, not '5'"),
        ("integrated-gradients:0", "takes a number of steps and one of mask, pad, zero, not '0'"),
        ("integrated-gradients:20:30", "not '20:30'"),
        ("lime:-3", "a number of samples and one of mask, pad, delete, not '-3'"),
        ("shapley:pad:mask", "not 'pad:mask'"),
        ("rules:missing.json", "missing.json"),
        ("", "no method is called ''"),
    ],
)
def test_bad_names_are_said(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        baselines.scorer(name)


def test_what_cannot_be_had_is_said(decoder: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="has no mask token to put in the place of others; take one of pad, delete"):
        score("occlusion:mask", decoder)
    with pytest.raises(InputError, match="nothing to read: replace them by 'pad' or 'mask'"):
        score("shapley:1:delete", decoder, SHORT)
    fnet = tiny_models.build("fnet")
    tokenizer = fast_tokenizer("wordpiece")
    with pytest.raises(ModelError, match="FNetForSequenceClassification has no attention weights to show"):
        score("rollout", Explainer(fnet, tokenizer), SHORT)
    canine = tiny_models.build("canine")
    with pytest.raises(ModelError, match="has no gradient by a token"):
        score("gradient-norm", Explainer(canine, tokenizer), SHORT)
    reformer = tiny_models.build("reformer")
    with pytest.raises(ModelError, match="ReformerForSequenceClassification fails where a method looks into it: Asser"):
        score("gradient-norm", Explainer(reformer, tokenizer), SHORT)
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(InputError, match=r'captum, which is not installed: pip install "textlrp\[captum\]"'):
        baselines.scorer("lime")
