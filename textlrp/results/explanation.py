"""The explanation of a text: frozen, saved and loaded as JSON, and shown. It needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlrp.basics.files import read_json, write_whole
from textlrp.basics.json_text import json_text
from textlrp.errors import InputError
from textlrp.results.consistency import check, check_windows
from textlrp.results.contents import Contents
from textlrp.results.layers import Layer
from textlrp.results.ledger import Ledger
from textlrp.results.prompt import Prompt
from textlrp.results.reference import Reference
from textlrp.results.rendering import renderer
from textlrp.results.saved import DIGEST, Fields, check_digest, check_format, no_explanation, plain, sealed, shown
from textlrp.results.spans import TEXT, Span

if TYPE_CHECKING:
    from rich.console import RenderableType

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Explanation(Contents):
    """Which parts of a text made a classifier decide.

    Attributes:
        text: the original text.
        text_pair: the second text of a pair, or None.
        target: the explained label.
        contrast: the label that the target is compared with, or None.
        logit: the explained quantity: the target's logit, or its difference to the contrast's.
        logits: each label's logit.
        probabilities: each label's probability; empty if the model has none (regression).
        predicted: the label with the highest logit.
        tokens: one span for each id that the model read, special tokens included; in overlapping windows, ids that
            were read more than once have one span.
        ledger: the shares of the logit; its rows add up to :attr:`logit`.
        truncated: the characters ``[start, end)`` of the text that the model did not read, or None.
        truncated_pair: the same for the second text.
        windows: the number of overlapping windows that the text was read in; the logits are their mean.
        revision: the branch, tag or commit of the model, or empty.
        reading: the options ``long``, ``window`` and ``overlap`` that were not the defaults; and ``spans``, which is
            ``words`` if the tokenizer rewrites words (a link, a user's name, ``&``): each token of such a word then has
            the characters of the whole word.
        rules: the name of the rules.
        model: the name of the model.
        versions: the versions of the libraries that computed it.
        layers: the hidden states, from the embeddings up, if they were requested.
        reference: what difference rules measured the text from, with its logits; None under rules from zero.
        prompt: the words that the model read around the text (:class:`textlrp.results.prompt.Prompt`): a prompt's, or a
            hypothesis's; None if it read the text alone.
        multi_label: whether the model may give a text several labels, or none (:attr:`predicted_labels`).
    """

    def to_dict(self, whole: bool = True) -> dict[str, Any]:
        """Return the explanation as JSON-ready values, with a digest of them.

        Args:
            whole: whether to write what follows from the rest, for other programs: words, sentences and the texts of
                tokens.

        Raises:
            NonFiniteError: a NaN or an infinity is among its numbers, which JSON cannot hold.
        """
        values = {
            "format": _FORMAT,
            "text": self.text,
            "text_pair": self.text_pair,
            "target": self.target,
            "contrast": self.contrast,
            "predicted": self.predicted,
            "logit": plain(self.logit),
            "logits": {label: plain(value) for label, value in self.logits.items()},
            "probabilities": {label: plain(value) for label, value in self.probabilities.items()},
            "tokens": [span.to_dict() if whole else self._short(span) for span in self.tokens],
            "ledger": self.ledger.to_dict(),
            "words": list(map(_brief, self.words)) if whole else None,
            "sentences": list(map(_brief, self.sentences)) if whole else None,
            "truncated": list(map(plain, self.truncated)) if self.truncated else None,
            "truncated_pair": list(map(plain, self.truncated_pair)) if self.truncated_pair else None,
            "windows": plain(self.windows),
            "rules": self.rules,
            "model": self.model,
            "revision": self.revision,
            "reading": dict(self.reading),
            "versions": dict(self.versions),
            "layers": [layer.to_dict() for layer in self.layers],
            "reference": None if self.reference is None else self.reference.to_dict(),
        }
        if self.prompt is not None:
            values["prompt"] = self.prompt.to_dict()
        if self.multi_label:
            values["multi_label"] = True
        if not whole:
            del values["words"], values["sentences"]
        return sealed(values)

    def _short(self, span: Span) -> dict[str, Any]:
        """Return a token without its text, where that is the text's, and without what tokens have by default."""
        values = span.to_dict()
        text = self.text if span.source == TEXT else self.text_pair or ""
        if span.text != text[span.start : span.end]:
            return values
        default = {"text": span.text, "special": False, "piece": span.text, "source": TEXT}
        return {key: value for key, value in values.items() if key not in default or value != default[key]}

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the explanation as JSON, and write it to ``path`` if one is given."""
        written = json_text(self.to_dict())
        if path is not None:
            write_whole(Path(path), written)
        return written

    def to_html(self, path: str | Path | None = None, *, by: str = "word") -> str:
        """Return the explanation as a self-contained page, and write it to ``path`` if one is given.

        Args:
            path: the file of the page, which is written whole or not at all.
            by: the unit of the colors: ``"token"``, ``"word"`` or ``"sentence"``.

        Raises:
            InputError: ``by`` is another word, or the file cannot be written.
        """
        written = renderer().page(self, by)
        if path is not None:
            write_whole(Path(path), written)
        return written

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Explanation:
        """Rebuild an explanation from :meth:`to_dict`, and check that all of it fits together.

        Sums, probabilities and spans are checked (:mod:`textlrp.results.consistency`), and the digest if there is one.

        Raises:
            InputError: the values are not an explanation, are of another format, or were changed.
        """
        check_format(values, _FORMAT, "explanation")
        fields = Fields(values, "it")
        # Words and sentences follow from the tokens; they are in the file for other programs.
        words, sentences = (_spans(fields, key) if key in fields else None for key in ("words", "sentences"))
        explanation = cls(
            text=fields.text("text"),
            target=fields.text("target"),
            contrast=fields.text("contrast", None),
            logit=fields.number("logit"),
            logits=fields.numbered("logits"),
            probabilities=fields.numbered("probabilities"),
            predicted=fields.text("predicted"),
            tokens=_tokens(fields),
            ledger=Ledger.from_dict(fields.take("ledger")),
            truncated=_range(fields, "truncated"),
            rules=fields.text("rules", cls.rules),
            model=fields.text("model", cls.model),
            versions=_versions(fields),
            text_pair=fields.text("text_pair", None),
            truncated_pair=_range(fields, "truncated_pair"),
            windows=fields.whole("windows", 1, cls.windows),
            revision=fields.text("revision", cls.revision),
            reading=_reading(fields),
            layers=tuple(Layer.from_dict(layer, f"layers[{i}]") for i, layer in enumerate(fields.list("layers", ()))),
            reference=None if fields.take("reference", None) is None else Reference.from_dict(values["reference"]),
            prompt=None if fields.take("prompt", None) is None else Prompt.from_dict(values["prompt"]),
            multi_label=fields.flag("multi_label", False),
        )
        for key in ("format", DIGEST):
            fields.take(key, None)
        fields.end()
        check(explanation, words, sentences)
        if "reading" in fields:  # older versions did not write it
            check_windows(explanation)
        check_digest(values, "explanation")
        return explanation

    @classmethod
    def from_json(cls, source: str | Path) -> Explanation:
        """Rebuild an explanation from JSON text or from the file at a path.

        Raises:
            InputError: the file is missing, or is not an explanation.
        """
        values = read_json(source)
        if not isinstance(values, dict):
            raise InputError("this is not an explanation saved by textlrp: a JSON object was expected")
        return cls.from_dict(values)

    def __rich__(self) -> RenderableType:
        return renderer().terminal(self)

    def _repr_html_(self) -> str:
        return renderer().fragment(self)


def _brief(span: Span) -> dict[str, Any]:
    return {key: value for key, value in span.to_dict().items() if key not in ("special", "piece")}


def _tokens(fields: Fields) -> tuple[Span, ...]:
    """Return the tokens; those that were saved without their text get it from the text (:meth:`to_dict`)."""
    tokens = []
    for i, values in enumerate(fields.list("tokens")):
        if isinstance(values, Mapping) and "text" not in values:
            source, start, end = values.get("source", TEXT), values.get("start"), values.get("end")
            text = fields.text("text" if source == TEXT else "text_pair", None) or ""
            if type(start) is not int or type(end) is not int or not 0 <= start <= end <= len(text):
                raise no_explanation(f"tokens[{i}] is from {shown(start)} to {shown(end)}, which its text is not")
            values = {"piece": text[start:end], **values, "text": text[start:end]}
        tokens.append(Span.from_dict(values, f"tokens[{i}]"))
    return tuple(tokens)


def _spans(fields: Fields, key: str) -> tuple[Span, ...]:
    return tuple(Span.from_dict(span, f"{key}[{i}]") for i, span in enumerate(fields.list(key)))


def _range(fields: Fields, key: str) -> tuple[int, int] | None:
    """Return characters ``[start, end)``, or None."""
    if fields.take(key, None) is None:
        return None
    offsets = fields.list(key)
    if len(offsets) != 2 or any(type(offset) is not int for offset in offsets):
        raise no_explanation(f"it has {shown(offsets)} for {key}, and [start, end] was expected")
    return offsets[0], offsets[1]


def _versions(fields: Fields) -> dict[str, str]:
    versions = Fields(fields.mapping("versions", {}), "versions")
    return {name: versions.text(name) for name in fields.mapping("versions", {})}


def _reading(fields: Fields) -> dict[str, str | int]:
    """Return how the text was read."""
    options = Fields(fields.mapping("reading", {}), "reading")
    reading: dict[str, str | int] = {}
    for key in fields.mapping("reading", {}):
        if key in ("long", "spans"):
            reading[key] = options.text(key)
        elif key == "window":
            reading[key] = options.whole(key, 1)
        elif key == "overlap":
            reading[key] = options.whole(key, 0)
    options.end()
    return reading
