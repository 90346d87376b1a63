"""Tiny random classifiers of every architecture with which transformers classifies text.

Configs are shrunk by what their settings are called, not by what the architecture is: whatever is called a size becomes
small, a list by layer keeps one layer of each kind, ids outside the small vocabulary move inside. What a name cannot
tell has one line in `SETTINGS`.
"""

from __future__ import annotations

import inspect
import multiprocessing
import pickle
import re
import resource
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as CLASSES
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES as TOKENIZERS

from textlrp.basics.transformers_versions import base_config, release

LEFT_OUT = {
    "layoutlmv2": "its visual backbone is detectron2, which is not on PyPI",
}
ARCHITECTURES = tuple(name for name in CLASSES if name not in LEFT_OUT)

# A config that escaped the shrinking would fill the memory of the machine: nothing larger is ever allocated.
PARAMETER_LIMIT = 3_000_000


@dataclass(frozen=True)
class Size:
    """What the sizes in a config are shrunk to."""

    hidden: int = 32
    heads: int = 4
    layers: int = 2  # hybrids need one of each kind
    intermediate: int = 48
    vocabulary: int = 128
    positions: int = 128
    experts: int = 4
    window: int = 4  # of sliding, local and chunked attention: even, shorter than the documents

    @property
    def head(self) -> int:
        return self.hidden // self.heads


SIZES = {
    "tiny": Size(),
    "small": Size(hidden=64, layers=4, intermediate=96, vocabulary=256, experts=6, window=6),
}

