"""The ledger of an explanation: one row per heading, and the rows add up to the logit or an error is raised.

It needs no torch: a finished explanation is read, shown and saved without it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from textlrp.errors import NonFiniteError, UnbalancedLedgerError
from textlrp.results.saved import SUMMED, Fields, no_explanation, plain

REFERENCE = "reference"
REFERENCE_PINNED = "reference (pinned)"
TOKENS = "tokens"
PROMPT = "prompt"
SPECIAL_TOKENS = "special tokens"
POSITIONS = "positions"
TOKEN_TYPES = "token types"
BIASES = "biases"
NORMS = "norms"
CONSTANTS = "constants"
SOFTMAX = "softmax"
PRODUCTS = "products"
MASKED = "masked"
DETACHED = "detached"
OTHER_PATHS = "other paths"
OTHER_IDS = "other ids"
STABILIZER = "stabilizer"
RESIDUE = "residue"

#: Every heading that a rule can post to, in reading order.
HEADINGS = (
    REFERENCE,
    REFERENCE_PINNED,
    TOKENS,
    PROMPT,
    SPECIAL_TOKENS,
    OTHER_IDS,
    POSITIONS,
    TOKEN_TYPES,
    BIASES,
    NORMS,
    CONSTANTS,
    SOFTMAX,
    PRODUCTS,
    MASKED,
    DETACHED,
    OTHER_PATHS,
    STABILIZER,
)

#: The largest residue that counts as rounding, relative to the relevance of the words, by the model's dtype.
#: 16-bit floats round every activation (bfloat16 keeps 8 bits, float16 11), so their ledgers balance less tightly.
TOLERANCES = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}

#: The largest relative change of a number by one rounding.
ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
#: How many roundings of the rows and of the logit may add up to a residue if the words have little relevance. A
#: document of 200 ids in 12 layers leaves up to 140 in float32 if activations are huge, else 30, and fewer than 16 in
#: 16 bits, which are summed in float32.
_ROUNDINGS = {"float64": 64, "float32": 64, "float16": 16, "bfloat16": 16}
#: In 16 bits, the largest residue relative to the relevance of the words: there the roundings of a large row can exceed
#: all the words, and cannot be told from a fault.
_MOST = {"float16": 0.25, "bfloat16": 0.25}


@dataclass(frozen=True)
class Ledger(Mapping[str, float]):
    """A mapping from heading to its part of the logit, in logit units.

    Attributes:
        rows: the value of each heading; headings that received nothing are absent.
        logit: the explained logit (or difference of logits) as the forward pass computed it.
        tolerance: the largest share of :attr:`yardstick` that counts as rounding; one of :data:`TOLERANCES`.
        magnitude: the sum of the absolute relevances of the words; 0 if it is not known.
        rounding: in 16 bits, the relative change of the attention weights by rounding; else 0.
    """

    rows: Mapping[str, float]
    logit: float
    tolerance: float = field(default=TOLERANCES["float32"])
    magnitude: float = 0.0
    rounding: float = 0.0

    def __getitem__(self, heading: str) -> float:
        if heading == RESIDUE:
            return self.residue
        if heading in HEADINGS:
            return self.rows.get(heading, 0.0)
        raise KeyError(heading)

    def __contains__(self, heading: object) -> bool:
        return heading == RESIDUE or heading in self.rows

    def __iter__(self) -> Iterator[str]:
        yield from (heading for heading in HEADINGS if heading in self.rows)
        yield RESIDUE

    def __len__(self) -> int:
        return len(self.rows) + 1

    @property
    def residue(self) -> float:
        """The logit minus the rows: zero up to rounding in a balanced ledger."""
        return self.logit - math.fsum(self.rows.values())

    @property
    def reference(self) -> float:
        """The logit of the reference; 0 under rules that measure from zero."""
        return self.rows.get(REFERENCE, 0.0) + self.rows.get(REFERENCE_PINNED, 0.0)

    @property
    def pinned(self) -> bool:
        """Whether the reference was run with choices that the model makes for the text, which changed its logit."""
        return REFERENCE_PINNED in self.rows

    @property
    def explained(self) -> float:
        """The part of the logit that is shared out: the logit minus that of the reference."""
        return self.logit - self.reference

    @property
    def held(self) -> float | None:
        """The share of :attr:`explained` that the words hold; None if that is 0. It may exceed 1 or be negative."""
        return self.rows.get(TOKENS, 0.0) / self.explained if self.explained else None

    @property
    def words(self) -> float:
        """The sum of the absolute relevances of the words, or the size of their row if the sum is not known."""
        return max(self.magnitude, abs(self.rows.get(TOKENS, 0.0)))

    @property
    def precision(self) -> str:
        """The dtype that the model computed in, by the tolerance."""
        return next((name for name, most in TOLERANCES.items() if most >= self.tolerance), "bfloat16")

    @property
    def scale(self) -> float:
        """The size of what is shared out: the sum of the absolute rows, or of the words' relevances if it is larger.

        The reference is where the sharing starts, so its row does not count.
        """
        rows = (value for heading, value in self.rows.items() if heading not in (REFERENCE, REFERENCE_PINNED))
        return max(math.fsum(map(abs, rows)), self.magnitude)

    @property
    def yardstick(self) -> float:
        """The unit of the residue: the relevance of the words, plus a few roundings of the other rows.

        A large row is rounded, too, so a few of its roundings count, but in 16 bits only as long as they do not exceed
        the words.
        """
        name = self.precision
        rows = math.fsum(abs(value) for value in (self.logit, *self.rows.values()))
        size = self.words + _ROUNDINGS[name] * ROUNDOFF[name] / TOLERANCES[name] * rows
        return min(size, _MOST[name] / TOLERANCES[name] * self.words) if name in _MOST else size

    @property
    def imbalance(self) -> float:
        """The residue as a share of :attr:`yardstick`; ``inf`` if a value is not finite."""
        if not self._is_finite():
            return math.inf
        residue, yardstick = abs(self.residue), self.yardstick
        return residue / yardstick if yardstick else math.inf if residue else 0.0

    @property
    def exactness(self) -> float:
        """An estimate of the relative error of the words' relevance.

        It follows from the residue or, in 16 bits, from the sizes of the attention scores if that is more: rounding in
        the forward pass changes words and logit alike, and leaves no residue. ``inf`` if the words have no relevance
        and there is a residue.
        """
        residue, words = abs(self.residue), self.words
        return max(residue / words if words else math.inf if residue else 0.0, self.rounding)

    @property
    def balanced(self) -> bool:
        """Whether the residue is within the tolerance."""
        return self.imbalance <= self.tolerance

    def check(self) -> Ledger:
        """Return the ledger itself if it is balanced.

        Raises:
            NonFiniteError: a row or the logit is NaN or infinite.
            UnbalancedLedgerError: the rows do not add up to the logit.
        """
        if not self._is_finite():
            raise NonFiniteError(f"the ledger holds a NaN or an infinity: logit {self.logit}, rows {dict(self.rows)}")
        if not self.balanced:
            advice = "; try dtype=torch.float32" if self.precision in _MOST else ""
            most = self.tolerance * self.yardstick
            raise UnbalancedLedgerError(
                f"the ledger does not balance: the logit is {self.logit:.6g}, the rows add up to "
                f"{self.logit - self.residue:.6g}, and the residue of {self.residue:.2g} is more than rounding leaves "
                f"in {self.precision} where the words hold {self.words:.3g} ({most:.2g}); no "
                f"explanation is shown{advice}"
            )
        return self

    def _is_finite(self) -> bool:
        return all(math.isfinite(value) for value in (self.logit, self.magnitude, self.rounding, *self.rows.values()))

    def to_dict(self) -> dict[str, object]:
        """Return the ledger as JSON-ready values, without ``rounding`` if it is 0."""
        return {
            "rows": {heading: plain(value) for heading, value in self.rows.items()},
            "logit": plain(self.logit),
            "tolerance": plain(self.tolerance),
            "magnitude": plain(self.magnitude),
            "residue": plain(self.residue),
            **({"rounding": plain(self.rounding)} if self.rounding else {}),
        }

    @classmethod
    def from_dict(cls, values: object, where: str = "the ledger") -> Ledger:
        """Rebuild a ledger from :meth:`to_dict`; messages call it ``where``.

        Raises:
            InputError: the values are not a ledger, or the residue in them does not follow from the rest.
        """
        fields = Fields(values, where)
        rows = fields.numbered("rows")
        unknown = next((heading for heading in rows if heading not in HEADINGS), None)
        if unknown is not None:
            raise no_explanation(f"{where} has the row {unknown!r}, and the rows are {', '.join(HEADINGS)}")
        sizes = {size.name: fields.number(size.name, size.default) for size in dataclasses.fields(cls)[2:]}
        ledger = cls(rows, fields.number("logit"), **sizes)
        residue = fields.number("residue", None) if "residue" in fields else None
        fields.end()
        negative = next((name for name, size in sizes.items() if size < 0), None)
        if negative is not None:
            raise no_explanation(f"{where} has {sizes[negative]!r} for {negative}, which is never below zero")
        if residue is not None and not ledger.leaves(residue):
            raise no_explanation(
                f"the rows of {where} leave {ledger.residue!r} of its logit {ledger.logit!r}, and its residue is "
                f"{residue!r}"
            )
        return ledger

    def leaves(self, residue: float) -> bool:
        """Return whether a residue is the ledger's own, up to a few roundings of the rows."""
        return abs(self.residue - residue) <= SUMMED * (math.fsum(map(abs, self.rows.values())) + abs(self.logit))


def mean(ledgers: Sequence[Ledger]) -> Ledger:
    """Return the ledger of a document whose logit is the mean of the logits of its windows."""
    if len(ledgers) == 1:
        return ledgers[0]
    count = len(ledgers)
    headings = [heading for heading in HEADINGS if any(heading in ledger.rows for ledger in ledgers)]
    return Ledger(
        {heading: math.fsum(ledger.rows.get(heading, 0.0) for ledger in ledgers) / count for heading in headings},
        math.fsum(ledger.logit for ledger in ledgers) / count,
        max(ledger.tolerance for ledger in ledgers),
        math.fsum(ledger.magnitude for ledger in ledgers) / count,
        max(ledger.rounding for ledger in ledgers),
    )
