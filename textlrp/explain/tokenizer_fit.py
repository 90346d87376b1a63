"""Whether a tokenizer belongs to a model: whether each id has a row in its table, and special tokens are the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from textlrp.errors import ModelError
from textlrp.explain.embedding_tables import word_table

_SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


def check_tokenizer(model: nn.Module, tokenizer: Any) -> None:
    """Refuse a tokenizer that was made for another model.

    A table may have more rows than the tokenizer has ids: many are filled up to a multiple of 64. Tokens that were
    added to the tokenizer and to no text do no harm: they are refused where a text has them.

    Raises:
        ModelError: the tokenizer has ids that the model has no row for, or its special tokens are not the model's.
    """
    size = getattr(word_table(model), "num_embeddings", None)
    if isinstance(size, int):
        _check_ids(tokenizer, size)
    _check_special(model, tokenizer)


def check_ids(model: nn.Module, tokenizer: Any, inputs: Mapping[str, Sequence[Sequence[int]]]) -> None:
    """Refuse ids that the model has no row for, before it runs: on an accelerator it would take others down, too.

    Raises:
        ModelError: there is one.
    """
    size = getattr(word_table(model), "num_embeddings", None)
    worst = max(map(max, inputs["input_ids"]))
    if isinstance(size, int) and worst >= size:
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
    own = {piece: number for piece, number in _vocabulary(tokenizer) if number not in added}
    special = {str(getattr(tokenizer, f"{name}_token")): number for name, number in _special_ids(tokenizer).items()}
    for words, what in ((own, "ids"), (special, "special tokens")):
        beyond = [piece for piece, number in words.items() if number >= size]
        if beyond:
            last = max(beyond, key=lambda piece: words[piece])
            raise ModelError(
                f"the tokenizer does not fit the model: it has {what} up to {words[last]} ({last!r}), and the model "
                f"has a table of {size:,} ids; load both from the same place, or if the tokens were added, make room "
                f"for them with model.resize_token_embeddings({max(words[last] + 1, size)})"
            )


def _vocabulary(tokenizer: Any) -> Iterator[tuple[str, int]]:
    """Yield the tokens with their ids, where the tokenizer tells."""
    getter = getattr(tokenizer, "get_vocab", None)
    try:
        vocabulary = {} if getter is None else getter()
    except NotImplementedError:  # a tokenizer of Python that names none
        vocabulary = {}
    yield from ((piece, number) for piece, number in vocabulary.items() if isinstance(number, int))


def _special_ids(tokenizer: Any) -> dict[str, int]:
    ids = {name: getattr(tokenizer, f"{name}_token_id", None) for name in _SPECIAL}
    return {name: number for name, number in ids.items() if isinstance(number, int)}


def _check_special(model: nn.Module, tokenizer: Any) -> None:
    """Compare the padding and what stands at the ends.

    They say little in most models, whose configs keep defaults that nobody reads, and padding is masked. But where a
    model counts positions from its padding (RoBERTa's kind), another id in its place is read otherwise; if both ends
    are called otherwise, too, the tokenizer is another model's.
    """
    theirs, config = _special_ids(tokenizer), _text_config(getattr(model, "config", None))
    padding = _counted_from(model)
    if padding is None or theirs.get("pad", padding) == padding:
        return
    said, set_to = [f"pad {theirs['pad']} and {padding}"], []
    for name, alike in (("bos", ("bos", "cls")), ("eos", ("eos", "sep"))):
        expected = getattr(config, f"{name}_token_id", None)
        expected = list(expected) if isinstance(expected, (list, tuple)) else [expected]
        own = [theirs[other] for other in alike if other in theirs]
        if not own or not all(isinstance(number, int) for number in expected) or set(own) & set(expected):
            return
        said.append(f"{name} {own[0]} and {expected[0]}")
        set_to.append(f"model.config.{name}_token_id = {own[0]}")
    raise ModelError(
        f"the tokenizer does not fit the model: their special tokens have other ids ({', '.join(said)}); load both "
        f"from the same place, or if they belong together, say so: {', '.join(set_to)}"
    )


def _counted_from(model: nn.Module) -> int | None:
    """Return the id of padding that a model counts positions from, or None."""
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if "pos" in name and isinstance(padding, int):
            return padding
    return None


def _text_config(config: Any) -> Any:
    return getattr(config, "get_text_config", lambda: config)()
