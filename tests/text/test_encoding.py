"""Every id gets the characters that it came from, or an error is raised; a wrong offset is never given."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slow_tokenizer import Slow, without_offsets
from tiny_bert import fast_tokenizer

from textlrp.errors import AlignmentError, InputError, ModelError
from textlrp.text.batch import pad
from textlrp.text.encoding import Encoding, encode

TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="abelfm ßﬁéİĿe\u0301 ,!\n\t▁Ġ#[UNK]", max_size=40),
    st.lists(
        st.sampled_from(["film", "wonderful", " ", "b b", "😀", "👩‍👩‍👧", "🇩🇪", "كتاب", "映画", "Films"]), max_size=8
    ).map("".join),
).filter(lambda text: bool(text.strip()) and "\0" not in text)


@pytest.fixture(scope="module", params=["wordpiece", "bytelevel", "roberta", "metaspace"])
def fast(request: pytest.FixtureRequest) -> Any:
    return fast_tokenizer(request.param)


def read(encoding: Encoding, text: str) -> list[tuple[str, str]]:
    rows = zip(encoding.pieces, encoding.offsets, encoding.special, strict=True)
    return [(piece, text[start:end]) for piece, (start, end), special in rows if not special]


def letters(text: str) -> str:
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(c for c in plain if not c.isspace() and unicodedata.category(c) not in ("Mn", "Cc", "Cf"))


def byte_alphabet() -> dict[str, int]:
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(256) if byte not in kept]
    return {chr(byte): byte for byte in kept} | {chr(256 + i): byte for i, byte in enumerate(moved)}


BYTES = byte_alphabet()


def stands_there(tokenizer: Any, piece: str, covered: str) -> bool:
    """Whether a known piece may stand for the characters that it covers."""
    if piece in tokenizer.all_special_tokens:
        return True
    if tokenizer.backend_tokenizer.model.__class__.__name__ == "BPE" and piece not in tokenizer.get_added_vocab():
        return bytes(BYTES[char] for char in piece).strip() in covered.encode()
    plain = letters(piece.removeprefix("##").lstrip("▁"))
    return plain in letters(covered) if covered.strip() else not plain


def check_shape(encoding: Encoding, text: str) -> None:
    count = len(encoding.input_ids)
    assert all(len(row) == count for row in encoding.inputs.values())
    assert len(encoding.pieces) == len(encoding.offsets) == len(encoding.special) == count
    assert all(0 <= start <= end <= len(text) for start, end in encoding.offsets)
    assert [start for start, _ in encoding.offsets] == sorted(start for start, _ in encoding.offsets)
    for (start, end), special in zip(encoding.offsets, encoding.special, strict=True):
        assert not special or start == end
        covered = text[start:end]
        assert covered == covered.strip() or not covered.strip()


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=TEXTS)
def test_fast_tokenizers_give_the_characters_of_each_piece(fast: Any, text: str) -> None:
    try:
        encoding = encode(fast, text, None)
    except InputError:
        assert all(unicodedata.category(char)[0] in "CMZ" for char in text)  # nothing but what a tokenizer throws away
        return
    check_shape(encoding, text)
    for piece, covered in read(encoding, text):
        assert stands_there(fast, piece, covered), (piece, covered)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=TEXTS, limit=st.integers(4, 20))
def test_a_cut_text_is_read_as_far_as_the_ids_go(fast: Any, text: str, limit: int) -> None:
    try:
        encoding, whole = encode(fast, text, limit), encode(fast, text, None)
    except InputError:
        return
    check_shape(encoding, text)
    assert len(encoding.input_ids) == min(limit, len(whole.input_ids))
    (truncated,) = encoding.truncated
    assert (truncated is None) == (len(whole.input_ids) <= limit)
    if truncated is not None:
        start, end = truncated
        assert start < end == len(text)
        # Only a character whose bytes were cut through is both read and not read.
        assert max(stop for _, stop in encoding.offsets) - start in (0, 1)


def test_the_bytes_of_one_character_all_get_that_character() -> None:
    text = "a 😀b"
    pieces = read(encode(fast_tokenizer("bytelevel"), text, None), text)
    assert [covered for _, covered in pieces] == ["a", " ", "😀", "😀", "😀", "😀", "b"]


def test_a_leading_space_belongs_to_no_word() -> None:
    text = "A wonderful film"
    for kind in ("bytelevel", "roberta", "metaspace"):
        tokens = read(encode(fast_tokenizer(kind), text, None), text)
        assert "".join(covered for _, covered in tokens) == "Awonderfulfilm"
        assert any(piece[0] in "Ġ▁" and covered == piece[1:] for piece, covered in tokens if len(piece) > 1)


def test_a_marker_put_before_the_text_covers_nothing() -> None:
    text = "😀"
    assert read(encode(fast_tokenizer("metaspace"), text, None), text) == [("▁", ""), ("<unk>", "😀")]


def test_a_special_token_written_in_the_text_is_text() -> None:
    text = "film [SEP] film"
    encoding = encode(fast_tokenizer("wordpiece"), text, None)
    assert [i for i, flag in enumerate(encoding.special) if flag] == [0, len(encoding.special) - 1]
    assert ("[SEP]", "[SEP]") in read(encoding, text)
    slow = encode(Slow(), text, None)
    assert read(slow, text)[1] == ("[SEP]", "[SEP]")
    assert slow.special == (True, False, False, False, True)


def test_truncation_from_the_left_names_the_head() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    tokenizer.truncation_side = "left"
    text = "the plot is dull and the film is wonderful"
    encoding = encode(tokenizer, text, 4)
    ((start, end),) = encoding.truncated
    assert start == 0
    assert encoding.offsets[0] == (end, end)
    slow = encode(Slow(truncation_side="left"), "film film wonderful", 4)
    assert (slow.truncated, read(slow, "film film wonderful")) == (((0, 10),), [("wonder", "wonder"), ("##ful", "ful")])


@pytest.mark.parametrize("kind", ["canine", "byt5"])
def test_tokenizers_of_characters_and_bytes_map_each_to_its_character(kind: str) -> None:
    tokenizer = without_offsets(kind)
    text = "Gut ñ 😀e\u0301 كتاب\n!"
    encoding = encode(tokenizer, text, None)
    check_shape(encoding, text)
    one_each = [char for char in text for _ in (char if kind == "canine" else char.encode())]
    assert [covered for _, covered in read(encoding, text)] == one_each
    cut = encode(tokenizer, text * 20, 40)
    check_shape(cut, text * 20)
    assert len(cut.input_ids) == 40


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=TEXTS, kind=st.sampled_from(["canine", "byt5", "wordpiece", "characters", "words"]))
def test_slow_tokenizers_give_the_characters_of_each_piece_or_an_error(kind: str, text: str) -> None:
    tokenizer = without_offsets(kind)
    try:
        encoding = encode(tokenizer, text, None)
    except (InputError, AlignmentError):
        return
    check_shape(encoding, text)
    for piece, covered in read(encoding, text):
        if piece in tokenizer.all_special_tokens or kind == "byt5":
            continue
        plain = piece.removeprefix("##").lstrip("▁") if kind != "canine" else piece
        assert covered in (plain.strip(), piece.strip(), piece), (piece, covered)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("film wonderful films", ["film", "wonder", "ful", "film", "s"]),
        ("xb b b x", ["xb", "b", "b", "x"]),  # the unknown word holds a letter that is a known word elsewhere
        ("☃ ☃☃ film", ["☃", "☃☃", "film"]),
        ("film\n\n\tfilm  !", ["film", "film", "!"]),
        ("映画 كتاب", ["映", "画", "كتاب"]),
        ("##s film", ["##s", "film"]),
    ],
)
def test_a_slow_wordpiece_tokenizer_is_aligned(text: str, expected: list[str]) -> None:
    assert [covered for _, covered in read(encode(Slow(), text, None), text)] == expected


def test_unknown_characters_are_aligned_with_a_tokenizer_of_characters() -> None:
    text = "b ? e"
    assert [covered for _, covered in read(encode(Slow("characters"), text, None), text)] == ["b", " ", "?", " ", "e"]


def test_case_does_not_hinder_an_alignment() -> None:
    text = "Große Straße, ﬁne"
    assert [covered for _, covered in read(encode(Slow("shouting"), text, None), text)] == ["Große", "Straße,", "ﬁne"]


def test_pieces_across_words_are_aligned_with_the_whole_text() -> None:
    text = "one two  three\nfour five"
    assert [covered for _, covered in read(encode(Slow("pairs"), text, None), text)] == [
        "one two",
        "three\nfour",
        "five",
    ]


def test_what_cannot_be_found_again_is_an_error_and_no_guess() -> None:
    with pytest.raises(AlignmentError, match="without guessing, not even word by word; use a fast tokenizer"):
        encode(Slow("sorted"), "the film and a book", None)


def test_ids_that_change_with_the_special_tokens_are_an_error() -> None:
    class Prefixed(Slow):
        def build_inputs_with_special_tokens(self, token_ids_0: list[int], token_ids_1: Any = None) -> list[int]:
            return [2, *reversed(token_ids_0), 3]

    with pytest.raises(AlignmentError, match="with special tokens its ids for this text are other ones than without"):
        encode(Prefixed(), "the film", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is empty"),
        (" \n\t", r"the text is blank: it holds only white space \(3 characters\)"),
        ("ab\ud800c", r"a lone surrogate \(U\+D800\) at character 2"),
        ("a\0b", r"a NUL \(U\+0000\) at character 1"),
        ("\u200b\u200d", "the tokenizer finds no token in the text of 2 characters"),
        (7, "the text must be a string, not int"),
    ],
)
def test_what_is_no_text_is_said_so(text: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode(fast_tokenizer("wordpiece"), text, None)


@pytest.mark.parametrize("tokenizer", [Slow(), None], ids=["slow", "fast"])
def test_a_model_without_room_for_the_text_is_said_so(tokenizer: Any) -> None:
    with pytest.raises(ModelError, match=r"reads 2 ids, and \w+ adds 2 special tokens: no room is left"):
        encode(tokenizer or fast_tokenizer("wordpiece"), "the film", 2)


@pytest.mark.parametrize("kind", ["slow", "fast"])
def test_a_batch_is_padded_on_the_side_and_with_the_token_that_the_tokenizer_names(kind: str) -> None:
    tokenizer = Slow() if kind == "slow" else fast_tokenizer("wordpiece")
    encodings = [encode(tokenizer, text, None) for text in ("the film", "film")]
    (long, short), padding = [encoding.input_ids for encoding in encodings], tokenizer.pad_token_id
    batch = pad(tokenizer, encodings)
    assert batch.inputs["input_ids"] == [long, [*short, padding]]
    assert batch.inputs["attention_mask"] == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch.special == [[1, 0, 0, 1], [1, 0, 1, 1]]
    assert batch.places == (slice(0, 4), slice(0, 3))
    tokenizer.padding_side = "left"
    batch = pad(tokenizer, encodings)
    assert batch.inputs["input_ids"] == [long, [padding, *short]]
    assert batch.inputs["attention_mask"] == [[1, 1, 1, 1], [0, 1, 1, 1]]
    assert batch.special == [[1, 0, 0, 1], [1, 1, 0, 1]]
    assert batch.places == (slice(0, 4), slice(1, 4))


def test_a_batch_without_padding_is_what_the_tokenizer_gave() -> None:
    ids = {"input_ids": [5, 6]}
    encoding = Encoding(ids, ("a", "b"), ((0, 1), (1, 2)), (False, False), (0, 0))
    assert pad(object(), [encoding, encoding]).inputs == {"input_ids": [[5, 6], [5, 6]]}
    longer = Encoding({"input_ids": [5, 6, 7]}, ("a", "b", "c"), ((0, 1), (1, 2), (2, 3)), (False,) * 3, (0,) * 3)
    with pytest.raises(ModelError, match="object has no padding token, so texts of different lengths cannot be read"):
        pad(object(), [encoding, longer])
    typed = [
        replace(each, inputs={**each.inputs, "token_type_ids": [1] * len(each.special)}) for each in (encoding, longer)
    ]
    padded = pad(type("Tokenizer", (), {"pad_token_id": 9, "pad_token_type_id": 3})(), typed)
    assert padded.inputs == {
        "input_ids": [[5, 6, 9], [5, 6, 7]],
        "token_type_ids": [[1, 1, 3], [1, 1, 1]],
        "attention_mask": [[1, 1, 0], [1, 1, 1]],
    }
