"""Templates of prompts: where in a prompt the text stands, and which ids are the text's.

A template is a text with ``{text}`` in it, or the messages of a chat. The chat template of a tokenizer writes messages
out before the text is put in; that it would write the same with the text in them is checked for each text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, NamedTuple

from textlrp.basics import options
from textlrp.errors import InputError, ModelError, error_summary
from textlrp.results.prompt import FIELD, FIELDS
from textlrp.text.alignment import Range, trim
from textlrp.text.encoding import TEXT_NAMES, Encoding, check_text, check_words, tokenized
from textlrp.text.prompts import with_prompt


class Written(NamedTuple):
    """A prompt with the texts in it.

    Attributes:
        whole: the prompt.
        places: where each text stands in it.
        starts: how many characters of each text are not in it, because the chat template strips white space.
        is_chat: whether a chat template wrote it, with the special tokens that belong to it.
    """

    whole: str
    places: tuple[Range, ...]
    starts: tuple[int, ...]
    is_chat: bool

    def tokenized(self, tokenizer: Any, continuation: str = "") -> Encoding:
        """Tokenize the prompt with what follows it, as one text."""
        more = {"add_special_tokens": False} if self.is_chat else {}
        return tokenized(tokenizer, (self.whole + continuation,), **more)


@dataclass(frozen=True)
class Template:
    """A prompt without its texts.

    Attributes:
        prompt: the prompt with its fields.
        messages: the messages of the chat that it was written from, or None.
        render: writes messages out.
    """

    prompt: str
    messages: Sequence[Mapping[str, str]] | None = None
    render: Any = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, template: Any, tokenizer: Any, chat_options: Mapping[str, Any] | None = None) -> Template:
        """Return a template as a user gives it: a text, or the messages of a chat.

        Args:
            template: the text, or a list of dicts with ``role`` and ``content``.
            tokenizer: has the chat template.
            chat_options: options of the chat template.

        Raises:
            InputError: there is no field for the text, or the template is of another kind.
            ModelError: the tokenizer has no chat template, or it fails on the messages.
        """
        if isinstance(template, str):
            if chat_options:
                raise InputError("chat_options belong to a list of messages, and the template is a text")
            made = cls(template)
        else:
            messages = _messages(template)
            render = _Rendering(tokenizer, dict(chat_options or {}))
            made = cls(render(messages), messages, render)
            contents = "".join(message["content"] for message in messages)
            if sorted(FIELD.findall(made.prompt)) != sorted(FIELD.findall(contents)):
                raise ModelError(
                    "the chat template of the tokenizer does not write the messages as they are, so the text cannot be "
                    "found in them; write the prompt as one text"
                )
        fields = made.fields
        if fields.count(FIELDS[0]) != 1 or fields.count(FIELDS[1]) > 1:
            raise InputError(
                f"the template has {FIELDS[0]} once, where the text stands, and for pairs {FIELDS[1]} once, not "
                f"{options.brief(made.prompt)}"
            )
        return made

    @property
    def fields(self) -> list[str]:
        """The fields in their order."""
        return FIELD.findall(self.prompt)

    def write(self, texts: Sequence[str]) -> Written:
        """Return the prompt with a text, or both of a pair, in it.

        Raises:
            InputError: a text is empty or invalid, or the template is for one text and not for two, or the reverse.
            ModelError: the chat template writes the messages in another way if they hold these texts.
        """
        for text, name in zip(texts, TEXT_NAMES, strict=False):
            check_text(text, name)
        if len(texts) != len(self.fields):
            has = "has a place for a second text" if len(texts) == 1 else f"has no {FIELDS[1]} for the second text"
            raise InputError(f"the template {has}: give {len(self.fields)} text{'s' if len(self.fields) > 1 else ''}")
        if self.messages is None:
            return self._filled(texts, (0,) * len(texts))
        own = dict(zip(FIELDS, texts, strict=False))
        messages = [{**m, "content": FIELD.sub(lambda f: own[f[0]], m["content"])} for m in self.messages]
        rendered = self.render(messages)
        # A chat template may strip the white space around a message.
        for shown in product(*map(_stripped, texts)):
            written = self._filled([text for _, text in shown], tuple(start for start, _ in shown))
            if written.whole == rendered:
                return written
        raise ModelError(
            "the chat template of the tokenizer writes the prompt in another way around this text, so the text cannot "
            "be found in it; write the prompt as one text"
        )

    def _filled(self, texts: Sequence[str], starts: tuple[int, ...]) -> Written:
        whole, places = "", dict[str, Range]()
        by_field = dict(zip(FIELDS, texts, strict=False))
        for piece in FIELD.split(self.prompt):
            start = len(whole)
            whole += by_field.get(piece, piece)
            if piece in by_field:
                places[piece] = (start, len(whole))
        return Written(whole, tuple(places[name] for name in by_field), starts, self.messages is not None)

    def encoding(
        self, tokenizer: Any, texts: Sequence[str], written: Written, whole: Encoding, continuation: str = ""
    ) -> Encoding:
        """Return the encoding of texts in a prompt, given that of the whole prompt as one text.

        An id with characters of a text and of the prompt belongs to the text.

        Args:
            tokenizer: the tokenizer.
            texts: the text, or both of a pair.
            written: the prompt with the texts in it.
            whole: the ids of it, perhaps with some of a continuation.
            continuation: what follows the prompt.

        Raises:
            InputError: no id belongs to a text.
        """
        parts, offsets = [], []
        for (start, end), special in zip(whole.offsets, whole.special, strict=True):
            part = None if special else _part(written.places, start, end)
            parts.append(part)
            if part is not None:
                a, b = written.places[part]
                a, b = trim(written.whole, max(start, a), min(max(end, start), b))
                shift = written.starts[part] - written.places[part][0]
                offsets.append((a + shift, b + shift))
            elif special:
                offsets.append((0, 0))
            else:
                shift = sum(len(FIELDS[i]) - (b - a) for i, (a, b) in enumerate(written.places) if b <= start)
                offsets.append((start + shift, end + shift))
        known = replace(
            whole,
            offsets=tuple(offsets),
            parts=tuple(part or 0 for part in parts),
            truncated=(None,) * len(texts),
        )
        outside = [part is None and not special for part, special in zip(parts, whole.special, strict=True)]
        read = max((end for (_, end), out in zip(offsets, outside, strict=True) if out), default=0)
        found = with_prompt(known, outside, self.prompt + continuation[: max(0, read - len(self.prompt))])
        check_words(tokenizer, texts, found)
        return found


def _stripped(text: str) -> list[tuple[int, str]]:
    """Return a text with and without the white space around it, each with the place in the text where it starts."""
    left = len(text) - len(text.lstrip())
    return [(0, text), (0, text.rstrip()), (left, text.lstrip()), (left, text.strip())]


def _part(places: Sequence[Range], start: int, end: int) -> int | None:
    """Return the text that an id belongs to, or None."""
    for part, (a, b) in enumerate(places):
        if max(start, a) < min(end, b) or (start == end and a <= start < b):
            return part
    return None


def _messages(template: Any) -> list[dict[str, str]]:
    says = "template is a text with {text} in it, or a list of messages, dicts with role and content"
    if not isinstance(template, (list, tuple)) or not template:
        raise InputError(f"{says}, not {options.brief(template)}")
    for message in template:
        if not isinstance(message, Mapping) or any(not isinstance(message.get(k), str) for k in ("role", "content")):
            raise InputError(f"{says}, not {options.brief(message)}")
    return [dict(message) for message in template]


class _Rendering:
    """Writes messages out by the chat template of a tokenizer."""

    def __init__(self, tokenizer: Any, given: dict[str, Any]) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError(
                f"{type(tokenizer).__name__} has no chat template: write the prompt as one text, with {{text}} in it"
            )
        self._tokenizer, self._given = tokenizer, given

    def __call__(self, messages: Sequence[Mapping[str, str]]) -> str:
        # What the assistant has begun to say, the model goes on with; else it begins to answer.
        begun = messages[-1]["role"] == "assistant"
        asked = {"continue_final_message": True} if begun else {"add_generation_prompt": True}
        try:
            rendered = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages], tokenize=False, **{**asked, **self._given}
            )
        except Exception as error:  # a chat template may raise anything
            raise ModelError(f"the chat template of the tokenizer fails: {error_summary(error)}") from error
        return str(rendered)
