"""A tokenizer in Python alone, which knows no offsets."""

from __future__ import annotations

import functools
from typing import Any

from transformers import ByT5Tokenizer, CanineTokenizer, PreTrainedTokenizer

WORDS = [
    "film",
    "wonder",
    "##ful",
    "##s",
    "the",
    "##e",
    "b",
    "##b",
    "e",
    "!",
    ",",
    "straße",
    "كتاب",
    "映",
    "##画",
    "##",
]


@functools.cache
def canine() -> CanineTokenizer:
    """CANINE's tokenizer, built once: its vocabulary holds every code point, which takes seconds."""
    return CanineTokenizer()


def without_offsets(kind: str) -> PreTrainedTokenizer:
    """A tokenizer that gives no offsets: ``canine``, ``byt5`` or one of the habits of `Slow`."""
    return canine() if kind == "canine" else ByT5Tokenizer() if kind == "byt5" else Slow(kind)


class Slow(PreTrainedTokenizer):
    """A tokenizer without offsets, as people write them: words or characters, some of them unknown, some changed."""

    vocab_files_names: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, habit: str = "wordpiece", **options: Any) -> None:
        self.habit = habit
        self.table = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
        self.names = list(self.table)
        super().__init__(pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", **options)

    @property
    def vocab_size(self) -> int:
        return len(self.names)

    def get_vocab(self) -> dict[str, int]:
        return dict(self.table)

    def _convert_token_to_id(self, token: str) -> int:
        # Pieces beyond the table get ids when they are met: an open vocabulary, so that surfaces are known.
        if self.habit in ("wordpiece", "characters"):
            return self.table.get(token, 1)
        if token not in self.table:
            self.table[token] = len(self.names)
            self.names.append(token)
        return self.table[token]

    def _convert_id_to_token(self, index: int) -> str:
        return self.names[index]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return " ".join(tokens).replace(" ##", "")

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        if self.habit == "characters":
            return list(text)
        words = text.split()
        if self.habit == "wordpiece":
            return [piece for word in words for piece in self._pieces(word)]
        if self.habit == "sorted":
            return sorted(words)
        if self.habit == "shouting":
            return [word.upper() for word in words]
        if self.habit == "digits":
            return ["".join("0" if char.isdigit() else char for char in word) for word in words]
        if self.habit == "unique":
            return list(dict.fromkeys(words))
        if self.habit == "pairs":
            return ["▁" + "▁".join(words[i : i + 2]) for i in range(0, len(words), 2)]
        return [("▁" if i else "") + word for i, word in enumerate(words)]

    def _pieces(self, word: str) -> list[str]:
        pieces, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in self.table:
                    pieces.append(piece)
                    start = end
                    break
            else:
                return ["[UNK]"]
        return pieces

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        return [2, *token_ids_0, 3]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        return [0] * len(self.build_inputs_with_special_tokens(token_ids_0, token_ids_1))
