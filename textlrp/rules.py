"""Which rule each kind of operation follows: a frozen value, and the presets from the papers.

No torch here: a set of rules can be named, compared and stored without it.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field

from textlrp.errors import InputError


@dataclass(frozen=True)
class LRP0:
    """LRP-0 for linear maps: the plain gradient, ``c_x = W^T c_y`` (Montavon et al. 2019, eq. 10.1)."""


@dataclass(frozen=True)
class Epsilon:
    """LRP-epsilon for linear maps: ``c_x = W^T (c_y z / (z + eps sign z))`` (Bach et al. 2015, eq. 58).

    What the stabilizer absorbs is posted to the ledger's ``stabilizer`` row.
    """

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise InputError(f"epsilon must be a positive number, not {self.epsilon}; use LRP0() for no stabilizer")


@dataclass(frozen=True)
class Taylor:
    """Softmax by its Taylor expansion: the plain gradient; the remainder is posted (Achtibat et al. 2024, eq. 13)."""


@dataclass(frozen=True)
class Frozen:
    """Softmax held constant: no relevance flows through the weights (Ali et al. 2022, eq. 9)."""


@dataclass(frozen=True)
class Rules:
    """A set of propagation rules.

    The kinds without a choice follow the one rule that the papers agree on: the identity rule for elementwise
    non-linearities, the uniform rule for products of activations, constant statistics for norms.

    Attributes:
        linear: the rule for linear maps and convolutions.
        softmax: the rule for attention weights and every other softmax.
    """

    linear: LRP0 | Epsilon = field(default_factory=LRP0)
    softmax: Taylor | Frozen = field(default_factory=Taylor)

    def __post_init__(self) -> None:
        if not isinstance(self.linear, (LRP0, Epsilon)):
            raise InputError(f"linear takes LRP0() or Epsilon(...), not {self.linear!r}")
        if not isinstance(self.softmax, (Taylor, Frozen)):
            raise InputError(f"softmax takes Taylor() or Frozen(), not {self.softmax!r}")

    @classmethod
    def preset(cls, name: str) -> Rules:
        """Return the preset of that name.

        ``attnlrp``: Achtibat et al. 2024. ``cp-lrp``: Ali et al. 2022, attention weights held constant.

        Raises:
            InputError: no preset has that name.
        """
        if name not in PRESETS:
            near = difflib.get_close_matches(name.lower(), PRESETS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"no rules are called {name!r}: the presets are {', '.join(PRESETS)}{hint}")
        return PRESETS[name]

    @property
    def name(self) -> str:
        """The preset's name, or the readable form of a set of rules that is no preset."""
        return next((name for name, rules in PRESETS.items() if rules == self), repr(self))


PRESETS = {"attnlrp": Rules(), "cp-lrp": Rules(softmax=Frozen())}


def as_rules(rules: Rules | str) -> Rules:
    """Return the rules themselves, or the preset of that name.

    Raises:
        InputError: neither rules nor the name of a preset.
    """
    if isinstance(rules, Rules):
        return rules
    if isinstance(rules, str):
        return Rules.preset(rules)
    raise InputError(f"rules takes the name of a preset ({', '.join(PRESETS)}) or textlrp.Rules(...), not {rules!r}")
