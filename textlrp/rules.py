"""The rules of each kind of operation, sets of rules as frozen values, and the presets from the papers.

Sets of rules are named, compared and stored without torch.

Notation: ``x`` inputs, ``w`` weights, ``b`` biases, ``z_j = sum_i x_i w_ij + b_j`` outputs, ``R`` relevances, and
``c = R / x`` multipliers, which the backward pass computes. ``(.)+`` and ``(.)-`` are the positive and the negative
part. A denominator ``d`` is stabilized as ``d + eps sign(d)``; the stabilizer's share goes to the ledger.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from textlrp import rule_json
from textlrp.basics.files import read_json, write_whole
from textlrp.basics.options import as_real, brief
from textlrp.errors import InputError


def _number(rule: object, name: str, positive: bool = False, more: str = "") -> None:
    """Check a number of a rule, and convert numbers of other libraries to ``float``."""
    value = getattr(rule, name)
    number = as_real(value)
    if number is None or number < 0 or (positive and number == 0):
        kind = "a positive number" if positive else "a number of 0 or more"
        raise InputError(f"{name} must be {kind}, not {brief(value)}{more}")
    if type(value) not in (int, float):
        object.__setattr__(rule, name, number)


@dataclass(frozen=True)
class LRP0:
    """LRP-0 for linear maps, the plain gradient: ``R_i = sum_j x_i w_ij / z_j R_j`` (Montavon et al. 2019)."""


@dataclass(frozen=True)
class Epsilon:
    """LRP-epsilon for linear maps: ``R_i = sum_j x_i w_ij / (z_j + eps sign z_j) R_j`` (Bach et al. 2015, eq. 58)."""

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        _number(self, "epsilon", positive=True, more="; use LRP0() for no stabilizer")


@dataclass(frozen=True)
class Gamma:
    """LRP-gamma for linear maps, generalized to inputs of both signs (Montavon et al. 2019; Andeol et al. 2021).

    Where ``z_j > 0``, relevance is divided in proportion to ``x_i+ (w_ij + g w_ij+) + x_i- (w_ij + g w_ij-)``, and
    where ``z_j < 0`` in proportion to ``x_i+ (w_ij + g w_ij-) + x_i- (w_ij + g w_ij+)``; biases in the same way.
    """

    gamma: float = 0.25
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        _number(self, "gamma")
        _number(self, "epsilon", positive=True)


@dataclass(frozen=True)
class _Stabilized:
    """A rule whose only number is its stabilizer."""

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        _number(self, "epsilon", positive=True)


@dataclass(frozen=True)
class ZPlus(_Stabilized):
    """The z+ rule for linear maps: only contributions ``(x_i w_ij)+`` count (Montavon et al. 2017)."""


@dataclass(frozen=True)
class AlphaBeta:
    """Alpha-beta for linear maps: ``R_i = sum_j (a (x_i w_ij)+ / z_j+ - b (x_i w_ij)- / z_j-) R_j``, ``a - b = 1``.

    ``z_j+`` and ``z_j-`` are the sums of the positive and of the negative contributions (Bach et al. 2015, eq. 60).
    """

    alpha: float = 2.0
    beta: float = 1.0
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        _number(self, "alpha")
        _number(self, "beta")
        _number(self, "epsilon", positive=True)
        if not math.isclose(self.alpha - self.beta, 1.0):
            raise InputError(f"alpha - beta must be 1, or relevance is not kept: {self.alpha} - {self.beta} is not")


@dataclass(frozen=True)
class WSquare(_Stabilized):
    """The w-square rule for linear maps: ``R_i = sum_j w_ij^2 / sum_i w_ij^2 R_j`` (Montavon et al. 2017)."""


@dataclass(frozen=True)
class Flat(_Stabilized):
    """The flat rule for linear maps: all inputs of an output get equal shares (Lapuschkin et al. 2019)."""


@dataclass(frozen=True)
class Pass:
    """Passes over the map: each input gets the relevance of the output at its position, ``R_i = R_j``."""


@dataclass(frozen=True)
class Taylor:
    """The first-order Taylor expansion, which is the plain gradient; the remainder is posted.

    For a softmax: Achtibat et al. 2024, eq. 13. Each of ``n`` factors with the product ``y`` gets ``y c_y``, and
    ``(1 - n) y c_y`` goes to the ledger's row ``products``: gradient x input uses the same gradient.
    """


@dataclass(frozen=True)
class Frozen:
    """Treats a softmax as constant, so that attention weights have no relevance (Ali et al. 2022, eq. 9), or a factor
    of a product, so that the other factors get all of it: the gate of ``act(g) u``, wherever it stands; of other
    products the first factor, as the weights of ``PV``.
    """


@dataclass(frozen=True)
class Uniform:
    """Equal shares: each of the ``n`` factors of a product gets ``R / n`` (Achtibat et al. 2024, eq. 14).

    The relevance of a row of a softmax, ``sum_j p_j c_j``, goes in equal parts to the unmasked scores. A score of
    exactly zero can get none; its part goes to the ledger's row ``stabilizer``. The parts are divided by the
    scores, so this rule, unlike a softmax, changes if a constant is added to all scores of a row.
    """


@dataclass(frozen=True)
class Identity:
    """The identity rule for elementwise functions, ``R_x = R_y`` (Achtibat et al. 2024, eq. 9); ``f(0)`` is posted."""


@dataclass(frozen=True)
class Gradient:
    """The plain gradient of elementwise functions, ``c_x = f'(x) c_y``; the remainder is posted as a constant."""


