"""Readers of texts in prompts: for models that go on writing, and for those that read a prompt and then answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textlrp.errors import InputError
from textlrp.text.batch import Batch, pad
from textlrp.text.encoding import Encoding, cut
from textlrp.text.prompts import joined
from textlrp.text.templates import Template

#: Which tokens of a label count: the first one, or all.
FIRST, MEAN = "first", "mean"

#: The text that a template is tried with before there is one.
_SAMPLE = "text"


class EncodedPrompts:
    """Reads texts in a prompt for the encoder of a model, whose decoder answers.

    Args:
        tokenizer: the tokenizer.
        template: the prompt.
        filler: the id to pad with.
        runs: how often the encoder reads it.
    """

    pads = True

    def __init__(self, tokenizer: Any, template: Template, filler: int, runs: int) -> None:
        self.tokenizer, self.template, self.filler, self.runs = tokenizer, template, filler, runs

    def encode(self, text: str, limit: int | None, text_pair: str | None) -> Encoding:
        """Return a text, or a pair, in its prompt; :class:`textlrp.text.templates.Template` raises."""
        texts = (text,) if text_pair is None else (text, text_pair)
        written = self.template.write(texts)
        whole = written.tokenized(self.tokenizer)
        encoding = self.template.encoding(self.tokenizer, texts, written, whole)
        return joined([cut(self.tokenizer, texts, encoding, limit)] * self.runs)

    def pad(self, encodings: Sequence[Encoding]) -> Batch:
        """Put texts into one batch."""
        return pad(self.tokenizer, encodings, filler=self.filler)


class ContinuedPrompts:
    """Reads texts in a prompt that a label follows.

    Args:
        tokenizer: the tokenizer.
        template: the prompt.
        filler: the id to pad with.
        continuations: the words that stand for each label.
        score: :data:`FIRST` for a run in which only the first token of each label counts, or :data:`MEAN` for a run
            with each label.

    Attributes:
        answers: the ids of each label that count.

    Raises:
        InputError: two labels have the same, or the end of the prompt belongs to the token of some label.
    """

    pads = True

    def __init__(
        self, tokenizer: Any, template: Template, filler: int, continuations: Mapping[str, str], score: str
    ) -> None:
        self.tokenizer, self.template, self.filler = tokenizer, template, filler
        self.continuations, self.score = continuations, score
        _, self.answers = self._continued((_SAMPLE,) * len(template.fields))
        check_answers(tokenizer, tuple(continuations), self.answers, score)

    @property
    def runs(self) -> int:
        """One for all labels, or one for each if all their tokens count."""
        return 1 if self.score == FIRST else len(self.continuations)

    def encode(self, text: str, limit: int | None, text_pair: str | None) -> Encoding:
        """Return a text, or a pair, in its prompt.

        Raises:
            InputError: the text cannot be read, or a token reaches from it into the labels.
            ModelError: the chat template fails.
        """
        texts = (text,) if text_pair is None else (text, text_pair)
        contexts, answers = self._continued(texts)
        if answers != self.answers:
            raise InputError(
                "the tokenizer joins this text with the labels behind it: let the template end with other words"
            )
        return joined([cut(self.tokenizer, texts, context, limit) for context in contexts[: self.runs]])

    def pad(self, encodings: Sequence[Encoding]) -> Batch:
        """Put texts into one batch, with padding behind them, which no id before it sees."""
        return pad(self.tokenizer, encodings, filler=self.filler, side="right")

    def _continued(self, texts: Sequence[str]) -> tuple[list[Encoding], list[tuple[int, ...]]]:
        """Return the prompt as it is read for each label, and the ids of each label that count.

        Prompt and label are tokenized as one text, as the model met them in training.
        """
        written = self.template.write(texts)
        contexts, answers = [], []
        for name, words in self.continuations.items():
            whole = written.tokenized(self.tokenizer, words)
            own = [i for i, (_, end) in enumerate(whole.offsets) if end > len(written.whole) and not whole.special[i]]
            if not own:
                raise InputError(f"the tokenizer finds no token in {words!r}, the words for {name!r}: give others")
            last = own[0] if self.score == FIRST else own[-1]
            answers.append(tuple(whole.input_ids[own[0] : last + 1]))
            # The last token is not read: it is what the model is asked for.
            contexts.append(self.template.encoding(self.tokenizer, texts, written, whole.take(range(last)), words))
        texts_alone = [_words(context) for context in contexts]
        before = [
            context.input_ids[: len(context.input_ids) - len(ids) + 1]
            for context, ids in zip(contexts, answers, strict=True)
        ]
        if any(alone != texts_alone[0] for alone in texts_alone) or any(ids != before[0] for ids in before):
            raise InputError(
                "the tokenizer joins the end of the prompt with some labels and not with others: let the template end "
                "without a space, and the words for each label begin with one"
            )
        return contexts, answers


def check_answers(tokenizer: Any, names: Sequence[str], answers: Sequence[tuple[int, ...]], score: str) -> None:
    """Check that the ids of the labels that count differ.

    Raises:
        InputError: two labels have the same.
    """
    known: dict[tuple[int, ...], str] = {}
    for name, answer in zip(names, answers, strict=True):
        if answer in known:
            pieces = " ".join(map(str, tokenizer.convert_ids_to_tokens(list(answer))))
            advice = ", or let score='mean' count all their tokens" if score == FIRST else ""
            start = "start with the same token" if score == FIRST else "are the same tokens"
            raise InputError(
                f"the labels {known[answer]!r} and {name!r} {start}, {pieces!r}, so the model cannot tell them apart: "
                f"choose other words for them{advice}"
            )
        known[answer] = name


def _words(encoding: Encoding) -> list[int]:
    return [token for token, special in zip(encoding.input_ids, encoding.special, strict=True) if not special]
