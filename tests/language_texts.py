"""One small text in each of twenty languages, written for this project, and tokenizers trained on such texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

TEXTS = {
    "amh_Ethi": "ፊልሙ በጣም ቆንጆ ነበር። ልጆቼ ሁሉ ወደዱት፤ ግን መጨረሻው አሳዛኝ ነው።",
    "arb_Arab": "كان الفيلم جميلًا، لكنّ نهايته مُحزنة. هل ستشاهده غدًا؟",
    "deu_Latn": "Das Essen war gut, die Bedienung aber unfreundlich. Wir kommen nicht wieder!",
    "ell_Grek": "Η ταινία ήταν υπέροχη, αλλά το τέλος με στενοχώρησε. Θα τη δεις;",
    "eng_Latn": "I can't say that it's bad; the 2nd half is great. See https://example.org/a?b=1 (or don't).",
    "fin_Latn": "Elokuva oli hieno, mutta loppu jäi mieleen surullisena. Katsotko sen huomenna?",
    "fra_Latn": "L'histoire m'a plu, mais l'acteur n'est pas doué. C'est dommage !",
    "heb_Hebr": "הסרט היה נהדר, אבל הסוף עצוב. האם תראה אותו מחר?",
    "hin_Deva": "फ़िल्म बहुत अच्छी थी, लेकिन अंत दुखद था। क्या तुम इसे कल देखोगे?",
    "jpn_Jpan": "映画はとても面白かったです。でも、最後は少し悲しい。明日もう一度見ますか？",
    "kat_Geor": "ფილმი ძალიან კარგი იყო, მაგრამ დასასრული სევდიანია. ნახავ ხვალ?",
    "kor_Hang": "영화는 정말 재미있었지만 결말이 슬펐다. 내일 다시 볼래요?",
    "rus_Cyrl": "Фильм мне понравился, но конец оказался грустным. Посмотришь его завтра?",
    "spa_Latn": "¿Te gustó la película? A mí sí, pero el final es triste.",
    "swh_Latn": "Filamu ilikuwa nzuri sana, lakini mwisho wake ni wa huzuni. Utaiona kesho?",
    "tam_Taml": "படம் மிகவும் நன்றாக இருந்தது, ஆனால் முடிவு சோகமானது. நாளை பார்ப்பாயா?",
    "tha_Thai": "หนังเรื่องนี้สนุกมาก แต่ตอนจบเศร้า พรุ่งนี้คุณจะไปดูไหม",
    "tur_Latn": "Film çok güzeldi, ama sonu İstanbul'da hüzünlü bitti. Yarın izler misin?",
    "vie_Latn": "Bộ phim rất hay, nhưng kết thúc hơi buồn. Ngày mai bạn có xem không?",
    "zho_Hans": "这部电影非常好看，但是结局很悲伤。你明天会去看吗？",
}

KINDS = ("wordpiece", "bytelevel", "unigram", "character")


def train(kind: str, texts: Iterable[str], size: int) -> Any:
    """A tokenizer of one of the four usual kinds, with special tokens around one text and between two."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    options: dict[str, Any] = {"vocab_size": size, "special_tokens": specials, "show_progress": False}
    trainer: Any
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(limit_alphabet=600, **options)
    elif kind == "bytelevel":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **options)
    elif kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(unk_token="[UNK]", **options)
    else:
        tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        tokenizer.decoder = decoders.Fuse()
        trainer = trainers.WordLevelTrainer(**options)
    tokenizer.train_from_iterator(texts, trainer)
    ids = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{key}_token": value for key, value in names.items()},
    )