class LinearRule(Protocol):
    """A user's own rule for linear maps: any object with this method.

    ``examples/own_rule.py`` writes one and tests it. In JSON such a rule is the name of its class.
    """

    def multiplier(self, linear_map: Any, c: Any, post: Callable[[str, Any], None]) -> Any:
        """Divide the relevance ``y c`` of the outputs of a linear map among the inputs.

        The law: ``sum(x c_x)`` plus everything posted equals ``sum(y c)``, or the ledger does not balance.

        Args:
            linear_map: a :class:`textlrp.lrp.linear_rules.LinearMap`: the input ``x``, the output ``y``, ``weight``,
                ``bias`` (or None), and ``apply(x, weight)``, the map without its bias, whatever torch function the
                model called (a linear layer, a convolution, a matrix product).
            c: the multipliers of the outputs, a tensor of the shape of ``y``.
            post: ``post("biases", values)`` credits a row of the ledger with the sum of a tensor that has the shape of
                the outputs or of the inputs: the share of the bias, or (``"stabilizer"``) a share that no input gets.

        Returns:
            The multipliers of the inputs, a tensor of the shape of ``x``: their relevance divided by ``x``.
        """


Linear = LRP0 | Epsilon | Gamma | ZPlus | AlphaBeta | WSquare | Flat | Pass


@dataclass(frozen=True)
class Constant:
    """The statistics of a norm are constants: centering and scaling stay linear (Ali et al. 2022, eq. 10)."""


@dataclass(frozen=True)
class Plain:
    """The plain gradient of a norm, including its statistics; the remainder goes to the ledger's row ``norms``.

    In a norm that a model writes out, this holds for squares, roots and spreads, and for products and quotients with
    them.
    """


_LINEAR: dict[str, type] = {
    "lrp-0": LRP0,
    "epsilon": Epsilon,
    "gamma": Gamma,
    "z-plus": ZPlus,
    "alpha-beta": AlphaBeta,
    "w-square": WSquare,
    "flat": Flat,
    "pass": Pass,
}
#: The rules of each kind of operation by their names in JSON and on the command line.
CATALOG: dict[str, dict[str, type]] = {
    "linear": _LINEAR,
    "embedding": _LINEAR,
    "softmax": {"taylor": Taylor, "frozen": Frozen, "uniform": Uniform},
    "product": {"uniform": Uniform, "taylor": Taylor, "frozen": Frozen},
    "nonlinearity": {"identity": Identity, "gradient": Gradient},
    "norm": {"constant": Constant, "plain": Plain},
}


_DEFAULTS = {
    "linear": LRP0(),
    "embedding": LRP0(),
    "softmax": Taylor(),
    "product": Uniform(),
    "nonlinearity": Identity(),
    "norm": Constant(),
    "positions": "row",
}


