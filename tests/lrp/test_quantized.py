"""Layers that hold their weights in 4 or 8 bits are explained as linear maps with the dequantized weights."""

from __future__ import annotations

import copy
import gc
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import tiny_models
import torch
from tiny_bert import fast_tokenizer
from torch import nn

import textlrp
from textlrp import Explainer
from textlrp.check.audit import audit
from textlrp.data.fingerprints import model_fingerprint
from textlrp.guard import quantized
from textlrp.guard.working_copy import take
from textlrp.rules import Epsilon, Gamma, Rules

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def replaced(model: nn.Module, make: Callable[[nn.Linear], nn.Module]) -> nn.Module:
    """Replace all linear layers but the head of a classifier."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and name not in ("score", "classifier"):
                setattr(module, name, make(child))
    return model


def four_bits(kind: str) -> Callable[[nn.Module], nn.Module]:
    def quantize(model: nn.Module) -> nn.Module:
        bnb = pytest.importorskip("bitsandbytes", reason="needs bitsandbytes", exc_type=ImportError)

        def make(layer: nn.Linear) -> nn.Module:
            made = bnb.nn.Linear4bit(
                layer.in_features, layer.out_features, layer.bias is not None, torch.float32, quant_type=kind
            )
            made.weight = bnb.nn.Params4bit(layer.weight.data.clone(), requires_grad=False, quant_type=kind)
            made.bias = layer.bias
            return made.to("cpu")

        return replaced(model, make)

    return quantize


def eight_bits(model: nn.Module) -> nn.Module:
    bnb = pytest.importorskip("bitsandbytes", reason="needs bitsandbytes", exc_type=ImportError)

    def make(layer: nn.Linear) -> nn.Module:
        made = bnb.nn.Linear8bitLt(
            layer.in_features, layer.out_features, layer.bias is not None, has_fp16_weights=False
        )
        made.weight = bnb.nn.Int8Params(layer.weight.data.clone(), requires_grad=False, has_fp16_weights=False)
        made.bias = layer.bias
        return made.to("cpu")

    return replaced(model, make)


def by_quanto(bits: str) -> Callable[[nn.Module], nn.Module]:
    def quantize(model: nn.Module) -> nn.Module:
        quanto = pytest.importorskip("optimum.quanto", reason="needs optimum-quanto", exc_type=ImportError)
        quanto.quantize(model, weights=getattr(quanto, bits), exclude=["score", "classifier"])
        quanto.freeze(model)
        return model

    return quantize


def by_torchao(name: str) -> Callable[[nn.Module], nn.Module]:
    def quantize(model: nn.Module) -> nn.Module:
        quantization = pytest.importorskip("torchao.quantization", reason="needs torchao", exc_type=ImportError)
        quantization.quantize_(model, getattr(quantization, name)())
        return model

    return quantize


ENGINES = [
    pytest.param(four_bits("nf4"), id="bitsandbytes nf4"),
    pytest.param(four_bits("fp4"), id="bitsandbytes fp4"),
    pytest.param(eight_bits, id="bitsandbytes int8"),
    pytest.param(by_quanto("qint8"), id="quanto int8"),
    pytest.param(by_quanto("qint4"), id="quanto int4"),
    pytest.param(by_torchao("Int8WeightOnlyConfig"), id="torchao int8"),
]


@pytest.fixture(params=["llama", "bert"])
def plain(request: Any) -> tuple[nn.Module, dict[str, Any]]:
    model = tiny_models.build(request.param).float()
    return model, tiny_models.inputs(model, request.param)


def dequantized(model: nn.Module, like: nn.Module) -> nn.Module:
    """A copy of a plain model with the weights that a quantized one stands for."""
    twin = copy.deepcopy(like)
    for name, module in model.named_modules():
        found = quantized.weight_of(module)
        if found is not None:
            layer: Any = twin.get_submodule(name)
            layer.weight = nn.Parameter(found[1]().clone().float())
    return twin


@pytest.mark.parametrize("quantize", ENGINES)
@pytest.mark.parametrize("rules", ["attnlrp", "cp-lrp", "difference"])
def test_the_explanation_is_that_of_the_dequantized_weights(quantize: Any, rules: str, plain: Any) -> None:
    model, inputs = plain
    small = quantize(copy.deepcopy(model))
    twin = dequantized(small, model)
    assert quantized.described(small)
    found, expected = (textlrp.propagate(each, 0, rules, **inputs) for each in (small, twin))
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.relevance, expected.relevance, rtol=1e-4, atol=1e-5)
    again = textlrp.propagate(small, 0, rules, **inputs)
    torch.testing.assert_close(again.relevance, found.relevance)
    with torch.no_grad():
        ids = {name: value for name, value in inputs.items() if name != "special_tokens_mask"}
        torch.testing.assert_close(small(**ids).logits, found.logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("linear", [Epsilon(1e-3), Gamma(0.25)])
def test_every_rule_for_linear_maps_takes_them(linear: Any, plain: Any) -> None:
    model, inputs = plain
    small = four_bits("nf4")(copy.deepcopy(model))
    rules = Rules(linear=linear)
    found, expected = (textlrp.propagate(each, 0, rules, **inputs) for each in (small, dequantized(small, model)))
    torch.testing.assert_close(found.relevance, expected.relevance, rtol=1e-3, atol=1e-5)


def test_a_coarser_dtype_of_the_engine_does_not_unbalance_the_ledger(plain: Any) -> None:
    model, inputs = plain
    small = four_bits("nf4")(copy.deepcopy(model))
    twin = dequantized(small, model)
    for module in small.modules():
        if hasattr(module, "compute_dtype"):
            module.compute_dtype = torch.bfloat16
    found, expected = (textlrp.propagate(each, 0, **inputs) for each in (small, twin))
    torch.testing.assert_close(found.relevance, expected.relevance, rtol=1e-4, atol=1e-5)


def test_an_audit_names_them_and_measures_their_cost(plain: Any) -> None:
    model, _ = plain
    tokenizer = fast_tokenizer("wordpiece")
    if model.config.vocab_size < len(tokenizer):
        pytest.skip("the vocabulary is too large for this model")
    for quantize in (four_bits("nf4"), by_quanto("qint8")):
        explainer = Explainer(quantize(copy.deepcopy(model)), tokenizer)
        found = audit(explainer, ["the film is dull", "wonderful"], ["attnlrp"], repeats=1)
        assert found.passed, [check for check in found.checks if check.passed is False]
        assert "linear layers of " in found.quantized
        assert not isinstance(found.cost, str), found.cost
        assert model_fingerprint(explainer) == model_fingerprint(explainer)


def test_no_dequantized_weight_is_kept(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = plain
    small = four_bits("nf4")(copy.deepcopy(model))
    alive: list[Any] = []
    most = 0
    weight_of = quantized.weight_of

    def counted(module: nn.Module) -> Any:
        found = weight_of(module)
        if found is None:
            return None

        def observed() -> torch.Tensor:
            nonlocal most
            made = found[1]()
            alive.append(weakref.ref(made))
            most = max(most, sum(each() is not None for each in alive))
            return made

        return found[0], observed

    monkeypatch.setattr(quantized, "weight_of", counted)
    gc.collect()
    for rules in ("attnlrp", "difference"):
        textlrp.propagate(small, 0, rules, **inputs)
    assert len(alive) > 20
    assert most <= 2


def test_adapters_on_four_bits(plain: Any) -> None:
    peft = pytest.importorskip("peft", reason="needs peft")
    model, inputs = plain
    small = four_bits("nf4")(copy.deepcopy(model))
    twin = dequantized(small, model)
    names = ["q_proj", "v_proj"] if hasattr(model, "score") else ["query", "value"]
    explained = []
    for each in (small, twin):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = peft.LoraConfig(target_modules=names, r=4, init_lora_weights=False, task_type="SEQ_CLS")
            torch.manual_seed(0)
            adapted = peft.get_peft_model(each, config).eval()
        explained.append(textlrp.propagate(adapted, 0, "difference", **inputs))
    torch.testing.assert_close(explained[0].relevance, explained[1].relevance, rtol=1e-4, atol=1e-5)
    assert explained[0].relevance.abs().max() > 1e-4


def test_the_model_keeps_its_own_forward(plain: Any) -> None:
    model, inputs = plain
    small = four_bits("nf4")(copy.deepcopy(model))
    textlrp.propagate(small, 0, **inputs)
    assert all("forward" not in vars(module) for module in small.modules())
    replaced_in_copy = sum("forward" in vars(module) for module in take(small).parts.model.modules())
    assert replaced_in_copy == sum(quantized.weight_of(module) is not None for module in small.modules()) > 0
