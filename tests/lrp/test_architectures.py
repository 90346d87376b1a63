"""Every architecture with which transformers classifies text, and their support table in docs/architectures.md.

Child processes examine the architectures, a few at a time, ahead of the tests that read the reports.
"""

from collections import Counter

import architecture_sweep
import pytest
import support_table
import tiny_models

pytestmark = pytest.mark.architectures


@pytest.fixture(scope="module")
def reports(ahead, selected):
    return {name: ahead(architecture_sweep.examine, architecture_sweep.Case(name)) for name in selected("model_type")}


@pytest.mark.parametrize("model_type", tiny_models.ARCHITECTURES)
def test_every_architecture_balances_its_ledgers(model_type, reports):
    """Eager and sdpa, both presets, a padded batch: logits, ledgers, batch equality, an undisturbed model."""
    report = reports[model_type].result()
    assert not isinstance(report, tiny_models.Failure), report
    assert report.complaints == []
    attentions = ("eager", "sdpa") if tiny_models.supports_sdpa(model_type) else ("eager",)
    expected = {(a, d, r): 1 for a in attentions for d in architecture_sweep.DTYPES for r in architecture_sweep.PRESETS}
    assert Counter((f.attention, f.dtype, f.rules) for f in report.findings) == expected


def test_the_support_table_agrees_with_the_sweep(reports, pytestconfig):
    if set(reports) != set(tiny_models.ARCHITECTURES):
        pytest.skip("the support table needs every architecture, and only some were asked for")
    results = {name: report.result() for name, report in reports.items()}
    assert [name for name, report in results.items() if isinstance(report, tiny_models.Failure)] == []
    block = support_table.block(results)
    if pytestconfig.getoption("write_support_table"):
        support_table.write(block)
    if support_table.versions() not in support_table.read():
        pytest.skip(f"the support table is of other versions than {support_table.versions()}")
    assert support_table.read() == block, f"`{support_table.COMMAND}` writes it anew"


ROTATIONS = {
    "linear": {"factor": 2.0},
    "dynamic": {"factor": 2.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 8},
    "llama3": {
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8,
    },
    "longrope": {
        "factor": 4.0,
        "short_factor": [1.0] * 8,
        "long_factor": [2.0] * 8,
        "original_max_position_embeddings": 8,
    },
}


def rotated(kind):
    """Rotary positions stretched for long texts, which the documents are."""
    settings = {"rope_type": kind, "rope_theta": 10_000.0, **ROTATIONS[kind]}
    return {"rope_parameters": settings, "max_position_embeddings": 12 if kind == "dynamic" else 32}


