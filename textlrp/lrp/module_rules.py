"""Rules for some of a model's modules: at which modules they begin, and when they are in force."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from torch import nn

from textlrp.errors import InputError
from textlrp.lrp.context import Context, Observer
from textlrp.rules import Rules


class ModuleRules(Observer):
    """Puts other rules in force while a module runs.

    Args:
        model: the model.
        rules: rules with overrides.

    Raises:
        InputError: a pattern matches no module; the message lists the nearest paths.
    """

    def __init__(self, model: nn.Module, rules: Rules) -> None:
        self._rules = resolve(model, rules)

    def install(self, context: Context) -> list[Any]:
        """Start observing, and return the hooks. They come last, so that a module's other hooks run under its rules."""
        hooks: list[Any] = []
        for module, rules in self._rules.items():
            hooks.append(module.register_forward_pre_hook(partial(_enter, context, rules)))
            hooks.append(module.register_forward_hook(partial(_leave, context), always_call=True))
        return hooks


def _enter(context: Context, rules: Rules, module: nn.Module, args: Any) -> None:
    context.enter(rules)


def _leave(context: Context, module: nn.Module, args: Any, y: Any) -> None:
    context.leave()


def resolve(model: nn.Module, rules: Rules) -> dict[nn.Module, Rules]:
    """Return the modules at which other rules begin, with these rules.

    Raises:
        InputError: a pattern matches no module; the message lists the nearest paths.
    """
    beginnings: dict[nn.Module, Rules] = {}
    modules = dict(model.named_modules())
    for pattern, override in rules.overrides:
        matched = [module for path, module in modules.items() if path and fnmatchcase(path, pattern)]
        if not matched:
            raise InputError(
                f"the pattern {pattern!r} matches no module of {type(model).__name__}{near(pattern, modules)}"
            )
        beginnings.update(dict.fromkeys(matched, override))
    return beginnings


def near(pattern: str, modules: dict[str, nn.Module]) -> str:
    """Return the end of an error message: the paths nearest to a pattern or path that matches none."""
    bare = pattern.replace("*", "").strip(".")
    paths = [path for path in modules if path]
    alike = difflib.get_close_matches(bare, paths, n=3, cutoff=0.4)
    alike = alike or [path for path in paths if bare and bare in path][:3]
    listed = alike or [path for path in paths if "." not in path][:8]
    return f"; {'near are' if alike else 'there are'} {', '.join(map(repr, listed))}"
