"""Tokenizers that rewrite words, and offsets that are not true: each id has its word, or an error says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import language_texts
import pytest
import transformers
from printed_terminal import printed
from slow_tokenizer import Slow
from tiny_bert import bert

from textlrp import Explainer, Explanation
from textlrp.errors import AlignmentError
from textlrp.text.encoding import Encoding, encode

#: Words that the small vocabularies have whole; every other word is spelled by its characters.
WHOLE = ["the", "film", "good", "@USER", "HTTPURL", "n't", "&amp;"]
SIGNS = sorted({*"abcdefghijklmnopqrstuvwxyzAI0123456789@#&;:/.,!?()[]<>«»'’\"-_", *"".join(WHOLE)})


def merges() -> list[tuple[str, str]]:
    """The merges that make each of the whole words."""
    found: dict[tuple[str, str], None] = {}
    for word in WHOLE:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            found[parts[0], parts[1]] = None
            parts = [parts[0] + parts[1], *parts[2:]]
    return list(found)


def bertweet(path: Path, **options: Any) -> Any:
    pieces = [piece for sign in SIGNS for piece in (sign, f"{sign}@@")]
    for first, second in merges():
        joined = first + second
        pieces.append(joined.removesuffix("</w>") if joined.endswith("</w>") else f"{joined}@@")
    (path / "vocab.txt").write_text("".join(f"{piece} 1\n" for piece in dict.fromkeys(pieces)), encoding="utf-8")
    (path / "bpe.codes").write_text("".join(f"{a} {b} 1\n" for a, b in merges()), encoding="utf-8")
    return transformers.BertweetTokenizer(str(path / "vocab.txt"), str(path / "bpe.codes"), **options)


def with_moses(kind: str) -> Callable[[Path], Any]:
    """A tokenizer that cuts texts by the rules of Moses: ``Xlm``, ``BioGpt`` or ``Flaubert``."""

    def make(path: Path) -> Any:
        special = ["<s>", "<pad>", "</s>", "<unk>", "<special0>", "<special1>"]
        pieces = [
            *special,
            *(piece for sign in SIGNS for piece in (sign, f"{sign}</w>")),
            *(a + b for a, b in merges()),
        ]
        (path / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(dict.fromkeys(pieces))}))
        lines = "#version: 0.2\n" + "".join(f"{a} {b} 1\n" for a, b in merges())
        (path / "merges.txt").write_text(lines, encoding="utf-8")
        pytest.importorskip("sacremoses", reason="needs sacremoses (pip install 'textlrp[dev]')")
        tokenizer = getattr(transformers, f"{kind}Tokenizer")
        return tokenizer(str(path / "vocab.json"), str(path / "merges.txt"))

    return make


def read(encoding: Encoding, text: str) -> list[tuple[str, str]]:
    found = zip(encoding.pieces, encoding.offsets, encoding.special, strict=True)
    return [(piece, text[start:end]) for piece, (start, end), special in found if not special]


def normalizing(path: Path) -> Any:
    return bertweet(path, normalization=True)


@pytest.mark.parametrize(
    ("make", "text", "words"),
    [
        (normalizing, "@anna the film", ["@anna", "the", "film"]),
        (normalizing, "see https://t.co/x1 good", ["s", "e", "e", "https://t.co/x1", "good"]),
        (normalizing, "I can’t", ["I", "can’t", "can’t", "can’t"]),
        (with_moses("BioGpt"), "good [1]", ["good", "[1]", *["[1]"] * 10]),
        (with_moses("BioGpt"), "good & film", ["good", "&", "film"]),
        (with_moses("XLM"), "«good» film", ["«good»"] * 3 + ["film"]),
        (with_moses("XLM"), "« good » film", ["«", "good", "»", "film"]),
        (with_moses("Flaubert"), "the can’t", ["the", *["can’t"] * 5]),
    ],
)
def test_ids_of_a_word_that_is_rewritten_have_the_word(
    make: Callable[[Path], Any], text: str, words: list[str], tmp_path: Path
) -> None:
    encoding = encode(make(tmp_path), text, None)
    found = [word for _, word in read(encoding, text)]
    assert list(dict.fromkeys(found)) == list(dict.fromkeys(words))
    assert [word for word in found if len(word) == 1 or word in WHOLE] == [
        word for word in words if len(word) == 1 or word in WHOLE
    ]


def test_what_is_spelled_as_it_is_written_keeps_its_own_characters() -> None:
    encoding = encode(Slow("digits"), "the 1984 film", None)
    assert read(encoding, "the 1984 film")[0] == ("the", "the")
    assert read(encoding, "the 1984 film")[-1] == ("film", "film")
    assert {word for _, word in read(encoding, "the 1984 film")} == {"the", "1984", "film"}
    assert encoding.rewritten
    assert not encode(Slow("digits"), "the film", None).rewritten


def test_words_that_are_rewritten_together_are_taken_together() -> None:
    text = "the film film film !"
    assert read(encode(Slow("unique"), text, None), text) == [
        ("the", "the"),
        ("film", "film film film"),
        ("!", "!"),
    ]


def test_an_explanation_says_that_words_are_rewritten(tmp_path: Path) -> None:
    tokenizer = bertweet(tmp_path, normalization=True)
    explainer = Explainer(bert(len(tokenizer)), tokenizer, "tweets")
    e = explainer.explain("@anna the film")
    assert e.reading == {"spans": "words"}
    assert "".join(word.text for word in e.words) == e.text
    assert Explanation.from_json(e.to_json()) == e
    said = "The tokenizer rewrites some words: each token of such a word stands for the whole word."
    assert said in " ".join(printed(e).split())
    assert said in e.to_html()
    plain = explainer.explain("the film")
    assert plain.reading == {}
    assert said not in plain.to_html()


# -- offsets of fast tokenizers ---------------------------------------------------------------------------------------

TEXT = "The train is late, and it rains in the mountains."


class Offsets:
    """A fast tokenizer whose offsets are changed, or which reads texts from their end."""

    def __init__(self, tokenizer: Any, change: Callable[[list[Any]], list[Any]], forward: bool = True) -> None:
        self.tokenizer, self.change, self.forward = tokenizer, change, forward

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __call__(self, *texts: Any, **options: Any) -> Any:
        encoded = self.tokenizer(*(texts if self.forward else (text[::-1] for text in texts)), **options)
        if "offset_mapping" in encoded:
            encoded.data["offset_mapping"] = self.change(encoded["offset_mapping"])
        return encoded


@pytest.fixture(scope="module", params=["wordpiece", "bytelevel", "unigram"])
def tokenizer(request: Any) -> Any:
    return language_texts.train(request.param, [*language_texts.TEXTS.values(), TEXT], 700)


def missing(offsets: list[Any]) -> list[Any]:
    return [(0, 0)] * len(offsets)


def shifted(offsets: list[Any]) -> list[Any]:
    return [(min(start + 1, len(TEXT)), min(end + 1, len(TEXT))) if end else (0, 0) for start, end in offsets]


def of_a_shorter_text(offsets: list[Any]) -> list[Any]:
    """As if the last third were moved two characters to the left."""
    cut = 2 * len(offsets) // 3
    return [*offsets[:cut], *((max(0, start - 2), max(0, end - 2)) for start, end in offsets[cut:])]


def from_the_start(offsets: list[Any]) -> list[Any]:
    return [(0, end) for _, end in offsets]


@pytest.mark.parametrize("change", [missing, shifted, of_a_shorter_text, from_the_start])
def test_offsets_at_which_other_letters_stand_are_mended(tokenizer: Any, change: Any) -> None:
    changed, true = (read(encode(each, TEXT, None), TEXT) for each in (Offsets(tokenizer, change), tokenizer))
    assert [pair for pair in changed if pair[0] != "▁"] == [pair for pair in true if pair[0] != "▁"]


@pytest.mark.parametrize("text", ["素晴らしい映画", "فيلم رائع جدا", "Очень хороший фильм"])
def test_offsets_of_other_scripts_are_not_believed_either(tokenizer: Any, text: str) -> None:
    try:
        changed = read(encode(Offsets(tokenizer, missing), text, None), text)
    except AlignmentError:
        return
    assert all(word for piece, word in changed if piece != "▁")


def test_offsets_that_cannot_be_mended_are_an_error(tokenizer: Any) -> None:
    with pytest.raises(AlignmentError, match="gives character offsets at which other words stand than its tokens"):
        encode(Offsets(tokenizer, missing, forward=False), TEXT, None)
