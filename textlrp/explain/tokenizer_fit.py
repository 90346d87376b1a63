"""Checks that a tokenizer belongs to a model: each id has a row in its table, and special tokens are the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from textlrp.errors import ModelError
from textlrp.explain.embedding_tables import word_table

_SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


def check_tokenizer(model: nn.Module, tokenizer: Any) -> None:
    """Refuse a tokenizer that was made for another model.

    A table may have more rows than the tokenizer has ids: many are padded to a multiple of 64. Tokens that were added
    to the tokenizer without a row are refused only if a text has them.

    Raises:
        ModelError: the tokenizer has ids that the model has no row for, or its special tokens are not the model's.
    """
    size = getattr(word_table(model), "num_embeddings", None)
    if isinstance(size, int):
        _check_ids(tokenizer, size)
    _check_special(model, tokenizer)


def check_ids(model: nn.Module, tokenizer: Any, inputs: Mapping[str, Sequence[Sequence[int]]]) -> None:
    """Refuse ids that the model has no row for before it runs: on an accelerator they would crash other work, too.

    Raises:
        ModelError: there is such an id.
    """
    size = getattr(word_table(model), "num_embeddings", None)
    worst = max(map(max, inputs["input_ids"]))
    if isinstance(size, int) and worst >= size:
        if tokenizer is None:
            raise ModelError(f"encode gives the id {worst}, and the model has a table of {size} ids, from 0 on")
        (piece,) = tokenizer.convert_ids_to_tokens([worst])
        raise ModelError(
            f"the tokenizer does not fit the model: it gives {piece!r} the id {worst}, and the model has a table of "
            f"{size} ids; load both from the same place"
        )
    kinds = getattr(_text_config(getattr(model, "config", None)), "type_vocab_size", None)
    worst = max(map(max, inputs.get("token_type_ids") or [[0]]))
    if isinstance(kinds, int) and 0 < kinds <= worst:
        raise ModelError(
            f"the tokenizer does not fit the model: it calls a part of the text type {worst}, and the model knows "
            f"{kinds} type{'s' if kinds > 1 else ''}, from 0 on; load both from the same place"
        )


def _check_ids(tokenizer: Any, size: int) -> None:
    added = getattr(tokenizer, "added_tokens_decoder", {})
    original = {piece: number for piece, number in _vocabulary(tokenizer) if number not in added}
    special = {str(getattr(tokenizer, f"{name}_token")): number for name, number in _special_ids(tokenizer).items()}
    for ids, kind in ((original, "ids"), (special, "special tokens")):
        beyond = [piece for piece, number in ids.items() if number >= size]
        if beyond:
            last = max(beyond, key=lambda piece: ids[piece])
            raise ModelError(
                f"the tokenizer does not fit the model: it has {kind} up to {ids[last]} ({last!r}), and the model "
                f"has a table of {size:,} ids; load both from the same place, or if the tokens were added, make room "
                f"for them with model.resize_token_embeddings({max(ids[last] + 1, size)})"
            )


def _vocabulary(tokenizer: Any) -> Iterator[tuple[str, int]]:
    """Yield the tokens with their ids, if the tokenizer lists them."""
    getter = getattr(tokenizer, "get_vocab", None)
    try:
        vocabulary = {} if getter is None else getter()
    except NotImplementedError:  # a tokenizer in Python without a list
        vocabulary = {}
    yield from ((piece, number) for piece, number in vocabulary.items() if isinstance(number, int))


def _special_ids(tokenizer: Any) -> dict[str, int]:
    ids = {name: getattr(tokenizer, f"{name}_token_id", None) for name in _SPECIAL}
    return {name: number for name, number in ids.items() if isinstance(number, int)}


def _check_special(model: nn.Module, tokenizer: Any) -> None:
    """Compare the ids of padding, beginning and end.

    Most models mask padding, and their configs keep defaults of no effect. But in a model that counts positions from
    its padding (RoBERTa and similar), another padding id changes the positions; if the ids of beginning and end differ,
    too, the tokenizer belongs to another model.
    """
    theirs, config = _special_ids(tokenizer), _text_config(getattr(model, "config", None))
    padding = _counted_from(model)
    if padding is None or theirs.get("pad", padding) == padding:
        return
    differences, settings = [f"pad {theirs['pad']} and {padding}"], []
    for name, alike in (("bos", ("bos", "cls")), ("eos", ("eos", "sep"))):
        expected = getattr(config, f"{name}_token_id", None)
        expected = list(expected) if isinstance(expected, (list, tuple)) else [expected]
        actual = [theirs[other] for other in alike if other in theirs]
        if not actual or not all(isinstance(number, int) for number in expected) or set(actual) & set(expected):
            return
        differences.append(f"{name} {actual[0]} and {expected[0]}")
        settings.append(f"model.config.{name}_token_id = {actual[0]}")
    raise ModelError(
        f"the tokenizer does not fit the model: their special tokens have other ids ({', '.join(differences)}); load "
        f"both from the same place, or if they belong together, say so: {', '.join(settings)}"
    )


def _counted_from(model: nn.Module) -> int | None:
    """Return the padding id that a model counts positions from, or None."""
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if "pos" in name and isinstance(padding, int):
            return padding
    return None


def _text_config(config: Any) -> Any:
    return getattr(config, "get_text_config", lambda: config)()