# Other settings than the defaults, as published models have them.
OTHER_SETTINGS = [
    *(("bert", {"hidden_act": name}) for name in ("relu", "gelu_new", "silu", "quick_gelu", "tanh", "relu2", "mish")),
    ("bert", {"num_labels": 1}),
    ("bert", {"num_labels": 7, "type_vocab_size": 1, "layer_norm_eps": 0.1}),
    ("bert", {"hidden_size": 72, "num_attention_heads": 6, "num_hidden_layers": 1}),
    ("roberta", {"hidden_act": "gelu_pytorch_tanh", "num_labels": 2}),
    ("distilbert", {"sinusoidal_pos_embds": True, "activation": "relu"}),
    ("electra", {"embedding_size": 24, "hidden_act": "gelu_new", "num_labels": 5}),
    ("albert", {"num_hidden_groups": 2, "inner_group_num": 2, "embedding_size": 24, "hidden_act": "gelu"}),
    ("deberta-v2", {"relative_attention": False}),
    ("deberta-v2", {"share_att_key": False, "norm_rel_ebd": "layer_norm", "position_biased_input": False}),
    ("deberta-v2", {"conv_kernel_size": 3, "conv_act": "gelu", "position_buckets": 4, "norm_rel_ebd": "layer_norm"}),
    ("modernbert", {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_pooling": "mean"}),
    ("modernbert", {"layer_types": ["sliding_attention"] * 4, "local_attention": 2, "hidden_activation": "silu"}),
    ("xlm-roberta-xl", {"hidden_act": "relu"}),
    ("roformer", {"rotary_value": True}),
    ("gpt2", {"activation_function": "relu", "scale_attn_by_inverse_layer_idx": True}),
    ("gpt2", {"n_inner": 40, "num_labels": 1, "summary_use_proj": False}),
    ("gpt_neox", {"use_parallel_residual": False, "hidden_act": "gelu_new"}),
    ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 24}),
    ("opt", {"enable_bias": False, "layer_norm_elementwise_affine": False}),
    ("bloom", {"apply_residual_connection_post_layernorm": True}),
    ("falcon", {"alibi": True, "bias": True}),
    ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    ("falcon", {"multi_query": False, "parallel_attn": False}),
    ("mpt", {"no_bias": False, "attn_config": {"alibi": False, "qk_ln": True}}),
    *(("llama", rotated(kind)) for kind in ROTATIONS),
    ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True, "hidden_act": "gelu"}),
    ("llama", {"num_key_value_heads": 1, "num_labels": 7}),
    ("mistral", {"sliding_window": 2, "head_dim": 24, "num_key_value_heads": 2}),
    ("qwen2", {"use_sliding_window": True, "max_window_layers": 2, "sliding_window": 4, "num_key_value_heads": 2}),
    ("qwen3", {"attention_bias": True, "num_key_value_heads": 1, "head_dim": 24}),
    ("gemma", {"num_key_value_heads": 1, "hidden_activation": "gelu"}),
    ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None, "query_pre_attn_scalar": 9}),
    ("gemma3_text", {"use_bidirectional_attention": True, "sliding_window": 4}),
    ("gemma3_text", {"attn_logit_softcapping": 5.0, "num_key_value_heads": 2, "attention_bias": True}),
    ("phi3", {"partial_rotary_factor": 0.5, "sliding_window": 4}),
    ("mixtral", {"num_experts_per_tok": 1, "output_router_logits": True, "sliding_window": 4}),
    *(("mixtral", {"experts": name}) for name in ("eager", "batched_mm")),
    ("qwen3_moe", {"norm_topk_prob": True, "decoder_sparse_step": 2, "num_key_value_heads": 2}),
    ("t5", {"feed_forward_proj": "gated-gelu", "num_decoder_layers": 2, "relative_attention_num_buckets": 6}),
    ("t5", {"feed_forward_proj": "gelu", "scale_decoder_outputs": False, "num_labels": 1}),
    ("bart", {"scale_embedding": True, "activation_function": "relu", "decoder_layers": 1}),
    ("xlnet", {"summary_type": "mean", "same_length": True}),
    ("xlnet", {"summary_type": "first", "ff_activation": "relu", "summary_use_proj": False}),
]


def named(case):
    name, settings = case
    return f"{name} {' '.join(key if isinstance(value, dict) else f'{key}={value}' for key, value in settings.items())}"


@pytest.fixture(scope="module")
def others(ahead, selected):
    """By number."""
    shapes = [(17, 1, 8, 13), (9, 14), (23, 6, 6)]
    return {
        number: ahead(
            architecture_sweep.examine,
            architecture_sweep.Case(
                OTHER_SETTINGS[number][0],
                size="small",
                seed=number + 1,
                lengths=shapes[number % 3],
                batch=len(shapes[number % 3]),
                settings=OTHER_SETTINGS[number][1],
                dtypes=("float64",),
            ),
        )
        for number in selected("number")
    }


@pytest.mark.parametrize("number", range(len(OTHER_SETTINGS)), ids=map(named, OTHER_SETTINGS))
def test_other_sizes_seeds_and_settings(number, others):
    report = others[number].result()
    assert not isinstance(report, tiny_models.Failure), report
    assert report.complaints == []