# The widths that an architecture ties to its hidden size: they keep their ratio to it, or half where they are smaller.
WIDTH = re.compile(
    r"\w*hidden_size|d_model|d_latents|n_embd|(emb_)?dim|\w*embedding_size|\w*embed_dim|entity_emb_size"
    r"|word_embed_proj_dim|prediction_head_size|intra_bottleneck_size"
)
SHARED_HEADS = re.compile(r"num_key_value_heads|num_kv_heads|num_query_groups")
VOCABULARY = re.compile(r"vocab_size")
SPECIAL_ID = re.compile(r"\w+_token_id|\w+_token_index|(bos|eos|pad|unk|mask)_index")
RULES: tuple[tuple[str, Callable[[Size, int], int]], ...] = (
    (r"num_hidden_layers|n_layers?|num_layers|(num_)?(en|de)coder_layers|depth", lambda size, _: size.layers),
    (r"num_self_attends_per_block|num_feedforward_networks|max_depth", lambda size, _: size.layers),
    (r"num_attention_heads|n_heads?|num_heads|\w+_attention_heads", lambda size, _: size.heads),
    (r"index_n_heads|linear_num_value_heads", lambda size, _: size.heads),
    (r"n_mamba_heads", lambda size, _: 2 * size.heads),  # of twice the hidden width
    (r"linear_num_key_heads", lambda size, _: size.heads // 2),
    (r"(\w+_)?head_?dim|d_kv|d_head|attention_head_size|kv_channels|\w+_rank", lambda size, _: size.head),
    (r"rotary_dim", lambda size, _: size.head // 2),
    (r"(\w+_)?intermediate_size|\w*ffn_dim|ffn_hidden_size", lambda size, _: size.intermediate),
    (r"d_?ff|d_inner|hidden_dim|feed_forward_size", lambda size, _: size.intermediate),
    (r"num_experts|n_routed_experts|num_local_experts|num_latents", lambda size, _: size.experts),
    (r"num_experts_per_tok|moe_topk", lambda size, _: 2),
    (r"n_group", lambda _, old: min(old, 2)),
    (r"topk_group|first_k_dense_replace", lambda _, old: min(old, 1)),
    (r"\w+_layer_period", lambda size, _: 2),
    (r"\w+_layer_offset", lambda size, _: 1),
    (r"(entity_|shape_|pronunciation_)?vocab_size|num_hash_buckets", lambda size, _: size.vocabulary),
    (r"(\w+_)?position_embeddings|n_positions|max_seq_len", lambda size, _: size.positions),
    (r"sliding_window|(keep_)?window_size|local_attention|attention_window|index_topk", lambda size, _: size.window),
    (r"\w+_attn_chunk_length|chunk_size|block_size|local_transformer_stride", lambda size, _: size.window),
    (r"conv_kernel_size", lambda size, _: 3),
)
# Sizes for which None stands for a default that some architectures never fill in.
NONE_IS_A_SIZE = {"head_dim", "num_key_value_heads", "num_experts_per_tok", "vocab_size"}

SETTINGS: dict[str, Callable[[Size], dict[str, Any]]] = {
    # Rotary parameters by kind of layer have no default; full layers without positions, as in its published models.
    "cohere_compass_text": lambda size: {
        "layer_types": (["sliding_attention", "full_attention"] * size.layers)[: size.layers],
        "rope_parameters": {
            "sliding_attention": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [size.head // 4, size.head // 8, size.head // 8],
            },
            "full_attention": None,
        },
    },
    # Disentangled attention, which every published DeBERTa has, is off by default.
    "deberta": lambda size: {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "deberta-v2": lambda size: {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "share_att_key": True},
    # Its number of layers is the sum of the blocks.
    "funnel": lambda size: {"block_sizes": [1, 1, 1]},
    # Six position embeddings side by side make one hidden vector.
    "layoutlmv3": lambda size: {
        "hidden_size": 6 * size.head,
        "coordinate_size": size.head,
        "shape_size": size.head,
        "num_attention_heads": 6,
    },
    "lilt": lambda size: {"hidden_size": 6 * size.head, "num_attention_heads": 6},
    # Its heads hold a rotary half beside the half that its siblings call a head.
    "mistral4": lambda size: {"head_dim": 2 * size.head},
    # The factors of its position table, by length and by width.
    "reformer": lambda size: {
        "axial_pos_shape": [size.positions // 8, 8],
        "axial_pos_embds_dim": [size.head, size.hidden - size.head],
    },
    # The one encoder-decoder whose config does not say how the decoder starts: with the pad, as published.
    "t5": lambda size: {"decoder_start_token_id": 0},
    # No adapter without a language.
    "xmod": lambda size: {"default_language": "en_XX"},
    # Shared attention layers must be two to share something.
    "zamba": lambda size: {"num_hidden_layers": 3, "layers_block_type": ["linear_attention", "hybrid", "hybrid"]},
}

# Block-sparse attention falls back to full attention on documents shorter than seven blocks, and stays there.
# CANINE reads the characters through a convolution that drops the last of its few strides.
LENGTHS = {"canine": (45, 37, 41), "big_bird": (45, 37, 41), "bigbird_pegasus": (45, 37, 41)}


class Skipped(str):
    """What a child answers if it skips the test."""


class Failure(str):
    """What `in_child` returns in place of a result: why there is none."""


def shrink(config, size: Size, moved: dict[int, int] | None = None) -> dict[str, Any]:
    """The settings that make `config` small, nested configs included."""
    moved = {} if moved is None else moved  # ids outside the small vocabulary -> their place at its end

    def inside(token_id):
        if isinstance(token_id, list):
            return [inside(each) for each in token_id]
        if token_id is None or token_id in range(8):
            return token_id
        return moved.setdefault(token_id, size.vocabulary - 1 - len(moved))

    def small(key, old):
        nested = getattr(config, key, None)
        if isinstance(nested, base_config()):
            return {"model_type": nested.model_type, **shrink(nested, size, moved)}
        if isinstance(old, dict) and "original_max_position_embeddings" in old:  # YaRN: reached by short documents
            return {**old, "original_max_position_embeddings": max(1, int(size.positions // old.get("factor", 1)))}
        if isinstance(old, list | tuple) and len(old) == layers and isinstance(old[0], str | int):
            return (list(dict.fromkeys(old)) * size.layers)[: size.layers]
        if SPECIAL_ID.fullmatch(key):
            return inside(old)
        if old is None and key in NONE_IS_A_SIZE:
            old = 1
        if type(old) is not int or old <= 0:
            return old
        if SHARED_HEADS.fullmatch(key):
            return size.heads if old >= heads else size.heads // 2
        if WIDTH.fullmatch(key):
            return size.hidden // 2 if old < (hidden or old) else size.hidden * round(old / (hidden or old))
        return next((rule(size, old) for pattern, rule in RULES if re.fullmatch(pattern, key)), old)

    hidden, heads, layers = (
        getattr(config, name, None) for name in ("hidden_size", "num_attention_heads", "num_hidden_layers")
    )
    old = config.to_dict()
    settings = {key: new for key, value in old.items() if (new := small(key, value)) != value}
    if "vocab_size" in old and settings.get("pad_token_id", old.get("pad_token_id")) is None:
        # The lowest free one: RoBERTa's kind counts positions from it.
        settings["pad_token_id"] = min({*range(8)} - {*settings_named(SPECIAL_ID, old)})
    return settings


def merge(settings: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    """`settings` with the others on top, the last on top of all."""
    for other in others:
        for key, value in other.items():
            nested = isinstance(value, dict) and isinstance(settings.get(key), dict)
            settings = {**settings, key: merge(settings[key], value) if nested else value}
    return settings


def configure(model_type: str, size: Size | str = "tiny", **settings):
    """The config of a small classifier; `settings` win, nested dicts setting by setting."""
    if isinstance(size, str):
        size = SIZES[size]
    cls = CONFIG_MAPPING[model_type]
    special = SETTINGS.get(model_type, lambda _: {})(size)
    return cls(**merge({**shrink(cls(), size), "num_labels": 3}, special, settings))


def perturb(model, seed: int) -> None:
    """Adds noise to every parameter, so that nothing is zero or one by initialization and cancels by luck.

    Weights get what keeps activations of order one, vectors (biases, norms, decays) a fifth.
    """
    generator = torch.Generator().manual_seed(seed)
    convolutions = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    whole = {id(module.weight) for module in model.modules() if isinstance(module, convolutions)}
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() < 2:
                scale = 0.2
            else:
                scale = (parameter[0].numel() if id(parameter) in whole else parameter.shape[-1]) ** -0.5
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


def build(
    model_type: str,
    *,
    attention: str | None = None,
    experts: str | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    size: Size | str = "tiny",
    **settings,
):
    """A small random classifier in eval mode, the same for the same arguments.

    `attention` is "eager", "sdpa" or None for what transformers would take; `experts` likewise ("eager", "batched_mm",
    "grouped_mm"); `settings` override those of the config.
    Skips the test if this release of transformers has no such architecture.
    Raises MemoryError instead of allocating more than `PARAMETER_LIMIT` parameters.
    """
    if model_type not in CLASSES:
        pytest.skip(f"transformers {transformers.__version__} has no {model_type}")
    cls = getattr(transformers, CLASSES[model_type])
    if dtype is torch.float64 and experts is None:
        experts = "eager"  # the grouped product, which is the default, takes no doubles
    kernels = {"experts_implementation": experts} if release() >= (5, 0) else {}  # before, there was one

    def instantiate():  # a new config each time: models write into theirs
        config = configure(model_type, size, **settings)
        return cls._from_config(config, attn_implementation=attention, **kernels)

    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in instantiate().parameters())
    if parameters > PARAMETER_LIMIT:
        raise MemoryError(f"{model_type}: {parameters:,} parameters, more than the limit of {PARAMETER_LIMIT:,}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = instantiate()
    perturb(model, seed)
    return model.to(dtype).eval()


def supports_sdpa(model_type: str) -> bool:
    """Whether `build(..., attention="sdpa")` can be asked for."""
    return bool(getattr(transformers, CLASSES[model_type])._supports_sdpa)


def padding_side(model_type: str) -> str:
    """Where the architecture's tokenizer pads, "right" where none is known."""
    name = TOKENIZERS.get(model_type)
    if isinstance(name, tuple):  # before transformers 5.0: the slow one and the fast one, either of which may be None
        name = name[1] or name[0]
    try:
        return getattr(transformers, name).padding_side if name else "right"
    except ImportError:  # PLBart's tokenizer alone needs sentencepiece
        return "right"


def settings_named(pattern: re.Pattern, settings: dict[str, Any]) -> Iterator[int]:
    """The integers under the keys that match, at any depth."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from settings_named(pattern, value)
        elif pattern.fullmatch(str(key)):  # id2label has integers for keys
            yield from (each for each in (value if isinstance(value, list) else [value]) if each is not None)


def places(model_type: str, batch: int = 3, lengths: tuple[int, ...] | None = None) -> torch.Tensor:
    """Where the words of each document stand, `[batch, sequence]` booleans; the rest is padding."""
    lengths = lengths or LENGTHS.get(model_type, (11, 7, 9))
    lengths = tuple(lengths[i % len(lengths)] for i in range(batch))
    count = torch.arange(max(lengths))
    if padding_side(model_type) == "left":
        count = count.flip(0)
    return count < torch.tensor(lengths)[:, None]


def inputs(model, model_type: str, *, batch: int = 3, seed: int = 0, lengths: tuple[int, ...] | None = None) -> dict:
    """Documents of different lengths in one padded batch: `input_ids` and, where the model reads one, `attention_mask`.

    Their ids are ordinary words; only encoder-decoders, which classify at the end, get the one `eos` they insist on.
    """
    settings = model.config.to_dict()
    special = {*range(8), *settings_named(SPECIAL_ID, settings)}
    vocabulary = min(settings_named(VOCABULARY, settings), default=128)  # CANINE reads any character
    words = torch.tensor([word for word in range(vocabulary) if word not in special])
    text = model.config.get_text_config()
    generator = torch.Generator().manual_seed(seed)
    mask = places(model_type, batch, lengths)
    input_ids = torch.full(mask.shape, text.pad_token_id)
    for ids, place in zip(input_ids, mask, strict=True):
        document = words[torch.randint(len(words), (int(place.sum()),), generator=generator)]
        if model.config.is_encoder_decoder:
            document[-1] = text.eos_token_id
        ids[place] = document
    takes_mask = "attention_mask" in inspect.signature(model.forward).parameters
    return {"input_ids": input_ids, "attention_mask": mask.long()} if takes_mask else {"input_ids": input_ids}


def in_child(function: Callable, *args, memory_gib: float = 6, timeout: float = 300, filters: list | None = None):
    """`function(*args)`, called in a process of its own that may take `memory_gib` of memory, or a `Failure`.

    The child is forked from a server that has everything imported but has never computed: it has no threads whose locks
    would be inherited held. Function, arguments and result are pickled. The child obeys the caller's warning
    filters, or those given: to a thread, pytest's are there only while a test runs.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "transformers.modeling_layers", "tiny_models"])
    receiver, sender = context.Pipe(duplex=False)
    filters = list(warnings.filters if filters is None else filters)
    process = context.Process(target=_answer, args=(sender, memory_gib, filters, function, args), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(timeout):
            return Failure(f"no answer within {timeout} seconds")
        answer = pickle.loads(receiver.recv_bytes())
        if isinstance(answer, Skipped):
            pytest.skip(answer)
        return answer
    except EOFError:
        process.join()
        return Failure(f"the child died with exit code {process.exitcode}")
    finally:
        process.kill()
        process.join()
        process.close()
        receiver.close()


def _answer(sender, memory_gib: float, filters, function: Callable, args: tuple) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_gib * 2**30),) * 2)
    torch.set_num_threads(1)
    warnings.resetwarnings()
    warnings.filters[:] = filters
    try:
        # Plain pickle: torch's own would lend tensors in shared memory that dies with the child.
        answer = pickle.dumps(function(*args))
    except pytest.skip.Exception as skipped:
        answer = pickle.dumps(Skipped(skipped))
    except Exception:
        answer = pickle.dumps(Failure(traceback.format_exc()))
    sender.send_bytes(answer)
