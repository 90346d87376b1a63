"""The methods that rules are compared with, by name, and the options behind a name. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from textlrp.errors import InputError

#: The replacements of a token; the default is the first that the tokenizer has a token for.
REPLACEMENTS = ("mask", "pad", "delete")


@dataclass(frozen=True)
class Method:
    """A method and the options behind its name, as in ``"integrated-gradients:50:zero"``.

    Attributes:
        module: its module, which needs torch and is imported on first use.
        function: ``function(passes, seed, ...)`` returns the score of each id.
        count: the default of its number, or None if it takes none.
        counted: the unit of that number.
        choices: the words that it takes, one at a time.
        most: the largest number: more would take days, and change nothing visible.
        extra: the package that it needs, an extra of textlrp, or empty.
        passes: about how many forward passes it takes, given its number and the number of tokens of the text.
    """

    module: str
    function: str
    count: int | None = None
    counted: str = ""
    choices: tuple[str, ...] = ()
    extra: str = ""
    most: int = 1_000_000
    passes: Callable[[int, int], float] = lambda number, tokens: 1


#: The methods by name. Sources: Abnar and Zuidema 2020 (rollout); Sundararajan et al. 2017 (integrated gradients);
#: Zeiler and Fergus 2014, Li et al. 2016 (occlusion); Ribeiro et al. 2016 (LIME); Castro et al. 2009 (Shapley values).
METHODS = {
    "random": Method("passes", "random"),
    "attention": Method("attention", "attention"),
    "rollout": Method("attention", "rollout"),
    "gradient-norm": Method("gradients", "gradient_norm", passes=lambda number, tokens: 3),
    "gradient-x-input": Method("gradients", "gradient_x_input", passes=lambda number, tokens: 3),
    "integrated-gradients": Method(
        "gradients",
        "integrated_gradients",
        20,
        "steps",
        ("mask", "pad", "zero"),
        most=1000,
        passes=lambda steps, tokens: 3 * steps + 1,
    ),
    "lrp-path": Method(
        "paths",
        "lrp_path",
        2,
        "points",
        ("mask", "pad", "zero"),
        most=1000,
        passes=lambda points, tokens: 3 * points + 1,
    ),
    "occlusion": Method("sampling", "occlusion", choices=REPLACEMENTS, passes=lambda number, tokens: tokens + 1),
    "beam": Method(
        "beam",
        "beam",
        4,
        "sets of each size",
        ("mask", "delete", "zero"),
        most=1000,
        # Each of a beam's sets grows by each of the other tokens, and is read twice: alone, and taken away.
        passes=lambda width, tokens: min(2 ** min(tokens, 64), width * tokens * (tokens + 1)),
    ),
    "lime": Method(
        "sampling", "lime", 200, "samples", REPLACEMENTS, "captum", passes=lambda samples, tokens: samples + 1
    ),
    "shapley": Method(
        "sampling",
        "shapley",
        20,
        "permutations",
        REPLACEMENTS,
        "captum",
        passes=lambda permutations, tokens: permutations * tokens + 1,
    ),
}


def read_options(name: str, method: Method, options: Sequence[str]) -> tuple[Any, ...]:
    """Return the arguments of a method after passes and seed: its number and its word, if it takes them.

    Raises:
        InputError: the method does not take the options.
    """
    takes = [f"a number of {method.counted}"] if method.count is not None else []
    takes += [f"one of {', '.join(method.choices)}"] if method.choices else []
    takes_number = method.count is not None
    numbers = [part.lstrip("0") for part in options if takes_number and part.isascii() and part.isdecimal()]
    words = [part for part in options if part in method.choices]
    if len(numbers) + len(words) < len(options) or len(numbers) > 1 or len(words) > 1 or "" in numbers:
        raise InputError(f"{name} takes {' and '.join(takes) or 'no options'}, not {':'.join(options)!r}")
    if numbers and (len(numbers[0]) > len(str(method.most)) or int(numbers[0]) > method.most):
        raise InputError(f"{name} takes up to {method.most:,} {method.counted}, not {numbers[0][:20]}")
    number: list[Any] = [*map(int, numbers), method.count][:1] if method.count is not None else []
    return (*number, *([*words, None][:1] if method.choices else []))
