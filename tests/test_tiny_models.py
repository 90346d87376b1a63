import os
import time
import warnings

import pytest
import tiny_models
import torch


def look_at(model_type):
    """What the tests below want to know of one architecture, as plain values."""
    model, twin = tiny_models.build(model_type), tiny_models.build(model_type)
    documents, others = tiny_models.inputs(model, model_type), tiny_models.inputs(model, model_type, seed=1)
    with torch.no_grad():
        logits, other_logits = model(**documents).logits, model(**others).logits
        by_attention = []
        for attention in ("eager", "sdpa") if tiny_models.supports_sdpa(model_type) else ():
            by_attention.append(tiny_models.build(model_type, attention=attention)(**documents).logits)
    return {
        "classes": (type(model).__name__, tiny_models.CLASSES[model_type]),
        "logits": logits,
        "other_logits": other_logits,
        "by_attention": by_attention,
        "repeats": all(torch.equal(*pair) for pair in zip(model.parameters(), twin.parameters(), strict=True)),
        "constants": [
            name for name, weight in model.named_parameters() if weight.numel() > 1 and weight.min() == weight.max()
        ],
        "training": model.training,
    }


@pytest.fixture(scope="module")
def looked_at(ahead, selected):
    return {name: ahead(look_at, name) for name in selected("model_type")}


@pytest.mark.architectures
@pytest.mark.parametrize("model_type", tiny_models.ARCHITECTURES)
def test_every_architecture_tells_documents_apart(model_type, looked_at):
    seen = looked_at[model_type].result()
    assert not isinstance(seen, tiny_models.Failure), seen
    assert seen["classes"][0] == seen["classes"][1]
    assert not seen["training"]
    assert seen["repeats"]
    assert seen["constants"] == []
    logits, other_logits = seen["logits"], seen["other_logits"]
    assert logits.shape == other_logits.shape == (3, 3)
    assert logits.isfinite().all()
    assert 0.1 < logits.abs().mean() < 3
    assert min((logits[i] - logits[j]).abs().max() for i, j in [(0, 1), (0, 2), (1, 2)]) > 0.01
    assert (logits - other_logits).abs().amax(dim=1).min() > 0.01
    if seen["by_attention"]:
        eager, sdpa = seen["by_attention"]
        torch.testing.assert_close(sdpa, eager, rtol=1e-5, atol=1e-5)


def test_what_is_left_out():
    assert set(tiny_models.LEFT_OUT) == {"layoutlmv2"}
    assert {*tiny_models.ARCHITECTURES, *tiny_models.LEFT_OUT} == set(tiny_models.CLASSES)


@pytest.mark.parametrize(("model_type", "side"), [("bert", "right"), ("xlnet", "left"), ("plbart", "right")])
def test_documents_are_padded_where_their_tokenizer_pads(model_type, side):
    model = tiny_models.build(model_type)
    documents = tiny_models.inputs(model, model_type, batch=4, lengths=(6, 3))
    assert documents["attention_mask"].sum(dim=1).tolist() == [6, 3, 6, 3]
    assert documents["attention_mask"][1].tolist() == ([1, 1, 1, 0, 0, 0] if side == "right" else [0, 0, 0, 1, 1, 1])
    assert documents["input_ids"][documents["attention_mask"] == 0].unique().item() == model.config.pad_token_id


def test_encoder_decoders_get_one_end_per_document():
    model = tiny_models.build("bart")
    documents = tiny_models.inputs(model, "bart")
    ends = documents["input_ids"] == model.config.eos_token_id
    assert ends.nonzero().tolist() == [[0, 10], [1, 6], [2, 8]]


def test_the_mask_is_left_away_where_no_model_reads_it():
    assert set(tiny_models.inputs(tiny_models.build("fnet"), "fnet")) == {"input_ids"}


@pytest.mark.parametrize(
    "model_type", ["bert", "t5", "reformer", "layoutlmv3", "zamba2", "gemma3", "cohere_compass_text"]
)
def test_other_sizes(model_type):
    for size in ("small", tiny_models.Size(hidden=48, heads=2, layers=3, intermediate=40, vocabulary=200)):
        model = tiny_models.build(model_type, size=size)
        assert model(**tiny_models.inputs(model, model_type)).logits.isfinite().all()


def test_settings_win_nested_ones_one_by_one():
    model = tiny_models.build(
        "gemma3", num_labels=5, text_config={"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}
    )
    assert model.config.text_config.num_hidden_layers == 3
    assert model.config.text_config.hidden_size == 32
    assert model(**tiny_models.inputs(model, "gemma3")).logits.shape == (3, 5)


def test_doubles_have_the_weights_of_floats():
    double, single = tiny_models.build("mixtral", dtype=torch.float64), tiny_models.build("mixtral")
    documents = tiny_models.inputs(single, "mixtral")
    torch.testing.assert_close(double(**documents).logits.float(), single(**documents).logits)


def test_nothing_large_is_ever_allocated():
    with pytest.raises(MemoryError, match="bert: 16,020,387 parameters"):
        tiny_models.build("bert", vocab_size=500_000)


def refuse(text):
    raise ValueError(text)


def warn(text):
    warnings.warn(text, stacklevel=1)


def test_a_child_answers():
    assert torch.equal(tiny_models.in_child(torch.arange, 3), torch.arange(3))


@pytest.mark.parametrize(
    ("function", "arguments", "why"),
    [
        (refuse, ("no such word",), "ValueError: no such word"),
        (warn, ("obsolete",), "UserWarning: obsolete"),
        (torch.zeros, (3 * 2**30,), "alloc"),
        (bytearray, (7 * 2**30,), "MemoryError"),
        (os._exit, (3,), "exit code 3"),
        (time.sleep, (600,), "no answer within 2 seconds"),
        (eval, ("lambda: 0",), "pickle"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_child_fails_without_harm(function, arguments, why):
    failure = tiny_models.in_child(function, *arguments, timeout=2 if function is time.sleep else 60)
    assert isinstance(failure, tiny_models.Failure)
    assert why in failure
