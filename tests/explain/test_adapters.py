"""Adapters of PEFT are loaded with their base model, and explained as the models that they make."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import textlrp
from textlrp import Explainer
from textlrp.errors import LRPError, ModelError

peft = pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks transformers for an old name

DEMO = Path(textlrp.__file__).parent / "demo"
TEXT = "A good film, not a bad one."


def base(**options: Any) -> Any:
    return transformers.AutoModelForSequenceClassification.from_pretrained(DEMO, **options).eval()


def saved(folder: Path, config: Any, **options: Any) -> Any:
    """A base model with an adapter, which is saved to a folder; its head is another one than the base model's."""
    torch.manual_seed(0)
    model = peft.get_peft_model(base(**options), config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "modules_to_save" in name:
                parameter.add_(torch.randn_like(parameter) / 10)
    model.save_pretrained(folder)
    return model


def logits(model: Any) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO)
    with torch.no_grad():
        return model(**tokenizer(TEXT, return_tensors="pt")).logits[0]


LORA = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"], init_lora_weights=False)
CONFIGS = {
    "lora": LORA,
    "ia3": peft.IA3Config(
        task_type="SEQ_CLS", target_modules=["key", "output.dense"], feedforward_modules=["output.dense"]
    ),
    "embeddings": peft.LoraConfig(task_type="SEQ_CLS", target_modules=["word_embeddings"], init_lora_weights=False),
    "tokens": peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"], trainable_token_indices=[10, 11, 12]),
}


@pytest.mark.parametrize("rules", ["attnlrp", "difference"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_folder_of_an_adapter_is_the_model_that_was_saved(config: Any, rules: str, tmp_path: Path) -> None:
    model = saved(tmp_path, config)
    explained = Explainer.from_pretrained(tmp_path).explain(TEXT, target="POS", rules=rules)
    assert explained.logits["POS"] == pytest.approx(float(logits(model)[1]), abs=1e-5)
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO)
    alone = Explainer(model, tokenizer).explain(TEXT, target="POS", rules=rules)
    assert [span.relevance for span in explained.tokens] == pytest.approx([span.relevance for span in alone.tokens])
    assert explained.ledger.balanced


def test_a_head_may_have_another_number_of_labels(tmp_path: Path) -> None:
    model = saved(tmp_path, LORA, num_labels=5, ignore_mismatched_sizes=True)
    explainer = Explainer.from_pretrained(tmp_path)
    assert len(explainer.labels) == 5
    found = list(explainer.explain(TEXT).logits.values())
    assert found == pytest.approx(logits(model).tolist(), abs=1e-5)


def test_a_tokenizer_of_its_own_comes_first(tmp_path: Path) -> None:
    saved(tmp_path, LORA)
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO)
    tokenizer.add_tokens(["zzyzx"])
    tokenizer.save_pretrained(tmp_path)
    assert "zzyzx" in transformers.AutoTokenizer.from_pretrained(tmp_path).get_vocab()
    assert "zzyzx" in Explainer.from_pretrained(tmp_path).tokenizer.get_vocab()


def test_what_is_no_classifier_or_names_no_model_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "lora", LORA)
    bare = transformers.BertModel(transformers.BertConfig.from_pretrained(DEMO))
    bare.save_pretrained(tmp_path / "bare")
    transformers.AutoTokenizer.from_pretrained(DEMO).save_pretrained(tmp_path / "bare")
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "bare")  # a random head
    without_head = peft.get_peft_model(loaded, peft.LoraConfig(target_modules=["query"]))
    without_head.save_pretrained(tmp_path / "headless")
    with pytest.raises(ModelError, match=r"is not a trained text classifier: neither it nor its base model has class"):
        Explainer.from_pretrained(tmp_path / "headless")
    file = tmp_path / "lora" / "adapter_config.json"
    config = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(config | {"base_model_name_or_path": str(tmp_path / "gone")}), "utf-8")
    with pytest.raises(ModelError, match="gone"):
        Explainer.from_pretrained(tmp_path / "lora")
    file.write_text(json.dumps(config | {"base_model_name_or_path": None}), "utf-8")
    with pytest.raises(ModelError, match="names no base model"):
        Explainer.from_pretrained(tmp_path / "lora")
    file.write_text(json.dumps(config), "utf-8")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LRPError, match=r"an adapter needs peft, which is not installed: pip install .textlrp\[peft\]"):
        Explainer.from_pretrained(tmp_path / "lora")
    shutil.rmtree(tmp_path / "lora")
