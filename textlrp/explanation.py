"""The result: frozen, saved and loaded as JSON, shows itself. It needs no torch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlrp.errors import InputError
from textlrp.ledger import Ledger
from textlrp.spans import Span

if TYPE_CHECKING:
    from rich.console import RenderableType

_FORMAT = 1


@dataclass(frozen=True)
class Explanation:
    """Which parts of a text made a classifier decide.

    Attributes:
        text: the text as it was given.
        target: the explained label.
        contrast: the label that it is set against, or None.
        logit: the explained quantity: the target's logit, or its difference to the contrast's.
        logits: each label's logit.
        probabilities: each label's probability; empty where the model gives none (regression).
        predicted: the label with the highest logit.
        tokens: one span for each id that the model read, special tokens included.
        ledger: where the whole logit went; its rows add up to :attr:`logit`.
        truncated: the characters ``[start, end)`` that the model did not read, or None.
        rules: the name of the rules.
        model: the name of the model.
        versions: the versions of the libraries that computed it.
    """

    text: str
    target: str
    contrast: str | None
    logit: float
    logits: Mapping[str, float]
    probabilities: Mapping[str, float]
    predicted: str
    tokens: tuple[Span, ...]
    ledger: Ledger
    truncated: tuple[int, int] | None = None
    rules: str = "attnlrp"
    model: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON-ready values."""
        return {
            "format": _FORMAT,
            "text": self.text,
            "target": self.target,
            "contrast": self.contrast,
            "predicted": self.predicted,
            "logit": self.logit,
            "logits": dict(self.logits),
            "probabilities": dict(self.probabilities),
            "tokens": [span.to_dict() for span in self.tokens],
            "ledger": self.ledger.to_dict(),
            "truncated": list(self.truncated) if self.truncated else None,
            "rules": self.rules,
            "model": self.model,
            "versions": dict(self.versions),
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the explanation as JSON, and write it to ``path`` if one is given."""
        written = json.dumps(self.to_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
        if path is not None:
            write_whole(Path(path), written)
        return written

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Explanation:
        """Rebuild an explanation from :meth:`to_dict`.

        Raises:
            InputError: the values are no explanation, or not one that this version reads.
        """
        if values.get("format") != _FORMAT:
            found = values.get("format", "none")
            raise InputError(
                f"this has format {found}, and this version of textlrp reads explanations of format {_FORMAT}"
            )
        try:
            fields = {key: value for key, value in values.items() if key != "format"}
            fields["tokens"] = tuple(Span.from_dict(span) for span in values["tokens"])
            fields["ledger"] = Ledger(**values["ledger"])
            fields["truncated"] = tuple(values["truncated"]) if values["truncated"] else None
            explanation = cls(**fields)
            for span in explanation.tokens:
                if not 0 <= span.start <= span.end or explanation.text[span.start : span.end] != span.text:
                    raise InputError(
                        f"this explanation was changed: its text has no {span.text!r} at characters {span.start} to "
                        f"{span.end}"
                    )
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"this is no explanation saved by textlrp, or it was changed: {error}") from None
        return explanation

    @classmethod
    def from_json(cls, source: str | Path) -> Explanation:
        """Rebuild an explanation from JSON text or from the file at a path.

        Raises:
            InputError: the file is missing, or holds no explanation.
        """
        written, place = str(source), "the text given"
        if isinstance(source, Path) or not written.lstrip().startswith("{"):
            place = repr(str(source))
            try:
                written = Path(source).read_bytes().decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise InputError(f"{place} is not UTF-8: byte {error.start} cannot be read") from None
            except (OSError, ValueError) as error:  # ValueError: a NUL in the name
                raise InputError(f"cannot read {place}: {getattr(error, 'strerror', None) or error}") from None
        try:
            values = json.loads(written)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{place} is no JSON: {error}") from None
        if not isinstance(values, dict):
            raise InputError("this is no explanation saved by textlrp: a JSON object was expected")
        return cls.from_dict(values)

    @property
    def strongest(self) -> float:
        """The largest absolute relevance of a span in the text: the end of the color scale."""
        return max((abs(s.relevance) for s in self.tokens if not s.special and math.isfinite(s.relevance)), default=0.0)

    def __rich__(self) -> RenderableType:
        from textlrp.terminal import render

        return render(self)


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all; a device or a pipe (``/dev/stdout``) is written to as it is.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_text(text, encoding="utf-8", newline="\n")
            return
        whole = Path(os.path.realpath(path))  # a link stays a link
        part = whole.with_name(f".textlrp-{os.getpid()}.part")
        try:
            part.write_text(text, encoding="utf-8", newline="\n")
            part.replace(whole)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None
