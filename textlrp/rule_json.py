"""A set of rules as JSON-ready values, and back. It knows no rule: :mod:`textlrp.rules` hands it the catalog."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from textlrp.basics.options import brief
from textlrp.errors import InputError

#: The classes of the rules by kind of operation and by name.
Catalog = Mapping[str, Mapping[str, type]]


def to_values(rules: Any, catalog: Catalog) -> dict[str, Any]:
    """Return the JSON-ready values of a set of rules, its overrides included."""
    if rules.difference:
        return {"difference": True}
    values: dict[str, Any] = {}
    for kind, known in catalog.items():
        rule = getattr(rules, kind)
        name = next((name for name, rule_class in known.items() if rule_class is type(rule)), None)
        values[kind] = {"own": type(rule).__name__} if name is None else {"rule": name, **dataclasses.asdict(rule)}
    if rules.positions != "row":
        values["positions"] = rules.positions
    if rules.overrides:
        values["overrides"] = {pattern: to_values(override, catalog) for pattern, override in rules.overrides}
    return values


def read_rules(values: Any, catalog: Catalog, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules by kind of operation; a kind that the values leave out is absent.

    Raises:
        InputError: a kind, a rule or one of its numbers is unknown.
    """
    if not isinstance(values, Mapping):
        raise InputError(
            f"rules are an object with {', '.join(catalog)}, overrides, positions and difference, not {brief(values)}"
        )
    unknown = sorted(str(key) for key in values if key not in (*catalog, "overrides", "positions", "difference"))
    if unknown:
        raise InputError(
            f"rules have {', '.join(catalog)}, overrides, positions and difference, and no {', '.join(unknown)}"
        )
    return {kind: _read_rule(kind, values[kind], catalog[kind], own) for kind in catalog.keys() & values.keys()}


def read_overrides(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values of the overrides by pattern.

    Raises:
        InputError: they are not an object.
    """
    overrides = values.get("overrides", {})
    if not isinstance(overrides, Mapping):
        raise InputError(f"overrides is an object from patterns of module paths to rules, not {overrides!r}")
    return overrides


def _read_rule(kind: str, value: Any, known: Mapping[str, type], own: Mapping[str, Any]) -> Any:
    options = dict(value) if isinstance(value, Mapping) else {"rule": value}
    if kind == "linear" and options.keys() == {"own"}:
        return _own_rule(options["own"], own)
    name = options.pop("rule", None)
    if not isinstance(name, str) or name not in known:
        raise InputError(f"{kind} has no rule {brief(name)}: it has {', '.join(known)}")
    try:
        return known[name](**options)
    except TypeError:
        raise InputError(f"the rule {name!r} does not take {', '.join(map(str, options))}") from None


def _own_rule(name: object, own: Mapping[str, Any]) -> Any:
    if not isinstance(own, Mapping):
        raise InputError(f"own is a mapping from names of classes to rules, not {brief(own)}")
    if not isinstance(name, str) or name not in own:
        listed = f", not only {', '.join(map(repr, own))}" if own else ""
        raise InputError(
            f"linear is a rule of one's own, {brief(name)}, which a file cannot hold: read the rules in Python with "
            f"Rules.from_json(..., own={{{brief(name)}: rule}}){listed}"
        )
    return own[name]
