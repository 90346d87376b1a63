"""Every language model of transformers is explained as a prompted classifier: by its logits, with a balanced ledger."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_models
import torch
import transformers
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)

from textlrp import Explainer

CASES = [
    *((model_type, "AutoModelForCausalLM") for model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
    *((model_type, "AutoModelForSeq2SeqLM") for model_type in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES),
]
TEXTS = [
    "w020 w035 w041 w044 w030 w022 w050",
    "w030 w022 w050 w061 w070 w035 w099 w101",
]  # similar, so that they share a batch


def tokenizer_of(config: Any) -> Any:
    """A tokenizer of the words w000, w001, ... with the model's ids."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    text = config.get_text_config()
    tokenizer = Tokenizer(models.WordLevel({f"w{i:03}": i for i in range(text.vocab_size)}, unk_token="w019"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {}
    for name in ("pad", "eos"):
        number = getattr(text, f"{name}_token_id", None)
        number = number[0] if isinstance(number, list) else number
        if isinstance(number, int) and 0 <= number < text.vocab_size:
            special[f"{name}_token"] = f"w{number:03}"
    if config.is_encoder_decoder and "eos_token" in special:
        end = special["eos_token"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"$A {end}", special_tokens=[(end, tokenizer.token_to_id(end))]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], **special
    )


def tiny(model_type: str, auto: str) -> Any:
    """A small random language model."""
    with torch.device("meta"):
        size = sum(
            p.numel() for p in getattr(transformers, auto).from_config(tiny_models.configure(model_type)).parameters()
        )
    if size > tiny_models.PARAMETER_LIMIT:
        raise MemoryError(f"{size:,} parameters")
    torch.manual_seed(0)
    model = getattr(transformers, auto).from_config(tiny_models.configure(model_type)).eval()
    tiny_models.perturb(model, 0)
    return model


def explain(model_type: str, auto: str) -> dict[str, Any]:
    """Explain two texts in a batch, and compare their logits with those of the model alone.

    Returns:
        The largest difference relative to the logits, or under ``"none"`` why there is no model of this kind that is
        small and reads ids alone.
    """
    prompts = [f"w009 w010 {text} w011" for text in TEXTS]
    labels = {"A": " w012", "B": " w013"}
    try:
        model = tiny(model_type, auto)
        tokenizer = tokenizer_of(model.config)
        more = (
            {"decoder_input_ids": torch.tensor([[_start(model, tokenizer)]])} if model.config.is_encoder_decoder else {}
        )
        expected = []
        for prompt in prompts:
            ids = torch.tensor([tokenizer(prompt)["input_ids"]])
            with torch.no_grad():
                expected.append(model(input_ids=ids, use_cache=False, **more).logits[0, -1, [12, 13]].tolist())
    except Exception as error:
        return {"none": f"{type(error).__name__}: {error}"}
    explainer = Explainer.prompted(model, tokenizer, template="w009 w010 {text} w011", labels=labels)
    worst = 0.0
    for text, e, logits in zip(TEXTS, explainer.explain_batch(TEXTS), expected, strict=True):
        assert "".join(span.text for span in e.tokens) == text.replace(" ", "")
        size = max(map(abs, logits))
        worst = max(worst, *(abs(a - b) / size for a, b in zip(logits, e.logits.values(), strict=True)))
    return {"difference": worst}


def _start(model: Any, tokenizer: Any) -> int:
    """What the decoder reads first."""
    prepare = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    if prepare is None:
        return int(model.config.decoder_start_token_id)
    return int(prepare(labels=torch.tensor([tokenizer("w012")["input_ids"]]))[0, 0])


@pytest.mark.architectures
@pytest.mark.parametrize(("model_type", "auto"), CASES)
def test_a_language_model_is_a_prompted_classifier(model_type: str, auto: str) -> None:
    answer = tiny_models.in_child(explain, model_type, auto)
    assert not isinstance(answer, tiny_models.Failure), answer
    if "none" in answer:
        pytest.skip(answer["none"])
    assert answer["difference"] < 1e-4
