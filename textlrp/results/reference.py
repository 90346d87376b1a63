"""The reference of an explanation: what difference rules measure a text from. It needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textlrp.results.ledger import REFERENCE, REFERENCE_PINNED, Ledger
from textlrp.results.saved import Fields, no_explanation, plain, shown

#: The values of the option ``reference`` that take the words away: the mask token, the padding token, a mean or zero
#: embedding at each of them.
WORDLESS = ("mask", "pad", "mean", "zero")

#: What stands in :attr:`Reference.given` for ids and pairs, which a command line cannot give.
IN_PYTHON = "(given in Python)"


@dataclass(frozen=True)
class Reference:
    """A text without its words, or another neutral text, that the model also read.

    Attributes:
        name: what it is, in words: ``[MASK]``, ``mean embedding``, ``the token '.'``, ``the text '...'``, ``mean of 4
            references``.
        logits: each label's logit of the reference, the mean over several references and over windows.
        given: the values of the option ``reference``; empty for the default.
    """

    name: str
    logits: Mapping[str, float]
    given: tuple[str, ...] = ()

    def logit(self, target: str, contrast: str | None = None) -> float:
        """Return the logit of a label, or its difference to that of a contrast."""
        return self.logits[target] - (0.0 if contrast is None else self.logits[contrast])

    @property
    def wordless(self) -> bool:
        """Whether it is the text without its words, not other words."""
        return all(value in WORDLESS for value in self.given)

    def to_dict(self) -> dict[str, object]:
        """Return the reference as JSON-ready values."""
        logits = {label: plain(value) for label, value in self.logits.items()}
        return {"name": self.name, "logits": logits, "given": list(self.given)}

    @classmethod
    def from_dict(cls, values: object, where: str = "the reference") -> Reference:
        """Rebuild a reference from :meth:`to_dict`; messages call it ``where``.

        Raises:
            InputError: the values are not a reference.
        """
        fields = Fields(values, where)
        given = fields.list("given", ())
        if not all(isinstance(value, str) for value in given):
            raise no_explanation(f"{where} has the values {shown(given)} for given, and texts were expected")
        reference = cls(fields.text("name"), fields.numbered("logits"), tuple(given))
        fields.end()
        return reference


def at_reference(ledger: Ledger, logit: float) -> dict[str, float]:
    """Return the rows of a ledger whose row of the reference is exactly this logit.

    A document has one such row, even if only some of its windows are pinned.
    """
    heading = REFERENCE_PINNED if ledger.pinned else REFERENCE
    others = {name: value for name, value in ledger.rows.items() if name not in (REFERENCE, REFERENCE_PINNED)}
    return {heading: logit, **others}
