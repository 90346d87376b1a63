"""Whether a tokenizer belongs to a model: whether each id has a row in its table, and special tokens are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from textlrp.errors import ModelError

_SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


def word_table(model: nn.Module) -> Any:
    """Return the model's table of input embeddings, or None where it does not tell."""
    getter: Callable[[], Any] = getattr(model, "get_input_embeddings", lambda: None)
    try:
        return getter()
    except NotImplementedError:
        return None


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
    _check_special(getattr(model, "config", None), tokenizer)


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
        found = {} if getter is None else getter()
    except NotImplementedError:  # a tokenizer of Python that names none
        found = {}
    yield from ((piece, number) for piece, number in found.items() if isinstance(number, int))


def _special_ids(tokenizer: Any) -> dict[str, int]:
    ids = {name: getattr(tokenizer, f"{name}_token_id", None) for name in _SPECIAL}
    return {name: number for name, number in ids.items() if isinstance(number, int)}


def _check_special(config: Any, tokenizer: Any) -> None:
    """Compare the padding, and what stands at the ends.

    One that differs says little, as configs keep defaults that nobody reads: all of them, of three, say that the
    tokenizer is another model's.
    """
    theirs, text = _special_ids(tokenizer), _text_config(config)
    pairs = {}
    for name, alike in (("pad", ("pad",)), ("bos", ("bos", "cls")), ("eos", ("eos", "sep"))):
        expected = getattr(text, f"{name}_token_id", None)
        expected = set(expected) if isinstance(expected, (list, tuple)) else {expected}
        found = [theirs[other] for other in alike if other in theirs]
        if found and all(isinstance(each, int) for each in expected):
            pairs[name] = (found, expected)
    if len(pairs) < 3 or any(expected & set(found) for found, expected in pairs.values()):
        return
    listed = {name: (found[0], min(expected)) for name, (found, expected) in pairs.items()}
    said = ", ".join(f"{name} {found} and {expected}" for name, (found, expected) in listed.items())
    raise ModelError(
        f"the tokenizer does not fit the model: their special tokens have other ids ({said}); load both from the same "
        f"place, or if they belong together, say so in the model's config ("
        + ", ".join(f"model.config.{name}_token_id = {found}" for name, (found, _) in listed.items())
        + ")"
    )


def _text_config(config: Any) -> Any:
    return getattr(config, "get_text_config", lambda: config)()
