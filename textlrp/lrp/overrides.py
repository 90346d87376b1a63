"""Rules for some of a model's modules: which module follows which."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase

from torch import nn

from textlrp.errors import InputError
from textlrp.rules import Rules


def resolve(model: nn.Module, rules: Rules) -> dict[nn.Module, Rules]:
    """Return the modules at which other rules begin, with these rules.

    Raises:
        InputError: a pattern matches no module; the message lists the nearest paths.
    """
    found: dict[nn.Module, Rules] = {}
    if not rules.overrides:
        return found
    modules = dict(model.named_modules())
    for pattern, own in rules.overrides:
        matched = [module for path, module in modules.items() if path and fnmatchcase(path, pattern)]
        if not matched:
            raise InputError(
                f"the pattern {pattern!r} matches no module of {type(model).__name__}{near(pattern, modules)}"
            )
        found.update(dict.fromkeys(matched, own))
    return found


def near(pattern: str, modules: dict[str, nn.Module]) -> str:
    """Return the end of a message that lists the paths nearest to one that is not there."""
    bare = pattern.replace("*", "").strip(".")
    paths = [path for path in modules if path]
    alike = difflib.get_close_matches(bare, paths, n=3, cutoff=0.4)
    alike = alike or [path for path in paths if bare and bare in path][:3]
    listed = alike or [path for path in paths if "." not in path][:8]
    return f"; {'near are' if alike else 'there are'} {', '.join(map(repr, listed))}"
