"""A tiny BERT classifier and small tokenizers of every kind, built where they are needed."""

from __future__ import annotations

from typing import Any

REVIEWS = [
    "A wonderful, moving film that never loses its way.",
    "The plot is dull and the jokes are worse than bad.",
    "Gutes Essen, freundliche Bedienung; gerne wieder!",
    "فيلم رائع جدا وممتع للغاية",
    "素晴らしい映画でした。また見たいです。",
]


def fast_tokenizer(kind: str) -> Any:
    """A small fast tokenizer: ``wordpiece``, ``bytelevel`` (GPT-2 type), ``roberta`` (trimmed) or ``metaspace``."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    if kind == "wordpiece":
        specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        words = "a the film plot is and wonder ##ful moving never dull bad no x great , . ! ☃ ##s ##e ##ly".split()
        letters = "abcdefghijklmnopqrstuvwxyz"
        vocabulary = [*specials, *words, *letters.replace("a", "").replace("x", ""), *(f"##{c}" for c in letters)]
        table = {piece: i for i, piece in enumerate(dict.fromkeys(vocabulary))}
        tokenizer = Tokenizer(models.WordPiece(table, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        names = dict(zip(("pad", "unk", "cls", "sep", "mask"), specials, strict=True))
    elif kind in ("bytelevel", "roberta"):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        specials = ["<s>", "<pad>", "</s>", "<unk>"]
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer: Any = trainers.BpeTrainer(
            vocab_size=320, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
        )
        names = (
            {"pad": "<pad>", "unk": "<unk>"} if kind == "bytelevel" else {"pad": "<pad>", "cls": "<s>", "sep": "</s>"}
        )
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        specials = ["<pad>", "</s>", "<unk>"]
        trainer = trainers.UnigramTrainer(
            vocab_size=150, special_tokens=specials, unk_token="<unk>", show_progress=False
        )
        names = {"pad": "<pad>", "sep": "</s>", "unk": "<unk>"}
    if kind != "wordpiece":
        tokenizer.train_from_iterator(REVIEWS * 3, trainer)
    ids = {name: tokenizer.token_to_id(name) for name in specials}
    if kind == "wordpiece":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
        )
    elif kind == "bytelevel":
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    elif kind == "roberta":
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", ids["</s>"]), ("<s>", ids["<s>"]))
    else:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", ids["</s>"])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{f"{key}_token": value for key, value in names.items()}
    )


def bert(vocabulary: int, **options: Any) -> Any:
    """A tiny BERT with two labels and untrained weights that lean on every input."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    settings = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
        "id2label": {0: "NEG", 1: "POS"},
        "label2id": {"NEG": 0, "POS": 1},
        "initializer_range": 0.3,
    }
    model = BertForSequenceClassification(BertConfig(vocab_size=vocabulary, **{**settings, **options})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model
