"""One number changed in a saved file: is it noticed where the file is read?

Explanations, runs and reports of the built-in classifier are written, one number somewhere in one of them is changed (a
digit, its sign, ten times as much, left out, or something else in its place), and the file is read back. Whatever is
read without an error is printed; there may be none.

    python tests/reliability/changed_numbers.py [--count 2000] [--seed 0] [--without-digests]

Without the digests that textlrp writes, sums and what follows from the numbers must find the change. What they cannot
find is listed in UNSEEN: numbers that nothing else in the file says anything about. Changes below the rounding of the
sums that they are in cannot be found either; they change nothing that anyone could see.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from textlrp import Explainer, Explanation
from textlrp.data.records import Failure, Record, read_run, write_run
from textlrp.data.runs import Origin, Run
from textlrp.errors import InputError
from textlrp.report.reading import read_report
from textlrp.report.writing import write_report

REVIEWS = (
    "A wonderful, moving film that never loses its way.",
    "The plot is dull, and the jokes are worse than bad. Not one of them works!",
    "Not bad at all, though the ending drags on; I would see it again.",
    "Café 😀 naïve? A wonderful mess.",
)

#: What nothing else in a file says anything about, by the place of the number.
UNSEEN = (
    r"ledger\.tolerance",  # if it is that of another dtype; it hides nothing, as the residue is written, too
    r"layers\[\d+\]\.ledger\.tolerance",
    r"ledger\.magnitude",  # in windows, which may cancel, a larger one
    r"layers\[\d+\]\.ledger\.magnitude",
    r"(layers\[\d+\]\.)?ledger\.rounding",  # in 16 bits
    r"layers\[\d+\]\.heads[.[].*",  # what a head hands on is a part of no sum
    r"layers\[\d+\]\.paths[.[].*",  # as far as the device rounds their sum
    r"special (tokens\[\d+\]\.relevance|layers\[\d+\]\.relevance\[\d+\])",  # its sign, and what the device rounds
    r"windows",  # if it is more than one
    r"reading[.[].*",  # what was asked for
    r"rationales\[.*",  # what the data say
    r"(model|documents|options)\..*",  # what a run was made from
    r"reference\.logits[.[].*",  # of a label that is not explained
    r"(tokens|words|sentences)\[\d+\]\.(start|end)",  # a token that moves to its like, inside of a word
)

#: What older versions did not write, so that it may be left out.
OPTIONAL = (r"(layers\[\d+\]\.)?ledger\.residue",)

#: How far a number may be off, relative to all in its file, and change nothing: what sums of them round.
ROUNDING = 1e-13

Change = Callable[[random.Random, Any], Any]


def digit(chance: random.Random, value: Any) -> Any:
    """The number with another digit in one place."""
    written = repr(value)
    places = [i for i, char in enumerate(written) if char.isdigit()]
    while True:
        i = chance.choice(places)
        other = f"{written[:i]}{chance.choice('0123456789')}{written[i + 1 :]}"
        try:
            changed = type(value)(other)
        except ValueError:  # 07
            continue
        if changed != value and math.isfinite(changed):
            return changed


DELETED = object()

CHANGES: dict[str, Change] = {
    "digit": digit,
    "sign": lambda _, value: -value if value else 1,
    "ten times": lambda _, value: 10 * value if value else 10,
    "deleted": lambda *_: DELETED,
    "text": lambda _, value: str(value),
    "nan": lambda *_: math.nan,
    "infinity": lambda *_: -math.inf,
    "null": lambda *_: None,
    "true": lambda *_: True,
    "list": lambda _, value: [value],
}


class Place(NamedTuple):
    """Where a number is: the object or list that holds it, its key there, and how to call it."""

    holder: Any
    key: Any
    name: str


def numbers(values: Any, name: str = "") -> Iterator[Place]:
    """Every number in JSON values."""
    pairs: Any = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in pairs:
        bare = isinstance(values, dict) and re.fullmatch(r"\w+", key)
        called = f"{name}.{key}" if bare and name else key if bare else f"{name}[{key!r}]"
        if isinstance(value, (dict, list)):
            special = isinstance(value, dict) and value.get("special") is True
            yield from numbers(value, f"special {called}" if special else called)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield Place(values, key, called)


def put(place: Place, value: Any) -> None:
    if value is DELETED:
        del place.holder[place.key]
    else:
        place.holder[place.key] = value


@dataclass(frozen=True)
class Saved:
    """A file that textlrp has written.

    Attributes:
        kind: ``"explanation"``, ``"run"`` or ``"report"``.
        files: the names of the file, the first that is read, and of its pages.
        texts: what is in them.
    """

    kind: str
    files: tuple[str, ...]
    texts: tuple[str, ...]

    def read(self, folder: Path, texts: tuple[str, ...]) -> Any:
        """Write these texts in the place of what is there, and read them."""
        for name, text in zip(self.files, texts, strict=True):
            (folder / name).write_text(text, encoding="utf-8", newline="")
        first = folder / self.files[0]
        if self.kind == "explanation":
            return Explanation.from_json(first)
        return read_run(first) if self.kind == "run" else read_report(first)


@dataclass(frozen=True)
class Accepted:
    """A changed number that nobody noticed."""

    kind: str
    change: str
    place: str
    before: Any
    after: Any
    listed: bool

    def __str__(self) -> str:
        became = "was left out" if self.after is DELETED else f"became {self.after!r}"
        return f"{self.kind}: {self.place}: {self.before!r} {became} ({self.change})"


@dataclass(frozen=True)
class Outcome:
    """What came of an attack: how many files of each kind, and what was accepted."""

    tried: Counter[str]
    accepted: tuple[Accepted, ...]


def saved(folder: Path) -> list[Saved]:
    """Files of every kind, written by textlrp."""
    explainer = Explainer.demo()
    made = [
        explainer.explain(REVIEWS[0]),
        explainer.explain(REVIEWS[1], contrast="runner-up"),
        explainer.explain(REVIEWS[2], layers=True),
        explainer.explain(REVIEWS[1] * 2, long="windows", window=16, layers=True),
        explainer.explain(REVIEWS[1] * 2, window=16),
        explainer.explain(REVIEWS[0], REVIEWS[3]),
        explainer.explain(REVIEWS[1], rules="difference", layers=True),
        explainer.explain(REVIEWS[2], rules="difference", contrast="runner-up", reference=["mean", "."]),
    ]
    found = []
    for i, e in enumerate(made):
        e.to_json(folder / f"{i}.json")
        found.append(_saved("explanation", folder, f"{i}.json"))
    both = [tuple(explainer.explain_targets(text).values()) for text in REVIEWS]
    records = [Record(f"review {i}", es, "POS", ((0, 3), (4, 9))) for i, es in enumerate(both)]
    write_run(folder / "run.jsonl", records)
    found.append(_saved("run", folder, "run.jsonl"))
    about = Origin({"name": "tiny", "parameters": 12345}, {"documents": 5}, {"window": 16, "overlap": None})
    with Run(folder / "kept.jsonl", about) as run:
        for each in (*records[:2], Failure("5", "the text takes 1,202 ids, and 512 are read at once")):
            run.add(each)
    found.append(_saved("run", folder, "kept.jsonl"))
    found.append(_saved("report", folder, *(path.name for path in write_report(records, folder / "one.html"))))
    pages = write_report(records, folder / "split.html", page_documents=2)
    return [*found, _saved("report", folder, *(path.name for path in pages))]


def _saved(kind: str, folder: Path, *names: str) -> Saved:
    return Saved(kind, names, tuple((folder / name).read_text("utf-8") for name in names))


def changed(chance: random.Random, kind: str, text: str, digests: bool) -> tuple[str, str, str, Any, Any, float]:
    """One file with one number changed: its text, the change, the place, the number before and after, and the size of
    what is in it."""
    change = chance.choice(list(CHANGES))
    if kind == "report" and digests and chance.random() < 0.3:  # a number that is shown, or one of style or script
        match = chance.choice(list(re.finditer(r"\d+", text)))
        after = CHANGES["digit"](chance, int(match[0]))
        return f"{text[: match.start()]}{after}{text[match.end() :]}", "digit", "the page", match[0], after, 0.0
    lines = text.splitlines(keepends=True) if kind == "run" else [text]
    at = chance.randrange(len(lines))
    block = re.search(r'(?<=id="textlrp-data">).*?(?=</script>)', lines[at]) if kind == "report" else None
    values = json.loads(block[0] if block else lines[at])
    if not digests:
        for each in [values, *values.get("explanations", ())]:
            each.pop("digest", None)
    places = list(numbers(values))
    size = math.fsum(abs(place.holder[place.key]) for place in places if isinstance(place.holder[place.key], float))
    place = chance.choice(places)
    before = place.holder[place.key]
    after = CHANGES[change](chance, before)
    put(place, after)
    written = json.dumps(values, ensure_ascii=False)
    if block:
        written = written.replace("<", "\\u003c")
        written = f"{lines[at][: block.start()]}{written}{lines[at][block.end() :]}"
        if not digests:
            written = re.sub(r"<!-- digest .* -->\s*\Z", "", written)
    lines[at] = written + ("\n" if kind == "run" else "")
    return "".join(lines), change, called(values, place.name), before, after, size


def called(values: Any, name: str) -> str:
    """A place as :data:`UNSEEN` calls it: within its explanation, and with a word where a special token is there."""
    inside = re.fullmatch(r"(special )?explanations\[(\d+)\]\.(.*)", name)
    if inside:
        name, values = f"{inside[1] or ''}{inside[3]}", values["explanations"][int(inside[2])]
    layer = re.fullmatch(r"layers\[\d+\]\.relevance\[(\d+)\]", name)
    return f"special {name}" if layer and values["tokens"][int(layer[1])]["special"] else name


def attack(count: int, seed: int, digests: bool = True) -> Outcome:
    """Change one number in each of ``count`` files, and read them."""
    chance = random.Random(seed)
    tried: Counter[str] = Counter()
    accepted = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = saved(folder)
        by_kind = {kind: [each for each in files if each.kind == kind] for kind in ("explanation", "run", "report")}
        for each in files:
            each.read(folder, each.texts)  # as it was, it is read
        while sum(tried.values()) < count:
            kind = chance.choice(list(by_kind))
            one = chance.choice(by_kind[kind])
            at = chance.randrange(len(one.texts))
            text, change, place, before, after, size = changed(chance, kind, one.texts[at], digests)
            tried[kind] += 1
            texts = tuple(text if i == at else each for i, each in enumerate(one.texts))
            try:
                one.read(folder, texts)
            except InputError:
                continue
            small = isinstance(after, float) and abs(after - before) <= ROUNDING * size
            small |= after is DELETED and before == 0.0 and "ledger.rows" in place  # a row of nothing
            known = (*UNSEEN, *OPTIONAL) if after is DELETED else UNSEEN
            listed = small or any(re.fullmatch(pattern, place) for pattern in known)
            accepted.append(Accepted(kind, change, place, before, after, listed and not digests))
    return Outcome(tried, tuple(accepted))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="how many files to change")
    parser.add_argument("--seed", type=int, default=0, help="of the places and the changes")
    parser.add_argument("--without-digests", action="store_true", help="remove the digests first")
    parser.add_argument("--verbose", action="store_true", help="print what only a digest finds")
    options = parser.parse_args()
    found = attack(options.count, options.seed, not options.without_digests)
    missed = [each for each in found.accepted if not each.listed]
    for each in missed:
        print(each)
    tried = ", ".join(f"{count:,} {kind}s" for kind, count in sorted(found.tried.items()))
    listed = len(found.accepted) - len(missed)
    if options.verbose:
        print(*(f"not found without a digest: {each}" for each in found.accepted if each.listed), sep="\n")
    print(f"{tried}: {len(missed)} accepted" + (f", and {listed} that only a digest finds" if listed else ""))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