@dataclass(frozen=True)
class Rules:
    """A set of propagation rules.

    Attributes:
        linear: the rule for linear maps and convolutions: one of this module, or any :class:`LinearRule`.
        embedding: the rule for the lookup of a token, a linear map of a vector that is one at its id and zero at all
            others; the share of the absent ids goes to the ledger's row ``stabilizer``.
        softmax: the rule for attention weights and every other softmax.
        product: the rule for products of activations: gates, ``QK^T``, ``PV``.
        nonlinearity: the rule for elementwise functions.
        norm: the rule for norms such as LayerNorm and RMSNorm.
        overrides: other rules for some of the modules: a mapping from patterns of module paths to rules
            (``{"classifier": Rules(linear=Gamma(0.25)), "*.layer.0.*": ...}``; ``*`` matches any characters). They
            apply to all operations of a matching module, its submodules included; a deeper match wins over a higher
            one, and a later pattern over an earlier one. Stored as a tuple of pairs.
        positions: ``"row"``: the relevance of position embeddings is a row of the ledger; ``"tokens"``: it goes to the
            token at each position (as Bakish et al. 2025 suggest). For tables of positions that are added to
            embeddings: rotations and relative positions have no relevance of their own.
        difference: measure every operation from a run of the model on a reference, a neutral text, instead of from
            zero. The explained logit is then the logit of the reference plus the relevance of the words. This is for a
            whole model: all other attributes must keep their defaults.
    """

    linear: Linear | LinearRule = field(default_factory=LRP0)
    embedding: Linear = field(default_factory=LRP0)
    softmax: Taylor | Frozen | Uniform = field(default_factory=Taylor)
    product: Uniform | Taylor | Frozen = field(default_factory=Uniform)
    nonlinearity: Identity | Gradient = field(default_factory=Identity)
    norm: Constant | Plain = field(default_factory=Constant)
    overrides: Any = ()
    positions: str = "row"
    difference: bool = False

    def __post_init__(self) -> None:
        for kind, known in CATALOG.items():
            rule = getattr(self, kind)
            if type(rule) not in known.values() and not (kind == "linear" and _is_own(rule)):
                listed = ", ".join(f"{rule_class.__name__}()" for rule_class in known.values())
                more = ", or an object with the method multiplier" if kind == "linear" else ""
                raise InputError(f"{kind} takes one of {listed}{more}, not {brief(rule)}")
        overrides = self.overrides.items() if isinstance(self.overrides, Mapping) else self.overrides
        if not isinstance(overrides, Iterable):
            raise InputError(f"overrides is a mapping from patterns of module paths to Rules, not {brief(overrides)}")
        pairs = tuple(overrides)
        for pair in pairs:
            if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) and pair[0]):
                raise InputError(f"overrides is a mapping from patterns of module paths to Rules, not {pair!r}")
            if not isinstance(pair[1], Rules) or pair[1].overrides:
                raise InputError(
                    f"the override {pair[0]!r} takes Rules without overrides of their own, not {pair[1]!r}"
                )
            if self.difference or pair[1].difference:
                raise InputError(
                    f"the override {pair[0]!r} would mix difference rules with others, and they hold for a whole model "
                    f"or not at all: leave the overrides out, or difference"
                )
        object.__setattr__(self, "overrides", pairs)
        if not isinstance(self.difference, bool):
            raise InputError(f"difference is True or False, not {brief(self.difference)}")
        if self.positions not in ("row", "tokens"):
            raise InputError(f"positions is 'row' or 'tokens', not {brief(self.positions)}")
        chosen = (
            [kind for kind in (*CATALOG, "positions") if getattr(self, kind) != _DEFAULTS[kind]]
            if self.difference
            else []
        )
        if chosen:
            raise InputError(
                f"difference=True measures every operation from a reference, so it takes no other rule for "
                f"{' and '.join(chosen)}"
            )

    def __repr__(self) -> str:
        if self.difference:
            return "Rules(difference=True)"
        parts = [f"{kind}={_shown(getattr(self, kind))}" for kind in CATALOG if getattr(self, kind) != _DEFAULTS[kind]]
        if self.positions != "row":
            parts.append(f"positions={self.positions!r}")
        if self.overrides:
            parts.append(f"overrides={dict(self.overrides)!r}")
        return f"Rules({', '.join(parts)})"

    @classmethod
    def preset(cls, name: str) -> Rules:
        """Return the preset of that name.

        ``attnlrp``: Achtibat et al. 2024. ``cp-lrp``: Ali et al. 2022, attention weights held constant.
        ``cp-lrp-gates``: gates held constant as well, which the models of that paper have not; the package of the
        authors of AttnLRP calls this CP-LRP. ``ln-lrp``: the plain gradient of softmax and products. ``epsilon``,
        ``gamma``: that rule for linear maps, and for the rest the rules of ``attnlrp``. ``lrp-0``: another name of
        ``attnlrp``, which has LRP-0 for linear maps. ``attnlrp-positions``: the relevance of positions goes to the
        tokens. ``difference``: every operation is measured from a reference.

        Raises:
            InputError: the name is not a preset's.
        """
        if not isinstance(name, str):
            raise InputError(f"rules are called by a name, one of {', '.join(PRESETS)}, not {brief(name)}")
        if name not in PRESETS:
            near = difflib.get_close_matches(name.lower(), PRESETS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"no rules are called {name!r}: the presets are {', '.join(PRESETS)}{hint}")
        return PRESETS[name]

    @classmethod
    def parse(cls, text: str) -> Rules:
        """Return the rules named on the command line: a preset, ``epsilon=1e-6``, ``gamma=0.25``, or a JSON file.

        Raises:
            InputError: the name is unknown, or the file does not hold rules.
        """
        if not isinstance(text, str):
            raise InputError(f"rules are named by a preset, epsilon=1e-6, gamma=0.25 or a JSON file, not {brief(text)}")
        name, sign, value = text.partition("=")
        if sign and name in ("epsilon", "gamma"):
            try:
                number = float(value)
            except ValueError:
                raise InputError(f"{name} takes a number, such as {name}=0.25, not {value!r}") from None
            return cls(linear=CATALOG["linear"][name](number))
        if text.lower().endswith(".json"):
            return cls.from_json(Path(text))
        return cls.preset(text)

    @property
    def name(self) -> str:
        """The preset's name, or the repr of rules that are not a preset."""
        return next((name for name, rules in PRESETS.items() if rules == self), repr(self))

    def to_dict(self) -> dict[str, Any]:
        """Return the rules as JSON-ready values."""
        return rule_json.to_values(self, CATALOG)

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the rules as JSON, and write them to ``path`` if one is given."""
        written = json.dumps(self.to_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
        if path is not None:
            write_whole(Path(path), written)
        return written

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], own: Mapping[str, LinearRule] | None = None) -> Rules:
        """Rebuild rules from :meth:`to_dict`; missing kinds get their defaults, and a rule may be its name alone.

        Args:
            values: the rules.
            own: your own rules by the names of their classes: a file never makes Python import anything.

        Raises:
            InputError: a kind, a rule or one of its numbers is unknown.
        """
        chosen = rule_json.read_rules(values, CATALOG, own or {})
        overrides = rule_json.read_overrides(values)
        return cls(
            **chosen,
            positions=values.get("positions", "row"),
            difference=values.get("difference", False),
            overrides={pattern: cls.from_dict(rules, own) for pattern, rules in overrides.items()},
        )

    @classmethod
    def from_json(cls, source: str | Path, own: Mapping[str, LinearRule] | None = None) -> Rules:
        """Rebuild rules from JSON text or from the file at a path.

        Args:
            source: the text or the path.
            own: your own rules by the names of their classes, as :meth:`from_dict` takes them.

        Raises:
            InputError: the file is missing, or does not hold rules.
        """
        return cls.from_dict(read_json(source), own)


def _is_own(rule: object) -> bool:
    """Return whether an object is a user's own rule for linear maps."""
    return not isinstance(rule, type) and callable(getattr(rule, "multiplier", None))


def _shown(rule: object) -> str:
    """Return the repr of a rule, without the address in an object's default repr, which changes with each run."""
    return f"{type(rule).__name__}()" if type(rule).__repr__ is object.__repr__ else repr(rule)


#: Sets of rules by name: see :meth:`Rules.preset`.
PRESETS = {
    "attnlrp": Rules(),
    "cp-lrp": Rules(softmax=Frozen()),
    "cp-lrp-gates": Rules(softmax=Frozen(), product=Frozen()),
    "ln-lrp": Rules(product=Taylor()),
    "lrp-0": Rules(linear=LRP0()),
    "epsilon": Rules(linear=Epsilon()),
    "gamma": Rules(linear=Gamma()),
    "attnlrp-positions": Rules(positions="tokens"),
    "difference": Rules(difference=True),
}


def as_rules(rules: Rules | str) -> Rules:
    """Return the rules themselves, or the preset of that name.

    Raises:
        InputError: the value is neither rules nor the name of a preset.
    """
    if isinstance(rules, Rules):
        return rules
    if isinstance(rules, str):
        return Rules.preset(rules)
    raise InputError(
        f"rules takes the name of a preset ({', '.join(PRESETS)}) or textlrp.Rules(...), not {brief(rules)}"
    )
