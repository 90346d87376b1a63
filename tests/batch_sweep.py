"""What a child of the sweep measures of one architecture: texts in batches, in windows and for all labels at once.

The yardstick is the text alone and the label alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tiny_models
import torch

from textlrp import Explainer, Explanation


class Finding(NamedTuple):
    """Largest differences, of relevances as a share of the sum of the absolute ones.

    Attributes:
        logits: of texts in batches to those alone, as a share of the largest logit.
        batch: of texts in batches to those alone.
        targets: of labels that share a forward pass to those alone.
        windows: of the relevances of a text in windows, added up with the ledger's other rows, to the mean logit.
        seen: of an explanation with layers to that without.
        layers: the largest imbalance at any layer, by both presets, alone and in windows.
        flat: of difference rules, the largest row at any layer that is neither the reference's nor the positions'.
        states: how many hidden states were found.
    """

    logits: float
    batch: float
    targets: float
    windows: float
    seen: float
    layers: float
    flat: float
    states: int


def examine(model_type: str) -> Finding:
    """Measure one architecture."""
    model = tiny_models.build(model_type)
    tokenizer, words = word_tokenizer(model, model_type)
    explainer = Explainer(model, tokenizer)
    shortest = max(tiny_models.LENGTHS.get(model_type, (5,)))
    chance = torch.Generator().manual_seed(0)
    texts = [
        " ".join(f"w{words[int(i)]}" for i in torch.randint(len(words), (shortest + more,), generator=chance))
        for more in (6, 0, 1, 6, 3, 2, 2, 0)
    ]
    alone = [explainer.explain(text) for text in texts]
    together = explainer.explain_batch(texts, batch_size=4)
    labels = explainer.explain_targets(texts[0])
    limit = len(alone[1].tokens)
    windows = explainer.explain(texts[0], long="windows", window=limit)
    assert windows.windows > 1
    parts = [explainer.classifier.encode(texts[0], None)]
    assert len(windows.tokens) == len(parts[0].input_ids)
    inside = [explainer.explain(texts[0], layers=True, rules=rules) for rules in ("attnlrp", "cp-lrp", "difference")]
    inside.append(explainer.explain(texts[0], layers=True, long="windows", window=limit))
    # The difference rules, too: texts in batches, and labels that share a pass.
    alone += [explainer.explain(text, rules="difference") for text in texts[:3]]
    together += explainer.explain_batch(texts[:3], batch_size=3, rules="difference")
    beside = explainer.explain_targets(texts[1], rules="difference")
    return Finding(
        logits=max(shift(one.logits, other.logits) for one, other in zip(together, alone, strict=True)),
        batch=max(difference(one, other) for one, other in zip(together, alone, strict=True)),
        targets=max(
            *(difference(e, explainer.explain(texts[0], target=label)) for label, e in labels.items()),
            *(
                difference(e, explainer.explain(texts[1], target=label, rules="difference"))
                for label, e in beside.items()
            ),
        ),
        windows=windows.ledger.imbalance,
        seen=difference(inside[0], alone[0]),
        layers=max(layer.ledger.imbalance for e in inside for layer in e.layers),
        flat=max(left_over(layer.ledger) for layer in inside[2].layers),
        states=len(inside[0].layers),
    )


def left_over(ledger: Any) -> float:
    """What is neither on the reference nor on positions, as a share of the relevance of the positions."""
    held = ("reference", "reference (pinned)", "tokens", "special tokens", "other paths", "detached")
    return max((abs(row) for heading, row in ledger.rows.items() if heading not in held), default=0.0) / ledger.words


def difference(one: Explanation, other: Explanation) -> float:
    pairs = zip(one.tokens, other.tokens, strict=True)
    return max(abs(a.relevance - b.relevance) for a, b in pairs) / sum(abs(span.relevance) for span in other.tokens)


def shift(one: Any, other: Any) -> float:
    return max(abs(one[label] - other[label]) for label in other) / max(abs(value) for value in other.values())


def word_tokenizer(model: Any, model_type: str) -> tuple[Any, list[int]]:
    """A tokenizer of the words ``w8``, ``w9``, ... for ids that mean nothing special to a model, and these ids."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    settings, text = model.config.to_dict(), model.config.get_text_config()
    special = {*range(8), *tiny_models.settings_named(tiny_models.SPECIAL_ID, settings)}
    size = min(tiny_models.settings_named(tiny_models.VOCABULARY, settings), default=128)
    words = [word for word in range(size) if word not in special]
    table = {"[PAD]": text.pad_token_id, **{f"w{word}": word for word in words}}
    if model.config.is_encoder_decoder:
        table["</s>"] = text.eos_token_id
    table["[UNK]"] = next(i for i in range(size) if i not in table.values())
    tokenizer = Tokenizer(models.WordLevel(table, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if model.config.is_encoder_decoder:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", text.eos_token_id)]
        )
    names = {"eos_token": "</s>"} if model.config.is_encoder_decoder else {}
    side = tiny_models.padding_side(model_type)
    return (
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", padding_side=side, **names
        ),
        words,
    )
